"""Rendering of keys stores to audio files: assembly, synthesis, crossfades, mastering, tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO

import numpy as np
import numpy.typing as npt

from musigan import __version__
from musigan.analysis.timbres import tone_of_file
from musigan.errors import FieldError, MusiganError, SettingsError
from musigan.files.targets import Target
from musigan.machine.parallel import ordered_map
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import Tone
from musigan.rolls.tracks import has_own_drums, is_recording
from musigan.sound import lufs
from musigan.sound.encoding import encode
from musigan.sound.mastering import CEILING_DB, crossfade, master
from musigan.sound.room import add_room, check_amount
from musigan.store import Item, Song, StoreHeader
from musigan.store.songs import Skip, piece_roll, refuse, usable
from musigan.synthesis import drumkit
from musigan.synthesis.ensemble import perform, perform_recording
from musigan.synthesis.soundfont import SoundFont
from musigan.synthesis.timbre import timbre_named

Float = npt.NDArray[np.float32]
OVERTONE_RATES = (44100, 48000)  # Hz, for timbres with overtones and drums; a pure tone has none above the highest key
OWN = "own"  # the timbre of the songs that pieces are of, or were learned from
DRUM_PEAK_QUANTILE = 0.999  # with drums: quantile of the samples that is raised to the ceiling; louder ones are limited


@dataclass(frozen=True)
class Piece:
    """One item as sound: signal (C, S) and the song it is of."""

    signal: Float
    song: Song


@dataclass
class SoundSettings:
    """Settings of a keys store's sound, with the number of pieces rendered so far and their seconds."""

    settings: KeySettings
    sample_rate: int
    timbre: str = ""  # "": sine, or each track's own, where pieces do not say how their songs sound
    gain_db: float = 0.0
    fade_seconds: float = 0.02
    crossfade_seconds: float = 0.5
    target_lufs: float | None = None  # of each piece; None: its peak is at the ceiling
    tracks: tuple[str, ...] = ()  # names of the channels; (): the sides of a recording
    own: bool = False  # pieces are asked to sound as their songs do
    tone: Tone | None = None  # of a song that all pieces sound like
    own_rate: int = 0  # Hz at which pieces sound that have a tone of their own; 0: at `sample_rate`
    soundfont: SoundFont | None = None  # plays the notes instead of timbres
    room: float = 0.0  # reverberation, to 1
    rendered: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @classmethod
    def of_store(
        cls,
        header: StoreHeader,
        timbre: str = "",
        sample_rate: int = 0,
        gain_db: float = 0.0,
        fade: float = 0.02,
        crossfade: float = 0.5,
        loudness: str = "none",
        soundfont: str = "",
        program: str = "",
        room: float = 0.0,
    ) -> SoundSettings:
        """Read settings from a store's header; `sample_rate` 0: the store's for pure tones, 44.1 kHz for others.

        A recording's drums are played at 44.1 kHz, too, whatever the timbre. `timbre` may be "own", for pieces that say
        how their songs sound, or "own:FILE" for the sound of that song; where none is asked for, pieces of recordings
        that have a sound of their own have it. `loudness` is that of each piece in LUFS, or "none"; `soundfont` is a
        file, `program` what it plays all but the drums with. Raises SettingsError, and what `SoundFont.open` raises.
        """
        settings, tracks, store_rate = header.key_settings, header.tracks, int(header.sample_rate)
        if soundfont and timbre:
            raise FieldError("{soundfont} and {timbre} are two ways to make sound: choose one")
        if program and not soundfont:
            raise FieldError("{program} is an instrument of a sound font: add {soundfont} FILE")
        check_amount(room)
        own, _, song = timbre.partition(":") if timbre.startswith(f"{OWN}:") else (timbre, "", "")
        is_own, sides_alone = own == OWN, is_recording(tracks) and not has_own_drums(tracks)
        is_pure = sides_alone and not soundfont and not is_own and timbre_named(timbre or "sine").pure
        rate = sample_rate or cls._rate_for(settings, store_rate, is_pure)
        settings.frame_samples(rate)
        return cls(
            settings, rate, "" if is_own else timbre, gain_db, fade, crossfade, lufs.target_of(loudness), tracks,
            own=is_own and not song, tone=tone_of_file(song) if song else None,
            own_rate=sample_rate or cls._rate_for(settings, store_rate, pure=False),
            soundfont=SoundFont.open(soundfont, rate, settings, tracks, program) if soundfont else None, room=room,
        )  # fmt: skip

    @staticmethod
    def _rate_for(settings: KeySettings, own_rate: int, pure: bool) -> int:
        """Return a rate high enough for the timbre at which frames are whole samples, as at multiples of `own_rate`."""
        if pure or own_rate >= OVERTONE_RATES[0]:
            return own_rate
        for rate in OVERTONE_RATES:
            if abs(settings.frame_seconds * rate - round(settings.frame_seconds * rate)) < 1e-6:
                return rate
        return own_rate * -(-OVERTONE_RATES[0] // own_rate)

    def pieces(
        self, items: Iterable[Item], jobs: int, on_piece: Callable[[str], None], skip: Skip = refuse
    ) -> Iterator[Piece]:
        """Synthesise items in order, each raised to the ceiling, so that quiet samples of a model are audible.

        `skip` is told of those that cannot be used.

        Raises SettingsError for an item without a sound of its own, where that was asked for.
        """
        items = usable(items, skip)
        first = next(items, None)
        if first is None:
            return
        if self._tone_of(first.song) is not None:
            self.sample_rate = self.own_rate

        def render(item: Item) -> Piece:
            """Synthesise one item in a worker thread, its peak at the ceiling."""
            roll = piece_roll(item, self.settings.frame_seconds)
            signal = self.synthesise_roll(roll, self._tone_of(item.song))
            signal = add_room(signal, self.sample_rate, self.room)
            # Drum strokes are far louder than the rest. The limiter cuts their peaks, or all else would be too quiet.
            is_limited = signal.size and (not is_recording(self.tracks) or self._has_strokes(roll))
            loudest = np.quantile(np.abs(signal), DRUM_PEAK_QUANTILE) if is_limited else 0.0
            peak = float(loudest or np.abs(signal).max(initial=0.0))
            return Piece(signal * np.float32(10 ** (CEILING_DB / 20) / peak) if peak else signal, item.song)

        for piece in ordered_map(render, chain([first], items), jobs):
            self.rendered += 1
            self.seconds += piece.signal.shape[1] / self.sample_rate
            on_piece(piece.song.title)
            yield piece

    def _tone_of(self, song: Song) -> Tone | None:
        """Return the tone that a song's piece sounds with; None: it has a fixed timbre."""
        if self.tone is not None or self.timbre or self.soundfont:
            return self.tone
        if self.own and song.tone is None:
            raise SettingsError(
                f"--timbre own: {song.title_or_source or 'a piece'} does not say how its songs sound: make its keys or "
                "its checkpoint anew, or name a song, own:SONG.mp3"
            )
        return song.tone

    def synthesise_roll(self, roll: Float, tone: Tone | None = None) -> Float:
        """Synthesise a roll (C, K, T) as sound (C', S), in stereo but for one side; its peak is not limited."""
        if self.soundfont:
            return self.soundfont.perform(roll)
        play = perform_recording if is_recording(self.tracks) else perform
        return play(roll, self.tracks, self.settings, self.sample_rate, tone or self.timbre)

    def _has_strokes(self, roll: Float) -> bool:
        """Return whether a roll (C, K, T) is of a recording in which drums are struck."""
        return has_own_drums(self.tracks) and bool(len(drumkit.strokes(roll[-1], self.settings)))

    def master_signals(self, signals: Iterable[Float]) -> Iterator[Float]:
        """Join signals (C, S) by crossfades, fade the ends, raise by the gain and limit to the ceiling.

        Each is brought to the target loudness before that, as it is in the file: with the file's channels.
        """
        joined = crossfade(self._normalised(_same_channels(signals)), self.sample_rate, self.crossfade_seconds)
        return master(joined, self.sample_rate, self.gain_db, self.fade_seconds, self.fade_seconds)

    def _normalised(self, signals: Iterable[Float]) -> Iterable[Float]:
        """Bring each signal to the target loudness, if there is one."""
        if self.target_lufs is None:
            return signals
        return (lufs.normalise(signal, self.sample_rate, self.target_lufs) for signal in signals)


def _same_channels(signals: Iterable[Float]) -> Iterator[Float]:
    """Give all signals the channel count of the first, as one file needs: others are mixed to mono and repeated."""
    channels = 0
    for signal in signals:
        channels = channels or signal.shape[0]
        if signal.shape[0] != channels:
            signal = np.repeat(signal.mean(axis=0, keepdims=True), channels, axis=0)
        yield signal


def write(
    pieces: Iterator[Piece], sound: SoundSettings, target: Target, title: str, stream: IO[bytes] | None
) -> list[str]:
    """Write pieces to the target; return the names of the files. Raises MusiganError when there are no pieces."""
    files: list[str] = []
    if target.split:
        for number, piece in enumerate(pieces, 1):
            path = target.refuse_existing(target.numbered(number))
            blocks = sound.master_signals([piece.signal])
            encode(
                blocks, sound.sample_rate, path, target.format, target.bitrate, tags(piece.song, title), target.force
            )
            files.append(path)
        if not files:
            raise MusiganError("the store holds no pieces")
        return [f"{files[0]} to {files[-1]}"] if len(files) > 1 else files
    first = next(pieces, None)
    if first is None:
        raise MusiganError("the store holds no pieces")
    blocks = sound.master_signals(piece.signal for piece in chain([first], pieces))
    song_tags = tags(first.song, title)
    encode(blocks, sound.sample_rate, stream or target.out, target.format, target.bitrate, song_tags, target.force)
    return ["standard output" if stream else target.out]


def tags(song: Song, title: str = "") -> dict[str, str]:
    """Return a file's tags from its first piece; the comment is the source, for instance a checkpoint's name."""
    piece_tags = {"title": song.title, "artist": song.artist, "genre": song.genre, "year": song.year}
    if title:
        piece_tags["title"] = title
    known_tags = {name: text for name, text in piece_tags.items() if text}
    return {**known_tags, "comment": song.source, "software": f"musigan {__version__}"}

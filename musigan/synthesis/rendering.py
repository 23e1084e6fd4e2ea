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
from musigan.files.finding import failing_alone, skipping
from musigan.files.targets import Target
from musigan.machine.parallel import ordered_map
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.streamed import RollParts
from musigan.rolls.tone import Tone
from musigan.rolls.tracks import has_own_drums, is_recording
from musigan.sound import lufs
from musigan.sound.encoding import encode
from musigan.sound.mastering import CEILING_DB, crossfade, master
from musigan.sound.room import check_amount, in_room
from musigan.sound.takes import Take
from musigan.store import Item, Song, StoreHeader
from musigan.store.excerpts import roll_parts
from musigan.store.songs import Skip, refuse, usable
from musigan.synthesis import drumkit
from musigan.synthesis.ensemble import perform_parts, perform_recording_parts
from musigan.synthesis.soundfont import SoundFont
from musigan.synthesis.timbre import timbre_named

Float = npt.NDArray[np.float32]
OVERTONE_RATES = (44100, 48000)  # Hz, for timbres with overtones and drums; a pure tone has none above the highest key
OWN = "own"  # the timbre of the songs that pieces are of, or were learned from
DRUM_PEAK_QUANTILE = 0.999  # with drums: quantile of the samples that is raised to the ceiling; louder ones are limited


@dataclass(frozen=True)
class Piece:
    """One item as sound, and the song it is of."""

    take: Take
    song: Song

    @property
    def signal(self) -> Float:
        """The sound in one piece, (C, S)."""
        return self.take.signal()


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

        def render(item: Item) -> tuple[str, Piece | Exception]:
            """Return the title of an item and its piece, made in a worker thread, or what went wrong with it."""
            failures: list[Exception] = []
            with failing_alone(failures.append):
                return item.title, rendered(item)
            return item.title, failures[0]

        def rendered(item: Item) -> Piece:
            """Synthesise one item, its peak at the ceiling."""
            roll = roll_parts(item, self.settings.frame_seconds)
            sound = self.synthesise_parts(roll, self._tone_of(item.song))
            take = Take(in_room(sound, self.sample_rate, self.room))
            # Drum strokes are far louder than the rest. The limiter cuts their peaks, or all else would be too quiet.
            is_limited = not is_recording(self.tracks) or self._has_strokes(roll)
            peak = (take.quantile(DRUM_PEAK_QUANTILE) if is_limited else 0.0) or take.peak
            gain = np.float32(10 ** (CEILING_DB / 20) / peak) if peak else np.float32(1)
            return Piece(take.changed(lambda block: block * gain), item.song)

        for title, piece in ordered_map(render, chain([first], items), jobs):
            if isinstance(piece, Exception):
                with failing_alone(skipping(skip, title, "that could not be played")):
                    raise piece
                continue
            self.rendered += 1
            self.seconds += piece.take.samples / self.sample_rate
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
        return np.concatenate(list(self.synthesise_parts(RollParts.of(roll), tone)), axis=1)

    def synthesise_parts(self, roll: RollParts, tone: Tone | None = None) -> Iterator[Float]:
        """Yield the sound of a roll as `synthesise_roll` does, in blocks (C', n)."""
        if self.soundfont:
            return self.soundfont.perform_parts(roll)
        play = perform_recording_parts if is_recording(self.tracks) else perform_parts
        return play(roll, self.tracks, self.settings, self.sample_rate, tone or self.timbre)

    def _has_strokes(self, roll: RollParts) -> bool:
        """Return whether a roll (C, K, T) is of a recording in which drums are struck."""
        if not has_own_drums(self.tracks):
            return False
        return bool(len(drumkit.strokes(roll.channels(slice(-1, None)).whole()[0], self.settings)))

    def master_signals(self, signals: Iterable[Float | Take]) -> Iterator[Float]:
        """Join signals (C, S) by crossfades, fade the ends, raise by the gain and limit to the ceiling.

        Each is brought to the target loudness before that, as it is in the file: with the file's channels.
        """
        takes = (signal if isinstance(signal, Take) else Take([signal]) for signal in signals)
        joined = crossfade(self._normalised(_same_channels(takes)), self.sample_rate, self.crossfade_seconds)
        return master(joined, self.sample_rate, self.gain_db, self.fade_seconds, self.fade_seconds)

    def _normalised(self, takes: Iterator[Take]) -> Iterator[Take]:
        """Bring each take to the target loudness, if there is one."""
        if self.target_lufs is None:
            return takes
        return (lufs.normalised(take, self.sample_rate, self.target_lufs) for take in takes)


def _same_channels(takes: Iterable[Take]) -> Iterator[Take]:
    """Give all takes the channel count of the first, as one file needs: others are mixed to mono and repeated."""
    channels = 0

    def repeated(block: Float) -> Float:
        return np.repeat(block.mean(axis=0, keepdims=True), channels, axis=0)

    for take in takes:
        channels = channels or take.channels
        yield take if take.channels == channels else take.changed(repeated)


def write(
    pieces: Iterator[Piece], sound: SoundSettings, target: Target, title: str, stream: IO[bytes] | None
) -> list[str]:
    """Write pieces to the target; return the names of the files. Raises MusiganError when there are no pieces."""
    files: list[str] = []
    if target.split:
        for number, piece in enumerate(pieces, 1):
            path = target.refuse_existing(target.numbered(number))
            blocks = sound.master_signals([piece.take])
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
    blocks = sound.master_signals(piece.take for piece in chain([first], pieces))
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

"""Going on from a person's own song: its end is heard, pieces are drawn after it, and its own sound leads into them.

    recording -> roll, beats and tone of the minute before the joint -> pieces -> sound in that tone
              -> its own last seconds, as loud as what follows ----------------> crossfade at the joint -> file

The joint lies on a beat. What is drawn sounds together with the roll of the seconds before it, so that at the joint it
is in full sound already, and the crossfade is between two recordings of the same notes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musigan.errors import AudioError, CheckpointError, FieldError, UsageError
from musigan.machine.seeding import seed_of
from musigan.rolls.beats import SHORTEST_SECONDS, Beat, Beats
from musigan.rolls.grid import FREE_BEAT_SECONDS
from musigan.rolls.tracks import has_own_drums
from musigan.sampling import items, sounding
from musigan.sampling.priming import hears_recordings
from musigan.sampling.requests import Request
from musigan.sampling.sounding import in_stereo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from musigan.files.targets import Target
    from musigan.machine.reporting import Steps
    from musigan.midi.transcription import MidiTarget
    from musigan.rolls.tone import Tone
    from musigan.sampling.items import StoreItem
    from musigan.sampling.sampler import Piece, Sampler
    from musigan.store import Song
    from musigan.synthesis.rendering import SoundSettings

Float = npt.NDArray[np.float32]
PAST_SECONDS = 60.0  # of a song that are heard before the joint
OWN_SECONDS = 10.0  # of its own sound that lead into what is drawn
LEAD_SECONDS = 1.0  # before the joint that sound with new music, so that notes that are held over it do not start anew
JOINT_SECONDS = 0.04  # of the crossfade, which ends at the joint
LOUDNESS_STEP = 0.05  # seconds
SILENT_SHARE = 0.03  # of the loudness of a song's usual 50 ms: what is softer at its end is no music
FADED_SHARE = 0.25  # what is softer is the last chord dying away, or a fade-out
FADE_SECONDS = 10.0  # longer soft endings are music
TRIES = 4  # of a piece, at most, until its tempo is heard in its sound
SAME_TEMPO = 0.04  # share by which a tempo that is heard may differ
MOST_GAIN = 10.0  # by which a recording is made louder or softer


@dataclass(frozen=True)
class ContinueRequest:
    """Request for music that goes on from a recording. Raises FieldError where its fields are out of range."""

    seconds: float = 30.0  # of each piece
    count: int = 1
    seed: int = 1
    style: str = ""  # "": that of the song's tag, where the checkpoint knows it
    tempo: float | None = None  # beats a minute; None: the song's
    from_seconds: float | None = None  # second of the song at which what is drawn begins; None: its end
    new_only: bool = False  # without the song's own end

    def __post_init__(self) -> None:
        if self.from_seconds is not None and self.from_seconds < SHORTEST_SECONDS:
            raise FieldError(
                "{from} {0:g}: expected {1:g} s or more, as what is before it is gone on from",
                self.from_seconds, SHORTEST_SECONDS,
            )  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """A recording up to the joint, heard as the checkpoint's music was: `past` (C, K, P), 1 being its level."""

    title: str
    genre: str
    past: Float
    beats: Beats  # from the past's first frame on
    level: float  # factor back to full scale
    tone: Tone | None
    joint_seconds: float  # second of the song

    def style(self, styles: Sequence[str]) -> str | None:
        """Return which of these styles the song's tag says; None for another."""
        genre = self.genre.lower().strip()
        words = [genre, *re.findall(r"\w+", genre)]
        return next((word for word in words if word in styles), None)


def check_checkpoint(sampler: Sampler, name: str) -> None:
    """Raise CheckpointError where the model cannot go on from a recording; `name` is the checkpoint's."""
    if not sampler.capabilities.extends:
        raise CheckpointError(f"{name}: this model cannot go on from music; `musigan models` says which can")
    if not hears_recordings(sampler):
        raise CheckpointError(
            f"{name}: its music has {sampler.shape.channels} tracks, a recording has two sides and drums at most; give "
            "sample --prime a keys store of such tracks"
        )


def hear(path: str, sampler: Sampler, from_seconds: float | None = None) -> Ending:
    """Hear the end of a recording, or what comes before `from_seconds`: PAST_SECONDS at most, up to a beat.

    Raises AudioError, with the file's name, where it cannot be decoded, is too short or silent there.
    """
    from musigan.sound.audio import decode

    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder: name a song")
    rate = int(sampler.store.header.sample_rate)
    sides: Any = "mono" if sampler.shape.pitched == 1 else "stereo"
    try:
        recording = decode(path, rate, seconds=from_seconds, channels=sides)
        if from_seconds is not None and recording.seconds < from_seconds - 0.01:
            raise AudioError(f"too short: {recording.seconds:.1f} s, and --from {from_seconds:g}")
        end = recording.signal.shape[1] if from_seconds is not None else audible_end(recording.signal, rate)
        start = max(end - round(PAST_SECONDS * rate), 0)
        roll, level, beats, tone = _heard(recording.signal[:, start:end], sampler)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    joint, begin = _joint(roll.shape[-1], beats, sampler)
    past, begin_seconds = roll[..., begin:joint], begin * sampler.frame_seconds
    own_beats = beats.counted_from(begin_seconds).until((joint - begin + 1) * sampler.frame_seconds)
    joint_seconds = start / rate + joint * sampler.frame_seconds
    title = recording.title or Path(path).stem
    return Ending(title, recording.genre or "", past, own_beats, level, tone, joint_seconds)


def audible_end(signal: Float, rate: int) -> int:
    """Return the sample at which a signal (C, S) begins to die away for good, or becomes silent after a soft ending.

    Raises AudioError where it is silent everywhere.
    """
    step = max(round(LOUDNESS_STEP * rate), 1)
    steps = -(-signal.shape[1] // step)
    padded = np.pad(signal, ((0, 0), (0, steps * step - signal.shape[1])))
    loudness = np.sqrt(np.square(padded, dtype=np.float32).reshape(len(signal), steps, step).mean((0, 2)))
    if not loudness.any():
        raise AudioError("it is silent: there is no music to go on from")
    usual = np.quantile(loudness[loudness > 0], 0.75)
    silent, faded = (int(np.flatnonzero(loudness > share * usual)[-1] + 1) for share in (SILENT_SHARE, FADED_SHARE))
    end = faded if (silent - faded) * LOUDNESS_STEP <= FADE_SECONDS else silent
    return min(end * step, signal.shape[1])


def _heard(signal: Float, sampler: Sampler) -> tuple[Float, float, Beats, Tone | None]:
    """Return roll (C, K, T), level, beats and tone of a signal (C, S), as the checkpoint's store has them."""
    from musigan.analysis.bands import analysed_bands, roll_of
    from musigan.analysis.beats.finding import can_use_bands, find_beats
    from musigan.analysis.preparing import with_drums
    from musigan.analysis.timbres import find_tone, thinned

    header, rate = sampler.store.header, int(sampler.store.header.sample_rate)
    least_seconds = SHORTEST_SECONDS if sampler.family.on_beats else sampler.past_seconds
    seconds = signal.shape[1] / rate
    if seconds < least_seconds - 1e-6:
        raise AudioError(f"too short: {seconds:.1f} s of music, {least_seconds:g} s are needed to go on from")
    settings = header.key_settings
    bands = analysed_bands(signal, rate, settings)
    roll, level = roll_of(bands, rate, settings)
    if not roll.any():
        raise AudioError("it is silent before the joint: choose another place by --from")
    tone = find_tone(signal, rate, thinned(bands), roll, level, settings)
    if has_own_drums(header.tracks):
        roll = with_drums(roll, signal, rate, settings)
    beats = Beats.none()
    if sampler.family.on_beats:
        beats = find_beats(signal, rate, bands if can_use_bands(settings) else None)
    return roll, float(level), beats, tone


def _joint(frames: int, beats: Beats, sampler: Sampler) -> tuple[int, int]:
    """Return the frame of the joint, the last beat's of a roll of `frames`, and that at which the past begins.

    Without a beat the joint is the end, and the past is whole beats of the clock that free music is composed on.
    """
    frame_seconds = sampler.frame_seconds
    if not sampler.family.on_beats:
        return frames, frames - sampler.roll_shape.frames
    if beats.is_free or len(beats) < 2:
        clock_beats = int(frames * frame_seconds / FREE_BEAT_SECONDS + 1e-6)
        return frames, max(frames - round(clock_beats * FREE_BEAT_SECONDS / frame_seconds), 0)
    joint = round(float(beats.seconds[beats.seconds <= frames * frame_seconds + 1e-6][-1]) / frame_seconds)
    least = round(SHORTEST_SECONDS / frame_seconds)
    return (min(joint, frames), 0) if joint > least else (frames, 0)


@dataclass(frozen=True)
class Continued:
    """A piece that goes on from a song: its sound (2, S), and itself as an item, both with the seconds before it."""

    piece: Piece
    signal: Float
    item: StoreItem

    @property
    def song(self) -> Song:
        """What is known of it; its beats are counted from where its sound begins."""
        return self.item[2]


@dataclass
class Continuation:
    """One request to a checkpoint called `name`, from the recording at `path`."""

    request: ContinueRequest
    sampler: Sampler
    name: str
    path: str

    def __post_init__(self) -> None:
        check_checkpoint(self.sampler, self.name)
        able, request = self.sampler.capabilities, self.request
        beat = None if request.tempo is None else Beat(request.tempo)
        self._asked = Request(style=request.style or None, beat=beat)
        self._asked.check(able)
        self.frames = self.sampler.frames(request.seconds)
        self.ending = hear(self.path, self.sampler, request.from_seconds)
        if self._asked.style is None and "style" in able.conditions:
            self._asked = replace(self._asked, style=self.ending.style(able.styles))

    @property
    def own_frames(self) -> int:
        """Frames before the joint that sound in the song's own recording; 0 if only new music is wanted."""
        frames = min(round(OWN_SECONDS / self.sampler.frame_seconds), self.ending.past.shape[-1])
        return 0 if self.request.new_only else frames

    def sounding(self, sound: SoundSettings) -> Iterator[Continued]:
        """Draw the pieces and make them sound, each after the song's own recording unless only new music is wanted.

        Those of a seed are always the same. Of TRIES draws the first is taken in whose sound the beat goes on.
        """
        past_beats = self.ending.beats if self.sampler.family.on_beats else None
        request = replace(self._asked, past=self.ending.past, past_beats=past_beats)
        request.check(self.sampler.capabilities)
        lead = min(round(LEAD_SECONDS / self.sampler.frame_seconds), self.ending.past.shape[-1])
        joint = lead * sound.settings.frame_samples(sound.sample_rate)
        own = self._recording(sound.sample_rate) if self.own_frames else None
        for number in range(1, self.request.count + 1):
            piece, signal, seed = self._best_heard(number, request, lead, sound)
            past = self.ending.past[..., self.ending.past.shape[-1] - self.own_frames :]
            item = self._item(piece, seed, np.concatenate((past, piece.roll), -1))
            signal = signal[:, joint:] if own is None else joined_sound(own, signal, joint, sound.sample_rate)
            yield Continued(piece, signal, item)

    def _best_heard(self, number: int, request: Request, lead: int, sound: SoundSettings) -> tuple[Piece, Float, int]:
        """Return piece `number`, its sound (2, S), which begins `lead` frames before the piece does, and its seed.

        The first of TRIES draws in which its tempo is heard; if there is none, the first draw. Music that has no tempo
        is drawn once.
        """
        begin = lead * sound.settings.frame_samples(sound.sample_rate)
        first: tuple[Piece, Float, int] | None = None
        for attempt in range(TRIES):
            seed = seed_of(self.request.seed, attempt) if attempt else self.request.seed
            piece = self.sampler.piece(seed, number, self.frames, request=request)
            roll = np.concatenate((self.ending.past[..., -lead:], piece.roll), -1)
            signal = in_stereo(sound.synthesise_roll(roll, self.ending.tone))
            steady = piece.beats.steady() if piece.beats is not None and len(piece.beats) else None
            if steady is None or is_heard(steady.tempo, signal[:, begin:], sound.sample_rate):
                return piece, signal, seed
            first = first or (piece, signal, seed)
        assert first is not None
        return first

    def _recording(self, rate: int) -> Float:
        """Return the song's own sound before the joint, (2, S)."""
        from musigan.sound.audio import decode

        seconds = self.own_frames * self.sampler.frame_seconds
        own = decode(self.path, rate, max(self.ending.joint_seconds - seconds, 0.0), seconds).signal
        missing = max(round(seconds * rate) - own.shape[1], 0)  # where resampling to another rate ended sooner
        return np.pad(own, ((0, 0), (0, missing)), mode="edge")

    def _item(self, piece: Piece, seed: int, roll: Float) -> StoreItem:
        """Return a piece drawn by a seed, with what is before it in `roll`, as an item of a keys store."""
        before = roll.shape[-1] - piece.roll.shape[-1]
        beats = piece.beats
        if beats is not None:
            start_seconds = (self.ending.past.shape[-1] - before) * self.sampler.frame_seconds
            beats = beats.counted_from(start_seconds - self.sampler.frame_seconds / 2)
            beats = replace(beats, seconds=np.maximum(beats.seconds - self.sampler.frame_seconds / 2, 0.0))
        whole = replace(piece, roll=roll, beats=beats)
        array, names, song = items.as_item(whole, self.sampler, seed, self.name)
        song = replace(
            song, title=f"{self.ending.title}, continued {piece.number}", level=self.ending.level,
            source=f"{song.source}, after {self.ending.title}",
            primed_seconds=before * self.sampler.frame_seconds or None,
        ).with_tone(self.ending.tone)  # fmt: skip
        return array, names, song

    def write(self, target: Target, midi: MidiTarget | None, stream: IO[bytes] | None, steps: Steps) -> str:
        """Write the pieces' sound, and their notes where a file for them is named; return in words what was made."""
        from musigan.midi import transcription
        from musigan.store.layout import Item, ItemInfo

        sound, files, parts = sounding.settings_of(self.sampler.header), [], []
        transcriber = transcription.Transcriber.of_store(self.sampler.header)
        for number, continued in enumerate(self.sounding(sound), 1):
            path = target.refuse_existing(target.numbered(number)) if target.split else target.out
            files.append(sounding.write(continued.signal, continued.song, sound, path, target, stream))
            if midi is not None:
                array, names, song = continued.item
                info = ItemInfo(song.title, array.shape, str(array.dtype), array.shape, names, song)
                parts.append(transcriber.part(Item(info, array)))
            steps.step(files[-1])
        if midi is not None:
            files += transcription.write(parts, transcriber.track_names, midi, None)
        return f"{', '.join(files)}: {self._words(continued.piece)}"

    def _words(self, piece: Piece) -> str:
        """Say what was drawn, as a piece is an example of."""
        from musigan.machine.reporting import duration

        own = f"{duration(self.own_frames * self.sampler.frame_seconds)} of {self.ending.title}, then "
        seconds = self.frames * self.sampler.frame_seconds
        lead = own if self.own_frames else ""
        return f"{lead}{duration(seconds)} of new music{sounding.manner(piece)}, seed {self.request.seed}"


def is_heard(tempo: float, signal: Float, rate: int) -> bool:
    """Return whether a tempo is the one that is found in a signal (C, S)."""
    from musigan.analysis.beats.finding import find_beats

    steady = find_beats(signal, rate).steady()
    return steady is not None and abs(steady.tempo / tempo - 1) <= SAME_TEMPO


def joined_sound(own: Float, drawn: Float, joint: int, rate: int) -> Float:
    """Join a recording (2, R) to what follows its end, sample `joint` of drawn sound (2, S): (2, R + S - joint).

    Before the joint the drawn sound is of the same notes as the recording there. The recording is made as loud as what
    follows it for as long, and passes into the drawn sound at equal power, over JOINT_SECONDS that end at the joint.
    """
    from musigan.sound import lufs

    difference = lufs.measure(drawn[:, joint : joint + own.shape[1]], rate) - lufs.measure(own, rate)
    gain = float(np.clip(10 ** (difference / 20), 1 / MOST_GAIN, MOST_GAIN)) if np.isfinite(difference) else 1.0
    louder = own * np.float32(gain)
    fade = min(round(JOINT_SECONDS * rate), joint, own.shape[1])
    angle = (np.arange(fade, dtype=np.float32) + 0.5) / max(fade, 1) * np.float32(np.pi / 2)
    crossed = louder[:, own.shape[1] - fade :] * np.cos(angle) + drawn[:, joint - fade : joint] * np.sin(angle)
    return np.concatenate((louder[:, : own.shape[1] - fade], crossed, drawn[:, joint:]), axis=1).astype(np.float32)

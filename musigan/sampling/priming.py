"""Priming: the last seconds of a song as a roll to continue, made as the checkpoint's own training rolls were.

A recording is decoded and analysed whole, with the sample rate, keys, bands and frames of the checkpoint's store, so
that 1 is the song's level here, too. Of a keys store every item gives a roll of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.errors import AudioError, MusiganError, SettingsError
from musigan.files.finding import AUDIO_SUFFIXES
from musigan.files.remote import is_url
from musigan.rolls import tracks as tracks_module
from musigan.rolls.beats import Beats
from musigan.rolls.tracks import has_own_drums
from musigan.sampling import items
from musigan.store.alike import TRAINED, require_alike
from musigan.store.locations import looks_like_store

if TYPE_CHECKING:
    from musigan.sampling.sampler import Piece, Sampler
    from musigan.sound.audio import Recording
    from musigan.store import Item, Reader, Song


@dataclass(frozen=True)
class Prime:
    """Music that a piece continues: `past` (C, K, P) in linear loudness, 1 being the level of its song."""

    title: str
    past: np.ndarray
    level: float | None = None  # factor back to full scale
    beats: Beats | None = None  # from the past's first frame on, where the model goes by them


def is_recording(source: str) -> bool:
    """Return whether `source` is an audio file: neither stream nor store; of a URL its ending says so."""
    if is_url(source):
        return Path(source).suffix.lower() in AUDIO_SUFFIXES
    if source == "-" or not os.path.isfile(source):
        return False
    return not looks_like_store(source)


def hears_recordings(sampler: Sampler) -> bool:
    """Return whether the music of a checkpoint is recordings: two sides at most, and their drums."""
    tracks = sampler.store.header.tracks
    return tracks_module.is_recording(tracks) and (sampler.shape.channels <= 2 or has_own_drums(tracks))


def of_recording(path: str, sampler: Sampler, from_seconds: float | None = None) -> Prime:
    """Return the end of a recording, or the part from `from_seconds` on, as long as a training roll.

    Raises AudioError where it cannot be decoded, is too short or silent there.
    """
    from musigan.analysis.beats.finding import find_beats
    from musigan.sound.audio import decode

    sample_rate = int(sampler.store.header.sample_rate)
    channels = sampler.shape.channels
    if not hears_recordings(sampler):
        raise SettingsError(
            f"--prime {path}: the checkpoint's music has {channels} tracks, a recording has two channels "
            "at most; give it a keys store of such tracks"
        )
    sides: Any = "mono" if sampler.shape.pitched == 1 else "stereo"
    try:
        recording = decode(path, sample_rate, seconds=None, channels=sides)
        roll, level = _analysed(recording, sampler)
        start = past_start(roll, sampler, from_seconds)
        beats = find_beats(recording.signal, sample_rate) if sampler.family.on_beats else Beats.none()
    except MusiganError as error:
        raise AudioError(f"--prime {path}: {error}") from error
    return _prime(recording.title or Path(path).stem, roll, start, level, beats, sampler)


def _analysed(recording: Recording, sampler: Sampler) -> tuple[np.ndarray, float]:
    """Return a recording's roll (C, K, T), with drums where the checkpoint's music has them, and its level."""
    from musigan.analysis.bands import analyse
    from musigan.analysis.preparing import with_drums

    header = sampler.store.header
    sample_rate, settings = int(header.sample_rate), header.key_settings
    roll, level = analyse(recording.signal, sample_rate, settings)
    if has_own_drums(header.tracks):
        roll = with_drums(roll, recording.signal, sample_rate, settings)
    return roll, level


def of_items(
    reader: Reader, sampler: Sampler, from_seconds: float | None, skip: Callable[[str, str], None]
) -> Iterator[Prime]:
    """Yield the end of each item of a keys store, or its part from `from_seconds` on, as `of_recording` does.

    `skip` gets title and reason of items that are too short or silent there. Raises StoreError where the store has
    other keys or frames than the checkpoint's.
    """
    require_alike((reader.source, reader.header), ("the checkpoint", sampler.store.header), TRAINED)
    return _of_items(reader, sampler, from_seconds, skip)


def _of_items(
    items: Iterable[Item], sampler: Sampler, from_seconds: float | None, skip: Callable[[str, str], None]
) -> Iterator[Prime]:
    from musigan.store.songs import piece_roll

    frame_seconds = sampler.store.header.frame_seconds
    for item in items:
        try:
            roll = piece_roll(item, frame_seconds)
            start = past_start(roll, sampler, from_seconds)
        except AudioError as error:
            skip(item.title, str(error))
            continue
        beats = item.song.every_beat.counted_from(item.song.begin_seconds)
        yield _prime(item.title, roll, start, item.song.level, beats, sampler)


def _prime(title: str, roll: np.ndarray, start: int, level: float | None, beats: Beats, sampler: Sampler) -> Prime:
    """Return the part of roll (C, K, T) from frame `start` on, as long as a chunk of the checkpoint's store."""
    frames = sampler.roll_shape.frames
    start_seconds, seconds = start * sampler.frame_seconds, frames * sampler.frame_seconds
    own_beats = beats.counted_from(start_seconds).until(seconds)
    return Prime(title, roll[..., start : start + frames], level, own_beats)


def past_start(roll: np.ndarray, sampler: Sampler, from_seconds: float | None) -> int:
    """Return the frame of roll (C, K, T) at which the past begins: at `from_seconds`, or so that it is the end.

    Raises AudioError where there are not as many, all are silent, or they hold values that are not finite.
    """
    frame_seconds, frames = sampler.frame_seconds, sampler.roll_shape.frames
    total_frames = roll.shape[-1]
    start = max(total_frames - frames, 0) if from_seconds is None else round(from_seconds / frame_seconds)
    if start + frames > total_frames:
        left_seconds = max(total_frames - start, 0) * frame_seconds
        after = f" after {from_seconds:g} s" if from_seconds else ""
        raise AudioError(f"too short: {left_seconds:g} s{after}, {frames * frame_seconds:g} s are needed to go on from")
    past = roll[..., start : start + frames]
    if not np.isfinite(past).all():
        raise AudioError("holds values that are not finite")
    if not past.any():
        end_seconds = (start + frames) * frame_seconds
        raise AudioError(
            f"silent from {start * frame_seconds:g} to {end_seconds:g} s: choose another place by --prime-from"
        )
    return start


def as_item(
    piece: Piece, prime: Prime, sampler: Sampler, seed: int, name: str
) -> tuple[np.ndarray, tuple[str, ...], Song]:
    """Convert the prime and the piece that continues it to one item of a keys store, at the song's level."""
    primed_piece = replace(piece, roll=np.concatenate((prime.past, piece.roll), -1))
    item, names, song = items.as_item(primed_piece, sampler, seed, name)
    song = replace(
        song,
        title=f"{prime.title}, continued {piece.number}",
        source=f"{song.source}, after {prime.title}",
        primed_seconds=prime.past.shape[-1] * float(sampler.store.header.frame_seconds),
        level=float(prime.level) if prime.level else song.level,
    )
    return item, names, song

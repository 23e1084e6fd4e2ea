"""Pieces as items of a keys store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.rhythm import pulse
from musigan.rolls import beats
from musigan.store import Song

if TYPE_CHECKING:
    from musigan.rolls.beats import Beat
    from musigan.sampling.sampler import Piece, Sampler

LEAST_PULSE = 0.3  # of music with a beat; noise has .25

StoreItem = tuple[np.ndarray, tuple[str, ...], Song]  # array, dimension names, song


def found_beat(roll: np.ndarray, frame_seconds: float) -> Beat | None:
    """Return the beat that is found in a roll (C, K, T) of a model that knows none; None without a pulse."""
    has_pulse = pulse(beats.onset_strength(roll), frame_seconds) >= LEAST_PULSE
    return beats.estimate(roll, frame_seconds) if has_pulse else None


def as_item(piece: Piece, sampler: Sampler, seed: int, name: str) -> StoreItem:
    """Convert a piece to an item of a keys store: (chunks, C, K, T) float16, dimension names, song.

    Where its model knows no beat, its song has the one that is found in it.
    """
    length, frames = sampler.roll_shape.frames, piece.roll.shape[-1]
    count = -(-frames // length)
    padded = np.zeros((*piece.roll.shape[:2], count * length), np.float32)
    padded[..., :frames] = piece.roll
    blocks = padded.reshape(*piece.roll.shape[:2], count, length).transpose(2, 0, 1, 3)  # (chunks, C, K, T)
    header = sampler.store.header
    beat = piece.beat or (found_beat(piece.roll, sampler.frame_seconds) if piece.beats is None else None)
    song = Song(
        title=f"{name} {piece.number}",
        artist="MusiGAN",
        source=f"{name}, seed {seed}, piece {piece.number}",
        level=sampler.store.level,
        starts=tuple(index * float(header.chunk_seconds) for index in range(count)),
        seconds=frames * float(header.frame_seconds),
        seed=seed,
        genre=piece.genre,
        tempo=None if beat is None else beat.tempo,
        first_beat=None if beat is None else beat.first_beat,
        time_signature=None if beat is None else (beat.beats, 4),
        score=piece.score,
    ).with_tone(sampler.store.tone)
    if piece.beats is not None:
        song = song.with_beats(piece.beats)
    channels = "tracks" if header.tracks else "channels"
    return np.ascontiguousarray(blocks, np.float16), ("chunks", channels, "keys", "frames"), song

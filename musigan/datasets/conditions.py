"""Conditions: the tensors besides the roll that both sides of a conditional model receive. One function a condition.

A family names those it needs (`Family.conditions`); the dataset computes them, the loop hands them to the objective,
which passes them to the networks by name. When music is generated, `Conditions` makes them from the user's request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from musigan.rolls.beats import Beat, clock
from musigan.store import Song

FIXED_TRACK_SHARE = 0.3  # share of multi-track rolls that come with one of their tracks as the condition
TO_GENERATE = -1.0  # in the cells of a track that the model is to generate


@dataclass(frozen=True)
class RollSource:
    """The source of a training roll: its song, its place in the song and the roll itself."""

    song: Song
    start_seconds: float  # of the roll's first frame, in the song
    before: np.ndarray | None  # (C, K, T) in model space: the chunk before it, where a condition needs it
    roll: np.ndarray  # (C, K, T) in model space
    frame_seconds: float
    rng: np.random.Generator  # seeded by epoch and roll, so the same roll of an epoch draws the same numbers
    beat: Beat | None = None  # seconds counted from the roll's first frame; where a condition needs it
    styles: Sequence[str] = ()  # of the store, where a condition needs them


def question(excerpt: RollSource) -> np.ndarray:
    """Return the call that the roll answers: the chunk before it, (C, K, T) in model space."""
    assert excerpt.before is not None
    return excerpt.before


def style(excerpt: RollSource) -> np.ndarray:
    """Return the number of the song's style among the store's, from 1, int64 (); 0 where it has none."""
    return style_number(style_of(excerpt.song), excerpt.styles)


def tempo(excerpt: RollSource) -> np.ndarray:
    """Return the clock of the song's beat and bar over the roll, (4, T)."""
    return clock(excerpt.beat or Beat(), excerpt.roll.shape[-1], excerpt.frame_seconds)


def kept(excerpt: RollSource) -> np.ndarray:
    """Return one track of the roll, drawn at random, and NOT_GIVEN elsewhere: (C, K, T) in model space.

    With probability 1 - KEPT_SHARE, and for a roll of one channel, all tracks are NOT_GIVEN.
    """
    condition = np.full_like(excerpt.roll, TO_GENERATE)
    tracks = len(condition)
    if tracks > 1 and excerpt.rng.random() < FIXED_TRACK_SHARE:
        track = int(excerpt.rng.integers(tracks))
        condition[track] = excerpt.roll[track]
    return condition


CONDITIONS: dict[str, Callable[[RollSource], np.ndarray]] = {
    "question": question,
    "style": style,
    "tempo": tempo,
    "kept": kept,
}


def style_of(song: Song) -> str:
    """Return a song's style; "" where it has none."""
    return song.style


def style_number(name: str, styles: Sequence[str]) -> np.ndarray:
    """Return a style's number among `styles`, from 1, int64 (); 0 for a style that is not among them."""
    return np.asarray(styles.index(name) + 1 if name in styles else 0, np.int64)


def styles_of(songs: Iterable[Song]) -> tuple[str, ...]:
    """List the styles of songs: the most frequent first, then by name."""
    counts = Counter(name for name in map(style_of, songs) if name)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


@dataclass(frozen=True)
class Conditions:
    """The request for a generated piece, from which the conditions of any part of it are cut."""

    style: int = 0  # number of the style, from 1; 0 is none
    beat: Beat = field(default_factory=Beat)  # seconds counted from the piece's first frame
    kept: np.ndarray | None = None  # (C, K, T) in model space, NOT_GIVEN in tracks that are to be generated

    def at_frames(self, start: int, shape: tuple[int, int, int], frame_seconds: float) -> dict[str, np.ndarray]:
        """Return the conditions, by name, of the part of `shape` (C, K, T) that begins at frame `start`."""
        frames = shape[2]
        kept_roll = np.full(shape, TO_GENERATE, np.float32)
        if self.kept is not None:
            stretch = self.kept[..., start : start + frames]
            kept_roll[self.kept.min(axis=(1, 2)) >= 0] = 0.0  # a fixed track is silent after its end
            kept_roll[..., : stretch.shape[-1]] = stretch
        return {
            "style": np.asarray(self.style, np.int64),
            "tempo": clock(self.beat.counted_from(start * frame_seconds), frames, frame_seconds),
            "kept": kept_roll,
        }

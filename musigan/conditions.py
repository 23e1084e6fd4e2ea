"""Conditions: what goes with a training roll into both sides of a conditional model. One function a condition.

A family names those it needs (`Family.needs`); the dataset makes them, the loop hands them to the objective, which
passes them to the networks by name. When music is drawn, `Asked` makes them from what was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from musigan.beats import Beat, clock

KEPT_SHARE = 0.3  # of the rolls of several tracks that come with one of them given
NOT_GIVEN = -1.0  # in the cells of a track that is to be made


@dataclass(frozen=True)
class Excerpt:
    """Where a training roll was taken from."""

    attributes: Mapping[str, Any]  # of its song
    start_seconds: float  # of the roll's first frame, in the song
    before: np.ndarray | None  # (C, K, T) in model space: what sounded before, where it is needed
    roll: np.ndarray  # (C, K, T) in model space: itself
    frame_seconds: float
    rng: np.random.Generator  # the same for the same roll of the same epoch
    beat: Beat | None = None  # seconds counted from the roll's first frame; where it is needed
    styles: Sequence[str] = ()  # the store's, where they are needed


def question(excerpt: Excerpt) -> np.ndarray:
    """The chunk before the roll, (C, K, T) in model space: the call that the roll answers."""
    assert excerpt.before is not None
    return excerpt.before


def style(excerpt: Excerpt) -> np.ndarray:
    """The song's style as its number in the store's, from 1, int64 (); 0 where it has none."""
    return style_number(style_of(excerpt.attributes), excerpt.styles)


def tempo(excerpt: Excerpt) -> np.ndarray:
    """The clock of the song's beat and bar over the roll, (4, T)."""
    return clock(excerpt.beat or Beat(), excerpt.roll.shape[-1], excerpt.frame_seconds)


def kept(excerpt: Excerpt) -> np.ndarray:
    """Now and then one track of the roll, the others NOT_GIVEN, as all are mostly: (C, K, T) in model space."""
    given = np.full_like(excerpt.roll, NOT_GIVEN)
    tracks = len(given)
    if tracks > 1 and excerpt.rng.random() < KEPT_SHARE:
        track = int(excerpt.rng.integers(tracks))
        given[track] = excerpt.roll[track]
    return given


CONDITIONS: dict[str, Callable[[Excerpt], np.ndarray]] = {
    "question": question,
    "style": style,
    "tempo": tempo,
    "kept": kept,
}


def style_of(attributes: Mapping[str, Any]) -> str:
    """A song's genre as its tag says, or else the name of its folder, in lower case; "" where there is neither."""
    named = str(attributes.get("genre") or "").strip() or PurePosixPath(str(attributes.get("source") or "")).parent.name
    return named.lower()


def style_number(name: str, styles: Sequence[str]) -> np.ndarray:
    """A style's number among `styles`, from 1, int64 (); 0 for one that is none of them."""
    return np.asarray(styles.index(name) + 1 if name in styles else 0, np.int64)


def styles_of(songs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The styles of songs, given by their attributes: the most frequent first, then by name."""
    counts = Counter(name for name in map(style_of, songs) if name)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


@dataclass(frozen=True)
class Asked:
    """What a piece is drawn under, to be cut into the conditions of any stretch of it."""

    style: int = 0  # its number, from 1; 0 is none
    beat: Beat = field(default_factory=Beat)  # seconds counted from the piece's first frame
    kept: np.ndarray | None = None  # (C, K, T) in model space, NOT_GIVEN in tracks that are to be made

    def given(self, start: int, shape: tuple[int, int, int], frame_seconds: float) -> dict[str, np.ndarray]:
        """The conditions of the `shape` (C, K, T) that begins at frame `start`, by name."""
        frames = shape[2]
        part = np.full(shape, NOT_GIVEN, np.float32)
        if self.kept is not None:
            found = self.kept[..., start : start + frames]
            part[self.kept.min(axis=(1, 2)) >= 0] = 0.0  # behind its end a given track is silent
            part[..., : found.shape[-1]] = found
        return {
            "style": np.asarray(self.style, np.int64),
            "tempo": clock(self.beat.seen_from(start * frame_seconds), frames, frame_seconds),
            "kept": part,
        }

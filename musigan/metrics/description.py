"""What is kept of a set of rolls to judge it by: features of each roll and a small picture, some 20 kB a roll."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musigan.data import compress
from musigan.metrics.features import musical_features
from musigan.metrics.memorisation import CopyFinder
from musigan.metrics.notemetrics import note_metrics
from musigan.metrics.randomnet import random_features
from musigan.parallel import ordered_map

PICTURE_SECONDS = 0.1  # a picture's frame


@dataclass(frozen=True)
class Geometry:
    """What a roll's axes mean."""

    frame_seconds: float
    low_key: int


@dataclass(frozen=True)
class Description:
    """N rolls, described. Rows go together."""

    songs: np.ndarray  # (N,) str: which rolls are of one song
    musical: np.ndarray  # (N, F), named by features.musical_features
    random: np.ndarray  # (N, D)
    notes: np.ndarray  # (N, M), named by notemetrics.NAMES; NaN where undefined
    copies: np.ndarray  # (N,) distance to the nearest training song; NaN where that was not asked
    pictures: np.ndarray  # (N, K, T') float16, T' frames of 0.1 s

    def __len__(self) -> int:
        return len(self.songs)

    def take(self, rows: np.ndarray) -> Description:
        """Some of the rolls."""
        return Description(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(first: Description, second: Description) -> Description:
        """Both sets, one after the other."""
        fields = Description.__dataclass_fields__
        return Description(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in fields))


def picture(roll: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Mean loudness over channels and 0.1 s, (C, K, T) linear -> (K, T') in [0, 1], as the ear ranks it."""
    plane = compress(roll).mean(axis=0)
    step = _picture_step(frame_seconds)
    count = picture_frames(plane.shape[1], frame_seconds)
    return np.asarray(plane[:, : count * step].reshape(len(plane), count, -1).mean(axis=2))


def picture_frames(frames: int, frame_seconds: float) -> int:
    """Frames of the picture of a roll of `frames` frames; those that are left over at its end are not shown."""
    return max(1, frames // _picture_step(frame_seconds))


def _picture_step(frame_seconds: float) -> int:
    return max(1, round(PICTURE_SECONDS / frame_seconds))


def describe(
    rolls: Iterable[np.ndarray],
    songs: np.ndarray,
    geometry: Geometry,
    finder: CopyFinder | None = None,
    own: bool = False,
    jobs: int = 1,
) -> Description:
    """Describe rolls (C, K, T), one of each of `songs`; `jobs` threads work side by side.

    finder: who looks for copies of training songs; `own` says that the rolls are of these songs themselves, and each
    is held against the other songs only.
    """

    def work(numbered: tuple[int, np.ndarray]) -> tuple[np.ndarray, ...]:
        """All that is kept of one roll."""
        number, roll = numbered[0], np.asarray(numbered[1], np.float32)
        musical = musical_features(roll, geometry.frame_seconds, geometry.low_key)
        small = picture(roll, geometry.frame_seconds)
        return (
            np.array(list(musical.values())),
            random_features(roll),
            note_metrics(roll, geometry.frame_seconds, geometry.low_key),
            np.array(finder.distance(small, songs[number] if own else None) if finder else np.nan),
            small.astype(np.float16),
        )

    found = ordered_map(work, enumerate(rolls), jobs)
    return Description(np.asarray(songs), *(np.stack(column) for column in zip(*found, strict=True)))

"""From rolls to their description: features, note metrics, a small picture, and how near training songs are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from musigan.data import compress
from musigan.metrics.description import Description, Geometry
from musigan.metrics.features import musical_features
from musigan.metrics.memorisation import CopyFinder
from musigan.metrics.notemetrics import note_metrics
from musigan.metrics.randomnet import random_features
from musigan.parallel import ordered_map
from musigan.tracks import DRUMS, pitched, together

PICTURE_SECONDS = 0.1  # a picture's frame


def picture(roll: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Mean loudness over sides and 0.1 s, (C, K, T) linear -> (K, T') in [0, 1], as the ear ranks it."""
    plane = compress(roll).mean(axis=0)
    step = _picture_step(frame_seconds)
    count = picture_frames(plane.shape[1], frame_seconds)
    return np.asarray(plane[:, : count * step].reshape(len(plane), count, -1).mean(axis=2))


def as_sides(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """A roll (C, K, T) as metrics of recordings can take it; instruments as one side, (1, K, T), without the drums.

    Drums have no pitch, and two instruments are not left and right.
    """
    return together(pitched(roll, tracks), tracks)[None] if tracks else roll


def with_drums(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """A roll (C, K, T) as the random network takes it: what has a pitch beside the drums, (2, K, T), if there are any.

    It looks at the channels' mean and difference.
    """
    sides = as_sides(roll, tracks)
    return np.concatenate((sides, roll[[tracks.index(DRUMS)]])) if DRUMS in tracks else sides


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
        number, played = numbered[0], np.asarray(numbered[1], np.float32)
        roll = as_sides(played, geometry.tracks)
        musical = musical_features(roll, geometry.frame_seconds, geometry.low_key)
        small = picture(roll, geometry.frame_seconds)
        return (
            np.array(list(musical.values())),
            random_features(with_drums(played, geometry.tracks)),
            note_metrics(played, geometry.frame_seconds, geometry.low_key, geometry.tracks),
            np.array(finder.distance(small, songs[number] if own else None) if finder else np.nan),
            small.astype(np.float16),
        )

    found = ordered_map(work, enumerate(rolls), jobs)
    return Description(np.asarray(songs), *(np.stack(column) for column in zip(*found, strict=True)))

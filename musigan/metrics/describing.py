"""Descriptions of rolls: features, note metrics, a small picture, and the distance to the nearest training song."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from musigan.machine.parallel import ordered_map
from musigan.metrics.comparison import Description
from musigan.metrics.features import musical_features
from musigan.metrics.memorisation import CopyFinder
from musigan.metrics.notemetrics import note_metrics
from musigan.metrics.randomnet import random_features
from musigan.rolls.loudness import compress
from musigan.rolls.shape import Geometry
from musigan.rolls.tracks import DRUMS, has_own_drums, is_recording, mix_pitched, sides_or_tracks

PICTURE_SECONDS = 0.1  # length of a picture's frame


def picture(roll: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Average the compressed loudness over channels and 0.1 s, (C, K, T) linear -> (K, T') in [0, 1]."""
    loudness = compress(roll).mean(axis=0)
    step = _picture_step(frame_seconds)
    count = picture_frames(loudness.shape[1], frame_seconds)
    return np.asarray(loudness[:, : count * step].reshape(len(loudness), count, -1).mean(axis=2))


def as_sides(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Return a roll (C, K, T) as metrics of pitch take it: the sides of a recording, instruments as one side (1, K, T).

    Drums have no pitch and are left out, and two instruments are not left and right.
    """
    return sides_or_tracks(roll, tracks) if is_recording(tracks) else mix_pitched(roll, tracks)[None]


def with_drums(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Return a roll (C, K, T) as the random network takes it, with drums beside the pitched tracks, (2, K, T).

    Without drums it is as `as_sides` returns it. The network looks at the channels' mean and difference. Drums of a
    recording are heard on its last side, so that silent ones change nothing.
    """
    sides = as_sides(roll, tracks)
    if not has_own_drums(tracks):
        return np.concatenate((sides, roll[[tracks.index(DRUMS)]])) if DRUMS in tracks else sides
    return np.stack((sides[0], np.maximum(sides[-1], roll[-1])))


def picture_frames(frames: int, frame_seconds: float) -> int:
    """Return the frames of the picture of a roll of `frames` frames; those left over at its end are not shown."""
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
    """Describe rolls (C, K, T), one for each of `songs`, in `jobs` parallel threads.

    finder: searches for copies of training songs; without it copy distances are NaN. `own` means that the rolls are of
    these training songs themselves; each is then compared with the other songs only.
    """

    def work(numbered: tuple[int, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return one roll's row of each field of Description but `songs`."""
        number, full_roll = numbered[0], np.asarray(numbered[1], np.float32)
        roll = as_sides(full_roll, geometry.tracks)
        features = musical_features(roll, geometry.frame_seconds, geometry.low_key)
        small_picture = picture(roll, geometry.frame_seconds)
        return (
            np.array(list(features.values())),
            random_features(with_drums(full_roll, geometry.tracks)),
            note_metrics(full_roll, geometry.frame_seconds, geometry.low_key, geometry.tracks),
            np.array(finder.distance(small_picture, songs[number] if own else None) if finder else np.nan),
            small_picture.astype(np.float16),
        )

    rows = ordered_map(work, enumerate(rolls), jobs)
    return Description(np.asarray(songs), *(np.stack(column) for column in zip(*rows, strict=True)))

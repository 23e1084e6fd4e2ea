"""Comparison of two described sets, in coordinates fitted on training songs, and estimates with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from musigan.metrics.estimates import Estimate, Resampler, deviation_of, mean_of

COMPONENTS = 48
CLIP = 10.0  # standard deviations; beyond them a feature that hardly varies in training songs would outweigh all others
TINY_SHARE = 0.05  # of the median deviation: a feature that hardly varies in training songs is amplified no further


@dataclass(frozen=True)
class Description:
    """A description of N rolls, some 20 kB each; row n of every field belongs to roll n."""

    songs: np.ndarray  # (N,) str, the song of each roll
    musical: np.ndarray  # (N, F), named by features.musical_features
    random: np.ndarray  # (N, D)
    notes: np.ndarray  # (N, M), named by notemetrics.NAMES; NaN where undefined
    copies: np.ndarray  # (N,) distance to the nearest training song; NaN where copies were not searched for
    pictures: np.ndarray  # (N, K, T') float16, T' frames of 0.1 s

    def __len__(self) -> int:
        return len(self.songs)

    def take(self, rows: np.ndarray) -> Description:
        """Return the description of the rolls `rows`."""
        return Description(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(first: Description, second: Description) -> Description:
        """Concatenate two descriptions."""
        fields = Description.__dataclass_fields__
        return Description(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in fields))


@dataclass(frozen=True)
class Coordinates:
    """Scaled musical features and principal components of the random ones, fitted on training songs."""

    centre: np.ndarray
    scale: np.ndarray
    random_centre: np.ndarray
    components: np.ndarray  # (D, P), scaled by one factor to a mean variance of 1 over training rolls

    @classmethod
    def fit(cls, training: Description) -> Coordinates:
        """Fit on a description of training rolls."""
        deviation = training.musical.std(axis=0)
        typical = np.median(deviation[deviation > 0]) if (deviation > 0).any() else 1.0
        centred = training.random - training.random.mean(axis=0)
        _, strengths, directions = np.linalg.svd(centred, full_matrices=False)
        component_count = max(1, min(COMPONENTS, len(training) // 2, int((strengths > 1e-6 * strengths[0]).sum())))
        # One factor for all components, so that strong ones count for more. The sum of variances becomes their number.
        rms_deviation = np.sqrt(
            np.square(strengths[:component_count]).sum() / max(len(training) - 1, 1) / component_count
        )
        return cls(
            training.musical.mean(axis=0),
            np.where(deviation > TINY_SHARE * typical, deviation, TINY_SHARE * typical),
            training.random.mean(axis=0),
            directions[:component_count].T / max(float(rms_deviation), 1e-12),
        )

    def musical(self, described: Description) -> np.ndarray:
        """Return the standardised musical features, (N, F), clipped to +-CLIP."""
        return np.asarray(np.clip((described.musical - self.centre) / self.scale, -CLIP, CLIP))

    def random(self, described: Description) -> np.ndarray:
        """Return the principal components of the random features, (N, P)."""
        return np.asarray((described.random - self.random_centre) @ self.components)


@dataclass(frozen=True)
class Judge:
    """The fitted coordinates and settings that all comparisons share."""

    coordinates: Coordinates
    centres: np.ndarray  # of k-means clusters of training rolls, in standardised musical features
    seed: int = 0
    bootstraps: int = 100
    forest: bool = True
    network: bool = False


class Comparison:
    """A set of rolls compared with a reference."""

    def __init__(self, judge: Judge, real: Description, fake: Description) -> None:
        self.judge, self.real, self.fake = judge, real, fake
        self.real_musical, self.fake_musical = (judge.coordinates.musical(side) for side in (real, fake))
        self.real_random, self.fake_random = (judge.coordinates.random(side) for side in (real, fake))

    def bootstrap(self, statistic: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        """Estimate statistic(rows of real, rows of fake), with songs resampled with replacement."""
        value = statistic(np.arange(len(self.real)), np.arange(len(self.fake)))
        generator = np.random.default_rng(self.judge.seed)
        draws = Resampler(self.real.songs, generator), Resampler(self.fake.songs, generator)
        return Estimate.of(
            value, deviation_of([statistic(draws[0](), draws[1]()) for _ in range(self.judge.bootstraps)])
        )

    def mean_of(self, values: np.ndarray, songs: np.ndarray, scale: float = 1.0) -> Estimate:
        """Estimate the mean of values (N,), NaN left out, over rolls of `songs`, times `scale`."""
        if not np.isfinite(values).any():
            return Estimate(np.nan, np.nan, np.nan)
        draw = Resampler(songs, np.random.default_rng(self.judge.seed))
        means = [mean_of(values[draw()]) for _ in range(self.judge.bootstraps)]
        return Estimate.of(scale * mean_of(values), scale * deviation_of(means))

"""Diversity: whether samples differ from each other as songs do, and fall into as many kinds.

diversity   mean distance between two samples over that between two real rolls: 1 is good, 0 is one piece over and
            over
NDB         number of statistically different bins over the number of bins. Real rolls are clustered by k-means, and
            each bin's share of samples is compared with its share of real ones by a two-proportion test at 5 %
            (Richardson and Weiss, 1805.12462): 0.05 by chance
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.distances import squared_distances
from musigan.metrics.estimates import Estimate, Metric

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

METRICS = (
    Metric(
        "diversity",
        "diversity",
        "reference",
        meaning="How much samples differ among themselves. 1 is as songs do, 0 one piece over and over.",
    ),
    Metric(
        "NDB / k",
        "diversity",
        "low",
        most=1,
        meaning="Share of kinds of music that samples have too much or too little of. .05 is chance.",
    ),
)
BINS = 50
ROLLS_PER_BIN = 10  # of each set, at least; with fewer the test of proportions is meaningless


def mean_pairwise(points: np.ndarray) -> float:
    """Return the mean distance between two different points of (N, F); NaN for fewer than two."""
    distances = np.sqrt(squared_distances(points, points)[np.triu_indices(len(points), 1)])
    return float(distances.mean()) if distances.size else np.nan


def relative_diversity(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the mean distance within (M, F) over that within (N, F); NaN where all real points are equal."""
    real_distance = mean_pairwise(real)
    return mean_pairwise(fake) / real_distance if real_distance > 0 else np.nan


def bin_centres(points: np.ndarray, rolls: int, seed: int) -> np.ndarray:
    """Fit centres of k-means clusters to (N, F): BINS, or fewer where the sets to compare have few `rolls`."""
    from sklearn.cluster import KMeans

    count = int(np.clip(rolls // ROLLS_PER_BIN, 1, BINS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of fewer distinct points than clusters
        return np.asarray(KMeans(count, n_init=3, random_state=seed).fit(points).cluster_centers_)


def different_bins(real: np.ndarray, fake: np.ndarray, centres: np.ndarray) -> float:
    """Return the share of bins in which the proportions of (N, F) and (M, F) differ significantly."""
    shares = []
    for points in (real, fake):
        nearest = squared_distances(points, centres).argmin(axis=1)
        shares.append(np.bincount(nearest, minlength=len(centres)) / len(points))
    pooled_shares = (shares[0] * len(real) + shares[1] * len(fake)) / (len(real) + len(fake))
    standard_errors = np.sqrt(pooled_shares * (1 - pooled_shares) * (1 / len(real) + 1 / len(fake)))
    z_scores = np.abs(shares[0] - shares[1]) / np.maximum(standard_errors, 1e-12)
    return float((z_scores > 1.96).mean())


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Return the metrics of METRICS."""
    real, fake = comparison.real_musical, comparison.fake_musical
    centres = comparison.judge.centres
    return {
        "diversity": comparison.bootstrap(
            lambda r, f: relative_diversity(comparison.real_random[r], comparison.fake_random[f])
        ),
        "NDB / k": comparison.bootstrap(lambda r, f: different_bins(real[r], fake[f], centres)),
    }

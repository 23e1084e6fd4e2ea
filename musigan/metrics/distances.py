"""Distances between two sets of feature vectors, and how the sets lie among each other.

Frechet distance    |m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of Gaussians fitted to both (Heusel et al., 1706.08500).
                    Small sets raise it: only equal N compare, and the floor is what 0 would be.
kernel MMD          unbiased squared maximum mean discrepancy (Gretton et al. 2012) under a Gaussian kernel whose
                    width is the median distance within the reference. 0 is good; it may be a little negative.
precision, recall   share of samples within reach of a real one, and the reverse; reach is the distance to the k-th
                    neighbour of its own kind (Kynkaanniemi et al., 1904.06991)
density, coverage   mean count over k of real reaches that a sample lies in; share of real ones with a sample in
                    their reach (Naeem et al., 2002.09797). Two sets of one distribution have density 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.estimates import Estimate, Metric

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

NEIGHBOURS = 5
METRICS = (
    Metric("Frechet, musical", "distances", "low"),
    Metric("Frechet, random net", "distances", "low"),
    Metric("MMD x 1000", "distances", "low", least=-np.inf),
    Metric("precision", "neighbours", "high", most=1),
    Metric("recall", "neighbours", "high", most=1),
    Metric("density", "neighbours", "high"),
    Metric("coverage", "neighbours", "high", most=1),
)


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """Frechet distance of Gaussians fitted to (N, F) and (M, F)."""
    difference = real.mean(axis=0) - fake.mean(axis=0)
    first, second = np.atleast_2d(np.cov(real, rowvar=False)), np.atleast_2d(np.cov(fake, rowvar=False))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # A B and root(A) B root(A) have the same eigenvalues, and the latter is symmetric.
    mixed = np.linalg.eigvalsh(root @ second @ root)
    cross = np.sqrt(np.maximum(mixed, 0)).sum()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross)


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, (N, F), (M, F) -> (N, M)."""
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0))


def median_width(real: np.ndarray) -> float:
    """Median distance between different points of (N, F): the kernel's width."""
    distances = squared_distances(real, real)[np.triu_indices(len(real), 1)]
    return float(np.sqrt(np.median(distances))) if distances.size else np.nan


def mmd(real: np.ndarray, fake: np.ndarray, width: float) -> float:
    """Unbiased squared maximum mean discrepancy of (N, F) and (M, F) under exp(-d^2 / (2 width^2))."""
    scale = -0.5 / max(width, 1e-12) ** 2
    within = [_mean_off_diagonal(np.exp(scale * squared_distances(one, one))) for one in (real, fake)]
    return float(within[0] + within[1] - 2 * np.exp(scale * squared_distances(real, fake)).mean())


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1))) if count > 1 else np.nan


def reaches(points: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Distance (N,), squared, of every point of (N, F) to its k-th nearest neighbour among the others."""
    distances = squared_distances(points, points)
    np.fill_diagonal(distances, -1.0)  # itself, whatever rounding says
    return np.asarray(np.partition(distances, k, axis=1)[:, k])


def prdc(real: np.ndarray, fake: np.ndarray, k: int = NEIGHBOURS) -> dict[str, np.ndarray]:
    """What precision and density are the mean of, one value a fake; recall and coverage, one value a real one.

    NaN for sets of k points or fewer.
    """
    if min(len(real), len(fake)) <= k:
        undefined = {"precision": fake, "density": fake, "recall": real, "coverage": real}
        return {name: np.full(len(points), np.nan) for name, points in undefined.items()}
    between = squared_distances(real, fake)
    real_reach, fake_reach = reaches(real, k), reaches(fake, k)
    within = between < real_reach[:, None]
    return {
        "precision": within.any(axis=0).astype(float),
        "recall": (between < fake_reach[None]).any(axis=1).astype(float),
        "density": within.sum(axis=0) / k,
        "coverage": (between.min(axis=1) < real_reach).astype(float),
    }


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """The metrics of METRICS."""
    width = median_width(comparison.real_random)
    real, fake = comparison.real_random, comparison.fake_random
    found = {
        "Frechet, musical": comparison.bootstrap(
            lambda r, f: frechet(comparison.real_musical[r], comparison.fake_musical[f])
        ),
        "Frechet, random net": comparison.bootstrap(lambda r, f: frechet(real[r], fake[f])),
        "MMD x 1000": comparison.bootstrap(lambda r, f: 1000 * mmd(real[r], fake[f], width)),
    }
    for name, values in prdc(real, fake).items():
        songs = comparison.fake.songs if name in ("precision", "density") else comparison.real.songs
        found[name] = comparison.mean_of(values, songs)
    return found

"""Distances between two sets of feature vectors, and how far each set covers the other.

Frechet distance    |m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of Gaussians fitted to both (Heusel et al., 1706.08500).
                    Small sets raise it. Compare only values of equal N; the floor shows the value of a perfect model.
kernel MMD          unbiased squared maximum mean discrepancy (Gretton et al. 2012) under a Gaussian kernel whose
                    width is the median distance within the reference. 0 is good; it may be a little negative.
precision, recall   share of samples within the radius of a real one, and the reverse; a radius is the distance to the
                    k-th neighbour in the same set (Kynkaanniemi et al., 1904.06991)
density, coverage   mean number, over k, of real ones within whose radius a sample lies; share of real ones with a
                    sample within their radius (Naeem et al., 2002.09797). Two sets of one distribution have density 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.estimates import Estimate, Metric

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

NEIGHBOURS = 5
METRICS = (
    Metric(
        "Frechet, musical",
        "distances",
        "low",
        meaning="How far the samples' pitches, rhythm and loudness lie from those of held-out songs.",
    ),
    Metric(
        "Frechet, random net",
        "distances",
        "low",
        meaning="The same of what an untrained network sees in the rolls.",
    ),
    Metric(
        "MMD x 1000",
        "distances",
        "low",
        least=-np.inf,
        meaning="How unlike samples and held-out songs are, whatever their shape. 0 is alike.",
    ),
    Metric(
        "precision",
        "neighbours",
        "high",
        most=1,
        meaning="Share of samples that lie among real music.",
    ),
    Metric(
        "recall",
        "neighbours",
        "high",
        most=1,
        meaning="Share of real music that samples come near to.",
    ),
    Metric(
        "density",
        "neighbours",
        "high",
        meaning="How thick samples lie where real music does. 1 is as thick.",
    ),
    Metric(
        "coverage",
        "neighbours",
        "high",
        most=1,
        meaning="Share of real rolls with a sample beside them.",
    ),
)


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the Frechet distance between Gaussians fitted to (N, F) and (M, F)."""
    difference = real.mean(axis=0) - fake.mean(axis=0)
    real_covariance, fake_covariance = (
        np.atleast_2d(np.cov(real, rowvar=False)),
        np.atleast_2d(np.cov(fake, rowvar=False)),
    )
    eigenvalues, eigenvectors = np.linalg.eigh(real_covariance)
    root = (eigenvectors * np.sqrt(np.maximum(eigenvalues, 0))) @ eigenvectors.T
    # root(A) B root(A) has the eigenvalues of A B and is symmetric, so that eigvalsh applies.
    product_eigenvalues = np.linalg.eigvalsh(root @ fake_covariance @ root)
    cross_trace = np.sqrt(np.maximum(product_eigenvalues, 0)).sum()
    return float(difference @ difference + np.trace(real_covariance) + np.trace(fake_covariance) - 2 * cross_trace)


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances, (N, F), (M, F) -> (N, M)."""
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0))


def median_width(real: np.ndarray) -> float:
    """Return the kernel's width, the median distance between different points of (N, F); NaN for fewer than two."""
    distances = squared_distances(real, real)[np.triu_indices(len(real), 1)]
    return float(np.sqrt(np.median(distances))) if distances.size else np.nan


def mmd(real: np.ndarray, fake: np.ndarray, width: float) -> float:
    """Return the unbiased squared maximum mean discrepancy of (N, F) and (M, F) under exp(-d^2 / (2 width^2))."""
    scale = -0.5 / max(width, 1e-12) ** 2
    within_means = [_mean_off_diagonal(np.exp(scale * squared_distances(points, points))) for points in (real, fake)]
    return float(within_means[0] + within_means[1] - 2 * np.exp(scale * squared_distances(real, fake)).mean())


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1))) if count > 1 else np.nan


def squared_radii(points: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Return the squared distance (N,) of every point of (N, F) to its k-th nearest neighbour among the others."""
    distances = squared_distances(points, points)
    np.fill_diagonal(distances, -1.0)  # every point sorts first in its own row, in spite of rounding errors
    return np.asarray(np.partition(distances, k, axis=1)[:, k])


def prdc(real: np.ndarray, fake: np.ndarray, k: int = NEIGHBOURS) -> dict[str, np.ndarray]:
    """Return the values whose mean is precision or density, one a fake, and recall or coverage, one a real roll.

    NaN for sets of k points or fewer.
    """
    if min(len(real), len(fake)) <= k:
        undefined = {"precision": fake, "density": fake, "recall": real, "coverage": real}
        return {name: np.full(len(points), np.nan) for name, points in undefined.items()}
    distances = squared_distances(real, fake)
    real_radii, fake_radii = squared_radii(real, k), squared_radii(fake, k)
    in_real_radius = distances < real_radii[:, None]
    return {
        "precision": in_real_radius.any(axis=0).astype(float),
        "recall": (distances < fake_radii[None]).any(axis=1).astype(float),
        "density": in_real_radius.sum(axis=0) / k,
        "coverage": (distances.min(axis=1) < real_radii).astype(float),
    }


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Return the metrics of METRICS."""
    width = median_width(comparison.real_random)
    real, fake = comparison.real_random, comparison.fake_random
    estimates = {
        "Frechet, musical": comparison.bootstrap(
            lambda r, f: frechet(comparison.real_musical[r], comparison.fake_musical[f])
        ),
        "Frechet, random net": comparison.bootstrap(lambda r, f: frechet(real[r], fake[f])),
        "MMD x 1000": comparison.bootstrap(lambda r, f: 1000 * mmd(real[r], fake[f], width)),
    }
    for name, values in prdc(real, fake).items():
        songs = comparison.fake.songs if name in ("precision", "density") else comparison.real.songs
        estimates[name] = comparison.mean_of(values, songs)
    return estimates

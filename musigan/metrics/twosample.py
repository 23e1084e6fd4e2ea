"""Classifier two-sample test (Lopez-Paz and Oquab, 1610.06545): can a classifier tell the samples from real rolls?

The cross-validated accuracy is the metric: 0.5 is chance, 1.0 trivial to tell apart. Folds keep songs whole on both
sides; otherwise the classifier would win by recognising the song. Classes have equal weight.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.estimates import Estimate, Metric, mean_of

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

FOLDS = 5
METRICS = tuple(
    Metric(
        f"told apart, {kind}",
        "two-sample",
        "low",
        most=1,
        meaning="How often a classifier tells samples from real rolls. .5 is chance.",
    )
    for kind in ("logistic", "forest", "network")
)
EPOCHS = 12  # of the convolutional network
LEAST_PICTURE = (17, 41)  # keys and frames that the network's layers need


def folds(songs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Assign a fold's number (N,) to every roll, the same to all rolls of one song."""
    names = np.unique(songs)
    order = generator.permutation(len(names))
    return np.asarray((order % FOLDS)[np.searchsorted(names, songs)])


def cross_validate(
    kind: str, real: np.ndarray, fake: np.ndarray, real_songs: np.ndarray, fake_songs: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for real ones (N,) and fakes (M,), 1 where a classifier not trained on the song was right, else 0.

    kind: "logistic" or "forest" on features (N, F), "network" on pictures (N, K, T). A song on both sides stays in one
    fold. NaN where there are fewer songs than folds.
    """
    generator = np.random.default_rng(seed)
    songs = np.concatenate((real_songs, fake_songs))
    if min(len(np.unique(real_songs)), len(np.unique(fake_songs))) < FOLDS:
        return np.full(len(real), np.nan), np.full(len(fake), np.nan)
    fold = folds(songs, generator)
    points = np.concatenate((real, fake))
    labels = np.repeat((0, 1), (len(real), len(fake)))
    answers = np.full(len(points), np.nan)
    for number in range(FOLDS):
        is_training, is_test = fold != number, fold == number
        if len(np.unique(labels[is_training])) == 2 and is_test.any():
            answers[is_test] = (
                _CLASSIFIERS[kind](points[is_training], labels[is_training], points[is_test], seed) == labels[is_test]
            )
    return answers[: len(real)], answers[len(real) :]


def _logistic(points: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of incomplete convergence, which is accurate enough here
        model.fit(points, labels)
    return np.asarray(model.predict(asked))


def _forest(points: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(100, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=-1)
    return np.asarray(model.fit(points, labels).predict(asked))


def _network(points: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """Predict labels with a small convolutional network on pictures (N, K, T), small ones padded with silence."""
    import torch
    from torch import nn

    padding = [max(0, least - size) for least, size in zip(LEAST_PICTURE, points.shape[1:], strict=True)]
    points, asked = (np.pad(side, ((0, 0), (0, padding[0]), (0, padding[1]))) for side in (points, asked))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(1, 16, (5, 9), (2, 4)), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, (3, 5), (2, 2)), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 48, 3, 2), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d((3, 1)), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(144, 1),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
        images = torch.from_numpy(np.asarray(points, np.float32))[:, None]
        targets = torch.from_numpy(labels.astype(np.float32))
        positive_weight = torch.tensor(float((labels == 0).sum() / max((labels == 1).sum(), 1)))
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(images)).split(32):
                logits = network(images[batch])[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(
                    logits, targets[batch], pos_weight=positive_weight
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        network.eval()
        with torch.no_grad():
            logits = torch.cat(
                [network(part) for part in torch.from_numpy(np.asarray(asked, np.float32))[:, None].split(64)]
            )
    return (logits[:, 0] > 0).numpy().astype(int)


_CLASSIFIERS = {"logistic": _logistic, "forest": _forest, "network": _network}


def predict(kind: str, points: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """Return the labels (M,) of `asked` (M, F) by a "logistic" or "forest" classifier of standardised points (N, F)."""
    return _CLASSIFIERS[kind](points, labels, asked, seed)


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Return the metrics of METRICS, balanced accuracies; the slower ones only as far as the judge's settings ask."""
    sides = comparison.real, comparison.fake
    features = [
        np.concatenate(feature_parts, axis=1)
        for feature_parts in (
            (comparison.real_musical, comparison.real_random),
            (comparison.fake_musical, comparison.fake_random),
        )
    ]
    kinds = ["logistic"] + ["forest"] * comparison.judge.forest + ["network"] * comparison.judge.network
    estimates = {}
    for kind in kinds:
        real, fake = [side.pictures for side in sides] if kind == "network" else features
        answers = cross_validate(kind, real, fake, sides[0].songs, sides[1].songs, comparison.judge.seed)
        estimates[f"told apart, {kind}"] = comparison.bootstrap(
            lambda r, f, right=answers: 0.5 * (mean_of(right[0][r]) + mean_of(right[1][f]))  # type: ignore[misc]
        )
    return estimates

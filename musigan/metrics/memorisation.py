"""Memorisation: how near each roll comes to any training song, over shifts in time and key.

copy distance   1 - the largest cosine of the first or the second half of a roll with any stretch of a training song,
                transposed by up to six keys and at any time; pictures of 0.1 s frames. It is near 0 for a copy, and
                for a copy that changes half way into another.
C_T             z-score of the Mann-Whitney test whether samples lie as far from the training songs as held-out ones
                do (Meehan et al., 2004.05675, one cell): about 0 is good, far below means copying, far above means
                far from music.
copies          share of rolls that are nearer to a training song than 99 % of held-out rolls are, and nearer than
                half the median held-out distance
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.estimates import Estimate, Metric

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

METRICS = (
    Metric(
        "copy distance",
        "memorisation",
        "reference",
        most=1,
        meaning="How far the nearest stretch of a training song is. 0 is a copy.",
    ),
    Metric(
        "C_T",
        "memorisation",
        "reference",
        least=-np.inf,
        meaning="Whether samples lie nearer to training songs than other songs do. Far below 0 is copying.",
    ),
    Metric(
        "copies",
        "memorisation",
        "low",
        most=1,
        meaning="Share of samples that are pieces of training songs.",
    ),
)
MOST_KEYS = 6
HOP = 5  # picture frames between the windows of the first, coarse search
PROJECTED = 256  # dimensions of the random projection that is searched (Johnson and Lindenstrauss)
CANDIDATES = 4  # windows that a roll is then compared with exactly
MOST_WINDOWS = 40_000
SEED = 7


class CopyFinder:
    """An index of windows of the training songs, to search for copies."""

    def __init__(self, songs: Iterable[tuple[str, np.ndarray]], frames: int) -> None:
        """Index `songs`, names and pictures (K, T), for rolls of `frames` frames; windows are half as long."""
        frames = max(1, frames // 2)
        named_songs = [(name, np.asarray(song, np.float16)) for name, song in songs if song.shape[1] >= frames]
        self._names, self._songs = [name for name, _ in named_songs], [song for _, song in named_songs]
        self._frames, self._hop = frames, min(HOP, frames)
        places = [
            (n, start)
            for n, song in enumerate(self._songs)
            for start in range(0, song.shape[1] - frames + 1, self._hop)
        ]
        generator = np.random.default_rng(SEED)
        if len(places) > MOST_WINDOWS:
            places = [places[i] for i in np.sort(generator.choice(len(places), MOST_WINDOWS, replace=False))]
        self._places = places
        self._of_song = np.array([self._names[n] for n, _ in places])
        keys = self._songs[0].shape[0] if self._songs else 0
        self._columns = frames // self._hop
        self._projection = generator.standard_normal((keys * self._columns, PROJECTED), np.float32)
        parts = [places[first : first + 512] for first in range(0, len(places), 512)]
        projected = [self._projected([self._songs[n][:, s : s + frames] for n, s in part]) for part in parts]
        self._windows = np.concatenate(projected) if projected else np.zeros((0, PROJECTED), np.float32)

    def distance(self, picture: np.ndarray, excluded_song: str | None = None) -> float:
        """Return the copy distance of a picture (K, T), `excluded_song` left out; NaN without songs, 1 for silence."""
        if not self._places or set(self._names) <= {excluded_song}:
            return np.nan
        starts = (0, self._frames) if picture.shape[1] >= 2 * self._frames else (0,)
        halves = [np.asarray(picture[:, first : first + self._frames], np.float32) for first in starts]
        variants = [_transposed(half, keys) for half in halves for keys in range(-MOST_KEYS, MOST_KEYS + 1)]
        similarities = self._projected(variants) @ self._windows.T  # (halves and shifts, windows)
        if excluded_song is not None:
            similarities[:, self._of_song == excluded_song] = -1
        best_cosine = 0.0
        for flat_index in np.argpartition(similarities.ravel(), -CANDIDATES)[-CANDIDATES:]:
            shift, window = divmod(int(flat_index), len(self._places))
            number, start = self._places[window]
            best_cosine = max(best_cosine, self._best_cosine(variants[shift], self._songs[number], start))
        return 1.0 - best_cosine

    def _best_cosine(self, picture: np.ndarray, song: np.ndarray, start: int) -> float:
        """Return the largest cosine with the song's stretches that begin within HOP of `start`."""
        norm = float(np.linalg.norm(picture))
        cosines = [0.0]
        for first in range(max(start - HOP, 0), min(start + HOP, song.shape[1] - self._frames) + 1):
            stretch = song[:, first : first + self._frames].astype(np.float32)
            cosines.append(float((picture * stretch).sum()) / max(norm * float(np.linalg.norm(stretch)), 1e-9))
        return max(cosines)

    def _projected(self, pictures: list[np.ndarray]) -> np.ndarray:
        """Project pictures, averaged over frames, to unit vectors (N, PROJECTED)."""
        coarse = np.array(
            [
                p[:, : self._columns * self._hop].reshape(len(p), self._columns, -1).mean(axis=2).ravel()
                for p in pictures
            ],
            np.float32,
        ).reshape(len(pictures), -1)
        points = coarse @ self._projection if len(pictures) else np.zeros((0, PROJECTED), np.float32)
        return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9))


def _transposed(picture: np.ndarray, keys: int) -> np.ndarray:
    """Transpose (K, T) up by `keys`, down if negative; what leaves the keyboard is lost."""
    transposed = np.zeros_like(picture, np.float32)
    rows = np.arange(len(picture))
    is_inside = (rows + keys >= 0) & (rows + keys < len(picture))
    transposed[rows[is_inside] + keys] = picture[is_inside]
    return transposed


def c_t(fake: np.ndarray, held_out: np.ndarray) -> float:
    """Return the z-score of the Mann-Whitney U of distances to the training songs, negative where fakes are nearer."""
    from scipy.stats import rankdata

    fake, held_out = fake[np.isfinite(fake)], held_out[np.isfinite(held_out)]
    n, m = len(fake), len(held_out)
    if not n or not m:
        return np.nan
    ranks = rankdata(np.concatenate((fake, held_out)))
    u = ranks[:n].sum() - n * (n + 1) / 2
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


def copies(fake: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Return 1 for each fake (N,) that is suspiciously near to a training song, else 0; NaN without held-out ones."""
    if not np.isfinite(held_out).any():
        return np.full(len(fake), np.nan)
    limit = min(float(np.nanquantile(held_out, 0.01)), 0.5 * float(np.nanmedian(held_out)))
    return (fake < limit).astype(float)


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Return the metrics of METRICS."""
    real, fake = comparison.real.copies, comparison.fake.copies
    return {
        "copy distance": comparison.mean_of(fake, comparison.fake.songs),
        "C_T": comparison.bootstrap(lambda r, f: c_t(fake[f], real[r])),
        "copies": comparison.mean_of(copies(fake, real), comparison.fake.songs),
    }

"""Genre of transferred music: whether classifiers trained on other songs take it for the kind it was turned into.

As in Brunner et al. (arXiv 1809.07575, section V): a classifier of the two kinds is applied to songs as they are
(before), turned into the other kind (after), and turned back (back). All songs are held out from training, and each is
judged by a classifier trained on the others. It uses the named features of `musigan.metrics.features`, not the rolls
that the critics saw. Silence would be taken for another kind, too. So the verdicts come with how much of the song is
left: the cosine of the square roots of loudness, and that of the pitch classes of each moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from musigan.machine.reporting import counted
from musigan.metrics.twosample import predict

Classifier = Literal["forest", "logistic"]
CLASSIFIERS: tuple[Classifier, ...] = ("forest", "logistic")
VERSIONS = ("before", "after", "back")
MOST_FOLDS = 10
HARMONY_SECONDS = 0.2


@dataclass(frozen=True)
class TransferredSong:
    """A held-out song: kind, features (3, N, F) of its N rolls before, after and back, and how much of it is left."""

    kind: int
    features: np.ndarray
    loudness_similarity: tuple[float, ...] = (1.0, 1.0, 1.0)  # cosine with the song, before, after and back
    harmony_similarity: tuple[float, ...] = (1.0, 1.0, 1.0)  # the same, of the pitch classes of each moment


@dataclass(frozen=True)
class Verdict:
    """Shares of the rolls of one kind that `classifier` takes for that kind; after transfer, few are best."""

    kind: str
    classifier: Classifier
    songs: int
    rolls: int
    before: float
    after: float
    back: float

    @property
    def strength(self) -> float:
        """Share of the kind that transfer took away, before - after; 1 at most."""
        return self.before - self.after


def loudness_similarity(song: np.ndarray, version: np.ndarray) -> float:
    """Return the cosine of the square roots of two songs' loudness, both (C, K, T); 0 with silence."""
    one, other = (np.sqrt(np.asarray(each, np.float64)) for each in (song, version))
    return float((one * other).sum() / max(np.sqrt((one**2).sum() * (other**2).sum()), 1e-12))


def harmony_similarity(song: np.ndarray, version: np.ndarray, frame_seconds: float) -> float:
    """Return the mean cosine of two (C, K, T) in the pitch classes of each 0.2 s, weighted by the song's loudness.

    Octaves may change, chords and melody not; 0 with silence.
    """
    block = max(1, round(HARMONY_SECONDS / frame_seconds))
    one, other = (_pitch_classes(np.sqrt(np.asarray(each, np.float64)), block) for each in (song, version))  # (12, N)
    sizes = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    cosines = (one * other).sum(axis=0) / np.maximum(sizes, 1e-12)
    weights = one.sum(axis=0)
    return float((cosines * weights).sum() / max(weights.sum(), 1e-12))


def _pitch_classes(loudness: np.ndarray, block: int) -> np.ndarray:
    """Sum (C, K, T) over sides and octaves, and blocks of frames: (12, N); the last block may be shorter."""
    by_key = np.add.reduceat(loudness.sum(axis=0), np.arange(0, loudness.shape[-1], block), axis=1)
    return np.stack([by_key[first::12].sum(axis=0) for first in range(12)])


def cut_rolls(song: np.ndarray, frames: int) -> list[np.ndarray]:
    """Split (C, K, T) into successive rolls (C, K, frames), one at least."""
    return [song[..., start : start + frames] for start in range(0, max(song.shape[-1] - frames, 0) + 1, frames)]


def judge(
    songs: Sequence[TransferredSong], names: Sequence[str], classifier: Classifier, seed: int = 0
) -> list[Verdict]:
    """Return a verdict for each kind, by cross-validation over songs (two of each kind at least)."""
    kind_counts = [0] * len(names)
    song_turns = []
    for song in songs:  # songs of a kind take turns, so that every fold leaves out some of each kind
        song_turns.append(kind_counts[song.kind])
        kind_counts[song.kind] += 1
    fold_count = min(*kind_counts, MOST_FOLDS)
    own_kind_answers: dict[int, list[np.ndarray]] = {kind: [] for kind in range(len(names))}
    for fold in range(fold_count):
        training_songs = [song for song, turn in zip(songs, song_turns, strict=True) if turn % fold_count != fold]
        points = np.concatenate([song.features[0] for song in training_songs])
        labels = np.concatenate([np.full(song.features.shape[1], song.kind) for song in training_songs])
        mean, deviation = points.mean(0), points.std(0) + 1e-6
        for song in (song for song, turn in zip(songs, song_turns, strict=True) if turn % fold_count == fold):
            test_points = np.concatenate(list(song.features))
            predictions = predict(
                classifier, (points - mean) / deviation, labels, (test_points - mean) / deviation, seed
            )
            own_kind_answers[song.kind].append((predictions == song.kind).reshape(len(VERSIONS), -1))
    return [_verdict(names[kind], classifier, answers) for kind, answers in own_kind_answers.items()]


def _verdict(name: str, classifier: Classifier, answers: list[np.ndarray]) -> Verdict:
    """Return the verdict from answers (3, N) for each song of a kind, true where a roll is taken for that kind."""
    rolls = np.concatenate(answers, axis=1)
    before, after, back = (float(share) for share in rolls.mean(1))
    return Verdict(name, classifier, len(answers), rolls.shape[1], before, after, back)


def lines(verdicts: Sequence[Verdict], songs: Sequence[TransferredSong], names: Sequence[str]) -> Iterator[str]:
    """Yield a text table of the verdicts, and of what is left of songs of the kinds `names`."""
    yield f"{'judged as their own kind':<28}{'classifier':<12}" + "".join(f"{name:>8}" for name in VERSIONS)
    for verdict in verdicts:
        what = f"{verdict.kind}: {counted(verdict.rolls, 'rolls')}, {counted(verdict.songs, 'songs')}"
        shares: list[Any] = [getattr(verdict, name) for name in VERSIONS]
        yield f"{what:<28}{verdict.classifier:<12}" + "".join(f"{share:>7.0%} " for share in shares)
    for what, similarity in (("like the song", "loudness_similarity"), ("chords kept", "harmony_similarity")):
        for kind, name in enumerate(names):
            left = np.mean([getattr(song, similarity) for song in songs if song.kind == kind], axis=0)
            yield f"{f'{name}: {what}':<28}{'cosine':<12}" + "".join(f"{value:>7.2f} " for value in left)
    yield f"strength (before - after) {np.mean([verdict.strength for verdict in verdicts]):.2f}, 1 at best"

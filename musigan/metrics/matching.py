"""Matching of calls and answers: a classifier of pairs, and where drawn answers fall between two bounds.

A pair is ten seconds of a song and the ten that follow (call, answer). Two classifiers learn on training songs to
tell true pairs from those with an answer of another song. `style` uses how far apart the halves' musical features are
and how alike the keys they use. `joint` uses that and what sounds within 2 s on either side of the joint, by which
nearly every pair is recognised. Logistic regression, classes of equal weight. On held-out songs, for each classifier:

    accuracy   share of true pairs taken for true and of random ones taken for random, 0.5 by chance
    match      (mean score of drawn answers - of random ones) / (of true ones - of random ones): 0 as an answer of
               another song, 1 as the true one; the score is the probability of being true

and, without a classifier:

    held on    share of the keys sounding in the call's last frame that sound in the answer's first
    jump       mean change of loudness from that frame to this, over the mean change inside the true answers

An answer that repeats its call scores above 1: the match measures similarity, not music; `evaluate`'s other metrics
measure that. Held on and jump are shown beside their values for true pairs. Rolls are linear loudness, (C, K, T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from musigan.errors import MusiganError
from musigan.machine.parallel import ordered_map
from musigan.metrics.estimates import Estimate, Resampler, deviation_of, mean_of
from musigan.metrics.features import musical_features
from musigan.rolls.loudness import compress
from musigan.rolls.shape import Geometry
from musigan.rolls.tracks import sides_or_tracks

RANDOM_ANSWERS = 3  # random answers for each call in the classifiers' training set
FEWEST_SONGS = 3  # of each split
JOINT_SECONDS = (0.2, 2.0)  # stretches compared across the joint, besides whole halves
BOOTSTRAPS = 200
KINDS = ("style", "joint")

Answer = Callable[[int, np.ndarray], np.ndarray]  # number from 1, call (C, K, T) -> answer (C, K, T)


@dataclass(frozen=True)
class PairSet:
    """Calls and true answers, read on demand; `songs` (N,) is the song of each pair."""

    songs: np.ndarray
    pair: Callable[[int], tuple[np.ndarray, np.ndarray]]  # number from 0 -> call, answer, (C, K, T) each

    def __len__(self) -> int:
        return len(self.songs)

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the pairs one after another."""
        return (self.pair(number) for number in range(len(self)))

    def chosen(self, numbers: np.ndarray) -> PairSet:
        """Return the pairs of these numbers."""
        return PairSet(self.songs[numbers], lambda number: self.pair(int(numbers[number])))


@dataclass(frozen=True)
class PairHalf:
    """The features of a call or of an answer, from which those of a pair are made."""

    musical: np.ndarray  # (F,)
    keys: np.ndarray  # (3, K) mean loudness by key: of all frames, and of JOINT_SECONDS next to the joint
    edge: np.ndarray  # (K,) the frame at the joint


def describe_half(roll: np.ndarray, geometry: Geometry, is_call: bool) -> PairHalf:
    """Describe a roll (C, K, T), linear loudness; the joint is at the end of a call, at the start of an answer."""
    roll = sides_or_tracks(roll, geometry.tracks)
    loudness = compress(roll).mean(axis=0)  # (K, T)
    from_joint = loudness[:, ::-1] if is_call else loudness
    frame_counts = [max(1, round(seconds / geometry.frame_seconds)) for seconds in JOINT_SECONDS]
    keys = np.stack([loudness.mean(axis=1), *(from_joint[:, :count].mean(axis=1) for count in frame_counts)])
    musical = np.array(list(musical_features(roll, geometry.frame_seconds, geometry.low_key).values()))
    return PairHalf(musical, keys, from_joint[:, 0])


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Return the cosine of two vectors; 0 where either is silent."""
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))


def held_on(call: PairHalf, answer: PairHalf) -> float:
    """Return the share of the keys in the call's last frame that the answer begins with; NaN after silence."""
    is_sounding = call.edge > 0
    return float((answer.edge[is_sounding] > 0).mean()) if is_sounding.any() else np.nan


def jump(call: PairHalf, answer: PairHalf) -> float:
    """Return the mean change of a key's compressed loudness across the joint."""
    return float(np.abs(call.edge - answer.edge).mean())


def features(call: PairHalf, answer: PairHalf, scale: np.ndarray, kind: str) -> np.ndarray:
    """Return a pair's features: differences in units of `scale` (F,), and similarity of keys and of pitch classes.

    For the kind "joint" the similarities next to the joint follow, with the keys held on and the jump.
    """
    differences = np.minimum(np.abs(call.musical - answer.musical) / scale, 5.0)
    stretches = list(zip(call.keys, answer.keys, strict=True))
    similarities = [
        (_cosine(q, a), _cosine(_sum_octaves(q), _sum_octaves(a)), _loudness_difference(q, a)) for q, a in stretches
    ]
    if kind == "style":
        return np.concatenate((differences, similarities[0]))
    joint_features = np.nan_to_num(held_on(call, answer)), jump(call, answer) / (answer.keys[0].mean() + 1e-3)
    return np.concatenate((differences, *similarities, joint_features))


def _loudness_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the difference in loudness, |log| of the ratio of sums."""
    return float(abs(np.log((one.sum() + 0.1) / (other.sum() + 0.1))))


def _sum_octaves(keys: np.ndarray) -> np.ndarray:
    """Sum octaves, (K,) -> (12,)."""
    return np.bincount(np.arange(len(keys)) % 12, keys, 12)


def other_song_numbers(songs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return, for each of (N,), the number of a random one of another song."""
    numbers = np.empty(len(songs), int)
    for song in np.unique(songs):
        in_song = songs == song
        numbers[in_song] = generator.choice(np.flatnonzero(~in_song), int(in_song.sum()))
    return numbers


class Matcher:
    """Classifiers of pairs, trained on true and random pairs of the training songs."""

    def __init__(self, pairs: PairSet, geometry: Geometry, seed: int = 1, jobs: int = 1) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        _require_songs(pairs, "to learn from")
        self.geometry, self.jobs = geometry, jobs
        generator = np.random.default_rng(seed)
        calls, answers = self.halves(pairs)
        self._scale = np.stack([part.musical for part in (*calls, *answers)]).std(axis=0) + 1e-6
        for _ in range(RANDOM_ANSWERS):
            answers += [answers[number] for number in other_song_numbers(pairs.songs, generator)]
        labels = np.repeat((1, 0), (len(pairs), RANDOM_ANSWERS * len(pairs)))
        self._models = {}
        for kind in KINDS:
            model = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
            points = self._points(calls * (1 + RANDOM_ANSWERS), answers, kind)
            self._models[kind] = make_pipeline(StandardScaler(), model).fit(points, labels)

    def halves(self, pairs: PairSet) -> tuple[list[PairHalf], list[PairHalf]]:
        """Describe calls and answers."""

        def work(pair: tuple[np.ndarray, np.ndarray]) -> tuple[PairHalf, PairHalf]:
            """Describe both halves of one pair."""
            return describe_half(pair[0], self.geometry, True), describe_half(pair[1], self.geometry, False)

        calls, answers = zip(*ordered_map(work, pairs.pairs(), self.jobs), strict=True)
        return list(calls), list(answers)

    def scores(self, calls: list[PairHalf], answers: list[PairHalf], kind: str) -> np.ndarray:
        """Return the probability (N,) that each answer follows its call, by the classifier `kind`."""
        return np.asarray(self._models[kind].predict_proba(self._points(calls, answers, kind))[:, 1])

    def _points(self, calls: list[PairHalf], answers: list[PairHalf], kind: str) -> np.ndarray:
        return np.stack([features(q, a, self._scale, kind) for q, a in zip(calls, answers, strict=True)])


def _require_songs(pairs: PairSet, what: str) -> None:
    songs = len(np.unique(pairs.songs))
    if songs < FEWEST_SONGS:
        raise MusiganError(f"pairs of {songs} songs {what} are too few to judge answers by; {FEWEST_SONGS} are needed")


def match(
    learn: PairSet, held: PairSet, geometry: Geometry, answer: Answer, seed: int = 1, jobs: int = 1
) -> dict[str, Estimate]:
    """Return metrics of held-out pairs by name: accuracy and match of each classifier; held on and jump.

    Held on and jump are given for drawn and for true answers. Raises MusiganError where there are fewer than
    FEWEST_SONGS songs to learn from or held out.
    """
    _require_songs(held, "held back")
    matcher = Matcher(learn, geometry, seed, jobs)
    calls, true_answers = matcher.halves(held)
    drawn_answers = [
        describe_half(answer(number, call), geometry, False) for number, (call, _) in enumerate(held.pairs(), 1)
    ]
    generator = np.random.default_rng(seed)
    random_answers = [
        [true_answers[number] for number in other_song_numbers(held.songs, generator)] for _ in range(RANDOM_ANSWERS)
    ]
    statistics: dict[str, Callable[[np.ndarray], float]] = {}
    for kind in KINDS:
        true_scores, drawn_scores = (
            matcher.scores(calls, true_answers, kind),
            matcher.scores(calls, drawn_answers, kind),
        )
        random_scores = np.stack([matcher.scores(calls, answers, kind) for answers in random_answers])  # (DRAWS, N)
        right = ((true_scores > 0.5) + (random_scores <= 0.5).mean(axis=0)) / 2
        statistics[f"accuracy, {kind}"] = lambda rows, right=right: mean_of(right[rows])  # type: ignore[misc]
        scores = drawn_scores, random_scores.mean(axis=0), true_scores
        statistics[f"match, {kind}"] = lambda rows, scores=scores: between(*(s[rows].mean() for s in scores))  # type: ignore[misc]
    mean_changes = np.array(
        [
            np.abs(np.diff(compress(sides_or_tracks(answer, geometry.tracks)).mean(axis=0), axis=1)).mean()
            for _, answer in held.pairs()
        ]
    )
    for name, metric, unit in (("held on", held_on, 1.0), ("jump", jump, max(float(mean_changes.mean()), 1e-9))):
        for source, answers in (("drawn", drawn_answers), ("true", true_answers)):
            values = np.array([metric(q, a) for q, a in zip(calls, answers, strict=True)]) / unit
            statistics[f"{name}, {source}"] = lambda rows, values=values: mean_of(values[rows])  # type: ignore[misc]
    return {name: _estimate(statistic, held.songs, seed) for name, statistic in statistics.items()}


def between(value: float, low: float, high: float) -> float:
    """Return where `value` lies between `low` (0) and `high` (1); NaN where `high` is not above `low`."""
    return float((value - low) / (high - low)) if high > low else np.nan


def _estimate(figure: Callable[[np.ndarray], float], songs: np.ndarray, seed: int) -> Estimate:
    """Estimate a figure of all rows, with its deviation over resampled songs."""
    draw = Resampler(songs, np.random.default_rng(seed))
    return Estimate.of(figure(np.arange(len(songs))), deviation_of([figure(draw()) for _ in range(BOOTSTRAPS)]))

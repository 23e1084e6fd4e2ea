"""Does an answer belong to its question? A classifier of pairs, and where drawn answers fall between two bounds.

A pair is ten seconds of a song and the ten that follow (question, answer). Two classifiers learn on training songs to
tell true pairs from those with an answer of another song: `style` by how far apart the halves' musical features are
and how alike the keys they use, `joint` by that and by what sounds within 2 s on either side of the joint, which
gives nearly every pair away. Logistic regression, classes of equal weight. On songs held back, for each:

    accuracy   share of true pairs taken for true and of random ones taken for random, 0.5 being a coin
    match      (mean score of drawn answers - of random ones) / (of true ones - of random ones): 0 as an answer of
               another song, 1 as the true one; the score is the probability of being true

and, without a classifier:

    held on    share of the keys sounding in the question's last frame that sound in the answer's first
    jump       mean change of loudness from that frame to this, over the mean change inside the true answers

An answer that repeats its question scores above 1: the match asks for kinship, not for music; `evaluate`'s other
metrics ask for that. Held on and jump have true pairs' values beside them. Rolls are linear loudness, (C, K, T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from musigan.data import compress
from musigan.errors import MusiganError
from musigan.metrics.description import Geometry
from musigan.metrics.estimates import Estimate, Resampler, deviation_of, mean_of
from musigan.metrics.features import musical_features
from musigan.parallel import ordered_map

DRAWS = 3  # random answers for each question that the classifier learns from
FEWEST_SONGS = 3  # of each split
JOINT_SECONDS = (0.2, 2.0)  # stretches compared across the joint, besides whole halves
BOOTSTRAPS = 200
KINDS = ("style", "joint")

Answer = Callable[[int, np.ndarray], np.ndarray]  # number from 1, question (C, K, T) -> answer (C, K, T)


@dataclass(frozen=True)
class PairSet:
    """Questions and true answers that are read when asked for; `songs` (N,) says of which song each is."""

    songs: np.ndarray
    pair: Callable[[int], tuple[np.ndarray, np.ndarray]]  # number from 0 -> question, answer, (C, K, T) each

    def __len__(self) -> int:
        return len(self.songs)

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One after another."""
        return (self.pair(number) for number in range(len(self)))

    def chosen(self, numbers: np.ndarray) -> PairSet:
        """The pairs of these numbers."""
        return PairSet(self.songs[numbers], lambda number: self.pair(int(numbers[number])))


@dataclass(frozen=True)
class Half:
    """What the classifier knows of a question or an answer."""

    musical: np.ndarray  # (F,)
    keys: np.ndarray  # (3, K) mean loudness by key: of all of it, and of JOINT_SECONDS next to the joint
    edge: np.ndarray  # (K,) the frame at the joint


def half(roll: np.ndarray, geometry: Geometry, is_question: bool) -> Half:
    """Describe a roll (C, K, T), linear loudness, whose last frames lie at the joint if it is the question."""
    plane = compress(roll).mean(axis=0)  # (K, T)
    near = plane[:, ::-1] if is_question else plane
    frames = [max(1, round(seconds / geometry.frame_seconds)) for seconds in JOINT_SECONDS]
    keys = np.stack([plane.mean(axis=1), *(near[:, :count].mean(axis=1) for count in frames)])
    musical = np.array(list(musical_features(roll, geometry.frame_seconds, geometry.low_key).values()))
    return Half(musical, keys, near[:, 0])


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of two vectors; 0 where either is silent."""
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))


def held_on(question: Half, answer: Half) -> float:
    """Share of the keys in the question's last frame that the answer begins with; NaN after silence."""
    sounding = question.edge > 0
    return float((answer.edge[sounding] > 0).mean()) if sounding.any() else np.nan


def jump(question: Half, answer: Half) -> float:
    """Mean change of a key's loudness, as the ear ranks it, across the joint."""
    return float(np.abs(question.edge - answer.edge).mean())


def features(question: Half, answer: Half, scale: np.ndarray, kind: str) -> np.ndarray:
    """Of a pair: differences in units of `scale` (F,), likeness of keys and pitch classes; for "joint" also there."""
    apart = np.minimum(np.abs(question.musical - answer.musical) / scale, 5.0)
    stretches = list(zip(question.keys, answer.keys, strict=True))
    alike = [(_cosine(q, a), _cosine(_folded(q), _folded(a)), _louder(q, a)) for q, a in stretches]
    if kind == "style":
        return np.concatenate((apart, alike[0]))
    edges = np.nan_to_num(held_on(question, answer)), jump(question, answer) / (answer.keys[0].mean() + 1e-3)
    return np.concatenate((apart, *alike, edges))


def _louder(one: np.ndarray, other: np.ndarray) -> float:
    """How much, either way: |log| of the ratio of summed loudness."""
    return float(abs(np.log((one.sum() + 0.1) / (other.sum() + 0.1))))


def _folded(keys: np.ndarray) -> np.ndarray:
    """(K,) -> (12,), octaves summed."""
    return np.bincount(np.arange(len(keys)) % 12, keys, 12)


def others(songs: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each of (N,) the number of one at random of another song."""
    found = np.empty(len(songs), int)
    for song in np.unique(songs):
        mine = songs == song
        found[mine] = generator.choice(np.flatnonzero(~mine), int(mine.sum()))
    return found


class Matcher:
    """The classifiers, taught by true and random pairs of songs to learn from."""

    def __init__(self, pairs: PairSet, geometry: Geometry, seed: int = 1, jobs: int = 1) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        _require_songs(pairs, "to learn from")
        self.geometry, self.jobs = geometry, jobs
        generator = np.random.default_rng(seed)
        questions, answers = self.halves(pairs)
        self._scale = np.stack([one.musical for one in (*questions, *answers)]).std(axis=0) + 1e-6
        for _ in range(DRAWS):
            answers += [answers[number] for number in others(pairs.songs, generator)]
        labels = np.repeat((1, 0), (len(pairs), DRAWS * len(pairs)))
        self._models = {}
        for kind in KINDS:
            model = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
            points = self._points(questions * (1 + DRAWS), answers, kind)
            self._models[kind] = make_pipeline(StandardScaler(), model).fit(points, labels)

    def halves(self, pairs: PairSet) -> tuple[list[Half], list[Half]]:
        """Questions and answers, described."""

        def work(pair: tuple[np.ndarray, np.ndarray]) -> tuple[Half, Half]:
            """Both halves of one pair."""
            return half(pair[0], self.geometry, True), half(pair[1], self.geometry, False)

        questions, answers = zip(*ordered_map(work, pairs.pairs(), self.jobs), strict=True)
        return list(questions), list(answers)

    def scores(self, questions: list[Half], answers: list[Half], kind: str) -> np.ndarray:
        """Probability (N,) that each answer follows its question, says the classifier `kind`."""
        return np.asarray(self._models[kind].predict_proba(self._points(questions, answers, kind))[:, 1])

    def _points(self, questions: list[Half], answers: list[Half], kind: str) -> np.ndarray:
        return np.stack([features(q, a, self._scale, kind) for q, a in zip(questions, answers, strict=True)])


def _require_songs(pairs: PairSet, what: str) -> None:
    songs = len(np.unique(pairs.songs))
    if songs < FEWEST_SONGS:
        raise MusiganError(f"pairs of {songs} songs {what} are too few to judge answers by; {FEWEST_SONGS} are needed")


def match(
    learn: PairSet, held: PairSet, geometry: Geometry, answer: Answer, seed: int = 1, jobs: int = 1
) -> dict[str, Estimate]:
    """By name, on pairs held back: accuracy and match of each classifier; held on and jump, drawn and true.

    Raises MusiganError where there are fewer than FEWEST_SONGS songs of either kind.
    """
    _require_songs(held, "held back")
    matcher = Matcher(learn, geometry, seed, jobs)
    questions, true = matcher.halves(held)
    drawn = [half(answer(number, question), geometry, False) for number, (question, _) in enumerate(held.pairs(), 1)]
    generator = np.random.default_rng(seed)
    random = [[true[number] for number in others(held.songs, generator)] for _ in range(DRAWS)]
    figures: dict[str, Callable[[np.ndarray], float]] = {}
    for kind in KINDS:
        high, found = matcher.scores(questions, true, kind), matcher.scores(questions, drawn, kind)
        low = np.stack([matcher.scores(questions, answers, kind) for answers in random])  # (DRAWS, N)
        right = ((high > 0.5) + (low <= 0.5).mean(axis=0)) / 2
        figures[f"accuracy, {kind}"] = lambda rows, right=right: mean_of(right[rows])  # type: ignore[misc]
        scores = found, low.mean(axis=0), high
        figures[f"match, {kind}"] = lambda rows, scores=scores: between(*(s[rows].mean() for s in scores))  # type: ignore[misc]
    moves = np.array([np.abs(np.diff(compress(answer).mean(axis=0), axis=1)).mean() for _, answer in held.pairs()])
    for name, value, unit in (("held on", held_on, 1.0), ("jump", jump, max(float(moves.mean()), 1e-9))):
        for whose, answers in (("drawn", drawn), ("true", true)):
            values = np.array([value(q, a) for q, a in zip(questions, answers, strict=True)]) / unit
            figures[f"{name}, {whose}"] = lambda rows, values=values: mean_of(values[rows])  # type: ignore[misc]
    return {name: _estimate(figure, held.songs, seed) for name, figure in figures.items()}


def between(value: float, low: float, high: float) -> float:
    """Where `value` lies on the way from `low` (0) to `high` (1); NaN where that is no way up."""
    return float((value - low) / (high - low)) if high > low else np.nan


def _estimate(figure: Callable[[np.ndarray], float], songs: np.ndarray, seed: int) -> Estimate:
    """A figure of all rows, with the deviation that drawing songs anew gives it."""
    draw = Resampler(songs, np.random.default_rng(seed))
    return Estimate.of(figure(np.arange(len(songs))), deviation_of([figure(draw()) for _ in range(BOOTSTRAPS)]))

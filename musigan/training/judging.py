"""Evaluation during training: fast metrics of samples against held-out songs, every few epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.datasets.rolls import Reader
from musigan.machine.cores import usable_cores
from musigan.metrics.bars import Piece
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import Evaluation, Options
from musigan.metrics.pieces import FEWEST_PIECES, LOGGED, MeasuredPieces, compare_pieces, measure_pieces
from musigan.metrics.piecesets import SHORT_SECONDS
from musigan.metrics.piecewords import rhythm_and_form
from musigan.metrics.sets import collection_of
from musigan.metrics.verdict import FLOOR, HELD_OUT, SAMPLES, distance, verdict
from musigan.sampling.sets import sampled_pieces, sampled_set

if TYPE_CHECKING:
    from musigan.sampling.sampler import Sampler

ROLLS = 120  # per set: more would cost more time than the precision is worth
COMPOSED_ROLLS = 48  # the same of models that compose beat after beat, which takes longer
POOL = 400  # training rolls to compare with
SONG_PIECES, DRAWN_PIECES = 24, 8  # of half a minute; those of songs are measured once
SEED = 1


class TrainingJudge:
    """Metrics of held-out songs, floor and baselines, computed once, to evaluate samples against.

    `held_out` are the names of the items that the run held back; None: those that training holds back by itself.
    Raises MusiganError where there are too few songs.
    """

    def __init__(self, reader: Reader, rolls: int = ROLLS, held_out: frozenset[str] | None = None) -> None:
        options = Options(count=rolls, seed=SEED, bootstraps=0, forest=False, pool=POOL, jobs=usable_cores())
        self._music = collection_of(reader, held_out)
        self._work = Evaluation(self._music, options)
        self._rows = {HELD_OUT: self._work.reference(), FLOOR: self._work.floor()}
        self._rows |= {name: self._work.baseline(name) for name in BASELINES}
        self._songs, self._pieces = self._measured_songs()

    def evaluate(self, sampler: Sampler, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Return plain values for the run's history: `metrics` by name and row, `distance`, and `verdict`."""
        samples = sampled_set(sampler, self._music, self._work.count, SEED, "the run")
        rows = {SAMPLES: self._work.samples(samples), **self._rows}
        names = rows[SAMPLES][0]
        metrics = {
            name: {row: _plain(estimates[name]) for row, (estimates, _) in rows.items() if name in estimates}
            for name in names
        }
        words = self._judge_pieces(sampler, metrics)
        earlier_metrics = [entry["evaluation"]["metrics"] for entry in history if "evaluation" in entry]
        distance_now = distance(metrics)
        return {
            "metrics": metrics,
            "distance": None if math.isnan(distance_now) else distance_now,
            "verdict": "; ".join((verdict([*earlier_metrics, metrics]), *words)),
        }

    def _measured_songs(self) -> tuple[MeasuredPieces | None, dict[str, dict[str, float | None]]]:
        """Measure pieces of held-out songs, and of training songs as their floor; None where they are too short."""
        sources = {HELD_OUT: self._music.pieces.held_out, FLOOR: self._music.pieces.training}
        pieces = {row: source.cut(SHORT_SECONDS, SONG_PIECES, SEED) for row, source in sources.items()}
        if min(map(len, pieces.values())) < FEWEST_PIECES:
            return None, {}
        songs = self._measure(pieces[HELD_OUT])
        return songs, {row: _means(songs, self._measure(cut, songs)) for row, cut in pieces.items()}

    def _measure(self, pieces: Sequence[Piece], songs: MeasuredPieces | None = None) -> MeasuredPieces:
        """Measure pieces by beats that are found in them, whoever made them."""
        unknown = [replace(piece, beats=None) for piece in pieces]
        return measure_pieces(unknown, self._music.geometry, songs, usable_cores())

    def _judge_pieces(self, sampler: Sampler, metrics: dict[str, dict[str, float | None]]) -> list[str]:
        """Add rhythm and form of a few longer samples to `metrics`; return what they are like, in words."""
        if self._songs is None:
            return []
        drawn = sampled_pieces(sampler, SEED).cut(SHORT_SECONDS, DRAWN_PIECES, SEED)
        rows = {SAMPLES: _means(self._songs, self._measure(drawn, self._songs)), **self._pieces}
        metrics |= {name: {row: values[name] for row, values in rows.items()} for name in LOGGED}
        return [rhythm_and_form(rows[SAMPLES], rows[HELD_OUT])]


def best_distance(history: list[dict[str, Any]]) -> float:
    """Return the smallest distance of the evaluations so far; infinite where there are none."""
    distances = [entry["evaluation"]["distance"] for entry in history if "evaluation" in entry]
    return min((value for value in distances if value is not None), default=math.inf)


def _means(songs: MeasuredPieces, measured: MeasuredPieces) -> dict[str, float | None]:
    return {name: _plain(estimate) for name, estimate in compare_pieces(songs, measured, bootstraps=0).items()}


def _plain(estimate: Estimate) -> float | None:
    return float(estimate.value) if np.isfinite(estimate.value) else None

"""Evaluation of samples against real music, where either may be a keys store or a checkpoint that draws it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from musigan.checkpoints.checkpoint import is_checkpoint
from musigan.errors import MusiganError
from musigan.metrics.evaluation import Options, Table, evaluate
from musigan.metrics.matching import match
from musigan.metrics.piecebaselines import PIECE_BASELINES
from musigan.metrics.pieces import PieceOptions
from musigan.metrics.piecesets import LONG_SECONDS, SHORT_SECONDS, PieceSource, store_source
from musigan.metrics.sets import Collection, RollSet, collection_of, store_set
from musigan.sampling.loading import load_sampler
from musigan.sampling.requests import Request
from musigan.sampling.sets import sampled_collection, sampled_pieces, sampled_set

if TYPE_CHECKING:
    import numpy as np

    from musigan.metrics.estimates import Estimate
    from musigan.sampling.sampler import Sampler
    from musigan.store import Reader
    from musigan.store.opening import ToolSession
OTHER_SEED = 1_000_003  # of pieces that stand for real music: samples of the default seed are others


@dataclass(frozen=True)
class SampleEvaluation:
    """An evaluation of what lies under two names, those of stores or of checkpoints."""

    options: Options
    pieces: int  # that a checkpoint draws to be judged by rhythm and form; 0: neither is judged
    draws_long: bool  # whether checkpoints draw those of 2 minutes, too
    device: str
    session: ToolSession

    def table(self, real: str, samples: str) -> Table:
        """Return the table of the samples against real music; without samples ("") of floor and baselines alone."""
        music = self._music(real)
        sampler = self._sampler(samples) if samples else None
        reader = self.session.random_access_reader(samples, "keys") if samples and sampler is None else None
        rolls = self._samples(samples, sampler, reader, music)

        def step(row: str) -> None:
            """Say which row is next."""
            self.session.status(f"judging: {row}")

        table = evaluate(music, rolls, self.options, step)
        if self.pieces:
            baselines = tuple(PIECE_BASELINES) if self.options.baselines else ()
            options = PieceOptions(
                seed=self.options.seed, bootstraps=self.options.bootstraps, baselines=baselines, jobs=self.options.jobs
            )
            pieces = replace(music.pieces, samples=self._pieces(sampler, reader))
            table.pieces = pieces.tables(music.geometry, options, step, table.notes.append)
        if sampler is not None and sampler.family.extends and music.pairs is not None:
            self.session.status("judging: answers")
            table.answers = self._answers(sampler, music)
        return table

    def _sampler(self, path: str) -> Sampler | None:
        """Return who draws from `path`; None where that is no checkpoint."""
        return None if path == "-" or not is_checkpoint(path) else load_sampler(path, self.device)

    def _music(self, path: str) -> Collection:
        """Return what is held to be real: a store, or pieces of a checkpoint of another seed."""
        sampler = self._sampler(path)
        if sampler is None:
            return collection_of(self.session.random_access_reader(path, "keys"))
        return sampled_collection(sampler, self.options.count, OTHER_SEED)

    def _samples(self, path: str, sampler: Sampler | None, reader: Reader | None, music: Collection) -> RollSet | None:
        """Return what is to be judged: pieces of a checkpoint, or a store of them; None without either."""
        if sampler is None:
            return store_set(reader, music) if reader is not None else None
        count = min(self.options.count, len(music.held_out), len(music.training) // 2 or 1)
        return sampled_set(sampler, music, count, self.options.seed, path)

    def _pieces(self, sampler: Sampler | None, reader: Reader | None) -> PieceSource | None:
        """Return the same as longer pieces."""
        if sampler is not None:
            longest = LONG_SECONDS if self.draws_long else SHORT_SECONDS
            return sampled_pieces(sampler, self.options.seed, longest=longest, most=self.pieces)
        # Every store numbers its songs from 000001, but a sample is not of the real song with its number.
        return store_source(reader, prefix="sample ") if reader is not None else None

    def _answers(self, sampler: Sampler, music: Collection) -> dict[str, Estimate]:
        """Return how well a checkpoint goes on from held-out songs; nothing, and say so, where they are too few."""
        seed = self.options.seed

        def answer(number: int, question: np.ndarray) -> np.ndarray:
            """Draw piece `number` of the seed, after `question`."""
            return sampler.piece(seed, number, sampler.roll_shape.frames, request=Request(past=question)).roll

        assert music.pairs is not None
        try:
            return match(*music.pairs, music.geometry, answer, seed, self.options.jobs)
        except MusiganError as error:
            self.session.say(f"answers are not judged: {error}")
            return {}

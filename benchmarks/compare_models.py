"""Checkpoints of several models side by side: size, what training took, and how far what they draw is from songs.

    python benchmarks/compare_models.py KEYS CKPT... [-n 120] [--pieces 24] [--seeds 1]

A column a family, between the floor (songs that were learned from) and the built-in baselines; the rows are those of
`evaluate`, rhythm and form among them. Several checkpoints of one family (other seeds), and several sets drawn from
each (`--seeds`), give mean and deviation: "104 +- 12". Minutes are what a run took, over all its sittings; rolls/s
counts the rolls its steps saw, all stages together. Models that draw nothing from noise alone are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from musigan.checkpoints import checkpoint
from musigan.checkpoints.checkpoint import Checkpoint
from musigan.errors import MusiganError
from musigan.machine.cores import usable_cores
from musigan.metrics.bars import Piece
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import Evaluation, Options
from musigan.metrics.pieces import FEWEST_PIECES, MeasuredPieces, PieceOptions, compare_pieces, measure_pieces
from musigan.metrics.pieces import METRICS as PIECE_METRICS
from musigan.metrics.piecesets import SHORT_SECONDS, PieceSource
from musigan.metrics.sets import Collection, collection_of
from musigan.sampling.sampler import Sampler
from musigan.sampling.sets import DRAWN_PIECES, sampled_pieces, sampled_set
from musigan.store import open_reader

SIZES = ("checkpoints", "M parameters", "minutes", "rolls/s")
OF_ROLLS = (
    "Frechet, musical", "Frechet, random net", "MMD x 1000", "precision", "coverage", "told apart, logistic",
    "told apart, forest", "qualified notes", "empty bars", "used pitch classes", "polyphony", "drum pattern", "C_T",
    "copies", "diversity",
)  # fmt: skip
OF_PIECES = tuple(metric.name for metric in PIECE_METRICS)

Figures = Mapping[str, float]  # by name of SIZES, OF_ROLLS and OF_PIECES


@dataclass
class Column:
    """One column: the figures of each set of rolls and pieces of a family, of songs or of a baseline."""

    name: str
    sets: list[Figures] = field(default_factory=list)
    sizes: list[Figures] = field(default_factory=list)  # of each checkpoint

    def cell(self, row: str) -> str:
        """Return mean and, of several values, deviation; "" without any."""
        if row == "checkpoints":
            return str(len(self.sizes) or "")
        values = [figures[row] for figures in (*self.sets, *self.sizes) if np.isfinite(figures.get(row, np.nan))]
        if not values:
            return ""
        return f"{np.mean(values):.3g}" + (f" +- {np.std(values, ddof=1):.2g}" if len(values) > 1 else "")


@dataclass(frozen=True)
class Judges:
    """The judge of rolls, and the held-out songs' pieces that others are held against; None: too few, or not asked."""

    music: Collection
    rolls: Evaluation
    pieces: MeasuredPieces | None
    drawn_pieces: int

    @classmethod
    def of(cls, music: Collection, count: int, drawn_pieces: int) -> Judges:
        """Describe the held-out songs."""
        rolls = Evaluation(music, Options(count=count, bootstraps=0, pool=400, jobs=usable_cores()))
        held_out = cut_pieces(music.pieces.held_out) if drawn_pieces else []
        is_enough = len(held_out) >= FEWEST_PIECES
        pieces = measure_pieces(held_out, music.geometry, jobs=usable_cores()) if is_enough else None
        return cls(music, rolls, pieces, drawn_pieces)

    def of_pieces(self, pieces: Sequence[Piece]) -> Figures:
        """Return the figures of rhythm and form."""
        if self.pieces is None or not pieces:
            return {}
        measured = measure_pieces(pieces, self.music.geometry, self.pieces, usable_cores())
        return values_of(compare_pieces(self.pieces, measured, bootstraps=0))

    def of_sampler(self, sampler: Sampler, seed: int, name: str) -> Figures:
        """Return the figures of what a checkpoint draws of `seed`."""
        rolls = sampled_set(sampler, self.music, self.rolls.count, seed, name)
        pieces = [] if self.pieces is None else cut_pieces(sampled_pieces(sampler, seed, most=self.drawn_pieces))
        return {**values_of(self.rolls.samples(rolls)[0]), **self.of_pieces(pieces)}


def cut_pieces(source: PieceSource) -> list[Piece]:
    """Return pieces of half a minute, whose beats are to be found: those of what is drawn are, too."""
    options = PieceOptions()
    return [replace(piece, beats=None) for piece in source.cut(SHORT_SECONDS, options.count, options.seed)]


def values_of(estimates: Mapping[str, Estimate]) -> Figures:
    return {name: estimate.value for name, estimate in estimates.items()}


def sizes_of(saved: Checkpoint) -> Figures:
    """Return parameters in millions, minutes of training, rolls a second."""
    parameters = sum(v.numel() for state in saved.networks.values() for v in state.values() if v.is_floating_point())
    seconds = saved.position.seconds
    rolls = saved.position.total_steps * saved.training_settings().rolls_per_step
    return {"M parameters": parameters / 1e6, "minutes": seconds / 60, "rolls/s": rolls / max(seconds, 1e-9)}


def of_models(judges: Judges, paths: Sequence[Path], seeds: int) -> Iterator[Column]:
    """Yield a column for each family, in the order in which they come first."""
    columns: dict[str, Column] = {}
    for path in paths:
        saved = checkpoint.load(path)
        try:
            sampler = Sampler.from_checkpoint(saved)
            sets = [judges.of_sampler(sampler, seed, path.stem) for seed in range(1, seeds + 1)]
        except MusiganError as error:
            print(f"{path}: left out: {error}", flush=True)
            continue
        family = saved.training_settings().model
        column = columns.setdefault(family, Column(family))
        column.sets += sets
        column.sizes.append(sizes_of(saved))
    yield from columns.values()


def columns_of(judges: Judges, paths: Sequence[Path], seeds: int) -> Iterator[Column]:
    """Yield all columns: songs, models, baselines."""
    held_out = {} if judges.pieces is None else values_of(compare_pieces(judges.pieces, judges.pieces, bootstraps=0))
    yield Column("held-out", [{**values_of(judges.rolls.reference()[0]), **held_out}])
    floor_pieces = [] if judges.pieces is None else cut_pieces(judges.music.pieces.training)
    yield Column("floor", [{**values_of(judges.rolls.floor()[0]), **judges.of_pieces(floor_pieces)}])
    yield from of_models(judges, paths, seeds)
    for name in BASELINES:
        yield Column(name, [values_of(judges.rolls.baseline(name)[0])])


def table_lines(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the table in Markdown; rows without any value are left out."""
    yield "| " + " | ".join(("", *(column.name for column in columns))) + " |"
    yield "|---" * (1 + len(columns)) + "|"
    for row in (*SIZES, *OF_ROLLS, *OF_PIECES):
        cells = [column.cell(row) for column in columns]
        if any(cells):
            yield "| " + " | ".join((row, *cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("-n", "--count", type=int, default=120, help="rolls in each set")
    parser.add_argument("--pieces", type=int, default=DRAWN_PIECES, help="half-minute pieces in each set; 0: none")
    parser.add_argument("--seeds", type=int, default=1, help="sets drawn from each checkpoint")
    chosen = parser.parse_args()
    torch.set_num_threads(usable_cores())
    with open_reader(chosen.keys) as reader:
        judges = Judges.of(collection_of(reader), chosen.count, chosen.pieces)
        for line in table_lines(list(columns_of(judges, chosen.checkpoints, chosen.seeds))):
            print(line)


if __name__ == "__main__":
    main()

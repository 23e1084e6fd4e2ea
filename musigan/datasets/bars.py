"""Rolls for training on the music's own clock: excerpts of whole beats, the same number of frames in each.

Every stretch of a song is a grid of beats (`musigan.rolls.grid`); its excerpts begin on downbeats where they can.
Whole stretches are what models learn that think in beats, an `Outline` beside each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from musigan.datasets.conditions import style_number, style_of
from musigan.datasets.record import MusicRecord
from musigan.datasets.rolls import NO_AUGMENT, AugmentSettings, RollDataset
from musigan.errors import StoreError
from musigan.rolls.feel import swung
from musigan.rolls.grid import GRID_FRAMES, Grid, to_grid
from musigan.rolls.loudness import Compression, compress
from musigan.rolls.outlines import Outline, around_of, context_arrays, outline_of
from musigan.rolls.timing import tighten
from musigan.rolls.tracks import sides_or_tracks
from musigan.store import Reader
from musigan.store.stretches import Stretch, stretches_of

EXCERPT_BEATS = 16  # in a training excerpt


@dataclass(frozen=True)
class Part:
    """A stretch of a song and the beats that cover it."""

    stretch: Stretch
    grid: Grid
    begins: bool  # where its song does
    ends: bool


class BarDataset(RollDataset):
    """Excerpts of EXCERPT_BEATS beats of one split of a keys store; `reader` must stay open as long as this is used.

    Raises what RollDataset does.
    """

    tight_share = 0.5  # of the excerpts, whose attacks are on the grid: an autoencoder meets both

    def __init__(
        self,
        reader: Reader,
        split: Literal["train", "validation"] = "train",
        augment: AugmentSettings = NO_AUGMENT,
        compression: Compression = "sqrt",
        seed: int = 0,
        needs: Sequence[str] = (),
        styles: Sequence[str] | None = None,
        held_out: frozenset[str] | None = None,
    ) -> None:
        # No conditions of a roll: an outline says all that is needed.
        super().__init__(reader, split, augment, compression, seed, (), styles, held_out)
        self.has_parts = "kept" in needs  # outlines say which instruments play
        names = dict.fromkeys(place.item for place in self.places)
        self.shape = replace(self.shape, frames=EXCERPT_BEATS * GRID_FRAMES)
        self.parts = [part for info in reader.infos() if info.name in names for part in self._parts(info)]
        self.excerpts = [  # the number of a part, and a beat of it
            (number, first)
            for number, part in enumerate(self.parts)
            for first in range(0, len(part.grid), EXCERPT_BEATS)
        ]

    def __len__(self) -> int:
        return len(self.excerpts)

    def _parts(self, info: Any) -> Iterator[Part]:
        """Yield the parts of an item, whose beats count from each part's first frame."""
        song, whole = info.song, info.song.every_beat
        stretches = list(stretches_of(info, self.frame_seconds))
        for number, stretch in enumerate(stretches):
            seconds = stretch.frames * self.frame_seconds
            beats = whole.counted_from(stretch.start_seconds)
            grid = Grid.of(beats.until(seconds), seconds)
            # Only chunks with a known end of the song reach it; pairs drop what is left over.
            ends = song.seconds is not None and number == len(stretches) - 1
            yield Part(stretch, grid, number == 0, ends)

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return excerpt `index` of epoch `epoch`, (C, K, T) on the grid, in model space.

        Raises StoreError for values that are not finite.
        """
        (number, first), rng = self.excerpts[index], np.random.default_rng([self.seed, epoch, index])
        part = self.parts[number]
        if self.augment.crop:
            first += int(rng.integers(0, EXCERPT_BEATS))
        first = self._downbeat_near(part.grid, min(first, max(len(part.grid) - EXCERPT_BEATS, 0)))
        roll = compress(self._augment(self.on_grid(part, first, EXCERPT_BEATS), rng), self.compression)
        if rng.random() < self.tight_share and not part.grid.is_free:
            roll = tighten(roll, self.tracks)
        if rng.random() < self.augment.swing and not part.grid.is_free:
            roll = swung(roll)
        outline = self.outlines[number].part(first, EXCERPT_BEATS)
        count = len(outline)
        heard = sides_or_tracks(roll, self.tracks)[..., : count * GRID_FRAMES]
        kit = self.shape.drums_of(roll[..., : count * GRID_FRAMES])
        players = roll[..., : count * GRID_FRAMES] if self.has_parts else None
        outline = replace(outline, **around_of(heard, outline.numbers, kit, self.tracks, players))
        style = int(style_number(outline.style, self.styles))
        return roll, dict(context_arrays(outline, style, EXCERPT_BEATS))

    def on_grid(self, part: Part, first: int = 0, count: int | None = None) -> np.ndarray:
        """Return `count` beats of a part from beat `first` on, (C, K, count * GRID_FRAMES), linear loudness.

        Silence follows the part's end. Raises StoreError for values that are not finite.
        """
        count = len(part.grid) if count is None else count
        grid = part.grid.part(first, count)
        low = int(np.floor(grid.edges[0] / self.frame_seconds)) - 1
        high = int(np.ceil(grid.edges[-1] / self.frame_seconds)) + 1
        roll = part.stretch.read(self.reader, low, high - low)
        if not np.isfinite(roll).all():
            name = part.stretch.info.name
            raise StoreError(f"item {name} of the keys store holds values that are not numbers; make it again")
        on_grid = to_grid(roll, grid, self.frame_seconds, low * self.frame_seconds)
        missing = (count - len(grid)) * GRID_FRAMES
        return np.pad(on_grid, ((0, 0), (0, 0), (0, missing))) if missing else on_grid

    def composed(self, part: Part) -> np.ndarray:
        """Return a whole part as composers learn it, attacks on the grid: (C, K, N * GRID_FRAMES) in model space."""
        roll = compress(self.on_grid(part), self.compression)
        return roll if part.grid.is_free else tighten(roll, self.tracks)

    def tightened(self) -> BarDataset:
        """Return the same excerpts, the attacks of all on the grid and none made to swing: as composers are to draw."""
        other = copy.copy(self)
        other.tight_share, other.augment = 1.0, replace(self.augment, swing=0.0)
        return other

    def few(self, songs: int) -> BarDataset:
        """Return the excerpts of at most `songs` parts, spread evenly."""
        chosen = np.unique(np.linspace(0, len(self.parts) - 1, songs).round().astype(int)).tolist()
        other = copy.copy(self)
        other.parts = [self.parts[number] for number in chosen]
        other.excerpts = [(chosen.index(number), first) for number, first in self.excerpts if number in chosen]
        if "outlines" in self.__dict__:
            other.__dict__["outlines"] = tuple(self.outlines[number] for number in chosen)
        return other

    @staticmethod
    def _downbeat_near(grid: Grid, first: int) -> int:
        """Return the last downbeat before or at `first`, within a bar; `first` itself where there is none."""
        bar = np.flatnonzero(grid.numbers[max(first - grid.meter + 1, 0) : first + 1] == 1)
        return max(first - grid.meter + 1, 0) + int(bar[-1]) if bar.size else first

    @cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """The outline of each part."""
        return tuple(map(self._outline, self.parts))

    def _outline(self, part: Part) -> Outline:
        roll = self.composed(part)
        pitched, kit = sides_or_tracks(roll, self.tracks), self.shape.drums_of(roll)
        style = style_of(part.stretch.info.song)
        return outline_of(
            pitched, part.grid, style, part.begins, part.ends, kit, self.tracks, roll if self.has_parts else None
        )

    def record(self) -> MusicRecord:
        """Return what a checkpoint keeps of the store: the outlines of its songs, too."""
        return replace(super().record(), styles=self.styles, outlines=self.outlines)

    def fingerprint(self) -> dict[str, Any]:
        """Return plain values that identify the store: where its beats are, too."""
        values = super().fingerprint()
        beats = [round(float(part.grid.edges.sum()), 3) for part in self.parts]
        return {**values, "beats": sum(len(part.grid) for part in self.parts), "beat times": round(sum(beats), 2)}

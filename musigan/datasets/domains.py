"""The dataset of two kinds of music, for model families that translate one into the other.

Each roll of one store is paired with a roll of the other at random, anew each epoch; no song need exist as both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from musigan.datasets.record import MusicRecord
from musigan.datasets.rolls import NO_AUGMENT, AugmentSettings, RollDataset
from musigan.errors import StoreError, UsageError
from musigan.rolls.loudness import Compression
from musigan.rolls.tone import average
from musigan.rolls.tracks import has_own_drums
from musigan.store import Reader
from musigan.store.alike import AXES, require_alike
from musigan.store.splits import marked_names

OTHER = "other"  # the name of the condition that holds the roll of the second kind


class Domains(RollDataset):
    """The rolls of the first of two keys stores, each with a roll of the second as the condition `other`.

    An epoch is one pass over the larger store; the smaller one is repeated to that length. Raises StoreError where the
    stores were made with different settings.
    """

    def __init__(
        self,
        readers: Sequence[Reader],
        names: Sequence[str],
        split: Literal["train", "validation"] = "train",
        augment: AugmentSettings = NO_AUGMENT,
        compression: Compression = "sqrt",
        seed: int = 0,
    ) -> None:
        first, second = readers
        require_alike(
            (first.source, first.header),
            (second.source, second.header),
            "a critic would tell them apart by that alone; make both with the same settings of npy-to-keys",
            (*AXES, "band"),
        )
        if has_own_drums(first.header.tracks) != has_own_drums(second.header.tracks):
            next_step = "make both with drums, or both without"
            require_alike((first.source, first.header), (second.source, second.header), next_step, ("tracks",))
        super().__init__(first, split, augment, compression, seed, held_out=marked_names(first))
        # Each kind has its own seed, so that rolls of the same number are augmented differently.
        self.kinds = tuple(
            RollDataset(reader, split, augment, compression, seed + i, held_out=marked_names(reader))
            for i, reader in enumerate(readers)
        )
        if self.shape != self.kinds[1].shape:
            raise StoreError(
                f"{first.source} has rolls of (channels, keys, frames) {_sizes(self)}, {second.source} of "
                f"{_sizes(self.kinds[1])}; make both with the same settings"
            )
        self.names, self.needs, self.songs = tuple(names), (OTHER,), sum(kind.songs for kind in self.kinds)

    def __len__(self) -> int:
        lengths = [len(kind) for kind in self.kinds]
        return max(lengths) if all(lengths) else 0

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return roll `index` of the first kind in epoch `epoch` and a roll of the second, (C, K, T) in model space."""
        order = np.random.default_rng([self.seed, epoch, 1 << 21]).permutation(len(self))
        numbers = index, int(order[index])
        roll, other = (kind.roll(epoch, i % len(kind)) for kind, i in zip(self.kinds, numbers, strict=True))
        return roll, {OTHER: other}

    def record(self) -> MusicRecord:
        """Return the first store's record, with `level`, `tone` (means of both) and `domains` (the kinds' names)."""
        own, other = (kind.record() for kind in self.kinds)
        tone = average([record.tone for record in (own, other) if record.tone is not None])
        return replace(own, level=(own.level + other.level) / 2, tone=tone, domains=self.names)

    def fingerprint(self) -> dict[str, Any]:
        """Return the fingerprints of the two stores by the kinds' names, and these names in order."""
        prints = {name: kind.fingerprint() for name, kind in zip(self.names, self.kinds, strict=True)}
        return {"domains": list(self.names), **prints}


def _sizes(dataset: RollDataset) -> tuple[int, int, int]:
    return dataset.shape.channels, dataset.shape.keys, dataset.shape.frames


def domain_names(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the kinds of music in stores: their file names, up to the first dot.

    Raises UsageError for standard input, which has no name, and for equal names.
    """
    if "-" in sources:
        raise UsageError("standard input has no file name to name its kind of music after: give both stores as files")
    names = tuple(PurePosixPath(source.rstrip("/")).name.partition(".")[0] or source for source in sources)
    if len(set(names)) < len(names):
        raise UsageError(f"both stores are called {names[0]}, and transfer tells them apart by their names: rename one")
    return names

"""Two kinds of music to learn from: each roll of one store with one of the other, for families that turn one into the
other. Which two meet changes from epoch to epoch and means nothing; no song need exist as both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from musigan.data import NO_AUGMENT, AugmentSettings, Compression, Reader, RollDataset
from musigan.errors import StoreError, UsageError

OTHER = "other"  # the condition under which the second kind's roll comes
ALIKE = ("frame_seconds", "low_key", "high_key", "band")


class Domains(RollDataset):
    """The rolls of the first of two keys stores, each with one of the second as the condition `other`.

    An epoch is a pass over the larger store; the smaller one is gone through as often as it takes. Raises StoreError
    where the stores were not made alike.
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
        check_alike(first, second)
        super().__init__(first, split, augment, compression, seed)
        # The same roll number of both kinds is changed by draws of its own.
        self.kinds = tuple(
            RollDataset(reader, split, augment, compression, seed + i) for i, reader in enumerate(readers)
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
        """Roll `index` of the first kind as epoch `epoch` sees it, (C, K, T) in model space, and one of the second."""
        order = np.random.default_rng([self.seed, epoch, 1 << 21]).permutation(len(self))
        numbers = index, int(order[index])
        roll, other = (kind.roll(epoch, i % len(kind)) for kind, i in zip(self.kinds, numbers, strict=True))
        return roll, {OTHER: other}

    def store_attributes(self) -> dict[str, Any]:
        """The first store's attributes, `level` the mean of both, and `domains`: what the two kinds are called."""
        own, other = (kind.store_attributes() for kind in self.kinds)
        return {**own, "level": (own["level"] + other["level"]) / 2, "domains": list(self.names)}

    def fingerprint(self) -> dict[str, Any]:
        """What tells these two stores from others, by the kinds' names, in their order."""
        prints = {name: kind.fingerprint() for name, kind in zip(self.names, self.kinds, strict=True)}
        return {"domains": list(self.names), **prints}


def _sizes(dataset: RollDataset) -> tuple[int, int, int]:
    return dataset.shape.channels, dataset.shape.keys, dataset.shape.frames


def domain_names(sources: Sequence[str]) -> tuple[str, ...]:
    """What the kinds of music in stores are called: the names of their files, up to the first dot.

    Raises UsageError for standard input, which has none, and for names that are the same.
    """
    if "-" in sources:
        raise UsageError("standard input has no name to call its kind of music by: give both stores as files")
    names = tuple(PurePosixPath(source.rstrip("/")).name.partition(".")[0] or source for source in sources)
    if len(set(names)) < len(names):
        raise UsageError(f"both stores are called {names[0]}, and names are what transfer knows them by: rename one")
    return names


def check_alike(one: Reader, other: Reader) -> None:
    """Raise StoreError where the rolls of two keys stores lie on other keys or frames, or were analysed otherwise."""
    for name in ALIKE:
        mine, theirs = one.attributes.get(name), other.attributes.get(name)
        if mine != theirs:
            raise StoreError(
                f"{one.source} has {name} {mine}, {other.source} {theirs}: a critic would tell them by that; make "
                "both with the same settings of npy-to-keys"
            )

"""Batches of rolls, in an order that the seed and the epoch decide."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from musigan.machine.ranks import ALONE, Ranks

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Rolls (B, C, K, T) in model space and their conditions by name, (B, ...) each."""

    roll: Tensor
    conditions: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy the batch to `device`."""
        conditions = {name: value.to(device, non_blocking=non_blocking) for name, value in self.conditions.items()}
        return Batch(self.roll.to(device, non_blocking=non_blocking), conditions)

    def pinned(self) -> Batch:
        """Copy the batch to pinned memory."""
        return Batch(self.roll.pin_memory(), {name: value.pin_memory() for name, value in self.conditions.items()})

    def chunk(self, parts: int) -> list[Batch]:
        """Split the batch into equal parts, in order."""
        conditions = {name: value.chunk(parts) for name, value in self.conditions.items()}
        return [Batch(roll, {k: v[i] for k, v in conditions.items()}) for i, roll in enumerate(self.roll.chunk(parts))]


class Examples(Protocol):
    """What a stage learns from: examples by number, others in each epoch."""

    seed: int
    name: str  # what they are, in the plural
    rolls_each: float  # rolls that an example counts for, where rates and averages are in rolls

    def __len__(self) -> int:
        """Return the number of examples in an epoch."""

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """Return example `index` of epoch `epoch` and its conditions; the same arguments give the same example."""


def steps_per_epoch(dataset: Examples, batch_size: int, most: int = 0) -> int:
    """Return the number of batches in an epoch: one pass over the examples, or at most `most` of them (0: all)."""
    return -(-min(len(dataset), most or len(dataset)) // batch_size)


def batch_indices(dataset: Examples, batch_size: int, epoch: int) -> list[np.ndarray]:
    """Shuffle the rolls into batches of exactly `batch_size` indices; the last is filled from the pass's start."""
    order = np.random.default_rng([dataset.seed, epoch, 1 << 20]).permutation(len(dataset))
    indices = np.resize(order, steps_per_epoch(dataset, batch_size) * batch_size)
    return list(indices.reshape(-1, batch_size))


def stack_examples(examples: Sequence[tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> Batch:
    """Stack examples of a dataset, each a roll (C, K, T) and its conditions, into a batch."""
    import torch

    rolls, conditions_each = zip(*examples, strict=True)
    conditions = {
        name: torch.from_numpy(np.stack([values[name] for values in conditions_each])) for name in conditions_each[0]
    }
    return Batch(torch.from_numpy(np.stack(rolls)), conditions)


def batches(
    dataset: Examples,
    batch_size: int,
    epoch: int,
    first: int = 0,
    workers: int = 1,
    device: torch.device | str = "cpu",
    steps: int | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[Batch]:
    """Yield the batches of epoch `epoch` in order, from number `first` on: rolls (B, C, K, T) float32 on `device`.

    `steps` is where the epoch ends before all examples were used; another epoch uses others. Of several ranks each
    reads its part of every batch, which has `batch_size` for all of them.

    While one is in use, `workers` threads read the next `workers` batches; their number does not change the contents.
    For a GPU, batches wait in pinned memory, so that copying them does not block the training thread.
    """
    import torch

    pinned = torch.device(device).type == "cuda"

    def load(indices: np.ndarray) -> Batch:
        batch = stack_examples([dataset.example(epoch, index) for index in ranks.part(indices.tolist())])
        return batch.pinned() if pinned else batch

    index_batches = iter(batch_indices(dataset, batch_size, epoch)[first:steps])
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rolls")
    try:
        pending = deque(pool.submit(load, indices) for indices in itertools.islice(index_batches, workers))
        while pending:
            batch = pending.popleft().result()
            pending.extend(pool.submit(load, indices) for indices in itertools.islice(index_batches, 1))
            yield batch.to(device, non_blocking=pinned)
    finally:
        pool.shutdown(cancel_futures=True)

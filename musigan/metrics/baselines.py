"""Sets of rolls that are no music, or not new: a judge must catch each of them.

Each is made of training rolls, one of its rolls for one of theirs, and belongs to that roll's song.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from musigan.data import compress, expand, transpose

Rolls = Sequence[np.ndarray]  # each (C, K, T), linear loudness
FADE_SHARE = 0.1  # of a roll, over which one excerpt turns into the next
TRITONE_KEYS = 6


def silence(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Nothing at all."""
    for roll in rolls:
        yield np.zeros_like(roll)


def mean_plus_noise(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """The mean roll, with white noise of the cells' own deviation."""
    total, squares = np.zeros(rolls[0].shape), np.zeros(rolls[0].shape)
    for roll in rolls:
        loud = compress(roll)
        total += loud
        squares += np.square(loud)
    mean = total / len(rolls)
    deviation = np.sqrt(np.maximum(squares / len(rolls) - mean**2, 0))
    for _ in rolls:
        yield expand(mean + deviation * generator.standard_normal(mean.shape))


def shuffled_cells(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """The cells of each roll anywhere: the same loudness, no form at all."""
    for roll in rolls:
        order = generator.permutation(roll[0].size)
        yield roll.reshape(len(roll), -1)[:, order].reshape(roll.shape)


def reversed_in_time(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Each roll backwards."""
    for roll in rolls:
        yield roll[..., ::-1]


def moved_by_a_tritone(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Each roll six keys higher."""
    for roll in rolls:
        yield transpose(roll, TRITONE_KEYS)


def crossfaded_copies(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """The last part of one training roll into the first part of another: perfect music, none of it new."""
    frames = rolls[0].shape[-1]
    fade = max(1, round(frames * FADE_SHARE))
    for roll in rolls:
        other = rolls[int(generator.integers(len(rolls)))]
        at = int(generator.integers(frames // 4, frames - frames // 4))  # where the second begins
        first = np.clip((np.arange(frames) - at) / fade, 0, 1)
        mixed = np.zeros_like(roll)
        mixed[..., : min(at + fade, frames)] = roll[..., -min(at + fade, frames) :]
        incoming = np.zeros_like(roll)
        incoming[..., at:] = other[..., : frames - at]
        yield (mixed * (1 - first) + incoming * first).astype(np.float32)


def markov_chain(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Every key turns on and off by itself, as often as in the training rolls, at its own loudness."""
    channels, keys, frames = rolls[0].shape
    began, ended, on = np.zeros(keys), np.zeros(keys), np.zeros(keys)
    loudness = np.zeros((channels, keys))
    for roll in rolls:
        held: np.ndarray = np.any(roll > 0, axis=0)
        began += (held[:, 1:] & ~held[:, :-1]).sum(axis=1)
        ended += (~held[:, 1:] & held[:, :-1]).sum(axis=1)
        on += held.sum(axis=1)
        loudness += roll.sum(axis=2)
    cells = len(rolls) * frames
    start, stop = began / np.maximum(cells - on, 1), ended / np.maximum(on, 1)
    mean = loudness / np.maximum(on, 1)
    for _ in rolls:
        draws = generator.random((frames, keys))
        state = draws[0] < on / cells
        held = np.zeros((keys, frames), bool)
        for frame in range(frames):
            state = np.where(state, draws[frame] >= stop, draws[frame] < start)
            held[:, frame] = state
        yield (mean[:, :, None] * held).astype(np.float32)


BASELINES: dict[str, Callable[[Rolls, np.random.Generator], Iterator[np.ndarray]]] = {
    "silence": silence,
    "mean + noise": mean_plus_noise,
    "shuffled": shuffled_cells,
    "reversed": reversed_in_time,
    "tritone": moved_by_a_tritone,
    "copies": crossfaded_copies,
    "Markov": markov_chain,
}

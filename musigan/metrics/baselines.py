"""Baselines: sets of rolls that are no music, or not new; a judge must catch each of them.

They are made of training rolls. Each baseline yields one roll for every training roll, which counts as of its song.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from musigan.rolls.loudness import compress, expand, transpose

Rolls = Sequence[np.ndarray]  # each (C, K, T), linear loudness
FADE_SHARE = 0.1  # of a roll, during which one excerpt fades into the next
TRITONE_KEYS = 6


def silence(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield a silent roll for every roll."""
    for roll in rolls:
        yield np.zeros_like(roll)


def mean_plus_noise(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the mean compressed roll plus white noise with each cell's own standard deviation, as linear loudness."""
    sums, squares = np.zeros(rolls[0].shape), np.zeros(rolls[0].shape)
    for roll in rolls:
        loudness = compress(roll)
        sums += loudness
        squares += np.square(loudness)
    mean = sums / len(rolls)
    deviation = np.sqrt(np.maximum(squares / len(rolls) - mean**2, 0))
    for _ in rolls:
        yield expand(mean + deviation * generator.standard_normal(mean.shape))


def shuffled_cells(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield each roll with its cells (key and frame) permuted: the same loudness, no form at all."""
    for roll in rolls:
        order = generator.permutation(roll[0].size)
        yield roll.reshape(len(roll), -1)[:, order].reshape(roll.shape)


def reversed_in_time(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield each roll reversed in time."""
    for roll in rolls:
        yield roll[..., ::-1]


def transposed_by_a_tritone(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield each roll transposed six keys up."""
    for roll in rolls:
        yield transpose(roll, TRITONE_KEYS)


def crossfaded_copies(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the end of each roll crossfaded into the beginning of a random one: perfect music, none of it new."""
    frames = rolls[0].shape[-1]
    fade_frames = max(1, round(frames * FADE_SHARE))
    for roll in rolls:
        other = rolls[int(generator.integers(len(rolls)))]
        start_frame = int(generator.integers(frames // 4, frames - frames // 4))  # where the second excerpt begins
        fade_in = np.clip((np.arange(frames) - start_frame) / fade_frames, 0, 1)
        outgoing = np.zeros_like(roll)
        outgoing[..., : min(start_frame + fade_frames, frames)] = roll[..., -min(start_frame + fade_frames, frames) :]
        incoming = np.zeros_like(roll)
        incoming[..., start_frame:] = other[..., : frames - start_frame]
        yield (outgoing * (1 - fade_in) + incoming * fade_in).astype(np.float32)


def markov_chain(rolls: Rolls, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield rolls whose keys turn on and off independently, as often and as loud as in the training rolls."""
    channels, keys, frames = rolls[0].shape
    onset_counts, offset_counts, sounding_frames = np.zeros(keys), np.zeros(keys), np.zeros(keys)
    loudness_sums = np.zeros((channels, keys))
    for roll in rolls:
        is_sounding: np.ndarray = np.any(roll > 0, axis=0)
        onset_counts += (is_sounding[:, 1:] & ~is_sounding[:, :-1]).sum(axis=1)
        offset_counts += (~is_sounding[:, 1:] & is_sounding[:, :-1]).sum(axis=1)
        sounding_frames += is_sounding.sum(axis=1)
        loudness_sums += roll.sum(axis=2)
    frame_count = len(rolls) * frames
    start_probability, stop_probability = (
        onset_counts / np.maximum(frame_count - sounding_frames, 1),
        offset_counts / np.maximum(sounding_frames, 1),
    )
    mean_loudness = loudness_sums / np.maximum(sounding_frames, 1)
    for _ in rolls:
        draws = generator.random((frames, keys))
        is_on = draws[0] < sounding_frames / frame_count
        is_sounding = np.zeros((keys, frames), bool)
        for frame in range(frames):
            is_on = np.where(is_on, draws[frame] >= stop_probability, draws[frame] < start_probability)
            is_sounding[:, frame] = is_on
        yield (mean_loudness[:, :, None] * is_sounding).astype(np.float32)


BASELINES: dict[str, Callable[[Rolls, np.random.Generator], Iterator[np.ndarray]]] = {
    "silence": silence,
    "mean + noise": mean_plus_noise,
    "shuffled": shuffled_cells,
    "reversed": reversed_in_time,
    "tritone": transposed_by_a_tritone,
    "copies": crossfaded_copies,
    "Markov": markov_chain,
}

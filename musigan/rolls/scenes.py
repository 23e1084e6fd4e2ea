"""Scenes: what the music around each beat is like, without its notes.

The pitch classes that are heard there, and the texture: how much is struck and sounds, how loud and how high, and how
often drums and cymbals are struck. It is smoothed over some bars and held for BLOCK_BEATS beats, so it says which key,
how full and how loud, and neither melody nor chords. A drawn piece follows the scenes of a song that was learned from,
in another key.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.kit import KIT
from musigan.rolls.timing import attack_frames

CLASSES = 12  # pitch classes, the first that of the roll's lowest key
# Pitch classes (the most frequent 1), attacks, sounding keys, loudness, height; strokes of drums and of cymbals.
SCENE = CLASSES + 4 + 2
SKINS, METAL = SCENE - 2, SCENE - 1  # places of the strokes
SCENES_WITHOUT_DRUMS = SCENE - 2  # numbers that scenes had before there were drums
BLOCK_BEATS = 4
WEIGHTS = (1, 2, 3, 2, 1)  # of the blocks around each one
ATTACK_SCALE, SOUNDING_SCALE = 4.0, 4.0  # bring octaves of attacks, and the root of what sounds, near 1
STEPS = 100  # a scene is kept to the hundredth


def scene_of(roll: np.ndarray, kit: np.ndarray | None = None, pitched: np.ndarray | None = None) -> np.ndarray:
    """Return the scene of each beat of a roll (C, K, N * GRID_FRAMES) in model space, (N, SCENE) float32.

    The roll is what has a pitch; `kit` (D, N * GRID_FRAMES) are the drums of the kit, if there are any. Of instruments
    it is all, and `pitched` (C', K, the same) those whose keys are pitches.
    """
    keys, frames = roll.shape[1:]
    beats, block = frames // GRID_FRAMES, BLOCK_BEATS * GRID_FRAMES
    blocks = -(-beats // BLOCK_BEATS)
    loud = np.pad(np.asarray(roll, np.float32).mean(0), ((0, 0), (0, blocks * block - frames)))
    struck = attack_frames(np.pad(roll.max(0), ((0, 0), (0, blocks * block - frames))))
    by_key = loud.reshape(keys, blocks, block).sum(2).T  # (blocks, K)
    of_pitch = by_key
    if pitched is not None:
        mean = np.pad(np.asarray(pitched, np.float32).mean(0), ((0, 0), (0, blocks * block - frames)))
        of_pitch = mean.reshape(keys, blocks, block).sum(2).T
    classes = np.zeros((blocks, CLASSES), np.float32)
    for key in range(keys):
        classes[:, key % CLASSES] += of_pitch[:, key]
    totals = np.column_stack((
        classes,
        struck.reshape(keys, blocks, block).sum((0, 2)),
        (loud > 0).reshape(keys, blocks, block).sum((0, 2)),
        by_key.sum(1),
        by_key @ (np.arange(keys) / keys),
        *_strokes(kit, blocks, block),
        np.diff(np.minimum(np.arange(blocks + 1) * BLOCK_BEATS, beats)),
    ))  # fmt: skip
    smooth = np.stack([np.convolve(column, WEIGHTS)[2 : 2 + blocks] for column in totals.T], 1)
    classes, (attacks, sounding, loudness, height, skins, metal, count) = smooth[:, :CLASSES], smooth[:, CLASSES:].T
    scene = np.column_stack((
        classes / np.maximum(classes.max(1, keepdims=True), 1e-6),
        np.log2(1 + attacks / count) / ATTACK_SCALE,
        SOUNDING_SCALE * np.sqrt(sounding / (count * GRID_FRAMES * keys)),
        loudness / np.maximum(sounding, 1),
        height / np.maximum(loudness, 1e-6),
        np.log2(1 + skins / count) / ATTACK_SCALE,
        np.log2(1 + metal / count) / ATTACK_SCALE,
    ))  # fmt: skip
    return np.repeat(np.rint(scene * STEPS) / STEPS, BLOCK_BEATS, axis=0)[:beats].astype(np.float32)


def _strokes(kit: np.ndarray | None, blocks: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Count the strokes of skins and of metal in each block of a kit (D, T), (blocks,) each."""
    if kit is None:
        return np.zeros(blocks), np.zeros(blocks)
    struck = attack_frames(np.pad(kit, ((0, 0), (0, blocks * block - kit.shape[1])))).reshape(len(kit), blocks, block)
    is_metal = np.array([drum.is_metal for drum in KIT])
    return struck[~is_metal].sum((0, 2)), struck[is_metal].sum((0, 2))


class Fullness(NamedTuple):
    """How full music is, (...) each, arrays or tensors."""

    attacks: Any  # a beat
    sounding: Any  # share of keys


def fullness_of(scene: Any) -> Fullness:
    """Return how full a scene (..., SCENE), an array or a tensor, is around each beat."""
    return Fullness(2.0 ** (ATTACK_SCALE * scene[..., CLASSES]) - 1, (scene[..., CLASSES + 1] / SOUNDING_SCALE) ** 2)


def transposed(scene: np.ndarray, keys: int) -> np.ndarray:
    """Return a scene (N, SCENE) `keys` semitones higher."""
    return np.concatenate((np.roll(scene[:, :CLASSES], keys, axis=1), scene[:, CLASSES:]), axis=1)


def smoothed(rows: np.ndarray) -> np.ndarray:
    """Sum rows (R, N) over blocks of beats and those around them, for each beat: (R, N)."""
    beats = rows.shape[1]
    blocks = -(-beats // BLOCK_BEATS)
    sums = np.pad(rows, ((0, 0), (0, blocks * BLOCK_BEATS - beats))).reshape(len(rows), blocks, BLOCK_BEATS).sum(2)
    smooth = np.stack([np.convolve(row, WEIGHTS)[2 : 2 + blocks] for row in sums])
    return np.repeat(smooth, BLOCK_BEATS, axis=1)[:, :beats]

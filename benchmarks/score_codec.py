"""How well songs held back come through a checkpoint's autoencoder and back: onsets, attacks, sounding cells.

    python benchmarks/score_codec.py KEYS CKPT [--seconds 120]

Each song goes the way of `sample --morph` with itself: onto the grid of its beats where the model thinks in beats,
into latents, back into a roll in seconds. Onsets are those of notes (`musigan.rolls.notes`, the channels' mean),
matched by key within so many frames, each once; and, as "cells", every frame in which a key begins to sound at all.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from musigan.machine.cores import usable_cores
from musigan.metrics.rhythm import sharpness
from musigan.rolls.beats import onset_strength
from musigan.rolls.notes import find_notes
from musigan.sampling.sampler import Sampler
from musigan.store import open_reader
from musigan.store.excerpts import Window, excerpts

TOLERANCES = (1, 2, 5)  # frames


def note_onsets(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and frames of a plane's (K, T) notes but those that sound in the first frame."""
    notes = find_notes(plane)
    later = notes.starts > 0
    return notes.keys[later], notes.starts[later]


def cell_onsets(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and frames in which a key of a plane (K, T) begins to sound."""
    keys, frames = np.nonzero((plane[:, 1:] > 0) & ~(plane[:, :-1] > 0))
    return keys, frames + 1


def matched(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], tolerance: int) -> float:
    """F1 of two lists of onsets, each matched at most once, in the order of time."""
    count = 0
    for key in np.union1d(one[0], other[0]):
        left, right = np.sort(one[1][one[0] == key]), np.sort(other[1][other[0] == key])
        i = j = 0
        while i < len(left) and j < len(right):
            apart = left[i] - right[j]
            count += abs(apart) <= tolerance
            i, j = i + (apart <= tolerance), j + (apart >= -tolerance)
    return 2 * count / max(len(one[0]) + len(other[0]), 1)


def figures(real: np.ndarray, back: np.ndarray) -> dict[str, float]:
    """Figures of a roll and its reconstruction, (C, K, T) in linear loudness."""
    planes = real.mean(0), back.mean(0)
    both = ((real > 0) & (back > 0)).sum()
    row = {f"notes {n} frames": matched(*map(note_onsets, planes), n) for n in TOLERANCES}
    row |= {f"cells {n} frames": matched(*map(cell_onsets, planes), n) for n in TOLERANCES}
    row["overlap"] = float(2 * both / max((real > 0).sum() + (back > 0).sum(), 1))
    row["sharpness kept"] = sharpness(onset_strength(back)) / sharpness(onset_strength(real))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoint")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each song")
    chosen = parser.parse_args()
    torch.set_num_threads(usable_cores())
    sampler = Sampler.load(chosen.checkpoint)
    rows = []
    with open_reader(chosen.keys) as reader:
        held = [number for number, info in enumerate(reader.infos(), 1) if info.song.is_held_out]
        for song in excerpts(reader, held, Window(0.0, chosen.seconds), print):
            back = sampler.morph(song.roll, song.roll, beats=(song.beats, song.beats)).roll
            rows.append(figures(song.roll[..., : back.shape[-1]], back))
            print("  ".join(f"{value:.3f}" for value in rows[-1].values()), song.title, flush=True)
    print(f"{len(rows)} songs, means:")
    for name in rows[0]:
        print(f"{name:<18}{np.mean([row[name] for row in rows]):>8.3f}")


if __name__ == "__main__":
    main()

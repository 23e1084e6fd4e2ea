"""Latents of whole songs, encoded once in each key and kept in a file: what a composer learns from."""

from __future__ import annotations

import os
import tempfile
import threading
from typing import TYPE_CHECKING

import numpy as np
import torch

from musigan.datasets.conditions import style_number
from musigan.errors import MusiganError
from musigan.models.bars.composer import BEAT_STEPS
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.outlines import context_arrays
from musigan.rolls.tracks import transposed

if TYPE_CHECKING:
    from musigan.datasets.bars import BarDataset
    from musigan.models.bars.generator import Generator

FEW_KEYS = 4  # semitones up to which a song is learned in every key, beyond in every other
OPEN_STYLE = 0.2  # share of examples whose style is left open
SMALLEST_DEVIATION = 1e-3


class SongLatents:
    """Examples of whole songs: the means of their latents, (L, Z), and the conditions of their beats.

    One example a part of a song and pass, in a random key and, of longer parts, a random stretch of `beats` beats. A
    part is encoded in a key when an example first asks for it; the encoder must not change in between.
    """

    name = "songs"

    def __init__(self, dataset: BarDataset, generator: Generator) -> None:
        self.seed, self.songs = dataset.seed, dataset.songs
        self.outlines, self.styles = dataset.outlines, dataset.styles
        span = dataset.augment.transpose_keys
        self.keys = tuple(range(-span, span + 1, 2 if span >= FEW_KEYS and span % 2 == 0 else 1))
        counts = np.array([len(outline) for outline in self.outlines])
        self.beats = int(min(counts.max(), generator.settings.memory_beats))
        self.starts = np.concatenate(([0], np.cumsum(counts)))  # of each part, in beats
        self.rolls_each = self.beats * GRID_FRAMES / dataset.shape.frames  # what an example counts for, in excerpts
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as this does; nothing is left of it)
        shape = (len(self.keys), int(self.starts[-1]), BEAT_STEPS, generator.codec.latent_dim)
        _reserve(self._file.fileno(), int(np.prod(shape)) * np.dtype(np.float16).itemsize)
        self.latents = np.memmap(self._file, np.float16, "r+", shape=shape)
        self._dataset, self._generator = dataset, generator
        self._is_encoded = np.zeros((len(self.keys), len(counts)), bool)
        self._encoding = threading.Lock()  # several threads may read batches

    def __len__(self) -> int:
        return len(self.outlines)

    def of_part(self, key: int, number: int) -> np.ndarray:
        """Return the latents of part `number` in `keys[key]`, (N, 4, Z) float16."""
        place = self.latents[key, self.starts[number] : self.starts[number + 1]]
        with self._encoding:
            if not self._is_encoded[key, number]:
                place[:] = self._encoded(key, number)
                self._is_encoded[key, number] = True
        return place

    @torch.no_grad()
    def _encoded(self, key: int, number: int) -> np.ndarray:
        roll = self._dataset.composed(self._dataset.parts[number])
        in_key = torch.from_numpy(transposed(roll, self.keys[key], self._dataset.tracks))[None]
        mean = self._generator.encode(in_key.to(self._generator.latent_mean.device)).mean[0]  # (L, Z)
        return mean.unflatten(0, (-1, BEAT_STEPS)).cpu().numpy()

    def measure(self, generator: Generator) -> None:
        """Tell the generator the latents' mean by dimension, and the deviation that all of them have together.

        One deviation for all: dimensions that hardly vary say little, and need not be learned as well as the others.
        """
        parts = [self.of_part(len(self.keys) // 2, number) for number in range(len(self))]
        latents = np.concatenate(parts).reshape(-1, self.latents.shape[-1]).astype(np.float32)
        generator.latent_mean.copy_(torch.from_numpy(latents.mean(0)))
        generator.latent_deviation.fill_(max(float(np.sqrt(latents.var(0).mean())), SMALLEST_DEVIATION))

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return example `index` of pass `epoch`; `known` (N,) is 1 where there is music, 0 after its end."""
        rng = np.random.default_rng([self.seed, epoch, index, 1])
        key = int(rng.integers(len(self.keys)))
        outline = self.outlines[index].transposed(self.keys[key])
        first = int(rng.integers(max(len(outline) - self.beats, 0) + 1))
        count = min(self.beats, len(outline))
        latents = np.zeros((self.beats, *self.latents.shape[2:]), np.float32)
        latents[:count] = self.of_part(key, index)[first : first + count]
        style = 0 if rng.random() < OPEN_STYLE else int(style_number(outline.style, self.styles))
        part = outline if count == len(outline) else outline.part(first, count)
        known = (np.arange(self.beats) < count).astype(np.float32)
        return latents.reshape(-1, latents.shape[-1]), {**context_arrays(part, style, self.beats), "known": known}


def _reserve(descriptor: int, size: int) -> None:
    """Take so many bytes of the disk for a temporary file: a mapped file on a full disk ends the process.

    Raises MusiganError where there is not as much room.
    """
    try:
        os.truncate(descriptor, size)
        if hasattr(os, "posix_fallocate"):  # macOS has none
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        place = f"{tempfile.gettempdir()}: {size / 1e6:.0f} MB for latents of songs"
        advice = "TMPDIR names another place"
        raise MusiganError(f"{place} cannot be written ({error.strerror or error}); {advice}") from error

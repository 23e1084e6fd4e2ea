"""Small stores of music-like rolls for the tests of the judge: enough songs to hold some back, made in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musigan import store
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings

CHANNELS, KEYS, FRAMES = 2, 24, 250
LOW_KEY = 37


def header(keys: int = KEYS, frames: int = FRAMES, frame_seconds: float = 0.02) -> store.StoreHeader:
    """The header of a keys store of rolls of that size."""
    settings = KeySettings(keys=KeyRange(LOW_KEY, LOW_KEY + keys - 1), frame_seconds=frame_seconds)
    return store.StoreHeader("keys", 12000, frames * frame_seconds).with_keys(settings)


def song(seed: int, rolls: int, channels: int = CHANNELS, keys: int = KEYS, frames: int = FRAMES) -> np.ndarray:
    """Rolls (N, C, K, T) of decaying chords on a beat, each song in a scale and with a pulse of its own."""
    generator = np.random.default_rng([seed, 99])
    root, pulse, loud = int(generator.integers(12)), int(generator.integers(18, 30)), generator.uniform(0.4, 0.9)
    scale = np.flatnonzero(np.isin((np.arange(keys) - root) % 12, (0, 2, 4, 5, 7, 9, 11)))
    whole = np.zeros((channels, keys, rolls * frames), np.float32)
    for beat in range(int(generator.integers(4)), rolls * frames - 10, pulse):
        for key in generator.choice(scale, min(int(generator.integers(1, 4)), len(scale)), replace=False):
            stop = min(beat + int(generator.integers(12, 40)), rolls * frames)
            decay = loud * np.exp(-np.arange(stop - beat) / 30)
            whole[:, key, beat:stop] = decay * np.array([[1.0], [0.6]])[:channels]
    return whole.reshape(channels, keys, rolls, frames).transpose(2, 0, 1, 3)


def write_songs(
    path: Path,
    songs: Sequence[np.ndarray],
    splits: Sequence[str | None],
    own_header: store.StoreHeader | None = None,
) -> Path:
    """A keys store of songs, each (N, C, K, T); `splits` says of each whether it is held back, None: it does not."""
    keys, frames = songs[0].shape[2:]
    with store.write(str(path), own_header or header(keys, frames)) as writer:
        for number, (rolls, split) in enumerate(zip(songs, splits, strict=True)):
            each = store.Song(title=f"Song {number}", level=0.1, content=f"{number:032x}", split=split or "")
            names = ("chunks", "channels", "keys", "frames")
            writer.add(np.ascontiguousarray(rolls, np.float16), names, each)
    return path


def write_music(path: Path, train: int = 8, held: int = 6, rolls: int = 6, first_seed: int = 0, **size: int) -> Path:
    """A store of `train` songs to learn from and `held` held back, in turns, of `rolls` rolls each."""
    splits = ["validation" if number % 2 and number // 2 < held else "train" for number in range(2 * held)]
    splits = [*splits, *["train"] * (train + held)][: train + held]
    while splits.count("train") > train:  # more are held back than learned from
        splits[len(splits) - 1 - splits[::-1].index("train")] = "validation"
    return write_songs(path, [song(first_seed + n, rolls, **size) for n in range(train + held)], splits)

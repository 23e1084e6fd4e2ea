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


DRUMMED_LOW, DRUMMED_KEYS = 15, 26  # keys 15 to 40: kick, snare, hi-hat and tom are among them, and a bass


def recording(number: int, frames: int, sides: int = 2) -> np.ndarray:
    """A roll (sides + 1, K, T) of a song with drums: chords on a beat of 12 frames, kick, snare and two hats in each.

    Low notes lie on the drums' own keys, the second side is softer, and hats are struck before they have faded.
    """
    generator = np.random.default_rng([number, 7])
    roll = np.zeros((sides + 1, DRUMMED_KEYS, frames), np.float32)
    decay = 0.75 ** np.arange(9)
    for beat in range(0, frames - 12, 12):
        for key in (1, *generator.choice(np.arange(8, DRUMMED_KEYS), 2, replace=False)):
            roll[:sides, key, beat : beat + 11] = generator.uniform(0.3, 0.9) * np.array([[1.0], [0.6]])[:sides]
        for drum, start, loudness in ((1, 0, 0.8), (3, 6, 0.6), (7, 0, 0.4), (7, 6, 0.3)):
            stop = min(beat + start + len(decay), frames)
            struck = loudness * decay[: stop - beat - start]
            roll[-1, drum, beat + start : stop] = np.maximum(roll[-1, drum, beat + start : stop], struck)
    return roll


def write_recordings(
    path: Path, drums: str | None = "played", songs: int = 3, pairs: int = 12, frames: int = 24, sides: int = 2
) -> Path:
    """A keys store of recordings, the first held back: drums are "played", "silent" or were not looked for (None)."""
    names = ("left", "right")[:sides] if sides == 2 else ("mono",)
    tracks = () if drums is None else (*names, "drums")
    settings = KeySettings(keys=KeyRange(DRUMMED_LOW, DRUMMED_LOW + DRUMMED_KEYS - 1))
    own_header = store.StoreHeader("keys", 12000, frames * 0.02, tracks=tracks).with_keys(settings)
    axes = ("pairs", "part", "tracks" if tracks else "channels", "keys", "frames")
    with store.write(str(path), own_header) as writer:
        for number in range(songs):
            whole = recording(number, pairs * 2 * frames, sides)
            if drums == "silent":
                whole[-1] = 0
            rolls = whole if tracks else whole[:-1]
            blocks = rolls.reshape(len(rolls), DRUMMED_KEYS, pairs, 2, frames).transpose(2, 3, 0, 1, 4)
            song = store.Song(
                title=f"Song {number}", split="train" if number else "validation", level=0.1 + 0.1 * number,
                genre=("Folk", "Rock")[number % 2], tempo=250.0, first_beat=0.0, content=f"{number:032x}",
            )  # fmt: skip
            writer.add(np.ascontiguousarray(blocks, np.float16), axes, song)
    return path

"""Stretches of a song that a keys store holds without a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from musigan import store
from musigan.store.stretches import stretches_of
from tests.tiny import CHANNELS, FRAMES, HEADER, KEYS

FRAME = 0.02


def written(path: Path, starts: tuple[float, ...], paired: bool, seconds: float | None = None) -> np.ndarray:
    """Write an item whose frames count up from 1 in its song; return the pairs or chunks."""
    span = FRAMES * (2 if paired else 1)
    blocks = [np.full((CHANNELS, KEYS, span), 1.0) * (round(s / FRAME) + np.arange(span)) / 1000 for s in starts]
    array = np.stack(blocks).astype(np.float16)
    names: tuple[str, ...] = ("chunks", "channels", "keys", "frames")
    if paired:
        array = array.reshape(len(starts), CHANNELS, KEYS, 2, FRAMES).transpose(0, 3, 1, 2, 4)
        names = ("pairs", "part", "channels", "keys", "frames")
    with store.write(str(path), HEADER) as writer:
        writer.add(np.ascontiguousarray(array), names, store.Song(title="x", starts=starts, seconds=seconds))
    return array


def numbers(roll: np.ndarray) -> np.ndarray:
    return np.rint(roll[0, 3] * 1000).astype(int)


def test_pairs_with_a_gap_are_two_stretches_and_overlaps_are_read_once(tmp_path: Path) -> None:
    chunk = FRAMES * FRAME
    starts = (0.0, chunk, 2 * chunk, 7 * chunk, 9 * chunk)  # pairs of two chunks: the first three overlap
    written(tmp_path / "s.zarr", starts, paired=True)
    with store.open_reader(str(tmp_path / "s.zarr")) as reader:
        one, other = stretches_of(reader.infos()[0], FRAME)
        assert (one.frames, other.frames) == (4 * FRAMES, 4 * FRAMES)
        assert (one.start_seconds, other.start_seconds) == (0.0, 7 * chunk)
        np.testing.assert_array_equal(numbers(one.read(reader, 5, 80)), np.arange(5, 85))
        np.testing.assert_array_equal(numbers(other.read(reader, 1, 70)), 7 * FRAMES + 1 + np.arange(70))


def test_silence_lies_beyond_both_ends(tmp_path: Path) -> None:
    written(tmp_path / "s.zarr", (0.0, FRAMES * FRAME), paired=False, seconds=(FRAMES + 5) * FRAME)
    with store.open_reader(str(tmp_path / "s.zarr")) as reader:
        (one,) = stretches_of(reader.infos()[0], FRAME)
        assert one.frames == FRAMES + 5
        expected = np.concatenate((np.zeros(3), np.arange(FRAMES + 5), np.zeros(4)))
        np.testing.assert_array_equal(numbers(one.read(reader, -3, FRAMES + 12)), expected)

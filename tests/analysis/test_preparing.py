"""From waveforms to pairs: what travels with a song, and shuffling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from musigan.analysis import preparing
from musigan.analysis.signals import at_full_scale
from musigan.store import Item, ItemInfo, Song, StoreHeader, chunks

HEADER = StoreHeader("waveform", 4)


def waveform(array: np.ndarray, **about: Any) -> Item:
    info = ItemInfo("000001", array.shape, array.dtype.name, array.shape, preparing.WAVEFORM, Song(**about))
    return Item(info, array)


def ramp(samples: int, dtype: str = "float16") -> np.ndarray:
    return (np.arange(2 * samples).reshape(2, samples) + 1).astype(dtype)


def test_to_pairs_by_hand() -> None:
    item = waveform(ramp(29), title="Lied", artist="Ä", level=0.5, content="a")
    cut, song = preparing.to_pairs(item, HEADER, chunk_seconds=1.5, overlap=0.5, validation=0.42)
    assert cut.pairs.shape == (3, 2, 2, 6)  # 12 samples a pair, 6 from one to the next, 29 in all
    assert cut.pairs[1, :, 1].tolist() == [[36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47]]
    assert song == replace(item.song, split="validation", starts=(0.0, 1.5, 3.0))
    assert item.song == Song(title="Lied", artist="Ä", level=0.5, content="a")


def test_the_split_goes_by_content_whatever_the_name() -> None:
    sides = set()
    for number in range(40):
        content = f"song {number}"
        splits = {
            preparing.to_pairs(waveform(ramp(20), content=content, title=title), HEADER, 1.0, 0.0, 0.5)[1].split
            for title in ("one", "another")
        }
        assert splits == {"validation" if chunks.is_validation(content, 0.5) else "train"}
        sides |= splits
    assert sides == {"train", "validation"}


def test_without_a_hash_the_array_identifies_the_song() -> None:
    one, same, other = waveform(ramp(20), title="1"), waveform(ramp(20), title="2"), waveform(ramp(20) + 1)
    assert preparing.content_of(one) == preparing.content_of(same) != preparing.content_of(other)
    assert preparing.to_pairs(one, HEADER, 1.0, 0.0, 0.1)[1].content == preparing.content_of(one)


def test_silence_of_integers_is_measured_at_full_scale() -> None:
    array = np.full((2, 16), 20, np.int16)
    cut, song = preparing.to_pairs(waveform(array, level=1 / 32767), HEADER, 1.0, 0.0, 0.1)
    assert (cut.silent, cut.starts, song.starts) == (2, (), ())
    array[:, 8:] = 90
    assert preparing.to_pairs(waveform(array, level=1 / 32767), HEADER, 1.0, 0.0, 0.1)[0].starts == (2.0,)


def test_full_scale() -> None:
    scaled = at_full_scale(np.array([[16384, -32767]], np.int16), 1 / 32767)[:, :]
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.50002, -1.0]], atol=1e-5)


@pytest.fixture
def cut() -> chunks.Cut:
    return chunks.cut_pairs(ramp(56, "float32"), 4, 1.0)


def test_shuffling_keeps_pairs_and_their_starts_together(cut: chunks.Cut) -> None:
    shuffled = preparing.shuffle_pairs(cut, "song", 5)
    assert shuffled.starts == (6.0, 12.0, 8.0, 4.0, 0.0, 10.0, 2.0)  # for ever: the same seed, the same output
    for start, pair in zip(shuffled.starts, shuffled.pairs, strict=True):
        np.testing.assert_array_equal(pair, cut.pairs[cut.starts.index(start)])
    whole = chunks.assemble(cut.pairs, cut.starts, 4, paired=True)
    np.testing.assert_array_equal(chunks.assemble(shuffled.pairs, shuffled.starts, 4, paired=True), whole)


def test_shuffling_depends_on_song_and_seed_alone(cut: chunks.Cut) -> None:
    first = preparing.shuffle_pairs(cut, "song", 5).starts
    others = [preparing.shuffle_pairs(cut, f"song {number}", 5).starts for number in range(5)]
    assert preparing.shuffle_pairs(cut, "song", 5).starts == first
    assert len({first, *others, preparing.shuffle_pairs(cut, "song", 6).starts}) == 7


def test_shuffling_a_song_without_pairs() -> None:
    empty = chunks.cut_pairs(ramp(3), 4, 1.0)
    assert preparing.shuffle_pairs(empty, "song", 5).starts == ()

"""Cutting and putting together, and which songs are held back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musigan.errors import SettingsError
from musigan.store import chunks


def sounding(channels: int, samples: int) -> np.ndarray:
    """Every sample another number, all well above silence."""
    return (np.arange(channels * samples, dtype=np.float32) + 1).reshape(channels, samples)


def test_by_hand() -> None:
    # 2 channels, 11 samples at 2 Hz, chunks of 1.5 s = 3 samples, pairs of 6: one pair, 5 samples left over.
    signal = sounding(2, 11)
    cut = chunks.cut_pairs(signal, 2.0, 1.5)
    assert cut.pairs.tolist() == [[[[1, 2, 3], [12, 13, 14]], [[4, 5, 6], [15, 16, 17]]]]
    assert cut.starts == (0.0,)
    # Two thirds shared: the next pair begins 2 samples, 1 s, later.
    cut = chunks.cut_pairs(signal, 2.0, 1.5, overlap=2 / 3)
    assert cut.starts == (0.0, 1.0, 2.0)
    assert cut.pairs[2].tolist() == [[[5, 6, 7], [16, 17, 18]], [[8, 9, 10], [19, 20, 21]]]
    assert cut.silent == 0


@given(
    st.integers(1, 3), st.integers(0, 90), st.integers(1, 9), st.floats(0, 0.99), st.sampled_from([1.0, 7.0, 12000.0])
)
def test_assemble_undoes_cut(channels: int, samples: int, chunk: int, overlap: float, rate: float) -> None:
    signal = sounding(channels, samples)
    cut = chunks.cut_pairs(signal, rate, chunk / rate, overlap)
    hop = max(1, round(2 * chunk * (1 - overlap)))
    assert len(cut.starts) == (0 if samples < 2 * chunk else (samples - 2 * chunk) // hop + 1)
    assert cut.pairs.shape == (len(cut.starts), 2, channels, chunk)
    if not cut.starts:
        return
    song = chunks.assemble(cut.pairs, cut.starts, rate, paired=True)
    covered = (len(cut.starts) - 1) * hop + 2 * chunk
    np.testing.assert_array_equal(song, signal[:, :covered])
    np.testing.assert_array_equal(chunks.cut_at(song, cut.starts, rate, chunk, paired=True), cut.pairs)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True), st.integers(1, 8))
def test_chunks_in_any_order_with_gaps(begins: list[int], length: int) -> None:
    rate = 3.0
    whole = sounding(2, 60)
    starts = tuple(begin / rate for begin in begins)
    cut = np.stack([whole[:, begin : begin + length] for begin in begins])
    song = chunks.assemble(cut, starts, rate, paired=False)
    assert song.shape == (2, max(begins) - min(begins) + length)
    np.testing.assert_array_equal(chunks.cut_at(song, starts, rate, length, paired=False), cut)
    parts = chunks.Assembled(cut, starts, rate, paired=False)
    for first, stop in ((0, 3), (length - 1, length + 5), (17, None)):
        np.testing.assert_array_equal(parts[1:, first:stop], song[1:, first:stop])
    heard = {sample for begin in begins for sample in range(begin, begin + length)}
    for sample in range(song.shape[-1]):
        expected = whole[:, sample + min(begins)] if sample + min(begins) in heard else [0, 0]
        np.testing.assert_array_equal(song[:, sample], expected)


def test_the_pair_that_began_first_counts() -> None:
    first, second = np.full((2, 1, 4), 1.0), np.full((2, 1, 4), 2.0)
    for order in ((0, 1), (1, 0)):
        pairs = np.stack([(first, second)[i] for i in order])
        song = chunks.assemble(pairs, tuple((10.0, 12.0)[i] for i in order), 1.0, paired=True)
        assert song.tolist() == [[1] * 8 + [2] * 2]


@given(st.integers(1, 40), st.integers(1, 12), st.floats(0, 0.98), st.integers(2, 20))
def test_cut_like_on_a_coarser_axis_stays_inside_the_song(
    extra: int, frames: int, overlap: float, frame_samples: int
) -> None:
    rate, chunk = 100.0, frames * frame_samples
    signal = sounding(1, 2 * chunk + extra)
    cut = chunks.cut_pairs(signal, rate, chunk / rate, overlap)
    song = chunks.assemble(cut.pairs, cut.starts, rate, paired=True)
    analysed = song[:, : song.shape[-1] // frame_samples * frame_samples : frame_samples]
    rolls = chunks.cut_at(analysed, cut.starts, rate / frame_samples, frames, paired=True)
    assert rolls.shape == (len(cut.starts), 2, 1, frames)
    # Each frame was heard less than a frame before the pair's own.
    behind = cut.pairs[..., ::frame_samples] - rolls
    assert (behind >= 0).all()
    assert (behind < frame_samples).all()


def test_silent_pairs_are_dropped_and_counted() -> None:
    signal = sounding(2, 24)
    signal[:, 8:12] = 1e-4  # the continuation of the second pair of 2 + 2 chunks of 4
    signal[0, 16:20] = 0  # one channel still sounds
    cut = chunks.cut_pairs(signal, 1.0, 4.0)
    assert (cut.starts, cut.silent) == ((0.0, 16.0), 1)
    song = chunks.assemble(cut.pairs, cut.starts, 1.0, paired=True)
    np.testing.assert_array_equal(song[:, :8], signal[:, :8])
    assert not song[:, 8:16].any()
    np.testing.assert_array_equal(song[:, 16:], signal[:, 16:])


def test_silence_is_a_matter_of_full_scale() -> None:
    quiet = np.full((1, 8), 30, np.int16)  # -61 dBFS
    assert chunks.cut_pairs(quiet, 1.0, 4.0, level=1 / 32767).silent == 1
    assert chunks.cut_pairs(quiet + np.int16(4), 1.0, 4.0, level=1 / 32767).silent == 0
    lowest = np.full((1, 8), -32768, np.int16)
    assert chunks.cut_pairs(lowest, 1.0, 4.0, level=1 / 32767).silent == 0
    assert chunks.cut_pairs(np.full((1, 8), np.nan, np.float16), 1.0, 4.0).silent == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_the_type_stays(dtype: str) -> None:
    cut = chunks.cut_pairs(np.ones((2, 9), dtype), 1.0, 2.0)
    assert cut.pairs.dtype == chunks.assemble(cut.pairs, cut.starts, 1.0, paired=True).dtype == np.dtype(dtype)
    assert chunks.cut_pairs(np.ones((2, 3), dtype), 1.0, 2.0).pairs.dtype == np.dtype(dtype)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_overlap_out_of_range(overlap: float) -> None:
    with pytest.raises(SettingsError, match="--overlap"):
        chunks.cut_pairs(sounding(1, 9), 1.0, 2.0, overlap)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.00001, 1 / 7, math.nan, math.inf])
def test_chunks_of_no_whole_number_of_samples(seconds: float) -> None:
    with pytest.raises(SettingsError, match="--chunk-seconds"):
        chunks.chunk_samples(12000, seconds)


def test_chunk_samples() -> None:
    assert chunks.chunk_samples(12000, 10.0) == 120000
    assert chunks.chunk_samples(44100, 0.1) == 4410
    assert chunks.chunk_samples(22050.0, 3.3) == 72765


@pytest.mark.parametrize(("content", "place"), [("a", 0.41045), ("Ä song", 0.74365), ("", 0.40092)])
def test_the_split_is_the_same_for_ever(content: str, place: float) -> None:
    assert not chunks.is_validation(content, place - 1e-4)
    assert chunks.is_validation(content, place + 1e-4)


def test_the_split_has_the_share_that_was_asked_for() -> None:
    names = [f"{number:x}" for number in range(5000)]
    for share in (0.05, 0.1, 0.5):
        held_back = sum(chunks.is_validation(name, share) for name in names)
        assert abs(held_back / 5000 - share) < 4 * math.sqrt(share * (1 - share) / 5000)
    assert not any(chunks.is_validation(name, 0.0) for name in names)
    assert all(chunks.is_validation(name, 1.0) for name in names)
    # A larger share keeps back all that a smaller one did.
    assert all(chunks.is_validation(name, 0.3) for name in names if chunks.is_validation(name, 0.1))


def test_odd_names_have_a_side_too() -> None:
    assert chunks.is_validation("\udcff", 1.0)

"""Signals that are computed as they are asked for are heard like arrays, and levels are the same in any blocks."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from musigan.analysis import cleaning, signals
from musigan.analysis.bands import END_DEVIATIONS, analysed_bands, end_gains, roll_of
from musigan.analysis.beats.finding import find_beats
from musigan.analysis.drums.features import band_loudness
from musigan.analysis.timbres import find_tone, thinned
from musigan.rolls.keysettings import KeySettings
from musigan.store import chunks

RATE, KEYS = 12000, KeySettings()


def struck(seconds: float) -> np.ndarray:
    """Return a chord and noise that are struck twice a second, the right side softer and moved, float16 (2, S)."""
    times = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(4).standard_normal(times.size)
    chord = sum(np.sin(2 * np.pi * hz * times) for hz in (110.0, 277.2, 659.3))
    sound = (0.1 * chord + 0.05 * noise) * np.exp(-6 * (times % 0.5))
    return np.stack((sound, 0.4 * np.roll(sound, 700) + 1e-3)).astype(np.float16)


def test_a_signal_of_pairs_is_heard_like_an_array() -> None:
    sound = struck(8.0)
    cut = chunks.cut_pairs(sound, RATE, 1.0, overlap=0.5)
    computed = signals.at_full_scale(chunks.Assembled(cut.pairs, cut.starts, RATE, paired=True), 0.7)
    array = sound.astype(np.float32) * np.float32(0.7)
    assert computed.shape == array.shape
    np.testing.assert_array_equal(computed[1:, 5000:40000], array[1:, 5000:40000])
    bands = analysed_bands(array, RATE, KEYS)
    np.testing.assert_array_equal(analysed_bands(computed, RATE, KEYS), bands)
    roll, level = roll_of(bands, RATE, KEYS)
    tones = [find_tone(signal, RATE, thinned(bands), roll, level, KEYS) for signal in (computed, array)]
    assert tones[0] is not None
    assert tones[0] == tones[1]
    drums = [band_loudness(signals.mixed(signal)) for signal in (computed, array)]
    np.testing.assert_array_equal(drums[0], drums[1])
    beats = [find_beats(signal, RATE, bands) for signal in (computed, array)]
    assert beats[0].seconds.size > 0
    np.testing.assert_array_equal(beats[0].seconds, beats[1].seconds)


def test_sides_are_mixed_as_they_are_asked_for() -> None:
    sound = struck(0.1).astype(np.float32)
    mean = sound.mean(axis=0, keepdims=True)
    np.testing.assert_array_equal(signals.mixed(sound)[:, 3:99], mean[:, 3:99])
    np.testing.assert_array_equal(signals.with_sides(mean, 2)[1:, 3:], mean[:, 3:])
    assert signals.with_sides(sound, 2) is sound


def test_means_and_silence_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = struck(5.0).astype(np.float32)
    monkeypatch.setattr(signals, "BLOCK_SAMPLES", 8192)
    np.testing.assert_array_equal(signals.means(sound), sound.mean(axis=1, keepdims=True, dtype=np.float64))
    last = np.zeros((2, 20000), np.float32)
    assert signals.is_silent(last)
    last[1, -1] = 1e-9
    assert not signals.is_silent(last)


def test_levels_are_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    bands = np.random.default_rng(1).standard_normal((2, 5, 100)).astype(np.float32)
    found = cleaning.sounding_level(bands), cleaning._level(bands)
    monkeypatch.setattr(cleaning, "BLOCK_FRAMES", 7)
    assert (cleaning.sounding_level(bands), cleaning._level(bands)) == found
    assert found[0] == np.percentile(bands[bands > 0], cleaning.LEVEL_PERCENTILE)
    assert cleaning.sounding_level(bands[..., :0]) == 0


@pytest.mark.parametrize("deviation", [0.8, 3.0, 40.0])
def test_gains_are_one_between_the_ends(deviation: float) -> None:
    reach = math.ceil(END_DEVIATIONS / (2 * math.pi * deviation * 0.02))
    whole, ends = end_gains(deviation, 3, 2 * reach + 301, 0.02), end_gains(deviation, 3, 2 * reach, 0.02)
    assert ends[0] > 1
    np.testing.assert_array_equal(whole, np.concatenate((ends[:reach], np.ones(301, np.float32), ends[reach:])))


def test_a_long_song_is_not_in_memory_as_float32() -> None:
    peaks, item_bytes = [], []
    for repeats in (16, 16, 32):  # blocks of 40 s; the first time for imports and plans
        item = np.tile(struck(5.0), repeats)
        tracemalloc.start()
        bands = analysed_bands(signals.at_full_scale(item, 1.0), RATE, KEYS)
        peaks.append(tracemalloc.get_traced_memory()[1] - bands.nbytes)
        tracemalloc.stop()
        item_bytes.append(item.nbytes)
    assert peaks[2] - peaks[1] < 0.5 * (item_bytes[2] - item_bytes[1])

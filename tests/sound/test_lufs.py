"""Loudness by ITU-R BS.1770: measured as the standard says, reached by every kind of sound, peaks below the limit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from musigan.errors import SettingsError
from musigan.sound import lufs
from musigan.sound.mastering import CEILING_DB
from musigan.sound.takes import Take
from tests.helpers import run

RATE = 22050
CEILING = 10 ** (CEILING_DB / 20)


def tone(seconds: float, hz: float = 440.0, channels: int = 1) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.repeat(np.sin(2 * np.pi * hz * times, dtype=np.float32)[None], channels, axis=0)


def strokes(seconds: float, decay_seconds: float, period_seconds: float = 0.5) -> np.ndarray:
    """Noise, stereo, lopsided, that is struck and dies away."""
    times = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(3).standard_normal((2, len(times))) * [[1.0], [0.4]]
    return (noise * np.exp(-(times % period_seconds) / decay_seconds)).astype(np.float32)


def chord(seconds: float) -> np.ndarray:
    notes = [tone(seconds, 110 * ratio) for ratio in (1, 5 / 4, 3 / 2, 2, 12 / 5, 3, 4)]
    return np.sum(notes, axis=0, dtype=np.float32)


def peaking_at_ceiling(signal: np.ndarray) -> np.ndarray:
    return signal * np.float32(CEILING / np.abs(signal).max())


def true_peak_db(signal: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(resample_poly(signal, 4, 1, axis=1)).max()))


KINDS = {
    "single notes": strokes(6, 0.15) * 0.01 + tone(6, 330) * 0.001,
    "a low tone": tone(4, 41.0),
    "a high tone, stereo": tone(4, 4186.0, 2),
    "a dense chord": chord(4),
    "drums": strokes(6, 0.1, 0.4),
    "a short note": tone(0.1),
    "loud, then quiet": np.concatenate((chord(2), tone(8) * 0.02), axis=1),
    "three channels": np.concatenate((tone(2), tone(2, 300) * 0.5, tone(2, 700) * 0.2)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [-14.0, -23.0])
def test_each_kind_reaches_the_target_with_true_peaks_below_the_limit(kind: str, target: float) -> None:
    signal = peaking_at_ceiling(KINDS[kind])
    normalised = lufs.normalise(signal, RATE, target)
    assert normalised.shape == signal.shape
    assert normalised.dtype == np.float32
    assert lufs.measure(normalised, RATE) == pytest.approx(target, abs=0.5)
    assert true_peak_db(normalised) <= -1.4


def test_a_full_scale_tone_of_997_hz_is_at_minus_3_lufs_on_one_side_and_at_0_on_both() -> None:
    """The standard's own example."""
    assert lufs.measure(tone(5, 997.0), RATE) == pytest.approx(-3.01, abs=0.1)
    assert lufs.measure(tone(5, 997.0, 2), RATE) == pytest.approx(0.0, abs=0.1)


def test_the_true_peak_is_that_between_samples() -> None:
    """A tone of a quarter of the rate whose samples lie halfway up its peaks and no higher than 0.707."""
    between = np.tile(np.float32([0.5, 0.5, -0.5, -0.5]), 2000)[None]
    between *= np.hanning(between.shape[1]).astype(np.float32)
    assert lufs.true_peak(between, RATE) == pytest.approx(-3.01, abs=0.1)
    assert lufs.true_peak(np.zeros((2, 0), np.float32), RATE) == -np.inf


def test_what_is_reached_without_the_limiter_is_only_scaled() -> None:
    signal = peaking_at_ceiling(chord(2))
    normalised = lufs.normalise(signal, RATE, -30.0)
    factor = np.abs(normalised).max() / np.abs(signal).max()
    np.testing.assert_allclose(normalised, signal * factor, atol=1e-6)


def test_what_the_limiter_takes_away_is_made_up_for() -> None:
    signal = peaking_at_ceiling(strokes(6, 0.1, 0.4))
    missing_db = -14.0 - lufs.measure(signal, RATE)
    assert missing_db > 3
    once = lufs._amplified(Take([signal]), missing_db, RATE, CEILING_DB)
    assert lufs.measure_blocks(once, RATE) < -14.5
    assert lufs.measure(lufs.normalise(signal, RATE, -14.0), RATE) == pytest.approx(-14.0, abs=0.2)


@pytest.mark.parametrize("samples", [0, 1, 100, 5 * RATE])
def test_silence_stays_silence(samples: int) -> None:
    normalised = lufs.normalise(np.zeros((2, samples), np.float32), RATE, -14.0)
    assert normalised.shape == (2, samples)
    assert not normalised.any()


def test_what_hardly_sounds_is_raised_by_a_bounded_gain() -> None:
    faint = 1e-3 * tone(3)
    normalised = lufs.normalise(faint, RATE, -14.0)
    assert np.abs(normalised).max() == pytest.approx(1e-3 * 10 ** (lufs.MAX_GAIN_DB / 20), rel=1e-3)


def test_a_click_gets_no_louder_than_the_ceiling_however_short() -> None:
    for samples, length in [(1, 1), (1, RATE), (20, 300), (20, 10 * RATE)]:
        click = np.zeros((1, length), np.float32)
        click[0, :samples] = CEILING
        normalised = lufs.normalise(click, RATE, -14.0)
        assert 0 < np.abs(normalised).max() <= np.float32(CEILING)


def test_out_of_reach_the_nearest_loudness_is_taken() -> None:
    signal = peaking_at_ceiling(strokes(10, 0.003, 2.0))
    before, normalised = lufs.measure(signal, RATE), lufs.normalise(signal, RATE, -5.0)
    assert before < lufs.measure(normalised, RATE) < -5
    assert np.abs(normalised).max() <= np.float32(CEILING)


def test_a_target_is_a_number_in_its_range_or_none() -> None:
    assert [lufs.target_of(text) for text in ("-14", "-40", " -5.0", "none", "None")] == [-14, -40, -5, None, None]
    for text in ("-41", "-4.9", "14", "nan", "-inf", "", "loud", "-14 LUFS"):
        with pytest.raises(SettingsError, match=f"--lufs {text} is no loudness: expected a number from -40 to -5"):
            lufs.target_of(text)


def test_samples_of_a_run_are_as_loud_as_the_tool_makes_pieces() -> None:
    """The tool states its default itself: what is imported for it would slow its help down."""
    said = " ".join(run("keys-to-mp3", "--help").stdout.decode().split())
    assert f"none: its peak at the limit. [default: {lufs.USUAL}]" in said

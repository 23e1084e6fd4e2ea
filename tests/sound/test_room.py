"""The room: how long it rings, that it colours little, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, fftconvolve, sosfiltfilt

from musigan.errors import SettingsError
from musigan.sound import room, takes

RATE = 44100


def noise(samples: int, channels: int = 2) -> np.ndarray:
    generator = np.random.default_rng(3)
    return generator.standard_normal((channels, samples)).astype(np.float32) * np.array([[1.0], [0.3]])[:channels]


def decay_seconds(response: np.ndarray, octave_hz: float) -> float:
    """Reverberation time of (S,) in an octave, by the slope of its energy decay curve from -5 to -25 dB (Schroeder)."""
    edges = [octave_hz / np.sqrt(2), octave_hz * np.sqrt(2)]
    filtered = sosfiltfilt(butter(4, edges, "band", fs=RATE, output="sos"), np.pad(response, RATE // 2))
    energy = np.cumsum(filtered[RATE // 2 :][::-1] ** 2)[::-1]
    levels = 10 * np.log10(energy[: response.size] / energy[0])
    chosen = np.flatnonzero((levels < -5) & (levels > -25))
    return float(-60 / np.polyfit(chosen / RATE, levels[chosen], 1)[0])


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_it_rings_as_long_as_it_says_and_high_tones_less(amount: float) -> None:
    response = room.impulse_response(RATE, amount)
    stated = room.reverberation_seconds(amount)
    for octave_hz in (500, 1000, 2000, 4000, 8000):
        times = [decay_seconds(side, octave_hz) for side in response]
        assert np.mean(times) == pytest.approx(stated * room.DECAY_SHARES[octave_hz], rel=0.12), octave_hz
    assert (response[:, : round(0.005 * RATE)] ** 2).sum() < 1e-3 * (response**2).sum()


def test_it_colours_little_and_has_no_tone_of_its_own() -> None:
    """Thirds of octaves lie together, and no frequency stands out of its third more than in noise."""
    left, right = room.impulse_response(RATE, 0.5).astype(float)
    frequencies = np.fft.rfftfreq(1 << 17, 1 / RATE)
    for response in (left, right, (left + right) / np.sqrt(2)):
        power = np.abs(np.fft.rfft(response, 1 << 17)) ** 2
        thirds = []
        for middle in 250 * 2.0 ** (np.arange(15) / 3):  # to 6.3 kHz
            third = power[np.abs(np.log2(np.maximum(frequencies, 1) / middle)) < 1 / 6]
            assert third.max() < 13 * third.mean()
            thirds.append(10 * np.log10(third.mean()))
        assert max(thirds) - min(thirds) < 7
        assert np.abs(np.diff(thirds)).max() < 3.5


def test_both_sides_differ_and_their_mean_loses_nothing() -> None:
    response = room.impulse_response(RATE, 1.0).astype(float)
    assert (response**2).sum(axis=1) == pytest.approx([1, 1], abs=1e-3)
    assert abs(np.corrcoef(response)[0, 1]) < 0.05
    assert (response.mean(axis=0) ** 2).sum() == pytest.approx(0.5, abs=0.05)


def test_no_room_is_no_change() -> None:
    signal = noise(1000)
    assert room.add_room(signal, RATE, 0.0) is signal


@pytest.mark.parametrize("amount", [-0.1, 1.5, float("nan")])
def test_an_amount_out_of_range_is_refused(amount: float) -> None:
    with pytest.raises(SettingsError, match=r"--room .* is out of range: expected 0, no room, to 1, a hall"):
        room.add_room(noise(10), RATE, amount)


def test_blocks_leave_no_seam_and_the_end_rings_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "BLOCK_SAMPLES", 3000)
    signal = noise(10001)
    sound = room.add_room(signal, 12000, 0.5)
    response = room.impulse_response(12000, 0.5)
    heard = signal * (1 - room.CROSSFEED) + signal.mean(axis=0) * room.CROSSFEED
    whole = np.stack([fftconvolve(one, own) for one, own in zip(heard, response, strict=True)])
    expected = 0.5 * room.LOUDEST * whole
    expected[:, :10001] += signal
    assert sound.dtype == np.float32
    np.testing.assert_allclose(sound, expected, atol=1e-4)
    assert np.abs(sound[:, -100:]).max() < 2e-3 * np.abs(sound).max()


@pytest.mark.parametrize("channels", [1, 2])
def test_more_room_is_louder_and_a_side_alone_is_heard_from_both(channels: int) -> None:
    signal = np.zeros((channels, RATE), np.float32)
    signal[0, 0] = 1.0
    energies = [float((room.add_room(signal, RATE, amount)[:, 1:] ** 2).sum()) for amount in (0.2, 0.6, 1.0)]
    assert energies == sorted(energies)
    assert energies[-1] < room.LOUDEST**2 * channels
    assert all((room.add_room(signal, RATE, 0.5)[:, 1:] ** 2).sum(axis=1) > 0.005)


def test_an_empty_signal_stays_empty() -> None:
    assert room.add_room(np.zeros((2, 0), np.float32), RATE, 1.0).shape == (2, 0)

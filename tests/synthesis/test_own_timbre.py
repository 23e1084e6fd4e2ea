"""Rolls that sound as songs do: partials, breath, sides, seams."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import BANDS, REGISTERS
from musigan.synthesis.breath import BATCH_FRAMES, band_density, breathe, white_noise
from musigan.synthesis.ensemble import perform
from musigan.synthesis.oscillators import BLOCK_FRAMES, synthesise
from musigan.synthesis.timbre import OwnTimbre
from tests.tones import tone

RATE, KEYS = 12000, KeySettings(keys=KeyRange(40, 60))


def held(frames: int = 200, key: int = 45, begin: int = 0) -> np.ndarray:
    roll = np.zeros((2, 21, frames), np.float32)
    roll[0, key - 40, begin:], roll[1, key - 40, begin:] = 0.5, 0.25
    return roll


def test_breath_is_as_loud_as_told_and_follows_the_notes() -> None:
    roll = held(600)
    roll[:, :, 300:] *= 0.5
    sound = breathe(roll, tone(0.01), KEYS, RATE)
    assert sound.shape == (2, 600 * 240)
    power = [(sound[:, first * 240 : (first + 200) * 240] ** 2).mean(axis=1) for first in (50, 350)]
    np.testing.assert_allclose(power[0], [0.01 * 0.25, 0.01 * 0.0625], rtol=0.2)
    np.testing.assert_allclose(power[0] / power[1], 4.0, rtol=0.2)


def test_breath_is_silent_where_the_roll_is_and_never_wild() -> None:
    roll = held(400, begin=200)
    sound = breathe(roll, tone(), KEYS, RATE)
    assert not sound[:, : 170 * 240].any()
    assert not breathe(np.zeros((2, 21, 50), np.float32), tone(), KEYS, RATE).any()
    wild = tone(breath=np.full((BANDS, 5), 5.0))
    assert np.square(breathe(roll, wild, KEYS, RATE)[0]).mean() < 2 * 0.25


def test_breath_is_the_same_each_time_and_wherever_batches_end() -> None:
    roll = held(BATCH_FRAMES + 100)
    whole = breathe(roll, tone(), KEYS, RATE)
    np.testing.assert_array_equal(breathe(roll, tone(), KEYS, RATE), whole)
    part = breathe(roll[..., : BATCH_FRAMES - 100], tone(), KEYS, RATE)
    same = slice(0, (BATCH_FRAMES - 200) * 240)
    np.testing.assert_allclose(part[:, same], whole[:, same], atol=1e-6)
    seam = BATCH_FRAMES * 240 + 120
    assert np.abs(np.diff(whole[:, seam - 5 : seam + 5])).max() < 6 * whole[0].std()


def test_sides_are_as_like_as_told() -> None:
    roll = np.repeat(held()[:1], 2, axis=0)

    def correlation(likeness: float) -> float:
        left, right = breathe(roll, tone(likeness=np.full(BANDS, likeness)), KEYS, RATE)
        return float(np.corrcoef(left, right)[0, 1])

    assert correlation(1.0) > 0.999
    assert correlation(0.5) == pytest.approx(0.5, abs=0.05)
    assert abs(correlation(0.0)) < 0.05
    apart = OwnTimbre(tone(likeness=np.full(BANDS, 0.5))).side_phases(440.0, 2)
    assert apart is not None
    assert (apart[0] * apart[1].conjugate()).real == pytest.approx(0.5, abs=1e-6)
    assert OwnTimbre(tone()).side_phases(440.0, 2) is None


def test_noise_is_white() -> None:
    power = np.square(np.fft.irfft(white_noise(60)[0, :100], 120)).mean()
    assert power == pytest.approx(1.0, rel=0.05)


def test_shares_follow_register_age_and_loudness() -> None:
    ages, loudness = np.array([[0.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 0.1]])
    changing = tone(fades=np.full(REGISTERS, 0.5), brightness=np.full(REGISTERS, 0.3))
    shares = dict(OwnTimbre(changing).shares(440.0, 6000.0, ages, loudness))
    assert list(shares) == [1, 3]
    np.testing.assert_allclose(shares[1] ** 2 + shares[3] ** 2, 1.0, rtol=1e-6)
    third = shares[3] / shares[1]
    np.testing.assert_allclose(third, 0.75 * np.exp([[0, -1, -1 + 0.3 * np.log2(3) * np.log(0.1)]]), rtol=1e-5)
    assert list(dict(OwnTimbre(changing).shares(440.0, 1000.0, ages, loudness))) == [1]


def test_own_notes_are_as_loud_as_the_roll_and_start_without_clicks() -> None:
    roll = held(200, begin=50)
    sound = synthesise(roll, KEYS, RATE, tone(1e-6))
    np.testing.assert_allclose(np.sqrt(np.square(sound[:, 80 * 240 : -2400]).mean(axis=1)), [0.5, 0.25], rtol=0.03)
    assert np.abs(sound[:, : 20 * 240]).max() < 1e-3
    top_hz = 3 * 440 * 2 ** (-4 / 12)
    assert np.abs(np.diff(sound[0])).max() < 1.5 * 0.5 * np.sqrt(2) * 2 * np.pi * top_hz / RATE


def test_long_rolls_have_no_seams() -> None:
    settings = KeySettings(keys=KeyRange(45, 47))
    roll = np.zeros((1, 3, BLOCK_FRAMES + 100), np.float32)
    roll[0, 0] = 0.5
    sound = synthesise(roll, settings, 4000, tone(1e-3))[0]
    loud = np.sqrt(np.square(sound[: sound.size // 800 * 800].reshape(-1, 800)).mean(axis=1))[2:-2]
    np.testing.assert_allclose(loud, 0.5, rtol=0.1)


def test_tracks_may_sound_like_songs() -> None:
    settings = KeySettings("midi", KeyRange(40, 60))
    sound = perform(held(100), ("piano", "drums"), settings, RATE, tone(0.02))
    assert sound.shape == (2, 100 * 240)
    loud = np.sqrt(np.square(sound[:, : 5 * 240]).mean()), np.sqrt(np.square(sound[:, -10 * 240 :]).mean())
    assert loud[0] > 2 * loud[1] > 0  # it dies away
    assert not band_density(np.zeros((2, 21, 9), np.float32), tone(), KEYS).any()

"""Sound of a roll: in tune, as loud as asked, without clicks, and the same roll when analysed again."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.analysis.bands import analyse
from musigan.errors import SettingsError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.sound.mastering import crossfade, fade, limit, master
from musigan.synthesis.oscillators import BLOCK_FRAMES, Block, interpolate, synthesise
from musigan.synthesis.timbre import TIMBRES, ages_seconds, timbre_named

RATE = 12000
KEYS = KeySettings()


def hz(key: int) -> float:
    return 440.0 * 2 ** ((key - 49) / 12)


def held(key: int, frames: int = 200, rms: float = 0.5, keys: KeyRange | None = None) -> np.ndarray:
    """(2, K, T): one key, the right channel at half."""
    keys = keys or KeyRange()
    roll = np.zeros((2, keys.count, frames), np.float32)
    roll[0, key - keys.low], roll[1, key - keys.low] = rms, rms / 2
    return roll


def melody(frames: int = 600) -> np.ndarray:
    """(2, 88, T): decaying notes of all registers, never two of a key at once."""
    random = np.random.default_rng(4)
    roll = np.zeros((2, 88, frames), np.float32)
    for start in range(0, frames - 60, 12):
        key, length = random.integers(14, 76), random.integers(8, 55)
        note = random.uniform(0.2, 1.0) * np.exp(-np.arange(length) / random.uniform(10, 60))
        around = roll[:, max(key - 2, 0) : key + 3, start : start + length + 6]
        if not around.any():
            roll[:, key, start : start + length] = note * np.array([[1.0], [random.uniform(0.3, 1)]])
    return roll


def strongest_hz(sound: np.ndarray) -> float:
    """Frequency of the highest spectral peak, by parabolic interpolation of the log spectrum."""
    size = 1 << 18
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(sound.size), size)) + 1e-12)
    top = int(spectrum.argmax())
    left, middle, right = spectrum[top - 1 : top + 2]
    return (top + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / size


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("key", [1, 10, 30, 49, 66, 88])
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_a_key_is_in_tune_and_as_loud_as_asked(key: int, iterations: int) -> None:
    sound = synthesise(held(key), KEYS, RATE, level=0.2, iterations=iterations)
    assert sound.shape == (2, 200 * 240)
    assert sound.dtype == np.float32
    inner = sound[:, 6000:-6000]
    assert abs(1200 * np.log2(strongest_hz(inner[0]) / hz(key))) < 1
    np.testing.assert_allclose(np.sqrt((inner**2).mean(axis=1)), [0.1, 0.05], rtol=0.02)


def test_the_roll_comes_back() -> None:
    roll = melody()
    back, level = analyse(synthesise(roll, KEYS, RATE, level=0.1), RATE)
    assert cosine(roll, back) > 0.99
    again, _ = analyse(synthesise(back, KEYS, RATE, level=level), RATE)
    assert cosine(back, again) > 0.99


def test_refinement_brings_the_roll_closer() -> None:
    roll = melody()

    def error(iterations: int) -> float:
        back, level = analyse(synthesise(roll, KEYS, RATE, level=0.1, iterations=iterations), RATE)
        return float(np.abs(back * level / 0.1 - roll)[roll > 0].mean())

    assert error(1) < 0.8 * error(0)


def test_fixed_bands_come_back() -> None:
    settings = KeySettings("fixed")
    roll = melody()[:, 26:59]
    back, level = analyse(synthesise(roll, settings, RATE, level=0.1), RATE, settings)
    back[roll == 0] = 0  # neighbours overlap in these bands
    assert cosine(roll, back * level) > 0.98


def test_steady_tones_do_not_click() -> None:
    """A restart of phases, once a frame, would put energy everywhere."""
    sound = synthesise(held(40, 400), KEYS, RATE)[0, 6000:-6000]
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(sound.size))) ** 2
    bins = np.fft.rfftfreq(sound.size, 1 / RATE)
    assert spectrum[np.abs(bins - hz(40)) > 10].sum() < 1e-8 * spectrum.sum()


def test_notes_begin_and_end_without_clicks() -> None:
    roll = np.zeros((1, 88, 200), np.float32)
    roll[0, 39, 50:150] = 0.5
    sound = synthesise(roll, KEYS, RATE)[0]
    assert np.abs(sound[: 45 * 240]).max() < 1e-3
    step = np.abs(np.diff(sound)).max()
    assert step < 1.4 * 0.5 * np.sqrt(2) * 2 * np.pi * hz(40) / RATE  # of the steady tone


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_short_and_silent_rolls(frames: int) -> None:
    assert synthesise(np.zeros((2, 88, frames)), KEYS, RATE).shape == (2, frames * 240)
    sound = synthesise(np.ones((1, 88, frames)), KEYS, RATE)
    assert sound.shape == (1, frames * 240)
    assert np.isfinite(sound).all()


def test_long_rolls_have_no_seams() -> None:
    frames = BLOCK_FRAMES + 200
    sound = synthesise(held(52, frames, keys=KeyRange(50, 53)), KeySettings(keys=KeyRange(50, 53)), RATE)[0]
    clock = np.arange(sound.size) / RATE
    turning = np.exp(-2j * np.pi * hz(52) * clock)
    slow = (sound * turning)[: sound.size // 1200 * 1200].reshape(-1, 1200).mean(axis=1)[1:-1]
    np.testing.assert_allclose(np.abs(slow), 0.5 * np.sqrt(2) / 2, rtol=0.02)
    assert np.ptp(np.unwrap(np.angle(slow))) < 0.02


def test_blocks_share_their_phases() -> None:
    settings = KeySettings(keys=KeyRange(30, 40))
    roll = held(34, 100, keys=settings.keys)
    early = Block(settings, RATE, 0, 100).sound(roll, TIMBRES["sine"], 0)
    late = Block(settings, RATE, 37, 100).sound(roll, TIMBRES["sine"], 0)
    np.testing.assert_allclose(early[:, 60 * 240 : 80 * 240], late[:, 23 * 240 : 43 * 240], atol=2e-3)


def test_rolls_must_fit() -> None:
    with pytest.raises(SettingsError, match="88 keys"):
        synthesise(np.zeros((2, 33, 5)), KEYS, RATE)
    with pytest.raises(SettingsError, match="--timbre"):
        synthesise(np.zeros((2, 88, 5)), KEYS, RATE, timbre="kazoo")
    with pytest.raises(SettingsError, match="frame"):
        synthesise(np.zeros((2, 88, 5)), KEYS, 11025)


def test_keys_over_nyquist_are_left_out() -> None:
    assert not synthesise(held(80), KEYS, 4000).any()
    assert synthesise(held(60), KEYS, 4000).any()


@pytest.mark.parametrize("timbre", sorted(TIMBRES))
@pytest.mark.parametrize("key", [20, 49, 85])
def test_timbres_are_as_loud_as_the_note(timbre: str, key: int) -> None:
    sound = synthesise(held(key), KEYS, RATE, timbre=timbre)[:, 6000:-6000]
    np.testing.assert_allclose(np.sqrt((sound**2).mean(axis=1)), [0.5, 0.25], rtol=0.03)
    spectrum = np.abs(np.fft.rfft(sound[0] * np.hanning(sound.shape[1]))) ** 2
    bins = np.fft.rfftfreq(sound.shape[1], 1 / RATE)
    multiple = bins / hz(key)
    off = (np.abs(multiple - np.round(multiple)) * hz(key) > 8) | (multiple < 0.5)
    assert spectrum[off].sum() < 1e-4 * spectrum.sum()


@pytest.mark.parametrize("timbre", ["harmonic", "piano", "strings"])
def test_overtones_are_heard_as_one_note(timbre: str) -> None:
    back, level = analyse(synthesise(held(40, 100), KEYS, RATE, timbre=timbre), RATE)
    assert set(np.nonzero(back)[1]) == {39}
    assert np.median(back[0, 39]) * level == pytest.approx(0.5, rel=0.05)


def test_struck_strings_lose_their_brightness() -> None:
    sound = synthesise(held(40, 300), KEYS, RATE, timbre="piano")[0]

    def brightness(part: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(part * np.hanning(part.size))) ** 2
        return float((power * np.arange(power.size)).sum() / power.sum() / part.size)

    assert brightness(sound[-RATE // 2 :]) < 0.8 * brightness(sound[: RATE // 2])


def test_shares_stay_under_nyquist_and_add_up() -> None:
    shares = dict(timbre_named("strings").shares(1000.0, 3500.0, np.zeros(3)))
    assert list(shares) == [1, 2, 3]
    assert sum(share**2 for share in shares.values()) == pytest.approx(np.ones(3))


def test_ages_count_from_each_beginning() -> None:
    loudness = np.array([[0, 1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0, 1]], float)
    ages = ages_seconds(loudness, 0.5)
    assert ages.tolist() == [[0, 0, 0.5, 0, 0, 0.5, 1], [0, 0.5, 0, 0, 0, 0, 0]]


def test_interpolation_meets_the_centres() -> None:
    values = np.array([[0.0, 2.0, 4.0]])
    assert interpolate(values, 4)[0].tolist() == [0, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4]


def pieces_of(signal: np.ndarray, *cuts: int) -> list[np.ndarray]:
    return np.split(signal, cuts, axis=1)


def joined(pieces: object) -> np.ndarray:
    return np.concatenate(list(pieces), axis=1)  # type: ignore[call-overload]


def test_the_limiter_holds_its_ceiling_and_leaves_the_rest() -> None:
    random = np.random.default_rng(1)
    signal = (0.2 * random.standard_normal((2, 5 * RATE))).astype(np.float32)
    signal[0, 20000:20050] += 3.0
    signal[1, 40000:48000] *= 8
    limited = joined(limit([signal], RATE, ceiling_db=-1.0))
    assert limited.shape == signal.shape
    assert np.abs(limited).max() <= 10 ** (-1 / 20)
    calm = np.abs(signal).max(axis=0)[:19000].max() < 0.89
    assert calm
    np.testing.assert_array_equal(limited[:, :19000], signal[:, :19000])
    assert np.abs(limited[1, 20000:20050]).max() < 0.5 * np.abs(signal[1, 20000:20050]).max()


@pytest.mark.parametrize("cuts", [(), (1,), (100, 20010, 20020), tuple(range(0, 60000, 77))])
def test_mastering_does_not_depend_on_the_pieces(cuts: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    signal = (0.5 * random.standard_normal((2, 5 * RATE))).astype(np.float32)
    whole = joined(master([signal], RATE, 3.0, 0.5, 1.0))
    np.testing.assert_allclose(joined(master(pieces_of(signal, *cuts), RATE, 3.0, 0.5, 1.0)), whole, atol=1e-6)
    assert np.abs(whole).max() <= 10 ** (-1 / 20)
    assert np.abs(whole[:, 0]).max() < 1e-4
    assert np.abs(whole[:, -1]).max() < 1e-4


def test_gain_is_in_decibels() -> None:
    signal = np.full((1, 1000), 0.1, np.float32)
    np.testing.assert_allclose(joined(master([signal], RATE, gain_db=6.0206)), 0.2, rtol=1e-4)


def test_fades_longer_than_the_signal() -> None:
    faded = joined(fade([np.ones((1, 100), np.float32)], RATE, 0.0, 5.0))[0]
    assert faded[0] > 0.99
    assert faded[-1] < 0.01
    assert (np.diff(faded) <= 0).all()


def test_crossfade_joins_at_equal_power() -> None:
    pieces = [np.full((2, size), value, np.float32) for size, value in [(1000, 1.0), (600, 2.0), (900, 3.0)]]
    joint = joined(crossfade(iter(pieces), 1000, 0.1))
    assert joint.shape == (2, 2300)
    assert (joint[:, :900] == 1).all()
    assert (joint[:, 1000:1400] == 2).all()
    assert (joint[:, 1500:] == 3).all()
    middle = joint[0, 950]
    assert middle == pytest.approx((1 + 2) / np.sqrt(2), rel=0.02)


def test_crossfade_of_nothing_and_of_pieces_too_short() -> None:
    assert list(crossfade([], RATE, 0.5)) == []
    short = [np.ones((1, 10), np.float32)] * 4
    assert joined(crossfade(short, 1000, 0.5)).shape[1] <= 40
    assert joined(crossfade(short, 1000, 0.0)).tolist() == np.ones((1, 40)).tolist()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_lengths_of_time_are_checked(seconds: float) -> None:
    with pytest.raises(SettingsError, match="--fade"):
        list(fade([np.ones((1, 5), np.float32)], RATE, 0.0, seconds))

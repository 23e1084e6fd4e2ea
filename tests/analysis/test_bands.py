"""The roll of a sound: right keys, right loudness, right frames, and nothing else."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan.analysis.bands import BLOCK_FRAMES, analyse, analysed_bands, band_loudness, cleaned, low_spectrum
from musigan.analysis.cleaning import SILENCE, Cleaner, fold, mean_within
from musigan.errors import AudioError, SettingsError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.runs import Runs, remove_fragments

RATE = 12000
FRAME = 240  # samples


def hz(key: int) -> float:
    return 440.0 * 2 ** ((key - 49) / 12)


def tone(key: float, seconds: float, rms: float = 0.1, start: float = 0.0, total: float | None = None) -> np.ndarray:
    """A sine of one key, (S,), silent before `start` and after its end."""
    count = int((total or seconds) * RATE)
    clock = np.arange(count) / RATE
    sounding = (clock >= start) & (clock < start + seconds)
    return (rms * np.sqrt(2) * np.sin(2 * np.pi * hz(key) * clock + 0.7) * sounding).astype(np.float32)


def literal(signal: np.ndarray, wanted: KeySettings) -> np.ndarray:
    """The definition: full-length FFT, Gaussian mask, full-length inverse FFT, RMS of every frame."""
    spectrum, bins = np.fft.rfft(signal), np.fft.rfftfreq(signal.shape[1], 1 / RATE)
    rolls = []
    for center, deviation in zip(wanted.keys.frequencies_hz(), wanted.deviations_hz(), strict=True):
        band = np.fft.irfft(spectrum * np.exp(-0.5 * ((bins - center) / deviation) ** 2), signal.shape[1])
        rolls.append(np.sqrt((band.reshape(len(signal), -1, FRAME) ** 2).mean(axis=2)))
    return np.stack(rolls, axis=1)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Ten seconds of notes with overtones over noise, lopsided in time and between the channels."""
    random = np.random.default_rng(5)
    sound = 1e-3 * random.standard_normal((2, 10 * RATE))
    for key, start, length in [
        (28, 0.3, 2.0),
        (35, 1.1, 0.8),
        (40, 2.5, 3.0),
        (44, 2.6, 2.5),
        (56, 6.0, 0.3),
        (47, 7, 2),
    ]:
        for partial in (1, 2, 3, 4):
            place = key + 12 * np.log2(partial)
            note = tone(place, length, 0.06 / partial**1.5, start, 10.0)
            sound += np.array([[0.9], [0.3 if key % 2 else 1.0]]) * note
    return sound.astype(np.float32)


def test_a_frame_must_be_whole_samples() -> None:
    with pytest.raises(SettingsError, match=r"220.5 samples at 11025 Hz.*220/11025"):
        analyse(np.zeros((1, 11025), np.float32), 11025)
    assert analyse(np.zeros((1, 22050), np.float32), 22050)[0].shape == (1, 88, 50)


def test_fixed_bands_are_their_definition(music: np.ndarray) -> None:
    wanted = KeySettings("fixed")
    ours, level = analyse(music, RATE, wanted)
    reference = literal(music, wanted)
    reference[reference < 0.025 * reference.max()] = 0
    assert ours.shape == (2, 33, 500)
    inner = np.s_[:, :, 25:-25]
    assert cosine(ours[inner], reference[inner]) > 0.999
    assert ours.max() * level == pytest.approx(reference.max(), rel=0.02)
    assert ((ours == 0) == (reference == 0)).mean() > 0.97


def test_variable_bands_are_their_definition(music: np.ndarray) -> None:
    wanted = KeySettings(keys=KeyRange(30, 60))
    inner = np.s_[:, :, 25:-25]
    assert cosine(band_loudness(music, RATE, wanted)[inner], literal(music, wanted)[inner]) > 0.999


@pytest.mark.parametrize("key", [4, 17, 33, 49, 70, 88])
def test_a_tone_is_one_key_at_its_loudness(key: int) -> None:
    sound = np.stack([tone(key, 2.0, 0.2), tone(key, 2.0, 0.05)])
    roll, level = analyse(sound, RATE)
    assert set(np.unique(np.nonzero(roll)[1])) == {key - 1}
    assert roll[0, key - 1] * level == pytest.approx(np.full(100, 0.2), rel=0.05)
    assert roll[1, key - 1] * level == pytest.approx(np.full(100, 0.05), rel=0.05)


@pytest.mark.parametrize("key", [30, 45, 60, 75])
def test_onset_and_end_are_found_within_a_frame(key: int) -> None:
    roll, _ = analyse(tone(key, 0.5, 0.1, 0.7, 2.0)[None], RATE)
    sounding = np.flatnonzero(roll[0, key - 1])
    assert abs(sounding[0] - 35) <= 1
    assert abs(sounding[-1] - 59) <= 1
    assert len(sounding) == sounding[-1] - sounding[0] + 1


def test_overtones_belong_to_their_note() -> None:
    partials = [tone(40 + 12 * np.log2(n), 1.5, 0.1 / n) for n in range(1, 7)]
    roll, level = analyse(np.sum(partials, axis=0)[None], RATE)
    assert set(np.nonzero(roll)[1]) == {39}
    whole = 0.1 * np.sqrt(sum(1 / n**2 for n in range(1, 7)))
    assert np.median(roll[0, 39]) * level == pytest.approx(whole, rel=0.03)


def test_an_octave_of_pure_tones_is_two_notes() -> None:
    roll, _ = analyse((tone(40, 1.5, 0.1) + tone(52, 1.5, 0.05))[None], RATE)
    assert set(np.nonzero(roll)[1]) == {39, 51}


def test_a_note_under_the_key_range_keeps_its_overtones() -> None:
    partials = np.sum([tone(25 + 12 * np.log2(n), 1.5, 0.1 / n) for n in range(1, 7)], axis=0)
    upper = tone(51, 1.5, 0.1)
    roll, _ = analyse((partials + upper)[None], RATE, KeySettings(keys=KeyRange(30, 60)))
    assert set(np.nonzero(roll)[1] + 30) == {51}


def test_a_held_note_is_one_run_under_drums() -> None:
    random = np.random.default_rng(2)
    sound = tone(44, 3.0, 0.1)
    for beat in np.arange(0.2, 3.0, 0.4):
        hit = slice(int(beat * RATE), int(beat * RATE) + 600)
        sound[hit] += 0.3 * random.standard_normal(600).astype(np.float32) * np.exp(-np.arange(600) / 120)
    roll, _ = analyse(sound[None], RATE)
    lengths = Runs.of(roll[0] > 0).lengths
    assert lengths.max() >= 145
    assert roll[0, 43].astype(bool).mean() > 0.97
    assert len(lengths) <= 8
    raw, _ = analyse(sound[None], RATE, KeySettings(cleaned=False))
    assert len(Runs.of(raw[0] > 0).lengths) > 100


def test_a_note_far_to_one_side_is_silent_on_the_other() -> None:
    sound = np.stack([tone(44, 1.0, 0.2) + tone(50, 1.0, 0.01), tone(50, 1.0, 0.15) + tone(44, 1.0, 0.05)])
    roll, _ = analyse(sound, RATE)
    assert roll[:, 43].any(axis=1).tolist() == [True, True]
    assert roll[:, 49].any(axis=1).tolist() == [False, True]


def test_quiet_songs_have_the_same_roll(music: np.ndarray) -> None:
    loud, level = analyse(music, RATE)
    quiet, quiet_level = analyse(music * np.float32(1 / 64), RATE)
    np.testing.assert_allclose(quiet, loud, rtol=1e-4)
    assert level / quiet_level == pytest.approx(64, rel=1e-4)
    assert np.percentile(loud[loud > 0], 99.5) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("band", ["variable", "fixed"])
@pytest.mark.parametrize("samples", [0, 1, 239, 240, 1000, 24000])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_silence_and_offset_are_silent(band: str, samples: int, value: float) -> None:
    roll, level = analyse(np.full((2, samples), value, np.float32), RATE, KeySettings(band))
    assert roll.shape == (2, KeySettings(band).keys.count, samples // FRAME)
    assert not roll.any()
    assert level == 1.0


def test_an_offset_changes_nothing(music: np.ndarray) -> None:
    plain, level = analyse(music, RATE)
    moved, moved_level = analyse(music + np.array([[0.3], [-0.1]], np.float32), RATE)
    assert moved_level == pytest.approx(level, rel=1e-3)
    assert cosine(plain, moved) > 0.9999


def test_no_numbers_are_refused() -> None:
    sound = np.zeros((1, 2400), np.float32)
    sound[0, 77] = np.nan
    with pytest.raises(AudioError, match="NaN"):
        analyse(sound, RATE)
    with pytest.raises(AudioError, match="channels, samples"):
        analyse(np.zeros(2400, np.float32), RATE)


def test_nothing_wraps_around_the_ends() -> None:
    roll = band_loudness(tone(20, 0.4, 0.3, 0.0, 4.0)[None], RATE, KeySettings())[0]
    assert roll[:, 150:].max() < SILENCE
    assert roll[19, 0] == pytest.approx(0.3, rel=0.1)


def test_keys_over_nyquist_are_zero() -> None:
    low_rate = 4000  # keys from 76 on are out of reach
    clock = np.arange(2 * low_rate) / low_rate
    sound = 0.1 * np.sin(2 * np.pi * hz(70) * clock).astype(np.float32)
    roll, _ = analyse(sound[None], low_rate)
    assert roll.shape == (1, 88, 100)
    assert set(np.nonzero(roll)[1]) == {69}


def test_long_stretches_are_made_in_blocks() -> None:
    count = BLOCK_FRAMES + 300
    seconds = count * 0.02
    clock = np.arange(count * FRAME) / RATE
    swell = 0.1 * (1 + 0.5 * np.sin(2 * np.pi * clock / 7))
    sound = (swell * np.sin(2 * np.pi * hz(52) * clock)).astype(np.float32)[None]
    roll, level = analyse(sound, RATE)
    expected = 0.1 * (1 + 0.5 * np.sin(2 * np.pi * (np.arange(count) + 0.5) * 0.02 / 7)) / np.sqrt(2)
    assert roll.shape[2] == round(seconds / 0.02)
    np.testing.assert_allclose(roll[0, 51] * level, expected, rtol=0.03)
    assert set(np.nonzero(roll)[1]) == {51}


@pytest.mark.parametrize(
    ("length", "stop"), [(4800, 100), (4800, 301), (4800, 602), (4800, 2401), (4801, 50), (1000, 63)]
)
def test_the_low_spectrum_is_the_whole_ones_beginning(length: int, stop: int) -> None:
    signal = np.random.default_rng(8).standard_normal((2, length)).astype(np.float32)
    low = low_spectrum(signal, stop)
    assert low.shape[1] >= stop
    np.testing.assert_allclose(low, np.fft.rfft(signal)[:, : low.shape[1]], atol=2e-4)


def test_torch_gives_the_same_bands(music: np.ndarray) -> None:
    pytest.importorskip("torch")
    ours = band_loudness(music, RATE, KeySettings())
    theirs = band_loudness(music, RATE, KeySettings(), device="cpu:0")  # torch's own CPU
    np.testing.assert_allclose(theirs, ours, atol=2e-6)
    fixed = KeySettings("fixed")
    np.testing.assert_allclose(
        band_loudness(music, RATE, fixed, device="cpu:0"), band_loudness(music, RATE, fixed), atol=2e-6
    )


def test_other_frames_and_rates() -> None:
    wanted = dataclasses.replace(KeySettings(), frame_seconds=0.05)
    clock = np.arange(32000) / 16000
    roll, level = analyse(0.2 * np.sin(2 * np.pi * hz(61) * clock).astype(np.float32)[None], 16000, wanted)
    assert roll.shape == (1, 88, 40)
    assert roll[0, 60] * level == pytest.approx(np.full(40, 0.2 / np.sqrt(2)), rel=0.02)


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_runs_are_the_mask(rows: list[list[bool]], gap: int) -> None:
    mask = np.array(rows)
    runs = Runs.of(mask)
    assert runs.lengths.sum() == mask.sum()
    np.testing.assert_array_equal(runs.mask(len(rows)), mask)
    values = np.arange(mask.size, dtype=float).reshape(mask.shape)
    for start, stop, total, count in zip(runs.starts, runs.stops, runs.sums(values), runs.counts(mask), strict=True):
        assert total == values.ravel()[start:stop].sum()
        assert count == stop - start
    joined = runs.joined(gap).mask(len(rows))
    assert (joined >= mask).all()
    for row, filled in zip(rows, joined, strict=True):
        text = "".join(map(str, map(int, row)))
        for start in range(7):
            for stop in range(start + 1, 7):
                inside = text[start + 1 : stop]
                if row[start] and row[stop] and not any(map(int, inside)):
                    assert filled[start + 1 : stop].all() == (len(inside) <= gap)


@given(st.integers(0, 9), st.sampled_from([0, 1]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_mean_within_is_a_moving_average_with_zeros_beyond_the_ends(reach: int, axis: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((5, 8), np.float32)
    window = np.ones(2 * reach + 1) / (2 * reach + 1)
    expected = np.apply_along_axis(lambda line: np.convolve(line, window)[reach : reach + line.size], axis, values)
    np.testing.assert_allclose(mean_within(values, reach, axis), expected, atol=1e-6)


def test_the_power_of_an_overtone_of_an_overtone_ends_in_the_note() -> None:
    power = np.arange(1, 25, dtype=np.float32).reshape(2, 4, 3)
    # Frame 1 (cells 1, 4, 7, 10): key 3 belongs to key 2, that to key 0; key 1 is a ghost without a note.
    folded = fold(power, ghosts=np.array([4, 7, 10]), notes=np.array([4, 1, 7]))
    np.testing.assert_array_equal(folded[:, :, 1], [[2 + 8 + 11, 5, 0, 0], [14 + 20 + 23, 17, 0, 0]])
    np.testing.assert_array_equal(folded[:, :, ::2], power[:, :, ::2])


def test_fragments_go_and_notes_stay() -> None:
    roll = np.zeros((2, 5, 20), np.float32)
    roll[0, 1, 3:5] = 0.5  # 40 ms
    roll[:, 2, 3:6] = 0.5
    roll[0, 3, 3:5] = roll[1, 3, 5:6] = 0.5  # one note that goes from left to right
    kept = remove_fragments(roll, 0.02)
    assert not kept[:, 1].any()
    np.testing.assert_array_equal(kept[:, 2:], roll[:, 2:])


def test_cleaning_a_clean_roll_changes_nothing() -> None:
    roll = np.zeros((2, 88, 60), np.float32)
    roll[0, 30, 5:30], roll[1, 30, 5:30] = 0.3, 0.2
    roll[:, 42, 10:40] = 0.2
    roll[1, 61, 30:34] = 0.1
    cleaned = Cleaner(KeyRange().frequencies_hz(), KeySettings().deviations_hz(), 0.02, 0.02).clean(roll)
    np.testing.assert_allclose(cleaned, roll, rtol=1e-6)


def test_a_higher_threshold_only_takes_away() -> None:
    """Noise and overtones make notes that speak against each other: cleaned once at each, some appear."""
    generator = np.random.default_rng(3)
    times = np.arange(4 * 12000) / 12000
    signal = generator.normal(0, 0.02, (2, times.size))
    for number in range(40):
        begin, key, loudness = (
            generator.uniform(0, 3.5),
            generator.integers(20, 60),
            10 ** generator.uniform(-2.5, -0.5),
        )
        sounds = (times >= begin) & (times < begin + 0.4)
        for partial in range(1, 5):
            frequency = partial * 440 * 2 ** ((key - 49) / 12)
            signal[number % 2, sounds] += loudness / partial * np.sin(2 * np.pi * frequency * times[sounds])
    bands = analysed_bands(signal.astype(np.float32), 12000, KeySettings())
    thresholds = (0.0, 0.01, 0.02, 0.04, 0.1, 0.2, 0.4)
    rolls = [cleaned(bands, 12000, KeySettings(threshold=threshold)) for threshold in thresholds]
    once = [cleaned(bands, 12000, KeySettings(threshold=threshold), once=True) for threshold in thresholds]
    for lower, higher in pairwise(rolls):
        assert not ((higher > 0) & ~(lower > 0)).any()
        assert (higher > 0).sum() < (lower > 0).sum()
    np.testing.assert_array_equal(rolls[2], once[2])  # the usual threshold's notes are what they were
    assert any(((higher > 0) & ~(lower > 0)).any() for lower, higher in pairwise(once))

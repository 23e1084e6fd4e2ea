"""Beats of sound: found, given in a file, or left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from musigan import store, tunes
from musigan.analysis import convolving
from musigan.analysis.beats import network
from musigan.analysis.beats.annotations import read_beats
from musigan.analysis.beats.finding import can_use_bands, find_beats
from musigan.analysis.stores import AnalysisRequest
from musigan.errors import AudioError, FieldError, UsageError
from musigan.rolls.beats import Beats
from musigan.rolls.keysettings import KeySettings
from musigan.store import Song, StoreHeader
from musigan.synthesis import demo
from tests.sessions import Session
from tests.stores import items

RATE = 12000
FIRST = 0.63  # second of the first downbeat


def band(tempo: float, beats_a_bar: int, seconds: float = 30.0, rate: int = RATE) -> np.ndarray:
    """A bass on downbeats, chords that change with the bar on beats, noise between: float32 (2, S)."""
    rng = np.random.default_rng(3)
    signal = np.zeros(round(seconds * rate), np.float32)
    step = 60 / tempo
    for half in range(int((seconds - FIRST - 1) / step * 2)):
        beat, bar = half // 2, half // 2 // beats_a_bar
        clock = np.arange(round(0.9 * step * rate)) / rate
        if half % 2:
            sound = 0.03 * rng.normal(size=clock.size) * np.exp(-60 * clock)
        else:
            root = 220 * 2 ** ((0, 5, 7, 9)[bar % 4] / 12)
            sound = sum(0.05 * np.sin(2 * np.pi * root * r * clock) for r in (1, 1.26, 1.5)) * np.exp(-6 * clock)
            if beat % beats_a_bar == 0:
                sound += 0.3 * np.sin(np.pi * root / 2 * clock) * np.exp(-4 * clock)
                sound += 0.3 * np.sin(2 * np.pi * 55 * clock) * np.exp(-30 * clock)
            else:
                sound += 0.12 * rng.normal(size=clock.size) * np.exp(-40 * clock)
        start = round((FIRST + half * step / 2) * rate)
        signal[start : start + clock.size] += sound[: signal.size - start].astype(np.float32)
    return np.stack((signal, 0.7 * signal))


def assert_found(found: Beats, tempo: float, beats_a_bar: int) -> None:
    step = 60 / tempo
    inside = (found.seconds > FIRST + 4 * step) & (found.seconds < 26)
    places = (found.seconds[inside] - FIRST) / step
    assert len(places) == pytest.approx((26 - FIRST - 4 * step) / step, abs=2)
    assert np.abs(places - np.rint(places)).max() * step < 0.07
    assert (found.numbers[inside] == np.rint(places) % beats_a_bar + 1).mean() > 0.9
    assert found.confidence > 0.8


@pytest.mark.parametrize(("tempo", "beats_a_bar"), [(104.0, 4), (126.0, 3)])
def test_beats_and_bars_of_a_steady_band(tempo: float, beats_a_bar: int) -> None:
    found = find_beats(band(tempo, beats_a_bar), RATE)
    assert_found(found, tempo, beats_a_bar)
    steady = found.steady()
    assert steady is not None
    assert (steady.tempo, steady.beats) == (pytest.approx(tempo, rel=0.02), beats_a_bar)


def test_another_sample_rate_changes_nothing() -> None:
    assert_found(find_beats(band(104.0, 4, rate=16000), 16000), 104.0, 4)


@pytest.mark.parametrize("name", ["frere-jacques", "ode-to-joy", "scarborough-fair"])
def test_the_project_hears_the_beat_of_its_own_sound(name: str) -> None:
    """Half and twice the tempo count as right: which one is meant is a matter of notation."""
    tune = tunes.load(name)
    found = find_beats(demo.render(tune), demo.SAMPLE_RATE)
    steady = found.steady()
    assert not found.is_free
    assert steady is not None
    assert min(abs(steady.tempo / tune.beats_per_minute / factor - 1) for factor in (0.5, 1, 2)) < 0.04


def test_no_beat_in_silence_in_noise_and_in_a_moment() -> None:
    silence = find_beats(np.zeros((2, 10 * RATE), np.float32), RATE)
    assert (len(silence), silence.confidence, silence.steady()) == (0, 0.0, None)
    assert len(find_beats(band(104.0, 4, 1.9), RATE)) == 0
    assert len(find_beats(np.zeros((1, 0), np.float32), RATE)) == 0
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 20 * RATE)).astype(np.float32)
    assert find_beats(noise, RATE).is_free
    with pytest.raises(AudioError, match="NaN"):
        find_beats(np.full((1, 4 * RATE), np.nan, np.float32), RATE)


def test_weights_are_plain_arrays() -> None:
    weights = network.shipped_weights()
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    logits, tempo = network.activations(np.zeros((90, len(weights["mean"])), np.float32), weights)
    assert (logits.shape, tempo.shape) == ((90, 2), (40,))


def test_weights_with_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", mean=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        convolving.load_weights(tmp_path / "w.npz")


def test_convolution_by_hand() -> None:
    """Taps -1, 0 and 1 at a dilation of two: zeros stand behind both ends."""
    weight = np.array([[[10.0]], [[1.0]], [[100.0]]])
    found = convolving.convolve(np.array([[1.0], [2], [3], [4], [5]]), weight, 2)
    assert found[:, 0].tolist() == [301, 402, 513, 24, 35]


def test_bands_of_other_settings_are_of_no_use() -> None:
    assert can_use_bands(KeySettings(threshold=0.1))
    assert not can_use_bands(KeySettings("fixed"))
    assert not can_use_bands(KeySettings(frame_seconds=0.01))


@pytest.mark.parametrize(
    ("text", "seconds", "numbers"),
    [
        ("0.5\n1.25\n2\n2.5\n3\n", [0.5, 1.25, 2, 2.5, 3], [1, 2, 3, 4, 1]),
        ("# beats\n0.5\t3\n1.0\t1\n\n1.5\t2\n", [0.5, 1, 1.5], [3, 1, 2]),
        ("0.500000000,4.3\r\n1.000000000,5.1\r\n", [0.5, 1.0], [3, 1]),
        ('0.5,"1:2"\n1.5,"1:3"\n', [0.5, 1.5], [2, 3]),
        ("\ufeff5e-1 1.000\n7e-1 2.000\n", [0.5, 0.7], [1, 2]),
    ],
)
def test_files_of_beats(tmp_path: Path, text: str, seconds: list[float], numbers: list[int]) -> None:
    (tmp_path / "b.txt").write_text(text, encoding="utf-8")
    found = read_beats(tmp_path / "b.txt")
    assert (found.seconds.tolist(), found.numbers.tolist(), found.confidence) == (seconds, numbers, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n0.5\n", "line 2: expected a time in seconds, later than the last: '0.5'"),
        ("1\nnan\n", "line 2"),
        ("time,label\n", "line 1"),
        ("1 1\n2 x\n", "beat 2: expected a number in the bar, such as 1 or 5.1: 'x'"),
        ("1 1\n2\n", "beat 2"),
        ("1 0\n", "beat 1"),
        ("# nothing\n", "no beats in it"),
        ("\x80", "not a text file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.txt").write_text(text, encoding="latin1")
    with pytest.raises(UsageError, match=message):
        read_beats(tmp_path / "b.txt")


def analysed(path: Path, request: AnalysisRequest, kind: str, *songs: tuple[np.ndarray, Song]) -> list[Song]:
    source = path / "source"
    header = StoreHeader(kind, RATE, chunk_seconds=4.0)
    with store.write(str(source), header) as writer:
        for array, song in songs:
            names = ("pairs", "part", "channels", "samples") if kind == "pairs" else ("channels", "samples")
            writer.add(array.astype(np.float16), names, song)
    reader = store.open_reader(str(source), (kind,))
    analysis = request.begin(reader)
    with store.write(str(path / "keys"), analysis.header) as writer:
        analysis.write("cpu", 2, writer, Session())
    return [item.song for item in items(path / "keys")]


@pytest.mark.parametrize("name", ["variable", "fixed"])
def test_songs_get_their_beats(tmp_path: Path, name: str) -> None:
    (song,) = analysed(tmp_path, AnalysisRequest(name), "waveform", (band(104.0, 4), Song()))
    assert_found(song.every_beat, 104.0, 4)
    assert song.tempo == pytest.approx(104.0, rel=0.02)
    assert song.time_signature == (4, 4)


def test_beats_of_pairs_are_on_the_clock_of_their_starts(tmp_path: Path) -> None:
    """Pairs in any order, the song's first two left out."""
    signal = band(104.0, 4, 40.0)
    starts = (24.0, 8.0, 16.0)
    pairs = np.stack([signal[:, round(s * RATE) :][:, : 8 * RATE].reshape(2, 2, 4 * RATE) for s in starts])
    (song,) = analysed(tmp_path, AnalysisRequest(), "pairs", (pairs.swapaxes(1, 2), Song(starts=starts)))
    assert 8 <= min(song.beats) <= 9
    assert 31 <= max(song.beats) < 32
    places = (np.array(song.beats) - FIRST) * 104 / 60
    assert np.abs(places - np.rint(places)).max() * 60 / 104 < 0.07


def test_none_and_a_file(tmp_path: Path) -> None:
    sound = band(104.0, 4, 12.0)
    (tmp_path / "b.txt").write_text("0.25 2\n0.75 1\n1.25 2\n14 1\n")
    for folder in ("none", "file"):
        (tmp_path / folder).mkdir()
    (song,) = analysed(tmp_path / "none", AnalysisRequest(beats="none"), "waveform", (sound, Song()))
    assert (song.beats, song.beat_confidence, song.tempo) == ((), None, None)
    request = AnalysisRequest(beats=str(tmp_path / "b.txt"))
    (song,) = analysed(tmp_path / "file", request, "waveform", (sound, Song()))
    assert (song.beats, song.beat_numbers, song.beat_confidence) == ((0.25, 0.75, 1.25), (2, 1, 2), 1)
    assert (song.tempo, song.first_beat) == (120.0, 0.75)


def test_a_file_of_beats_is_of_one_song(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("0.25 2\n")
    two = [(band(104.0, 4, 11.0), Song())] * 2
    with pytest.raises(FieldError, match=r"has the beats of one song, and .* holds several"):
        analysed(tmp_path, AnalysisRequest(beats=str(tmp_path / "b.txt")), "waveform", *two)
    assert not (tmp_path / "keys").exists()


def test_a_silent_song_has_no_beats_and_no_error(tmp_path: Path) -> None:
    (song,) = analysed(tmp_path, AnalysisRequest(), "waveform", (np.zeros((2, 12 * RATE)), Song()))
    assert (song.beats, song.beat_confidence, song.tempo) == ((), 0.0, None)

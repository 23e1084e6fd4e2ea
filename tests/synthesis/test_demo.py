"""The tunes as sound: in tune, in stereo, with clear attacks, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from musigan import tunes
from musigan.analysis.bands import analyse
from musigan.rolls.beats import onset_strength
from musigan.rolls.notes import find_notes
from musigan.synthesis import demo
from musigan.synthesis.ensemble import PLAYERS


def fundamental_hz(signal: np.ndarray, sample_rate: int, near_hz: float) -> float:
    """The spectral peak within a semitone of `near_hz`, between bins by a parabola through the log spectrum."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 8 * len(signal)))
    bins = np.fft.rfftfreq(8 * len(signal), 1 / sample_rate)
    inside = np.flatnonzero(np.abs(np.log2(bins[1:] / near_hz)) < 1 / 12) + 1
    peak = inside[np.argmax(spectrum[inside])]
    below, here, above = np.log(spectrum[peak - 1 : peak + 2])
    return float(bins[1] * (peak + 0.5 * (below - above) / (below - 2 * here + above)))


@pytest.mark.parametrize("name", ["amazing-grace", "silent-night", "jesu-joy"])
def test_first_note_sounds_at_its_pitch(name: str) -> None:
    tune = tunes.load(name)
    sample_rate = 16_000
    first = next(note for note in tunes.arrange(tune) if note.part == "melody")
    start = round((first.onset_seconds + 0.05) * sample_rate)
    stop = round((first.onset_seconds + min(first.duration_seconds, 0.6)) * sample_rate)
    signal = demo.render(tune, sample_rate)[:, start:stop].sum(axis=0)
    wanted = 440 * 2 ** ((tune.melody[0].pitch - 69) / 12)
    assert abs(1200 * np.log2(fundamental_hz(signal, sample_rate, wanted) / wanted)) < 5


@pytest.mark.parametrize("name", tunes.names())
def test_every_instrument_has_a_player(name: str) -> None:
    assert {note.instrument for note in tunes.arrange(tunes.load(name))} <= set(PLAYERS)


@pytest.mark.parametrize(("name", "sharpness", "notes_a_second"), [("fur-elise", 0.55, 3.5), ("oh-susanna", 0.45, 4.5)])
def test_the_notes_come_back(name: str, sharpness: float, notes_a_second: float) -> None:
    """What the analysis hears begins clearly and is the tune: sharpness is the onset strength in the top 5 %."""
    tune, sample_rate = tunes.load(name), 12_000
    signal = demo.render(tune, sample_rate)
    roll, _ = analyse(signal, sample_rate)
    strength = np.sort(onset_strength(roll))
    assert strength[-len(strength) // 20 :].sum() / strength.sum() > sharpness
    notes = find_notes(roll.mean(axis=0))
    assert len(notes) * sample_rate / signal.shape[1] > notes_a_second
    keys_of_tune = {note.key for note in tunes.arrange(tune)}
    assert np.isin(notes.keys + 1, list(keys_of_tune)).mean() > 0.9
    assert min(keys_of_tune) <= 23
    assert max(keys_of_tune) >= 56


def test_rendering() -> None:
    tune = tunes.load("ode-to-joy")
    signal = demo.render(tune, 12_000)
    assert signal.dtype == np.float32
    assert signal.shape[0] == 2
    assert 60 <= signal.shape[1] / 12_000 <= 95
    assert 0.1 < np.abs(signal).max() <= 10 ** (-1 / 20)
    assert not np.allclose(signal[0], signal[1], atol=0.01), "stereo"
    assert np.array_equal(signal, demo.render(tune, 12_000))


def test_write_tune(tmp_path: Path) -> None:
    import mutagen
    import soundfile

    path = demo.write_tune("fur-elise", tmp_path)
    assert path == tmp_path / "fur-elise.mp3"
    info = soundfile.info(path)
    assert (info.channels, info.samplerate) == (2, 44_100)
    assert 60 < info.duration < 95
    tags = mutagen.File(path)
    assert tags["TIT2"].text == ["Für Elise"]
    assert tags["TPE1"].text == ["Ludwig van Beethoven"]
    assert tags["TCON"].text == ["Bagatelle"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["fur-elise.mp3"]

    assert path is not None
    before = path.read_bytes()
    assert demo.write_tune("fur-elise", tmp_path) is None
    assert path.read_bytes() == before

"""FluidSynth's library: found or not, and what it makes of a tiny font."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from musigan.errors import AudioError, MusiganError, SettingsError
from musigan.sound import fluidsynth
from musigan.sound.fluidsynth import BLOCK_SAMPLES, Events, Font, Strip
from tests import soundfonts

RATE = 44100
needs_library = pytest.mark.skipif(fluidsynth.find_fluidsynth() is None, reason="FluidSynth is not there")
STRIPS = (Strip(0, 0, 0), Strip(3, 0, 40, pan=1.0), Strip(9, 128, 0, pan=-1.0))


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Font:
    return Font(str(soundfonts.write_font(tmp_path_factory.mktemp("font") / "tiny.sf2")), RATE)


def events(*rows: tuple[int, int, int, int]) -> Events:
    """Of rows of (block, channel, pitch, velocity)."""
    return Events(*np.array(rows, int).reshape(-1, 4).T)


def hz(signal: np.ndarray) -> float:
    """Strongest frequency of (S,), to about half a hertz for a second."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(signal.size), 4 * signal.size))
    return float(spectrum.argmax() * RATE / (4 * signal.size))


def test_without_the_library_a_line_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluidsynth, "find_fluidsynth", lambda: None)
    with pytest.raises(
        MusiganError, match=r"needs FluidSynth, which is not there: pip install \"musigan\[soundfont\]\""
    ):
        Font(str(soundfonts.write_font(tmp_path / "tiny.sf2")), RATE)


def test_what_is_no_library_or_another_one_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libfluidsynth.so").write_text("no library")
    others = [
        (str(tmp_path / "libfluidsynth.so"), "a folder"),
        ("libm.so.6", "the system"),
        ("libc.so.6", "the system"),
    ]
    monkeypatch.setattr(fluidsynth, "_candidates", lambda: others)
    assert fluidsynth.find_fluidsynth.__wrapped__() is None


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty"), (b"ID3\x04 music that is none", "not a sound font"), (b"RIFF1234WAVEfmt ", "not a sound font")],
)
def test_a_file_that_is_no_font_is_told_so(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=rf"a\.sf2: {message}; expected an \.sf2 or \.sf3 file"):
        Font(str(path), RATE)


def test_a_font_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.sf2"):
        Font(str(tmp_path / "none.sf2"), RATE)


@needs_library
@pytest.mark.parametrize("kept_bytes", [60, 1000, -20])
def test_a_font_cut_short_is_damaged(kept_bytes: int, tmp_path: Path) -> None:
    path = soundfonts.write_font(tmp_path / "tiny.sf2")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(AudioError, match=r"tiny\.sf2: a damaged sound font"):
        Font(str(path), RATE)


@needs_library
def test_a_rate_that_it_cannot_render_at_is_refused(font: Font) -> None:
    with pytest.raises(SettingsError, match="--sample-rate is 4000: sound fonts are played at 8000 to 96000 Hz"):
        Font(font.path, 4000)


@needs_library
def test_presets_are_known(font: Font) -> None:
    assert font.presets == ((0, 0), (0, 40), (128, 0))


@needs_library
def test_notes_sound_when_and_where_they_are_played(font: Font, capfd: pytest.CaptureFixture[str]) -> None:
    """A piano's octave above the A in the middle from 0.29 s, then a violin at the right, then a drum at the left."""
    rows = [(200, 0, 81, 90), (400, 0, 81, 0), (700, 3, 57, 90), (900, 3, 57, 0), (1200, 9, 36, 100), (1210, 9, 36, 0)]
    sound = font.play(STRIPS, events(*rows), 80001)
    assert sound.shape == (2, 80001)
    assert sound.dtype == np.float32
    assert not sound[:, : 200 * BLOCK_SAMPLES].any()
    piano, violin, drum = (sound[:, n * BLOCK_SAMPLES : (n + 200) * BLOCK_SAMPLES] for n in (200, 700, 1200))
    assert np.flatnonzero(np.abs(piano).max(axis=0) > 0.01)[0] < 2 * BLOCK_SAMPLES
    assert hz(piano[0]) == pytest.approx(882, rel=0.003)
    np.testing.assert_allclose(piano[0], piano[1], atol=1e-3)
    assert hz(violin[1]) == pytest.approx(3 * 220.5, rel=0.003)  # its loudest partial
    # Within its first block a note moves from where the last one was to its own place.
    assert violin[0, 200:].std() < 0.02 * violin[1].std()
    assert drum[1, 200:].std() < 0.02 * drum[0].std()
    assert np.abs(sound[:, 650 * BLOCK_SAMPLES : 700 * BLOCK_SAMPLES]).max() < 1e-3  # the release is over
    assert capfd.readouterr() == ("", "")


@needs_library
def test_louder_notes_are_louder_by_the_square_of_velocity(font: Font) -> None:
    soft, loud = (font.play(STRIPS, events((0, 0, 69, v)), 20000)[0, 5000:] for v in (60, 120))
    assert np.std(loud) / np.std(soft) == pytest.approx(4, rel=0.1)


@needs_library
def test_the_same_notes_are_the_same_samples_whatever_was_played_before(font: Font) -> None:
    chord = events((3, 0, 60, 80), (3, 3, 64, 90), (5, 9, 38, 100), (300, 0, 60, 0))
    first = font.play(STRIPS, chord, 30000)
    font.play(STRIPS, events((1, 0, 45, 100), (7, 3, 50, 30)), 12345)
    np.testing.assert_array_equal(font.play(STRIPS, chord, 30000), first)
    np.testing.assert_array_equal(Font(font.path, RATE).play(STRIPS, chord, 30000), first)
    np.testing.assert_array_equal(font.play(STRIPS, chord, 20011), first[:, :20011])


@needs_library
def test_nothing_to_play_is_silence(font: Font) -> None:
    assert not font.play(STRIPS, events(), 1000).any()
    assert font.play(STRIPS, events((0, 0, 69, 90)), 0).shape == (2, 0)

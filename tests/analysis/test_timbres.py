"""The tone of sounds whose partials and noise are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from musigan.analysis import preparing
from musigan.analysis.bands import analysed_bands, roll_of
from musigan.analysis.timbres import find_tone, thinned, tone_of_file
from musigan.errors import AudioError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import Tone, band_centres_hz
from musigan.store import Item, ItemInfo, Song, StoreHeader
from musigan.synthesis.oscillators import synthesise

RATE, KEYS = 12000, KeySettings()


def melody(keys: tuple[int, ...] = (40, 44, 47, 52, 45, 49), frames: int = 40) -> np.ndarray:
    roll = np.zeros((2, 88, frames * len(keys)), np.float32)
    for number, key in enumerate(keys):
        loudness = 0.5 if number % 2 else 1.0
        roll[:, key - 1, number * frames + 5 : (number + 1) * frames] = loudness
    roll[1] *= 0.7
    return roll


def found(signal: np.ndarray, settings: KeySettings = KEYS, rate: int = RATE) -> Tone | None:
    bands = analysed_bands(signal, rate, settings)
    roll, level = roll_of(bands, rate, settings)
    return find_tone(signal, rate, thinned(bands), roll, level, settings)


def test_partials_of_known_timbres_are_told_apart() -> None:
    reed, flute = (found(synthesise(melody(), KEYS, RATE, timbre)) for timbre in ("reed", "flute"))
    assert reed is not None
    assert flute is not None
    register = 40 // 11
    assert reed.partials[register, 2] == pytest.approx(0.7 / 1.35, abs=0.1)  # of 1, .1, .7, .12, .45, .1, ...
    assert reed.partials[register, 2] > 3 * reed.partials[register, 1]
    assert flute.partials[register, 1] > 1.5 * flute.partials[register, 2]
    assert Tone.parse(reed.to_values()) is not None


def test_noise_is_breath_at_its_own_level_and_sides_are_unlike() -> None:
    random = np.random.default_rng(3)
    clean = synthesise(melody(), KEYS, RATE, "flute", level=0.2)
    noise = (0.02 * random.standard_normal(clean.shape)).astype(np.float32)
    dry, wet = found(clean), found(clean + noise)
    assert dry is not None
    assert wet is not None
    high = band_centres_hz() > 4000

    def level(tone: Tone) -> float:
        """Density against that of notes of loudness 1."""
        return float(np.exp(tone.breath[high, 0].mean()))

    assert level(wet) > 30 * level(dry)
    assert wet.likeness[high].max() < 0.3
    assert dry.likeness[5:15].min() > 0.9


def test_silence_and_other_bands_have_no_tone(tmp_path: Path) -> None:
    assert found(np.zeros((2, 5 * RATE), np.float32)) is None
    assert found(synthesise(melody(), KEYS, RATE), KeySettings("fixed")) is None
    soundfile.write(tmp_path / "silence.wav", np.zeros((5 * RATE, 2)), RATE)
    with pytest.raises(AudioError, match=r"silence\.wav has no notes"):
        tone_of_file(tmp_path / "silence.wav")


def test_some_keys_and_one_side_will_do(tmp_path: Path) -> None:
    signal = synthesise(melody(), KEYS, RATE, "reed")
    some = found(signal[:1], KeySettings(keys=KeyRange(30, 60)))
    assert some is not None
    assert (some.likeness == 1).all()
    soundfile.write(tmp_path / "song.wav", 0.1 * signal.T, RATE)
    assert tone_of_file(tmp_path / "song.wav").partials[3, 2] > 0.3


def test_keys_of_a_song_say_how_it_sounds() -> None:
    signal = (0.2 * synthesise(melody(), KEYS, RATE, "reed")).astype(np.float16)
    info = ItemInfo("000001", signal.shape, "float16", signal.shape, preparing.WAVEFORM, Song(title="x", level=1.0))
    song = preparing.to_keys(
        Item(info, signal), StoreHeader("waveform", RATE), KEYS, chunk_seconds=2.0, device="cpu", beats=False
    )[2]
    assert song.tone is not None
    assert song.tone.partials[3, 2] > 2 * song.tone.partials[3, 1]


def test_nothing_breathes_above_what_was_recorded() -> None:
    clean = synthesise(melody(), KEYS, 8000, "reed")[:1]
    noise = 0.05 * np.random.default_rng(5).standard_normal(clean.shape)
    tone = found((clean + noise).astype(np.float32), KEYS, 8000)
    assert tone is not None
    level, hz = tone.breath[:, 0], band_centres_hz()
    assert level[hz > 4600].max() < level[(hz > 2000) & (hz < 3500)].min() - 5

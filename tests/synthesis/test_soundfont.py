"""Rolls through a sound font: which instrument, where, drums on the kit; and files of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan.errors import FieldError, SettingsError
from musigan.files import targets
from musigan.rolls.keysettings import KeySettings
from musigan.sound import lufs
from musigan.sound.audio import decode
from musigan.sound.room import reverberation_seconds
from musigan.store import Item, ItemInfo, Song, StoreHeader
from musigan.synthesis import rendering
from musigan.synthesis.soundfont import SoundFont
from tests import soundfonts
from tests.sound.test_fluidsynth import hz, needs_library

RATE = 44100
SAMPLES = RATE // 50  # in a frame
HEARD, MIDI = KeySettings(), KeySettings("midi")
A4, KICK = 48, 36 - 21  # rows of a roll


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(soundfonts.write_font(tmp_path / "tiny.sf2"))


def roll(channels: int, *notes: tuple[int, int, int, int, float], frames: int = 200) -> np.ndarray:
    """A roll of (channel, row, first frame, stop, loudness)."""
    made = np.zeros((channels, 88, frames), np.float32)
    for channel, row, start, stop, loudness in notes:
        made[channel, row, start:stop] = loudness
    return made


def stretch(sound: np.ndarray, first: int, stop: int) -> np.ndarray:
    return sound[:, first * SAMPLES : stop * SAMPLES]


def item(array: np.ndarray, names: tuple[str, ...] = ("chunks", "tracks", "keys", "frames"), **about: Any) -> Item:
    chunk = array[None].astype(np.float16)
    return Item(ItemInfo("000001", chunk.shape, "float16", chunk.shape, names, Song(**about)), chunk)


@needs_library
def test_tracks_play_their_program_and_drums_the_kit(path: str) -> None:
    font = SoundFont.open(path, RATE, MIDI, ("drums", "piano"))
    sound = font.perform(roll(2, (0, KICK, 10, 15, 0.8), (1, A4, 60, 100, 0.7)))
    assert sound.shape == (2, 200 * SAMPLES)
    assert not stretch(sound, 0, 9).any()
    drum, piano = stretch(sound, 10, 15)[0], stretch(sound, 60, 100)[0]
    assert hz(piano) == pytest.approx(441, rel=0.003)
    spectrum = np.abs(np.fft.rfft(drum)) ** 2
    assert spectrum[spectrum.size // 10 :].sum() > 0.5 * spectrum.sum()  # noise: most of it lies above 2 kHz
    assert np.flatnonzero(np.abs(sound[0]) > 0.01)[0] == pytest.approx(10 * SAMPLES, abs=64)


@needs_library
def test_a_program_plays_all_but_the_drums(path: str) -> None:
    font = SoundFont.open(path, RATE, MIDI, ("drums", "piano"), program="violin")
    assert [(strip.bank, strip.program) for strip in font.strips] == [(128, 0), (0, 40)]
    assert hz(font.perform(roll(2, (1, A4, 0, 50, 0.7)))[0]) == pytest.approx(3 * 441, rel=0.003)


@needs_library
def test_a_program_that_the_font_lacks_is_refused_if_asked_for_and_else_replaced(path: str, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"tiny\.sf2 has no flute \(program 73\); it has 0 \(acoustic grand piano\), 40"
    ):
        SoundFont.open(path, RATE, MIDI, (), "flute")
    font = SoundFont.open(path, RATE, MIDI, ("bass", "strings", "drums"))
    assert [(strip.bank, strip.program) for strip in font.strips] == [(0, 0), (0, 0), (128, 0)]
    violin = str(soundfonts.write_font(tmp_path / "violin.sf2", soundfonts.VIOLIN))
    font = SoundFont.open(violin, RATE, MIDI, ("piano", "drums"))
    assert font.strips[0].program == 40
    sound = font.perform(roll(2, (1, KICK, 10, 15, 0.8), (0, A4, 100, 150, 0.8)))
    assert not stretch(sound, 0, 99).any()  # it has no kit
    assert hz(stretch(sound, 100, 150)[0]) == pytest.approx(3 * 441, rel=0.003)


@needs_library
@pytest.mark.parametrize("tracks", [(), ("left", "right", "drums")])
def test_a_recording_is_played_by_its_notes_from_where_they_are_louder(path: str, tracks: tuple[str, ...]) -> None:
    """A note at the left alone, then one in the middle, then one rather at the right; then a drum, if there is one."""
    notes = [(0, A4, 10, 40, 0.5), (0, A4, 60, 90, 0.3), (1, A4, 60, 90, 0.3), (0, A4, 110, 140, 0.2)]
    strokes = [(2, KICK, 160, 165, 0.5)] if tracks else []
    font = SoundFont.open(path, RATE, HEARD, tracks)
    sound = font.perform(roll(3 if tracks else 2, *notes, (1, A4, 110, 140, 0.5), *strokes))
    left, middle, right = (stretch(sound, first, first + 30).std(axis=1) for first in (10, 60, 110))
    assert left[1] < 0.02 * left[0]
    assert middle[0] == pytest.approx(middle[1], rel=0.02)
    assert right[0] < 0.7 * right[1]
    assert hz(stretch(sound, 60, 90)[0]) == pytest.approx(441, rel=0.003)
    assert bool(stretch(sound, 160, 170).any()) == bool(tracks)


@needs_library
def test_one_side_is_played_in_the_middle(path: str) -> None:
    sound = SoundFont.open(path, RATE, HEARD).perform(roll(1, (0, A4, 10, 40, 0.5)))
    np.testing.assert_allclose(sound[0], sound[1], atol=1e-4)
    assert sound.any()


@needs_library
def test_files_with_a_font_are_as_loud_as_any_and_the_same_each_time(path: str, tmp_path: Path) -> None:
    header = StoreHeader("keys", 12000, 4.0, tracks=("drums", "piano")).with_keys(MIDI)
    tune = [(1, A4 + n, 20 * n, 20 * n + 15, 0.3 + 0.05 * n) for n in range(9)]
    pieces = [item(roll(2, *tune)), item(roll(2, *tune[2:], (0, KICK, 50, 55, 1.0)))]
    files = [tmp_path / name for name in ("a.wav", "b.wav")]
    for file, jobs in zip(files, (1, 2), strict=True):
        made = rendering.SoundSettings.of_store(header, loudness="-16", soundfont=path, room=0.5, sample_rate=12000)
        sound = made.pieces(pieces, jobs, on_piece=lambda title: None)
        rendering.write(sound, made, targets.Target(str(file)), "", None)
    assert files[0].read_bytes() == files[1].read_bytes()
    signal = decode(files[0], sample_rate=12000, seconds=None, channels="keep").signal
    tail = reverberation_seconds(0.5)
    assert signal.shape[1] / 12000 == pytest.approx(2 * (4 + tail) - 0.5, abs=0.01)  # both ring out
    assert lufs.measure(signal[:, :48000], 12000) == pytest.approx(-16, abs=1.5)
    assert np.abs(signal[:, -200:]).max() < 1e-3


def test_no_room_leaves_a_piece_as_it_was() -> None:
    header = StoreHeader("keys", 12000, 4.0).with_keys(HEARD)
    held = [item(roll(2, (0, A4, 10, 40, 0.5)), ("chunks", "channels", "keys", "frames"))]
    dry, none = (
        next(rendering.SoundSettings.of_store(header, **given).pieces(held, 1, on_piece=lambda title: None)).signal
        for given in ({}, {"room": 0.0})
    )
    assert dry.tobytes() == none.tobytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"soundfont": "a.sf2", "timbre": "piano"}, "soundfont and timbre are two ways to make sound: choose one"),
        ({"program": "violin"}, "program is an instrument of a sound font: add soundfont FILE"),
        ({"room": 1.2}, "--room 1.2 is out of range"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((FieldError, SettingsError), match=message):
        rendering.SoundSettings.of_store(StoreHeader("keys", 12000, 4.0).with_keys(HEARD), **given)

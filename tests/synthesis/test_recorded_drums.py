"""The sound of recordings with drums: their sides as ever, strokes by the kit, and the rate that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.store import Item, ItemInfo, Song, StoreHeader
from musigan.synthesis import drumkit, ensemble, rendering
from musigan.synthesis.oscillators import synthesise
from tests.musicstores import DRUMMED_KEYS, DRUMMED_LOW, recording

SETTINGS = KeySettings(keys=KeyRange(DRUMMED_LOW, DRUMMED_LOW + DRUMMED_KEYS - 1))
RATE, FRAMES = 12000, 50
TRACKS = {1: ("mono", "drums"), 2: ("left", "right", "drums")}


def items(*rolls: np.ndarray) -> list[Item]:
    names = ("chunks", "tracks", "keys", "frames")
    return [
        Item(ItemInfo(f"{n:06d}", (1, *roll.shape), "float16", (1, *roll.shape), names, Song()), roll[None])
        for n, roll in enumerate(rolls, 1)
    ]


def rendered(*rolls: np.ndarray, **options: Any) -> tuple[int, list[np.ndarray]]:
    header = StoreHeader("keys", RATE, FRAMES * 0.02, tracks=TRACKS[len(rolls[0]) - 1]).with_keys(SETTINGS)
    sound = rendering.SoundSettings.of_store(header, **options)
    signals = [piece.signal for piece in sound.pieces(items(*rolls), 1, lambda title: None)]
    return sound.sample_rate, signals


@pytest.mark.parametrize("sides", [1, 2])
def test_the_sides_sound_as_ever_and_the_kit_is_added(sides: int) -> None:
    roll = recording(1, FRAMES, sides)
    silent = np.concatenate((roll[:-1], 0 * roll[-1:]))
    alone = synthesise(roll[:-1], SETTINGS, RATE, "sine")
    np.testing.assert_array_equal(ensemble.perform_recording(silent, TRACKS[sides], SETTINGS, RATE), alone)
    kit = ensemble.perform_recording(roll, TRACKS[sides], SETTINGS, RATE) - alone
    played = ensemble.RECORDED_DRUM_GAIN * drumkit.play(roll[-1], SETTINGS, RATE)
    expected = played if sides == 2 else played.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(kit, expected, atol=1e-5)


def test_a_stroke_is_as_loud_as_its_onset_whatever_its_decay() -> None:
    def peak(key: int, stroke: np.ndarray) -> float:
        plane = np.zeros((DRUMMED_KEYS, FRAMES), np.float32)
        plane[key, 5 : 5 + len(stroke)] = stroke
        sound = drumkit.play(plane, SETTINGS, 44100)
        assert not sound[:, : 5 * 882].any()
        return float(np.sqrt((sound**2).sum(axis=0)).max())

    for key, gain in ((1, 1.0), (3, 0.85), (7, 0.4), (10, 0.9)):  # kick, snare, hi-hat, tom, as loud in the kit
        loud, soft, long = (peak(key, 0.8 * 0.5 ** np.arange(3)), peak(key, 0.4 * 0.5 ** np.arange(3)),
                            peak(key, 0.8 * 0.9 ** np.arange(20)))  # fmt: skip
        assert loud == pytest.approx(0.8 * gain, rel=1e-3)
        assert soft == pytest.approx(0.4 * gain, rel=1e-3)
        assert long == pytest.approx(loud)


def test_the_rate_is_that_of_overtones_where_there_may_be_drums() -> None:
    roll = recording(1, FRAMES)
    silent = np.concatenate((roll[:-1], 0 * roll[-1:]))
    assert rendered(roll)[0] == rendered(silent)[0] == 44100  # drums may come later
    assert rendered(roll, sample_rate=16000)[0] == 16000


def test_strokes_do_not_make_the_rest_quiet() -> None:
    """The limiter takes their peaks; without strokes a piece's own peak is at the ceiling."""
    roll = recording(1, FRAMES)
    silent = np.concatenate((roll[:-1], 0 * roll[-1:]))
    ceiling = 10 ** (rendering.CEILING_DB / 20)
    assert np.abs(rendered(silent)[1][0]).max() == pytest.approx(ceiling)
    assert np.abs(rendered(roll)[1][0]).max() > ceiling

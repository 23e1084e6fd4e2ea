"""Instruments as sound: synthesis/ensemble.py and synthesis/drumkit.py; and who must know them from left and right."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from musigan.datasets.rolls import AugmentSettings, RollDataset
from musigan.errors import UsageError
from musigan.metrics.describing import describe
from musigan.metrics.notemetrics import OF_TRACKS
from musigan.models.augmentation import Augmentation, shift
from musigan.pictures import plots
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.shape import Geometry
from musigan.rolls.tracks import mix_channels, number_of_track, pitched_channels
from musigan.store import Song, StoreHeader, open_reader, write
from musigan.synthesis import drumkit, ensemble, oscillators
from musigan.synthesis.oscillators import synthesise
from tests.tones import tone

RATE = 22050
MIDI = KeySettings("midi")
SAMPLES = round(RATE * 0.02)


def centroid_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((np.fft.rfftfreq(sound.size, 1 / RATE) * power).sum() / power.sum())


def test_drums_sound_like_what_they_are() -> None:
    kick, snare, hat, open_hat, crash = (drumkit.stroke(pitch, RATE) for pitch in (36, 38, 42, 46, 49))
    assert centroid_hz(kick) < 150 < 500 < centroid_hz(snare) < 5000 < centroid_hz(hat)
    assert hat.size < open_hat.size < crash.size
    toms = [centroid_hz(drumkit.stroke(pitch, RATE)) for pitch in (41, 43, 45, 47, 48, 50)]
    assert toms == sorted(toms)


@pytest.mark.parametrize("pitch", range(27, 88))
def test_every_drum_note_is_a_stroke_that_ends(pitch: int) -> None:
    for rate in (8000, 44100):
        sound = drumkit.stroke(pitch, rate)
        assert np.abs(sound).max() == pytest.approx(1.0)
        assert np.abs(sound[-rate // 1000 :]).max() < 0.01
        assert sound.size < 3.01 * rate


def test_a_drum_sounds_when_it_is_struck_as_loud_as_that() -> None:
    plane = np.zeros((88, 100), np.float32)
    plane[36 - 21, 10:15], plane[36 - 21, 60:65] = 1.0, 0.25
    sound = drumkit.play(plane, MIDI, RATE)
    assert sound.shape == (2, 100 * SAMPLES)
    assert not sound[:, : 10 * SAMPLES].any()
    first, second = sound[0, 10 * SAMPLES : 40 * SAMPLES], sound[0, 60 * SAMPLES : 90 * SAMPLES]
    np.testing.assert_allclose(second, first / 4, atol=1e-6)


def test_held_notes_die_away_on_a_piano_and_not_on_strings() -> None:
    plane = np.zeros((88, 100), np.float32)
    plane[48, 5:95] = 0.5
    piano, strings = (
        ensemble.apply_envelopes(plane, ensemble.PLAYERS[name], MIDI)[48] for name in ("piano", "strings")
    )
    assert piano[5] == strings[5] == 0.5
    assert piano[90] < 0.15
    assert strings[90] == 0.5
    assert 0 < piano[96] < piano[94]  # rings on
    low = np.roll(plane, -24, axis=0)
    assert ensemble.apply_envelopes(low, ensemble.PLAYERS["piano"], MIDI)[24, 90] > 2 * piano[90]


def test_a_key_struck_again_begins_anew() -> None:
    plane = np.zeros((88, 100), np.float32)
    plane[48, 5:49], plane[48, 50:90] = 0.5, 0.5
    for player in ensemble.PLAYERS.values():
        shaped = ensemble.apply_envelopes(plane, player, MIDI)[48]
        assert shaped[49] == 0
        assert shaped[50] == 0.5


def test_each_group_has_a_timbre_and_a_place() -> None:
    roll = np.zeros((1, 88, 60), np.float32)
    roll[0, 40, 5:50] = 0.5
    sounds = {
        name: ensemble.perform(roll, (name,), MIDI, RATE) for name in ("drums", "piano", "guitar", "bass", "strings")
    }
    assert all(sound.shape == (2, 60 * SAMPLES) for sound in sounds.values())
    sides = {name: float(np.abs(right).sum() / np.abs(left).sum()) for name, (left, right) in sounds.items()}
    assert sides["strings"] < sides["piano"] < 0.9 < sides["bass"] < 1.1 < sides["guitar"]
    everybody = np.repeat(roll, 5, axis=0)
    mix_channels = ensemble.perform(everybody, tuple(sounds), MIDI, RATE)
    np.testing.assert_allclose(mix_channels, sum(sounds.values()), atol=1e-4)
    assert not np.allclose(ensemble.perform(roll, ("piano",), MIDI, RATE, "organ"), sounds["piano"], atol=0.01)


def test_tracks_together_are_the_loudest_and_sides_the_mean() -> None:
    roll = np.array([[[0.9]], [[0.2]], [[0.1]]], np.float32)
    assert mix_channels(roll, ()).item() == pytest.approx(0.4)
    assert mix_channels(roll, ("drums", "piano", "bass")).item() == pytest.approx(0.9)
    assert pitched_channels(roll, ("drums", "piano", "bass")).ravel().tolist() == pytest.approx([0.2, 0.1])
    assert pitched_channels(roll[:1], ("drums",)).shape == (1, 1, 1)
    assert number_of_track("bass", ("drums", "bass")) == 2
    for tracks in (("drums", "bass"), ()):
        with pytest.raises(UsageError, match="--track flute"):
            number_of_track("flute", tracks)
    np.testing.assert_allclose(plots.plane_of(roll, None, "linear", ("a", "b", "c")), [[0.9]])


KEYS, FRAMES = 24, 200


def store_of(path: Path, tracks: tuple[str, ...]) -> Path:
    """Two tracks or sides: the first has one low key, the second one high key."""
    header = StoreHeader("keys", 12000, FRAMES * 0.02, tracks=tracks)
    header = header.with_keys(KeySettings("midi", KeyRange(30, 29 + KEYS)))
    roll = np.zeros((8, 2, KEYS, FRAMES), np.float16)
    roll[:, 0, 6, 10:90], roll[:, 1, 15, 50:150] = 0.5, 0.8
    names = ("chunks", "tracks" if tracks else "channels", "keys", "frames")
    with write(str(path), header) as writer:
        writer.add(roll, names, Song(title="A"))
    return path


def test_training_neither_swaps_instruments_nor_transposes_drums(tmp_path: Path) -> None:
    def low_keys(tracks: tuple[str, ...]) -> set[int]:
        name = str(len(list(tmp_path.iterdir())))
        with open_reader(str(store_of(tmp_path / name, tracks))) as reader:
            data = RollDataset(reader, "train", AugmentSettings(crop=False, transpose_keys=2), seed=3)
            rolls = [data.roll(epoch, index) for epoch in range(8) for index in range(8)]
        return {int(roll[0].sum(axis=1).argmax()) for roll in rolls}

    assert low_keys(("drums", "bass")) == {6}
    assert low_keys(("piano", "bass")) == {4, 5, 6, 7, 8}
    assert low_keys(()) == {4, 5, 6, 7, 8, 13, 14, 15, 16, 17}


def test_augmentation_neither_swaps_instruments_nor_transposes_drums() -> None:
    roll = torch.zeros(64, 2, KEYS, FRAMES)
    roll[:, 0, 6, 60:140], roll[:, 1, 15, 60:140] = 0.5, 0.8
    for tracks, expected in (((), (6, 15)), (("piano", "bass"), (6,)), (("drums", "bass"), (6,))):
        made = Augmentation(tracks)
        made.probability.fill_(0.8)
        found = made(roll, torch.Generator().manual_seed(2))
        lows = set(found[:, 0].sum(-1).argmax(-1).tolist())
        reach = 0 if "drums" in tracks else 3
        assert lows == {key + move for key in expected for move in range(-reach, reach + 1)}
        assert len(set(found[:, 1].sum(-1).argmax(-1).tolist())) > 5
    moved = shift(roll[:1], [2], [5], 1)
    assert moved[0, 0, 8, 65] == 0.5
    assert moved[0, 1, 15, 65] == 0.8
    assert moved[0, 1, :, :65].sum() == 0


def test_metrics_hear_instruments_together_and_drums_apart() -> None:
    roll = np.zeros((3, KEYS, FRAMES), np.float32)
    roll[0, 3, ::10] = 0.9  # drums
    roll[1, 6, 10:90], roll[2, 15, 50:150] = 0.5, 0.8
    tracks = ("drums", "piano", "bass")
    quiet = roll.copy()
    quiet[0] = 0

    def described(one: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        found = describe([one], np.array(["a"]), Geometry(0.02, 30, names))
        by_pitch = found.notes[:, : -len(OF_TRACKS)]
        return {"musical": found.musical, "notes": by_pitch, "pictures": found.pictures, "random": found.random}

    with_drums, without = described(roll, tracks), described(quiet, tracks)
    for name in ("musical", "notes", "pictures"):
        np.testing.assert_array_equal(with_drums[name], without[name])
    assert not np.allclose(with_drums["random"], without["random"])
    # As one recording of both instruments, in mono.
    as_sound = described(np.maximum(roll[1], roll[2])[None], ())
    np.testing.assert_allclose(with_drums["musical"], as_sound["musical"])
    np.testing.assert_allclose(with_drums["notes"], as_sound["notes"])


@pytest.mark.parametrize("timbre", ["sine", "organ"])
def test_tracks_add_up_in_stereo_as_each_is_synthesised(timbre: str) -> None:
    """One transform for all tracks sounds like the sum of each alone, refinement of pure tones included."""
    roll = np.zeros((2, 88, 40), np.float32)
    roll[0, 48, 5:30], roll[1, 30, 12:20] = 0.5, 0.25
    bass, strings = (
        ensemble.apply_envelopes(roll[n], ensemble.PLAYERS[name], MIDI) for n, name in ((0, "bass"), (1, "strings"))
    )
    expected = sum(
        player.gain * drumkit.pan_gains(player.pan)[:, None] * synthesise(loudness[None], MIDI, RATE, timbre)
        for player, loudness in ((ensemble.PLAYERS["bass"], bass), (ensemble.PLAYERS["strings"], strings))
    )
    sound = ensemble.perform(roll, ("bass", "strings"), MIDI, RATE, timbre)
    np.testing.assert_allclose(sound, expected, atol=1e-5)
    assert not ensemble.perform(np.zeros((1, 88, 3), np.float32), ("piano",), MIDI, RATE).any()


@pytest.mark.parametrize("timbre", ["", "own"])
@pytest.mark.parametrize("cuts", [(1,), (50, 51), (7, 130, 131)])
def test_notes_that_come_part_by_part_have_the_envelopes_of_the_whole(cuts: tuple[int, ...], timbre: str) -> None:
    random = np.random.default_rng(len(cuts))
    plane = (random.random((88, 200)) > 0.3) * np.float32(0.7)
    plane[:, 40:60] = 0.0
    own = tone() if timbre else ""
    whole = ensemble.apply_envelopes(plane, ensemble.PLAYERS["piano"], MIDI, own)
    envelopes = ensemble.Envelopes(ensemble.PLAYERS["piano"], MIDI, own)
    edges = [0, *cuts, 200]
    parts = [envelopes.shape(plane[:, a:b], plane[:, b : b + 1]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_a_long_roll_sounds_as_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of 3 s: no step at a seam, strokes that last over it, notes that ring on."""
    roll = np.zeros((2, 88, 400), np.float32)
    roll[0, 48, 100:360], roll[0, 52, 140:151], roll[1, 18, 149] = 0.5, 0.7, 0.9
    whole = ensemble.perform(roll, ("piano", "drums"), MIDI, RATE)
    monkeypatch.setattr(oscillators, "BLOCK_FRAMES", 150)
    monkeypatch.setattr(drumkit, "BLOCK_SAMPLES", 9000)
    parts = ensemble.perform(roll, ("piano", "drums"), MIDI, RATE)
    np.testing.assert_allclose(parts, whole, atol=0.02)

"""Training excerpts of whole beats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.datasets.bars import EXCERPT_BEATS, BarDataset
from musigan.datasets.record import MusicRecord
from musigan.datasets.rolls import AugmentSettings
from musigan.rolls.beats import Beats
from musigan.rolls.feel import swung
from musigan.rolls.grid import FREE_BEAT_SECONDS, GRID_FRAMES, Grid
from musigan.rolls.timing import attack_frames
from tests.tiny import CHANNELS, FRAMES, HEADER, KEYS

TEMPO = 110.0
CROP = AugmentSettings(crop=True, swap_channels=False, transpose_keys=1)


def write_beats(path: Path, songs: int = 2, pairs: int = 24, gap: int = 0, confidence: float = 0.9) -> Path:
    """A store of songs in which key 4 is struck on each downbeat, key 2 on each other beat, three beats a bar.

    With a `gap` the pair of that number is missing.
    """
    with store.write(str(path), HEADER) as writer:
        for number in range(songs):
            seconds = pairs * 2 * FRAMES * 0.02
            beats = 0.3 + np.arange(int(seconds * TEMPO / 60) - 1) * 60 / TEMPO
            roll = np.zeros((CHANNELS, KEYS, pairs * 2 * FRAMES), np.float32)
            for index, second in enumerate(beats):
                start = round(second / 0.02)
                roll[:, 4 if index % 3 == 0 else 2, start : start + 6] = 0.8
            blocks = roll.reshape(CHANNELS, KEYS, pairs, 2, FRAMES).transpose(2, 3, 0, 1, 4)
            kept = [index for index in range(pairs) if not gap or index != gap]
            song = store.Song(
                title=f"Song {number}", split="validation" if number == songs - 1 else "train", level=0.1,
                genre="waltz", starts=tuple(index * 2 * FRAMES * 0.02 for index in kept),
            ).with_beats(Beats(beats, np.arange(len(beats)) % 3 + 1, confidence))  # fmt: skip
            names = ("pairs", "part", "channels", "keys", "frames")
            writer.add(np.ascontiguousarray(blocks[kept], np.float16), names, song)
    return path


def test_excerpts_begin_on_downbeats_and_strike_on_beats(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr"))) as reader:
        dataset = BarDataset(reader, augment=CROP, seed=3)
        assert dataset.shape.frames == EXCERPT_BEATS * GRID_FRAMES
        for index in range(len(dataset) - 1):
            roll = dataset.roll(0, index)
            assert roll.shape == (CHANNELS, KEYS, EXCERPT_BEATS * GRID_FRAMES)
            (key,) = set(np.flatnonzero(roll[0, :, 2 : GRID_FRAMES // 4].any(1)))
            assert key in (3, 4, 5)  # the downbeat's key, moved by a semitone at most
            onsets = np.flatnonzero(np.diff((roll[0] > 0).any(0).astype(int)) == 1) + 1
            assert np.abs(onsets - np.rint(onsets / GRID_FRAMES) * GRID_FRAMES).max() <= 1
        np.testing.assert_array_equal(dataset.roll(1, 0), dataset.roll(1, 0))


def test_a_gap_makes_two_parts_and_each_knows_its_bars(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr", gap=9))) as reader:
        dataset = BarDataset(reader)
        first, second = dataset.parts
        assert first.begins
        assert not second.begins
        assert abs(first.grid.tempo - TEMPO) < 1
        on_grid = dataset.on_grid(second)
        downbeats = np.flatnonzero(second.grid.numbers == 1)
        for beat in downbeats[1:-1]:
            assert on_grid[0, 4, beat * GRID_FRAMES + 2] > 0
        plans = dataset.outlines[0]
        assert plans.meter == 3
        assert set(plans.lags[9:].tolist()) <= {3, 6, 9}


def test_music_without_a_beat_is_learned_as_such(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr", confidence=0.1))) as reader:
        dataset = BarDataset(reader)
        assert all(part.grid.is_free for part in dataset.parts)
        np.testing.assert_allclose(np.diff(dataset.parts[0].grid.edges), FREE_BEAT_SECONDS)
        assert dataset.outlines[0].is_free


def test_a_record_with_outlines_is_read_back(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr"))) as reader:
        record = BarDataset(reader).record()
    again = MusicRecord.parse(record.to_values())
    assert again.styles == ("waltz",)
    assert again.outlines[0].to_values() == record.outlines[0].to_values()


def test_beats_elsewhere_are_another_store(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr"))) as reader:
        known = BarDataset(reader).fingerprint()
    with store.open_reader(str(write_beats(tmp_path / "t.zarr", confidence=0.1))) as reader:
        assert BarDataset(reader).fingerprint() != known


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_beat_is_in_an_excerpt(tmp_path: Path, split: str) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr", songs=3))) as reader:
        dataset = BarDataset(reader, split)  # type: ignore[arg-type]
        assert len(dataset) == sum(-(-len(part.grid) // EXCERPT_BEATS) for part in dataset.parts)


def test_half_of_the_excerpts_have_their_attacks_on_the_grid_and_where_it_is_asked_all(tmp_path: Path) -> None:
    """Frames of 20 ms do not fall on a grid of 22.7 ms: as played, some attacks lie beside it."""
    with store.open_reader(str(write_beats(tmp_path / "s.zarr", songs=3, pairs=30))) as reader:
        dataset = BarDataset(reader, augment=CROP, seed=3)
        dataset.parts = [replace(part, grid=late(part.grid)) for part in dataset.parts]

        def beside(dataset: BarDataset) -> list[bool]:
            return [
                bool((np.nonzero(attack_frames(dataset.roll(epoch, index).max(0)))[1] % 6).any())
                for epoch in range(4) for index in range(len(dataset))
            ]  # fmt: skip

        some = beside(dataset)
        assert 0.25 < np.mean(some) < 0.75
        assert not any(beside(dataset.tightened()))
        assert beside(dataset) == some
        composed = dataset.composed(dataset.parts[0])
        assert composed.max() == pytest.approx(0.8**0.5, abs=0.01)
        assert not (np.nonzero(attack_frames(composed.max(0)))[1] % 6).any()


def test_excerpts_swing_where_it_is_asked_but_not_those_that_composers_are_held_against(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr", songs=2, pairs=10))) as reader:
        straight, swinging = (BarDataset(reader, augment=replace(CROP, swing=share), seed=3) for share in (0.0, 1.0))
        moved = 0
        for index in range(len(straight)):
            roll = straight.roll(1, index)
            np.testing.assert_array_equal(swinging.roll(1, index), swung(roll))
            np.testing.assert_array_equal(swinging.tightened().roll(1, index), straight.tightened().roll(1, index))
            moved += bool((swung(roll) != roll).any())
        assert moved


def late(grid: Grid) -> Grid:
    """The grid of somebody who hears the beats two grid frames early."""
    return replace(grid, edges=grid.edges - 2 / GRID_FRAMES * 60 / TEMPO)


def test_excerpts_tell_the_scene_in_the_key_that_they_are_in(tmp_path: Path) -> None:
    with store.open_reader(str(write_beats(tmp_path / "s.zarr"))) as reader:
        dataset = BarDataset(reader, augment=CROP, seed=3)
        seen = set()
        for index in range(len(dataset)):
            roll, conditions = dataset.example(0, index)
            classes = conditions["scene"][4, :12]
            heard = {int(key) for key in np.flatnonzero(roll[0].any(1))}
            assert {int(key) for key in np.flatnonzero(classes)} == heard
            seen |= {min(heard)}
        assert len(seen) > 1

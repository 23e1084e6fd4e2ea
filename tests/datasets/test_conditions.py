from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.datasets.conditions import TO_GENERATE, Conditions, style_of, styles_of
from musigan.datasets.rolls import AugmentSettings, RollDataset
from musigan.rolls.beats import Beat, clock
from musigan.rolls.loudness import expand
from musigan.store import Song
from tests import tiny

NEEDS = ("style", "tempo", "kept")


def dataset(path: Path, **changes: Any) -> RollDataset:
    return RollDataset(store.open_reader(str(path), ("keys",)), needs=NEEDS, **changes)


def write(path: Path, songs: list[Song], tracks: tuple[str, ...] = ()) -> Path:
    """Songs of one pair each, two channels, louder from frame to frame."""
    rising = np.linspace(0.1, 0.9, 2 * tiny.FRAMES, dtype=np.float32).reshape(2, 1, 1, tiny.FRAMES)
    roll = np.zeros((1, 2, 2, tiny.KEYS, tiny.FRAMES), np.float32)
    roll[:, :, 0, 3:5], roll[:, :, 1, 7:8] = rising[:, 0], rising[:, 0] / 2
    names = "tracks" if tracks else "channels"
    with store.write(str(path), replace(tiny.HEADER, tracks=tracks)) as writer:
        for song in songs:
            writer.add(roll.astype(np.float16), ("pairs", "part", names, "keys", "frames"), song)
    return path


def test_styles_are_genres_or_folders_the_most_frequent_first() -> None:
    songs = [Song(genre="Rock"), Song(source="folk/a.mp3"), Song(genre=" folk "), Song(source="loose.mp3"), Song()]
    assert [style_of(song) for song in songs] == ["rock", "folk", "folk", "", ""]
    assert styles_of(songs) == ("folk", "rock")


def test_conditions_of_a_roll(tmp_path: Path) -> None:
    first = Song(genre="Jazz", tempo=90.0, first_beat=7.0, starts=(6.0,))
    data = dataset(write(tmp_path / "keys", [first, Song(tempo=60.0), Song(genre="Folk", tempo=100.0)]))
    assert data.styles == ("folk", "jazz")
    roll, given = data.example(0, 1)  # the second half of the first song's pair
    assert given["style"] == 2
    start = 6.0 + tiny.FRAMES * 0.02
    np.testing.assert_allclose(given["tempo"], clock(Beat(90.0, 7.0 - start), tiny.FRAMES, 0.02), atol=1e-5)
    assert given["kept"].shape == roll.shape
    assert data.example(0, 2)[1]["style"] == 0
    assert data.record().styles == ("folk", "jazz")
    assert data.record().songs == (("jazz", 90.0, 4), ("", 60.0, 4), ("folk", 100.0, 4))
    assert RollDataset(data.reader).record().songs is None


def test_one_track_is_given_now_and_then(tmp_path: Path) -> None:
    data = dataset(write(tmp_path / "keys", [Song()]), augment=AugmentSettings())
    found = []
    for epoch in range(200):
        roll, given = data.example(epoch, 0)
        kept = given["kept"]
        of_tracks = kept.min(axis=(1, 2)) >= 0
        np.testing.assert_array_equal(kept[of_tracks], roll[of_tracks])
        assert (kept[~of_tracks] == TO_GENERATE).all()
        np.testing.assert_array_equal(kept, data.example(epoch, 0)[1]["kept"])
        found.append(of_tracks)
    first, second = np.mean(found, axis=0)
    assert 0.08 < first < 0.22
    assert 0.08 < second < 0.22
    assert not np.all(found, axis=1).any()


def test_instruments_are_not_swapped_nor_drums_moved(tmp_path: Path) -> None:
    path = write(tmp_path / "keys", [Song()], ("drums", "piano"))
    data = dataset(path, augment=AugmentSettings(crop=False, transpose_keys=3))
    lowest = set()
    for epoch in range(30):
        roll = expand(data.roll(epoch, 0))
        assert np.flatnonzero(roll[0].any(axis=1)).tolist() == [3, 4]
        lowest.add(int(np.flatnonzero(roll[1].any(axis=1))[0]))
    assert lowest == {4, 5, 6, 7, 8, 9, 10}


def test_what_is_asked_for_is_cut_into_stretches() -> None:
    kept = np.full((2, 5, 30), TO_GENERATE, np.float32)
    kept[1] = np.arange(30) / 100
    given = Conditions(3, Beat(75.0, 0.2), kept).at_frames(20, (2, 5, 16), 0.02)
    assert given["style"] == 3
    np.testing.assert_allclose(given["tempo"], clock(Beat(75.0, 0.2), 36, 0.02)[:, 20:], atol=1e-5)
    np.testing.assert_array_equal(given["kept"][1, :, :10], kept[1, :, 20:])
    assert (given["kept"][1, :, 10:] == 0).all()
    assert (given["kept"][0] == TO_GENERATE).all()
    assert (Conditions().at_frames(0, (2, 5, 16), 0.02)["kept"] == TO_GENERATE).all()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_both_splits_number_styles_alike(split: Any, tmp_path: Path) -> None:
    songs = [Song(genre="Rock", split="validation"), Song(genre="Folk"), Song(genre="Folk")]
    assert dataset(write(tmp_path / "keys", songs), split=split).styles == ("folk", "rock")

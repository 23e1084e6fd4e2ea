"""Which songs of a store are held back: those that it marks, and of enough songs at least two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.datasets.rolls import HELD_BACK, RollDataset
from musigan.store.chunks import is_validation, validation_share
from musigan.store.splits import held_out_names, sides_of
from tests import tiny


def kept(path: Path, songs: int, marked: tuple[int, ...] = (), share: float | None = 0.1) -> store.Reader:
    """A store of `songs` songs, of which those numbered `marked` are held back."""
    with store.write(str(path), replace(tiny.HEADER, validation=share)) as writer:
        for number in range(songs):
            song = store.Song(content=f"content {number}", split="validation" if number in marked else "train")
            roll = np.full((1, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), 0.5, np.float16)
            writer.add(roll, ("chunks", "channels", "keys", "frames"), song)
    return store.open_reader(str(path))


@pytest.mark.parametrize(
    ("songs", "marked", "share", "count"),
    [
        (10, (), 0.1, 2),
        (10, (3,), None, 2),
        (12, (1, 2, 3), 0.1, 3),
        (9, (), 0.1, 0),
        (9, (4,), 0.1, 1),
        (11, (), 0.0, 0),
    ],
)
def test_of_ten_songs_two_are_held_back(
    songs: int, marked: tuple[int, ...], share: float | None, count: int, tmp_path: Path
) -> None:
    with kept(tmp_path / "keys", songs, marked, share) as reader:
        names = held_out_names(reader)
        assert len(names) == count
        assert {store.item_name(number + 1) for number in marked} <= names
        training, validation = (RollDataset(reader, split) for split in ("train", "validation"))
        assert (training.songs, validation.songs) == (songs - count, count)
        assert {place.item for place in validation.places} == names
        is_chosen = count > len(marked)
        assert (HELD_BACK in training.fingerprint()) is is_chosen
        assert training.fingerprint() == validation.fingerprint()
        if is_chosen:  # those that the least larger share would hold back
            others = [number for number in range(songs) if number not in marked]
            others.sort(key=lambda number: validation_share(f"content {number}"))
            assert names - {store.item_name(number + 1) for number in marked} == {
                store.item_name(number + 1) for number in others[: count - len(marked)]
            }


def test_shares_are_those_from_which_on_songs_are_held_back() -> None:
    for number in range(20):
        share = validation_share(str(number))
        assert not is_validation(str(number), 0.999 * share)
        assert is_validation(str(number), 1.001 * share)


@pytest.mark.parametrize(
    ("starts", "share", "before", "end"),
    [
        ((0.0, 4.0, 8.0, 12.0), 0.1, [0, 1, 2], [3]),
        ((0.0, 4.0, 8.0, 12.0), 0.5, [0, 1], [2, 3]),
        ((8.0, 0.0, 12.0, 4.0), 0.3, [1, 3], [0, 2]),  # shuffled
        ((0.0, 2.0, 4.0, 6.0, 8.0), 0.1, [0, 1, 2], [4]),  # that at 6 s reaches into the end
        ((0.0, 2.0), 0.1, [0, 1], []),  # nothing would be left before the end
        ((5.0,), 0.9, [0], []),
        ((0.0, 4.0), 0.0, [0, 1], []),
    ],
)
def test_the_end_of_a_song_is_held_back(
    starts: tuple[float, ...], share: float, before: list[int], end: list[int]
) -> None:
    song, pieces = store.Song(title="A", starts=starts, split="validation"), np.arange(len(starts))
    sides = {song.split: (list(part), song.starts) for part, song in sides_of(pieces, song, 4.0, share)}
    wanted = {"train": before, "validation": end}
    assert sides == {name: (side, tuple(starts[n] for n in side)) for name, side in wanted.items() if side}


def test_the_length_of_a_padded_end_is_counted_from_its_beginning() -> None:
    song = store.Song(starts=(0.0, 4.0, 8.0), seconds=9.5)
    (_, before), (_, end) = sides_of(np.zeros((3, 1)), song, 4.0, 0.1)
    assert (before.seconds, end.seconds) == (None, 1.5)


def test_the_end_of_a_song_says_what_it_is() -> None:
    song = store.Song(title="A", starts=(0.0, 4.0))
    assert [side.title for _, side in sides_of(np.zeros((2, 1)), song, 4.0, 0.1)] == ["A", "A (end)"]
    assert [side.title for _, side in sides_of(np.zeros((2, 1)), store.Song(starts=(0.0, 4.0)), 4.0, 0.1)] == ["", ""]

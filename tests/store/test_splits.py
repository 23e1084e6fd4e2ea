"""Which songs of a store are held back: those that it marks, and of enough songs at least two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.datasets.rolls import HELD_BACK, RollDataset
from musigan.store.chunks import is_validation, validation_share
from musigan.store.splits import held_out_names
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

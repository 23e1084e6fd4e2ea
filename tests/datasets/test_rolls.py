from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musigan import store
from musigan.datasets.batches import batch_indices, batches
from musigan.datasets.rolls import AugmentSettings, RollDataset
from musigan.errors import MusiganError, StoreError
from musigan.rolls.loudness import compress, expand, transpose
from tests import tiny
from tests.tones import tone


@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.sampled_from(["sqrt", "log"]))
def test_compression_is_undone(values: list[float], how: str) -> None:
    loudness = np.array(values, np.float32)
    np.testing.assert_allclose(expand(compress(loudness, how), how), loudness, atol=1e-5)


def test_compression_by_hand() -> None:
    np.testing.assert_allclose(compress(np.array([0, 0.25, 1, 7])), [0, 0.5, 1, 1])
    np.testing.assert_allclose(compress(np.array([0, 9 / 99, 1, 7]), "log"), [0, 0.5, 1, 1], rtol=1e-6)
    assert compress(np.zeros(3), "log").tolist() == [0, 0, 0]


def test_rolls_as_stored_without_augmentation(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=2, validation=1)
    reader = store.open_reader(str(path), ("keys",))
    train, held = RollDataset(reader, "train"), RollDataset(reader, "validation")
    assert len(train) == len(held) == 4
    whole = reader.read("000002").astype(np.float32).reshape(-1, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    for index in range(4):
        np.testing.assert_array_equal(train.roll(5, index), compress(whole[index]))


def test_crop_is_a_stretch_of_the_pair(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=1, validation=0)
    reader = store.open_reader(str(path), ("keys",))
    crop_only = AugmentSettings(crop=True, swap_channels=False, gain=0.0, transpose_keys=0)
    data = RollDataset(reader, "train", crop_only, seed=3)
    pair = compress(np.concatenate(list(reader.block("000001", 0)[0].astype(np.float32)), axis=-1))  # (C, K, 2T)
    starts = set()
    for epoch in range(12):
        roll = data.roll(epoch, 1)
        fits = [s for s in range(tiny.FRAMES + 1) if np.array_equal(pair[..., s : s + tiny.FRAMES], roll)]
        assert fits
        starts.add(fits[0])
    assert len(starts) > 4


def test_same_epoch_and_index_give_the_same_roll(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=2, validation=0)
    data = tiny.dataset(path, tiny.settings())
    np.testing.assert_array_equal(data.roll(3, 2), data.roll(3, 2))
    assert any(not np.array_equal(data.roll(3, i), data.roll(4, i)) for i in range(len(data)))
    assert data.roll(3, 2).shape == (tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    assert data.roll(3, 2).dtype == np.float32


def test_augmentations_do_what_they_say(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=1, validation=0)
    reader = store.open_reader(str(path), ("keys",))
    off = AugmentSettings(crop=False, swap_channels=False, gain=0.0, transpose_keys=0)
    plain = RollDataset(reader, "train", off).roll(0, 0)
    swapped = [RollDataset(reader, "train", AugmentSettings(False, True, 0.0, 0), seed=s).roll(0, 0) for s in range(9)]
    assert {np.array_equal(roll, plain) for roll in swapped} == {True, False}
    assert all(np.array_equal(roll, plain) or np.array_equal(roll, plain[::-1]) for roll in swapped)
    quieter = [RollDataset(reader, "train", AugmentSettings(False, False, 0.5, 0), seed=s).roll(0, 0) for s in range(9)]
    assert len({float(roll.sum()) for roll in quieter}) == 9
    moved = [RollDataset(reader, "train", AugmentSettings(False, False, 0.0, 2), seed=s).roll(0, 0) for s in range(40)]
    found = {next(k for k in range(-2, 3) if np.array_equal(roll, transpose(plain, k))) for roll in moved}
    assert found == {-2, -1, 0, 1, 2}


def test_transpose_by_hand() -> None:
    roll = np.arange(1, 7, dtype=np.float32).reshape(1, 3, 2)
    assert transpose(roll, 1).tolist() == [[[0, 0], [1, 2], [3, 4]]]
    assert transpose(roll, -2).tolist() == [[[5, 6], [0, 0], [0, 0]]]


def test_chunks_without_pairs(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=2, validation=0, paired=False)
    data = tiny.dataset(path, tiny.settings(augment={"gain": 0.0, "transpose_keys": 0, "swap_channels": False}))
    assert len(data) == 8
    assert data.roll(0, 7).shape == (tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


def test_batches_start_anywhere_in_an_epoch(tmp_path: Path) -> None:
    data = tiny.dataset(tiny.write_keys(tmp_path / "k", songs=3, validation=0), tiny.settings())
    assert len(data) == 12
    whole = [batch.roll.numpy() for batch in batches(data, 5, epoch=2)]
    assert [batch.shape[0] for batch in whole] == [5, 5, 5]
    rest = [batch.roll.numpy() for batch in batches(data, 5, epoch=2, first=1)]
    for left, right in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(left, right)
    seen = np.concatenate(batch_indices(data, 5, 2))
    assert set(seen.tolist()) == set(range(12))
    assert not np.array_equal(batch_indices(data, 5, 2)[0], batch_indices(data, 5, 3)[0])


def test_batch_larger_than_the_data_repeats_it(tmp_path: Path) -> None:
    data = tiny.dataset(tiny.write_keys(tmp_path / "k", songs=1, validation=0), tiny.settings())
    (batch,) = batches(data, 10, epoch=0)
    assert batch.roll.shape[0] == 10


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with store.write(str(empty), tiny.HEADER):
        pass
    with pytest.raises(MusiganError, match="no songs"):
        tiny.dataset(empty, tiny.settings())
    held = tiny.write_keys(tmp_path / "held", songs=2, validation=2)
    with pytest.raises(MusiganError, match="none of the 2 songs"):
        tiny.dataset(held, tiny.settings())


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    blocks = np.full((1, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.nan, np.float16)
    with store.write(str(path), tiny.HEADER) as writer:
        writer.add(blocks, ("pairs", "part", "channels", "keys", "frames"), store.Song(title="x"))
    with pytest.raises(StoreError, match="000001"):
        tiny.dataset(path, tiny.settings()).roll(0, 0)


def test_fingerprint_tells_stores_apart(tmp_path: Path) -> None:
    one = tiny.dataset(tiny.write_keys(tmp_path / "a", seed=1), tiny.settings())
    same = tiny.dataset(tiny.write_keys(tmp_path / "b", seed=1), tiny.settings())
    more = tiny.dataset(tiny.write_keys(tmp_path / "c", songs=4), tiny.settings())
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != more.fingerprint()


@pytest.mark.parametrize("other", [{"split": "train"}, {"starts": (0.0, 0.4)}])
def test_fingerprint_tells_how_songs_were_cut_and_held_back(other: dict[str, Any], tmp_path: Path) -> None:
    blocks = np.full((2, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), 0.5, np.float16)
    prints = []
    for name, changes in (("a", {}), ("b", other)):
        with store.write(str(tmp_path / name), tiny.HEADER) as writer:
            for split in ("train", "validation"):
                song = store.Song(title="x", level=0.1, split=split, starts=(0.0, 0.48))
                writer.add(blocks, ("pairs", "part", "channels", "keys", "frames"), replace(song, **changes))
        prints.append(tiny.dataset(tmp_path / name, tiny.settings()).fingerprint())
    assert prints[0] != prints[1]


def test_level_is_the_median(tmp_path: Path) -> None:
    data = tiny.dataset(tiny.write_keys(tmp_path / "k", songs=3), tiny.settings())
    assert data.record().level == pytest.approx(0.2)
    assert data.record().header.low_key == 30


def test_the_tone_is_the_average_of_the_songs_that_have_one(tmp_path: Path) -> None:
    blocks = np.full((2, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), 0.5, np.float16)
    with store.write(str(tmp_path / "k"), tiny.HEADER) as writer:
        for fade in (0.5, 1.0, None):
            song = store.Song(title="x", split="train", starts=(0.0, 0.48))
            song = song.with_tone(None if fade is None else tone(fades=np.full(8, fade)))
            writer.add(blocks, ("pairs", "part", "channels", "keys", "frames"), song)
    record = tiny.dataset(tmp_path / "k", tiny.settings()).record()
    assert record.tone is not None
    assert record.tone.fades.tolist() == [0.75] * 8

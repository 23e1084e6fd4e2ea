"""Compressed stores: the same songs in less room, damage found, and those of before still read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Zstd

from musigan import store
from musigan.errors import StoreError
from musigan.store import together
from musigan.store.header import PACKED, PLAIN
from musigan.store.packing import SHARD_BLOCKS, Packing
from tests.store.test_store_damage import entries, unzipped
from tests.stores import HEADERS, archive, assert_same, dimensions, fill, items, songs

KEYS = (2, 2, 1, 4, 3)


def files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def long_song(pairs: int = 2 * SHARD_BLOCKS + 3) -> np.ndarray:
    return songs((pairs, 2, 1, 4, 3))[0][0]


@pytest.mark.parametrize("name", ["x.zarr", "x.zip"])
def test_blocks_of_long_songs_come_in_any_order(name: str, tmp_path: Path) -> None:
    array = long_song()
    with store.write(str(tmp_path / name), HEADERS["keys"], compress=True) as writer:
        writer.add(array, dimensions("keys", array), store.Song())
    with store.open_reader(str(tmp_path / name)) as reader:
        np.testing.assert_array_equal(reader.read("000001"), array)
        for index in (len(array) - 1, 0, SHARD_BLOCKS, SHARD_BLOCKS - 1):
            np.testing.assert_array_equal(reader.block("000001", index), array[index : index + 1])
        with pytest.raises(IndexError):
            reader.block("000001", len(array))
        assert reader.has_checksums
        assert reader.header.format == PACKED
    if name == "x.zarr":
        assert len(files(tmp_path / name)) == 2 + 3
        group = zarr.open_group(str(tmp_path / name), mode="r")
        np.testing.assert_array_equal(group["000001"][...], array)  # type: ignore[index]


def test_what_is_compressed_unless_one_says(tmp_path: Path) -> None:
    zeros = {"keys": np.zeros((40, 2, 1, 4, 3), np.float16), "waveform": np.zeros((2, 90), np.float16)}
    sizes = {}
    for kind, array in zeros.items():
        for name, compress in (("a.zarr", None), ("b.zarr", True), ("c.zarr", False), ("d", None), ("e", True)):
            path = tmp_path / f"{kind}-{name}"
            with store.write(str(path), HEADERS[kind], compress) as writer:
                writer.add(array, dimensions(kind, array), store.Song())
            assert (items(path)[0].array == array).all()
            with store.open_reader(str(path)) as reader:
                packing, is_plain = reader.infos()[0].packing, reader.header.format == PLAIN
            sizes[path.name] = packing.compressed, bool(packing.shard_blocks), is_plain
    assert sizes == {
        "keys-a.zarr": (True, True, False), "keys-b.zarr": (True, True, False), "keys-c.zarr": (False, False, False),
        "keys-d": (False, False, True), "keys-e": (True, False, False),
        "waveform-a.zarr": (False, False, False), "waveform-b.zarr": (True, False, False),
        "waveform-c.zarr": (False, False, False), "waveform-d": (False, False, True),
        "waveform-e": (True, False, False),
    }  # fmt: skip


def test_a_folder_of_before_is_read(tmp_path: Path) -> None:
    """Format 1: every block a plain file, and no metadata but each item's own."""
    content = songs(KEYS)
    unzipped(entries(archive("keys", KEYS)), tmp_path / "old.zarr")
    for in_order in (True, False):
        with store.open_reader(str(tmp_path / "old.zarr"), in_order=in_order) as reader:
            assert (reader.header.format, reader.has_checksums) == (PLAIN, False)
            assert_same(list(reader), content, "keys")
    with store.open_reader(str(tmp_path / "old.zarr")) as reader:
        np.testing.assert_array_equal(reader.block("000002", 1), content[1][0][1:])


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    fill(str(tmp_path / "x.zarr"), "keys", songs(KEYS))
    path = tmp_path / "x.zarr" / "zarr.json"
    path.write_text(path.read_text().replace(f'"format": {PACKED}', f'"format": {PACKED + 1}'))
    with pytest.raises(StoreError, match="update musigan"):
        store.open_reader(str(tmp_path / "x.zarr"))


def test_every_changed_bit_and_cut_of_a_shard_is_found_or_changes_nothing(tmp_path: Path) -> None:
    array = songs((3, 2, 1, 4, 3))[0][0]
    fill(str(tmp_path / "x.zarr"), "keys", [(array, store.Song())])
    path = files(tmp_path / "x.zarr")["000001/c/0/0/0/0/0"]
    whole, unused = path.read_bytes(), 0
    with store.open_reader(str(tmp_path / "x.zarr")) as reader:
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            try:  # of a few bits of a frame zstd makes no use
                np.testing.assert_array_equal(reader.read("000001"), array)
                unused += 1
            except StoreError:
                pass
            path.write_bytes(whole[:place])
            with pytest.raises(StoreError):
                reader.read("000001")
        assert unused < 6
        path.write_bytes(whole)
        np.testing.assert_array_equal(reader.read("000001"), array)


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x58", Zstd(1).encode(bytes(999)), Zstd(1).encode(bytes(1001)),
        Zstd(1).encode(bytes(1000)) + Zstd(1).encode(bytes(1 << 26)), Zstd(1).encode(bytes(1000))[:-1],
        Zstd(1).encode(bytes(1 << 26)), bytes(1000),
    ],
)  # fmt: skip
def test_nothing_expands_beyond_what_it_says(frame: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        Packing(compressed=True).unpack(frame, 1000, "key")


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65791, 65792, 1 << 20])
def test_frames_of_any_size_unpack(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    for checksum in (True, False):
        frame = Zstd(3, checksum=checksum).encode(data)
        assert bytes(Packing(compressed=True).unpack(frame, size, "key")) == data


def test_opening_a_store_reads_one_object(tmp_path: Path) -> None:
    fill(str(tmp_path / "x.zarr"), "keys", songs(KEYS))
    found = files(tmp_path / "x.zarr")
    group = json.loads(found["zarr.json"].read_bytes())
    documents = together.documents_of(group)
    assert documents == {name: json.loads(found[f"{name}/zarr.json"].read_bytes()) for name in ("000001", "000002")}
    alone = json.loads(together.alone(found["zarr.json"].read_bytes()))
    assert alone == {name: value for name, value in group.items() if name != together.KEY}
    for name in ("000001", "000002"):
        found[f"{name}/zarr.json"].unlink()
    with store.open_reader(str(tmp_path / "x.zarr")) as reader:
        assert_same(list(reader), songs(KEYS), "keys")
    assert zarr.open_group(str(tmp_path / "x.zarr"), mode="r")["000002"].attrs["title"] == "Lied Ä1"


def test_metadata_of_too_many_songs_is_not_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musigan.store.together.MAX_BYTES", 2000)
    content = songs(KEYS, 4)
    fill(str(tmp_path / "x.zarr"), "keys", content)
    assert together.KEY not in json.loads((tmp_path / "x.zarr" / "zarr.json").read_bytes())
    assert_same(items(tmp_path / "x.zarr"), content, "keys")


@pytest.mark.parametrize("value", [None, 5, {"kind": "inline"}, {"kind": "inline", "metadata": {"000001": 7}}])
def test_odd_metadata_together_is_left_aside(value: object, tmp_path: Path) -> None:
    fill(str(tmp_path / "x.zarr"), "keys", songs(KEYS))
    path = tmp_path / "x.zarr" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), together.KEY: value}))
    assert_same(items(tmp_path / "x.zarr"), songs(KEYS), "keys")


def test_the_format_is_of_the_bytes_not_of_the_music(tmp_path: Path) -> None:
    assert replace(HEADERS["keys"], format=PACKED) == HEADERS["keys"]

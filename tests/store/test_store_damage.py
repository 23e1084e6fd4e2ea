"""Stores that are not well: every one is refused in one line, without a hang and without much memory."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from musigan import store
from musigan.errors import MusiganError, StoreError
from musigan.store import layout
from tests.stores import HEADERS, SHAPES, archive, assert_same, fill, items, songs, zipped

Edit = Callable[[dict[str, Any]], None]


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def unzipped(contents: dict[str, bytes], folder: Path) -> None:
    """The same as a store in a folder."""
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    document = json.loads(contents["zarr.json"])
    document["attributes"]["musigan"]["items"] = sum(name.endswith("/zarr.json") for name in contents)
    (folder / "zarr.json").write_text(json.dumps(document))


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def refused(data: bytes, folder: Path, match: str | None = None) -> None:
    """Neither from a pipe nor from a file, in any order or from front to back; one line that names the store."""
    path = folder / "damaged.zip"
    path.write_bytes(data)
    for source, in_order in ((data, True), (path, False), (path, True)):
        with pytest.raises(StoreError, match=match) as caught:
            items(source, in_order)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 700
        assert message.startswith("store: " if source is data else f"{path}: ")


def edited(key: str, edit: Edit) -> dict[str, bytes]:
    contents = entries(archive())
    document = json.loads(contents[key])
    edit(document)
    contents[key] = json.dumps(document).encode()
    return contents


def setting(path: str, value: object) -> Edit:
    def edit(document: Any) -> None:
        *parents, last = path.split(".")
        for name in parents:
            document = document[int(name) if isinstance(document, list) else name]
        document[last] = value

    return edit


# -- what is not a store ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"PK",
        b"dear diary, today\n" * 9,
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(99),
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    refused(data, tmp_path)


def test_other_zips_are_refused(tmp_path: Path) -> None:
    refused(zipped({"letter.txt": b"dear"}), tmp_path, "not a store")
    refused(zipped({"zarr.json": b"dear"}), tmp_path, "not JSON")
    refused(zipped({"zarr.json": b"[1]"}), tmp_path, "not Zarr version 3")
    refused(zipped({"zarr.json": b'{"zarr_format": 2}'}), tmp_path, "not Zarr version 3")
    refused(zipped({"zarr.json": b'{"zarr_format": 3, "node_type": "group"}'}), tmp_path, "not a musigan store")
    refused(zipped({"zarr.json": b'{"zarr_format": 3, "node_type": "array"}'}), tmp_path, "not a musigan store")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    zarr.create_group(tmp_path / "two", zarr_format=2)
    zarr.create_group(tmp_path / "three", zarr_format=3)
    (tmp_path / "odd" / "zarr.json").mkdir(parents=True)
    for name, match in (("empty", "missing"), ("two", "missing"), ("three", 'no "musigan"'), ("odd", "cannot be read")):
        with pytest.raises(StoreError, match=match) as caught:
            store.open_reader(str(tmp_path / name))
        assert str(caught.value).startswith(str(tmp_path / name))
        if name != "odd":
            with pytest.raises(StoreError, match=match):
                store.open_reader(f"file://{tmp_path}/{name}")


@pytest.mark.parametrize("url", ["nonsense://x", "memory://nowhere", "file:///nonexistent/x.zarr"])
def test_urls_that_lead_nowhere(url: str) -> None:
    with pytest.raises(MusiganError, match=url.split(":")[0]):
        store.open_reader(url)


def test_a_file_system_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("memory://failing/x.zarr", "keys", songs((2, 2, 1, 4, 3)))

    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("token expired")

    with store.open_reader("memory://failing/x.zarr") as reader:
        monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat", fail)
        with pytest.raises(StoreError, match=r"failing/x\.zarr: 000001/c/0/0/0/0/0 cannot be read.*token expired"):
            reader.read("000001")


# -- another kind, a newer format, settings and shapes that do not fit ----------------------------------------------


def test_wrong_kind_names_both_and_the_tool(tmp_path: Path) -> None:
    data = archive("pairs", (3, 2, 2, 7))
    (tmp_path / "p.zip").write_bytes(data)
    for source in (io.BytesIO(data), str(tmp_path / "p.zip")):
        with pytest.raises(StoreError, match="store of pairs, expected keys, as npy-to-keys writes it"):
            store.open_reader(source, ("keys",))
    with pytest.raises(StoreError, match=r"standard input: .* expected waveform, as mp3-to-npy"):
        store.open_reader(io.BytesIO(data), ("waveform",), "standard input")
    assert store.open_reader(io.BytesIO(data), ("waveform", "pairs")).kind == "pairs"


M = "attributes.musigan"


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (f"{M}.format", 3, "format 3, this musigan reads up to 2: update"),
        (f"{M}.format", "1", "format '1'"),
        (f"{M}.format", True, "format True"),
        (f"{M}.kind", "midi", "unknown kind of store 'midi'"),
        (f"{M}.kind", ["keys"], "unknown kind"),
        (f"{M}.kind", {"x" * 9999: "y" * 9999}, "unknown kind"),
        (M, "keys", "unknown kind"),
        (M, None, "unknown kind"),
        (f"{M}.chunk_seconds", 0, "chunk_seconds is 0"),
        (f"{M}.chunk_seconds", 1e308, "chunk_seconds"),
        (f"{M}.chunk_seconds", 10**400, "chunk_seconds"),
        (f"{M}.chunk_seconds", float("nan"), "chunk_seconds is nan"),
        (f"{M}.chunk_seconds", float("inf"), "chunk_seconds is inf"),
        (f"{M}.chunk_seconds", "10", "chunk_seconds is '10'"),
        (f"{M}.chunk_seconds", None, "chunk_seconds is None"),
        (f"{M}.chunk_seconds", 3, "3 frames, the store's settings give 6"),
        (f"{M}.frame_seconds", 1e-308, "frame_seconds"),
        (f"{M}.frame_seconds", True, "frame_seconds is True"),
        (f"{M}.sample_rate", -1, "sample_rate is -1"),
        (f"{M}.sample_rate", None, "sample_rate is None"),
        (f"{M}.low_key", 41, "4 keys, the store's settings give 3"),
        (f"{M}.low_key", 99, "keys run from 99 to 43"),
        (f"{M}.low_key", None, "keys run from None"),
        (f"{M}.high_key", 10**30, "keys run from 40"),
        ("node_type", "array", 'no "musigan" attribute'),
        ("zarr_format", 2, "not Zarr version 3"),
    ],
)
def test_group_metadata(path: str, value: object, match: str, tmp_path: Path) -> None:
    contents = edited("zarr.json", setting(path, value))
    refused(zipped(contents), tmp_path, match)


ODD = [float("nan"), float("inf"), -1, 10**400, 1e308, True, None, "x", [], [1], [float("nan")], {"a": float("nan")}]


@pytest.mark.parametrize("name", ["expected", "items", "overlap", "band", "tool", "tracks", "new"])
@pytest.mark.parametrize("kind", ["waveform", "keys"])
def test_values_that_nothing_is_computed_with_are_carried_on_or_refused(kind: str, name: str) -> None:
    shape = {"waveform": (2, 23), "keys": (2, 2, 1, 4, 3)}[kind]
    whole = entries(archive(kind, shape))
    for value in ODD:
        document = json.loads(whole["zarr.json"])
        document["attributes"]["musigan"][name] = value
        contents = {**whole, "zarr.json": json.dumps(document).encode()}
        try:
            reader = store.open_reader(io.BytesIO(zipped(contents)), name="odd")
        except StoreError:
            continue
        expected = reader.header.expected
        assert expected is None or 0 <= expected <= 10_000_000
        with store.write(io.BytesIO(), reader.header) as writer:  # as every filter does
            for item in reader:
                writer.add(item.array, item.dimension_names, item.song)


GRID = "chunk_grid.configuration.chunk_shape"


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("shape", [2, 2, 1, 4], "add up"),
        ("shape", [2, 2, 1, 5, 3], "5 keys"),
        ("shape", [2, 3, 1, 4, 3], "3 part"),
        ("shape", [2, 2, 1, 4, 30], "30 frames"),
        ("shape", [0, 2, 1, 4, 3], "add up"),
        ("shape", [-2, 2, 1, 4, 3], "add up"),
        ("shape", [2.0, 2, 1, 4, 3], "lacks what"),
        ("shape", ["2", 2, 1, 4, 3], "lacks what"),
        ("shape", "22143", "lacks what"),
        ("shape", None, "lacks what"),
        ("shape", [10**4000] * 5, "add up"),
        ("shape", [1] * 100_000, "add up"),
        ("shape", [1 << 40, 2, 1, 4, 3], "add up"),
        ("shape", [1 << 28, 2, 1, 4, 3], "more than a song can have"),
        ("shape", [500_000, 2, 1, 4, 3], "lacks|should come"),
        ("shape", [3, 2, 1, 4, 3], "lacks|should come"),
        ("shape", [1, 2, 1, 4, 3], "no part of it|should come"),
        (GRID, [1, 2, 1, 4], "add up"),
        (GRID, [0, 2, 1, 4, 3], "add up"),
        (GRID, [1, 2, 1, 4, 1 << 32], "more than a song can have"),
        (GRID, [1, 2, 1, 4, 1 << 20], "gives another size"),
        (GRID, [2, 2, 1, 4, 3], "gives another size|no part of it"),
        (GRID, [1, 2, 1, 4, 1], "lacks|gives another size"),
        ("dimension_names", ["chunks", "channels", "keys", "frames"], "add up"),
        ("dimension_names", ["pairs", "part", "channels", "frames", "keys"], "a keys store has"),
        ("dimension_names", [["x"] * 999] * 5, "a keys store has"),
        ("dimension_names", None, "lacks what"),
        ("data_type", "float64", "not used here"),
        ("data_type", "object", "not used here"),
        ("data_type", {"name": "x" * 9999}, "not used here"),
        ("data_type", "float32", "gives another size"),
        ("codecs", [], "lacks what"),
        ("codecs", [{"name": "sharding_indexed", "configuration": {}}], "lacks what"),
        ("codecs", [{"name": "bytes"}, {"name": "gzip"}], "stored with bytes, gzip"),
        ("codecs", [{"name": 5}], "stored with 5"),
        ("codecs", ["bytes"], "lacks what"),
        ("codecs.0.configuration.endian", "big", "little-endian"),
        ("chunk_key_encoding.name", "v2", "not used here"),
        ("chunk_grid.name", "rectilinear", "not used here"),
        ("node_type", "group", "not used here"),
        ("attributes", [], "not used here"),
        ("attributes.level", "loud", "level 'loud'"),
        ("attributes.seconds", "long", "lasts 'long' seconds"),
        ("attributes.seconds", 0, "lasts 0 seconds"),
        ("attributes.level", float("nan"), "level nan"),
        ("attributes.level", -1, "level -1"),
        ("attributes.starts", [0.0], "1 starts for 2"),
        ("attributes.starts", [0.0, 1e300], "starts at"),
        ("attributes.starts", [0.0, float("nan")], "starts at"),
        ("attributes.starts", "00", "starts at"),
        ("attributes.starts", [0.0, 3700.0], "3703 s from .* gaps"),
        ("attributes.level", 10**400, "level 1000"),
        ("attributes.level", 1e300, "level 1e"),
        ("zarr_format", 2, "not Zarr version 3"),
    ],
)
def test_item_metadata(path: str, value: object, match: str, tmp_path: Path) -> None:
    contents = edited("000001/zarr.json", setting(path, value))
    data = zipped(contents)
    with little_memory():
        refused(data, tmp_path, match)
    unzipped(contents, tmp_path / "x.zarr")
    if value != [1, 2, 1, 4, 3]:  # a block too many in a folder is never looked at
        with little_memory(), pytest.raises(StoreError):
            items(tmp_path / "x.zarr")


def test_a_thousand_million_blocks_cost_nothing() -> None:
    info = store.ItemInfo("000001", (10**9, 4), "int16", (1, 2), ("channels", "samples"), store.Song())
    with little_memory():
        keys = info.block_keys()
        assert [next(keys)[0] for _ in range(3)] == ["000001/c/0/0", "000001/c/0/1", "000001/c/1/0"]


def test_more_than_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    refused(archive(), tmp_path, "more than fits into memory")


@pytest.mark.parametrize("key", ["zarr.json", "000001/zarr.json"])
@pytest.mark.parametrize(
    "data",
    [b"[" * 1_000_000, b'{"a":' * 800_000, b"[" + b"[]," * 400_000 + b"[]]", b"1" * 5000, b"\xff\xfe", b"\0"],
)
def test_metadata_bombs(key: str, data: bytes, tmp_path: Path) -> None:
    contents = entries(archive())
    contents[key] = data
    refused(zipped(contents), tmp_path, "is not JSON|not Zarr")


@pytest.mark.parametrize("key", ["zarr.json", "000001/zarr.json"])
def test_metadata_of_a_gibibyte_is_not_read(key: str, tmp_path: Path) -> None:
    contents = entries(archive())
    contents[key] += b" " * layout.MAX_METADATA_BYTES
    data = zipped(contents)
    with little_memory():
        refused(data, tmp_path, "claims|too many")
    unzipped(contents, tmp_path / "x.zarr")
    (tmp_path / "x.zarr" / key).write_bytes(b"")
    os.truncate(tmp_path / "x.zarr" / key, 1 << 30)
    with little_memory(), pytest.raises(StoreError, match="too large"):
        items(tmp_path / "x.zarr")


@pytest.mark.parametrize("count", [None, "2", 2.0, -1, True, 10**9, 3])
def test_folders_that_count_wrong(count: object, tmp_path: Path) -> None:
    fill(f"{tmp_path}/x.zarr", "keys", songs((2, 2, 1, 4, 3)))
    document = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())
    document["attributes"]["musigan"]["items"] = count
    (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match=r"items|missing"):
        store.open_reader(f"{tmp_path}/x.zarr")


# -- blocks that are missing, too many, in another order, damaged ---------------------------------------------------


def test_each_entry_is_needed(tmp_path: Path) -> None:
    contents = entries(archive())
    for key in contents:
        refused(zipped({name: data for name, data in contents.items() if name != key}), tmp_path)
        folder = tmp_path / key.replace("/", "-")
        unzipped(contents, folder)
        (folder / key).unlink()
        with pytest.raises(StoreError, match=f"{key} is missing"):
            items(folder)


def test_entries_too_many(tmp_path: Path) -> None:
    contents = entries(archive())
    for key in ("000002/c/9/0/0/0/0", "000002/c/0", "000003/c/0/0/0/0/0", "000004/zarr.json", "notes", "a/zarr.json"):
        refused(zipped({**contents, key: b""}), tmp_path, "no part of it|should come|missing|lacks")


def test_wrong_order_in_a_stream() -> None:
    contents = list(entries(archive()).items())
    for first in range(len(contents) - 1):
        swapped = [*contents[:first], contents[first + 1], contents[first], *contents[first + 2 :]]
        with pytest.raises(StoreError, match=r"should come|first entry"):
            items(zipped(dict(swapped)))


def test_blocks_of_wrong_size(tmp_path: Path) -> None:
    contents = entries(archive())
    key = "000001/c/1/0/0/0/0"
    for data in (b"", contents[key][:-1], contents[key] + b"\0"):
        refused(zipped({**contents, key: data}), tmp_path, f"block {key} has {len(data)} bytes")
        unzipped({**contents, key: data}, tmp_path / "x.zarr")
        with pytest.raises(StoreError, match=r"missing or empty|gives another size"):
            items(tmp_path / "x.zarr")


def test_a_cut_at_every_byte_is_found(tmp_path: Path) -> None:
    data = archive("waveform", (2, 14), 1)
    path = tmp_path / "cut.zip"
    path.write_bytes(data)
    for length in reversed(range(len(data))):
        with pytest.raises(StoreError):
            items(data[:length])
        os.truncate(path, length)
        for in_order in (False, True):
            with pytest.raises(StoreError):
                items(path, in_order)


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for in_order in (False, True):
        path.write_bytes(archive(count=3))
        with store.open_reader(str(path), in_order=in_order) as reader:
            found = iter(reader)
            next(found)
            os.truncate(path, 2000)
            with pytest.raises(StoreError, match=f"{path}: the store was cut short"):
                list(found)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_comes_twice(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, data in entries(archive()).items():
            for _ in range(1 + (name == "000002/c/1/0/0/0/0")):
                zipped.writestr(name, data)
    refused(file.getvalue(), tmp_path, "twice|should come")


def test_two_stores_one_after_the_other(tmp_path: Path) -> None:
    refused(archive() + archive(), tmp_path, "two stores")


def test_every_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """Of every byte one bit: the items are what they were, or there is an error."""
    data = archive("waveform", (2, 14), 1)
    whole = songs((2, 14), 1)
    path = tmp_path / "flipped.zip"
    path.write_bytes(data)
    harmless = 0
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position * 5 % 8)
        with path.open("r+b") as file:
            file.write(flipped)
        for source, in_order in ((bytes(flipped), True), (path, False), (path, True)):
            try:
                assert_same(items(source, in_order), whole, "waveform")
                harmless += 1
            except StoreError:
                pass
    # Padding, dates, versions and attributes of files: the less, the better the test.
    assert harmless / 3 < 0.35 * len(data)


def test_a_stream_that_breaks_off_after_an_item(tmp_path: Path) -> None:
    """The item that was whole comes out; the end is an error all the same."""
    data = archive()
    start = data.index(b"000002/zarr.json")
    found = []
    with pytest.raises(StoreError, match="cut short"):  # noqa: PT012
        for item in store.open_reader(io.BytesIO(data[: start + 9])):
            found.append(item)
    assert [item.name for item in found] == ["000001"]


def test_reading_stops_at_the_first_damaged_block_of_a_file(tmp_path: Path) -> None:
    data = bytearray(archive())
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        place = file.getinfo("000002/c/1/0/0/0/0").header_offset
    data[data.index(b"PK", place + 60) - 1] ^= 1  # the last byte of that block
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with store.open_reader(str(path)) as reader:
        np.testing.assert_array_equal(reader.read("000001"), songs((2, 2, 1, 4, 3))[0][0])
        reader.block("000002", 0)
        for read in (lambda: reader.block("000002", 1), lambda: reader.read("000002")):
            with pytest.raises(StoreError, match="000002/c/1/0/0/0/0 has a wrong checksum"):
                read()


# -- kill -9 --------------------------------------------------------------------------------------------------------

WRITER = """
import sys, time
from musigan import store
from tests.stores import HEADERS, dimensions, songs
target = sys.argv[1]
with store.write(sys.stdout.buffer if target == "-" else target, HEADERS["keys"]) as writer:
    for array, song in songs((2, 2, 1, 4, 3), 2):
        writer.add(array, dimensions("keys", array), song)
    print("ready", file=sys.stderr, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("where", ["pipe", "file", "folder", "url"])
def test_kill_9_leaves_nothing_that_passes_for_a_store(where: str, tmp_path: Path) -> None:
    name = {"pipe": "-", "file": "x.zip", "folder": "x.zarr", "url": f"file://{tmp_path}/x.zarr"}[where]
    output = (tmp_path / "x.zip").open("wb") if where == "pipe" else None
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, name if where in ("pipe", "url") else str(tmp_path / name)],
        stdout=output, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    if output:
        output.close()
    left = list(tmp_path.iterdir())
    assert left
    for path in left:
        with pytest.raises(StoreError, match=r"cut short|zarr\.json is missing"):
            items(path)
        with pytest.raises(Exception):  # noqa: B017, PT011  zarr has its own errors
            zarr.open_group(zarr.storage.ZipStore(path, mode="r") if path.is_file() else path, mode="r")
    if where == "url":
        with pytest.raises(StoreError, match=r"zarr\.json is missing"):
            store.open_reader(name)
    # The same output can be written now, and then stands alone but for what the dead process left aside.
    target = f"file://{tmp_path}/x.zarr" if where == "url" else str(tmp_path / ("x.zip" if where == "pipe" else name))
    fill(target, "keys", songs((2, 2, 1, 4, 3)))
    assert_same(items(target), songs((2, 2, 1, 4, 3)), "keys")


def test_all_shapes_are_covered_by_headers() -> None:
    assert {kind for kind, _ in SHAPES} == set(layout.DIMENSIONS) == set(HEADERS)

"""Stores that are well: the same items come back from every place, and plain Zarr reads and writes them."""

from __future__ import annotations

import io
import json
import os
import threading
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from zarr.codecs import GzipCodec, ZstdCodec
from zarr.storage import FsspecStore, LocalStore, ZipStore

from musigan import store
from musigan.errors import MusiganError, StoreError, UsageError
from musigan.store import Song
from tests.stores import HEADERS, SHAPES, Songs, archive, assert_same, dimensions, fill, items, songs

PLACES = ["stream", "file", "folder", "url"]
TEXT = st.text(max_size=12)


def place(kind: str, folder: Path) -> str:
    name = uuid.uuid4().hex
    return {"file": f"{folder}/{name}.zip", "folder": f"{folder}/{name}.zarr", "url": f"memory://{name}/x.zarr"}[kind]


def there_and_back(where: str, folder: Path, kind: str, content: Songs) -> list[store.Item]:
    if where == "stream":
        file = io.BytesIO()
        fill(file, kind, content)
        return items(file.getvalue())
    target = place(where, folder)
    fill(target, kind, content)
    return items(target)


@st.composite
def any_songs(draw: st.DrawFn) -> tuple[str, Songs]:
    kind = draw(st.sampled_from(["waveform", "pairs", "keys"]))
    dtype = np.dtype(draw(st.sampled_from(["float16", "float32", "int16"])))
    first, channels = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shapes = {
        "waveform": [(channels, draw(st.integers(1, 33)))],
        "pairs": [(first, 2, channels, 7)],
        "keys": [(first, 2, channels, 4, 3), (first, channels, 4, 3)],
    }
    content = []
    for shape in draw(st.lists(st.sampled_from(shapes[kind]), max_size=3)):
        song = Song(title=draw(TEXT), artist=draw(TEXT), level=draw(st.floats(0, 9)))
        content.append((draw(hnp.arrays(dtype, shape)), song))
    return kind, content


@given(any_songs())
@settings(max_examples=25)
@pytest.mark.parametrize("where", PLACES)
def test_round_trip(where: str, tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, Songs]) -> None:
    kind, content = drawn
    assert_same(there_and_back(where, tmp_path_factory.getbasetemp(), kind, content), content, kind)


@pytest.mark.parametrize("where", PLACES)
def test_values_that_are_no_numbers_and_zeros_stay(where: str, tmp_path: Path) -> None:
    array = np.zeros((2, 1, 4, 3), np.float16)
    array[1, 0, 1] = [np.nan, -np.inf, -0.0]
    (found,) = there_and_back(where, tmp_path, "keys", [(array, Song())])
    assert found.array.tobytes() == array.tobytes()


def test_arrays_of_any_layout(tmp_path: Path) -> None:
    plain = songs((2, 2, 1, 4, 3))[0][0]
    for array in (np.asfortranarray(plain), plain.astype(">f2"), np.repeat(plain, 2, axis=0)[::2]):
        (found,) = there_and_back("file", tmp_path, "keys", [(array, Song())])
        np.testing.assert_array_equal(found.array, plain)
        assert found.array.dtype == np.dtype("<f2")


def test_through_a_pipe_item_by_item() -> None:
    """The second tool has song 1 before the first tool has begun song 2."""
    read_end, write_end = os.pipe()
    content = songs((2, 23), 3)
    first_arrived = threading.Event()
    waited = []

    def produce() -> None:
        with os.fdopen(write_end, "wb") as pipe, store.write(pipe, HEADERS["waveform"]) as writer:
            for array, song in content:
                writer.add(array, ("channels", "samples"), song)
                waited.append(first_arrived.wait(10))

    thread = threading.Thread(target=produce)
    thread.start()
    found = []
    with os.fdopen(read_end, "rb") as pipe:
        for item in store.open_reader(pipe):
            found.append(item)
            first_arrived.set()
    thread.join()
    assert all(waited)
    assert_same(found, content, "waveform")


def test_from_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert not store.exists(str(path))
    thread = threading.Thread(target=fill, args=(str(path), "pairs", songs((3, 2, 2, 7))))
    thread.start()
    assert_same(items(path), songs((3, 2, 2, 7)), "pairs")
    thread.join()
    assert path.is_fifo()


def test_the_null_device_is_written_not_replaced() -> None:
    assert not store.exists(os.devnull)
    fill(os.devnull, "pairs", songs((3, 2, 2, 7)))
    assert Path(os.devnull).is_char_device()


def test_a_full_disk_is_an_error() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full on this machine")
    with pytest.raises(OSError, match="space"):
        fill("/dev/full", "pairs", songs((3, 2, 2, 7)))


def test_a_pipe_is_read_once() -> None:
    reader = store.open_reader(io.BytesIO(archive()))
    assert len(list(reader)) == 2
    with pytest.raises(UsageError, match="once"):
        list(reader)
    for refused in (lambda: reader.read("000001"), lambda: reader.block("000001", 0), reader.infos):
        with pytest.raises(UsageError, match="front to back"):
            refused()


@pytest.mark.parametrize("where", PLACES[1:])
@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_random_access(where: str, kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    content = songs(shape)
    target = place(where, tmp_path)
    fill(target, kind, content)
    with store.open_reader(target) as reader:
        assert reader.kind == kind
        assert replace(reader.header, items=None, tool={}) == HEADERS[kind]
        assert [info.shape for info in reader.infos()] == [array.shape for array, _ in content]
        for name, (array, _) in zip(("000001", "000002"), content, strict=True):
            np.testing.assert_array_equal(reader.read(name), array)
            for index in range(len(array)):
                np.testing.assert_array_equal(reader.block(name, index), array[index : index + 1])
            for index in (-1, len(array)):
                with pytest.raises(IndexError):
                    reader.block(name, index)


def test_blocks_of_a_file_are_memory_maps(tmp_path: Path) -> None:
    target = str(tmp_path / "x.zip")
    fill(target, "keys", songs((2, 2, 1, 4, 3)))
    block = store.open_reader(target).block("000002", 1)
    assert not block.flags.owndata
    assert not block.flags.writeable


def test_the_same_input_gives_the_same_bytes() -> None:
    assert archive() == archive()


def test_more_than_999999_items_have_names() -> None:
    assert [store.item_name(number) for number in (1, 999999, 1000000)] == ["000001", "999999", "1000000"]


def test_spooled(tmp_path: Path) -> None:
    with store.spool(io.BytesIO(archive())) as path:
        assert len(items(path)) == 2
    assert not Path(path).exists()


def opened(where: str, target: str) -> zarr.Group:
    if where == "file":
        return zarr.open_group(ZipStore(target, mode="r"), mode="r")
    if where == "folder":
        return zarr.open_group(LocalStore(target, read_only=True), mode="r")
    return zarr.open_group(FsspecStore.from_url(target, read_only=True), mode="r")


@pytest.mark.parametrize("where", PLACES[1:])
@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_plain_zarr_reads_ours(where: str, kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    content = songs(shape)
    target = place(where, tmp_path)
    fill(target, kind, content)
    group = opened(where, target)
    header = dict(group.attrs)["musigan"]
    written = {name: header[name] for name in ("tool", "format")}
    assert header.items() >= (HEADERS[kind].to_attributes() | written).items()
    assert sorted(group.array_keys()) == ["000001", "000002"]
    for name, (array, song) in zip(("000001", "000002"), content, strict=True):
        found = group[name]
        assert isinstance(found, zarr.Array)
        np.testing.assert_array_equal(found[...], array)
        assert found.metadata.dimension_names == dimensions(kind, array)  # type: ignore[union-attr]
        assert dict(found.attrs) == song.to_attributes()


def by_zarr(target: Any, blocks: tuple[int, ...], **options: Any) -> np.ndarray:
    array = songs((5, 2, 1, 4, 3))[0][0]
    header = replace(HEADERS["keys"], items=1).to_attributes()
    group = zarr.create_group(target, attributes={"musigan": header})
    created = group.create_array(
        "000001",
        shape=array.shape,
        chunks=blocks,
        dtype=array.dtype,
        dimension_names=dimensions("keys", array),
        **options,
    )
    created[...] = array
    return array


@pytest.mark.parametrize(
    ("blocks", "packed"),
    [
        ((1, 2, 1, 4, 3), {"compressors": None}),
        ((2, 2, 1, 4, 3), {"compressors": None}),
        ((2, 1, 1, 3, 2), {"compressors": None}),
        ((2, 2, 1, 4, 3), {"compressors": ZstdCodec()}),
        ((1, 2, 1, 4, 3), {"compressors": ZstdCodec(), "shards": (3, 2, 1, 4, 3)}),
        ((2, 2, 1, 4, 3), {"compressors": None, "shards": (4, 2, 1, 4, 3)}),
    ],
)
@pytest.mark.parametrize("where", PLACES)
def test_ours_reads_plain_zarr(where: str, blocks: tuple[int, ...], packed: dict[str, Any], tmp_path: Path) -> None:
    target = place("file" if where == "stream" else where, tmp_path)
    options = {**packed, "config": {"write_empty_chunks": True}}
    if where in ("file", "stream"):
        with ZipStore(target, mode="w") as zipped:
            array = by_zarr(zipped, blocks, **options)
    else:
        array = by_zarr(target, blocks, **options)
    if where == "stream" and packed["compressors"] is None:  # else zarr writes blocks in any order
        (found,) = items(Path(target).read_bytes())
        np.testing.assert_array_equal(found.array, array)
        return
    with store.open_reader(target, in_order=True) as reader:
        np.testing.assert_array_equal(next(iter(reader)).array, array)
    with store.open_reader(target) as reader:
        np.testing.assert_array_equal(reader.read("000001"), array)
        for index in range(5):
            np.testing.assert_array_equal(reader.block("000001", index), array[index : index + 1])


@pytest.mark.parametrize("where", ["file", "folder"])
def test_other_codecs_of_plain_zarr_are_refused(where: str, tmp_path: Path) -> None:
    target = place(where, tmp_path)
    options = {"compressors": GzipCodec()}
    if where == "file":
        with ZipStore(target, mode="w") as zipped:
            by_zarr(zipped, (1, 2, 1, 4, 3), **options)
    else:
        by_zarr(target, (1, 2, 1, 4, 3), **options)
    with pytest.raises(StoreError, match="bytes, gzip; a store's blocks are plain"):
        store.open_reader(target)


def test_stores_are_read_in_order(tmp_path: Path) -> None:
    """Of a file the directory is not held in memory."""
    content, path = songs((2, 2, 1, 4, 3), 3), tmp_path / "x.zip"
    fill(str(path), "keys", content)
    with store.open_reader(str(path), in_order=True) as reader:
        with pytest.raises(UsageError):
            reader.infos()
        assert_same(list(reader), content, "keys")
    with store.open_reader(str(path), in_order=True) as reader:
        assert [item.song for item in reader.chosen(lambda info: info.name == "000002")] == [content[1][1]]
    with store.open_reader(str(path)) as reader:
        assert len(reader.infos()) == 3


def test_a_folder_zipped_without_compression_is_a_store(tmp_path: Path) -> None:
    content = songs((2, 2, 1, 4, 3))
    folder = tmp_path / "x.zarr"
    fill(str(folder), "keys", content)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            zipped.write(file, file.relative_to(folder))
    assert_same(items(tmp_path / "x.zip"), content, "keys")
    with store.open_reader(str(tmp_path / "x.zip"), in_order=True) as reader:  # though its entries are in another order
        assert_same(list(reader), content, "keys")


# -- writing: whole or not at all ---------------------------------------------------------------------------------


class Trouble(Exception):
    pass


def interrupted(target: str | io.BytesIO, after: int) -> None:
    content = songs((2, 2, 1, 4, 3), 3)
    with store.write(target, HEADERS["keys"]) as writer:
        for array, song in content[:after]:
            writer.add(array, dimensions("keys", array), song)
        raise Trouble


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_exception_leaves_nothing(after: int, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for where in ("file", "folder"):
        with pytest.raises(Trouble):
            interrupted(place(where, folder), after)
        assert not list(folder.iterdir())
    for url in (place("url", folder), f"file://{folder}/x.zarr"):
        with pytest.raises(Trouble):
            interrupted(url, after)
        assert not list(fsspec.get_mapper(url))
        assert not store.exists(url)
        with pytest.raises(StoreError):
            store.open_reader(url)
    file = io.BytesIO()
    with pytest.raises(Trouble):
        interrupted(file, after)
    with pytest.raises(StoreError, match="cut short"):
        items(file.getvalue())


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    for where in ("file", "folder"):
        target = place(where, tmp_path)
        fill(target, "keys", songs((2, 2, 1, 4, 3)))
        with pytest.raises(Trouble):
            interrupted(target, 1)
        assert_same(items(target), songs((2, 2, 1, 4, 3)), "keys")
    assert len(list(tmp_path.iterdir())) == 2


def make(what: str, path: Path) -> None:
    if what == "text":
        path.write_text("old")
    elif what == "zip":
        path.write_bytes(archive("pairs", (3, 2, 2, 7), 3))
    elif what == "zarr":
        fill(str(path.with_suffix(".tmp.zarr")), "pairs", songs((3, 2, 2, 7), 3))
        path.with_suffix(".tmp.zarr").rename(path)
    elif what == "empty folder":
        path.mkdir()
    elif what == "link to a folder":
        elsewhere = path.with_name("elsewhere")
        make("zarr", elsewhere)
        path.symlink_to(elsewhere)
    elif what == "dangling link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize("name", ["x.zarr", "x.zip"])
@pytest.mark.parametrize("old", ["text", "zip", "zarr", "empty folder", "link to a folder", "dangling link"])
def test_replacing_leaves_exactly_the_new_one(name: str, old: str, tmp_path: Path) -> None:
    target = tmp_path / name
    make(old, target)
    others = {path.name for path in tmp_path.iterdir()}
    assert store.exists(str(target))
    fill(str(target), "keys", songs((2, 2, 1, 4, 3)))
    assert_same(items(target), songs((2, 2, 1, 4, 3)), "keys")
    assert target.is_dir() == (name == "x.zarr")
    assert not target.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == others
    if old == "link to a folder":
        assert len(items(tmp_path / "elsewhere")) == 3


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_replacing_behind_a_url_leaves_exactly_the_new_one(scheme: str, tmp_path: Path) -> None:
    url = place("url", tmp_path) if scheme == "memory" else f"file://{tmp_path}/x.zarr"
    fill(url, "pairs", songs((3, 2, 2, 7), 3))
    assert store.exists(url)
    fill(url, "keys", songs((2, 2, 1, 4, 3)))
    assert_same(items(url), songs((2, 2, 1, 4, 3)), "keys")
    assert not [key for key in fsspec.get_mapper(url) if key.startswith("000003")]


@pytest.mark.parametrize("name", ["Music", "Music.zarr", "url"])
def test_a_folder_of_other_things_is_never_replaced(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "song.mp3").write_text("dear to me")
    target = f"file://{folder}" if name == "url" else str(folder)
    assert store.exists(target)
    with pytest.raises(UsageError, match=r"song\.mp3"):
        fill(target, "keys", songs((2, 2, 1, 4, 3)))
    assert (folder / "song.mp3").read_text() == "dear to me"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(list(folder.iterdir())) == 1


def test_what_lies_beside_a_store_behind_a_url_stays(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/x.zarr"
    fill(url, "pairs", songs((3, 2, 2, 7), 3))
    (tmp_path / "x.zarr" / "README.txt").write_text("dear to me")
    with pytest.raises(Trouble):
        interrupted(url, 1)
    assert [path.name for path in (tmp_path / "x.zarr").iterdir()] == ["README.txt"]


@pytest.mark.parametrize("ending", [".zip", ".zarr"])
@pytest.mark.parametrize("letter", ["n", "漢"])
def test_the_longest_names(letter: str, ending: str, tmp_path: Path) -> None:
    name = letter * ((255 - len(ending)) // len(letter.encode())) + ending
    for _ in range(2):
        fill(str(tmp_path / name), "keys", songs((2, 2, 1, 4, 3)))
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_remains_of_a_killed_process_of_the_same_number(tmp_path: Path) -> None:
    for name in ("x.zarr", "x.zip"):
        aside = tmp_path / f".{name}.partial-{os.getpid()}"
        if name == "x.zarr":
            (aside / "000009").mkdir(parents=True)
        else:
            aside.write_text("remains")
        fill(str(tmp_path / name), "keys", songs((2, 2, 1, 4, 3)))
        assert len(items(tmp_path / name)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"x.zarr", "x.zip"}
    assert not (tmp_path / "x.zarr" / "000009").exists()


def test_a_seal_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "link", full)
    for name in ("x.zarr", "x.zip"):
        with pytest.raises(OSError, match=f"space.*{name}"):
            fill(str(tmp_path / name), "keys", songs((2, 2, 1, 4, 3)))
    assert not list(tmp_path.iterdir())


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        fill(f"{tmp_path}/no/x.zip", "keys", [])


@pytest.mark.parametrize(
    ("kind", "shape", "error"),
    [
        ("keys", (2, 2, 1, 5, 3), "5 keys, the store's settings give 4"),
        ("keys", (2, 2, 1, 4, 2), "2 frames, the store's settings give 3"),
        ("keys", (2, 3, 1, 4, 3), "3 part"),
        ("pairs", (3, 2, 2, 6), "6 samples, the store's settings give 7"),
        ("pairs", (0, 2, 2, 7), "empty"),
        ("waveform", (2, 0), "empty"),
    ],
)
def test_shapes_that_do_not_fit_are_not_written(kind: str, shape: tuple[int, ...], error: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=error):
        fill(f"{tmp_path}/x.zip", kind, [(np.zeros(shape, np.float16), Song())])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("about", [{"level": np.nan}, {"level": "loud"}, {"starts": (0.0,)}, {"starts": (0, -1)}])
def test_attributes_that_do_not_fit_are_not_written(about: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        fill(f"{tmp_path}/x.zip", "keys", [(songs((2, 2, 1, 4, 3))[0][0], Song(**about))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", [{"chunk_seconds": 0.0}, {"frame_seconds": 0.0}, {"low_key": 0}])
def test_headers_that_lack_something_are_not_written(missing: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="None"):
        store.write(f"{tmp_path}/x.zip", replace(HEADERS["keys"], **missing))
    assert not list(tmp_path.iterdir())


def test_headers_go_on_without_what_a_place_added(tmp_path: Path) -> None:
    """`items` belongs to folders; a tool that hands its input's header on must not carry a wrong count along."""
    fill(f"{tmp_path}/x.zarr", "keys", songs((2, 2, 1, 4, 3)))
    header = store.open_reader(f"{tmp_path}/x.zarr").header
    assert header.items == 2
    with store.write(f"{tmp_path}/x.zip", header):
        pass
    with zipfile.ZipFile(tmp_path / "x.zip") as zipped:
        assert "items" not in json.loads(zipped.read("zarr.json"))["attributes"]["musigan"]


@pytest.fixture(autouse=True, scope="module")
def _empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MusiganError, match="no such file"):
        store.open_reader(f"{tmp_path}/x.zip")

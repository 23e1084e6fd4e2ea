"""The framing: round trips, other people's ZIPs, and every way to damage an archive."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import pytest
import stream_unzip
import stream_zip
from hypothesis import example, given
from hypothesis import strategies as st

from musigan.errors import StoreError
from musigan.store import zipstream
from tests.stores import zipped

NAMES = st.from_regex(r"[a-zäé漢][a-z0-9ö .\-]{0,8}(/[a-z0-9]{1,5}){0,3}", fullmatch=True)
CONTENTS = st.dictionaries(NAMES, st.binary(max_size=300), max_size=6)
SMALL = {"zarr.json": b'{"a": 1}', "000001/zarr.json": b"", "000001/c/0/0": bytes(range(70)), "x": b"\0" * 9}


def streamed(data: bytes | IO[bytes]) -> dict[str, bytes]:
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    return {entry.name: content for entry, content in zipstream.read_entries(file)}


def mapped(data: bytes) -> dict[str, bytes]:
    view = memoryview(data)
    return {
        e.name: bytes(zipstream.entry_data(view, e, check=True)) for e in zipstream.read_directory(io.BytesIO(data))
    }


def refused(data: bytes, match: str | None = None) -> None:
    for read in (streamed, mapped):
        with pytest.raises(StoreError, match=match):
            read(data)


@given(CONTENTS)
@example({"big": bytes((1 << 20) + 1), "after": b"1"})
@example({})
def test_what_is_written_is_read_by_us_and_by_others(contents: dict[str, bytes]) -> None:
    archive = zipped(contents)
    assert streamed(archive) == mapped(archive) == contents
    assert list(streamed(archive)) == list(contents)
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == contents
    if contents:
        unzipped = stream_unzip.stream_unzip(archive[i : i + 61] for i in range(0, len(archive), 61))
        assert {name.decode(): b"".join(pieces) for name, _, pieces in unzipped} == contents


def test_data_is_aligned_for_memory_maps() -> None:
    for length in range(1, 70):
        archive = zipped({"n" * length: b"data", "other": b"more"})
        for entry, needle in zip(zipstream.read_directory(io.BytesIO(archive)), (b"data", b"more"), strict=True):
            assert archive.index(needle, entry.offset) % 64 == 0


@pytest.mark.parametrize("buffering", [0, -1], ids=["raw", "buffered"])
def test_a_pipe_that_delivers_odd_pieces(buffering: int) -> None:
    archive = zipped({**SMALL, "big": random.Random(1).randbytes(300_000)})
    read_end, write_end = os.pipe()

    def trickle() -> None:
        sizes = random.Random(2)
        with os.fdopen(write_end, "wb", 0) as file:
            position = 0
            while position < len(archive):
                step = sizes.choice((1, 2, 3, 7, 63, 4097, 65536))
                file.write(archive[position : position + step])
                position += step

    thread = threading.Thread(target=trickle)
    thread.start()
    with os.fdopen(read_end, "rb", buffering) as file:
        contents = streamed(file)
    thread.join()
    assert contents == mapped(archive)


def test_an_entry_comes_out_before_the_next_is_written() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as target:
        writer = zipstream.EntryWriter(target)
        entries = zipstream.read_entries(source)
        for name in ("a", "b"):
            writer.add(name, name.encode() * 5)
            writer.flush()
            assert next(entries)[1] == name.encode() * 5
        writer.finish()
        target.close()
        assert next(entries, None) is None


def test_cut_at_every_byte() -> None:
    archive = zipped(SMALL)
    for length in range(len(archive)):
        refused(archive[:length])


def test_every_bit_flip_is_found_or_harmless() -> None:
    archive = zipped({"a/zarr.json": b"{}", "b": b"123456789"})
    whole = mapped(archive)
    for position in range(len(archive)):
        for bit in range(8):
            damaged = bytearray(archive)
            damaged[position] ^= 1 << bit
            for read in (streamed, mapped):
                with suppress(StoreError):
                    assert read(bytes(damaged)) == whole, (position, bit)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 400))
def test_noise_anywhere_raises_nothing_else(noise: bytes, start: int, end: int) -> None:
    archive = zipped({"zarr.json": b"{}", "a": b"12"})
    damaged = archive[:start] + noise + archive[max(start, end) :]
    for read in (streamed, mapped):
        try:
            found = read(damaged)
        except StoreError:
            continue
        assert found == {"zarr.json": b"{}", "a": b"12"}


def test_trailing_bytes_and_two_stores_in_one_stream() -> None:
    archive = zipped(SMALL)
    refused(archive + b"\0")
    refused(archive + b"\n")
    refused(archive + archive, "two stores|names more entries|come")
    refused(b"\0" + archive)
    refused(archive[:-2] + b"\x05\0hello")  # a ZIP comment
    with pytest.raises(StoreError, match="cat"):
        streamed(archive + archive)


def test_an_archive_that_begins_later_is_refused() -> None:
    file = io.BytesIO(b"#!/bin/sh\n")
    file.seek(0, io.SEEK_END)
    writer = zipstream.EntryWriter(file)
    writer._position = file.tell()
    writer.add("a", b"data")
    writer.finish()
    assert zipfile.ZipFile(file).read("a") == b"data"
    refused(file.getvalue(), "begin")


def by_zipfile(contents: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in contents:
            archive.writestr(name, data)
    return file.getvalue()


def test_stored_zips_of_others_are_read() -> None:
    archive = by_zipfile(SMALL.items())
    assert streamed(archive) == mapped(archive) == SMALL
    members = (
        (name, datetime(2020, 1, 2), 0o600, stream_zip.NO_COMPRESSION_32(len(data), zipfile.crc32(data)), (data,))
        for name, data in SMALL.items()
    )
    archive = b"".join(stream_zip.stream_zip(members))
    assert mapped(archive) == SMALL


class Unseekable(io.BytesIO):
    """What zipfile takes for a pipe: it then writes data descriptors."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation


def test_deflated_and_data_descriptors_and_encrypted_are_refused() -> None:
    refused(by_zipfile([("a", b"1" * 99)], zipfile.ZIP_DEFLATED), "method 8")
    file = Unseekable()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"12345")
    refused(file.getvalue(), "flags 0x8")
    locked = bytearray(zipped({"a": b"123"}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    refused(bytes(locked), "flags 0x1")


def renamed(name: bytes) -> bytes:
    return zipped({"q" * len(name): b"data"}).replace(b"q" * len(name), name)


@pytest.mark.parametrize(
    "name",
    [b"/etc/passwd", b"../x", b"a/../b", b"a/./b", b"a//b", b"a/", b"a\\b", b"a\0b", b"a\nb", b"\x1b[2J", b"\xff"],
)
def test_names_that_are_no_plain_path_are_refused(name: bytes) -> None:
    refused(renamed(name), "entry name")
    if name != b"\xff":
        with pytest.raises(StoreError, match="entry name"):
            zipstream.EntryWriter(io.BytesIO()).add(name.decode(), b"")


def test_names_too_long_are_refused() -> None:
    with pytest.raises(StoreError, match="entry name"):
        zipped({"n" * 513: b""})
    refused(by_zipfile([("n" * 513, b"")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_refused() -> None:
    refused(by_zipfile([("a", b"1"), ("a", b"1")]), "twice")


def test_wrong_checksum_is_refused() -> None:
    refused(zipped({"a": b"data"}).replace(b"data", b"dada"), "checksum")


def test_a_name_that_differs_between_entry_and_directory_is_refused() -> None:
    archive = zipped({"abc": b"data"})
    refused(archive.replace(b"abc", b"abd", 1), "other entries|differs from its record")


def test_size_that_lies_costs_no_memory() -> None:
    archive = bytearray(zipped({"a": b"data"}))
    for offset in (18, 22):
        struct.pack_into("<I", archive, offset, zipstream.MAX_ENTRY_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="cut short"):
            streamed(bytes(archive))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_limit_by_name() -> None:
    archive = zipped({"a": b"12345", "b": b"123456"})
    with pytest.raises(StoreError, match="b claims 6 bytes, the limit is 5"):
        list(zipstream.read_entries(io.BytesIO(archive), lambda name: 5))


def test_too_large_an_entry_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipstream, "MAX_ENTRY_BYTES", 10)
    with pytest.raises(StoreError, match="smaller blocks"):
        zipped({"a": b"12345678901"})


def test_count_that_lies_costs_no_time() -> None:
    archive = bytearray(zipped({"a": b"data"}))
    end = len(archive) - 22
    struct.pack_into("<HH", archive, end + 8, 60000, 60000)
    refused(bytes(archive))


@pytest.mark.parametrize("count", [65534, 65535])
def test_zip64_for_many_entries(count: int, tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with path.open("wb") as file:
        writer = zipstream.EntryWriter(file)
        for number in range(count):
            writer.add(f"{number}", b"")
        writer.finish()
    archive = path.read_bytes()
    assert (zipstream._END64_MAGIC in archive[-98:]) == (count >= 65535)
    assert len(zipstream.read_directory(io.BytesIO(archive))) == count
    if count == 65535:  # every byte of the 64-bit end counts, but for two version fields
        with path.open("rb") as file:
            assert sum(1 for _ in zipstream.read_entries(file)) == count
        assert len(zipfile.ZipFile(path).namelist()) == count
        for position in {*range(len(archive) - 98, len(archive))} - {*range(len(archive) - 86, len(archive) - 82)}:
            damaged = bytearray(archive)
            damaged[position] ^= 4
            with pytest.raises(StoreError):
                zipstream.read_directory(io.BytesIO(damaged))


class Discarding(io.RawIOBase):
    """A file that keeps the small writes and forgets the large ones, but for where each began: 5 GiB fit anywhere."""

    def __init__(self) -> None:
        self.small = b""
        self.large_offsets: list[int] = []
        self.position = 0

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if view.nbytes < 4096:
            self.small += bytes(view)
        else:
            self.large_offsets.append(self.position)
        self.position += view.nbytes
        return view.nbytes


def test_zip64_for_offsets_beyond_4_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of every entry is aligned and the directory says where, on both sides of 4 GiB and across it."""
    file = Discarding()
    writer = zipstream.EntryWriter(file)  # type: ignore[arg-type]
    monkeypatch.setattr(zipstream.zlib, "crc32", lambda data: len(data))
    largest = memoryview(bytes((1 << 28) + 80))
    blocks = [largest[: (1 << 28) + 5 * number] for number in range(17)]  # each ends elsewhere between multiples of 64
    for number, block in enumerate(blocks):
        writer.add("big" * (number + 1), block)
    writer.add("last", b"12345")
    writer.finish()
    headers = [zipstream._LOCAL.size + 3 * (number + 1) + 4 for number in range(17)]  # bytes, without the padding
    offsets, position = [], 0
    for header, block, data_offset in zip(headers, blocks, file.large_offsets, strict=True):
        offsets.append(position)
        assert data_offset % 64 == 0
        assert position + header <= data_offset < position + header + 64
        position = data_offset + len(block)
    offsets.append(position)
    assert offsets[15] < 1 << 32 < offsets[16]
    start = file.small.index(b"PK\x01\x02")
    directory = io.BytesIO(file.small[start:])
    entries = []
    while directory.read(4) == b"PK\x01\x02":
        entries.append(zipstream._central_record(directory)[0])
    assert [entry.offset for entry in entries] == offsets
    _, size, tail = zipstream._read_directory(io.BytesIO(file.small[start + 4 :]), b"PK\x01\x02", 99)
    assert zipstream._parse_end(tail) == (18, size, file.position - size - len(tail))
    assert (file.position - size - len(tail) - 5) % 64 == 0  # the last entry's data, beyond 4 GiB


def test_zip64_small_through_all_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipstream, "_MAX32", 200)  # as if 200 bytes were 4 GiB
    archive = zipped(SMALL)
    assert zipstream._END64_MAGIC in archive
    assert streamed(archive) == mapped(archive) == SMALL
    for length in range(len(archive)):
        refused(archive[:length])
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "nothing came in|cut short"),
        (b"PK", "cut short"),
        (b"\xff\xd8\xff\xe0 a picture, no store, long enough to have an end", "not a store|cut short"),
        (b"RIFF" + bytes(100), "not a store|cut short"),
        (b"PK\x01\x02" + bytes(100), None),
    ],
)
def test_other_files(data: bytes, match: str | None) -> None:
    refused(data, match)

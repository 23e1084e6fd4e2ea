r"""The ZIP format of a store on a pipe: stored (uncompressed) entries, written and read from front to back.

Every entry carries its size and CRC in its local header, so a reader needs no seek; the archive ends with an
ordinary central directory, so the same bytes saved to a file open in any ZIP reader. The directory proves that a
stream is complete: a program that dies never writes it, and `read_entries` requires it.

    PK\3\4 header name padding data | PK\3\4 ... | PK\1\2 directory ... | PK\5\6 end

Data starts at multiples of 64 bytes (padding in an extra field), so that a saved entry can be memory-mapped.
Format: PKWARE APPNOTE 6.3.10, the subset named above.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from musigan.errors import StoreError

ALIGNMENT = 64
MAX_ENTRY_BYTES = 1 << 30
MAX_DIRECTORY_BYTES = 1 << 30
MAX_NAME_BYTES = 512
READ_BYTES = 1 << 20

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_TAIL64_BYTES = _END64.size + _LOCATOR64.size + _END.size
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64_MAGIC, _LOCATOR64_MAGIC = b"PK\x06\x06", b"PK\x06\x07"
_EXTRA_PADDING, _EXTRA_ZIP64 = 0xD935, 0x0001  # 0xD935: the padding field of Android's zipalign
_VERSION, _VERSION64 = 20, 45
_DATE = (1 << 5) | 1  # 1 January 1980: the same input gives the same bytes on any day
_UTF8_FLAG = 0x0800
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_UNSAFE = ("", ".", "..")


@dataclass(frozen=True)
class Entry:
    """One stored file of the archive; `offset` is where its local header begins, in bytes."""

    name: str
    size: int
    crc: int
    offset: int


class EntryWriter:
    """A writer of entries to a buffered binary file object, which may be a pipe. Complete only after `finish`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._position = 0
        self._directory = bytearray()  # in its encoded form: a fifth of the memory of a list of entries
        self._count = 0

    def add(self, name: str, data: bytes | memoryview) -> None:
        """Append one entry of at most 1 GiB, under a new, plain relative name. Raises StoreError for others."""
        size = memoryview(data).nbytes
        if size > MAX_ENTRY_BYTES:
            raise StoreError(f"entry {name} has {size} bytes, more than {MAX_ENTRY_BYTES}: use smaller blocks")
        encoded = name.encode()
        _safe_name(encoded)
        entry = Entry(name, size, zlib.crc32(data), self._position)
        header_bytes = _LOCAL.size + len(encoded)
        # An extra field is at least 4 bytes long, so a gap of less than that takes one more alignment step.
        padding = (-(self._position + header_bytes + 4)) % ALIGNMENT
        extra = struct.pack("<HH", _EXTRA_PADDING, padding) + bytes(padding)
        header = _LOCAL.pack(
            _LOCAL_MAGIC, _VERSION, _flags(name), 0, 0, _DATE, entry.crc, size, size, len(encoded), len(extra)
        )  # fmt: skip
        self._file.write(header + encoded + extra)
        self._file.write(data)
        self._position += header_bytes + len(extra) + size
        self._directory += _directory_record(entry)
        self._count += 1

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        """Write the central directory, which completes the archive."""
        size, count, start = len(self._directory), self._count, self._position
        end = b""
        if count >= _MAX16 or start + size >= _MAX32:
            end += _END64.pack(
                _END64_MAGIC, _END64.size - 12, _VERSION64, _VERSION64, 0, 0, count, count, size, start
            )  # fmt: skip
            end += _LOCATOR64.pack(_LOCATOR64_MAGIC, 0, start + size, 1)
        end += _END.pack(
            _END_MAGIC, 0, 0, min(count, _MAX16), min(count, _MAX16), min(size, _MAX32), min(start, _MAX32), 0
        )  # fmt: skip
        self._file.write(self._directory)
        self._file.write(end)
        self._file.flush()


def _flags(name: str) -> int:
    return 0 if name.isascii() else _UTF8_FLAG


def _directory_record(entry: Entry) -> bytes:
    encoded = entry.name.encode()
    extra = b"" if entry.offset < _MAX32 else struct.pack("<HHQ", _EXTRA_ZIP64, 8, entry.offset)
    return (
        _CENTRAL.pack(
            _CENTRAL_MAGIC, _VERSION64 if extra else _VERSION, _VERSION64 if extra else _VERSION, _flags(entry.name),
            0, 0, _DATE, entry.crc, entry.size, entry.size, len(encoded), len(extra), 0, 0, 0, 0,
            min(entry.offset, _MAX32),
        )
        + encoded
        + extra
    )  # fmt: skip


def read_entries(
    file: IO[bytes], limit: Callable[[str], int] = lambda name: MAX_ENTRY_BYTES, names_are_checked: bool = False
) -> Iterator[tuple[Entry, bytes]]:
    """Yield every entry with its data, in order, from a file object that need not seek and may be unbuffered.

    `limit` returns the largest size in bytes of an entry with a given name. Memory holds one entry, and all names, as
    none may come twice, unless `names_are_checked` by the caller, who knows which one comes next.

    Raises StoreError at the first bytes that do not belong to such an archive, and at the end unless a directory
    follows that lists exactly the entries that were read, with nothing after it.
    """
    position = count = 0
    entries_hash = hashlib.blake2b()  # of all entries; a list of them would grow with the store
    names: set[str] = set()
    magic = file.read(4)
    if not magic:
        raise StoreError("nothing came in: the tool before this one failed, or the file is empty")
    magic += _read_exactly(file, 4 - len(magic))
    while magic == _LOCAL_MAGIC:
        entry, header_bytes = _local_header(file, position)
        if entry.size > limit(entry.name):
            raise StoreError(f"entry {entry.name} claims {entry.size} bytes, the limit is {limit(entry.name)}")
        if entry.name in names:
            raise StoreError(f"entry {entry.name} comes twice: the store is damaged")
        data = _read_exactly(file, entry.size)
        if zlib.crc32(data) != entry.crc:
            raise StoreError(f"entry {entry.name} has a wrong checksum: the store is damaged")
        if not names_are_checked:
            names.add(entry.name)
        entries_hash.update(_record_key(entry))
        count += 1
        position += header_bytes + entry.size
        yield entry, data
        magic = _read_exactly(file, 4)
    if magic not in (_CENTRAL_MAGIC, _END_MAGIC):
        raise StoreError(f"not a store: found {magic!r} where a ZIP entry or the directory should begin")
    # Read the directory to the end of the stream and compare it with the entries that were read.
    directory_digest, size, tail = _read_directory(file, magic, count)
    if directory_digest != entries_hash.digest():
        raise StoreError("the store's directory lists other entries than were read: the store is damaged")
    if _parse_end(tail) != (count, size, position):
        raise StoreError("the end of the store does not agree with its entries: the store is damaged")
    if file.read(1):
        raise StoreError("there are bytes after the end of the store: two stores cannot be put together with cat")


def _record_key(entry: Entry) -> bytes:
    return f"{entry.name}\0{entry.size}\0{entry.crc}\0{entry.offset}\n".encode()


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    """Read exactly `size` bytes. Raises StoreError where the file ends before.

    Reads in pieces, so that a false size costs no memory. Only an empty read is the end of a stream.
    """
    data = file.read(min(size, READ_BYTES)) or b""
    if len(data) == size:
        return data
    buffer = bytearray(data)
    while len(buffer) < size and (piece := file.read(min(READ_BYTES, size - len(buffer)))):
        buffer += piece
    if len(buffer) == size:
        return bytes(buffer)
    raise StoreError("the store was cut short: the tool that wrote it did not finish, or the copy is incomplete")


def _safe_name(encoded: bytes) -> str:
    try:
        name = encoded.decode()
    except UnicodeDecodeError:
        raise StoreError(f"entry name {encoded!r} is not UTF-8") from None
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or len(encoded) > MAX_NAME_BYTES or any(p in _UNSAFE for p in parts):
        raise StoreError(f"entry name {name!r} is not a plain relative path")
    return name


def _local_header(file: IO[bytes], offset: int) -> tuple[Entry, int]:
    fields = _LOCAL.unpack(_LOCAL_MAGIC + _read_exactly(file, _LOCAL.size - 4))
    _, _, flags, method, _, _, crc, packed_size, size, name_bytes, extra_bytes = fields
    _check_plain(flags, method, packed_size, size, name_bytes)
    name = _safe_name(_read_exactly(file, name_bytes))
    _read_exactly(file, extra_bytes)
    return Entry(name, size, crc, offset), _LOCAL.size + name_bytes + extra_bytes


def _check_plain(flags: int, method: int, packed: int, size: int, name_bytes: int) -> None:
    if flags & ~_UTF8_FLAG or method != 0 or packed != size or size == _MAX32 or not 0 < name_bytes <= MAX_NAME_BYTES:
        raise StoreError(
            f"found a ZIP entry with flags {flags:#x} and method {method}; a store has uncompressed entries only "
            "(use zip -0, or write it with the tools)"
        )


def _central_record(file: IO[bytes]) -> tuple[Entry, int]:
    """Read one directory record after its magic; return its entry and its length in bytes."""
    fields = _CENTRAL.unpack(_CENTRAL_MAGIC + _read_exactly(file, _CENTRAL.size - 4))
    flags, method, crc, packed_size, size, name_bytes, extra_bytes, comment_bytes = (*fields[3:5], *fields[7:13])
    _check_plain(flags, method, packed_size, size, name_bytes)
    name = _safe_name(_read_exactly(file, name_bytes))
    extra = _read_exactly(file, extra_bytes)
    _read_exactly(file, comment_bytes)
    offset = fields[16]
    if offset == _MAX32:
        offset = _zip64_offset(extra)
    return Entry(name, size, crc, offset), _CENTRAL.size + name_bytes + extra_bytes + comment_bytes


def _zip64_offset(extra: bytes) -> int:
    while len(extra) >= 4:
        identifier, size = struct.unpack_from("<HH", extra)
        if identifier == _EXTRA_ZIP64 and size == 8 and len(extra) >= 12:
            return int(struct.unpack_from("<Q", extra, 4)[0])
        extra = extra[4 + size :]
    raise StoreError("the store's directory lacks a 64-bit offset: the store is damaged")


def _read_directory(file: IO[bytes], magic: bytes, limit: int) -> tuple[bytes, int, bytes]:
    """Read all directory records; return their digest, their size in bytes, and the end record of the archive.

    Raises StoreError for more than `limit` records.
    """
    records_hash = hashlib.blake2b()
    count = size = 0
    while magic == _CENTRAL_MAGIC:
        if count >= limit:
            raise StoreError("the store's directory lists more entries than were read: the store is damaged")
        entry, record_bytes = _central_record(file)
        records_hash.update(_record_key(entry))
        count += 1
        size += record_bytes
        magic = _read_exactly(file, 4)
    if magic == _END64_MAGIC:
        return records_hash.digest(), size, magic + _read_exactly(file, _TAIL64_BYTES - 4)
    if magic == _END_MAGIC:
        return records_hash.digest(), size, magic + _read_exactly(file, _END.size - 4)
    raise StoreError("the store's directory is damaged")


def _parse_end(tail: bytes) -> tuple[int, int, int]:
    """Return number of entries, size and offset of the directory, all from the end record.

    64-bit records may precede it. Raises StoreError where they are damaged.
    """
    magic, disk, start_disk, on_disk, count, size, offset, comment = _END.unpack(tail[-_END.size :])
    is_valid = magic == _END_MAGIC and not disk and not start_disk and not comment and on_disk == count
    if len(tail) > _END.size:
        fields32 = (count, size, offset)
        magic, length, _, _, disk, start_disk, on_disk, count, size, offset = _END64.unpack_from(tail)
        is_valid &= (magic, length, disk, start_disk, on_disk) == (_END64_MAGIC, _END64.size - 12, 0, 0, count)
        is_valid &= _LOCATOR64.unpack_from(tail, _END64.size) == (_LOCATOR64_MAGIC, 0, offset + size, 1)
        limits = zip(fields32, (count, size, offset), (_MAX16, _MAX32, _MAX32), strict=True)
        is_valid &= all(value in (full, limit) for value, full, limit in limits)
    if not is_valid:
        raise StoreError("the end of the store is damaged")
    return count, size, offset


def directory_entries(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the entries that the directory of a complete archive lists, in its order; memory holds one of them.

    Stricter than other ZIP readers: the archive must start at byte 0 and end with its end record. Raises StoreError
    for a file that was cut short, for two stores in one file and for a damaged directory; whether an entry comes twice
    is not known here.
    """
    length = file.seek(0, os.SEEK_END)
    tail = _tail(file, length, _TAIL64_BYTES)
    if length < _END.size or tail[-_END.size :][:4] != _END_MAGIC:
        tail = _tail(file, length, READ_BYTES)
        end = tail.rfind(_END_MAGIC)
        if end >= 0 and len(tail) > end + _END.size:
            raise StoreError(f"there are {len(tail) - end - _END.size} bytes after the end of the store: cut them off")
        raise StoreError("the store was cut short: the tool that wrote it did not finish, or the copy is incomplete")
    is64 = length >= _TAIL64_BYTES and tail[-_END.size - _LOCATOR64.size :][:4] == _LOCATOR64_MAGIC
    tail_bytes = _TAIL64_BYTES if is64 else _END.size
    count, size, offset = _parse_end(tail[-tail_bytes:])
    if offset + size != length - tail_bytes or size > MAX_DIRECTORY_BYTES or count * _CENTRAL.size > size:
        raise StoreError("the store's directory is not where it should be: damaged, or two stores in one file")
    file.seek(offset)
    lowest = length
    for _ in range(count):
        if _read_exactly(file, 4) != _CENTRAL_MAGIC:
            raise StoreError("the store's directory is damaged")
        entry, record_bytes = _central_record(file)
        lowest, size = min(lowest, entry.offset), size - record_bytes
        yield entry
    if size:
        raise StoreError("the store's directory is damaged")
    if count and lowest:
        raise StoreError("the store does not begin at the start of the file: damaged, or two stores in one file")


def _tail(file: IO[bytes], length: int, most: int) -> bytes:
    """Read the last bytes of a file of `length` bytes, `most` at most."""
    file.seek(max(length - most, 0))
    return _read_exactly(file, min(length, most))


def read_directory(file: IO[bytes]) -> list[Entry]:
    """Return what `directory_entries` yields. Raises StoreError where an entry comes twice."""
    entries = list(directory_entries(file))
    if len({entry.name for entry in entries}) != len(entries):
        raise StoreError("an entry comes twice: the store is damaged")
    return entries


def read_entry(descriptor: int, entry: Entry, check: bool = False) -> memoryview:
    """Read the bytes of an entry of an archive in an open file, as `entry_data` does."""
    header = os.pread(descriptor, _LOCAL.size, entry.offset)
    if len(header) == _LOCAL.size:
        size = _LOCAL.size + sum(_LOCAL.unpack(header)[-2:]) + entry.size
        if os.fstat(descriptor).st_size >= entry.offset + size:
            return entry_data(memoryview(os.pread(descriptor, size, entry.offset)), replace(entry, offset=0), check)
    raise StoreError(f"the store was cut short: entry {entry.name} is not all there")


def entry_data(buffer: memoryview, entry: Entry, check: bool = False) -> memoryview:
    """Return the bytes of an entry of an archive in memory, not copied; `check` compares the checksum.

    Raises StoreError where the entry and the directory differ.
    """
    start = entry.offset + _LOCAL.size
    if start > len(buffer) or bytes(buffer[entry.offset : entry.offset + 4]) != _LOCAL_MAGIC:
        raise StoreError(f"entry {entry.name} does not begin where the directory puts it: the store is damaged")
    _, _, flags, method, _, _, crc, packed_size, size, name_bytes, extra_bytes = _LOCAL.unpack(
        buffer[entry.offset : start]
    )
    _check_plain(flags, method, packed_size, size, name_bytes)
    name = bytes(buffer[start : start + name_bytes])
    start += name_bytes + extra_bytes
    data = buffer[start : start + entry.size]
    if name != entry.name.encode() or (crc, size, len(data)) != (entry.crc, entry.size, entry.size):
        raise StoreError(f"entry {entry.name} differs from its record in the directory: the store is damaged")
    if check and zlib.crc32(data) != entry.crc:
        raise StoreError(f"entry {entry.name} has a wrong checksum: the store is damaged")
    return data


class At(io.RawIOBase):
    """The file of a descriptor, read at a place of its own, whoever else reads the descriptor elsewhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._position = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place from the file's beginning or end, in bytes."""
        self._position = offset + (os.fstat(self._descriptor).st_size if whence == os.SEEK_END else 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the file goes; return with how many bytes."""
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

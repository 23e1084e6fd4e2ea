"""The metadata of all items of a store within that of its group, so that opening it reads one object.

This is what zarr calls consolidated metadata: whoever changes an item's attributes afterwards must have zarr write it
anew (`zarr.consolidate_metadata`), or leave it out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

MAX_BYTES = 128 << 20  # of some 30,000 songs of two minutes; readers hold all of it
_MEMORY_BYTES = 4 << 20  # above which it lies on the disk until the store is complete
_PIECE_BYTES = 1 << 20
KEY = "consolidated_metadata"
_HEAD = f',"{KEY}":{{"kind":"inline","must_understand":false,"metadata":{{'.encode()


class Together:
    """The metadata documents of items, in the order in which they came."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115  closed by `within`, or with the sink
        self._bytes = 0

    def add(self, name: str, data: bytes | memoryview) -> None:
        """Take the metadata of item `name`, as it is stored."""
        if self._bytes <= MAX_BYTES:
            document = json.dumps(json.loads(bytes(data)), separators=(",", ":"))
            line = f"{',' if self._bytes else ''}{json.dumps(name)}:{document}".encode()
            self._bytes += len(line)
            if self._bytes <= MAX_BYTES:
                self._file.write(line)

    @property
    def is_full(self) -> bool:
        """Whether they are too many to be written together."""
        return self._bytes > MAX_BYTES

    def within(self, group: bytes) -> bytes:
        """Return the group's metadata with that of the items; as it was where they are too many."""
        return b"".join(self.pieces(group))

    def pieces(self, group: bytes) -> Iterator[bytes]:
        """Yield what `within` returns, piece by piece."""
        with self._file as file:
            if self._bytes > MAX_BYTES:
                yield group
                return
            file.seek(0)
            end = group.rindex(b"}")
            yield group[:end].rstrip() + _HEAD
            while piece := file.read(_PIECE_BYTES):
                yield piece
            yield b"}}" + group[end:]


def alone(group: bytes | memoryview) -> bytes:
    """Return the group's metadata as it was before `within`, without parsing that of the items."""
    data = bytes(group)
    begin = data.find(_HEAD)
    return data if begin < 0 else data[:begin] + b"}"


def is_ours(group: bytes | memoryview) -> bool:
    """Return whether a group's metadata holds those of items as `within` puts them there."""
    return _HEAD in bytes(group)


def each_document(group: bytes | memoryview) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the items' names and documents that `within` put there, one at a time: all take ten times their text.

    Raises ValueError where they are not JSON.
    """
    text, parse = str(group, "utf-8"), json.JSONDecoder().raw_decode
    position = text.index(_HEAD.decode()) + len(_HEAD)
    while text.startswith('"', position):
        name, position = parse(text, position)
        if not text.startswith(":", position):
            raise ValueError("a name without a value")
        document, position = parse(text, position + 1)
        if isinstance(document, dict) and document.get("zarr_format") == 3:
            yield name, document
        position += text.startswith(",", position)
    if "".join(text[position:].split()) != "}}}":
        raise ValueError("what follows is no end")


def documents_of(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata documents of items that a group's holds, by name; {} where it holds none."""
    found = group.get(KEY)
    documents = found.get("metadata") if isinstance(found, dict) and found.get("kind") == "inline" else None
    if not isinstance(documents, dict):
        return {}
    return {name: each for name, each in documents.items() if isinstance(each, dict) and each.get("zarr_format") == 3}

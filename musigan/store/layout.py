"""The metadata of a store and its strict parser: inconsistent metadata is refused before any data is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from reprlib import repr as shown  # shortens long values: the metadata of a damaged store may hold anything
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan.errors import StoreError
from musigan.store import together, zipstream
from musigan.store.header import StoreHeader
from musigan.store.packing import Packing
from musigan.store.song import Song, check_gaps

ATTRIBUTE = "musigan"
DIMENSIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "waveform": (("channels", "samples"),),
    "pairs": (("pairs", "part", "channels", "samples"),),
    "keys": (
        ("pairs", "part", "channels", "keys", "frames"),
        ("chunks", "channels", "keys", "frames"),
        ("pairs", "part", "tracks", "keys", "frames"),
        ("chunks", "tracks", "keys", "frames"),
    ),
}
DTYPES = ("float16", "float32", "int16")
MAX_METADATA_BYTES = 4 << 20  # ten hours of pairs that overlap by 90 % need 0.2 MB
MAX_ITEM_BYTES = 8 << 30
CHECKED_VALUES = 1 << 18  # looked at together: they fit the CPU cache, and all of an item's would double its memory

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ItemInfo:
    """The metadata of an item, known before its data is read; `blocks` is the shape of one block."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    blocks: tuple[int, ...]
    dimension_names: tuple[str, ...]
    song: Song
    packing: Packing = field(default=Packing(), compare=False)

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of what is stored under one key: a block, or a shard of several."""
        return (self.blocks[0] * max(self.packing.shard_blocks, 1), *self.blocks[1:])

    @property
    def title(self) -> str:
        """Title of the song, else its source, else the item's name."""
        return self.song.title_or_source or self.name

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of keys along each axis."""
        return tuple(-(-size // stored) for size, stored in zip(self.shape, self.stored, strict=True))

    def block_keys(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Yield each key of a block, or a shard of them, in the store and its slices of the array."""
        grid = self.grid
        # Not np.ndindex: it lists all indices first, and a damaged store may claim any number of blocks.
        for number in range(math.prod(grid)):
            index = [int(i) for i in np.unravel_index(number, grid)]
            place = tuple(
                slice(i * block, min((i + 1) * block, size))
                for i, block, size in zip(index, self.stored, self.shape, strict=True)
            )
            yield "/".join((self.name, "c", *map(str, index))), place


@dataclass(frozen=True)
class Item:
    """One song of a store: its array and its metadata."""

    info: ItemInfo
    array: Array

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def dimension_names(self) -> tuple[str, ...]:
        return self.info.dimension_names

    @property
    def song(self) -> Song:
        return self.info.song

    @property
    def title(self) -> str:
        return self.info.title


def item_name(number: int) -> str:
    """Return the name of item `number`, counted from 1: six digits."""
    return f"{number:06d}"


def parse_document(data: bytes | memoryview, key: str, most_bytes: int = MAX_METADATA_BYTES) -> dict[str, Any]:
    """Parse the metadata document under `key`. Raises StoreError where it is not Zarr version 3 JSON."""
    if len(data) > most_bytes:
        raise StoreError(f"{key} has {len(data)} bytes, too many for metadata: the store is damaged")
    try:
        document = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise StoreError(f"{key} is not JSON: the store is damaged") from None
    if not isinstance(document, dict) or document.get("zarr_format") != 3:
        raise StoreError(f"{key} is not Zarr version 3 metadata")
    return document


def parse_group(data: bytes | memoryview) -> StoreHeader:
    """Parse a group's zarr.json and return its header.

    Raises StoreError for an unknown kind or format, and for missing or impossible values.
    """
    return parse_root(data, MAX_METADATA_BYTES)[0]


def parse_root(data: bytes | memoryview, most_bytes: int) -> tuple[StoreHeader, Mapping[str, Any]]:
    """Parse a group's zarr.json of at most so many bytes; return its header, and the items' metadata that it holds.

    Raises StoreError as `parse_group` does.
    """
    document = parse_document(data, "zarr.json", most_bytes)
    attributes = document.get("attributes")
    if document.get("node_type") != "group" or not isinstance(attributes, dict) or ATTRIBUTE not in attributes:
        raise StoreError('not a musigan store: zarr.json has no "musigan" attribute')
    return StoreHeader.parse(attributes[ATTRIBUTE]), together.documents_of(document)


def each_of_root(data: bytes | memoryview, most_bytes: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the items' metadata that `parse_root` returns, one at a time where the group's are as they were written.

    Raises StoreError where they are not JSON, or too many bytes.
    """
    if len(data) > most_bytes or not together.is_ours(data):
        yield from parse_root(data, most_bytes)[1].items()
        return
    try:
        yield from together.each_document(data)
    except (ValueError, RecursionError):
        raise StoreError("zarr.json is not JSON: the store is damaged") from None


def parse_array(name: str, data: bytes | memoryview, header: StoreHeader) -> ItemInfo:
    """Parse the zarr.json of item `name` and check it against the group's `header`.

    Raises StoreError where it is incomplete, of a form that stores do not use, too large, or contradicts the header.
    """
    return info_of(name, parse_document(data, f"{name}/zarr.json"), header)


def info_of(name: str, document: Mapping[str, Any], header: StoreHeader) -> ItemInfo:
    """Return what the metadata document of item `name` says; raises StoreError as `parse_array` does."""
    try:
        shape = _whole_numbers(document["shape"])
        stored = _whole_numbers(document["chunk_grid"]["configuration"]["chunk_shape"])
        names = tuple(document["dimension_names"])
        dtype, attributes = document["data_type"], document.get("attributes", {})
        is_plain = (
            document["node_type"] == "array"
            and document["chunk_grid"]["name"] == "regular"
            and document["chunk_key_encoding"]["name"] == "default"
            and document["chunk_key_encoding"].get("configuration", {}).get("separator", "/") == "/"
            and not document.get("storage_transformers")
        )
        packing, blocks = Packing.parse(document["codecs"], stored)
    except StoreError as error:
        raise StoreError(f"{name} {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise StoreError(f"{name}/zarr.json lacks what a Zarr array needs: the store is damaged") from None
    if not is_plain or dtype not in DTYPES or not isinstance(attributes, dict):
        raise StoreError(f"{name} is a Zarr array of a form that is not used here ({shown(dtype)}); expected {DTYPES}")
    if not len(shape) == len(blocks) == len(names) <= 5 or not all(1 <= n <= MAX_ITEM_BYTES for n in shape + blocks):
        raise StoreError(f"{name} has shape {shown(shape)} in blocks of {shown(blocks)}: these do not add up")
    item_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if item_bytes > MAX_ITEM_BYTES or math.prod(stored) * np.dtype(dtype).itemsize > zipstream.MAX_ENTRY_BYTES:
        raise StoreError(f"{name} claims {item_bytes} bytes in blocks of {blocks}, more than a song can have")
    check_shape(name, shape, names, header)
    song = Song.parse(attributes, name, shape[0], header.kind)
    if song.starts:
        check_gaps(song.starts, header.chunk_seconds * (2 if names[0] == "pairs" else 1), name)
    return ItemInfo(name, shape, dtype, blocks, names, song, packing)


def _whole_numbers(values: object) -> tuple[int, ...]:
    """Return a JSON list of whole numbers as a tuple. Raises TypeError for anything else, true and false included."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError
    return tuple(values)


def check_shape(name: str, shape: tuple[int, ...], names: tuple[str, ...], header: StoreHeader) -> None:
    """Check an item's shape and dimension names against the group's header. Raises StoreError."""
    kind = header.kind
    if names not in DIMENSIONS[kind] or len(shape) != len(names):
        expected = " or ".join(str(list(dimensions)) for dimensions in DIMENSIONS[kind])
        raise StoreError(f"{name} has dimensions {shown(names)} of {shown(shape)}; a {kind} store has {expected}")
    if min(shape) < 1:
        raise StoreError(f"{name} is empty: its shape is {shape}")
    sizes = dict(zip(names, shape, strict=True))
    expected_sizes = {"part": 2}
    if kind == "pairs":
        expected_sizes["samples"] = round(header.chunk_seconds * header.sample_rate)
    if kind == "keys":
        expected_sizes["keys"] = header.key_count
        expected_sizes["frames"] = round(header.chunk_seconds / header.frame_seconds)
        if header.tracks:
            expected_sizes["tracks"] = len(header.tracks)
        if ("tracks" in names) != bool(header.tracks):
            raise StoreError(
                f"{name} has dimensions {shown(names)}; one is tracks in a store that lists its tracks, and in no other"
            )
    for dimension, size in expected_sizes.items():
        if sizes.get(dimension, size) != size:
            raise StoreError(f"{name} has {sizes[dimension]} {dimension}, the store's settings give {size}")


def holds_numbers(array: Array) -> bool:
    """Return whether an array holds neither NaN nor infinity."""
    values = array.reshape(-1)
    return all(_are_finite(values[first : first + CHECKED_VALUES]) for first in range(0, values.size, CHECKED_VALUES))


def _are_finite(values: Array) -> bool:
    if values.dtype == np.float16:  # by their exponents: NumPy's own way is forty times slower
        return not ((values.view(np.uint16) & 0x7C00) == 0x7C00).any()
    return bool(np.isfinite(values).all())


def decode_block(data: bytes | memoryview, info: ItemInfo, key: str) -> Array:
    """Return a stored block as an array of shape `info.blocks`, not copied unless it is compressed.

    Raises StoreError for a wrong size.
    """
    dtype = np.dtype(info.dtype).newbyteorder("<")
    size = math.prod(info.blocks) * dtype.itemsize
    plain = info.packing.unpack(data, size, key)
    if memoryview(plain).nbytes != size:
        raise StoreError(
            f"block {key} has {memoryview(plain).nbytes} bytes, its metadata gives another size: the store is damaged"
        )
    return np.frombuffer(plain, dtype).reshape(info.blocks)


def block_of_shard(data: bytes | memoryview, info: ItemInfo, key: str, number: int) -> Array:
    """Return block `number` of a shard as `decode_block` does."""
    block = info.packing.blocks_of(data, key)[number]
    if not block.nbytes:
        raise StoreError(f"{key} lacks its block {number}: the store is damaged")
    return decode_block(block, info, key)


def _place(data: bytes | memoryview, info: ItemInfo, key: str, target: Array) -> None:
    """Decode what is stored under a key, a block or a shard, into its part of an item.

    Zarr pads the last of a dimension to full size; only its beginning belongs to the item.
    """
    if not info.packing.shard_blocks:
        target[...] = decode_block(data, info, key)[tuple(slice(0, size) for size in target.shape)]
        return
    rows = info.blocks[0]
    for number, block in enumerate(info.packing.blocks_of(data, key)[: -(-len(target) // rows)]):
        if not block.nbytes:
            raise StoreError(f"{key} lacks its block {number}: the store is damaged")
        part = target[number * rows : (number + 1) * rows]
        part[...] = decode_block(block, info, key)[: len(part)]


def gather(info: ItemInfo, fetch: Callable[[str], bytes | memoryview]) -> Array:
    """Assemble one whole item from its blocks, fetched by their keys in order. Raises StoreError."""
    array: Array | None = None
    for key, place in info.block_keys():
        data = fetch(key)
        if array is None:  # only after the first block came: a false shape without data costs no memory
            try:
                array = np.empty(info.shape, info.dtype)
            except MemoryError:
                raise StoreError(f"{info.name} has shape {info.shape}: more than fits into memory") from None
        _place(data, info, key, array[place])
    assert array is not None
    return array

"""What a store's metadata says, parsed strictly: a store that does not add up is refused before its data is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan import zipstream
from musigan.errors import StoreError

FORMAT = 1
ATTRIBUTE = "musigan"
DIMENSIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "waveform": (("channels", "samples"),),
    "pairs": (("pairs", "part", "channels", "samples"),),
    "keys": (("pairs", "part", "channels", "keys", "frames"), ("chunks", "channels", "keys", "frames")),
}
DTYPES = ("float16", "float32", "int16")
MAX_METADATA_BYTES = 16 << 20
MAX_ITEM_BYTES = 8 << 30

Array = npt.NDArray[Any]
Attributes = dict[str, Any]


@dataclass(frozen=True)
class ItemInfo:
    """What is known of an item without reading its data; `blocks` is the shape of one block."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    blocks: tuple[int, ...]
    dimension_names: tuple[str, ...]
    attributes: Attributes

    def block_keys(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Yield each block's key in the store and its place in the array."""
        grid = [-(-size // block) for size, block in zip(self.shape, self.blocks, strict=True)]
        for index in np.ndindex(*grid):
            place = tuple(
                slice(i * block, min((i + 1) * block, size))
                for i, block, size in zip(index, self.blocks, self.shape, strict=True)
            )
            yield "/".join((self.name, "c", *map(str, index))), place


@dataclass(frozen=True)
class Item:
    """One song of a store: its array and what is said of it."""

    info: ItemInfo
    array: Array

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def dimension_names(self) -> tuple[str, ...]:
        return self.info.dimension_names

    @property
    def attributes(self) -> Attributes:
        return self.info.attributes


def item_name(number: int) -> str:
    """The name of the n-th item, counted from 1."""
    return f"{number:06d}"


def _parse_json(data: bytes | memoryview, key: str) -> dict[str, Any]:
    try:
        document = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise StoreError(f"{key} is not JSON: the store is damaged") from None
    if not isinstance(document, dict) or document.get("zarr_format") != 3:
        raise StoreError(f"{key} is not Zarr version 3 metadata")
    return document


def parse_group(data: bytes | memoryview) -> Attributes:
    document = _parse_json(data, "zarr.json")
    attributes = document.get("attributes")
    if document.get("node_type") != "group" or not isinstance(attributes, dict) or ATTRIBUTE not in attributes:
        raise StoreError('not a musigan store: zarr.json has no "musigan" attribute')
    header = attributes[ATTRIBUTE]
    if not isinstance(header, dict) or header.get("kind") not in DIMENSIONS:
        raise StoreError(f"unknown kind of store {header.get('kind') if isinstance(header, dict) else header!r}")
    if not isinstance(header.get("format"), int) or not 1 <= header["format"] <= FORMAT:
        raise StoreError(f"store format {header.get('format')!r}, this musigan reads up to {FORMAT}: update musigan")
    for name in ("sample_rate", "chunk_seconds", "frame_seconds"):
        value = header.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise StoreError(f"the store's {name} is {value!r}, expected a positive number")
    if header["kind"] == "keys":
        low, high = header.get("low_key"), header.get("high_key")
        if not isinstance(low, int) or not isinstance(high, int) or not 1 <= low <= high <= 128:
            raise StoreError(f"the store's keys run from {low!r} to {high!r}, expected piano keys, low to high")
    return header


def parse_array(name: str, data: bytes | memoryview, header: Attributes) -> ItemInfo:
    document = _parse_json(data, f"{name}/zarr.json")
    try:
        shape = tuple(int(n) for n in document["shape"])
        blocks = tuple(int(n) for n in document["chunk_grid"]["configuration"]["chunk_shape"])
        names = tuple(str(n) for n in document["dimension_names"])
        dtype, attributes = document["data_type"], document.get("attributes", {})
        plain = (
            document["node_type"] == "array"
            and document["chunk_grid"]["name"] == "regular"
            and document["chunk_key_encoding"]["name"] == "default"
            and document["chunk_key_encoding"].get("configuration", {}).get("separator", "/") == "/"
            and not document.get("storage_transformers")
        )
        codecs = [codec if isinstance(codec, str) else codec["name"] for codec in document["codecs"]]
        endian = document["codecs"][0].get("configuration", {}).get("endian", "little")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise StoreError(f"{name}/zarr.json lacks what a Zarr array needs: the store is damaged") from None
    if codecs != ["bytes"] or endian != "little":
        raise StoreError(f"{name} is stored with {', '.join(codecs)}; a store's blocks are plain little-endian bytes")
    if not plain or dtype not in DTYPES or not isinstance(attributes, dict):
        raise StoreError(f"{name} is a Zarr array of a form that is not used here ({dtype}); expected {DTYPES}")
    if len(blocks) != len(shape) or any(n < 1 for n in shape + blocks):
        raise StoreError(f"{name} has shape {shape} in blocks of {blocks}: these do not add up")
    item_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if item_bytes > MAX_ITEM_BYTES or math.prod(blocks) * np.dtype(dtype).itemsize > zipstream.MAX_ENTRY_BYTES:
        raise StoreError(f"{name} claims {item_bytes} bytes in blocks of {blocks}, more than a song can have")
    check_shape(name, shape, names, header)
    return ItemInfo(name, shape, dtype, blocks, names, attributes)


def check_shape(name: str, shape: tuple[int, ...], names: tuple[str, ...], header: Attributes) -> None:
    """Hold an item's shape against what the group says of all items."""
    kind = header["kind"]
    if names not in DIMENSIONS[kind] or len(shape) != len(names):
        expected = " or ".join(str(list(dimensions)) for dimensions in DIMENSIONS[kind])
        raise StoreError(f"{name} has dimensions {list(names)} of {shape}; a {kind} store has {expected}")
    sizes = dict(zip(names, shape, strict=True))
    wanted = {"part": 2}
    if kind == "pairs":
        wanted["samples"] = round(header.get("chunk_seconds", 0) * header.get("sample_rate", 0))
    if kind == "keys":
        wanted["keys"] = header["high_key"] - header["low_key"] + 1
        wanted["frames"] = round(header.get("chunk_seconds", 0) / header.get("frame_seconds", 1))
    for dimension, size in wanted.items():
        if sizes.get(dimension, size) != size:
            raise StoreError(f"{name} has {sizes[dimension]} {dimension}, the store's settings give {size}")


def decode_block(data: bytes | memoryview, info: ItemInfo, key: str) -> Array:
    dtype = np.dtype(info.dtype).newbyteorder("<")
    if memoryview(data).nbytes != math.prod(info.blocks) * dtype.itemsize:
        raise StoreError(f"block {key} has {memoryview(data).nbytes} bytes, its array's metadata says otherwise")
    return np.frombuffer(data, dtype).reshape(info.blocks)


def place_block(array: Array, place: tuple[slice, ...], block: Array) -> None:
    # Zarr pads the last block of a dimension to full size; only its beginning belongs to the array.
    array[place] = block[tuple(slice(0, s.stop - s.start) for s in place)]


def describe(header: Attributes) -> str:
    """One line on a store's header, for people."""
    parts = [header["kind"], f"{header.get('sample_rate', '?')} Hz"]
    if "chunk_seconds" in header:
        parts.append(f"chunks of {header['chunk_seconds']:g} s")
    if header["kind"] == "keys":
        parts += [f"keys {header['low_key']}-{header['high_key']}", f"frames of {header.get('frame_seconds')} s"]
    return ", ".join(parts)

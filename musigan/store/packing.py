"""How the blocks of an item are stored: plain or compressed, each under a key of its own or several in a shard.

A shard is zarr's (the codec sharding_indexed of Zarr v3): blocks along the first axis, one after the other, then an
index of 16 bytes a block, where it begins and how long it is, and its CRC32C. A compressed block is one frame of zstd
(RFC 8878) that says how long it is unpacked, so that nothing expands beyond what the metadata declares.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musigan.errors import StoreError

LEVEL = 5  # of zstd: benchmarks/bench_layouts.py
SHARD_BLOCKS = 16  # at most: what is fetched for one block; five minutes of pairs, half a megabyte
MAX_SHARD_BLOCKS = 1 << 16
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_INDEX_ENTRY, _CHECKSUM_BYTES = struct.Struct("<QQ"), 4
_MISSING = (1 << 64) - 1


@dataclass(frozen=True)
class Packing:
    """How blocks are stored: `shard_blocks` in a shard, 0: each under a key of its own; compressed or plain."""

    shard_blocks: int = 0
    compressed: bool = False
    has_checksums: bool = False  # of compressed blocks

    @classmethod
    def parse(cls, codecs: Any, outer: tuple[int, ...]) -> tuple[Packing, tuple[int, ...]]:
        """Parse the codecs of an array whose keys hold `outer` values each; return the packing and a block's shape.

        Raises StoreError for codecs that stores do not use, KeyError and the like where they are no codecs.
        """
        if [_name(codec) for codec in codecs] != ["sharding_indexed"]:
            is_compressed, has_checksums = _parse_block_codecs(codecs)
            return cls(0, is_compressed, has_checksums), outer
        settings: Mapping[str, Any] = codecs[0]["configuration"]
        blocks = tuple(settings["chunk_shape"])
        is_compressed, has_checksums = _parse_block_codecs(settings["codecs"])
        index = [_name(codec) for codec in settings["index_codecs"]]
        if index != ["bytes", "crc32c"] or settings.get("index_location", "end") != "end":
            raise StoreError("is stored in shards of a form that is not used here")
        if len(blocks) != len(outer) or any(type(size) is not int or size < 1 for size in blocks):
            raise TypeError
        count, rest = divmod(outer[0], blocks[0])
        if rest or blocks[1:] != outer[1:] or count > MAX_SHARD_BLOCKS:
            raise StoreError(f"is stored in shards of {outer} of blocks of {blocks}: these do not add up")
        return cls(count, is_compressed, has_checksums), blocks

    def unpack(self, data: bytes | memoryview, size: int, key: str) -> bytes | bytearray | memoryview:
        """Return the `size` bytes of a block as they were before they were packed. Raises StoreError for others."""
        if not self.compressed:
            return data
        if _frame_size(data) != size:
            raise StoreError(f"block {key} does not unpack to what its metadata gives: the store is damaged")
        from numcodecs.zstd import decompress

        unpacked = bytearray(size)
        try:
            decompress(data, unpacked)  # raises for more than fits in, of whatever frames follow
        except (RuntimeError, ValueError):
            raise StoreError(f"block {key} cannot be unpacked: the store is damaged") from None
        return unpacked

    def blocks_of(self, shard: bytes | memoryview, key: str) -> list[memoryview]:
        """Return the packed blocks of a shard, those it lacks empty. Raises StoreError for a damaged index."""
        from google_crc32c import value as crc32c

        whole = memoryview(shard).cast("B")
        begin = whole.nbytes - self.shard_blocks * _INDEX_ENTRY.size - _CHECKSUM_BYTES
        index, checksum = whole[begin:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
        if begin < 0 or crc32c(bytes(index)) != int.from_bytes(checksum, "little"):
            raise StoreError(f"the index of {key} has a wrong checksum: the store is damaged")
        blocks = []
        for offset, size in _INDEX_ENTRY.iter_unpack(index):
            is_missing = offset == size == _MISSING
            if not is_missing and offset + size > begin:
                raise StoreError(f"the index of {key} points behind its blocks: the store is damaged")
            blocks.append(whole[0:0] if is_missing else whole[offset : offset + size])
        return blocks


def _name(codec: Any) -> str:
    return codec if isinstance(codec, str) else codec["name"]


def _parse_block_codecs(codecs: Any) -> tuple[bool, bool]:
    """Return whether blocks are compressed, and carry checksums. Raises StoreError for other codecs."""
    names = [_name(codec) for codec in codecs]
    endian = codecs[0].get("configuration", {}).get("endian", "little")
    if names not in (["bytes"], ["bytes", "zstd"]) or endian != "little":
        shown = ", ".join(str(name)[:30] for name in names[:4])
        raise StoreError(f"is stored with {shown}; a store's blocks are plain little-endian bytes, or those in zstd")
    if names == ["bytes"]:
        return False, False
    return True, not isinstance(codecs[1], str) and codecs[1].get("configuration", {}).get("checksum") is True


def _frame_size(data: bytes | memoryview) -> int | None:
    """Return how many bytes the first zstd frame of `data` says that it unpacks to; None where it does not say so."""
    head = bytes(data[:18])
    if head[:4] != _ZSTD_MAGIC or len(head) < 6:
        return None
    descriptor = head[4]
    is_single, flag, dictionary = descriptor >> 5 & 1, descriptor >> 6, descriptor & 3
    start = 5 + (not is_single) + (0, 1, 2, 4)[dictionary]
    width = (int(is_single), 2, 4, 8)[flag]
    if not width or len(head) < start + width:
        return None
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)

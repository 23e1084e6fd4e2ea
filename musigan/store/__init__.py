"""Stores: one Zarr v3 group of songs, on a pipe, in a file, in a folder or at a URL.

A store holds items of one kind, one array a song, named 000001, 000002, ...:

    waveform  (channels, samples)
    pairs     (pairs, 2, channels, samples)           a 10 s chunk and its continuation
    keys      (pairs, 2, channels, keys, frames)      or (chunks, channels, keys, frames)
              (pairs, 2, tracks, keys, frames)        or (chunks, tracks, keys, frames): a track has a name

The group's attributes under "musigan" (`StoreHeader`) give the format of all items: `kind`, `format`, `sample_rate`,
`chunk_seconds`; for keys also `frame_seconds`, `low_key`, `high_key`, `band`, and `tracks` (the names of the channels:
instruments, or left, right and drums) where these are not just the sides of a recording. An item's attributes (`Song`)
describe the song: `title`, `artist`, `source`, `split`, `starts` (seconds at which each pair or chunk begins),
`seconds` where the last chunk is padded, and `level`, the factor back to full scale. Blocks are little-endian, one pair
or chunk each: plain on pipes and, unless one asks, in files, where a block can be memory-mapped; of keys in a folder or
at a URL in zstd, several in a shard (packing). Nothing expands beyond what its metadata declares.

On a pipe and in a file, the group is a ZIP of stored (uncompressed) entries, see zipstream: `zarr.json`, then the
items in order. In a folder or at a URL the group's own `zarr.json` is written last, with the number of items and all
their metadata (together): without it there is no store. Plain Zarr reads and writes the same bytes.
"""

from musigan.store.header import FORMAT, StoreHeader
from musigan.store.layout import DIMENSIONS, Array, Item, ItemInfo, item_name
from musigan.store.reader import Reader
from musigan.store.reading import open_reader, spool
from musigan.store.song import Song
from musigan.store.writing import Writer, exists, write

__all__ = [
    "DIMENSIONS", "FORMAT", "Array", "Item", "ItemInfo", "Reader", "Song", "StoreHeader", "Writer",
    "exists", "item_name", "open_reader", "spool", "write",
]  # fmt: skip

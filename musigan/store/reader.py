"""What readers of a store have in common: a stream from front to back; keys that are fetched in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from musigan.errors import StoreError, UsageError
from musigan.store import zipstream
from musigan.store.caching import Fetch
from musigan.store.header import StoreHeader
from musigan.store.layout import (
    MAX_METADATA_BYTES,
    Array,
    Item,
    ItemInfo,
    block_of_shard,
    decode_block,
    gather,
    info_of,
    parse_array,
    parse_root,
)


@contextmanager
def with_source(source: str) -> Iterator[None]:
    """Prefix the message of a StoreError with the store's name."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{source}: {error}") from None


class Reader:
    """An open store, iterable over its items; `source` is the store's name in messages."""

    has_checksums = True  # whether a changed bit of its data is noticed

    def __init__(self, source: str, header: StoreHeader) -> None:
        self.source, self.header = source, header

    @property
    def kind(self) -> str:
        return self.header.kind

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        """Yield the items that are wanted by their metadata; the data of others is not read where that is possible."""
        return (item for item in self if is_wanted(item.info))

    def infos(self) -> list[ItemInfo]:
        """Return each item's metadata without reading data. Raises UsageError for a pipe."""
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def read(self, name: str) -> Array:
        """Read one whole item. Raises UsageError for a pipe."""
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def block(self, name: str, index: int) -> Array:
        """Read pair or chunk `index` of an item, (1, ...); read-only.

        Raises UsageError for a pipe.
        """
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def compared(self) -> Iterator[Item]:
        """Yield the items as they are; raise StoreError where the store says of one in two places what differs."""
        return iter(self)

    def close(self) -> None:
        """Close the files that this reader opened."""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def limit_of(key: str) -> int:
    """Return the largest size in bytes that an entry of a stream, or a file but the group's metadata, may have."""
    return MAX_METADATA_BYTES if key.endswith("zarr.json") else zipstream.MAX_ENTRY_BYTES


class KeyedReader(Reader):
    """A store whose keys can be fetched in any order.

    `names` returns the items' names, in order, from the group's header.
    """

    most_root_bytes = MAX_METADATA_BYTES  # of the group's metadata

    def __init__(self, source: str, fetch: Fetch, names: Callable[[StoreHeader], Iterable[str]]) -> None:
        self._fetch = fetch
        with with_source(source):
            header, known = parse_root(self._fetch("zarr.json"), self.most_root_bytes)
            super().__init__(source, header)
            self._infos = [
                info_of(name, known[name], header) if name in known else self._info(name) for name in names(header)
            ]
        self._by_name = {info.name: info for info in self._infos}

    def _info(self, name: str) -> ItemInfo:
        return parse_array(name, self._fetch(f"{name}/zarr.json"), self.header)

    def __iter__(self) -> Iterator[Item]:
        return self.chosen(lambda info: True)

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        return (Item(info, self.read(info.name)) for info in self._infos if is_wanted(info))

    def infos(self) -> list[ItemInfo]:
        return list(self._infos)

    def read(self, name: str) -> Array:
        with with_source(self.source):
            return gather(self._by_name[name], self._fetch)

    def block(self, name: str, index: int) -> Array:
        info = self._by_name[name]
        if not 0 <= index < info.shape[0]:
            raise IndexError(f"{name} has {info.shape[0]} {info.dimension_names[0]}, no number {index}")
        if info.blocks[1:] != info.shape[1:]:  # a waveform, or a store written by another program in smaller blocks
            return self.read(name)[index : index + 1]
        number, row = divmod(index, info.stored[0])
        key = "/".join((name, "c", str(number), *("0" for _ in info.shape[1:])))
        with with_source(self.source):
            if info.packing.shard_blocks:
                place, row = divmod(row, info.blocks[0])
                return block_of_shard(self._fetch(key), info, key, place)[row : row + 1]
            return decode_block(self._fetch(key), info, key)[row : row + 1]

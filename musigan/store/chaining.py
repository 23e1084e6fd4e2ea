"""Several stores read as one in any order, as `musigan merge` would write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from musigan.store import Array, Item, ItemInfo, Reader, item_name
from musigan.store.joining import FirstCopies, joint_header, require_same_form


class ChainedReader(Reader):
    """The items of several stores, numbered anew; a song that an earlier store has is left out.

    Raises StoreError where the stores were made with different settings.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        header = joint_header([(reader.source, reader.header) for reader in readers])
        super().__init__(" + ".join(reader.source for reader in readers), header)
        self.has_checksums = all(reader.has_checksums for reader in readers)
        self._readers, copies = tuple(readers), FirstCopies()
        self._infos: list[ItemInfo] = []
        self._places: dict[str, tuple[Reader, str]] = {}  # by an item's name here: its store, and its name there
        first: tuple[str, ItemInfo] | None = None
        for reader in readers:
            for number, info in enumerate(reader.infos()):
                first = first or (reader.source, info)
                if not number:
                    require_same_form(first, (reader.source, info))
                if copies.is_copy(info.song):
                    continue
                copies.add(info.song)
                name = item_name(len(self._infos) + 1)
                self._infos.append(replace(info, name=name))
                self._places[name] = reader, info.name
            copies.next_store()
        self.left_out = copies.left_out

    def __iter__(self) -> Iterator[Item]:
        return (Item(info, self.read(info.name)) for info in self._infos)

    def infos(self) -> list[ItemInfo]:
        return list(self._infos)

    def read(self, name: str) -> Array:
        reader, own_name = self._places[name]
        return reader.read(own_name)

    def block(self, name: str, index: int) -> Array:
        reader, own_name = self._places[name]
        return reader.block(own_name, index)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

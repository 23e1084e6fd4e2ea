"""Parting of a store into several, each named after what its songs have in common."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from musigan.errors import FieldError, MusiganError, UsageError
from musigan.machine.reporting import Reporter, working_on
from musigan.store import Item, Reader, StoreHeader, Writer
from musigan.store.attributes import is_number
from musigan.store.joining import song_count
from musigan.store.songs import usable

NOT_KNOWN = "unknown"  # names the part of songs that do not say what they are parted by
MOST_PARTS = 200  # open at once
MOST_LETTERS = 60  # of a part in the name of its store
_KEYS: dict[str, Callable[[Item], str]] = {
    "genre": lambda item: item.song.style,
    "artist": lambda item: item.song.artist,
    "validation": lambda item: item.song.split or "train",
}

OpenWriter = Callable[[str, StoreHeader], AbstractContextManager[Writer]]


@dataclass(frozen=True)
class Parting:
    """What a store is parted by: `by` an attribute, or else `shares` of its songs.

    Raises FieldError for neither, both or others.
    """

    target: str  # keys.zarr becomes keys-jazz.zarr, keys-blues.zarr, ...
    by: str = ""  # genre, artist or validation
    shares: tuple[float, ...] = ()  # of the songs in each part, in any unit

    @classmethod
    def parse(cls, target: str, by: str, shares: str) -> Parting:
        """Parse what a user gave. Raises FieldError, and UsageError for a target that names no file."""
        if target == "-":
            raise UsageError(
                "several stores are written: name them with -o, as in -o parts.zarr (parts-jazz.zarr, ...)"
            )
        if bool(by) == bool(shares):
            raise FieldError("{by} or {shares} says what the songs are parted by: give one of them")
        if by and by not in _KEYS:
            raise FieldError("{by} {0}: expected {1}", by, ", ".join(_KEYS))
        try:
            numbers = tuple(float(share) for share in shares.split(",")) if shares else ()
        except ValueError:
            numbers = (-1.0,)
        if any(not is_number(number) or number < 0 for number in numbers) or (shares and len(numbers) < 2):
            raise FieldError("{shares} {0}: expected a number for each part, as in 8,1,1", shares)
        if shares and not sum(numbers):
            raise FieldError("{shares} {0}: one of them must be more than 0", shares)
        if len(numbers) > MOST_PARTS:
            raise FieldError("{shares}: {0} parts, expected {1} at most", len(numbers), MOST_PARTS)
        return cls(target, by, numbers)

    def key(self, item: Item) -> str:
        """Return what the part of a song is called. Equal content is in one part, and other songs move none."""
        if self.by:
            return " ".join(_KEYS[self.by](item).casefold().split())
        place = _place(item.song.content or item.song.title_or_source or item.name) * sum(self.shares)
        number = 0
        while number < len(self.shares) - 1 and place >= sum(self.shares[: number + 1]):
            number += 1
        return str(number + 1)

    def named(self, part: str) -> str:
        """Return the name of a part's store."""
        root, ending = _split_ending(self.target)
        return f"{root}-{part}{ending}"

    def _new_name(self, key: str, taken: Collection[str]) -> str:
        """Return the name of a new part's store; keys that file names do not tell apart are numbered."""
        part = re.sub(r"\W+", "-", unicodedata.normalize("NFC", key)).strip("-")[:MOST_LETTERS] or NOT_KNOWN
        name, number = self.named(part), 1
        while name in taken:
            number += 1
            name = self.named(f"{part}-{number}")
        return name

    def write(self, reader: Reader, open_writer: OpenWriter, reporter: Reporter) -> dict[str, int]:
        """Write each song of a store into that of its part; return the number of songs by the stores' names.

        A part's store is begun with its first song, and all appear at the end. Raises MusiganError for too many parts.
        """
        header = replace(reader.header, expected=None, items=None)
        writers: dict[str, Writer] = {}  # by key
        names: dict[str, str] = {}
        progress = reporter.progress(song_count(reader.header), "songs")
        with ExitStack() as stack:
            for item in usable(reader, reporter.skip):
                key = self.key(item)
                if key not in writers:
                    if len(writers) == MOST_PARTS:
                        raise MusiganError(
                            f"more than {MOST_PARTS} of {self.by}: too many stores at once; "
                            f"musigan filter --{self.by} picks those of one"
                        )
                    names[key] = self._new_name(key, names.values())
                    if names[key] == reader.source:
                        raise UsageError(f"{reader.source} is read, and would be replaced: choose another name with -o")
                    writers[key] = stack.enter_context(open_writer(names[key], header))
                with working_on(item.title):
                    writers[key].add(item.array, item.dimension_names, item.song)
                progress.step(item.title)
        if not writers:
            raise MusiganError("nothing usable came in")
        return {names[key]: writer.items for key, writer in writers.items()}


def _place(content: str) -> float:
    """Return a number from 0 to below 1 for a song: by another hash than the one that holds songs back."""
    digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=6, person=b"musigan-share").digest()
    return int.from_bytes(digest, "big") / 2**48


def _split_ending(target: str) -> tuple[str, str]:
    """Split the name of a store before its ending: keys.zarr.zip -> keys, .zarr.zip."""
    ending = "".join(suffix for suffix in PurePosixPath(target).suffixes[-2:] if suffix in (".zarr", ".zip"))
    ending = ending or PurePosixPath(target).suffix
    return target.removesuffix(ending), ending

"""Serial numbers of Ogg streams: libsndfile draws them at random, and the same sound would be other bytes each time."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import IO, Any


def seed_serial(path: str | os.PathLike[str]) -> None:
    """Give the stream of an Ogg file a serial number that follows from its packets, so that other streams have others.

    Raises OSError where the file cannot be written.
    """
    serial = 0
    with open(path, "r+b") as file:
        for page, _ in _pages(file):
            for packet in page.packets:
                serial = zlib.crc32(packet, serial)
        file.seek(0)
        for page, place in _pages(file):
            page.serial = serial
            end = file.tell()
            file.seek(place)
            file.write(page.write())  # of the same length, with a checksum of its own
            file.seek(end)


def _pages(file: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """Yield the pages from the file's position on, each with its place in bytes."""
    from mutagen.ogg import OggPage

    while True:
        place = file.tell()
        try:
            yield OggPage(file), place
        except EOFError:
            return

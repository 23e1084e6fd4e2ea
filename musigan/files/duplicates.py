"""Songs that come twice are kept once, whatever their names."""

from __future__ import annotations

from collections.abc import Callable


class Originals:
    """The songs seen so far, by their content; `what` is what copies have in common, `detail` gets a line on each."""

    def __init__(self, what: str, detail: Callable[[str], None]) -> None:
        self.duplicates = 0
        self._what, self._detail = what, detail
        self._sources: dict[str, str] = {}

    def has(self, content: str, source: str) -> bool:
        """Return whether a song of this content was seen before, and count it; else remember it."""
        if content not in self._sources:
            self._sources[content] = source
            return False
        self._detail(f"{source}: the same {self._what} as {self._sources[content]}, kept once")
        self.duplicates += 1
        return True

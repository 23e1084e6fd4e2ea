"""Songs that come twice are kept once, whatever their names."""

from __future__ import annotations

from collections.abc import Callable


def compact(content: str) -> int | str:
    """Return a hash of 32 hex digits as a number, half the memory of the text; another text as it is."""
    try:
        return int(content, 16) if len(content) == 32 else content
    except ValueError:
        return content


class Originals:
    """The songs seen so far, by their content; `what` is what copies have in common, `detail` gets a line on each.

    Of ten million songs it takes 1.5 GB (benchmarks/simulate_scale.py).
    """

    def __init__(self, what: str, detail: Callable[[str], None]) -> None:
        self.duplicates = 0
        self._what, self._detail = what, detail
        self._sources: dict[int | str, bytes] = {}  # in UTF-8, which takes less memory

    def has(self, content: str, source: str) -> bool:
        """Return whether a song of this content was seen before, and count it; else remember it."""
        key = compact(content)
        original = self._sources.get(key)
        if original is None:
            self._sources[key] = source.encode(errors="surrogatepass")
            return False
        name = original.decode(errors="surrogatepass")
        self._detail(f"{source}: the same {self._what} as {name}, kept once")
        self.duplicates += 1
        return True

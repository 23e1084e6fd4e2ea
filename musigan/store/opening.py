"""Protocol of a run of a tool: it opens stores by the names that a user gives, and closes them at its end."""

from __future__ import annotations

from typing import Protocol

from musigan.machine.reporting import Reporter
from musigan.store.reader import Reader


class ToolSession(Reporter, Protocol):
    """A reporter that opens stores, too. Names are a path, a URL, or - for a pipe; `kinds` of store that will do."""

    def reader(self, source: str, *kinds: str, in_order: bool = False) -> Reader:
        """Open a store to read from front to back; `in_order`: in memory that does not grow with its songs."""

    def random_access_reader(self, source: str, *kinds: str) -> Reader:
        """Open a store to read in any order."""

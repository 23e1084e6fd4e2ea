"""The table of a collection that is being prepared: what became of each file, a line of JSON each, beside the store.

The first line holds the settings. A line is added as soon as a song is done, so that a killed run leaves it, and at the
end the table is written anew in the order of the files. At a URL, which nothing can be added to, it is written every
few minutes and at the end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from musigan.errors import MusiganError, StoreError
from musigan.files.atomic import replace_whole, write_all
from musigan.files.remote import file_system, is_url
from musigan.files.text import encodable

DONE, COPY, SKIPPED = "done", "copy", "skipped"
_SECONDS_BETWEEN = 300.0  # writings of a table at a URL


@dataclass(frozen=True)
class Row:
    """What became of a file; `mark` is its size and time of change, `content` the hash of its music."""

    path: str
    source: str
    mark: str = ""
    state: str = SKIPPED  # done; copy: of the music of an earlier file; skipped
    content: str = ""
    number: int | None = None  # of its item in the store
    reason: str = ""
    group: str = ""  # what the summary counts the reason under

    def as_line(self) -> str:
        """Return it as a line of JSON, without what is not known."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in ("", None)}) + "\n"


class Table:
    """The rows of a store, by the files' paths; `settings` are those that songs of one store share."""

    def __init__(self, target: str, settings: dict[str, Any], is_begun: bool = True) -> None:
        """Read the table of a store at an absolute path or URL. Raises StoreError where its settings are others.

        Not `is_begun`: there is nothing of the store, so what an earlier table says counts no more.
        """
        self.name = f"{target.rstrip('/')}.jsonl"
        self.rows: dict[str, Row] = {}
        self._first = json.dumps({"musigan": "prepare", "settings": settings}, sort_keys=True) + "\n"
        self._file: IO[str] | None = None
        self._saved = time.monotonic()
        lines = self._read().splitlines() if is_begun else []
        if lines:
            self._refuse_others(lines[0])
        elif not is_begun:
            self.save(())
        for line in lines[1:]:
            with suppress(ValueError, TypeError):  # the last line of a killed run
                row = Row(**json.loads(line))
                self.rows[row.path] = row

    def _refuse_others(self, first: str) -> None:
        values, own = None, json.loads(self._first)["settings"]
        with suppress(ValueError, AttributeError):
            values = json.loads(first).get("settings")
        if not isinstance(values, dict):
            raise StoreError(f"{self.name}: not a table of musigan prepare: move it away, or choose another store")
        for step, settings in own.items():
            for name, value in settings.items():
                other = values.get(step, {}).get(name)
                if other != value:
                    raise StoreError(
                        f"{self.name} was begun with {name} {other}, and now it is {value}: "
                        "take the same settings, or another store"
                    )

    def _read(self) -> str:
        try:
            if is_url(self.name):
                fs, path = file_system(self.name)
                return str(fs.cat_file(path).decode())
            return Path(self.name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise MusiganError(f"{self.name}: cannot be read ({error})") from error

    def add(self, row: Row) -> None:
        """Take what became of a file."""
        self.rows[row.path] = row
        if is_url(self.name):
            if time.monotonic() - self._saved > _SECONDS_BETWEEN:
                self.save(self.rows.values())
            return
        if self._file is None:
            is_new = not os.path.exists(self.name) or not os.path.getsize(self.name)  # of a run killed at once
            self._file = open(self.name, "a", encoding="utf-8")  # noqa: SIM115  closed by `save`
            if is_new:
                self._file.write(self._first)
        self._file.write(row.as_line())
        self._file.flush()

    def save(self, rows: Iterable[Row]) -> None:
        """Write these rows alone, in their order."""
        lines = (self._first, *(row.as_line() for row in rows))
        if is_url(self.name):
            fs, path = file_system(self.name)
            fs.pipe_file(path, "".join(lines).encode())
            self._saved = time.monotonic()
            return
        if self._file is not None:
            self._file.close()
            self._file = None
        with replace_whole(self.name, MusiganError) as aside:
            write_all(aside, self.name, *(line.encode() for line in lines))


def key_of(path: Path | str) -> str:
    """Return the name of a file in the table: its absolute path, or its URL."""
    return str(path) if is_url(str(path)) else encodable(os.path.abspath(path))

"""The table of what became of each file."""

from __future__ import annotations

import os
from pathlib import Path

from musigan.analysis.outcomes import Row, Table


def test_a_table_of_a_run_that_was_killed_at_once_begins_anew(tmp_path: Path) -> None:
    """Opened and not yet written: its first line is written by the next run, and read by the one after."""
    target = str(tmp_path / "keys.zarr")
    Path(f"{target}.jsonl").touch()
    table = Table(target, {"decoding": {"seconds": 120}})
    table.add(Row("/music/a.mp3", "a.mp3", "1"))
    assert os.path.getsize(table.name) > 0
    again = Table(target, {"decoding": {"seconds": 120}})
    assert [row.source for row in again.rows.values()] == ["a.mp3"]

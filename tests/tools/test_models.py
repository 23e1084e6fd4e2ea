"""musigan models: a line for each family, and a table of what each can do."""

from __future__ import annotations

from musigan import models
from tests.helpers import run


def test_every_family_has_a_line_and_a_row() -> None:
    done = run("musigan models")
    assert (done.returncode, done.stderr) == (0, b"")
    lines, table = (part.splitlines() for part in done.stdout.decode().split("\n\n"))
    assert [line.split()[0] for line in lines] == list(models.FAMILIES)
    head, *rows = table
    columns = [head.index(word) for word in ("draws", "goes on", "morphs", "translates", "temperature", "conditions")]
    cells = {
        row.split()[0]: [row[a:b].strip() for a, b in zip(columns, [*columns[1:], None], strict=True)] for row in rows
    }
    assert list(cells) == list(models.FAMILIES)
    assert cells["bars"] == ["yes", "yes", "yes", "-", "yes", "style, tempo"]
    assert cells["musigan"] == ["yes", "yes", "yes", "-", "-", "-"]
    assert cells["lstm"] == ["yes", "yes", "-", "-", "yes", "-"]
    assert cells["cyclegan"] == ["-", "-", "-", "yes", "-", "other kind"]
    assert cells["musegan"] == ["yes", "yes", "yes", "-", "yes", "style, tempo, track"]

"""The judge's table as text, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import FLOOR, METRICS, REFERENCE, SAME_SONGS, SPLITS, Table

ROW_WIDTH, CELL_WIDTH, MARK_WIDTH = 14, 25, 13
MOST_COLUMNS = 4
LEGEND = (
    f"{REFERENCE}: songs nobody learned from, which all rows are held against; {FLOOR}: songs that were learned from;",
    f"{SPLITS}: other divisions of the same songs; {SAME_SONGS}: two halves of the rolls of the same songs",
    "95 % intervals; * told from the floor; good values: (-) low, (+) high, (=) as held-out",
)
_SIGNS = {"low": "(-)", "high": "(+)", "reference": "(=)"}


def lines(table: Table) -> Iterator[str]:
    """Yield the table as text: a block of rows for each family of metrics, and which metric catches which row."""
    yield f"{table.rolls} rolls in each set; songs divided {table.split}"
    yield from LEGEND
    caught = table.caught()
    families: dict[str, list[Any]] = {}
    for metric in METRICS:
        if any(metric.name in row for row in table.rows.values()):
            families.setdefault(metric.family, []).append(metric)
    for family, metrics in families.items():
        for first in range(0, len(metrics), MOST_COLUMNS):
            shown = metrics[first : first + MOST_COLUMNS]
            yield ""
            titles = "".join(f"{metric.name} {_SIGNS[metric.good]}".rjust(CELL_WIDTH) for metric in shown)
            yield f"{family:{ROW_WIDTH}}{titles}"
            for row, estimates in table.rows.items():
                cells = (
                    _cell(estimates.get(metric.name), metric.name in caught.get(row, ())).rjust(CELL_WIDTH)
                    for metric in shown
                )
                yield f"{row:{ROW_WIDTH}}{''.join(cells)}"
    yield ""
    yield from _caught_lines(table, caught)
    if table.answers:
        yield ""
        yield "answers to held-out questions: 0 matches like another song's, 1 like the true one; joints drawn and true"
        for name, estimate in table.answers.items():
            yield f"{name:{ROW_WIDTH + 6}}{_cell(estimate, False):>{CELL_WIDTH}}"


def _caught_lines(table: Table, caught: dict[str, list[str]]) -> Iterator[str]:
    width = max(len(metric.name) for metric in METRICS) + 2
    yield "told from the floor".ljust(width) + "".join(f"{row:>{MARK_WIDTH}}" for row in caught)
    for metric in METRICS:
        if any(metric.name in row for row in table.rows.values()):
            marks = ("yes" if metric.name in metric_names else "." for metric_names in caught.values())
            yield metric.name.ljust(width) + "".join(f"{mark:>{MARK_WIDTH}}" for mark in marks)


def _cell(estimate: Estimate | None, marked: bool) -> str:
    if estimate is None:
        return ""
    if not math.isfinite(estimate.value):
        return "undefined" + "*" * marked
    return f"{_short(estimate.value)} [{_short(estimate.low)}, {_short(estimate.high)}]{'*' if marked else ' '}"


def _short(value: float) -> str:
    """Format three significant figures in at most six characters, as a cell holds three such numbers."""
    if abs(value) >= 99_999:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.3f}"
    return "0" if float(text) == 0 else text


def to_json(table: Table) -> str:
    """Return the table as one JSON object; undefined values are null."""
    content = {
        "rolls": table.rolls,
        "split": table.split,
        "metrics": {metric.name: {"family": metric.family, "good": metric.good} for metric in METRICS},
        "rows": {
            row: {
                "songs": table.songs[row],
                "metrics": {
                    name: {
                        "value": _finite(estimate.value),
                        "low": _finite(estimate.low),
                        "high": _finite(estimate.high),
                    }
                    for name, estimate in estimates.items()
                },
            }
            for row, estimates in table.rows.items()
        },
        "told from the floor": table.caught(),
        "answers": {
            name: {"value": _finite(estimate.value), "low": _finite(estimate.low), "high": _finite(estimate.high)}
            for name, estimate in table.answers.items()
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def to_csv(table: Table) -> str:
    """Return the table as CSV, one line for each row and metric; undefined values are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "songs", "family", "metric", "value", "low", "high", "told_from_floor"))
    caught = table.caught()
    for row, estimates in table.rows.items():
        for metric in METRICS:
            if metric.name in estimates:
                estimate = estimates[metric.name]
                values = (
                    "" if not math.isfinite(figure) else repr(float(figure))
                    for figure in (estimate.value, estimate.low, estimate.high)
                )
                is_caught = int(metric.name in caught.get(row, ()))
                writer.writerow((row, table.songs[row], metric.family, metric.name, *values, is_caught))
    return out.getvalue()


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

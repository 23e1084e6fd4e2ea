"""The judge's table as text, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from musigan.metrics.estimates import Estimate, Metric
from musigan.metrics.evaluation import FLOOR, METRICS, REFERENCE, SAME_SONGS, SPLITS, Table
from musigan.metrics.pieces import METRICS as PIECE_METRICS

ROW_WIDTH, CELL_WIDTH, MARK_WIDTH = 14, 25, 13
MOST_COLUMNS = 4
MOST_WIDTH = 120
LEGEND = (
    f"{REFERENCE}: songs nobody learned from, which all rows are held against; {FLOOR}: songs that were learned from;",
    f"{SPLITS}: other divisions of the same songs; {SAME_SONGS}: two halves of the rolls of the same songs",
    "95 % intervals; * told from the floor; good values: (-) low, (+) high, (=) as held-out",
)
_SIGNS = {"low": "(-)", "high": "(+)", "reference": "(=)"}
Rows = Mapping[str, Mapping[str, Estimate]]
Caught = Mapping[str, Sequence[str]]


def lines(table: Table) -> Iterator[str]:
    """Yield the verdict, then the table as text: a block of rows for each family, and which metric catches which row.

    Rows and metrics without any value are folded into a line that says why they have none.
    """
    yield table.verdict()
    yield ""
    yield f"{table.rolls} rolls in each set; songs divided {table.split}"
    yield from LEGEND
    yield from _blocks(METRICS, table.rows, table.caught())
    for pieces in table.pieces:
        yield ""
        of_samples = f", {pieces.samples} of samples" if pieces.samples else ""
        yield f"pieces of {pieces.seconds:g} s: {pieces.pieces} in each set of songs{of_samples}"
        yield from _blocks(PIECE_METRICS, pieces.rows, pieces.caught())
    if table.notes:
        yield ""
        yield from table.notes
    if table.answers:
        yield ""
        yield "answers to held-out questions: 0 matches like another song's, 1 like the true one; joints drawn and true"
        for name, estimate in table.answers.items():
            yield f"{name:{ROW_WIDTH + 6}}{_cell(estimate, False):>{CELL_WIDTH}}"


def _blocks(metrics: Sequence[Metric], rows: Rows, caught: Caught) -> Iterator[str]:
    """Yield the blocks of a table's families, and the block of what catches what."""
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        if any(_has_value(estimates, metric) for estimates in rows.values()):
            families.setdefault(metric.family, []).append(metric)
    for family, of_family in families.items():
        for first in range(0, len(of_family), MOST_COLUMNS):
            yield ""
            yield from _block(family, of_family[first : first + MOST_COLUMNS], rows, caught)
    if caught:
        yield ""
        yield from _caught_lines([metric for of_family in families.values() for metric in of_family], caught)
    nowhere = [
        metric.name
        for metric in metrics
        if any(metric.name in estimates for estimates in rows.values())
        and metric not in families.get(metric.family, ())
    ]
    if nowhere:
        yield f"without a value in any row, as there is too little music for it: {', '.join(nowhere)}"


def _block(family: str, shown: Sequence[Metric], rows: Rows, caught: Caught) -> Iterator[str]:
    """Yield titles, the rows that have a value, and in one line those that have none."""
    titles = "".join(f"{metric.name} {_SIGNS[metric.good]}".rjust(CELL_WIDTH) for metric in shown)
    yield f"{family:{ROW_WIDTH}}{titles}"
    folded: dict[str, list[str]] = {}
    for row, estimates in rows.items():
        told = [metric.name in caught.get(row, ()) for metric in shown]
        if any(_has_value(estimates, metric) for metric in shown):
            cells = (
                _cell(estimates.get(metric.name), marked).rjust(CELL_WIDTH)
                for metric, marked in zip(shown, told, strict=True)
            )
            yield f"{row:{ROW_WIDTH}}{''.join(cells)}"
        else:
            is_measured = any(metric.name in estimates for metric in shown)
            reason = _reason(row, is_measured)
            folded.setdefault(reason, []).append(row + "*" * any(told))
    if folded:
        reasons = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in folded.items())
        yield from wrap(f"without a value: {reasons}", MOST_WIDTH)


def _reason(row: str, is_measured: bool) -> str:
    """Return why a row has no value in a block."""
    if is_measured:
        return "nothing in it to measure"
    return {REFERENCE: "held against itself", SAME_SONGS: "each song has one roll"}.get(row, "not measured")


def _has_value(estimates: Mapping[str, Estimate], metric: Metric) -> bool:
    return metric.name in estimates and math.isfinite(estimates[metric.name].value)


def _caught_lines(metrics: Sequence[Metric], caught: Caught) -> Iterator[str]:
    width = max((len(metric.name) for metric in metrics), default=20) + 2
    yield "told from the floor".ljust(width) + "".join(f"{row:>{MARK_WIDTH}}" for row in caught)
    for metric in metrics:
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
        "verdict": table.verdict(),
        "rolls": table.rolls,
        "split": table.split,
        "metrics": _metrics(METRICS),
        "rows": _rows(table.rows, table.songs),
        "told from the floor": table.caught(),
        "piece metrics": _metrics(PIECE_METRICS),
        "pieces": [
            {
                "pieces": pieces.pieces,
                "samples": pieces.samples,
                "seconds": pieces.seconds,
                "rows": _rows(pieces.rows, pieces.songs),
                "told from the floor": pieces.caught(),
            }
            for pieces in table.pieces
        ],
        "notes": table.notes,
        "answers": {name: _plain(estimate) for name, estimate in table.answers.items()},
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _metrics(metrics: Sequence[Metric]) -> dict[str, dict[str, str]]:
    return {metric.name: {"family": metric.family, "good": metric.good} for metric in metrics}


def _rows(rows: Rows, songs: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    return {
        row: {
            "songs": songs[row],
            "metrics": {name: _plain(estimate) for name, estimate in estimates.items()},
        }
        for row, estimates in rows.items()
    }


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {"value": _finite(estimate.value), "low": _finite(estimate.low), "high": _finite(estimate.high)}


def to_csv(table: Table) -> str:
    """Return the table as CSV, one line for each row and metric; undefined values are empty.

    `seconds` is the length of pieces, empty for rolls.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "songs", "family", "metric", "value", "low", "high", "told_from_floor", "seconds"))
    parts: list[tuple[Sequence[Metric], Rows, Mapping[str, int], Caught, str]] = [
        (METRICS, table.rows, table.songs, table.caught(), "")
    ]
    parts += [(PIECE_METRICS, one.rows, one.songs, one.caught(), f"{one.seconds:g}") for one in table.pieces]
    for metrics, rows, songs, caught, seconds in parts:
        for row, estimates in rows.items():
            for metric in metrics:
                if metric.name in estimates:
                    figures = ("" if each is None else repr(each) for each in _plain(estimates[metric.name]).values())
                    is_caught = int(metric.name in caught.get(row, ()))
                    writer.writerow((row, songs[row], metric.family, metric.name, *figures, is_caught, seconds))
    return out.getvalue()


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

"""The records of a run: its checkpoint, its losses and metrics by epoch, and these as curves.

A curve's points are [epoch of the whole run, value], in order; a value that is no finite number becomes None, a gap in
the curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musigan.errors import CheckpointError
from musigan.losses.registry import meaning
from musigan.metrics.evaluation import METRICS as ROLL_METRICS
from musigan.metrics.pieces import METRICS as PIECE_METRICS
from musigan.models.stages import STAGES

POSITION = ("stage", "epoch", "total_epoch", "step", "seconds")  # of an entry; all its other numbers are plotted
VALIDATION = "validation_"
DIGITS = 5
SAMPLES, FLOOR = "samples", "floor"
BETTER = {"low": "Lower is better.", "high": "Higher is better.", "reference": "Best as in held-out songs."}


@dataclass(frozen=True)
class Run:
    """A checkpoint file and the run folder beside it, which need not exist."""

    checkpoint: Path
    folder: Path

    @classmethod
    def of(cls, name: str | Path) -> Run:
        """Return the run of a checkpoint (ckpt.pt) or of its folder (ckpt.run)."""
        path = Path(name)
        if not path.is_dir():
            return cls(path, path.with_name(path.name.removesuffix(".pt") + ".run"))
        folder = path if path.name not in ("", "..") else path.resolve()
        stem = folder.name.removesuffix(".run")
        for checkpoint in (folder.with_name(f"{stem}.pt"), folder.with_name(stem)):
            if checkpoint.is_file():
                return cls(checkpoint, folder)
        raise CheckpointError(
            f"{path}: there is no checkpoint {stem}.pt beside this folder; expected a checkpoint, or the run folder "
            "that train-gan keeps beside it"
        )

    @property
    def name(self) -> str:
        """The run's name: that of the checkpoint without .pt."""
        return self.checkpoint.name.removesuffix(".pt")

    def history(self, saved: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the entries by epoch from the folder, which may be ahead of the checkpoint; without one, `saved`."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return list(saved)
        entries: list[Mapping[str, Any]] = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                if number == len(lines):  # of a training under way, not yet written completely
                    break
                raise CheckpointError(
                    f"{self.folder / 'metrics.jsonl'}: line {number} is damaged ({error}); move it away to see the "
                    "checkpoint's own history"
                ) from error
            if isinstance(entry, dict):
                entries.append(entry)
        return entries


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return stages, losses, metrics and the last verdict of a history, as the page plots them."""
    epoch_entries = [(_epoch(entry, number), entry) for number, entry in enumerate(history, 1)]
    return {
        "stages": _stages(epoch_entries),
        "losses": _losses(epoch_entries),
        "metrics": _metrics(epoch_entries),
        "verdict": next((str(e["verdict"]) for e in _evaluations(reversed(history)) if e.get("verdict")), None),
    }


def rounded(value: Any) -> float | None:
    """Round a number to DIGITS significant digits; None where it is no number or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _epoch(entry: Mapping[str, Any], number: int) -> int:
    epoch = entry.get("total_epoch")
    return epoch if isinstance(epoch, int) else number


def _stages(placed: Iterable[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Group consecutive epochs of one stage: {name, first, last}."""
    stages: list[dict[str, Any]] = []
    for epoch, entry in placed:
        name = str(entry.get("stage", "training"))
        if not stages or stages[-1]["name"] != name:
            stages.append({"name": name, "first": epoch, "last": epoch})
        stages[-1]["last"] = epoch
    return stages


def _losses(placed: Iterable[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one chart per loss, training and validation together: {name, stage (its first), about, series}."""
    charts: dict[str, dict[str, Any]] = {}
    for epoch, entry in placed:
        for key, value in entry.items():
            if key in POSITION or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            name, kind = key.removeprefix(VALIDATION), "validation" if key.startswith(VALIDATION) else "training"
            chart = charts.setdefault(name, {"stage": str(entry.get("stage", "training")), "series": {}})
            chart["series"].setdefault(kind, []).append([epoch, rounded(value)])
    return [
        {
            "name": name,
            "stage": chart["stage"],
            "about": meaning(name),
            "series": [{"name": kind, "points": points} for kind, points in sorted(chart["series"].items())],
        }
        for name, chart in sorted(charts.items())
    ]


def _evaluations(history: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (entry["evaluation"] for entry in history if isinstance(entry.get("evaluation"), dict))


def _metrics(placed: Iterable[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one chart per metric: the generator's curve, and the last known floor and baselines as lines."""
    charts: dict[str, dict[str, Any]] = {}
    for epoch, entry in placed:
        for evaluation in _evaluations([entry]):
            for name, rows in (evaluation.get("metrics") or {}).items():
                if not isinstance(rows, dict):
                    continue
                chart = charts.setdefault(str(name), {"points": [], "lines": {}})
                for row, value in rows.items():
                    if row == SAMPLES:
                        chart["points"].append([epoch, rounded(value)])
                    elif rounded(value) is not None:
                        chart["lines"][str(row)] = rounded(value)
    return [
        {
            "name": name,
            "about": _about(name),
            "series": [{"name": SAMPLES, "points": chart["points"]}],
            "lines": [{"name": row, "value": value} for row, value in _floor_first(chart["lines"])],
        }
        for name, chart in charts.items()
    ]


def _about(name: str) -> str:
    """Return in a sentence or two what a metric means and which values are good; "" for an unknown one."""
    metric = next((each for each in (*ROLL_METRICS, *PIECE_METRICS) if each.name == name), None)
    if metric is None:
        return ""
    return metric.meaning if "is better" in metric.meaning else f"{metric.meaning} {BETTER[metric.good]}".strip()


def not_measured(settings: Mapping[str, Any], history: Sequence[Mapping[str, Any]], held_out: bool | None) -> str:
    """Return why no metrics of a run are known; `held_out`: whether songs were held back, None: unknown."""
    every = settings.get("evaluate_every")
    drawing = [entry for entry in history if STAGES.get(str(entry.get("stage"))) and STAGES[entry["stage"]].can_sample]
    if any(isinstance(entry.get("evaluation"), Mapping) for entry in history):
        return ""
    if any(name.startswith(VALIDATION) for entry in history for name in entry):
        held_out = True  # whatever store the page was made with
    if held_out is False:
        return "no songs are held back in this store, so there was nothing to measure against"
    if not every:
        return "it was told not to: --evaluate-every is 0"
    if not history:
        return "no epoch is finished yet"
    if not drawing:
        return f"it has not learned to draw yet: its {history[-1].get('stage')} stage comes before that"
    if isinstance(every, int) and all(_epoch(entry, 1) % every for entry in drawing):
        return f"that happens every {every} epochs, and it has done {len(history)}"
    return "the songs held back are too few, or too short, to measure against"


def _floor_first(lines: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(lines.items(), key=lambda line: line[0] != FLOOR)

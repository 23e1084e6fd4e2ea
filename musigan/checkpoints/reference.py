"""The reference of settings, losses and stages as Markdown, from the records that the code itself reads.

    python -m musigan.checkpoints.reference docs/reference

writes one page for each key of PAGES; a test asks whether they are up to date.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import sys
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from musigan import models
from musigan.checkpoints.settings import TrainingSettings
from musigan.losses.registry import FIGURES, LOSSES
from musigan.models.stages import STAGES
from musigan.settings import allowed, as_mapping

INTRODUCTION = """# Settings

Settings come from the preset, then from a file (`--config settings.yaml`), then from `--set NAME=VALUE`, then from
flags; `train-gan --print-config` prints them all. A name with a point is a setting of a section: `--set prior.draws=2`
is `prior: {draws: 2}` in a file. The defaults below are those before a preset or a family's own; `null` stands for
nothing."""


def settings_page() -> Iterator[str]:
    """Yield the lines of the page of settings: those of training, section by section, then each family's networks."""
    yield from INTRODUCTION.splitlines()
    sections = {
        field.name: type(value)
        for field in dataclasses.fields(TrainingSettings)
        if dataclasses.is_dataclass(value := getattr(TrainingSettings(), field.name))
    }
    yield from _section("All runs", TrainingSettings, "", (*sections, "network"))
    for name, section in sections.items():
        yield from _section(f"`{name}`", section, f"{name}.")
    for name in models.FAMILIES:
        yield from _section(f"`network` of {name}", models.family(name).settings, "network.")
    yield from stages_table()


def _section(title: str, section: type, prefix: str, left_out: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a section: its title, what it is, and a table of its settings but those `left_out`."""
    properties, meanings = TypeAdapter(section).json_schema()["properties"], field_comments(section)
    defaults = as_mapping(section())
    rows = [
        (f"`{prefix}{name}`", f"`{_yaml(defaults[name])}`", allowed(schema), meanings.get(name, ""))
        for name, schema in properties.items()
        if name not in left_out
    ]
    yield from ("", f"## {title}", "", (inspect.getdoc(section) or "").splitlines()[0], "")
    yield from _table(("setting", "default", "values", "meaning"), rows)


def field_comments(section: type) -> dict[str, str]:
    """Return the comment beside each field of a dataclass, its parents' first."""
    comments: dict[str, str] = {}
    for cls in reversed(section.__mro__[:-1]):
        source = textwrap.dedent(inspect.getsource(cls))
        by_line = {
            token.start[0]: token.string.removeprefix("#").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        for node in definition.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                beside = [by_line[line] for line in range(node.lineno, (node.end_lineno or 0) + 1) if line in by_line]
                comments[node.target.id] = " ".join(beside)
    return comments


def losses_page() -> Iterator[str]:
    """Yield the lines of the page of losses: weight, formula and meaning of each, then the figures logged beside."""
    families = {name: models.family(name) for name in models.FAMILIES}
    weights = {name: {**each.losses, **each.defaults.get("loss_weights", {})} for name, each in families.items()}
    yield from (
        "# Losses",
        "",
        "Names in the log and in `loss_weights` of the settings (`--set loss_weights.melody=0.5`; 0 leaves one out).",
        "fake is what the generator made, real is music, E the mean over a batch, D the critic, s the sigmoid.",
        "",
    )
    rows = []
    for loss in LOSSES.values():
        own = [f"{family}: {each[loss.name]:g}" for family, each in weights.items() if loss.name in each]
        default = [] if loss.weight is None else [f"{loss.weight:g}"]
        rows.append((f"`{loss.name}`", "; ".join(default + own), loss.formula, loss.meaning))
    yield from _table(("loss", "weight", "formula", "meaning"), rows)
    yield from ("", "Logged beside them:", "")
    yield from _table(("figure", "meaning"), [(f"`{name}`", meaning) for name, meaning in FIGURES.items()])


def stages_table() -> Iterator[str]:
    """Yield the lines about the stages: their costs and shares, and which family goes through which."""
    yield from (
        "",
        "## Stages",
        "",
        "A step costs so many times the time of a variational one. Epochs before the adversarial stage are divided by",
        "the shares, those of the critic apart. Losses of validated stages are measured on held-out songs, too.",
        "",
    )
    families = {name: models.family(name).stages for name in models.FAMILIES}
    rows = [
        (
            f"`{stage.name}`",
            stage.title,
            f"{stage.cost:g}",
            f"{stage.share:g}" if stage.share else "",
            "yes" if stage.is_validated else "no",
            "yes" if stage.is_adversarial else "no",
            ", ".join(name for name, stages in families.items() if stage.name in stages),
        )
        for stage in STAGES.values()
    ]
    yield from _table(("stage", "what it does", "cost", "share", "validated", "adversarial", "families"), rows)


PAGES = {"settings.md": settings_page, "losses.md": losses_page}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    yield from (_row(cells) for cells in rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _yaml(value: Any) -> str:
    """Return a plain value as it would stand in a YAML file, in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def write_pages(folder: Path) -> None:
    """Write the pages into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in PAGES.items():
        (folder / name).write_text("\n".join(lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))

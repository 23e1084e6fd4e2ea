"""Pages of docs/reference, written from the code: commands, metrics, store format, exit codes, Python, benchmarks.

python -m musigan_tools._reference writes them anew where it runs in a checkout; a test compares.
The pages of settings and losses are those of musigan/checkpoints/reference.py.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musigan_tools._cli import EXIT_CODES
from musigan_tools._commands import COMMANDS
from musigan_tools._help import Help

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / "docs" / "reference"
WRITTEN = "python -m musigan_tools._reference"
GOOD = {"low": "low", "high": "high", "reference": "as real music"}


def pages(told: Mapping[str, Help]) -> dict[str, str]:
    """Return the pages by file name."""
    lines: dict[str, Callable[[], Iterator[str]]] = {
        "commands.md": lambda: commands_page(told),
        "metrics.md": metrics_page,
        "store.md": store_page,
        "exit-codes.md": exit_codes_page,
        "python.md": python_page,
        "benchmarks.md": benchmarks_page,
    }
    return {name: "\n".join(each()) + "\n" for name, each in lines.items()}


# -- commands ---------------------------------------------------------------------------------------------------------


def commands_page(told: Mapping[str, Help]) -> Iterator[str]:
    """Yield the lines of the page of commands: what `--help` says of each, in tables."""
    yield from (
        "# Commands",
        "",
        "What `--help` says of each command. Those that are programs of their own go by their bare names, too;",
        "`musigan COMMAND` works for all of them, wherever another program has the name.",
        "",
    )
    yield from _table(("command", "does"), [(f"[{name}](#musigan-{name})", COMMANDS[name][1]) for name in told])
    for name, each in told.items():
        yield from _command(name, each)


def _command(name: str, told: Help) -> Iterator[str]:
    usage = told.usage if told.usage.startswith("musigan ") else f"musigan {told.usage}"
    yield from ("", f"## musigan {name}", "", "```text", usage, "```")
    for paragraph in told.paragraphs:
        yield from ("", _escaped(paragraph))
    rows = [
        (
            f"`{option.heading}`",
            f"`{option.default}`" if option.default else "required" if option.is_required else "",
            _escaped(option.about) + (f" ({option.limits})" if option.limits else ""),
        )
        for option in (*told.arguments, *told.options)
    ]
    yield ""
    yield from _table(("option", "default", "meaning"), rows)
    yield from ("", "```", told.example, "```")


# -- metrics ----------------------------------------------------------------------------------------------------------


def metrics_page() -> Iterator[str]:
    """Yield the lines of the page of metrics: which values are good, what each means, then each module's own words."""
    from musigan import metrics
    from musigan.metrics import distances, diversity, evaluation, form, memorisation, notemetrics, pieces, rhythm
    from musigan.metrics import twosample as classifiers

    yield from ("# Metrics", "", "What `evaluate` and `report` say.", "")
    yield from _docstring(metrics, first=1)
    yield from ("", "Of rolls of ten seconds:", "")
    yield from _metrics(evaluation.METRICS)
    yield from ("", "Of pieces of half a minute and of two minutes:", "")
    yield from _metrics(pieces.METRICS)
    modules = (distances, classifiers, notemetrics, memorisation, diversity, rhythm, form)
    for module in modules:
        yield from ("", f"## {module.__name__.rpartition('.')[2]}", "")
        yield from _docstring(module)


def _metrics(metrics: tuple[Any, ...]) -> Iterator[str]:
    rows = [(metric.name, metric.family, GOOD[metric.good], metric.meaning) for metric in metrics]
    yield from _table(("metric", "family", "good", "meaning"), rows)


# -- stores -----------------------------------------------------------------------------------------------------------


def store_page() -> Iterator[str]:
    """Yield the lines of the page of the store's format: arrays by kind, attributes of a store and of its songs."""
    from musigan import store
    from musigan.checkpoints.reference import field_comments
    from musigan.store import zipstream
    from musigan.store.header import PACKED, PLAIN
    from musigan.store.layout import DTYPES

    yield from ("# Store format", "")
    yield from _docstring(store)
    yield from (
        "",
        f"Formats are {PLAIN}, plain blocks, and {PACKED}, what is compressed or in shards; a newer one is refused. "
        f"Arrays are of {', '.join(DTYPES[:-1])} or {DTYPES[-1]}.",
    )
    for title, record in (("Attributes of a store", store.StoreHeader), ("Attributes of an item", store.Song)):
        comments = field_comments(record)
        names = [name for name in comments if name not in ("other", "names", "ALWAYS")]
        names += [name for name in inspect.get_annotations(record) if name not in (*names, "ALWAYS")]
        rows = [(f"`{name}`", _kind(record, name), comments.get(name, "")) for name in names]
        yield from ("", f"## {title}", "", (inspect.getdoc(record) or "").splitlines()[0], "")
        yield from _table(("attribute", "type", "meaning"), rows)
    yield from ("", "## As a ZIP", "")
    yield from _docstring(zipstream)


def _kind(record: type, name: str) -> str:
    """Return the annotation of a field as JSON has it."""
    text = str(inspect.get_annotations(record)[name])
    text = re.sub(r"Mapping\[.*?\](?=$| )", "object", text).replace(" | None", "")
    text = re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", text)
    text = re.sub(r"tuple\[.*\]", "list of two int", text)
    words = {"str": "text", "float": "number", "int": "whole number"}
    told = re.sub(r"\b(str|float|int)\b", lambda match: words[match[0]], text)
    return re.sub("(list of .*number)$", r"\1s", told)


# -- exit codes, Python, benchmarks -----------------------------------------------------------------------------------


def exit_codes_page() -> Iterator[str]:
    """Yield the lines of the page of exit codes, then the errors that are behind them."""
    from musigan import errors

    yield from ("# Exit codes", "", "All commands end alike.", "")
    yield from _table(("code", "means"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])
    yield from (
        "",
        "In a pipe `set -o pipefail` has the shell tell of each tool. A 3 is no failure: what was written is whole.",
        "",
        "Errors that the library raises on purpose, and the code of each; tools print them as one line:",
        "",
    )
    kinds = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.MusiganError)]
    rows = [(f"`{kind.__name__}`", str(kind.exit_code), (kind.__doc__ or "").splitlines()[0]) for kind in kinds]
    yield from _table(("error", "code", "raised for"), rows)


def python_page() -> Iterator[str]:
    """Yield the lines of the page of the library's face: its functions and what they say of themselves."""
    import musigan
    from musigan.sampling.sampler import Sampler

    yield from ("# Python", "")
    yield from _docstring(musigan)
    for name in musigan.__all__:
        face = getattr(musigan, name)
        if inspect.isfunction(face):
            yield from ("", f"## musigan.{name}", "", "```text", name + _signature(face), "```", "")
            yield from _docstring(face)
    yield from ("", "## Sampler.sample", "", "What `load` returns draws by", "")
    yield from ("```text", "sample" + _signature(Sampler.sample).replace("self, ", ""), "```", "")
    yield from _docstring(Sampler.sample)
    yield from ("", "Errors are on the page of [exit codes](exit-codes.md).")


def _signature(function: Callable[..., Any]) -> str:
    """Return parameters, types and defaults of a function whose types are text."""
    return re.sub(r"(?<=: |> )'([^']*)'", r"\1", str(inspect.signature(function)))


def benchmarks_page() -> Iterator[str]:
    """Yield the lines of the page of benchmarks: what each script says first of itself."""
    yield from ("# Benchmarks", "", "Scripts of `benchmarks/`; the first lines of each say more.", "")
    rows = []
    for file in sorted((CHECKOUT / "benchmarks").glob("*.py")):
        said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows.append((f"`{file.name}`", _escaped(" ".join(said.split("\n\n")[0].split()))))
    yield from _table(("script", "what it does"), rows)


# -- Markdown ---------------------------------------------------------------------------------------------------------


def _docstring(of: Any, first: int = 0) -> Iterator[str]:
    """Yield a docstring's paragraphs from the `first` on: prose as it is, what is indented or in columns as text."""
    paragraphs = (inspect.getdoc(of) or "").split("\n\n")[first:]
    for number, paragraph in enumerate(paragraphs):
        yield from [""] * (number > 0)
        lines = paragraph.splitlines()
        if any(re.search(r"^  | {3}", line) for line in lines):
            yield from ("```text", *inspect.cleandoc("\n" + paragraph).splitlines(), "```")
        else:
            yield from map(_escaped, lines)


def _escaped(text: str) -> str:
    """Return prose whose stars and angle brackets Markdown leaves alone; *words* are stressed."""
    return text if "`" in text else re.sub(r"\*(?!\w+\*)(?<!\w\*)|<", r"\\\g<0>", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows)

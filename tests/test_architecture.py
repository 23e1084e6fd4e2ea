"""The library's one rule: packages import from packages to their right, never from their left or beside them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent

# From the top of the house down; rooms between bars do not know each other.
RULE = """
    tools -> training | report -> sampling -> checkpoints | metrics | synthesis
    -> datasets | analysis | midi | pictures | tunes | doctor -> store | sound | models
    -> rolls | losses | files | machine | settings -> layers | errors
"""
FLOORS = [[room.strip() for room in floor.split("|")] for floor in RULE.split("->")]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
WITHOUT_TORCH = ("rolls", "store", "sound", "analysis", "midi", "synthesis", "metrics")


def room(module: str) -> str:
    """Return the room of a dotted module name: `musigan.store.reading` is in store, the tools are one room."""
    if module == "musigan.__main__":
        return "tools"  # their door for python -m
    first, _, rest = module.partition(".")
    return "tools" if first == "musigan_tools" else rest.partition(".")[0]


def modules() -> dict[str, Path]:
    """Return every module of the library and the tools by its dotted name."""
    files = {"musigan": CHECKOUT / "musigan", "musigan_tools": CHECKOUT / "tools"}
    named = {}
    for package, folder in files.items():
        for file in folder.rglob("*.py"):
            parts = (package, *file.relative_to(folder).with_suffix("").parts)
            named[".".join(part for part in parts if part != "__init__")] = file
    return named


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever in it: at the top, in functions, for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("musigan", "musigan_tools")
        ):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def edges() -> set[tuple[str, str]]:
    """Return (importer, imported) of every import between modules of ours."""
    known = modules()
    return {(name, other) for name, file in known.items() for other in imports(file, known) if other != name}


def test_every_room_has_its_floor() -> None:
    rooms = {room(name) for name in modules()} - {""}
    assert rooms == set(FLOOR)


def test_imports_point_to_the_right() -> None:
    """The package's face (musigan/__init__.py) may import anything, late; its version is anybody's."""
    upward = [
        f"{name} imports {other}"
        for name, other in sorted(edges())
        if "" not in (room(name), room(other)) and room(name) != room(other) and FLOOR[room(name)] >= FLOOR[room(other)]
    ]
    assert not upward, "\n".join(upward)


def test_modules_import_in_no_circle() -> None:
    """Within a package, too: a module's face (__init__) left out, which its own modules may be imported by."""
    known = modules()
    faces = {name for name, file in known.items() if file.name == "__init__.py"}
    below: dict[str, set[str]] = {name: set() for name in known}
    for name, other in edges():
        if other not in faces:
            below[name].add(other)
    done: set[str] = set()

    def descend(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in sorted(below[name]):
                descend(other, (*path, name))
            done.add(name)

    for name in sorted(known):
        descend(name, ())


def test_the_help_of_tools_costs_the_import_of_the_cli_library_alone() -> None:
    """Modules of tools import numpy, and what needs it, in the function that uses it."""
    names = [name for name in modules() if room(name) == "tools"]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "print(*{'numpy', 'zarr', 'torch', 'pydantic'} & set(sys.modules))"
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.stdout.split() == []


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_imports_without_torch(package: str) -> None:
    """Every module of the package, imported in a process of its own, leaves torch, librosa and matplotlib alone."""
    names = [name for name in modules() if room(name) == package]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "print(*{'torch', 'librosa', 'matplotlib'} & set(sys.modules))"
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.stdout.split() == []


def test_names_of_attributes_live_in_store_alone() -> None:
    """Elsewhere a store is its header and an item its song: typed records, no mappings of strings."""
    pattern = re.compile(r'attributes\[["\']|attributes\.get\(|(header|\bstore)\[["\']')
    files = [file for name, file in modules().items() if room(name) != "store"]
    assert [str(file) for file in files if pattern.search(file.read_text(encoding="utf-8"))] == []


def test_tools_are_thin() -> None:
    """A command is its options, one call of the library, and how it ends."""
    lengths = {file.name: len(file.read_text().splitlines()) for file in (CHECKOUT / "tools").glob("[!_]*.py")}
    assert {name: length for name, length in lengths.items() if length > 60} == {}

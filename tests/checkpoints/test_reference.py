from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from musigan import models
from musigan.checkpoints import reference
from musigan.checkpoints.settings import TrainingSettings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@dataclass(frozen=True)
class Parent:
    """A section."""

    width: int = 3  # of the parent
    depth: int = 4


@dataclass(frozen=True)
class Child(Parent):
    """A section that adds a field and gives another a comment."""

    depth: int = 5  # of the child, # twice
    kinds: tuple[str, ...] = (
        "long",  # on a line of its own
        "short",
    )


@pytest.mark.parametrize("page", reference.PAGES)
def test_pages_are_up_to_date(page: str) -> None:
    written, wanted = (FOLDER / page).read_text(encoding="utf-8"), "\n".join(reference.PAGES[page]()) + "\n"
    assert written == wanted, "write it anew: python -m musigan.checkpoints.reference docs/reference"


def test_pages_are_written(tmp_path: Path) -> None:
    reference.write_pages(tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == set(reference.PAGES)


def test_comments_beside_fields_are_read() -> None:
    comments = reference.field_comments(Child)
    assert comments == {"width": "of the parent", "depth": "of the child, # twice", "kinds": "on a line of its own"}


def test_every_setting_has_a_meaning() -> None:
    sections = [type(value) for value in vars(TrainingSettings()).values() if dataclasses.is_dataclass(value)]
    networks = [models.family(name).settings for name in models.FAMILIES]
    for section in (TrainingSettings, *sections, *networks):
        comments = reference.field_comments(section)
        assert not [f.name for f in dataclasses.fields(section) if not comments.get(f.name) and f.name not in SECTIONS]


SECTIONS = ("augment", "variational", "prior", "likelihood", "adversarial")


def test_values_are_as_yaml_has_them() -> None:
    lines = list(reference.settings_page())
    assert "| `compile` | `false` | true or false |" in "\n".join(lines)
    assert "| `prior.draws` | `4` | a whole number, at least 1 |" in "\n".join(lines)
    assert any(line.startswith("| `network.dilations` | `[1, 2, 4, 8]` |") for line in lines)

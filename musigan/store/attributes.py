"""Attributes of a store and of its items: frozen records on this side, plain JSON in the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, TypeGuard

MOST_FLOAT = sys.float_info.max
MAX_ITEMS = 10_000_000


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a JSON value is a finite number, true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_FLOAT


def is_count(value: object) -> TypeGuard[int]:
    """Return whether a JSON value is a whole number of items that a store can have."""
    return type(value) is int and 0 <= value <= MAX_ITEMS


def carried(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the values that no field stands for; NaN and infinity, which JSON does not have, are null in them."""
    others = {name: value for name, value in values.items() if name not in known}
    return dict(json.loads(json.dumps(others), parse_constant=lambda _: None))


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """A record of attributes; those that it has no field for are carried along untouched in `other`.

    A field at its default stands for an attribute that is not there. Attributes are written in the order in which
    they came: `names` lists them, and those that a tool adds (`dataclasses.replace`) follow in the order of the fields.
    """

    ALWAYS: ClassVar[tuple[str, ...]] = ()  # fields that are written at their defaults, too; in a new record the last

    other: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        present = {**self._known(), **self.other}
        added = [name for name in present if name not in self.names and name not in self.ALWAYS]
        object.__setattr__(self, "names", (*(name for name in self.names if name in present), *added))

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes as plain JSON values, by name, in the order of writing."""
        values = {**self.other, **self._known()}
        return {name: values[name] for name in (*self.names, *self.ALWAYS)}

    def _known(self) -> dict[str, Any]:
        """Return the fields that stand for an attribute, as JSON values."""
        known = {}
        for each in fields(self):
            default = each.default if each.default_factory is MISSING else each.default_factory()
            value = getattr(self, each.name)
            if each.name in self.ALWAYS or (each.name not in ("other", "names") and value != default):
                known[each.name] = list(value) if isinstance(value, tuple) else value
        return known

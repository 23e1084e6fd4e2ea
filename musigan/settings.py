"""Settings as frozen dataclasses: defaults < YAML < flags; an unknown key or a value of the wrong type is an error.

`build(cls, mapping)` turns plain values into a dataclass (nested ones too), `as_mapping` turns it back into plain
values: checkpoints store, `--print-config` prints and `--config` reads the same mapping.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from musigan.errors import SettingsError

Settings = TypeVar("Settings")


def build(cls: type[Settings], mapping: Mapping[str, Any], where: str = "") -> Settings:
    """Build settings of type `cls` from plain values; `where` names the section in messages.

    Raises SettingsError for an unknown key, a value of the wrong type, or values that do not fit each other.
    """
    if not isinstance(mapping, Mapping):
        raise SettingsError(f"settings {where or cls.__name__}: expected names with values, found {mapping!r}")
    hints = typing.get_type_hints(cls)
    aliases: Mapping[str, str] = getattr(cls, "ALIASES", {})  # former name -> present one
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {}
    for given_key, value in mapping.items():
        key = aliases.get(given_key, given_key)
        path = f"{where}.{given_key}" if where else str(given_key)
        if key in values:
            raise SettingsError(f"setting '{path}' is another name of '{key}', which is given too; leave one out")
        if key not in names:
            raise SettingsError(f"unknown setting '{path}'; known here: {', '.join(names)}")
        values[key] = _convert(hints[key], value, path)
    return cls(**values)


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Convert `value` to the type `hint`. Raises SettingsError, which names `path`, where it cannot."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, path)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if origin is typing.Literal:
        if value not in arguments:
            raise SettingsError(f"setting '{path}' is {value!r}; expected one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], element, path) for element in value)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _convert(arguments[1], element, f"{path}.{key}") for key, element in value.items()}
    if hint is float and isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        value = float(value)  # PyYAML follows YAML 1.1, which reads 1e-4 as a string
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise SettingsError(f"setting '{path}' is {value}; expected a finite number")
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    expected = getattr(hint, "__name__", str(hint))
    raise SettingsError(f"setting '{path}' is {value!r}; expected a value of type {expected}")


def as_mapping(settings: Any) -> dict[str, Any]:
    """Convert a settings dataclass to plain values (dict, list, str, number, None) for YAML and checkpoints."""

    def plain(value: Any) -> Any:
        """Turn dataclasses into dicts and tuples into lists, at any depth; keep plain values."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {key: plain(element) for key, element in value.items()}
        return [plain(element) for element in value] if isinstance(value, tuple) else value

    result = plain(settings)
    assert isinstance(result, dict)
    return result


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` in place of its own, section by section."""
    merged = dict(base)
    for key, value in over.items():
        base_value = merged.get(key)
        merged[key] = (
            merge(base_value, value) if isinstance(base_value, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def differences(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[tuple[str, Any, Any]]:
    """List (path, old value, new value) of every setting in which two mappings differ."""
    changes = []
    for key in sorted(set(old) | set(new)):
        path, left, right = f"{where}{key}", old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            changes += differences(left, right, f"{path}.")
        elif left != right:
            changes.append((path, left, right))
    return changes


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Raises SettingsError if it cannot be read or holds something else."""
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: cannot be read ({error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingsError(f"--config {path}: not YAML ({first_line})") from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"--config {path}: expected names with values, found {type(document).__name__}")
    return document


def write_yaml(settings: Any) -> str:
    """Return a settings dataclass or mapping as YAML text."""
    import yaml

    mapping = settings if isinstance(settings, Mapping) else as_mapping(settings)
    return str(yaml.safe_dump(dict(mapping), sort_keys=False))

"""Settings as frozen dataclasses: defaults < preset < YAML file < `--set` < flags; pydantic checks keys, types, ranges.

`build(cls, mapping)` turns plain values into a dataclass (nested ones too), `as_mapping` turns it back into plain
values: checkpoints store, `--print-config` prints and `--config` reads the same mapping. A section of settings is a
dataclass of pydantic's with `config=CHECKED`; ranges stand in its annotations, what several of its fields must agree on
in its `__post_init__`, the meaning of each field in a comment beside it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from musigan.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Settings = TypeVar("Settings")

MOST_CHARACTERS = 1_000_000  # of a file of settings
CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]  # 0: none
Even = Annotated[int, Field(ge=2, multiple_of=2)]
BatchCount = Annotated[int, Field(ge=1, le=1 << 16)]
Rate = Annotated[float, Field(gt=0, le=10)]  # of learning
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]

# Settings that the training tools have a flag for, by which messages call them.
FLAGS = ("epochs", "pretrain_epochs", "critic_epochs", "batch_size", "accumulate", "seed", "keep_last")

# Former names, which still work: path -> present name in the same section.
FORMER_NAMES = {"adversarial.learning_rounds": "learning_flow_steps", "network.rounds": "flow_steps"}

_SHORT = Repr()  # of what a file may hold any amount of
_SHORT.maxstring = _SHORT.maxlong = 100
shown, QUOTES = _SHORT.repr, "'\""

# What JSON Schema calls types, in words.
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "object": "names with values",
    "null": "null",
}
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
}


def build(cls: type[Settings], mapping: Mapping[str, Any], where: str = "") -> Settings:
    """Build settings of type `cls` from plain values; `where` names the section in messages.

    Raises SettingsError for an unknown key, a value of the wrong type or out of range, or values that do not fit each
    other. Validation is that of strict JSON: a list stands for a tuple and a mapping for a section, but no text for a
    number and no number for true or false.
    """
    if not isinstance(mapping, Mapping):
        raise SettingsError(f"settings {where or cls.__name__}: expected names with values, found {shown(mapping)}")
    adapter = TypeAdapter(cls)
    try:
        text = json.dumps(current_names(mapping, where), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:  # a mapping that holds itself, or keys that are no names
        raise SettingsError(f"settings {where or cls.__name__}: expected names with plain values ({error})") from error
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors()[0], adapter.json_schema(), where)) from None


def _plain(value: Any) -> Any:
    """Convert a value that JSON does not know: a section that is built already, or a date of YAML."""
    return as_mapping(value) if dataclasses.is_dataclass(value) else str(value)


def current_names(mapping: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return plain settings under present names, section by section; SettingsError where both names are given."""
    renamed: dict[str, Any] = {}
    for given_key, value in mapping.items():
        path = f"{where}.{given_key}" if where else str(given_key)
        key = FORMER_NAMES.get(path, str(given_key))
        if key != given_key and key in mapping:
            raise SettingsError(f"setting '{path}' is another name of '{key}', which is given too; leave one out")
        renamed[key] = current_names(value, path) if isinstance(value, Mapping) else value
    return renamed


def _sentence(error: ErrorDetails, schema: Mapping[str, Any], where: str) -> str:
    """Return one line for an error of pydantic's: the setting, what was found, what is expected."""
    names = [name for name in error["loc"] if isinstance(name, str)]  # numbers are places in a list
    path = ".".join([where, *names] if where else names)
    if error["type"] == "unexpected_keyword_argument":
        known = list(_schema_of(schema, names[:-1])["properties"])
        return f"unknown setting '{path}'; known here: {', '.join(known)}{did_you_mean(names[-1], known)}"
    expected = allowed(_schema_of(schema, names))
    if path in FLAGS:
        return f"--{path.replace('_', '-')} {shown(error['input']).strip(QUOTES)}: expected {expected}"
    verb = "is" if len(names) == len(error["loc"]) or isinstance(error["input"], list) else "holds"
    return f"setting '{path}' {verb} {shown(error['input'])}; expected {expected}"


def _schema_of(schema: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """Return the JSON Schema of the setting at the path `names` within `schema`, which is a section's."""
    definitions, node = schema.get("$defs", {}), schema
    for name in names:
        node = node["properties"][name] if "properties" in node else node["additionalProperties"]
        node = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return node


def allowed(schema: Mapping[str, Any]) -> str:
    """Say in words which values a JSON Schema allows: "a number, at least 0 and less than 1"."""
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in reversed(schema["anyOf"]))  # null first
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}, each {allowed(schema['prefixItems'][0])}"
    if "items" in schema:
        return f"a list, each {allowed(schema['items'])}"
    limits = [f"{words} {schema[limit]}" for limit, words in _LIMITS.items() if limit in schema]
    return ", ".join([_TYPES[schema["type"]], " and ".join(limits)] if limits else [_TYPES[schema["type"]]])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" with the known name nearest to `name`, empty if none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


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
    try:
        with open(path, encoding="utf-8") as file:  # which may be a pipe, or a device without an end
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"--config {path}: cannot be read ({reason})") from error
    if len(text) > MOST_CHARACTERS:
        raise SettingsError(f"--config {path}: more than {MOST_CHARACTERS} characters; expected a page of settings")
    document = _parse_yaml(text, f"--config {path}")
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(f"--config {path}: expected names with values, found {type(document).__name__}")
    return document


def _parse_yaml(text: str, source: str) -> Any:
    """Return the value of a YAML document; SettingsError, which names `source`, if it is none."""
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1 as PyYAML reads it, but 1e-4 is a number, as in YAML 1.2."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if expanded_size(node) > MOST_CHARACTERS:  # aliases of aliases, before they are written out
            raise SettingsError(f"{source}: its aliases stand for more than {MOST_CHARACTERS} values; write them out")
        return loader.construct_document(node)
    # PyYAML raises nearly anything for values that are none of their type: ValueError, AttributeError, IndexError.
    except (
        yaml.YAMLError,
        RecursionError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingsError(f"{source}: not YAML ({first_line[:120]})") from error


def expanded_size(values: Any, known: dict[int, int] | None = None) -> int:
    """Count the values in nested ones, or in a node of YAML; what is shared counts wherever it comes.

    Raises RecursionError for values that hold themselves.
    """
    known = {} if known is None else known
    if id(values) not in known:
        inner = getattr(values, "value", values)
        inner = inner.values() if isinstance(inner, Mapping) else inner if isinstance(inner, list | tuple) else ()
        known[id(values)] = 1 + sum(expanded_size(each, known) for each in inner)
    return known[id(values)]


def read_given(config: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings of the YAML file `config` (empty: none) under `assignments`, each "section.name=value".

    Values are YAML: 3, 1e-4, true, null, [0, 0.1], {melody: 0.5}. Raises SettingsError for what is no assignment.
    """
    given = current_names(read_yaml(config)) if config else {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names):
            raise SettingsError(f"--set {assignment}: expected NAME=VALUE, such as adversarial.penalty=exact")
        value = _parse_yaml(text, f"--set {assignment}")
        for name in reversed(names):
            value = {name: value}
        given = merge(given, current_names(value))
    return given


def write_yaml(settings: Any) -> str:
    """Return a settings dataclass or mapping as YAML text."""
    import yaml

    mapping = settings if isinstance(settings, Mapping) else as_mapping(settings)
    return str(yaml.safe_dump(dict(mapping), sort_keys=False))

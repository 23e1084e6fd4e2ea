"""Whether stores, and a checkpoint's store, were made with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from musigan.errors import StoreError
from musigan.rolls.tracks import track_names


class Store(Protocol):
    """An open keys store: its header, and its name for messages."""

    @property
    def attributes(self) -> dict[str, Any]: ...

    @property
    def source(self) -> str: ...


SHARED_ATTRIBUTES = ("frame_seconds", "low_key", "high_key", "band")


def check_comparable(one: Store, other: Store) -> None:
    """Raise StoreError where two stores' rolls differ in keys, frame length or tracks."""
    for name, unit in (("frame_seconds", "frames of {} s"), ("low_key", "keys from {}"), ("high_key", "keys up to {}")):
        value, other_value = one.attributes[name], other.attributes[name]
        if value != other_value:
            raise StoreError(
                f"{one.source} has {unit.format(value)}, {other.source} {unit.format(other_value)}: such rolls "
                "cannot be compared; make both with the same --keys and --frame-seconds"
            )
    if track_names(one.attributes) != track_names(other.attributes):
        value, other_value = (" ".join(track_names(reader.attributes)) or "recordings" for reader in (one, other))
        raise StoreError(f"{one.source} holds {value}, {other.source} {other_value}: such rolls cannot be compared")


def check_same_keys(one: Store, other: Store) -> None:
    """Raise StoreError where two keys stores differ in keys, frame length or analysis band."""
    for name in SHARED_ATTRIBUTES:
        value, other_value = one.attributes.get(name), other.attributes.get(name)
        if value != other_value:
            raise StoreError(
                f"{one.source} has {name} {value}, {other.source} {other_value}: a critic would "
                "tell them apart by that alone; make both with the same settings of npy-to-keys"
            )


def check_same_layout(reader: Store, header: Mapping[str, Any]) -> None:
    """Raise StoreError where a keys store has other keys, frames or tracks than the checkpoint's."""
    for name in ("frame_seconds", "low_key", "high_key", "tracks"):
        store_value, checkpoint_value = (attributes.get(name, "none") for attributes in (reader.attributes, header))
        if store_value != checkpoint_value:
            raise StoreError(
                f"{reader.source} has {name} {store_value}, the checkpoint {checkpoint_value}: make the "
                "keys with the settings that it was trained with"
            )

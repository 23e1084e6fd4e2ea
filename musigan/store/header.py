"""The header of a store: what all of its items have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from reprlib import repr as shown  # shortens long values: the metadata of a damaged store may hold anything
from typing import Any, ClassVar

from musigan.errors import SettingsError, StoreError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.shape import Geometry
from musigan.store.attributes import Attributes, carried, is_count, is_number

PLAIN, PACKED = 1, 2  # formats: blocks that lie as they are; compressed or in shards, or their metadata together
FORMAT = PACKED  # the newest that is read
MOST = {"sample_rate": 1e6, "chunk_seconds": 1e6, "frame_seconds": 100.0}  # Hz, seconds
REQUIRED = {
    "waveform": ("sample_rate",),
    "pairs": ("sample_rate", "chunk_seconds"),
    "keys": ("sample_rate", "chunk_seconds", "frame_seconds"),
}


@dataclass(frozen=True)
class StoreHeader(Attributes):
    """Kind and format of a store, and the settings that its items were made with."""

    ALWAYS: ClassVar[tuple[str, ...]] = ("kind", "format", "tool")

    kind: str  # waveform, pairs or keys
    sample_rate: float  # Hz; of keys: of the sound that they were measured in
    chunk_seconds: float = 0.0  # length of a chunk; 0: not cut
    overlap: float | None = None  # share of a pair that the next one repeats
    validation: float | None = None  # share of the songs that is held back
    frame_seconds: float = 0.0  # length of a frame of keys; 0: no keys
    low_key: int = 0  # piano keys, both included; 0: no keys
    high_key: int = 0  # as low_key
    band: Mapping[str, Any] | None = None  # how the bands were made; `key_settings` reads it
    tracks: tuple[str, ...] = ()  # names of the channels; (): the sides of a recording, without drums
    expected: int | None = None  # number of items announced by the first tool, for progress
    items: int | None = None  # number of items, where the header is written last
    format: int = field(default=PLAIN, compare=False)  # of the bytes, whatever is in them
    tool: Mapping[str, Any] = field(default_factory=dict)  # {library: version} that wrote the store

    @classmethod
    def parse(cls, values: object) -> StoreHeader:
        """Parse a header's plain values. Raises StoreError for an unknown kind or format, or impossible values."""
        kind = values.get("kind") if isinstance(values, dict) else values
        if not isinstance(values, dict) or not isinstance(kind, str) or kind not in REQUIRED:
            raise StoreError(f"unknown kind of store {shown(kind)}, expected {', '.join(REQUIRED)}")
        version = values.get("format")
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise StoreError(f"store format {shown(version)}, this musigan reads up to {FORMAT}: update musigan")
        for name, most in MOST.items():
            value = values.get(name)
            # The bounds keep products and quotients of these finite, and sound that is made of a few frames small.
            if (name in values or name in REQUIRED[kind]) and not (is_number(value) and 1e-6 <= value <= most):
                raise StoreError(f"the store's {name} is {shown(value)}, expected a positive number up to {most:g}")
        if kind == "keys":
            low, high = values.get("low_key"), values.get("high_key")
            if type(low) is not int or type(high) is not int or not 1 <= low <= high <= 128:
                raise StoreError(
                    f"the store's keys run from {shown(low)} to {shown(high)}, expected piano keys, low first"
                )
            _check_tracks(values.get("tracks"))
        known = {name: values[name] for name in _FIELDS if name in values and _has_type(name, values[name])}
        if "tracks" in known:
            known["tracks"] = tuple(known["tracks"])
        return cls(**known, other=carried(values, known), names=tuple(values))

    def with_keys(self, settings: KeySettings) -> StoreHeader:
        """Return the header of keys that are made with `settings` from this store's items."""
        band = {
            "name": settings.band,
            "base_hz": settings.base_hz,
            "slope": settings.slope,
            "threshold": settings.threshold,
            "cleaned": settings.cleaned,
        }
        return replace(
            self, kind="keys", frame_seconds=settings.frame_seconds, low_key=settings.keys.low,
            high_key=settings.keys.high, band=band,
        )  # fmt: skip

    @property
    def key_settings(self) -> KeySettings:
        """The settings that the keys were made with. Raises SettingsError if they are incomplete or out of range."""
        try:
            band: Mapping[str, Any] = self.band  # type: ignore[assignment]  # None raises TypeError
            return KeySettings(
                band=band["name"],
                keys=KeyRange(self.low_key, self.high_key),
                frame_seconds=float(self.frame_seconds),
                threshold=float(band["threshold"]),
                cleaned=bool(band["cleaned"]),
                base_hz=float(band["base_hz"]),
                slope=float(band["slope"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(
                f"the keys store's attributes are incomplete or garbled ({error}): make it anew"
            ) from None

    @property
    def key_count(self) -> int:
        """Number of piano keys."""
        return self.high_key - self.low_key + 1

    @property
    def geometry(self) -> Geometry:
        """Meaning of the axes of its rolls."""
        return Geometry(float(self.frame_seconds), self.low_key, self.tracks)

    def of_new_items(self) -> StoreHeader:
        """Return the header of a store of other items of the same making: nothing in it is about this store's songs."""
        return StoreHeader(
            self.kind, self.sample_rate, self.chunk_seconds, frame_seconds=self.frame_seconds, low_key=self.low_key,
            high_key=self.high_key, band=self.band, tracks=self.tracks,
        )  # fmt: skip

    def describe(self) -> str:
        """Describe the store in one readable line."""
        parts = [self.kind, f"{self.sample_rate} Hz"]
        if self.chunk_seconds:
            parts.append(f"chunks of {self.chunk_seconds:g} s")
        if self.kind == "keys":
            parts += [f"keys {self.low_key}-{self.high_key}", f"frames of {self.frame_seconds} s"]
            if self.tracks:
                parts.append("tracks " + " ".join(self.tracks))
        return ", ".join(parts)


_FIELDS = [each.name for each in fields(StoreHeader) if each.name not in ("other", "names")]


def _has_type(name: str, value: object) -> bool:
    """Return whether a value that nothing is computed with can stand in its field; others are carried along."""
    if name in ("overlap", "validation"):
        return is_number(value)
    if name in ("expected", "items"):
        return is_count(value)
    if name in ("low_key", "high_key"):  # of keys they are checked, of other kinds they mean nothing
        return type(value) is int
    if name == "tracks":
        return isinstance(value, list) and all(isinstance(track, str) for track in value)
    return name not in ("band", "tool") or (isinstance(value, dict) and carried(value, ()) == value)


def _check_tracks(tracks: object) -> None:
    """Check a header's names of channels, if there are any. Raises StoreError unless they are distinct names."""
    if tracks is None:
        return
    names = (
        [name for name in tracks if isinstance(name, str) and 0 < len(name) <= 100] if isinstance(tracks, list) else []
    )
    if not names or names != tracks or len(set(names)) < len(names):
        raise StoreError(f"the store's tracks are {shown(tracks)}, expected names, each once")

"""Whether two stores, or a store and a checkpoint's, were made with the same settings."""

from __future__ import annotations

from musigan.errors import StoreError
from musigan.rolls.tracks import MONO, has_own_drums, is_recording
from musigan.store.header import StoreHeader

AXES = ("frame_seconds", "low_key", "high_key")  # what the axes of a roll mean, but for its tracks
COMPARE = "such rolls cannot be compared; make both with the same --keys and --frame-seconds"
WORDS = {
    "kind": "{}", "sample_rate": "sound at {} Hz", "chunk_seconds": "chunks of {:g} s",
    "frame_seconds": "frames of {} s", "low_key": "keys from {}", "high_key": "keys up to {}", "band": "bands {}",
}  # fmt: skip
TRAINED = "make the keys with the settings that it was trained with"


def alike(one: StoreHeader, other: StoreHeader, settings: tuple[str, ...] = (*AXES, "tracks")) -> str:
    """Return the first of `settings` in which two stores differ; "" where there is none."""
    return next((name for name in settings if getattr(one, name) != getattr(other, name)), "")


def require_alike(
    one: tuple[str, StoreHeader],
    other: tuple[str, StoreHeader],
    next_step: str,
    settings: tuple[str, ...] = (*AXES, "tracks"),
) -> None:
    """Raise StoreError, with both values and `next_step`, where two stores, each (name, header), differ."""
    if difference := alike(one[1], other[1], settings):
        (name, value), (other_name, other_value) = ((name, _words(header, difference)) for name, header in (one, other))
        raise StoreError(f"{name} has {value}, {other_name} {other_value}: {next_step}")


def _words(header: StoreHeader, setting: str) -> str:
    """Describe a setting of a store to a musician."""
    if setting == "tracks":
        if not is_recording(header.tracks):
            return f"the tracks {' '.join(header.tracks)}"
        sides = "one side" if MONO[0] in header.tracks else "the two sides"
        return f"{sides} of a recording" + (" and drums" if has_own_drums(header.tracks) else "")
    return WORDS.get(setting, setting + " {}").format(getattr(header, setting))

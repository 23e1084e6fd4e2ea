"""One track of songs, given to a model that makes the others to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from musigan import beats
from musigan.conditions import NOT_GIVEN
from musigan.errors import UsageError
from musigan.excerpts import MAX_ITEMS, Window, excerpts
from musigan.sampling import Sampler, check_made_alike

SIDES = ("left", "right")


@dataclass(frozen=True)
class Given:
    """A song's track: `kept` (C, K, T) in linear loudness, NOT_GIVEN in the others, and the beat it goes by."""

    title: str
    kept: np.ndarray
    beat: beats.Beat


def track_number(name: str, sampler: Sampler) -> int:
    """Which track `name` is of a checkpoint's; UsageError names those there are."""
    sampler.check_goes_by("kept", "--keep")
    count = sampler.shape.channels
    names = [str(track) for track in sampler.store.get("tracks") or (SIDES if count == 2 else ())]
    if count < 2 or name not in names:
        known = ", ".join(names) if count > 1 else "one only, and nothing would be left to make"
        raise UsageError(f"--keep {name}: no such track in this checkpoint; it has {known}")
    return names.index(name)


def given_tracks(
    reader: Any, sampler: Sampler, track: int, seconds: float, skip: Callable[[str, str], None]
) -> Iterator[Given]:
    """Track `track` of the first `seconds` of each song of a keys store (of 100 at most).

    Raises StoreError where the store was made with other settings than the checkpoint's.
    """
    check_made_alike(reader, sampler)
    attributes = [info.attributes for info in reader.infos()]
    for found in excerpts(reader, range(1, MAX_ITEMS + 1), Window(0.0, seconds), skip):
        roll = np.asarray(found.roll, np.float32)
        if not roll[track].any():
            skip(found.title, "the track is silent")
            continue
        kept = np.full_like(roll, NOT_GIVEN)
        kept[track] = roll[track]
        yield Given(found.title, kept, _beat(attributes[found.number - 1], roll[track : track + 1], sampler))


def _beat(attributes: Mapping[str, Any], roll: np.ndarray, sampler: Sampler) -> beats.Beat:
    """What the song says of its beat, or what the onsets of its track, (1, K, T), suggest."""
    said = beats.said(attributes)
    if said is not None:  # counted from the song's beginning, the roll from its first chunk that is no silence
        return said.seen_from(min(attributes.get("starts") or (0.0,)))
    return beats.estimate(roll, float(sampler.store["frame_seconds"])) or beats.Beat()

"""Accompaniment: one track of a song is given to a model, which generates the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from musigan.datasets.conditions import TO_GENERATE
from musigan.errors import FieldError
from musigan.rolls import beats
from musigan.rolls.tracks import SIDES
from musigan.sampling.sampler import Sampler
from musigan.store import Reader, Song
from musigan.store.alike import TRAINED, require_alike
from musigan.store.excerpts import MAX_ITEMS, Window, excerpts


@dataclass(frozen=True)
class GivenTrack:
    """A song's track: `kept` (C, K, T) in linear loudness, NOT_GIVEN in the other tracks, and the song's beat."""

    title: str
    kept: np.ndarray
    beat: beats.Beat
    beats: beats.Beats  # every one, from the first frame on; none where nobody looked for them


def track_number(name: str, sampler: Sampler) -> int:
    """Return the number of the checkpoint's track `name`, from 0; FieldError, naming its tracks, if there is none."""
    sampler.capabilities.check_takes("kept")
    count = sampler.shape.channels
    names = sampler.store.header.tracks or (SIDES if count == len(SIDES) else ())
    if count < 2 or name not in names:
        known_tracks = ", ".join(names) if count > 1 else "one only, and nothing would be left to make"
        raise FieldError("{keep} {0}: no such track in this checkpoint; it has {1}", name, known_tracks)
    return names.index(name)


def given_tracks(
    reader: Reader, sampler: Sampler, track: int, seconds: float, skip: Callable[[str, str], None]
) -> Iterator[GivenTrack]:
    """Yield track `track` of the first `seconds` of each song of a keys store (of 100 at most).

    `skip` gets title and reason of songs left out. Raises StoreError where the store was made with other
    settings than the checkpoint's.
    """
    require_alike((reader.source, reader.header), ("the checkpoint", sampler.store.header), TRAINED)
    songs = [info.song for info in reader.infos()]
    for excerpt in excerpts(reader, range(1, MAX_ITEMS + 1), Window(0.0, seconds), skip):
        roll = np.asarray(excerpt.roll, np.float32)
        if not roll[track].any():
            skip(excerpt.title, "the track is silent")
            continue
        given_roll = np.full_like(roll, TO_GENERATE)
        given_roll[track] = roll[track]
        beat = _beat(songs[excerpt.number - 1], roll[track : track + 1], sampler)
        yield GivenTrack(excerpt.title, given_roll, beat, excerpt.beats)


def _beat(song: Song, roll: np.ndarray, sampler: Sampler) -> beats.Beat:
    """Return the beat that the song states, else an estimate from the onsets of its track, (1, K, T)."""
    stated_beat = song.beat
    if (
        stated_beat is not None
    ):  # seconds count from the song's beginning, the roll's from its first chunk that is not silent
        return stated_beat.counted_from(song.begin_seconds)
    return beats.estimate(roll, sampler.store.header.frame_seconds) or beats.Beat()

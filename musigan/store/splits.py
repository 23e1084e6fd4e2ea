"""The split of a store's songs into those to learn from and those held back.

The tools that cut songs pass them on one by one and decide by a hash of each, so of few songs they may hold none back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan.store.chunks import validation_share
from musigan.store.reader import Reader
from musigan.store.song import Song

ENOUGH_SONGS = 10  # from which on FEWEST_HELD_OUT are held back
FEWEST_HELD_OUT = 2
HELD_BACK = "held back"  # in a run's fingerprint of its music: the names, where the store itself does not say so


def sides_of(
    pieces: npt.NDArray[Any], song: Song, span_seconds: float, share: float
) -> Iterator[tuple[npt.NDArray[Any], Song]]:
    """Yield the beginning of a song, to learn from, and its end, held back: the last `share` of its pieces, rounded up.

    `pieces` (P, ...) are pairs or chunks that last `span_seconds`. Those that reach into the end are on neither side.
    A song of which nothing would be left is learned from whole.
    """
    starts = np.array(song.start_times(len(pieces), span_seconds))
    count = min(math.ceil(share * len(pieces)), len(pieces) - 1)
    end = float(np.sort(starts)[len(pieces) - count]) if count else math.inf
    is_end, is_before = starts >= end, starts + span_seconds <= end + 1e-6
    if not count or not is_before.any():
        yield pieces, replace(song, split="train")
        return
    end_seconds = song.seconds and song.seconds - (end - float(starts.min()))  # counted from the first piece
    before = replace(song, split="train", seconds=None)
    last = replace(song, split="validation", seconds=end_seconds, title=f"{song.title} (end)" if song.title else "")
    for side, chosen in ((before, is_before), (last, is_end)):
        yield pieces[chosen], replace(side, starts=tuple(starts[chosen].tolist()))


def marked_names(reader: Reader) -> frozenset[str]:
    """Return the names of the items that the store itself marks as held back."""
    return frozenset(info.name for info in reader.infos() if info.song.is_held_out)


def held_out_names(reader: Reader) -> frozenset[str]:
    """Return the names of the items that are held back: those that the store marks, and of enough songs at least two.

    Those are the songs that would be marked next if a larger share were: the same ones each time. A store that was cut
    with a share of 0 holds none back.
    """
    infos, marked = reader.infos(), marked_names(reader)
    is_enough = len(marked) >= FEWEST_HELD_OUT or len(infos) < ENOUGH_SONGS
    if is_enough or reader.header.validation == 0:
        return marked
    others = [info for info in infos if info.name not in marked]
    others.sort(key=lambda info: (validation_share(info.song.content or info.name), info.name))
    return marked | {info.name for info in others[: FEWEST_HELD_OUT - len(marked)]}


def names_held_by(data: Mapping[str, Any], reader: Reader) -> frozenset[str]:
    """Return the names of the items that a run held back, whose fingerprint of its music is `data`.

    Runs of before at least two were held back learned from all that the store did not mark.
    """
    return held_out_names(reader) if not data or HELD_BACK in data else marked_names(reader)

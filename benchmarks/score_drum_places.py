"""Where in the bar drums are struck: songs beside drawn pieces.

    python benchmarks/score_drum_places.py SONGS DRAWN

Both are keys stores of recordings with drums. Strokes a bar of each drum at each 16th of bars of four beats, by the
beats that the items carry; the cosine of the two tables; and the share of bars in which drums are struck.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from musigan import store
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.kit import KIT, kit_rows
from musigan.rolls.notes import find_strokes
from musigan.store.songs import piece_roll

PLACES, METER = 16, 4
EARLY = 0.03  # seconds before a bar's first beat that belong to it


@dataclass
class Bars:
    """Strokes (D, PLACES) of all bars, the number of bars, and that of those with strokes."""

    strokes: np.ndarray
    count: int = 0
    struck: int = 0

    def add(self, plane: np.ndarray, rows: tuple[int, ...], beats: tuple[np.ndarray, np.ndarray], frame: float) -> None:
        """Count the strokes of a drums' channel (K, T), whose frames last so many seconds."""
        found, (seconds, numbers) = find_strokes(plane), beats
        times = (found.starts + 0.5) * frame
        for first in range(len(numbers) - METER):
            if list(numbers[first : first + METER + 1]) != [*range(1, METER + 1), 1]:
                continue
            edges = seconds[first : first + METER + 1]
            inside = (times >= edges[0] - EARLY) & (times < edges[-1] - EARLY)
            places = (
                np.rint(np.interp(times[inside], edges, np.arange(METER + 1)) * PLACES / METER).astype(int) % PLACES
            )
            self.count, self.struck = self.count + 1, self.struck + bool(inside.any())
            for drum, row in enumerate(rows):
                np.add.at(self.strokes[drum], places[found.keys[inside] == row], 1)


def bars_of(path: str) -> Bars:
    """Count all bars of a store."""
    reader, bars = store.open_reader(path, ("keys",)), Bars(np.zeros((len(KIT), PLACES)))
    header = reader.header
    for item in reader:
        beats = item.song.every_beat.counted_from(item.song.begin_seconds)
        plane = piece_roll(item, header.frame_seconds)[-1]
        rows = kit_rows(KeyRange(header.low_key, header.high_key))
        bars.add(plane, rows, (beats.seconds, beats.numbers), header.frame_seconds)
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs")
    parser.add_argument("drawn")
    options = parser.parse_args()
    songs, drawn = bars_of(options.songs), bars_of(options.drawn)
    print("| drum | of | " + " | ".join(str(1 + place / METER) for place in range(PLACES)) + " | a bar |")
    print("|---" * (PLACES + 3) + "|")
    for drum, name in enumerate(one.name for one in KIT):
        for who, bars in (("songs", songs), ("drawn", drawn)):
            row = bars.strokes[drum] / max(bars.count, 1)
            print(f"| {name} | {who} | " + " | ".join(f"{value:.2f}" for value in row) + f" | {row.sum():.2f} |")
    one, other = songs.strokes.ravel(), drawn.strokes.ravel()
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9)
    shares = [bars.struck / max(bars.count, 1) for bars in (songs, drawn)]
    print(f"\ncosine of the tables {cosine:.3f}; drums in {shares[0]:.1%} of {songs.count} bars of songs, ", end="")
    print(f"in {shares[1]:.1%} of {drawn.count} drawn ones")


if __name__ == "__main__":
    main()

"""Make the file of the base from a trained checkpoint: slim, in 16 bits, with the outlines of some songs.

    python benchmarks/base_weights.py CKPT OUT.safetensors [--card CARD.md] [--outlines N]

Music is drawn along the outlines of songs. Of each style so many are kept, spread over its tempi.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints.settings import configure
from musigan.rolls.outlines import Outline
from musigan.rolls.scenes import SKINS
from musigan.settings import as_mapping

FEWEST_BEATS = 64  # of a song whose outline is worth following


def chosen(outlines: Sequence[Outline], each: int) -> tuple[Outline, ...]:
    """Return at most `each` outlines of every style: of songs with a beat, at least half of them with drums.

    Both are spread evenly over their tempi.
    """
    by_style = defaultdict(list)
    for outline in outlines:
        if not outline.is_free and len(outline) >= FEWEST_BEATS:
            by_style[outline.style].append(outline)
    kept = []
    for style in sorted(by_style):
        songs = sorted(by_style[style], key=lambda outline: outline.tempo)
        drummed = [outline for outline in songs if outline.scene[:, SKINS].any()]
        wanted = min(len(drummed), max(each // 2, round(each * len(drummed) / len(songs))))
        others = [outline for outline in songs if not outline.scene[:, SKINS].any()]
        kept += [*spread(drummed, wanted), *spread(others, each - wanted)]
    return tuple(kept) or tuple(outlines)


def spread(songs: Sequence[Outline], count: int) -> list[Outline]:
    """Return at most `count` of songs, evenly spread over the list."""
    places = np.unique(np.linspace(0, len(songs) - 1, min(count, len(songs))).round().astype(int))
    return [songs[place] for place in places]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--outlines", type=int, default=40, help="of each style")
    options = parser.parse_args()
    saved = checkpoints.load(options.checkpoint)
    store = replace(saved.store, outlines=chosen(saved.store.outlines, options.outlines))
    # How it was trained is told by the card; a run that begins with it has the settings of its preset.
    settings = as_mapping(configure("small", {"network": saved.settings["network"]}))
    card = options.card.read_text(encoding="utf-8") if options.card else ""
    checkpoints.save_slim(options.output, replace(saved, store=store, settings=settings), card, half=True)
    size = Path(options.output).stat().st_size
    print(f"{options.output}: {size / 1e6:.1f} MB, outlines of {len(store.outlines)} songs")


if __name__ == "__main__":
    main()

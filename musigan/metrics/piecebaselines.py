"""Baselines of whole pieces: real notes without rhythm, or without form; a judge of either must catch each of them.

Each yields one piece for every given one, of its song. Beats that were known move with the music; where they were not,
the baseline's are found again like anybody's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from musigan.metrics.bars import BeatGrid, Piece, bar_edges, beats_of
from musigan.rolls.notes import find_notes
from musigan.rolls.shape import Geometry
from musigan.rolls.tracks import has_own_drums, parts_of, sides_or_tracks

JITTER_SECONDS = 0.06  # standard deviation
TINY_SECONDS = 1e-6  # so that a downbeat at an edge falls into its own bar


def jittered_onsets(pieces: Sequence[Piece], geometry: Geometry, generator: np.random.Generator) -> Iterator[Piece]:
    """Yield each piece with its notes moved by 60 ms, more or less, each on its own; what is no note is left out."""
    for piece in pieces:
        # The sides of a recording share their notes; each other track has its own.
        parts = parts_of(piece.roll, geometry.tracks)
        frames = JITTER_SECONDS / geometry.frame_seconds
        # Drums of a recording have draws of their own, so that its sides are moved as without them.
        draws = [generator, *generator.spawn(1)] if has_own_drums(geometry.tracks) else [generator] * len(parts)
        jittered = [_jittered(part, frames, draw) for part, draw in zip(parts, draws, strict=True)]
        yield replace(piece, roll=np.concatenate(jittered))


def _jittered(roll: np.ndarray, deviation_frames: float, generator: np.random.Generator) -> np.ndarray:
    """Return (C, K, T) with its notes, found in the channels' mean, moved at random."""
    notes = find_notes(np.asarray(roll, np.float32).mean(axis=0))
    shifts = np.rint(generator.normal(0, deviation_frames, len(notes))).astype(int)
    shifts = np.clip(shifts, -notes.starts, roll.shape[-1] - notes.stops)
    jittered = np.zeros_like(roll)
    for key, start, stop, shift in zip(notes.keys, notes.starts, notes.stops, shifts, strict=True):
        target = jittered[:, key, start + shift : stop + shift]
        np.maximum(target, roll[:, key, start:stop], out=target)
    return jittered


def shuffled_bars(pieces: Sequence[Piece], geometry: Geometry, generator: np.random.Generator) -> Iterator[Piece]:
    """Yield each piece with its bars in a random order."""
    for piece in pieces:
        bars = _bars(piece, geometry)
        yield _joined([bars[number] for number in generator.permutation(len(bars))], piece, geometry)


def strung_bars(pieces: Sequence[Piece], geometry: Geometry, generator: np.random.Generator) -> Iterator[Piece]:
    """Yield a piece as long as each, of single bars of random pieces."""
    bars_of_pieces = [_bars(piece, geometry) for piece in pieces]
    for piece in pieces:
        chosen: list[Piece] = []
        while sum(bar.roll.shape[-1] for bar in chosen) < piece.roll.shape[-1]:
            bars = bars_of_pieces[int(generator.integers(len(pieces)))]
            chosen.append(bars[int(generator.integers(len(bars)))])
        yield _joined(chosen, piece, geometry)


def looped_bar(pieces: Sequence[Piece], geometry: Geometry, generator: np.random.Generator) -> Iterator[Piece]:
    """Yield a random bar of each piece, over and over."""
    for piece in pieces:
        bars = _bars(piece, geometry)
        bar = bars[int(generator.integers(len(bars)))]
        yield _joined([bar] * -(-piece.roll.shape[-1] // bar.roll.shape[-1]), piece, geometry)


def _bars(piece: Piece, geometry: Geometry) -> list[Piece]:
    """Cut a piece into its bars, with their beats where those were known."""
    frame_seconds = geometry.frame_seconds
    heard = replace(piece, roll=sides_or_tracks(piece.roll, geometry.tracks))
    edges = bar_edges(beats_of(heard, frame_seconds), piece.roll.shape[-1], frame_seconds)
    bars = []
    for start, stop in itertools.pairwise(edges):
        first_second, last_second = (edge * frame_seconds - TINY_SECONDS for edge in (start, stop))
        grid = None if piece.beats is None else piece.beats.excerpt(first_second, last_second)
        bars.append(Piece(piece.roll[..., round(start) : round(stop)], piece.song, grid))
    return bars or [piece]


def _joined(bars: Sequence[Piece], piece: Piece, geometry: Geometry) -> Piece:
    """Return bars one after another, no longer than `piece` and of its song."""
    frames = piece.roll.shape[-1]
    grids = [bar.beats for bar in bars if bar.beats is not None]
    beats = None
    if len(grids) == len(bars):
        starts = np.cumsum([0, *(bar.roll.shape[-1] for bar in bars[:-1])]) * geometry.frame_seconds
        beats = BeatGrid(
            np.concatenate([grid.times + start for grid, start in zip(grids, starts, strict=True)]),
            np.concatenate([grid.numbers for grid in grids]),
        ).excerpt(0, frames * geometry.frame_seconds)
    return Piece(np.concatenate([bar.roll for bar in bars], axis=-1)[..., :frames], piece.song, beats)


PIECE_BASELINES: dict[str, Callable[[Sequence[Piece], Geometry, np.random.Generator], Iterator[Piece]]] = {
    "jittered": jittered_onsets,
    "shuffled bars": shuffled_bars,
    "strung bars": strung_bars,
    "looped bar": looped_bar,
}

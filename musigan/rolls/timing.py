"""Timing: puts the attacks of a roll on the grid where they were meant to be, as a score does.

Players are some hundredths of a second early or late, and so is what is known of where their beats are: of the onsets
of 92 recorded songs a third lie more than a 64th from the 16ths of their own grid. Models that compose learn from rolls
that are tightened; how a performance sways is left behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.tracks import is_recording, parts_of

FAINT = 0.14  # model space; attacks of fainter cells are none
RISE = 1.4  # an attack is so much louder than the frame before: twice, by square roots
ATTACK_FRAMES = 2  # from silence to the loudest frame of an attack, at most
SHORTEST = 3  # frames that a note keeps
SIXTEENTH, TRIPLET, THIRTY_SECOND = 6, 8, 3  # grid frames
AROUND = 4  # beats before and after each one that have a say in its division
CLOSE = 0.6  # square distance, as a share of that by chance, below which another division than 16ths may fit
FAR = 1.1  # the same, above which attacks lie midway between 16ths


def tighten(roll: np.ndarray, tracks: tuple[str, ...] = ()) -> np.ndarray:
    """Move the attacks of a roll on the grid, (C, K, N * GRID_FRAMES) in model space, to its 16ths.

    Where triplets or 32nds fit the music better, to those. What sounds lasts until it did, and what is struck again
    until then; every attack is as loud as it was. A recording's drums are moved on their own, as `tracks` names them:
    they share keys with the bass. All attacks have a say in what division fits.
    """
    parts = parts_of(roll, tracks) if is_recording(tracks) else [roll]
    attacks = [attack_frames(part.max(0)) for part in parts]  # (K, T) each
    divisions = _divisions(np.concatenate(attacks))
    return np.concatenate([_tightened(part, each, divisions) for part, each in zip(parts, attacks, strict=True)])


def _tightened(roll: np.ndarray, attacks: np.ndarray, divisions: np.ndarray) -> np.ndarray:
    """Move the attacks (K, T) of a roll (C, K, T) to the divisions (N,) of its beats."""
    loudest, tight = roll.max(0), np.zeros_like(roll)
    for key in np.flatnonzero(loudest.any(1)):
        starts, stops, is_struck = _sounds(loudest[key] > 0, attacks[key])
        division = divisions[starts // GRID_FRAMES]
        places = np.where(is_struck, np.rint(starts / division).astype(int) * division, starts)
        lasting = np.maximum(stops, places + np.minimum(stops - starts, SHORTEST))
        is_followed = stops == np.append(starts[1:], -1)
        ends = np.minimum(np.where(is_followed, np.append(places[1:], 0), lasting), roll.shape[-1])
        for start, stop, place, end in zip(starts, stops, places, ends, strict=True):
            source = np.minimum(start + np.arange(max(end - place, 0)), stop - 1)
            tight[:, key, place : place + len(source)] = roll[:, key, source]
    return tight


def struck(loudness: Any, before: Any) -> Any:
    """Return where keys are struck, from loudness in model space and that of the frame before: arrays or tensors."""
    return (loudness > FAINT) & (loudness > RISE * before)


def attack_frames(loudest: np.ndarray) -> np.ndarray:
    """Return True where keys are struck in the loudness (K, T) of a roll in model space: one frame an attack."""
    before = np.pad(loudest, ((0, 0), (1, 0)))[:, :-1]
    rises = struck(loudest, before)
    goes_on = np.pad(rises, ((0, 0), (0, 1)))[:, 1:]
    return np.asarray(rises & ~goes_on)  # of rises in a row the last


def _sounds(sounding: np.ndarray, attacks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first frames, stops and whether it is struck of each sound of one key, (T,) each, in order.

    What sounds just before an attack belongs to it and is left out.
    """
    edges = np.diff(np.pad(sounding, 1).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    hits = np.flatnonzero(attacks)
    first_hits = np.append(hits, sounding.size + ATTACK_FRAMES)[np.searchsorted(hits, begins)]
    swelling = begins[first_hits > begins + ATTACK_FRAMES]  # begins without a blow
    starts = np.concatenate((swelling, hits))
    order = np.argsort(starts)
    starts, is_struck = starts[order], (order >= len(swelling))
    stops = np.minimum(np.append(starts[1:], sounding.size), ends[np.searchsorted(begins, starts, side="right") - 1])
    return starts, stops, is_struck


def _divisions(attacks: np.ndarray) -> np.ndarray:
    """Return for each beat the grid frames of the division that its attacks (K, T) and those around fit best, (N,)."""
    counts = attacks.sum(0).reshape(-1, GRID_FRAMES).astype(float)  # (N, GRID_FRAMES)
    totals = np.pad(counts, ((AROUND + 1, AROUND), (0, 0))).cumsum(0)
    around = totals[2 * AROUND + 1 :] - totals[: -2 * AROUND - 1]
    places, shares = np.arange(GRID_FRAMES), {}
    for division in (SIXTEENTH, TRIPLET, THIRTY_SECOND):
        square = (places - np.rint(places / division) * division) ** 2
        shares[division] = around @ square / (around.sum(1) * square.mean() + 1e-9)
    is_fine = (shares[SIXTEENTH] > FAR) & (shares[THIRTY_SECOND] < CLOSE)
    chosen = np.where(is_fine, THIRTY_SECOND, SIXTEENTH)
    return np.where(shares[TRIPLET] < CLOSE * np.minimum(shares[SIXTEENTH], 1.0), TRIPLET, chosen)

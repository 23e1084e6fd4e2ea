"""From the loudness of bands to notes: one run of frames for a held note, exact zeros elsewhere.

Bands alone show more than was played: neighbours of a loud key, the noise of drums, and above all the overtones of
every note ("ghosts"). Five steps leave the notes:

1. Candidates. A cell stays if it stands out from its neighbours and its surroundings (spectral peak picking), and if it
   is no smear of the filter before a note's beginning or after its end. A run of such cells, short gaps closed, counts
   only with enough cells that meet the strict form of these demands (hysteresis).
2. Ghosts. A run whose cells are mostly no louder than the overtone that a lower note with several overtones may be
   expected to have is that note's overtone: its power goes to the lower note, cell by cell. Notes grow by it, so again.
3. Runs shorter than the shortest note go, and those that no longer stand out among the notes that grew.
4. The bands that these notes alone would give are cleaned likewise: what is not found again goes.
5. Channels in which a note is inaudible beside the loudest one are silent there.

Every step only asks whether something *else* speaks against a cell being a note of its own. What survived therefore
survives again once everything else is gone, and cleaning the sound of a clean roll gives nearly that roll.

All channels share one decision, taken on their mean power, so a note panned half way does not fall to pieces.

The figures below were chosen by hand around a search on four pieces with known notes (benchmarks/score_aligned.py), the
later ones also by how well real songs come back from their own sound. Average precision on those pieces is therefore
flattered; searches that left one piece out scored .32 to .73 on it. EDGE and GAP_SECONDS matter most in fast music.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SILENCE = 3e-5  # RMS of full scale, -90 dB: dither and rounding, not sound
LEVEL_PERCENTILE = 99.5

WEAK_THRESHOLD = 0.25  # of the threshold: where a run ends that reached the threshold
WEAK_NEED = 0.2  # of what a strict cell needs: where a run ends that stood out somewhere
STRICT_SHARE = 0.3  # of a run's cells must be strict
ALONE_SHARE = 0.5  # and of a run among notes alone, so that it will do again beside their leakage
CONTRAST = 1.75  # a strict cell is this much louder than the mean of the keys around it ...
CONTRAST_KEYS = 4  # ... on either side
EDGE = 0.4
EDGE_SECONDS = 0.06
GAP_SECONDS = 0.04  # longest break within a note
SHORTEST_SECONDS = 0.06  # shortest note

# Overtone h lies about `keys` above its note and has at most `ratio` of its amplitude, more for notes of a low
# frequency, whose fundamental small instruments and loudspeakers leave out.
OVERTONES = {12: 1.5, 19: 1.2, 24: 0.5, 28: 0.5, 31: 0.5, 34: 0.5, 36: 0.5, 38: 0.3, 40: 0.3, 42: 0.3, 43: 0.3}
WEAK_FUNDAMENTAL_HZ = 75.0
WEAK_FUNDAMENTAL_GAIN = 1.5  # at most
WEAK_FUNDAMENTAL_KEYS = 24  # overtones up to here profit
EVIDENCE = (12, 19, 24, 28, 31, 34, 36)  # a note has ghosts only if candidates stand at ...
EVIDENCE_COUNT = 2  # ... so many of these overtones: an octave of pure tones is two notes
GHOST_SHARE = 0.8  # of a run's cells must be within the overtone's reach
GHOST_SECONDS = 0.18  # powers are compared over so long a time
GHOST_ROUNDS = 5

CONFIRMED_SHARE = 0.7  # of a run's power must be found again
CHANNEL_RATIO = 0.1  # amplitude of a note in one channel against its loudest, under which that channel is silent
BLOCK_FRAMES, BLOCK_CONTEXT = 6400, 256  # long stretches are cleaned in blocks that know their surroundings


def sounding_level(loudness: np.ndarray) -> float:
    """99.5th percentile of the cells that sound; 0.0 where none does."""
    sounding = loudness[loudness > 0]
    return float(np.percentile(sounding, LEVEL_PERCENTILE)) if sounding.size else 0.0


@dataclass(frozen=True)
class Runs:
    """Stretches of consecutive frames in one key, as places in the flattened (K, T) plane."""

    starts: np.ndarray
    stops: np.ndarray
    frames: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Runs:
        """All runs of True in a (K, T) mask."""
        first, last = mask.copy(), mask.copy()
        np.greater(mask[:, 1:], mask[:, :-1], out=first[:, 1:])
        np.greater(mask[:, :-1], mask[:, 1:], out=last[:, :-1])
        return cls(np.flatnonzero(first), np.flatnonzero(last) + 1, mask.shape[1])

    @property
    def lengths(self) -> np.ndarray:
        return self.stops - self.starts

    def where(self, chosen: np.ndarray) -> Runs:
        return Runs(self.starts[chosen], self.stops[chosen], self.frames)

    def joined(self, gap: int) -> Runs:
        """Runs of one key at most `gap` frames apart become one."""
        if not self.starts.size:
            return self
        row = self.starts // self.frames
        apart = (self.starts[1:] - self.stops[:-1] > gap) | (row[1:] != row[:-1])
        return Runs(
            self.starts[np.concatenate(([True], apart))], self.stops[np.concatenate((apart, [True]))], self.frames
        )

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of (K, T) values over each run."""
        edges = np.stack((self.starts, self.stops), axis=1).ravel()
        # The last run may stop where the plane does, and reduceat sums to the end by itself.
        return np.add.reduceat(values.ravel(), edges[: edges.size - bool(edges.size and edges[-1] == values.size)])[::2]

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Number of True cells of a (K, T) mask in each run."""
        cells = np.flatnonzero(mask)
        return np.searchsorted(cells, self.stops) - np.searchsorted(cells, self.starts)

    def mask(self, keys: int) -> np.ndarray:
        """(K, T) mask of the runs' cells."""
        lengths = self.lengths
        before = np.cumsum(lengths) - lengths
        mask = np.zeros((keys, self.frames), dtype=bool)
        mask.ravel()[np.arange(lengths.sum()) + np.repeat(self.starts - before, lengths)] = True
        return mask


@dataclass(frozen=True)
class Cleaner:
    """What the steps need to know of the keys and frames."""

    frequencies_hz: np.ndarray  # (K,), rising by semitones
    deviations_hz: np.ndarray  # (K,), of the bands' Gaussians
    frame_seconds: float
    threshold: float  # what a note must reach somewhere, of the level of all cells

    def clean(self, loudness: np.ndarray) -> np.ndarray:
        """Notes of a roll of bands, (C, K, T) RMS of full scale -> (C, K, T): notes with their overtones, else 0."""
        frames = loudness.shape[2]
        notes = np.zeros_like(loudness)
        floor = max(self.threshold * sounding_level(np.sqrt(over_channels(np.square(loudness)))), SILENCE)
        if loudness.max(initial=0.0) < floor:
            return notes
        for first in range(0, frames, BLOCK_FRAMES):
            stop = min(first + BLOCK_FRAMES, frames)
            begin, end = max(first - BLOCK_CONTEXT, 0), min(stop + BLOCK_CONTEXT, frames)
            power = self.notes(np.square(loudness[:, :, begin:end]), floor)
            power = without_faint_channels(self.confirmed(power, floor))
            notes[:, :, first:stop] = np.sqrt(power[:, :, first - begin : stop - begin])
        return notes

    def notes(self, power: np.ndarray, floor: float) -> np.ndarray:
        """Steps 1 to 3, (C, K, T) -> (C, K, T)."""
        mask = candidates(np.sqrt(over_channels(power)), floor, self.frame_seconds)
        return without_ghosts(power * mask, mask, self.frequencies_hz, self.frame_seconds)

    def confirmed(self, power: np.ndarray, floor: float) -> np.ndarray:
        """Step 4: the notes found again in the bands that they alone would give, (C, K, T) -> (C, K, T)."""
        distance = (self.frequencies_hz[None] - self.frequencies_hz[:, None]) / self.deviations_hz[:, None]
        leakage = np.exp(-(distance**2)).astype(np.float32)  # (key of the band, key of the note): power
        again = np.any(self.notes(leakage @ power, floor), axis=0)
        total = over_channels(power)
        runs = Runs.of(total > 0)
        return power * runs.where(runs.sums(total * again) >= CONFIRMED_SHARE * runs.sums(total)).mask(total.shape[0])


def candidates(amplitude: np.ndarray, floor: float, frame_seconds: float) -> np.ndarray:
    """Cells of (K, T) that may belong to notes, bool (K, T): step 1 of the module's description."""
    need = needed(amplitude)
    weak = (amplitude >= WEAK_NEED * need) & (amplitude >= WEAK_THRESHOLD * floor)
    weak &= beyond_smear(amplitude, max(1, round(EDGE_SECONDS / frame_seconds)))
    runs = Runs.of(weak).joined(round(GAP_SECONDS / frame_seconds))
    return standing_out(runs, weak & (amplitude >= need) & (amplitude >= floor), STRICT_SHARE, frame_seconds)


def needed(amplitude: np.ndarray) -> np.ndarray:
    """What a strict cell needs beside its neighbours and surroundings, (K, T) -> (K, T)."""
    need = CONTRAST * mean_within(amplitude, CONTRAST_KEYS, axis=0)
    np.maximum(need[1:], amplitude[:-1], out=need[1:])
    np.maximum(need[:-1], amplitude[1:], out=need[:-1])
    return need


def standing_out(runs: Runs, strict: np.ndarray, share: float, frame_seconds: float) -> np.ndarray:
    """Mask (K, T) of the runs that are long enough and have that share of strict cells."""
    enough = np.maximum(share * runs.lengths, 2)
    long = runs.lengths >= shortest_note(frame_seconds)
    return runs.where(long & (runs.counts(strict) >= enough)).mask(strict.shape[0])


def shortest_note(frame_seconds: float) -> int:
    """Frames of the shortest note kept."""
    return max(1, round(SHORTEST_SECONDS / frame_seconds))


def over_channels(power: np.ndarray) -> np.ndarray:
    """Mean over the channels, (C, K, T) -> (K, T): what np.mean does, at several times its speed for two."""
    total = power[0].copy()
    for channel in power[1:]:
        total += channel
    total *= np.float32(1 / len(power))
    return total


def mean_within(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Mean over the places within `reach` on either side along one axis of (K, T), those beyond the ends being 0.

    Windows of 1, 2, 4, ... places are summed by adding two of half the width; some of these make up the whole one.
    """
    width, size = 2 * reach + 1, values.shape[axis]
    edges = [(0, 0), (0, 0)]
    edges[axis] = (reach, reach)
    window = np.moveaxis(np.pad(values, edges), axis, 0)
    total, done, span = np.zeros_like(window[:size]), 0, 1
    while True:
        if width & span:
            total += window[done : done + size]
            done += span
        if done == width:
            break
        window = window[:-span] + window[span:]
        span *= 2
    total *= np.float32(1 / width)
    return np.moveaxis(total, 0, axis)


def beyond_smear(values: np.ndarray, reach: int) -> np.ndarray:
    """Whether a cell has a fair share of the loudest cell of its key within `reach` frames before and after."""
    loudest = values.copy()
    for step in range(1, reach + 1):
        np.maximum(loudest[:, :-step], values[:, step:], out=loudest[:, :-step])
        np.maximum(loudest[:, step:], values[:, :-step], out=loudest[:, step:])
    return values >= EDGE * loudest


def without_ghosts(power: np.ndarray, mask: np.ndarray, frequencies_hz: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Overtones folded into their notes, (C, K, T) -> (C, K, T): steps 2 and 3."""
    rich = overtone_rich(mask)
    for _ in range(GHOST_ROUNDS):
        ghosts, notes = find_ghosts(over_channels(power), mask, rich, frequencies_hz, frame_seconds)
        if not ghosts.size:
            break
        power = fold(power, ghosts, notes)
        alone = mask.copy()
        alone.ravel()[ghosts] = False
        amplitude = np.sqrt(over_channels(power))
        mask = standing_out(Runs.of(alone), amplitude >= needed(amplitude), ALONE_SHARE, frame_seconds)
        power *= mask
    return power


def find_ghosts(
    power: np.ndarray, mask: np.ndarray, rich: np.ndarray, frequencies_hz: np.ndarray, frame_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a (K, T) plane that are overtones, and for each the cell of the note it would best belong to.

    Cells are places in the flattened plane, rising.
    """
    keys, frames = power.shape
    smooth = mean_within(power, round(GHOST_SECONDS / frame_seconds) // 2, axis=1) * mask
    fundamental = np.minimum(1 + WEAK_FUNDAMENTAL_HZ / frequencies_hz, WEAK_FUNDAMENTAL_GAIN)
    plain = (smooth * rich).ravel()
    boosted = (plain.reshape(keys, frames) * np.square(fundamental)[:, None].astype(np.float32)).ravel()
    cells = np.flatnonzero(mask)  # few: the rest of the work is done on them alone
    reach = np.zeros(cells.size, dtype=np.float32)
    note = cells.copy()
    for distance, ratio in OVERTONES.items():
        above = np.searchsorted(cells, distance * frames)  # all cells from here on have such a note on the keyboard
        below = cells[above:] - distance * frames
        expected = (boosted if distance <= WEAK_FUNDAMENTAL_KEYS else plain)[below] * np.float32(ratio**2)
        better = np.flatnonzero(expected > reach[above:])
        reach[above + better] = expected[better]
        note[above + better] = below[better]
    runs = Runs.of(mask)
    within = np.cumsum(np.concatenate(([0], smooth.ravel()[cells] < reach)))
    stops = np.cumsum(runs.lengths)  # the runs' cells, counted through
    share = within[stops] - within[stops - runs.lengths]
    ghost = np.repeat(share >= GHOST_SHARE * runs.lengths, runs.lengths)
    return cells[ghost], note[ghost]


def overtone_rich(mask: np.ndarray) -> np.ndarray:
    """Whether candidates stand at enough overtones of a cell for it to be a note with overtones, bool (K, T).

    Of the highest notes, whose overtones leave the keyboard, fewer are asked.
    """
    count = np.zeros(mask.shape, dtype=np.int8)
    possible = np.zeros(mask.shape[0], dtype=np.int8)
    for distance in EVIDENCE:
        if distance < mask.shape[0]:
            count[:-distance] += mask[distance:]
            possible[:-distance] += 1
    return count >= np.minimum(EVIDENCE_COUNT, possible)[:, None]


def fold(power: np.ndarray, ghosts: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Power (C, K, T) of cells given to the cells of their notes; a note that is itself a ghost passes it on."""
    while ghosts.size:
        place = np.minimum(np.searchsorted(ghosts, notes), ghosts.size - 1)
        lower = notes[place]
        chained = (ghosts[place] == notes) & (lower != notes)
        if not chained.any():
            break
        notes = np.where(chained, lower, notes)
    folded = power.copy()
    for given, kept in zip(power.reshape(len(power), -1), folded.reshape(len(power), -1), strict=True):
        kept[ghosts] = 0
        np.add.at(kept, notes, given[ghosts])
    return folded


def without_fragments(roll: np.ndarray, frame_seconds: float) -> np.ndarray:
    """(C, K, T) without runs shorter than the shortest note, which no cleaned roll has."""
    runs = Runs.of(np.any(roll > 0, axis=0))
    return np.asarray(roll * runs.where(runs.lengths >= shortest_note(frame_seconds)).mask(roll.shape[1]))


def without_faint_channels(power: np.ndarray) -> np.ndarray:
    """Step 5, (C, K, T) -> (C, K, T)."""
    channels, keys, _ = power.shape
    if channels == 1:
        return power
    runs = Runs.of(power.max(axis=0) > 0)
    sums = np.stack([runs.sums(one) for one in power])
    audible = sums >= CHANNEL_RATIO**2 * sums.max(axis=0)
    for channel in range(channels):
        power[channel] *= runs.where(audible[channel]).mask(keys)
    return power

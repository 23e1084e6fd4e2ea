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
    """Stretches of consecutive frames in one key, as places in the flattened (K, T + 1) plane (one frame apart)."""

    starts: np.ndarray
    stops: np.ndarray
    frames: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Runs:
        """All runs of True in a (K, T) mask."""
        keys, frames = mask.shape
        padded = np.zeros(keys * (frames + 1) + 1, dtype=np.int8)
        padded[1:].reshape(keys, frames + 1)[:, :frames] = mask
        change = np.diff(padded)
        return cls(np.flatnonzero(change == 1), np.flatnonzero(change == -1), frames)

    @property
    def lengths(self) -> np.ndarray:
        return self.stops - self.starts

    def where(self, chosen: np.ndarray) -> Runs:
        return Runs(self.starts[chosen], self.stops[chosen], self.frames)

    def joined(self, gap: int) -> Runs:
        """Runs of one key at most `gap` frames apart become one."""
        if not self.starts.size:
            return self
        row = self.starts // (self.frames + 1)
        apart = (self.starts[1:] - self.stops[:-1] > gap) | (row[1:] != row[:-1])
        return Runs(
            self.starts[np.concatenate(([True], apart))], self.stops[np.concatenate((apart, [True]))], self.frames
        )

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of (K, T) values over each run, float64."""
        total = np.zeros(values.shape[0] * (self.frames + 1) + 1)
        total[1:].reshape(values.shape[0], self.frames + 1)[:, : self.frames] = values
        np.cumsum(total, out=total)
        return total[self.stops] - total[self.starts]

    def mask(self, keys: int) -> np.ndarray:
        """(K, T) mask of the runs' cells."""
        change = np.zeros(keys * (self.frames + 1) + 1, dtype=np.int8)
        change[self.starts] = 1
        change[self.stops] = -1
        return np.cumsum(change[:-1], dtype=np.int8).reshape(keys, -1)[:, : self.frames].astype(bool)


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
        floor = max(self.threshold * sounding_level(np.sqrt(np.mean(np.square(loudness), axis=0))), SILENCE)
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
        mask = candidates(np.sqrt(power.mean(axis=0)), floor, self.frame_seconds)
        return without_ghosts(power * mask, mask, self.frequencies_hz, self.frame_seconds)

    def confirmed(self, power: np.ndarray, floor: float) -> np.ndarray:
        """Step 4: the notes found again in the bands that they alone would give, (C, K, T) -> (C, K, T)."""
        distance = (self.frequencies_hz[None] - self.frequencies_hz[:, None]) / self.deviations_hz[:, None]
        leakage = np.exp(-(distance**2)).astype(np.float32)  # (key of the band, key of the note): power
        again = np.any(self.notes(leakage @ power, floor), axis=0)
        total = power.mean(axis=0)
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
    need = CONTRAST * mean_around(amplitude, CONTRAST_KEYS)
    np.maximum(need[1:], amplitude[:-1], out=need[1:])
    np.maximum(need[:-1], amplitude[1:], out=need[:-1])
    return need


def standing_out(runs: Runs, strict: np.ndarray, share: float, frame_seconds: float) -> np.ndarray:
    """Mask (K, T) of the runs that are long enough and have that share of strict cells."""
    enough = np.maximum(share * runs.lengths, 2)
    long = runs.lengths >= shortest_note(frame_seconds)
    return runs.where(long & (runs.sums(strict) >= enough)).mask(strict.shape[0])


def shortest_note(frame_seconds: float) -> int:
    """Frames of the shortest note kept."""
    return max(1, round(SHORTEST_SECONDS / frame_seconds))


def mean_around(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over the keys within `reach` on either side, the key itself included, keys beyond the ends being 0."""
    keys = values.shape[0]
    total = np.zeros((keys + 2 * reach + 1, values.shape[1]), dtype=np.float32)
    np.cumsum(values, axis=0, out=total[reach + 1 : reach + 1 + keys])
    total[reach + 1 + keys :] = total[reach + keys]
    return (total[2 * reach + 1 :] - total[: -2 * reach - 1]) / np.float32(2 * reach + 1)


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
        ghost, note = ghosts(power.mean(axis=0), mask, rich, frequencies_hz, frame_seconds)
        if not ghost.any():
            break
        folded = fold(power, ghost, note)
        amplitude = np.sqrt(folded.mean(axis=0))
        mask = standing_out(Runs.of(mask & ~ghost), amplitude >= needed(amplitude), ALONE_SHARE, frame_seconds)
        power = folded * mask
    return power


def ghosts(
    power: np.ndarray, mask: np.ndarray, rich: np.ndarray, frequencies_hz: np.ndarray, frame_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells are overtones, bool (K, T), and the key of the note each would best belong to, int (K, T)."""
    keys, frames = power.shape
    smooth = mean_over_time(power, round(GHOST_SECONDS / frame_seconds) // 2) * mask
    cells = np.flatnonzero(mask)  # few: the rest of the work is done on them alone
    key, flat = cells // frames, smooth.ravel()
    reach = np.zeros(cells.size, dtype=np.float32)
    note = key.copy()
    for distance, ratio in OVERTONES.items():
        above = np.searchsorted(key, distance)  # keys rise, so these are all cells with such a note on the keyboard
        below = cells[above:] - distance * frames
        if not below.size:
            continue
        limit = np.full(keys, ratio)
        if distance <= WEAK_FUNDAMENTAL_KEYS:
            limit *= np.minimum(1 + WEAK_FUNDAMENTAL_HZ / frequencies_hz, WEAK_FUNDAMENTAL_GAIN)
        expected = rich.ravel()[below] * flat[below] * np.square(limit).astype(np.float32)[key[above:] - distance]
        better = expected > reach[above:]
        reach[above:][better] = expected[better]
        note[above:][better] = key[above:][better] - distance
    within = np.zeros(mask.shape, dtype=bool)
    within.ravel()[cells] = flat[cells] < reach
    runs = Runs.of(mask)
    ghost = runs.where(runs.sums(within) >= GHOST_SHARE * runs.lengths).mask(keys)
    owner = np.zeros(mask.shape, dtype=np.int64)
    owner.ravel()[cells] = note
    return ghost, owner


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


def mean_over_time(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over the frames within `reach` on either side, frames beyond the ends being 0."""
    frames = values.shape[1]
    total = np.zeros((values.shape[0], frames + 2 * reach + 1))
    np.cumsum(values, axis=1, out=total[:, reach + 1 : reach + 1 + frames])
    total[:, reach + 1 + frames :] = total[:, reach + frames, None]
    return ((total[:, 2 * reach + 1 :] - total[:, : -2 * reach - 1]) / (2 * reach + 1)).astype(np.float32)


def fold(power: np.ndarray, ghost: np.ndarray, note: np.ndarray) -> np.ndarray:
    """Power of ghosts given to their notes; a note that is itself a ghost passes it on downwards."""
    channels, keys, frames = power.shape
    root = np.repeat(np.arange(keys)[:, None], frames, axis=1)
    for key in range(keys):
        when = np.flatnonzero(ghost[key])
        root[key, when] = root[note[key, when], when]
    cells = np.flatnonzero(ghost)
    target = root.ravel()[cells] * frames + cells % frames
    folded = power * ~ghost
    for channel in range(channels):
        given = np.bincount(target, power[channel].ravel()[cells], minlength=keys * frames)
        folded[channel] += given.reshape(keys, frames)
    return folded


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

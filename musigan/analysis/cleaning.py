"""Cleaning of band loudness into notes: one run of frames for each sustained note, exact zeros elsewhere.

Bands alone show more than was played: neighbours of a loud key, the noise of drums, and above all the overtones of
every note ("ghosts"). Five steps remove all but the notes:

1. Candidates. A cell is kept if it stands out from its neighbours and its surroundings (spectral peak picking), and if
   it is not the filter's smear before a note's beginning or after its end. Short gaps between such cells are closed. A
   run of them counts only if enough of its cells meet the strict form of these conditions (hysteresis).
2. Ghosts. A lower note with several overtones predicts how loud each of them may be. A run whose cells are mostly no
   louder than that is the lower note's overtone: its power goes to that note, cell by cell. Notes grow louder by it, so
   the step is repeated.
3. Runs shorter than the shortest note are removed, and those that no longer stand out beside the louder notes.
4. The bands that these notes alone would give are cleaned in the same way. Notes that this does not find again are
   removed.
5. A channel in which a note is inaudible beside its loudest channel is set to zero there.

Every step only looks for something *else* that speaks against a cell being a note of its own. A cell that survived
therefore survives again once everything else is gone, and cleaning the sound of a clean roll gives nearly that roll.

All channels share one decision, taken on their mean power, so a note panned half way does not fall to pieces.

The constants below were chosen by hand around a search on four pieces with known notes (benchmarks/score_aligned.py),
the later ones also by how well real songs survive synthesis and a second analysis. Average precision on those pieces is
therefore optimistic; searches that left one piece out scored .32 to .73 on it. EDGE and GAP_SECONDS matter most in fast
music.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from musigan.rolls.keysettings import KeySettings
from musigan.rolls.runs import Runs, shortest_note

USUAL_THRESHOLD = KeySettings().threshold
SILENCE = 3e-5  # RMS of full scale, -90 dB: dither and rounding, not sound
LEVEL_PERCENTILE = 99.5

WEAK_THRESHOLD = 0.25  # of the threshold: a run that reached the threshold ends below this
WEAK_CONTRAST = 0.2  # of what a strict cell needs: a run with strict cells ends below this
STRICT_SHARE = 0.3  # of a run's cells must be strict
STRICT_SHARE_OF_NOTES = 0.5  # the same when only notes are left: stricter, so that it still holds beside their leakage
CONTRAST = 1.75  # a strict cell is this much louder than the mean of the keys around it ...
CONTRAST_KEYS = 4  # ... on either side
EDGE = 0.4  # a cell has at least this share of the loudest cell of its key ...
EDGE_SECONDS = 0.06  # ... so long before and after it
GAP_SECONDS = 0.04  # longest break within a note

# {keys: ratio}: an overtone lies about `keys` above its note and has at most `ratio` of the note's amplitude. It may
# have more above low notes: small instruments and loudspeakers leave their fundamental out.
OVERTONES = {12: 1.5, 19: 1.2, 24: 0.5, 28: 0.5, 31: 0.5, 34: 0.5, 36: 0.5, 38: 0.3, 40: 0.3, 42: 0.3, 43: 0.3}
WEAK_FUNDAMENTAL_HZ = 75.0
WEAK_FUNDAMENTAL_GAIN = 1.5  # largest factor on the ratio
WEAK_FUNDAMENTAL_KEYS = 24  # applies to overtones up to here
EVIDENCE = (12, 19, 24, 28, 31, 34, 36)  # a note has ghosts only if there are candidates at ...
EVIDENCE_COUNT = 2  # ... this many of these overtones: an octave of pure tones is two notes
GHOST_SHARE = 0.8  # of a run's cells must be no louder than the overtone may be
GHOST_SECONDS = 0.18  # powers are averaged over this time before they are compared
GHOST_PASSES = 5

CONFIRMED_SHARE = 0.7  # of a run's power must be found again
CHANNEL_RATIO = 0.1  # a note's channel is silent below this share of the amplitude in its loudest channel
BLOCK_FRAMES, BLOCK_CONTEXT = 6400, 256  # frames: long songs are cleaned in blocks with context on either side


def sounding_level(loudness: np.ndarray) -> float:
    """Return the 99.5th percentile of the cells of (..., T) above 0; 0.0 where there are none."""
    return _level_of(_blocks(loudness))


def _level(loudness: np.ndarray) -> float:
    """Return the level of bands (C, K, T), of which thresholds are shares."""
    return _level_of(np.sqrt(mean_over_channels(np.square(block))) for block in _blocks(loudness))


def _blocks(loudness: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames of loudness (..., T), some together; there may be none."""
    for first in range(0, max(loudness.shape[-1], 1), BLOCK_FRAMES):
        yield loudness[..., first : first + BLOCK_FRAMES]


def _level_of(parts: Iterable[np.ndarray]) -> float:
    sounding = np.concatenate([part[part > 0] for part in parts])
    return float(np.percentile(sounding, LEVEL_PERCENTILE, overwrite_input=True)) if sounding.size else 0.0


@dataclass(frozen=True)
class Cleaner:
    """The cleaning of rolls with given keys, bands, frame length and threshold."""

    frequencies_hz: np.ndarray  # (K,), rising by semitones
    deviations_hz: np.ndarray  # (K,), of the bands' Gaussians
    frame_seconds: float
    threshold: float  # share of the level of all cells that a note must reach in some frame

    def clean(self, loudness: np.ndarray) -> np.ndarray:
        """Clean a roll of bands, (C, K, T) RMS of full scale -> (C, K, T): notes with their overtones, else 0.

        A higher threshold takes notes away and adds none. Cleaning itself does not promise that, since a note that is
        gone no longer speaks against its overtones: notes are found at the usual threshold, where they have to last
        under a higher one; under a lower one others are added, found with no threshold, that reach it.
        """
        level = _level(loudness)
        usual = self.cleaned_at(loudness, USUAL_THRESHOLD * level)
        if self.threshold == USUAL_THRESHOLD:
            return usual
        floor = max(self.threshold * level, SILENCE)
        if self.threshold > USUAL_THRESHOLD:
            return self.above(usual, floor)
        return np.where(np.any(usual > 0, axis=0), usual, self.above(self.cleaned_at(loudness, 0.0), floor))

    def clean_once(self, loudness: np.ndarray) -> np.ndarray:
        """Clean a roll of bands (C, K, T) at the threshold, whatever is found at others."""
        return self.cleaned_at(loudness, self.threshold * _level(loudness))

    def above(self, notes: np.ndarray, floor: float) -> np.ndarray:
        """Keep of notes (C, K, T) those that reach `floor` in some frame, as long as they are not far below it."""
        amplitude = np.sqrt(mean_over_channels(np.square(notes)))
        runs = Runs.of(amplitude >= max(WEAK_THRESHOLD * floor, np.finfo(np.float32).tiny))
        reaches = (runs.lengths >= shortest_note(self.frame_seconds)) & (runs.counts(amplitude >= floor) > 0)
        return notes * runs.where(reaches).mask(notes.shape[1])

    def cleaned_at(self, loudness: np.ndarray, floor: float) -> np.ndarray:
        """Apply all steps, (C, K, T) -> (C, K, T), to notes that reach `floor`, or what is silence, if that is more."""
        floor = max(floor, SILENCE)
        frames = loudness.shape[2]
        notes = np.zeros_like(loudness)
        if loudness.max(initial=0.0) < floor:
            return notes
        for first in range(0, frames, BLOCK_FRAMES):
            stop = min(first + BLOCK_FRAMES, frames)
            context_begin, context_end = max(first - BLOCK_CONTEXT, 0), min(stop + BLOCK_CONTEXT, frames)
            power = self.notes(np.square(loudness[:, :, context_begin:context_end]), floor)
            power = silence_faint_channels(self.keep_confirmed(power, floor))
            notes[:, :, first:stop] = np.sqrt(power[:, :, first - context_begin : stop - context_begin])
        return notes

    def notes(self, power: np.ndarray, floor: float) -> np.ndarray:
        """Apply steps 1 to 3 to power, (C, K, T) -> (C, K, T)."""
        mask = candidates(np.sqrt(mean_over_channels(power)), floor, self.frame_seconds)
        return remove_ghosts(power * mask, mask, self.frequencies_hz, self.frame_seconds)

    def keep_confirmed(self, power: np.ndarray, floor: float) -> np.ndarray:
        """Apply step 4: keep notes that cleaning the bands of these notes alone finds again, (C, K, T) -> (C, K, T)."""
        distance = (self.frequencies_hz[None] - self.frequencies_hz[:, None]) / self.deviations_hz[:, None]
        leakage = np.exp(-(distance**2)).astype(np.float32)  # power, (key of the band, key of the note)
        again = np.any(self.notes(leakage @ power, floor), axis=0)
        total = mean_over_channels(power)
        runs = Runs.of(total > 0)
        return power * runs.where(runs.sums(total * again) >= CONFIRMED_SHARE * runs.sums(total)).mask(total.shape[0])


def candidates(amplitude: np.ndarray, floor: float, frame_seconds: float) -> np.ndarray:
    """Find the cells of (K, T) that may belong to notes, bool (K, T): step 1 of the module's description."""
    need = needed_amplitude(amplitude)
    weak = (amplitude >= WEAK_CONTRAST * need) & (amplitude >= WEAK_THRESHOLD * floor)
    weak &= outside_smear(amplitude, max(1, round(EDGE_SECONDS / frame_seconds)))
    runs = Runs.of(weak).joined(round(GAP_SECONDS / frame_seconds))
    return prominent_runs(runs, weak & (amplitude >= need) & (amplitude >= floor), STRICT_SHARE, frame_seconds)


def needed_amplitude(amplitude: np.ndarray) -> np.ndarray:
    """Return the amplitude that a strict cell needs beside its neighbours and surroundings, (K, T) -> (K, T)."""
    need = CONTRAST * mean_within(amplitude, CONTRAST_KEYS, axis=0)
    np.maximum(need[1:], amplitude[:-1], out=need[1:])
    np.maximum(need[:-1], amplitude[1:], out=need[:-1])
    return need


def prominent_runs(runs: Runs, strict: np.ndarray, share: float, frame_seconds: float) -> np.ndarray:
    """Return the mask (K, T) of the runs that are long enough and have that share of strict cells."""
    strict_needed = np.maximum(share * runs.lengths, 2)
    is_long = runs.lengths >= shortest_note(frame_seconds)
    return runs.where(is_long & (runs.counts(strict) >= strict_needed)).mask(strict.shape[0])


def mean_over_channels(power: np.ndarray) -> np.ndarray:
    """Return the mean over the channels, (C, K, T) -> (K, T); for two channels several times as fast as np.mean."""
    total = power[0].copy()
    for channel in power[1:]:
        total += channel
    total *= np.float32(1 / len(power))
    return total


def mean_within(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Return the mean over `reach` cells on either side along one axis of (K, T), counting 0 beyond the ends.

    Window sums of 1, 2, 4, ... cells are each the sum of two of half the width; some of them add up to the full window.
    """
    width, size = 2 * reach + 1, values.shape[axis]
    padding = [(0, 0), (0, 0)]
    padding[axis] = (reach, reach)
    window = np.moveaxis(np.pad(values, padding), axis, 0)
    total, offset, span = np.zeros_like(window[:size]), 0, 1
    while True:
        if width & span:
            total += window[offset : offset + size]
            offset += span
        if offset == width:
            break
        window = window[:-span] + window[span:]
        span *= 2
    total *= np.float32(1 / width)
    return np.moveaxis(total, 0, axis)


def outside_smear(values: np.ndarray, reach: int) -> np.ndarray:
    """Return where a cell has EDGE of the loudest cell of its key within `reach` frames on either side, bool (K, T)."""
    loudest = values.copy()
    for step in range(1, reach + 1):
        np.maximum(loudest[:, :-step], values[:, step:], out=loudest[:, :-step])
        np.maximum(loudest[:, step:], values[:, :-step], out=loudest[:, step:])
    return values >= EDGE * loudest


def remove_ghosts(power: np.ndarray, mask: np.ndarray, frequencies_hz: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Fold the power of overtones into their notes, (C, K, T) -> (C, K, T): steps 2 and 3."""
    rich = overtone_rich(mask)
    for _ in range(GHOST_PASSES):
        ghosts, notes = find_ghosts(mean_over_channels(power), mask, rich, frequencies_hz, frame_seconds)
        if not ghosts.size:
            break
        power = fold(power, ghosts, notes)
        note_mask = mask.copy()
        note_mask.ravel()[ghosts] = False
        amplitude = np.sqrt(mean_over_channels(power))
        mask = prominent_runs(
            Runs.of(note_mask), amplitude >= needed_amplitude(amplitude), STRICT_SHARE_OF_NOTES, frame_seconds
        )
        power *= mask
    return power


def find_ghosts(
    power: np.ndarray, mask: np.ndarray, rich: np.ndarray, frequencies_hz: np.ndarray, frame_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of (K, T) that are overtones, and for each the cell of the note it most likely belongs to.

    Cells are positions in the flattened (K, T), rising.
    """
    keys, frames = power.shape
    smooth_power = mean_within(power, round(GHOST_SECONDS / frame_seconds) // 2, axis=1) * mask
    amplitude_gain = np.minimum(1 + WEAK_FUNDAMENTAL_HZ / frequencies_hz, WEAK_FUNDAMENTAL_GAIN)
    rich_power = (smooth_power * rich).ravel()
    boosted_power = (rich_power.reshape(keys, frames) * np.square(amplitude_gain)[:, None].astype(np.float32)).ravel()
    cells = np.flatnonzero(mask)  # few, so the rest of the work is done on these cells only
    loudest_expected = np.zeros(cells.size, dtype=np.float32)
    note = cells.copy()
    for distance, ratio in OVERTONES.items():
        # From the cell `above` on, the note `distance` keys lower is on the keyboard.
        above = np.searchsorted(cells, distance * frames)
        below = cells[above:] - distance * frames
        expected = (boosted_power if distance <= WEAK_FUNDAMENTAL_KEYS else rich_power)[below] * np.float32(ratio**2)
        better = np.flatnonzero(expected > loudest_expected[above:])
        loudest_expected[above + better] = expected[better]
        note[above + better] = below[better]
    runs = Runs.of(mask)
    counts_within = np.cumsum(np.concatenate(([0], smooth_power.ravel()[cells] < loudest_expected)))
    stops = np.cumsum(runs.lengths)  # numbers of the runs' ends, counting only cells in runs
    cells_within = counts_within[stops] - counts_within[stops - runs.lengths]
    is_ghost = np.repeat(cells_within >= GHOST_SHARE * runs.lengths, runs.lengths)
    return cells[is_ghost], note[is_ghost]


def overtone_rich(mask: np.ndarray) -> np.ndarray:
    """Return where enough of a cell's overtones are candidates for it to be a note with overtones, bool (K, T).

    The highest notes, whose overtones lie above the keyboard, need fewer.
    """
    count = np.zeros(mask.shape, dtype=np.int8)
    possible = np.zeros(mask.shape[0], dtype=np.int8)
    for distance in EVIDENCE:
        if distance < mask.shape[0]:
            count[:-distance] += mask[distance:]
            possible[:-distance] += 1
    return count >= np.minimum(EVIDENCE_COUNT, possible)[:, None]


def fold(power: np.ndarray, ghosts: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Move the power (C, K, T) of ghosts to the cells of their notes; a note that is itself a ghost passes it on."""
    while ghosts.size:
        positions = np.minimum(np.searchsorted(ghosts, notes), ghosts.size - 1)
        lower_notes = notes[positions]
        is_chained = (ghosts[positions] == notes) & (lower_notes != notes)
        if not is_chained.any():
            break
        notes = np.where(is_chained, lower_notes, notes)
    folded = power.copy()
    for channel_power, folded_power in zip(power.reshape(len(power), -1), folded.reshape(len(power), -1), strict=True):
        folded_power[ghosts] = 0
        np.add.at(folded_power, notes, channel_power[ghosts])
    return folded


def silence_faint_channels(power: np.ndarray) -> np.ndarray:
    """Apply step 5 to power: silence a note's faint channels, in place, (C, K, T) -> (C, K, T)."""
    channels, keys, _ = power.shape
    if channels == 1:
        return power
    runs = Runs.of(power.max(axis=0) > 0)
    sums = np.stack([runs.sums(channel_power) for channel_power in power])
    audible = sums >= CHANNEL_RATIO**2 * sums.max(axis=0)
    for channel in range(channels):
        power[channel] *= runs.where(audible[channel]).mask(keys)
    return power

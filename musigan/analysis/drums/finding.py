"""Drums of a recording: strokes of a kit, found by a small network, and how loud they are (docs/drums.md has how well).

A stroke is a peak of the probability that its drum is struck. A song in which hardly any peak is sure has no drums:
what looks like strokes in it are attacks of other instruments, and all are left out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from musigan.analysis.drums import features, network
from musigan.analysis.signals import Signal, mixed
from musigan.analysis.spectra import centres_hz, resampled
from musigan.rolls.kit import KIT, Strokes

NAMES = tuple(drum.name for drum in KIT)
HAT, CYMBAL = NAMES.index("hi-hat"), NAMES.index("cymbal")
THRESHOLDS = (0.25, 0.3, 0.15, 0.2, 0.2)  # probability of a stroke, by drum of the kit
LEAST_EVIDENCE = 0.3  # a second, in a song with drums: the sum of the cubes of strokes' probabilities
APART = 4  # frames between two strokes of a drum, at least
LATE = 0.2  # frames; a stroke is so much later than the beginning of the frame of its peak
LOUD_PERCENTILE, LOUD = 90.0, 0.8  # a stroke as loud as this share of the drum's strokes has this loudness
FAINTEST_LOUDNESS = 0.1
HZ = ((30.0, 150.0), (150.0, 5800.0), (60.0, 500.0), (3000.0, 5800.0), (3000.0, 5800.0))  # where each drum is loud


def find_strokes(signal: Signal, sample_rate: int) -> Strokes:
    """Find the drum strokes of a signal (C, S) at any sample rate, in seconds from its first sample."""
    loudness = features.band_loudness(resampled(mixed(signal), sample_rate))
    if len(loudness) <= features.FLUX_FRAMES or not loudness.any():
        return _strokes([], loudness)
    logits = network.logits(features.drum_features(loudness), network.shipped_weights())
    return strokes_of(1 / (1 + np.exp(-logits)), loudness)


def strokes_of(probabilities: np.ndarray, loudness: np.ndarray) -> Strokes:
    """Return the strokes that probabilities (T, D) suggest, as loud as loudness (T, BANDS) says they are."""
    heard = probabilities.copy()
    # What rings and what does not are struck alike: they are looked for together, and told apart where they are found.
    ringing = heard[:, CYMBAL] > heard[:, HAT]
    heard[:, HAT] = 1 - (1 - heard[:, HAT]) * (1 - heard[:, CYMBAL])
    heard[:, CYMBAL] = 0
    found = [(drum, frame) for drum in range(len(KIT)) for frame in peaks(heard[:, drum], THRESHOLDS[drum])]
    evidence = sum(float(heard[frame, drum]) ** 3 for drum, frame in found)
    if evidence < LEAST_EVIDENCE * len(heard) * features.FRAME_SECONDS:
        found = []
    return _strokes([(CYMBAL if drum == HAT and ringing[frame] else drum, frame) for drum, frame in found], loudness)


def peaks(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return the frames of values (T,) that are above the threshold and the highest within APART frames."""
    padded = np.pad(values, APART, constant_values=-1.0)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * APART + 1).max(axis=1)
    found = np.flatnonzero((values >= around) & (values > threshold))
    return found[np.diff(found, prepend=-APART - 1) > APART]  # of equal values the first


def _strokes(found: list[tuple[int, int]], loudness: np.ndarray) -> Strokes:
    """Return strokes (drum, frame) in their order, with their loudness."""
    drums, frames = (np.array(column, int) for column in zip(*found, strict=True)) if found else (np.zeros(0, int),) * 2
    loud = np.zeros(len(drums))
    for drum in np.unique(drums):
        is_drum = drums == drum
        strength = rise_at(frames[is_drum], loudness[:, bands_of(int(drum))])
        usual = max(float(np.percentile(strength, LOUD_PERCENTILE)), 1e-9)
        loud[is_drum] = np.clip(LOUD * strength / usual, FAINTEST_LOUDNESS, 1.0)
    order = np.lexsort((drums, frames))
    seconds = (frames[order] + LATE) * features.FRAME_SECONDS
    return Strokes(seconds, drums[order], loud[order])


def rise_at(frames: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Return by how much loudness (T, bands) rises around each frame (N,), root of the power that is added: (N,)."""
    power = np.pad(np.square(loudness).sum(axis=1), (6, 3), mode="edge")
    after = np.max([power[frames + 6 + offset] for offset in range(4)], axis=0)
    before = np.min([power[frames + 6 - offset] for offset in range(2, 7)], axis=0)
    return np.sqrt(np.maximum(after - before, 0.0))


@lru_cache(maxsize=len(KIT))
def bands_of(drum: int) -> np.ndarray:
    """Return which bands a drum of the kit is loud in, bool (BANDS,)."""
    centres = centres_hz(features.BANDS)
    return (centres >= HZ[drum][0]) & (centres <= HZ[drum][1])

"""Beats and downbeats of a recording, found by a small network and a decoder (docs/beats.md has how well)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from musigan.analysis.bands import band_loudness
from musigan.analysis.beats import decoder, features, network
from musigan.analysis.signals import Signal, is_silent, mixed
from musigan.analysis.spectra import SAMPLE_RATE, resampled
from musigan.rolls.beats import SHORTEST_SECONDS, Beats
from musigan.rolls.keysettings import KeySettings


def can_use_bands(settings: KeySettings) -> bool:
    """Return whether bands of an analysis by `settings` are those that beats are found in: wide ones, of all keys."""
    wanted = KeySettings()
    return replace(settings, keys=wanted.keys, threshold=wanted.threshold) == wanted


def find_beats(signal: Signal, sample_rate: int, bands: np.ndarray | None = None) -> Beats:
    """Find the beats of a signal (C, S) at any sample rate, in seconds from its first sample.

    `bands` (C, 88, T) are the wide bands' loudness in frames of 20 ms, before cleaning; None: they are computed here.
    In silence, and in less than two seconds, there are no beats. Confidence says that there is a beat, not that the
    tempo is not half or twice as fast. Raises AudioError where the signal holds NaN or infinite values.
    """
    if signal.shape[-1] < SHORTEST_SECONDS * sample_rate or is_silent(signal):
        return Beats.none()
    mono = resampled(mixed(signal), sample_rate)
    if bands is None:
        bands = band_loudness(resampled(signal, sample_rate), SAMPLE_RATE, KeySettings())
    heard = features.beat_features(mono, bands)
    return decoder.decode(*network.activations(heard, network.shipped_weights()))

"""Additive synthesis of played notes: one sum of decaying partials a note.

The partials of a note are exact multiples of its fundamental, so that sin(n x) follows from sin((n-1) x) and
sin((n-2) x) without another sine: a whole piece takes a fraction of a second on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musigan.errors import UsageError
from musigan.tunes.arrange import PlayedNote

DURATION_STEP_SECONDS = 0.05  # durations are rounded up to this, so that equal notes are computed once
HIGHEST_PARTIAL_HZ = 10_000.0
TARGET_RMS = 0.12
PEAK = 0.89  # -1 dBFS
TAIL_SECONDS = 0.8
# Early reflections of a room: delays in milliseconds for left and right (they differ, for a wide image), and gains.
REFLECTIONS = ((13.7, 17.9, 0.25), (29.3, 23.1, 0.18), (41.9, 47.3, 0.12), (67.7, 61.3, 0.08))


@dataclass(frozen=True)
class Timbre:
    """Partials and envelope of an instrument."""

    partials: tuple[float, ...]  # amplitudes, the fundamental first
    decay: float = 0.0  # 1/seconds, of the fundamental; 0 for wind and bow
    brightness_decay: float = 0.0  # 1/seconds more for each further partial
    attack_seconds: float = 0.005
    release_seconds: float = 0.12
    vibrato_cents: float = 0.0
    gain: float = 1.0


def _saw(count: int, slope: float) -> tuple[float, ...]:
    return tuple(n**-slope for n in range(1, count + 1))


TIMBRES = {
    "piano": Timbre(_saw(10, 1.3), decay=1.1, brightness_decay=0.5, release_seconds=0.18),
    "harpsichord": Timbre(_saw(16, 0.8), decay=1.6, brightness_decay=0.12, attack_seconds=0.002, gain=0.7),
    "guitar": Timbre((1, 0.7, 0.45, 0.12, 0.2, 0.15, 0.1, 0.06), decay=1.8, brightness_decay=0.7),
    "banjo": Timbre((1, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2), decay=4.0, brightness_decay=0.9, attack_seconds=0.002),
    "harp": Timbre((1, 0.4, 0.2, 0.1, 0.05), decay=1.4, brightness_decay=0.9, release_seconds=0.4),
    "bells": Timbre((1, 0, 0, 0.5, 0, 0.15), decay=2.0, brightness_decay=1.0, attack_seconds=0.002),
    "bass": Timbre((1, 0.5, 0.25, 0.1, 0.05), decay=1.2, brightness_decay=0.8, gain=1.2),
    "flute": Timbre((1, 0.25, 0.08, 0.02), attack_seconds=0.05, vibrato_cents=6, gain=0.8),
    "clarinet": Timbre((1, 0.04, 0.6, 0.05, 0.3, 0.04, 0.12), attack_seconds=0.03, gain=0.6),
    "brass": Timbre(_saw(9, 0.9), attack_seconds=0.035, gain=0.45),
    "strings": Timbre(_saw(12, 1.2), attack_seconds=0.09, release_seconds=0.25, vibrato_cents=5, gain=0.5),
    "fiddle": Timbre(_saw(12, 1.0), attack_seconds=0.025, vibrato_cents=5, gain=0.45),
    "organ": Timbre((1, 0.7, 0.3, 0.45, 0, 0.15, 0, 0.2), attack_seconds=0.02, gain=0.5),
    "accordion": Timbre((1, 0.6, 0.55, 0.35, 0.3, 0.2, 0.12), attack_seconds=0.03, vibrato_cents=3, gain=0.45),
}

# Stereo position of each part, 0 left to 1 right, and its level in the mix.
PLACES = {"melody": (0.42, 1.0), "harmony": (0.7, 0.9), "chords": (0.62, 0.8), "bass": (0.48, 0.9)}


def frequency_hz(key: int) -> float:
    """Return the frequency of a piano key; key 49 is 440 Hz."""
    return float(440.0 * 2.0 ** ((key - 49) / 12))


def tone(timbre: Timbre, frequency: float, duration_seconds: float, sample_rate: int) -> np.ndarray:
    """Synthesise one note, (S,) float32: held for `duration_seconds`, then released."""
    held_samples = round(duration_seconds * sample_rate)
    release_samples = round(timbre.release_seconds * sample_rate)
    time = np.arange(held_samples + release_samples) / sample_rate
    phase = 2 * np.pi * frequency * time
    if timbre.vibrato_cents:
        # For a sinusoidal vibrato the phase deviation is the frequency deviation divided by the vibrato's rate.
        vibrato_hz = 5.2
        phase_swing = frequency * (2 ** (timbre.vibrato_cents / 1200) - 1) / vibrato_hz
        phase += phase_swing * np.minimum(1, time / 0.4) * np.sin(2 * np.pi * vibrato_hz * time)
    previous, current = np.zeros(len(time), np.float32), np.sin(phase).astype(np.float32)
    twice_cosine = (2 * np.cos(phase)).astype(np.float32)
    envelope = np.exp(-timbre.decay * time).astype(np.float32)
    brightness_envelope = np.exp(-timbre.brightness_decay * time).astype(np.float32)
    signal = np.zeros(len(time), np.float32)
    highest_hz = min(HIGHEST_PARTIAL_HZ, 0.45 * sample_rate)
    for number, amplitude in enumerate(timbre.partials, start=1):
        if number > 1 and number * frequency > highest_hz:
            break
        if amplitude:
            signal += np.float32(amplitude) * envelope * current
        envelope *= brightness_envelope
        previous, current = current, twice_cosine * current - previous
    attack = min(len(time), round(timbre.attack_seconds * sample_rate))
    signal[:attack] *= np.linspace(0, 1, attack, dtype=np.float32)
    if release_samples:
        signal[held_samples:] *= np.linspace(1, 0, release_samples, dtype=np.float32) ** 2
    return signal * np.float32(timbre.gain / np.linalg.norm(timbre.partials))


def synthesise(notes: Sequence[PlayedNote], sample_rate: int) -> np.ndarray:
    """Mix notes to (2, S) float32, at about -18 dBFS RMS and at most -1 dBFS.

    Raises UsageError for an instrument that is not in TIMBRES.
    """
    end = max(note.onset_seconds + note.duration_seconds for note in notes)
    mix = np.zeros((2, round((end + TAIL_SECONDS) * sample_rate)), np.float32)
    tones: dict[tuple[str, int, int], np.ndarray] = {}
    for note in notes:
        steps = int(np.ceil(note.duration_seconds / DURATION_STEP_SECONDS))
        tone_key = (note.instrument, note.key, steps)
        if tone_key not in tones:
            if note.instrument not in TIMBRES:
                raise UsageError(f"no instrument {note.instrument!r}: choose one of {', '.join(TIMBRES)}")
            timbre = TIMBRES[note.instrument]
            tones[tone_key] = tone(timbre, frequency_hz(note.key), steps * DURATION_STEP_SECONDS, sample_rate)
        start = round(note.onset_seconds * sample_rate)
        sound = tones[tone_key][: mix.shape[1] - start]
        place, level = _place(note)
        for channel, gain in enumerate((np.cos(place * np.pi / 2), np.sin(place * np.pi / 2))):
            mix[channel, start : start + len(sound)] += np.float32(gain * level * note.velocity) * sound
    return _master(_room(mix, sample_rate))


def _place(note: PlayedNote) -> tuple[float, float]:
    """Return a note's place, 0 (left) to 1 (right), and level; high keys are further right, as on a piano."""
    if note.part.startswith("voice "):
        return 0.2 + 0.2 * ((int(note.part[6:]) - 1) % 4), 0.9
    place, level = PLACES[note.part]
    return place + 0.08 * (note.key - 45) / 44, level


def _room(dry: np.ndarray, sample_rate: int) -> np.ndarray:
    """Add a few early reflections to (2, S)."""
    wet = dry.copy()
    for *delays, gain in REFLECTIONS:
        for channel, milliseconds in enumerate(delays):
            delay = round(milliseconds * sample_rate / 1000)
            wet[channel, delay:] += np.float32(gain) * dry[1 - channel, :-delay]
    return wet


def _master(mix: np.ndarray) -> np.ndarray:
    """Scale (2, S) to the usual loudness, below the peak limit."""
    peak = float(np.abs(mix).max())
    rms = float(np.sqrt(np.mean(np.square(mix, dtype=np.float64))))
    return mix * np.float32(min(TARGET_RMS / rms, PEAK / peak))

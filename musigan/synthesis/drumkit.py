"""A drum kit of decaying tones and noise for the drum notes of General MIDI.

Conventions: a roll's key stands for a drum note, its pitch (35 to 81 are in use); only onsets count. Sounds are
float32 with peak 1, and the same in every call. Notes of MIDI last until they are let go; strokes of recordings fade,
and may be struck again before they are silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from musigan.rolls.keyboard import PITCH_OF_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.notes import Notes, find_notes, find_strokes
from musigan.sound.takes import BLOCK_SAMPLES

_METAL_HZ = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)  # beating square waves, as in drum machines of the 1980s


@dataclass(frozen=True)
class Drum:
    """Components of a drum's sound; seconds are the times in which a component falls to 1/e."""

    tones: tuple[tuple[float, float, float, float], ...] = ()  # Hz at the stroke, Hz later, seconds, amplitude
    noise: tuple[float, float, float, float] | None = None  # from Hz, to Hz, seconds, amplitude
    metal: tuple[float, float, float] | None = None  # from Hz, seconds, amplitude
    strokes: tuple[float, ...] = (0.0,)  # seconds at which the noise starts again
    pan: float = 0.0  # -1 left, 1 right
    gain: float = 1.0


def _tom(hz: float, pan: float) -> Drum:
    return Drum(((1.6 * hz, hz, 0.16, 1.0),), noise=(200, 3000, 0.02, 0.15), pan=pan, gain=0.9)


def _hand_drum(hz: float, seconds: float, pan: float) -> Drum:
    return Drum(((1.15 * hz, hz, seconds, 1.0),), noise=(800, 4000, 0.008, 0.2), pan=pan, gain=0.6)


def _shaker(seconds: float, pan: float, gain: float = 0.35) -> Drum:
    return Drum(noise=(5000, 14000, seconds, 1.0), pan=pan, gain=gain)


def _block(hz: float, seconds: float, pan: float, gain: float = 0.5) -> Drum:
    return Drum(((hz, hz, seconds, 1.0), (2.7 * hz, 2.7 * hz, seconds / 2, 0.3)), pan=pan, gain=gain)


_KICK = Drum(((150, 52, 0.13, 1.0),), noise=(1000, 5000, 0.004, 0.25))
_SNARE = Drum(((230, 185, 0.06, 0.6), (370, 330, 0.04, 0.3)), noise=(1200, 11000, 0.09, 0.7), gain=0.85)
_HAT = Drum(noise=(7000, 16000, 0.025, 0.6), metal=(6500, 0.025, 0.5), pan=0.25, gain=0.4)
_OPEN_HAT = Drum(noise=(7000, 16000, 0.16, 0.6), metal=(6500, 0.18, 0.5), pan=0.25, gain=0.42)
_CRASH = Drum(noise=(3500, 16000, 0.45, 0.8), metal=(3000, 0.5, 0.4), pan=-0.35, gain=0.55)
_RIDE = Drum(noise=(6000, 15000, 0.1, 0.25), metal=(4500, 0.35, 0.8), pan=0.4, gain=0.4)
_DRUMS: dict[int, Drum] = {
    35: _KICK, 36: _KICK, 37: _block(1700, 0.02, 0.0), 38: _SNARE, 40: _SNARE,
    39: Drum(noise=(900, 5000, 0.05, 1.0), strokes=(0.0, 0.011, 0.023), gain=0.7),
    41: _tom(80, 0.5), 43: _tom(98, 0.4), 45: _tom(117, 0.2), 47: _tom(139, 0.0),
    48: _tom(165, -0.2), 50: _tom(196, -0.4),
    42: _HAT, 44: _HAT, 46: _OPEN_HAT, 49: _CRASH, 52: _CRASH, 55: _CRASH, 57: _CRASH,
    51: _RIDE, 53: _RIDE, 59: _RIDE, 54: _shaker(0.07, -0.3), 69: _shaker(0.03, -0.3), 70: _shaker(0.03, 0.3),
    82: _shaker(0.05, 0.3), 56: Drum(((562, 560, 0.12, 0.7), (846, 845, 0.1, 0.6)), pan=0.3, gain=0.5),
    60: _hand_drum(400, 0.06, -0.2), 61: _hand_drum(300, 0.08, -0.2), 62: _hand_drum(350, 0.04, 0.2),
    63: _hand_drum(330, 0.1, 0.2),
    64: _hand_drum(220, 0.12, 0.2), 65: _hand_drum(520, 0.1, -0.3), 66: _hand_drum(390, 0.12, -0.3),
    67: _block(1450, 0.12, 0.4), 68: _block(1080, 0.13, 0.4), 75: _block(2450, 0.03, -0.2),
    76: _block(1150, 0.04, 0.3), 77: _block(830, 0.05, 0.3), 80: _block(4200, 0.05, -0.4, 0.3),
    81: _block(4200, 0.6, -0.4, 0.3),
}  # fmt: skip
_DEFAULT_DRUM = _shaker(0.04, 0.0, 0.4)


def drum(pitch: int) -> Drum:
    """Return the drum of a drum note; a short rattle where General MIDI defines none."""
    return _DRUMS.get(pitch, _DEFAULT_DRUM)


@lru_cache(maxsize=256)
def stroke(pitch: int, sample_rate: int) -> np.ndarray:
    """Synthesise one stroke of a drum note, (S,), with peak 1."""
    kind = drum(pitch)
    decays = [tone[2] for tone in kind.tones] + [part[-2] for part in (kind.noise, kind.metal) if part]
    time = np.arange(round(sample_rate * min(6 * max(decays) + max(kind.strokes), 3.0))) / sample_rate
    sound = np.zeros(time.size)
    for high, low, seconds, amplitude in kind.tones:
        # The pitch falls from `high` to `low` in a sixth of the decay time, as a drum skin's tension does.
        glide = seconds / 6
        turns = low * time + (high - low) * glide * (1 - np.exp(-time / glide))
        sound += amplitude * np.sin(2 * np.pi * turns) * np.exp(-time / seconds)
    if kind.noise:
        low, high, seconds, amplitude = kind.noise
        hiss = _band_pass(np.random.default_rng(pitch).standard_normal(time.size), low, high, sample_rate)
        for number, begin in enumerate(kind.strokes):
            is_last = number == len(kind.strokes) - 1
            age = time - begin
            sound += (
                amplitude * hiss * np.where(age >= 0, np.exp(-np.maximum(age, 0) / (seconds if is_last else 0.005)), 0)
            )
    if kind.metal:
        low, seconds, amplitude = kind.metal
        ring = sum(np.sign(np.sin(2 * np.pi * hz * time)) for hz in _METAL_HZ)
        sound += amplitude * _band_pass(np.asarray(ring), low, 16000, sample_rate) * np.exp(-time / seconds)
    fade = min(time.size, round(0.01 * sample_rate))
    sound[time.size - fade :] *= np.linspace(1, 0, fade)
    return (sound / np.abs(sound).max()).astype(np.float32)


def _band_pass(sound: np.ndarray, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """Band-pass a sound and scale its peak to 1; at low sample rates the low edge is at most `sample_rate / 4`."""
    spectrum = np.fft.rfft(sound)
    frequency = np.fft.rfftfreq(sound.size, 1 / sample_rate)
    low_hz = min(low_hz, sample_rate / 4)
    spectrum *= 1 / (1 + (low_hz / np.maximum(frequency, 1)) ** 6) / (1 + (frequency / high_hz) ** 6)
    band = np.fft.irfft(spectrum, sound.size)
    return np.asarray(band / max(float(np.abs(band).max()), 1e-9))


def strokes(plane: np.ndarray, settings: KeySettings) -> Notes:
    """Find what is struck in a drum track (K, T) of linear loudness."""
    return find_notes(plane) if settings.band == "midi" else find_strokes(plane)


def play(plane: np.ndarray, settings: KeySettings, sample_rate: int) -> np.ndarray:
    """Play a drum track (K, T) of linear loudness in stereo, (2, S), S = T * frame_samples; last strokes are cut."""
    blocks = play_parts(plane, settings, sample_rate)
    return np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)


def play_parts(plane: np.ndarray, settings: KeySettings, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the sound of a drum track as `play` does, in blocks (2, n)."""
    frame_samples = settings.frame_samples(sample_rate)
    notes = strokes(plane, settings)
    pitches = notes.keys + settings.keys.low + PITCH_OF_KEY
    begins = notes.starts * frame_samples
    lengths = np.array([stroke(int(pitch), sample_rate).size for pitch in pitches], int)
    for first in range(0, plane.shape[1] * frame_samples, BLOCK_SAMPLES):
        sound = np.zeros((2, min(BLOCK_SAMPLES, plane.shape[1] * frame_samples - first)), np.float32)
        for number in np.flatnonzero((begins < first + sound.shape[1]) & (begins + lengths > first)):
            pitch, begin = int(pitches[number]), int(begins[number]) - first
            stroke_sound = stroke(pitch, sample_rate)[max(-begin, 0) : sound.shape[1] - begin]
            kind = drum(pitch)
            side_gains = np.float32(notes.loudness[number] * kind.gain) * pan_gains(kind.pan)
            place = slice(max(begin, 0), max(begin, 0) + stroke_sound.size)
            sound[:, place] += side_gains[:, None] * stroke_sound
        yield sound


def pan_gains(place: float) -> np.ndarray:
    """Return the gains (2,) of left and right for a place from -1 to 1; their squares add up to 1."""
    angle = (place + 1) * np.pi / 4
    return np.array([np.cos(angle), np.sin(angle)], np.float32)

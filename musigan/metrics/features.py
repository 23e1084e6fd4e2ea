"""Musical features of a roll, with names: what a listener would count.

From the loudness of frames, the keys that sound, and the notes found by two thresholds (musigan/notes.py). A feature
that a roll has no material for (the length of notes where there are none) is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from musigan.data import compress
from musigan.notes import find_notes, sounding

REGISTER_KEYS = 8  # keys in a bin of the unfolded histogram
BEAT_SECONDS = (0.25, 1.5)  # 240 to 40 beats a minute
REPEAT_SECONDS = 1.0  # shortest time after which a likeness counts as repetition
ATTACK_SECONDS = 0.06


def musical_features(roll: np.ndarray, frame_seconds: float, low_key: int) -> dict[str, float]:
    """Features by name of a roll (C, K, T) whose lowest key is piano key `low_key`."""
    plane = compress(roll).mean(axis=0)  # (K, T)
    notes = find_notes(np.asarray(roll, np.float32).mean(axis=0))
    held = sounding(notes, *plane.shape)
    found = {
        **_loudness(plane),
        **_keys(plane, low_key),
        **_polyphony(plane, held),
        **_note_lengths(notes.lengths * frame_seconds),
        **_rhythm(notes.starts, plane.shape[1], frame_seconds),
        **_self_similarity(_chroma(plane, low_key), frame_seconds),
        **_envelope(plane, held, max(1, round(ATTACK_SECONDS / frame_seconds))),
        "stereo width": _stereo_width(roll),
    }
    return {name: float(value) if np.isfinite(value) else 0.0 for name, value in found.items()}


def _loudness(plane: np.ndarray) -> Mapping[str, float]:
    """Of whole frames: the root of their summed power."""
    frames = np.sqrt(np.square(plane**2).sum(axis=0))  # (T,) linear
    low, middle, high = np.quantile(frames, (0.1, 0.5, 0.9))
    return {
        "loudness mean": frames.mean(),
        "loudness deviation": frames.std(),
        "loudness 10 %": low,
        "loudness median": middle,
        "loudness 90 %": high,
        "silence": (frames < 0.02).mean(),
    }


def _keys(plane: np.ndarray, low_key: int) -> Mapping[str, float]:
    """Shares of the loudness: by register, and by pitch class (counted from A)."""
    by_key = plane.sum(axis=1)
    by_key = by_key / max(float(by_key.sum()), 1e-9)
    classes = np.bincount((np.arange(len(by_key)) + low_key - 1) % 12, by_key, 12)
    registers = np.bincount((np.arange(len(by_key)) + low_key - 1) // REGISTER_KEYS, by_key, 88 // REGISTER_KEYS)
    return {f"register {number}": share for number, share in enumerate(registers, 1)} | {
        f"pitch class {number}": share for number, share in enumerate(classes)
    }


def _polyphony(plane: np.ndarray, held: np.ndarray) -> Mapping[str, float]:
    together = held.sum(axis=0)
    return {
        "density": (plane > 0).mean(),
        "polyphony mean": together.mean(),
        "polyphony deviation": together.std(),
        "polyphony 95 %": np.quantile(together, 0.95),
    }


def _note_lengths(seconds: np.ndarray) -> Mapping[str, float]:
    if not seconds.size:
        return {"note length median": 0.0, "note length 90 %": 0.0, "note length deviation (log)": 0.0}
    middle, high = np.quantile(seconds, (0.5, 0.9))
    return {
        "note length median": middle,
        "note length 90 %": high,
        "note length deviation (log)": np.log(seconds).std(),
    }


def _rhythm(starts: np.ndarray, frames: int, frame_seconds: float) -> Mapping[str, float]:
    """Onsets, the times between them, and the beat: the highest peak of the onsets' autocorrelation."""
    onsets = np.bincount(starts[starts > 0], minlength=frames).astype(float)
    when = np.flatnonzero(onsets)
    between = np.diff(when) * frame_seconds
    smooth = np.convolve(onsets, np.hanning(5), "same")
    smooth -= smooth.mean()
    power = float(smooth @ smooth)
    first, last = (max(1, round(seconds / frame_seconds)) for seconds in BEAT_SECONDS)
    lags = range(first, min(last, frames - 1))
    curve = np.array([smooth[:-lag] @ smooth[lag:] for lag in lags]) / max(power, 1e-9)
    peak = int(curve.argmax()) if curve.size and power else 0
    return {
        "onsets per second": onsets.sum() / (frames * frame_seconds),
        "between onsets median": np.median(between) if between.size else 0.0,
        "between onsets deviation": between.std() if between.size else 0.0,
        "beat strength": curve[peak] if curve.size else 0.0,
        "beat period": (first + peak) * frame_seconds if power else 0.0,
    }


def _chroma(plane: np.ndarray, low_key: int) -> np.ndarray:
    """Loudness by pitch class, (12, T)."""
    return np.asarray(((np.arange(len(plane)) + low_key - 1) % 12 == np.arange(12)[:, None]).astype(np.float32) @ plane)


def _self_similarity(chroma: np.ndarray, frame_seconds: float) -> Mapping[str, float]:
    """How alike the harmony of different times is, and how well the best lag repeats it; frames of 0.1 s."""
    step = max(1, round(0.1 / frame_seconds))
    count = chroma.shape[1] // step
    blocks = chroma[:, : count * step].reshape(12, count, step).mean(axis=2)
    norms = np.linalg.norm(blocks, axis=0)
    unit = blocks / np.maximum(norms, 1e-6)
    alike = unit.T @ unit
    first = max(1, round(REPEAT_SECONDS / (step * frame_seconds)))
    repeats = [float(np.diagonal(alike, lag).mean()) for lag in range(first, max(first, count * 2 // 3))]
    return {
        "self-similarity": alike.mean() if count else 0.0,
        "repetition": max(repeats, default=0.0),
        "change of harmony": 1 - np.diagonal(alike, 2).mean() if count > 2 and norms.any() else 0.0,
    }


def _envelope(plane: np.ndarray, held: np.ndarray, attack: int) -> Mapping[str, float]:
    """Which way time runs: rises are steeper than falls, and notes are louder early than late."""
    rise = np.diff(plane, axis=1)
    up, down = np.square(np.maximum(rise, 0)).sum(), np.square(np.minimum(rise, 0)).sum()
    later = plane[:, 2 * attack :] - plane[:, : -2 * attack]
    through = held[:, 2 * attack :] & held[:, : -2 * attack]
    return {
        "steepness of rises": up / max(up + down, 1e-9),
        "decay": -later[through].mean() if through.any() else 0.0,
    }


def _stereo_width(roll: np.ndarray) -> float:
    """Amplitude of the difference of the first two channels over that of their sum."""
    if len(roll) < 2:
        return 0.0
    left, right = (np.asarray(channel, np.float32) for channel in roll[:2])
    return float(np.abs(left - right).sum() / max(float(np.abs(left + right).sum()), 1e-9))

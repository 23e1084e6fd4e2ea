"""Musical features of a roll, by name, of the kind that a listener would count.

They come from the loudness of frames, the keys that sound, and the notes found by two thresholds (rolls/notes.py). A
feature that a roll has no material for (the length of notes where there are none) is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from musigan.rolls.loudness import compress
from musigan.rolls.notes import find_notes, sounding

REGISTER_KEYS = 8  # keys in a bin of the unfolded histogram
BEAT_SECONDS = (0.25, 1.5)  # 240 to 40 beats a minute
REPEAT_SECONDS = 1.0  # shortest lag at which similarity counts as repetition
ATTACK_SECONDS = 0.06


def musical_features(roll: np.ndarray, frame_seconds: float, low_key: int) -> dict[str, float]:
    """Return the features by name of a roll (C, K, T) whose lowest key is piano key `low_key`."""
    loudness = compress(roll).mean(axis=0)  # (K, T)
    notes = find_notes(np.asarray(roll, np.float32).mean(axis=0))
    is_sounding = sounding(notes, *loudness.shape)
    features = {
        **_loudness(loudness),
        **_keys(loudness, low_key),
        **_polyphony(loudness, is_sounding),
        **_note_lengths(notes.lengths * frame_seconds),
        **_rhythm(notes.starts, loudness.shape[1], frame_seconds),
        **_self_similarity(_chroma(loudness, low_key), frame_seconds),
        **_envelope(loudness, is_sounding, max(1, round(ATTACK_SECONDS / frame_seconds))),
        "stereo width": _stereo_width(roll),
    }
    return {name: float(value) if np.isfinite(value) else 0.0 for name, value in features.items()}


def _loudness(plane: np.ndarray) -> Mapping[str, float]:
    """Return statistics of the loudness of frames, the root of their summed power."""
    frame_loudness = np.sqrt(np.square(plane**2).sum(axis=0))  # (T,) linear
    low, middle, high = np.quantile(frame_loudness, (0.1, 0.5, 0.9))
    return {
        "loudness mean": frame_loudness.mean(),
        "loudness deviation": frame_loudness.std(),
        "loudness 10 %": low,
        "loudness median": middle,
        "loudness 90 %": high,
        "silence": (frame_loudness < 0.02).mean(),
    }


def _keys(plane: np.ndarray, low_key: int) -> Mapping[str, float]:
    """Return the shares of the loudness by register, and by pitch class (counted from A)."""
    key_shares = plane.sum(axis=1)
    key_shares = key_shares / max(float(key_shares.sum()), 1e-9)
    classes = np.bincount((np.arange(len(key_shares)) + low_key - 1) % 12, key_shares, 12)
    registers = np.bincount(
        (np.arange(len(key_shares)) + low_key - 1) // REGISTER_KEYS, key_shares, 88 // REGISTER_KEYS
    )
    return {f"register {number}": share for number, share in enumerate(registers, 1)} | {
        f"pitch class {number}": share for number, share in enumerate(classes)
    }


def _polyphony(plane: np.ndarray, held: np.ndarray) -> Mapping[str, float]:
    key_counts = held.sum(axis=0)
    return {
        "density": (plane > 0).mean(),
        "polyphony mean": key_counts.mean(),
        "polyphony deviation": key_counts.std(),
        "polyphony 95 %": np.quantile(key_counts, 0.95),
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
    """Return features of onsets, the times between them, and the beat, the onsets' highest autocorrelation peak."""
    onset_counts = np.bincount(starts[starts > 0], minlength=frames).astype(float)
    onset_frames = np.flatnonzero(onset_counts)
    interval_seconds = np.diff(onset_frames) * frame_seconds
    onset_strength = np.convolve(onset_counts, np.hanning(5), "same")
    onset_strength -= onset_strength.mean()
    power = float(onset_strength @ onset_strength)
    first_lag, last_lag = (max(1, round(seconds / frame_seconds)) for seconds in BEAT_SECONDS)
    lags = range(first_lag, min(last_lag, frames - 1))
    autocorrelation = np.array([onset_strength[:-lag] @ onset_strength[lag:] for lag in lags]) / max(power, 1e-9)
    peak = int(autocorrelation.argmax()) if autocorrelation.size and power else 0
    return {
        "onsets per second": onset_counts.sum() / (frames * frame_seconds),
        "between onsets median": np.median(interval_seconds) if interval_seconds.size else 0.0,
        "between onsets deviation": interval_seconds.std() if interval_seconds.size else 0.0,
        "beat strength": autocorrelation[peak] if autocorrelation.size else 0.0,
        "beat period": (first_lag + peak) * frame_seconds if power else 0.0,
    }


def _chroma(plane: np.ndarray, low_key: int) -> np.ndarray:
    """Return the loudness by pitch class, (K, T) -> (12, T)."""
    return np.asarray(((np.arange(len(plane)) + low_key - 1) % 12 == np.arange(12)[:, None]).astype(np.float32) @ plane)


def _self_similarity(chroma: np.ndarray, frame_seconds: float) -> Mapping[str, float]:
    """Return how alike the harmony of different times is, and how well the best lag repeats it; frames of 0.1 s."""
    block_frames = max(1, round(0.1 / frame_seconds))
    block_count = chroma.shape[1] // block_frames
    blocks = chroma[:, : block_count * block_frames].reshape(12, block_count, block_frames).mean(axis=2)
    norms = np.linalg.norm(blocks, axis=0)
    unit_blocks = blocks / np.maximum(norms, 1e-6)
    similarity = unit_blocks.T @ unit_blocks
    first_lag = max(1, round(REPEAT_SECONDS / (block_frames * frame_seconds)))
    lag_similarities = [
        float(np.diagonal(similarity, lag).mean()) for lag in range(first_lag, max(first_lag, block_count * 2 // 3))
    ]
    return {
        "self-similarity": similarity.mean() if block_count else 0.0,
        "repetition": max(lag_similarities, default=0.0),
        "change of harmony": 1 - np.diagonal(similarity, 2).mean() if block_count > 2 and norms.any() else 0.0,
    }


def _envelope(plane: np.ndarray, held: np.ndarray, attack: int) -> Mapping[str, float]:
    """Return features of time's direction: rises are steeper than falls, and notes are louder early than late."""
    changes = np.diff(plane, axis=1)
    rise_energy, fall_energy = np.square(np.maximum(changes, 0)).sum(), np.square(np.minimum(changes, 0)).sum()
    later_changes = plane[:, 2 * attack :] - plane[:, : -2 * attack]
    is_sustained = held[:, 2 * attack :] & held[:, : -2 * attack]
    return {
        "steepness of rises": rise_energy / max(rise_energy + fall_energy, 1e-9),
        "decay": -later_changes[is_sustained].mean() if is_sustained.any() else 0.0,
    }


def _stereo_width(roll: np.ndarray) -> float:
    """Return the amplitude of the difference of the first two channels over that of their sum."""
    if len(roll) < 2:
        return 0.0
    left, right = (np.asarray(channel, np.float32) for channel in roll[:2])
    return float(np.abs(left - right).sum() / max(float(np.abs(left + right).sum()), 1e-9))

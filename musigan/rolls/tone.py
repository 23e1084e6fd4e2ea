"""Tone: how the notes of a song sound, in a few hundred plain numbers.

A roll says how loud each note is; a tone says what it sounds like. Notes have partials, whose strengths depend on the
register, on loudness and on the note's age. Beside them there is breath: all sound that is no partial (bows, fingers,
hammers, room, drums), as the power density of noise in bands of frequency, which follows the loudness of the roll.

Breath of band b in a frame: ln of its density is `breath[b]` times `breath_features`. Powers are relative to those of a
roll, in which 1 is the song's level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

VERSION = 1
REGISTER_KEYS = 11
REGISTERS = 8  # of 11 of a piano's 88 keys each, the lowest first
PARTIALS = 12
BANDS = 32
BAND_RANGE_HZ = (40.0, 6000.0)
FEATURES = 5  # see `breath_features`
LEAST_POWER, LEAST_NEAR = 1e-4, 1e-5  # of a roll: added to the power of all notes and of those near a band
SLOW_SECONDS = 1.0  # over which the power of a roll is averaged
MOST_RISE = 2.0  # of ln power in a frame that counts
NEAR_OCTAVES = 0.3  # standard deviation of what counts as near a band
SPREAD = 0.9  # likeness below which two sides are told apart

SHAPES = {
    "partials": (REGISTERS, PARTIALS),
    "fades": (REGISTERS,),
    "brightness": (REGISTERS,),
    "attack_seconds": (REGISTERS,),
    "decay_seconds": (REGISTERS,),
    "breath": (BANDS, FEATURES),
    "likeness": (BANDS,),
}
LIMITS = {
    "partials": (0.0, 1.0), "fades": (0.0, 10.0), "brightness": (-2.0, 2.0), "attack_seconds": (0.0, 10.0),
    "decay_seconds": (0.01, 100.0), "breath": (-50.0, 50.0), "likeness": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tone:
    """The sound of a song's notes by register, and of its breath by band. Arrays are float64."""

    partials: np.ndarray  # (REGISTERS, PARTIALS), amplitudes; the squares of a register add up to 1
    fades: np.ndarray  # (REGISTERS,) partial n falls by exp(-fade * (n - 1)) a second against the first
    brightness: np.ndarray  # (REGISTERS,) partial n is louder by loudness ** (brightness * log2 n)
    attack_seconds: np.ndarray  # (REGISTERS,) from a note's beginning to nine tenths of its loudness
    decay_seconds: np.ndarray  # (REGISTERS,) in which a note falls to 1/e
    breath: np.ndarray  # (BANDS, FEATURES)
    likeness: np.ndarray  # (BANDS,) correlation of left and right; 1: sound in the middle, or of one side alone

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tone) and self.to_values() == other.to_values()

    def to_values(self) -> dict[str, Any]:
        """Return the tone as plain values, rounded to the thousandth."""
        return {"version": VERSION} | {name: np.round(getattr(self, name), 3).tolist() for name in SHAPES}

    @classmethod
    def parse(cls, values: object) -> Tone | None:
        """Parse plain values; None for those of a newer version. Raises ValueError where they are none of a tone."""
        version = values.get("version") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or type(version) is not int or version < 1:
            raise ValueError("expected a version and numbers")
        if version > VERSION:
            return None
        arrays = {}
        for name, shape in SHAPES.items():
            try:
                array = np.asarray(values[name], dtype=float)
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{name} is missing or no numbers") from None
            low, high = LIMITS[name]
            if array.shape != shape or not ((array >= low) & (array <= high)).all():
                raise ValueError(f"{name} is {array.shape}, expected {shape} from {low:g} to {high:g}")
            arrays[name] = array
        if not (arrays["partials"].max(axis=1) > 0).all():
            raise ValueError("a register has no partials")
        return cls(**arrays)


def average(tones: Sequence[Tone]) -> Tone | None:
    """Return the average of tones: of the partials' powers, of all else plain numbers; None for no tones."""
    if not tones:
        return None
    means = {each.name: np.mean([getattr(tone, each.name) for tone in tones], axis=0) for each in fields(Tone)}
    means["partials"] = np.sqrt(np.mean([tone.partials**2 for tone in tones], axis=0))
    return Tone(**means)


def band_centres_hz() -> np.ndarray:
    """Return the centres of the breath's bands, (BANDS,), evenly spaced in mel."""
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in BAND_RANGE_HZ)
    return np.asarray(700.0 * np.expm1(np.linspace(low, high, BANDS) / 1127.0))


def band_weights(frequencies_hz: np.ndarray) -> np.ndarray:
    """Return the share of each band in frequencies (N,), (BANDS, N): triangles whose sum is 1 everywhere."""
    place = np.interp(frequencies_hz, band_centres_hz(), np.arange(BANDS))
    return np.asarray(np.maximum(1 - np.abs(place - np.arange(BANDS)[:, None]), 0.0))


def by_key(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Interpolate values by register, (REGISTERS, ...), at piano keys (K,), 1 the lowest: (K, ...)."""
    place = np.clip((np.asarray(keys) - 1) / REGISTER_KEYS - 0.5, 0, REGISTERS - 1)
    low = np.minimum(place.astype(int), REGISTERS - 2)
    share = (place - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((1 - share) * values[low] + share * values[low + 1])


def breath_features(roll: np.ndarray, key_hz: np.ndarray, frame_seconds: float, step: int = 1) -> np.ndarray:
    """Return what breath depends on, float64 (FEATURES, C, BANDS, T / step), in every `step`th frame of a roll.

    They are 1; ln of the power of all notes in the frame and over a second; how much the former rose since the last
    frame; and ln of the power of the notes near the band. All but the last are the same in every band. `roll` is
    (C, K, T) in linear loudness, on keys of `key_hz`, (K,).
    """
    octaves = np.log2(band_centres_hz()[:, None] / key_hz)
    near = np.exp(-0.5 * (octaves / NEAR_OCTAVES) ** 2).astype(np.float32) @ np.square(
        roll[..., ::step], dtype=np.float32
    )
    total = note_power(roll)
    now = np.log(total + LEAST_POWER)
    rise = np.clip(np.diff(now, axis=-1, prepend=now[..., :1]), 0.0, MOST_RISE)
    features = np.empty((FEATURES, *near.shape))
    features[0] = 1.0
    features[1], features[3] = now[..., ::step], rise[..., ::step]
    features[2] = np.log(lately(total, frame_seconds)[..., ::step] + LEAST_POWER)
    features[4] = np.log(near + LEAST_NEAR)
    return features


def note_power(roll: np.ndarray) -> np.ndarray:
    """Return the power of all notes of a roll (C, K, T) in each frame, float64 (C, 1, T)."""
    return np.asarray(np.einsum("ckt,ckt->ct", roll, roll)[:, None], float)


def lately(power: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Average power (..., T) over SLOW_SECONDS around each frame; beyond the ends there is silence."""
    from scipy.ndimage import convolve1d

    # Not a running sum: what it leaves behind of loud frames would never be silent again.
    frames = max(round(SLOW_SECONDS / frame_seconds), 1)
    return np.asarray(convolve1d(power, np.full(frames, 1 / frames), axis=-1, mode="constant"))

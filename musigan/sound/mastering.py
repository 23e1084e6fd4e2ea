"""Mastering: joins stretches of sound to one finished signal, with fades, a gain and a limiter.

Conventions: every function takes an iterable of float32 (C, S) pieces and yields (C, S) pieces as they come; together
they are one signal. Memory holds one piece and the samples that a later step still needs. Only `crossfade` takes whole
takes, which end where they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from musigan.errors import SettingsError
from musigan.sound.takes import Take

# Sample peaks. Interpolation to 44.1 kHz and a lossy encoder add up to 1.3 dB: true peaks stay below -1 dBFS.
CEILING_DB = -2.5
LOOKAHEAD_SECONDS = 0.01  # the gain starts to fall this long before a peak and is back this long after it

Pieces = Iterable[np.ndarray]


def master(
    pieces: Pieces,
    sample_rate: int,
    gain_db: float = 0.0,
    fade_in_seconds: float = 0.0,
    fade_out_seconds: float = 0.0,
    ceiling_db: float = CEILING_DB,
) -> Iterator[np.ndarray]:
    """Apply gain, fades at both ends and a limiter: no sample exceeds `ceiling_db` dBFS."""
    factor = np.float32(10 ** (gain_db / 20))
    louder = (piece * factor for piece in pieces)
    yield from limit(fade(louder, sample_rate, fade_in_seconds, fade_out_seconds), sample_rate, ceiling_db)


def crossfade(takes: Iterable[Take | np.ndarray], sample_rate: int, seconds: float) -> Iterator[np.ndarray]:
    """Crossfade takes over `seconds` at equal power; one too short for that fades in over half its length."""
    longest_overlap = samples_of(seconds, sample_rate, "--crossfade")
    tail: np.ndarray | None = None
    for each in takes:
        take = each if isinstance(each, Take) else Take([each])
        start = 0
        if tail is not None:
            start = min(tail.shape[1], take.samples // 2 if take.samples > 1 else take.samples)
            angle = (np.arange(start, dtype=np.float32) + 0.5) / max(start, 1) * np.float32(np.pi / 2)
            yield tail[:, : tail.shape[1] - start]
            yield tail[:, tail.shape[1] - start :] * np.cos(angle) + take.signal(0, start) * np.sin(angle)
        stop = take.samples - min(longest_overlap, take.samples - start)
        yield from take.blocks(start, stop)
        tail = take.signal(stop)
    if tail is not None:
        yield tail


def fade(pieces: Pieces, sample_rate: int, in_seconds: float, out_seconds: float) -> Iterator[np.ndarray]:
    """Fade the signal in and out (raised cosine); a signal shorter than its fade-out is faded as a whole."""
    fade_in_samples = samples_of(in_seconds, sample_rate, "--fade")
    fade_out_samples = samples_of(out_seconds, sample_rate, "--fade")
    position = 0
    tail: np.ndarray | None = None
    for piece in pieces:
        if position < fade_in_samples:
            sample_indices = np.arange(position, position + piece.shape[1])
            piece = piece * raised_cosine(np.minimum((sample_indices + 0.5) / fade_in_samples, 1.0))
        position += piece.shape[1]
        tail = piece if tail is None else np.concatenate((tail, piece), axis=1)
        tail_start = max(tail.shape[1] - fade_out_samples, 0)
        yield tail[:, :tail_start]
        tail = tail[:, tail_start:]
    if tail is not None:
        remaining_samples = tail.shape[1]
        yield tail * raised_cosine((remaining_samples - np.arange(remaining_samples) - 0.5) / max(remaining_samples, 1))


def raised_cosine(place: np.ndarray) -> np.ndarray:
    """Map places to a raised cosine: 0 -> 0, 1 -> 1, slope 0 at both ends; float32."""
    return (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)


def limit(pieces: Pieces, sample_rate: int, ceiling_db: float = CEILING_DB) -> Iterator[np.ndarray]:
    """Limit peaks to `ceiling_db` dBFS with look-ahead, all channels by one gain; signals below it are unchanged.

    The gain that each sample needs is replaced by its minimum over the look-ahead on both sides, then by the mean of
    these minima over the same span. Each of these minima is at most the sample's own needed gain, and so is the mean.
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    ceiling = np.float32(10 ** (ceiling_db / 20))
    lookahead = max(1, round(LOOKAHEAD_SECONDS * sample_rate))
    context = 2 * lookahead
    buffer: np.ndarray | None = None  # `yielded_samples` samples of context, then those not yet yielded
    yielded_samples = 0

    def limited(block: np.ndarray, stop: int) -> np.ndarray:
        """Limit samples `yielded_samples` to `stop` of a block (C, S); the samples around them are context only."""
        part = block[:, yielded_samples:stop]
        peak = np.abs(block).max(axis=0, initial=0.0)
        if not peak.size or peak.max() <= ceiling:
            return part
        needed_gain = np.minimum(1.0, ceiling / np.maximum(peak, ceiling))
        minimum_gain = minimum_filter1d(needed_gain.astype(np.float64), 2 * lookahead + 1, mode="nearest")
        gain = uniform_filter1d(minimum_gain, 2 * lookahead + 1, mode="nearest")[yielded_samples:stop]
        # Rounding must not lift a peak over the ceiling.
        return np.clip(part * gain.astype(np.float32), -ceiling, ceiling)

    for piece in pieces:
        piece = np.asarray(piece, dtype=np.float32)
        buffer = piece if buffer is None else np.concatenate((buffer, piece), axis=1)
        stop = buffer.shape[1] - context
        if stop > yielded_samples:
            yield limited(buffer, stop)
            start = max(stop - context, 0)
            buffer, yielded_samples = buffer[:, start:], stop - start
    if buffer is not None:
        yield limited(buffer, buffer.shape[1])


def samples_of(seconds: float, sample_rate: int, flag: str) -> int:
    """Convert seconds to samples. Raises SettingsError, which names `flag`, for a negative or infinite time."""
    if not 0 <= seconds < float("inf"):
        raise SettingsError(f"{flag} {seconds} is not a duration: expected seconds, 0 or more")
    return round(seconds * sample_rate)

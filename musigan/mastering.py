"""From stretches of sound to one finished signal: joined, faded, levelled, limited.

Conventions: every function takes an iterable of float32 (C, S) pieces and yields (C, S) pieces as they come; together
they are one signal. Only a piece and what the next step must hold back are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from musigan.errors import SettingsError

# dBFS between samples stays below -1 in the file: interpolation to 44.1 kHz and a lossy encoder add up to 1.3 dB.
CEILING_DB = -2.5
LOOKAHEAD_SECONDS = 0.01  # the limiter begins to turn down so long before a peak, and is back so long after it

Pieces = Iterable[np.ndarray]


def master(
    pieces: Pieces,
    sample_rate: int,
    gain_db: float = 0.0,
    fade_in_seconds: float = 0.0,
    fade_out_seconds: float = 0.0,
    ceiling_db: float = CEILING_DB,
) -> Iterator[np.ndarray]:
    """Gain, fades at the very ends, and a limiter: no sample over `ceiling_db` dBFS."""
    factor = np.float32(10 ** (gain_db / 20))
    louder = (piece * factor for piece in pieces)
    yield from limit(fade(louder, sample_rate, fade_in_seconds, fade_out_seconds), sample_rate, ceiling_db)


def crossfade(pieces: Pieces, sample_rate: int, seconds: float) -> Iterator[np.ndarray]:
    """Each piece fades into the next over `seconds`, at equal power; one too short for that, over half its length."""
    overlap = samples_of(seconds, sample_rate, "--crossfade")
    tail: np.ndarray | None = None
    for piece in pieces:
        if tail is not None:
            shared = min(tail.shape[1], piece.shape[1] // 2 if piece.shape[1] > 1 else piece.shape[1])
            angle = (np.arange(shared, dtype=np.float32) + 0.5) / max(shared, 1) * np.float32(np.pi / 2)
            yield tail[:, : tail.shape[1] - shared]
            yield tail[:, tail.shape[1] - shared :] * np.cos(angle) + piece[:, :shared] * np.sin(angle)
            piece = piece[:, shared:]
        held = min(overlap, piece.shape[1])
        yield piece[:, : piece.shape[1] - held]
        tail = piece[:, piece.shape[1] - held :]
    if tail is not None:
        yield tail


def fade(pieces: Pieces, sample_rate: int, in_seconds: float, out_seconds: float) -> Iterator[np.ndarray]:
    """Fade the signal in and out (raised cosine); a signal shorter than its fade-out is faded as a whole."""
    rising = samples_of(in_seconds, sample_rate, "--fade")
    falling = samples_of(out_seconds, sample_rate, "--fade")
    done = 0
    tail: np.ndarray | None = None
    for piece in pieces:
        if done < rising:
            place = np.arange(done, done + piece.shape[1])
            piece = piece * raised_cosine(np.minimum((place + 0.5) / rising, 1.0))
        done += piece.shape[1]
        tail = piece if tail is None else np.concatenate((tail, piece), axis=1)
        ready = max(tail.shape[1] - falling, 0)
        yield tail[:, :ready]
        tail = tail[:, ready:]
    if tail is not None:
        left = tail.shape[1]
        yield tail * raised_cosine((left - np.arange(left) - 0.5) / max(left, 1))


def raised_cosine(place: np.ndarray) -> np.ndarray:
    """0 -> 0, 1 -> 1, level at both ends; float32."""
    return (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)


def limit(pieces: Pieces, sample_rate: int, ceiling_db: float = CEILING_DB) -> Iterator[np.ndarray]:
    """Look-ahead limiter: peaks at most `ceiling_db` dBFS, signals below it unchanged, channels turned down together.

    The gain needed by every sample, its minimum over the look-ahead on both sides, then the mean of that over the same
    span: no mean of minima that all include a sample's own need can exceed it.
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    ceiling = np.float32(10 ** (ceiling_db / 20))
    reach = max(1, round(LOOKAHEAD_SECONDS * sample_rate))
    context = 2 * reach
    held: np.ndarray | None = None  # `before` samples already yielded, then those that wait for what follows
    before = 0

    def limited(block: np.ndarray, stop: int) -> np.ndarray:
        """Samples from `before` to `stop` of a block (C, S), turned down; those around them only say how far."""
        part = block[:, before:stop]
        peak = np.abs(block).max(axis=0, initial=0.0)
        if not peak.size or peak.max() <= ceiling:
            return part
        need = np.minimum(1.0, ceiling / np.maximum(peak, ceiling))
        lowest = minimum_filter1d(need.astype(np.float64), 2 * reach + 1, mode="nearest")
        gain = uniform_filter1d(lowest, 2 * reach + 1, mode="nearest")[before:stop]
        # Rounding must not lift a peak over the ceiling.
        return np.clip(part * gain.astype(np.float32), -ceiling, ceiling)

    for piece in pieces:
        piece = np.asarray(piece, dtype=np.float32)
        held = piece if held is None else np.concatenate((held, piece), axis=1)
        stop = held.shape[1] - context
        if stop > before:
            yield limited(held, stop)
            start = max(stop - context, 0)
            held, before = held[:, start:], stop - start
    if held is not None:
        yield limited(held, held.shape[1])


def samples_of(seconds: float, sample_rate: int, flag: str) -> int:
    """Samples in so many seconds. Raises SettingsError, which names `flag`, for a negative or endless time."""
    if not 0 <= seconds < float("inf"):
        raise SettingsError(f"{flag} {seconds} is no length of time: give seconds, 0 or more")
    return round(seconds * sample_rate)

"""Cutting of songs into chunks and pairs (a chunk and its continuation), and the split into train and validation.

A chunk lasts `chunk_seconds`; a pair is two chunks that follow each other. `starts` are the times, in seconds of the
song, at which pairs (or single chunks) begin: with them the song can be reassembled.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan.errors import SettingsError

Array = npt.NDArray[Any]
SILENCE_PEAK = 1e-3  # -60 dBFS: below the noise of a recording, above the dither of an encoder


@dataclass(frozen=True)
class Cut:
    """The pairs of one song: array (P, 2, C, S), their start times, and how many were dropped as silent."""

    pairs: Array
    starts: tuple[float, ...]
    silent: int


def cut_pairs(signal: Array, sample_rate: float, chunk_seconds: float, overlap: float = 0.0, level: float = 1.0) -> Cut:
    """Cut a signal (C, S) into pairs; successive pairs share `overlap` (0 to below 1) of their length.

    A pair with a chunk that never passes -60 dBFS is dropped, and so is the remainder at the end, shorter than a pair.
    `level` is the factor from the signal's numbers to full scale. Raises SettingsError for another overlap.
    """
    if not 0 <= overlap < 1:
        raise SettingsError(f"--overlap is {overlap:g}, expected 0 or more and below 1")
    chunk = chunk_samples(sample_rate, chunk_seconds)
    hop = max(1, round(2 * chunk * (1 - overlap)))
    channels, samples = signal.shape
    count = max((samples - 2 * chunk) // hop + 1, 0)
    if not count:
        return Cut(np.empty((0, 2, channels, chunk), signal.dtype), (), 0)
    # A view of the signal, no copy: (C, P, 2 S), then (P, 2, C, S).
    windows = np.lib.stride_tricks.sliding_window_view(signal, 2 * chunk, axis=1)[:, ::hop]
    array = windows.reshape(channels, count, 2, chunk).transpose(1, 2, 0, 3)
    is_sounding = np.array([bool((_peaks(pair) * level > SILENCE_PEAK).all()) for pair in array])
    starts = tuple(number * hop / sample_rate for number in np.flatnonzero(is_sounding).tolist())
    return Cut(array if is_sounding.all() else array[is_sounding], starts, int((~is_sounding).sum()))


def _peaks(pair: Array) -> npt.NDArray[np.float32]:
    """Return the peak, (2,), of each chunk of a pair (2, C, S)."""
    # As float32 first: the lowest int16 has no absolute value in int16, and NumPy compares float16 slowly.
    return np.abs(pair.astype(np.float32)).max(axis=(1, 2))


def chunk_samples(sample_rate: float, chunk_seconds: float) -> int:
    """Return the number of samples in one chunk. Raises SettingsError unless it is whole and at least 1."""
    samples = chunk_seconds * sample_rate
    if not math.isfinite(samples) or round(samples) < 1 or abs(samples - round(samples)) > 1e-6:
        raise SettingsError(f"--chunk-seconds {chunk_seconds:g} is not a whole number of samples at {sample_rate:g} Hz")
    return round(samples)


class Assembled:
    """A song (..., total) of pairs (P, 2, ..., N) or chunks (P, ..., N), put together as its parts are asked for.

    It begins with the earliest start; N holds `rate` values a second. Where pairs overlap, the one that began first
    counts; where something was dropped, there is silence. `dtype` None: the array's own.
    """

    def __init__(
        self, array: Array, starts: tuple[float, ...], rate: float, paired: bool, dtype: npt.DTypeLike | None = None
    ) -> None:
        parts = 2 if paired else 1
        self._chunks = array if paired else array[:, None]  # (P, parts, ..., N)
        self._length = length = array.shape[-1]
        begins = _begins(starts, rate)
        self.shape = (*self._chunks.shape[2:-1], max(begins) + parts * length)
        self.dtype = array.dtype if dtype is None else np.dtype(dtype)
        self._places: list[tuple[int, int, tuple[int, int]]] = []  # from where on it counts, begin, index; rising
        filled_until = 0
        for number in sorted(range(len(begins)), key=begins.__getitem__):
            for part in range(parts):
                begin = begins[number] + part * length
                if filled_until < begin + length:
                    self._places.append((max(begin, filled_until), begin, (number, part)))
                    filled_until = begin + length

    def __getitem__(self, place: tuple[slice, ...]) -> Array:
        *others, last = place
        first, stop, _ = last.indices(self.shape[-1])
        sizes = [len(range(*each.indices(size))) for each, size in zip(others, self.shape, strict=False)]
        result = np.zeros((*sizes, max(stop - first, 0)), self.dtype)
        earliest = bisect_right(self._places, (first,)) - 1
        for counts_from, begin, index in self._places[max(earliest, 0) :]:
            if counts_from >= stop:
                break
            low, high = max(counts_from, first), min(begin + self._length, stop)
            if low < high:
                chunk = self._chunks[index][tuple(others)]
                result[..., low - first : high - first] = chunk[..., low - begin : high - begin]
        return result


def assemble(
    array: Array, starts: tuple[float, ...], rate: float, paired: bool, dtype: npt.DTypeLike | None = None
) -> Array:
    """Reassemble a song from pairs (P, 2, ..., N) or chunks (P, ..., N) as a whole, (..., total): see `Assembled`."""
    song = Assembled(array, starts, rate, paired, dtype)
    return song[tuple(slice(size) for size in song.shape)]


def cut_at(song: Array, starts: tuple[float, ...], rate: float, length: int, paired: bool) -> Array:
    """Cut a song (..., N) at `starts` into pairs or chunks of `length` values, `rate` of them a second.

    The inverse of `assemble`; the rate may be another.
    """
    parts = 2 if paired else 1
    cut = np.empty((len(starts), parts, *song.shape[:-1], length), song.dtype)
    for number, begin in enumerate(_begins(starts, rate)):
        for part in range(parts):
            cut[number, part] = song[..., begin + part * length : begin + (part + 1) * length]
    return cut if paired else cut[:, 0]


def _begins(starts: tuple[float, ...], rate: float) -> list[int]:
    """Return where pairs or chunks begin, counted in values from the earliest."""
    earliest = min(starts)
    # Rounded down: a start between two frames must not push the last chunk past the song's last whole frame.
    return [math.floor((start - earliest) * rate + 1e-6) for start in starts]


def is_validation(content: str, share: float) -> bool:
    """Decide by a hash of its content whether a song is for validation: other songs or a new name change nothing."""
    return _hash(content) < share * 2**64


def validation_share(content: str) -> float:
    """Return the share of songs held back from which on a song is among them."""
    return _hash(content) / 2**64


def _hash(content: str) -> int:
    digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=8, person=b"musigan-split").digest()
    return int.from_bytes(digest, "big")


def chunk_frames(chunk_seconds: float, frame_seconds: float) -> int:
    """Return the number of frames in one chunk. Raises SettingsError unless it is whole and at least 1."""
    frames = chunk_seconds / frame_seconds
    if round(frames) < 1 or abs(frames - round(frames)) > 1e-6 * frames:
        raise SettingsError(
            f"a chunk of {chunk_seconds:g} s is not a whole number of frames of {frame_seconds:g} s: "
            "choose another --frame-seconds"
        )
    return round(frames)

"""Decoding and encoding of songs: float32 of shape (C, S) at the requested sample rate.

`decode` reads one file, `decode_many` a folder's worth in threads (libsndfile and soxr release the GIL), `encode`
writes. Lengths are counted from decoded samples, never taken from a header. Resampling is soxr's HQ filter (aliases
below -140 dB), block by block, so that memory grows with the requested part and not with the length of the file.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from musigan.errors import AudioError, MusiganError, UsageError
from musigan.files.finding import MediaFile, failing_alone
from musigan.files.remote import is_url, local
from musigan.machine.parallel import ordered_map
from musigan.sound import decoding
from musigan.sound.encoding import encode
from musigan.sound.layouts import Layout, stereo_matrix
from musigan.sound.tags import read_tags
from musigan.sound.takes import Recorder, Take

__all__ = ["Channels", "Outcome", "Recording", "content_hash", "decode", "decode_many", "encode"]

Channels = Literal["stereo", "mono", "keep"]

MAX_VALUES = 1 << 28  # of a signal: 1 GiB, three hours of stereo at 12 kHz; what goes beyond is left out
MAX_START_SECONDS = 1e7  # four months: behind the end of any file
_BURST_WINDOW_SAMPLES = 576  # half a long MP3 frame: one broken frame damages as much
# A burst that exceeds full scale by this factor, and also exceeds the 0.9 quantile of its surroundings by it, is not
# music. Lossy decoders turn damaged data into such bursts. In uncompressed floats high values may be intended.
_BURST_FACTOR_LOSSY = 4.0
_BURST_FACTOR_LOSSLESS = 1000.0

_CANCELLED = 0.01  # of the channels' power is left in their mix: they are of opposite phase


@dataclass(frozen=True)
class Recording:
    """A decoded song.

    take: float32 (C, S), nominally within +-1 (a file may be louder), always finite; long ones are in a file.
    seconds_total: of the whole file where that is known, else None. warnings: one line each, without the file's name.
    """

    take: Take
    sample_rate: int
    title: str | None = None
    artist: str | None = None
    genre: str | None = None
    year: str | None = None
    seconds_total: float | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def signal(self) -> np.ndarray:
        """The sound in one piece, (C, S)."""
        return self.take.signal()

    @property
    def seconds(self) -> float:
        """The length of the decoded signal."""
        return self.take.samples / self.sample_rate


@dataclass(frozen=True)
class Outcome:
    """The result for one file: a recording, or the error that explains why there is none."""

    found: MediaFile
    recording: Recording | None = None
    error: Exception | None = None

    def result(self) -> Recording:
        """Return the recording. Raises the error where there is none."""
        if self.recording is None:
            raise self.error or AudioError("no audio could be decoded")
        return self.recording


def decode(
    path: str | os.PathLike[str],
    sample_rate: int = 12000,
    start_seconds: float = 0.0,
    seconds: float | None = 120.0,
    channels: Channels = "stereo",
    min_seconds: float = 0.0,
    stop: threading.Event | None = None,
) -> Recording:
    """Decode `seconds` of a file or URL (None: all) from `start_seconds` on, resampled to `sample_rate` hz.

    channels: "stereo" doubles a mono file and mixes down surround, "mono" mixes everything, "keep" keeps the file's.
    stop: setting it from another thread makes this one give up soon.
    Raises AudioError (without the file's name, which the caller knows) when nothing can be decoded or less than
    `min_seconds`; UsageError for invalid arguments.
    """
    if sample_rate < 100 or not 0 <= start_seconds <= MAX_START_SECONDS or (seconds is not None and not seconds > 0):
        raise UsageError(f"cannot decode {seconds} s from {start_seconds} s at {sample_rate} hz")
    if channels not in ("stereo", "mono", "keep"):
        raise UsageError(f"channels are {channels!r}, expected stereo, mono or keep")
    if is_url(os.fspath(path)):
        try:
            with local(path) as copy:
                return decode(copy, sample_rate, start_seconds, seconds, channels, min_seconds, stop)
        except AudioError:
            raise
        except MusiganError as error:
            raise AudioError(str(error)) from error
    text_path = os.fspath(path)
    decoding.check_content(text_path)
    request = decoding.Request(text_path, start_seconds, seconds)
    take, report = _read_first_good(request, _OutputFormat(sample_rate, channels, stop))
    decoded_seconds = take.samples / sample_rate
    if not take.samples:
        position_text = f" after {start_seconds:g} s" if start_seconds else ""
        raise AudioError(f"no samples in it{position_text}, or too few to keep one")
    if decoded_seconds < min_seconds:
        raise AudioError(f"too short: {decoded_seconds:.2f} s, at least {min_seconds:g} s are needed")
    tags = read_tags(text_path)
    return Recording(
        take,
        sample_rate,
        tags.title,
        tags.artist,
        tags.genre,
        tags.year,
        report.seconds_total,
        tuple(report.warnings),
    )


def decode_many(
    found: Iterable[MediaFile],
    jobs: int,
    sample_rate: int = 12000,
    start_seconds: float = 0.0,
    seconds: float | None = 120.0,
    channels: Channels = "stereo",
    min_seconds: float = 0.0,
) -> Iterator[Outcome]:
    """Decode files in `jobs` threads and yield their outcomes in the order of `found`; errors are values among them.

    At most jobs + 1 recordings exist at once (the one handed out included), however slow the consumer is.
    """
    stop = threading.Event()

    def work(item: MediaFile) -> Outcome:
        """Decode one file, in a thread; its failure becomes its outcome, so that the others go on."""
        failures: list[Exception] = []
        with failing_alone(failures.append):
            recording = decode(item.path, sample_rate, start_seconds, seconds, channels, min_seconds, stop)
            return Outcome(item, recording=recording)
        return Outcome(item, error=failures[0])

    try:
        yield from ordered_map(work, found, jobs)
    finally:
        stop.set()


def content_hash(signal: np.ndarray | Take) -> str:
    """Return a hash of decoded sound, 32 hex digits: equal for copies, links and retagged copies of one recording.

    signal: (C, S). The hash is taken of the samples at 16 bits, so the file's container and tags do not count.
    """
    take = signal if isinstance(signal, Take) else Take([signal])
    digest = hashlib.blake2b(f"{take.channels} channels".encode(), digest_size=16)
    for block in take.blocks():
        frames = np.empty(block.shape[::-1], "<i2")
        frames[...] = np.rint(np.clip(block, -1, 1) * 32767).T
        digest.update(frames.data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _OutputFormat:
    """How decoded blocks are converted."""

    sample_rate: int
    channels: Channels
    stop: threading.Event | None


def _read_first_good(request: decoding.Request, plan: _OutputFormat) -> tuple[Take, decoding.Report]:
    """Return (take, report) of the first reader that decodes the whole request, else of the one that got furthest.

    Raises AudioError if no reader decodes anything.
    """
    best, best_report = Take([]), decoding.Report()
    problem: Exception = AudioError("no audio could be decoded")
    for reader in decoding.readers():
        report = decoding.Report()
        collector = _Collector(request, plan)
        try:
            for rate, block in reader(request, report):
                if plan.stop is not None and plan.stop.is_set():
                    raise AudioError("interrupted")
                if collector.add(rate, block, report):
                    break
            return collector.take(report), report
        except (decoding.ReaderError, AudioError) as error:
            if plan.stop is not None and plan.stop.is_set():
                raise AudioError("interrupted") from None
            problem = error
            take = collector.take(report)
        if take.samples > best.samples:
            report.warnings.append(f"{problem}; kept what decodes")
            best, best_report = take, report
        if isinstance(problem, AudioError):  # the verdict, whatever reader comes next
            break
    if not best.samples:
        raise AudioError(f"no audio could be decoded: {problem}")
    return best, best_report


class _Collector:
    """Collector of decoded blocks: skips to the start, mixes channels, resamples, and reports when it has enough."""

    def __init__(self, request: decoding.Request, plan: _OutputFormat) -> None:
        self._plan = plan
        self._to_skip_seconds = request.start_seconds
        self._samples_needed = (
            math.inf if request.seconds is None else round(min(request.seconds, MAX_START_SECONDS) * plan.sample_rate)
        )
        self._recorder = Recorder()  # at the plan's rate
        self._rate = 0
        self._channels = 0
        self._stream: Any = None
        self._powers = np.zeros(2)  # sums of squares of the channels that came in, on average, and of their mix

    def add(self, rate: int, block: np.ndarray, report: decoding.Report) -> bool:
        """Add a block of shape (S, C); return True when no more blocks are needed."""
        if report.skipped_seconds:
            self._to_skip_seconds -= report.skipped_seconds
            report.skipped_seconds = 0.0
        skip = min(len(block), max(0, round(self._to_skip_seconds * rate)))
        self._to_skip_seconds -= skip / rate
        block = block[skip:]
        if not len(block):
            return False
        block = _without_bursts(block, report)
        power = float(np.square(block).mean(axis=1).sum())
        block = _mixed(block, self._plan.channels, self._channels, report.layout)
        self._powers += power, float(np.square(block).mean(axis=1).sum())
        self._channels = block.shape[1]
        samples_possible = MAX_VALUES // self._channels
        if rate != self._rate:
            self._flush()
            self._rate = rate
            self._stream = None if rate == self._plan.sample_rate else self._new_stream(rate)
        self._keep(block if self._stream is None else self._stream.resample_chunk(block))
        if self._samples_needed > samples_possible <= self._recorder.samples:
            minutes = samples_possible / self._plan.sample_rate / 60
            _warn_once(report, f"longer than the {minutes:.0f} minutes that fit into memory: the rest is left out")
            self._samples_needed = samples_possible
        return self._recorder.samples >= self._samples_needed

    def take(self, report: decoding.Report) -> Take:
        """Return the collected sound. Ends the stream."""
        if self._plan.channels == "mono" and self._powers[1] < _CANCELLED * self._powers[0]:
            _warn_once(report, "left and right cancel each other out in mono; --channels stereo keeps them")
        if self._recorder.samples < self._samples_needed:
            self._flush()
        return self._recorder.finish()

    def _new_stream(self, rate: int) -> Any:
        import soxr

        return soxr.ResampleStream(rate, self._plan.sample_rate, self._channels, dtype="float32", quality="HQ")

    def _flush(self) -> None:
        if self._stream is not None:
            empty = np.zeros((0, self._channels), np.float32)
            self._keep(self._stream.resample_chunk(empty, last=True))
            self._stream = None

    def _keep(self, part: np.ndarray) -> None:
        """Keep a part (S, C), as far as it is needed."""
        missing = min(self._samples_needed, MAX_VALUES // part.shape[1]) - self._recorder.samples
        part = part if missing >= len(part) else part[: max(int(missing), 0)]
        if len(part):
            self._recorder.add(part.T)


def _without_bursts(block: np.ndarray, report: decoding.Report) -> np.ndarray:
    """Silence damage in `block` (S, C): values that are not finite, and bursts far above everything around them.

    A file that is loud throughout is returned unchanged.
    """
    factor = _BURST_FACTOR_LOSSY if report.lossy else _BURST_FACTOR_LOSSLESS
    peak = max(float(block.max()), -float(block.min()))
    if peak <= factor:  # false for NaN
        return block
    if not peak < 1e9:
        block = np.where(np.abs(block) < 1e9, block, np.float32(0))  # NaN compares false
        _warn_once(report, "damaged: values in it that are no sound became silence")
    windows = -(-len(block) // _BURST_WINDOW_SAMPLES)
    padded = np.zeros((windows * _BURST_WINDOW_SAMPLES, block.shape[1]), np.float32)
    padded[: len(block)] = np.abs(block)
    peaks = padded.reshape(windows, -1).max(axis=1)
    is_burst = peaks > factor * max(1.0, float(np.quantile(peaks, 0.9)))
    if not is_burst.any():
        return block
    is_silenced = is_burst.copy()  # with their neighbours: a damaged frame also damages those that it overlaps with
    is_silenced[1:] |= is_burst[:-1]
    is_silenced[:-1] |= is_burst[1:]
    _warn_once(report, "damaged: bursts of noise in it became silence")
    return np.where(np.repeat(is_silenced, _BURST_WINDOW_SAMPLES)[: len(block), None], np.float32(0), block)


def _warn_once(report: decoding.Report, warning: str) -> None:
    if warning not in report.warnings:
        report.warnings.append(warning)


def _mixed(block: np.ndarray, channels: Channels, established: int, layout: Layout = ()) -> np.ndarray:
    """Mix `block` (S, C) to the requested channels: (S, 1) mono, (S, 2) stereo, or as many as the file began with."""
    input_channels = block.shape[1]
    output_channels = {"mono": 1, "stereo": 2, "keep": established or input_channels}[channels]
    if input_channels == output_channels:
        return np.ascontiguousarray(block)
    if output_channels == 1:
        stereo = block if input_channels == 2 else block @ stereo_matrix(input_channels, layout)
        return stereo.mean(axis=1, keepdims=True, dtype=np.float32)
    if input_channels == 1:
        return np.repeat(block, output_channels, axis=1)
    if output_channels == 2:
        return block @ stereo_matrix(input_channels, layout)
    return np.repeat(block.mean(axis=1, keepdims=True, dtype=np.float32), output_channels, axis=1)

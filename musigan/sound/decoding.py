"""Decoding of sound files into blocks of samples at their own rate: three readers, tried in turn.

1. libsndfile, in blocks: mp3, flac, ogg, opus, wav, aiff and similar formats. Where a header's length is not true, or
   several recordings lie in one file, it gets them as containers.py cuts them out.
2. An MP3 where libsndfile stops early (garbage inside, a wrong or missing length, several recordings in one file):
   its frames are located and passed to libsndfile without the damage.
3. ffmpeg, where it is installed: everything else.

The format is decided by the file's content, never by its name. Blocks are (sample rate in hz, float32 of shape (S, C)).
"""

from __future__ import annotations

import io
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from musigan.errors import AudioError
from musigan.sound import ffmpeg, layouts, mpeg
from musigan.sound.containers import PartFile, parts_of

Block = tuple[int, np.ndarray]

RATES_HZ, MAX_CHANNELS = (1000, 1_000_000), 64  # of recordings; others are damage, and would take any memory
_BLOCK_FRAMES = 1 << 18
# Formats that libsndfile recognises by a real signature. The rest of its list (HTK, SDS, MAT4, ...) is not used for
# music, and random bytes pass as some of these formats.
_FORMATS = frozenset({"WAV", "WAVEX", "AIFF", "FLAC", "OGG", "MP3", "AU", "CAF", "W64", "RF64", "SVX", "VOC"})
_EXACT_SEEK = frozenset({"WAV", "WAVEX", "AIFF", "AU", "CAF", "W64", "RF64"})  # elsewhere: decode and discard

_NOT_AUDIO = (  # (offset, signature, name of the content)
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a rar archive"),
    (0, b"MThd", "a MIDI file"),
    (0, b"\x00\x05\x16\x07", "a macOS resource fork"),
)
_NEEDS_FFMPEG = (
    (4, b"ftyp", "MP4 (m4a, aac, alac or video)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (wma)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"MAC ", "Monkey's Audio (ape)"),
    (0, b"wvpk", "WavPack"),
    (0, b"fLaC", "a damaged FLAC"),
    (28, b"\x7fFLAC", "FLAC in Ogg"),
    (0, b"OggS", "a damaged Ogg"),
)
_TEXT_STARTS = {  # lower case
    b"#extm3u": "a playlist",
    b"[playlist]": "a playlist",
    b"ffconcat": "a playlist",
    b"<asx": "a playlist",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b"{": "a JSON text",
}


class ReaderError(Exception):
    """The failure of one reader: it does not know the file, or stopped early; another may do better.

    Not seen outside this module and audio.py.
    """


@dataclass
class Report:
    """Facts about a file that are known after reading it."""

    seconds_total: float | None = None  # of the whole file, where it can be known
    lossy: bool = False
    layout: layouts.Layout = ()  # of the blocks' channels; (): by their number
    sought_seconds: float = 0.0  # that were passed over by an exact seek
    skipped_seconds: float = 0.0  # the same, until the caller, who need not discard as much, has taken note
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """The part of a file to decode; seconds None: all of it."""

    path: str
    start_seconds: float
    seconds: float | None

    @property
    def end_seconds(self) -> float | None:
        return None if self.seconds is None else self.start_seconds + self.seconds


Reader = Callable[[Request, Report], Iterator[Block]]


def check_content(path: str) -> None:
    """Check that a file can be music. Raises AudioError if it is no file, empty, unreadable, a picture or a text."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise AudioError("not a regular file")
        with open(path, "rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise AudioError("no such file") from error
    except PermissionError as error:
        raise AudioError("permission denied") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise AudioError("the file is empty (0 bytes)")
    content_kind = _match_signature(start, _NOT_AUDIO)
    if content_kind is None and start[:3] == b"ID3" and _is_all_tags(path):
        content_kind = "nothing but tags"
    if content_kind is not None:
        raise AudioError(f"no audio could be decoded: it is {content_kind}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, kind in _TEXT_STARTS.items():
        if text.startswith(beginning):
            raise AudioError(f"no audio could be decoded: it is {kind}")
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        raise AudioError("no audio could be decoded: it is a text")


def _match_signature(start: bytes, signatures: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((kind for offset, sign, kind in signatures if start[offset : offset + len(sign)] == sign), None)


def _is_all_tags(path: str) -> bool:
    with _memory_map(path) as data:
        end = mpeg.after_tags(data, 0)
        return len(data) - end < 65536 and not data[end:].strip(b"\0")


def readers() -> tuple[Reader, ...]:
    """Return the readers in the order to try them."""
    return read_libsndfile, read_damaged_mpeg, read_ffmpeg


def read_libsndfile(request: Request, report: Report) -> Iterator[Block]:
    """Yield blocks read by libsndfile, part after part of the file.

    Raises ReaderError if it does not know the file or stops before its end, AudioError for sound that cannot be meant.
    """
    import soundfile

    name = os.fsencode(request.path) if os.name == "posix" else request.path
    with _memory_map(request.path) as data:
        parts = parts_of(data)
        sources: list[PartFile | bytes | str] = [PartFile(data, part) for part in parts]
        report.warnings += [
            f"its header promises {part.promised_seconds:.1f} s, which is not true: what is there was read"
            for part in parts
            if part.promised_seconds is not None
        ]
        delivered_seconds = 0.0
        for source in sources or [name]:
            try:
                file = soundfile.SoundFile(source)
            except (soundfile.SoundFileError, OSError) as error:
                where = f"damaged after {delivered_seconds:.1f} s" if delivered_seconds else "does not know this format"
                raise ReaderError(f"libsndfile: {where}") from error
            with file:
                for block in _blocks(file, request, report, data, can_seek=len(sources) <= 1):
                    delivered_seconds += len(block) / file.samplerate
                    yield file.samplerate, block
        report.seconds_total = delivered_seconds + report.sought_seconds


def _blocks(file: Any, request: Request, report: Report, data: mpeg.Bytes, can_seek: bool) -> Iterator[np.ndarray]:
    """Yield the blocks (S, C) of an open soundfile.SoundFile, `data` being the whole file; complain at its end."""
    import soundfile

    is_mpeg, rate = file.format == "MP3", file.samplerate
    if file.format not in _FORMATS or (is_mpeg and not (mpeg.is_mpeg(data) or mpeg.may_begin(data))):
        raise ReaderError("libsndfile does not know this format")
    check_plausible(rate, file.channels)
    report.lossy = file.format in ("MP3", "OGG")
    report.layout = layouts.layout_of(file, data)
    delivered_samples = 0
    try:
        if request.start_seconds and can_seek and file.format in _EXACT_SEEK and file.seekable():
            delivered_samples = file.seek(min(file.frames, round(request.start_seconds * rate)))
            report.skipped_seconds = report.sought_seconds = delivered_samples / rate
        while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            delivered_samples += len(block)
            yield block
    except soundfile.SoundFileError as error:
        raise ReaderError(f"damaged after {delivered_samples / rate:.1f} s") from error
    if is_mpeg:
        _check_mpeg_end(request, data, delivered_samples / rate, report)
    elif delivered_samples < 0.98 * file.frames:
        _warn_of_early_end(delivered_samples / rate, file.frames / rate, report)


def check_plausible(sample_rate: int, channels: int) -> None:
    """Check a header before room is made for its sound. Raises AudioError for what no recording has."""
    if not (RATES_HZ[0] <= sample_rate <= RATES_HZ[1] and 1 <= channels <= MAX_CHANNELS):
        raise AudioError(
            f"its header says {channels} channels at {sample_rate:,} Hz: expected at most {MAX_CHANNELS}, "
            f"at {RATES_HZ[0]:,} to {RATES_HZ[1]:,} Hz"
        )


def _check_mpeg_end(request: Request, data: mpeg.Bytes, delivered_seconds: float, report: Report) -> None:
    """Compare the length with the frames in the file: raise ReaderError if it holds more, warn if it promises more."""
    scan = mpeg.scan(data, request.end_seconds)
    slack_seconds = 5 * 1152 / scan.stretches[0].header.sample_rate if scan.stretches else 0.0  # delay and padding
    if scan.seconds > delivered_seconds + slack_seconds:
        raise ReaderError(f"damaged after {delivered_seconds:.1f} s")
    if scan.promised_seconds is not None and len(scan.stretches) == 1:
        _warn_of_early_end(delivered_seconds, scan.promised_seconds, report)


def _warn_of_early_end(delivered_seconds: float, promised_seconds: float, report: Report) -> None:
    if delivered_seconds < 0.98 * promised_seconds - 0.1:
        report.warnings.append(f"ends early: {delivered_seconds:.1f} s of the {promised_seconds:.1f} s it promises")


def read_damaged_mpeg(request: Request, report: Report) -> Iterator[Block]:
    """Yield blocks decoded from every MPEG audio frame in the file; bytes between frames are ignored."""
    report.lossy = True
    with _memory_map(request.path) as data:
        if not mpeg.is_mpeg(data):
            raise ReaderError("no MPEG audio frames in it")
        scan = mpeg.scan(data, None if request.end_seconds is None else request.end_seconds + 1)
        if scan.garbage_bytes > 4096:
            report.warnings.append(f"damaged: {scan.garbage_bytes} bytes in it are no audio; kept what decodes")
        for stretch in scan.stretches:
            is_complete = stretch.promised_frames == len(stretch.offsets)
            start, end = stretch.delay_samples, stretch.samples - (stretch.padding_samples if is_complete else 0)
            position = mpeg.DECODER_DELAY_SAMPLES if stretch.header.info_offset else 0  # in samples of the stretch
            for rate, block in _decode_clean(mpeg.clean_file(data, stretch)):
                trimmed_block = block[max(0, start - position) : max(0, end - position)]
                position += len(block)
                if len(trimmed_block):
                    yield rate, trimmed_block
            if position < end - stretch.header.samples:
                report.warnings.append(f"damaged: {(end - position) / stretch.header.sample_rate:.1f} s do not decode")


def _decode_clean(data: bytes) -> Iterator[Block]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield file.samplerate, block
    except soundfile.SoundFileError:
        return  # the caller knows from the number of samples how far it came


def read_ffmpeg(request: Request, report: Report) -> Iterator[Block]:
    """Yield blocks read by the ffmpeg program. Raises AudioError, with the extra to install, where there is none."""
    if ffmpeg.find_ffmpeg() is None:
        with open(request.path, "rb") as file:
            content_kind = _match_signature(file.read(64), _NEEDS_FFMPEG)
        if content_kind is None:
            raise AudioError(f"libsndfile does not know its format; if it is audio, {ffmpeg.INSTALL_HINT} may read it")
        raise AudioError(f"it is {content_kind}; {ffmpeg.INSTALL_HINT} would read it")
    report.lossy = True
    for rate, layout, block in ffmpeg.decoded_blocks(request.path, request.end_seconds, report.warnings):
        check_plausible(rate, block.shape[1])
        report.layout = layout
        yield rate, block


def _memory_map(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

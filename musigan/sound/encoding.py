"""Encoding of sound: mp3, wav, flac, ogg, opus and aiff by libsndfile (with LAME), the rest by pydub and ffmpeg.

The encoded file is written under another name and appears complete or not at all. Sound passes through in blocks.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import numpy as np

from musigan.errors import AudioError, UsageError
from musigan.files.atomic import KeptErrors, replace_whole, write_error
from musigan.files.targets import _ALIASES
from musigan.sound import ffmpeg
from musigan.sound.ogg import seed_serial
from musigan.sound.tags import write_tags

_LIBSNDFILE = {  # format: (libsndfile's format, subtype)
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
}
_FFMPEG_MUXERS = {"m4a": "ipod", "m4b": "ipod", "aac": "adts", "wma": "asf", "mka": "matroska"}  # ffmpeg's own names
# LAME takes other rates too, but at 12 kHz no more than 64 kb/s, and some players refuse them. The lossless formats
# keep the signal's own rate. Formats that are not listed use the common rates. A rate that is not allowed becomes the
# first of the list.
_RATES_HZ = {"opus": (48000, 24000, 16000, 12000, 8000)}
_COMMON_RATES_HZ = (44100, 48000, 32000)
_OGG = frozenset({"ogg", "opus"})
_LOSSLESS = frozenset({"wav", "flac", "aiff"})
_MP3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_DEFAULT = "V2"  # about 190 kb/s, generally considered transparent
_DEFAULT_BITRATE = {"ogg": "192k", "opus": "160k"}
_PIECE_FRAMES = 1 << 14  # libsndfile's Vorbis encoder copies each write to the stack


def encode(
    signal_blocks: Iterable[np.ndarray],
    sample_rate: int,
    target: str | os.PathLike[str] | IO[bytes],
    format: str,
    bitrate: str | None = None,
    tags: Mapping[str, str] | None = None,
    replaces: bool = True,
) -> None:
    """Write blocks of shape (C, S), within +-1 at `sample_rate` hz, to a path or a binary stream.

    format: mp3, wav, flac, ogg (Vorbis), opus, aiff; others (m4a, wma, ...) need ffmpeg. bitrate: like "192k", for mp3
    also a variable quality "V0" (best) to "V9"; None: V2. tags: title, artist, album, genre, year, comment, software.
    Samples beyond +-1 are clipped. Not `replaces`: only to a path where nothing is. Raises AudioError where it cannot
    be written, UsageError for an invalid bitrate.
    """
    format = _ALIASES.get(format.lower(), format.lower())
    blocks = _checked_blocks(signal_blocks)
    if format not in _LIBSNDFILE and ffmpeg.find_ffmpeg() is None:
        raise AudioError(f"cannot write {format}: {ffmpeg.INSTALL_HINT} would; or choose {', '.join(_LIBSNDFILE)}")
    rate = _output_rate(format, sample_rate)
    blocks = _resampled(blocks, sample_rate, rate)
    settings = _settings(format, bitrate) if format in _LIBSNDFILE else {}
    if format not in _LIBSNDFILE and bitrate is not None:
        _kbps(bitrate)
    with _temporary_output(target, replaces) as temporary:
        try:
            if format in _LIBSNDFILE:
                _write_libsndfile(blocks, rate, temporary, format, settings)
                write_tags(temporary, format, tags or {})
                if format in _OGG:
                    seed_serial(temporary)
            else:
                _write_pydub(blocks, rate, temporary, format, bitrate, tags or {})
        except OSError as error:
            temporary_place = f"a temporary file in {tempfile.gettempdir()}"
            place = os.fspath(target) if isinstance(target, str | os.PathLike) else temporary_place
            raise write_error(place, AudioError, error) from error


def check_format(format: str) -> None:
    """Raise AudioError where sound cannot be written in a format here: it needs an ffmpeg that knows it."""
    if _ALIASES.get(format.lower(), format.lower()) not in _LIBSNDFILE:
        encode([np.zeros((2, 4410), np.float32)], 44100, io.BytesIO(), format)


def _settings(format: str, bitrate: str | None) -> dict[str, Any]:
    """Return the arguments of soundfile.SoundFile for `bitrate`."""
    if format == "mp3":
        bitrate = bitrate or _MP3_DEFAULT
        if re.fullmatch(r"[Vv]\d(\.\d+)?", bitrate):
            return {"bitrate_mode": "VARIABLE", "compression_level": float(bitrate[1:]) / 10}
        kbps = _kbps(bitrate)
        if kbps not in _MP3_KBPS:
            raise UsageError(
                f"bitrate {bitrate!r} does not exist in MP3; expected {', '.join(f'{k}k' for k in _MP3_KBPS)}"
            )
        # libsndfile counts down from 320 kb/s and refuses 32 itself; a little above is rounded to it.
        return {"bitrate_mode": "CONSTANT", "compression_level": min(0.999, (320 - kbps) / (320 - 32))}
    if format in _DEFAULT_BITRATE:
        return {"compression_level": 1 - _lossy_quality(format, bitrate or _DEFAULT_BITRATE[format])}
    if bitrate is not None:
        raise UsageError(f"{format} is lossless and takes no bitrate")
    return {}


def _lossy_quality(format: str, bitrate: str) -> float:
    """Return libsndfile's quality, 0 to 1, nearest to a bitrate of stereo sound."""
    kbps = _kbps(bitrate)
    if format == "opus":
        return min(1.0, max(0.0, (kbps - 12) / (512 - 12)))  # libsndfile maps it to 6 to 256 kb/s a channel
    # Vorbis at 44.1 kHz stereo: q -1, 0, 1 ... 10 (vorbis.com's nominal rates)
    nominal_kbps = (45, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)
    return float(np.interp(kbps, nominal_kbps, np.linspace(-0.1, 1.0, 12)).clip(0, 1))


def _kbps(bitrate: str) -> int:
    match = re.fullmatch(r"(\d{1,4})K?", bitrate.upper())
    if match is None or not 6 <= int(match[1]) <= 1000:
        raise UsageError(f"bitrate {bitrate!r} is not understood; expected one like 192k, or for MP3 V0 to V9")
    return int(match[1])


def _output_rate(format: str, sample_rate: int) -> int:
    allowed = _RATES_HZ.get(format, _COMMON_RATES_HZ)
    return sample_rate if format in _LOSSLESS or sample_rate in allowed else allowed[0]


def _checked_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the blocks as float32 (S, C). Raises AudioError unless all have the same 1 to 8 channels and are finite."""
    channels = None
    for block in blocks:
        if block.ndim != 2 or not 1 <= block.shape[0] <= 8 or channels not in (None, block.shape[0]):
            raise AudioError(f"cannot encode a block of shape {block.shape}; expected (channels, samples)")
        channels = block.shape[0]
        if block.shape[1]:
            part = np.ascontiguousarray(block.T, np.float32)
            if not np.isfinite(part).all():
                raise AudioError("cannot encode values that are not finite")
            yield part
    if channels is None:
        raise AudioError("nothing to encode: there are no samples")


def _resampled(blocks: Iterator[np.ndarray], rate: int, output_rate: int) -> Iterator[np.ndarray]:
    if rate == output_rate:
        yield from blocks
        return
    import soxr

    resampler, channels = None, 1
    for block in blocks:
        if resampler is None:
            channels = block.shape[1]
            resampler = soxr.ResampleStream(rate, output_rate, channels, dtype="float32", quality="HQ")
        yield resampler.resample_chunk(block)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _write_libsndfile(
    blocks: Iterator[np.ndarray], rate: int, path: str, format: str, settings: Mapping[str, Any]
) -> None:
    import soundfile

    container, subtype = _LIBSNDFILE[format]
    file = None
    with open(path, "wb", buffering=0) as disk:
        kept = KeptErrors(disk)
        try:
            for block in blocks:
                if file is None:
                    file = soundfile.SoundFile(kept, "w", rate, block.shape[1], subtype, None, container, **settings)
                for start in range(0, len(block), _PIECE_FRAMES):
                    file.write(block[start : start + _PIECE_FRAMES])
            if file is None:
                raise AudioError("nothing to encode: there are no samples")
        except (AssertionError, soundfile.SoundFileError) as error:  # fewer samples were written than passed
            kept.raise_first()
            raise AudioError(f"libsndfile could not write {format}: {error}") from error
        finally:
            if file is not None:
                file.close()
        kept.raise_first()
        os.fsync(disk.fileno())


def _write_pydub(
    blocks: Iterator[np.ndarray], rate: int, path: str, format: str, bitrate: str | None, tags: Mapping[str, str]
) -> None:
    program = ffmpeg.find_ffmpeg()
    assert program is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub warns that it finds no ffmpeg; its path is set below
        try:
            from pydub import AudioSegment
            from pydub.exceptions import CouldntEncodeError
        except ImportError as error:
            raise AudioError(f"cannot write {format}: pydub does not load ({error}); install audioop-lts") from error
    AudioSegment.converter = program[0]
    ffmpeg_names = {"year": "date", "software": "encoder"}
    ffmpeg_tags = {ffmpeg_names.get(name, name): str(value) for name, value in tags.items() if value}
    with tempfile.TemporaryDirectory() as folder:
        wav = os.path.join(folder, "sound.wav")
        _write_libsndfile(blocks, rate, wav, "wav", {})
        muxer = _FFMPEG_MUXERS.get(format, format)
        try:
            AudioSegment.from_wav(wav).export(path, format=muxer, bitrate=bitrate, tags=ffmpeg_tags or None).close()
        except CouldntEncodeError as error:
            raise AudioError(f"ffmpeg could not write {format}: {_reason(str(error))}") from error


def _reason(words: str) -> str:
    """Return the last line of what ffmpeg said, without temporary files, whose names tell people nothing."""
    last_line = (words.strip().splitlines() or ["no reason given"])[-1]
    temporary = re.escape(os.path.join(tempfile.gettempdir(), "")) + r"[^\s:'\"]*"
    return re.sub(temporary, "the file", last_line)[:160].strip()


@contextmanager
def _temporary_output(target: str | os.PathLike[str] | IO[bytes], replaces: bool) -> Iterator[str]:
    """Yield the path of a temporary file; its content goes to the target on success and is deleted otherwise."""
    if isinstance(target, (str, os.PathLike)):
        with replace_whole(target, AudioError, replaces) as partial_path:
            yield str(partial_path)
        return
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(tempfile.NamedTemporaryFile(prefix="musigan-", suffix=".encoding"))
        except OSError as error:
            raise AudioError(f"no place for a temporary file ({error.strerror or error})") from error
        yield temporary.name
        with open(temporary.name, "rb") as encoded:
            shutil.copyfileobj(encoded, target, 1 << 20)

"""The ffmpeg program, for formats that libsndfile cannot read or write: finding it, and decoding through a pipe."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator

import numpy as np

from musigan.errors import AudioError
from musigan.files.text import clean_text
from musigan.sound.layouts import Layout, layout_of_mask

INSTALL_HINT = 'pip install "musigan[ffmpeg]"'
_BLOCK_BYTES = 1 << 21
_LARGEST_CHUNK_BYTES = 1 << 20  # before the sound: format and words
_LEAST_LIMIT_SECONDS = 120.0  # for a start on a slow disk; decoding itself runs hundreds of times faster than real time

# Containers and raw streams of sound. Absent on purpose: playlists and scripts that name other files (hls, concat,
# dash, sdp), pictures (image2 and the *_pipe family), and demuxers that synthesise.
_DEMUXERS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dsf,dts,dtshd,flac,flv,iff,loas,m4a,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,webm,wv,xwma,mp4,3gp"
)


@functools.cache
def find_ffmpeg() -> tuple[str, str] | None:
    """Return (path, origin) of the program: from PATH, else from imageio-ffmpeg's wheel; None without either."""
    on_path = shutil.which("ffmpeg")
    if on_path:
        return on_path, "PATH"
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe(), "imageio-ffmpeg"
    except (ImportError, RuntimeError, OSError):
        return None


def decoded_blocks(path: str, seconds: float | None, warnings: list[str]) -> Iterator[tuple[int, Layout, np.ndarray]]:
    """Yield (sample rate in hz, layout, block of shape (S, C), float32) of the first audio stream in the file `path`.

    seconds: the length needed from the start of the file, which bounds the time allowed; None: all of it. A warning is
    added to `warnings` where ffmpeg met errors but went on. Raises AudioError where nothing can be decoded.
    """
    program = find_ffmpeg()
    if program is None:
        raise AudioError(f"there is no ffmpeg; {INSTALL_HINT} brings one")
    limit_seconds = _LEAST_LIMIT_SECONDS + (36000.0 if seconds is None else seconds) / 10
    command = [program[0], "-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-format_whitelist", _DEMUXERS, "-i", "file:" + os.path.abspath(path), "-map", "0:a:0", "-vn", "-sn"]
    command += ["-dn", "-map_metadata", "-1", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    with tempfile.TemporaryFile() as error_output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error_output, bufsize=0
        )
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(limit_seconds, give_up)
        timer.daemon = True
        timer.start()
        is_finished = False
        try:
            assert process.stdout is not None
            yield from _parse_wav(process.stdout)
            is_finished = True
        finally:
            timer.cancel()
            if not is_finished:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
            exit_status = process.wait()
        if timed_out.is_set():
            raise AudioError(f"ffmpeg was stopped: it took more than {limit_seconds:.0f} s")
        error_output.seek(0)
        error_text = error_output.read(4000).decode("utf-8", "replace")
    if exit_status != 0 and "matches no streams" in error_text:
        raise AudioError("no audio stream in it")
    if exit_status != 0:
        raise AudioError(f"neither libsndfile nor ffmpeg can read it ({_error_line(error_text)})")
    if error_text.strip():
        warnings.append("damaged; ffmpeg kept what decodes")


def _parse_wav(stream) -> Iterator[tuple[int, Layout, np.ndarray]]:  # type: ignore[no-untyped-def]
    """Yield (sample rate, layout, block) from a stream of WAV, 32-bit floats, whose header does not know its length."""
    if len(_read_exactly(stream, 12)) < 12:
        return
    form = b""
    while True:
        name, size = struct.unpack("<4sI", _read_exactly(stream, 8).ljust(8, b"\0"))
        if name == b"data" and len(form) >= 16:
            break
        if size > _LARGEST_CHUNK_BYTES or not name.strip(b"\0") or name == b"data":
            raise AudioError("ffmpeg returned something other than sound")
        content = _read_exactly(stream, size + size % 2)
        form = content if name == b"fmt " else form
    channels, sample_rate = struct.unpack_from("<HI", form, 2)
    if not 1 <= channels <= 64 or sample_rate == 0:
        raise AudioError("ffmpeg returned something other than sound")
    layout = layout_of_mask(struct.unpack_from("<I", form, 20)[0]) if len(form) >= 24 else ()
    frame_bytes = 4 * channels
    while data := _read_exactly(stream, _BLOCK_BYTES // frame_bytes * frame_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        if whole:
            yield sample_rate, layout, np.frombuffer(data[:whole], "<f4").astype(np.float32).reshape(-1, channels)


def _read_exactly(stream, count: int) -> bytes:  # type: ignore[no-untyped-def]
    """Read `count` bytes of the stream, fewer only at its end."""
    parts = []
    while count > 0 and (part := stream.read(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _error_line(words: str) -> str:
    """Return the most informative line of ffmpeg's error output, without addresses and file names."""
    lines = [line.split("] ", 1)[-1].strip() for line in words.splitlines() if line.strip()]
    informative_lines = [line for line in lines if not line.startswith("Error opening input file")]
    text = (informative_lines or ["no reason given"])[0].removeprefix("Error opening input: ")
    return (clean_text(text) or "no reason given").rstrip(".")

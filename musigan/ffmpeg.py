"""The ffmpeg program, for what libsndfile cannot read or write: where it is, and its decoded sound on a pipe."""

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

INSTALL_HINT = 'pip install "musigan[ffmpeg]"'
_BLOCK_BYTES = 1 << 21
_LEAST_LIMIT_SECONDS = 120.0  # for a start on a slow disk; decoding itself runs hundreds of times faster than sound

# Containers and raw streams of sound. Absent on purpose: playlists and scripts that name other files (hls, concat,
# dash, sdp), pictures (image2 and the *_pipe family), and demuxers that synthesise.
_DEMUXERS = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dsf,dts,dtshd,flac,flv,iff,loas,m4a,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,webm,wv,xwma,mp4,3gp"
)


@functools.cache
def find_ffmpeg() -> tuple[str, str] | None:
    """(path of the program, where it comes from), or None: the one on PATH first, then imageio-ffmpeg's wheel."""
    on_path = shutil.which("ffmpeg")
    if on_path:
        return on_path, "PATH"
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe(), "imageio-ffmpeg"
    except (ImportError, RuntimeError, OSError):
        return None


def decoded_blocks(path: str, seconds: float | None, warnings: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (sample rate in hz, block of shape (S, C), float32) of the first audio stream in the file `path`.

    seconds: how much of the start is wanted, to bound the time allowed; None: all of it. What ffmpeg complains of
    while it goes on goes to `warnings`. Raises AudioError where nothing can be decoded.
    """
    found = find_ffmpeg()
    if found is None:
        raise AudioError(f"there is no ffmpeg; {INSTALL_HINT} brings one")
    limit_seconds = _LEAST_LIMIT_SECONDS + (36000.0 if seconds is None else seconds) / 10
    command = [found[0], "-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-format_whitelist", _DEMUXERS, "-i", "file:" + os.path.abspath(path), "-map", "0:a:0", "-vn", "-sn"]
    command += ["-dn", "-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, bufsize=0
        )
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(limit_seconds, give_up)
        timer.daemon = True
        timer.start()
        finished = False
        try:
            assert process.stdout is not None
            yield from _parse_au(process.stdout)
            finished = True
        finally:
            timer.cancel()
            if not finished:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
            status = process.wait()
        if timed_out.is_set():
            raise AudioError(f"ffmpeg was stopped: it took more than {limit_seconds:.0f} s")
        complaints.seek(0)
        words = complaints.read(4000).decode("utf-8", "replace")
    if status != 0 and "matches no streams" in words:
        raise AudioError("no audio stream in it")
    if status != 0:
        raise AudioError(f"neither libsndfile nor ffmpeg can read it ({_complaint(words)})")
    if words.strip():
        warnings.append("damaged; ffmpeg kept what decodes")


def _parse_au(stream) -> Iterator[tuple[int, np.ndarray]]:  # type: ignore[no-untyped-def]
    """Blocks from a Sun AU stream of big-endian floats: the one container whose header is six plain integers."""
    header = _read_exactly(stream, 24)
    if len(header) < 24:
        return
    magic, data_offset, _, _, sample_rate, channels = struct.unpack(">4s5I", header)
    if magic != b".snd" or not 1 <= channels <= 64 or sample_rate == 0 or data_offset < 24:
        raise AudioError("ffmpeg answered with something else than sound")
    _read_exactly(stream, data_offset - 24)
    frame_bytes = 4 * channels
    while data := _read_exactly(stream, _BLOCK_BYTES // frame_bytes * frame_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        if whole:
            yield sample_rate, np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)


def _read_exactly(stream, count: int) -> bytes:  # type: ignore[no-untyped-def]
    """`count` bytes of the stream, fewer only at its end."""
    parts = []
    while count > 0 and (part := stream.read(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _complaint(words: str) -> str:
    """The most telling line of what ffmpeg wrote, without addresses and file names."""
    lines = [line.split("] ", 1)[-1].strip() for line in words.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Error opening input file")]
    text = (telling or ["no reason given"])[0].removeprefix("Error opening input: ")
    return "".join(c for c in text if c.isprintable())[:160].rstrip(".")

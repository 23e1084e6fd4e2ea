"""Small sound files of every class, good and damaged, written without the code under test."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SUBTYPES = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
}


def tones(seconds: float, rate: int, *hertz: float, level: float = 0.5) -> np.ndarray:
    """float32 (C, S): a sine per channel, each channel at half the level of the one before it."""
    times = np.arange(round(seconds * rate)) / rate
    return np.stack([level / 2**i * np.sin(2 * np.pi * f * times) for i, f in enumerate(hertz)]).astype(np.float32)


def noise(seconds: float, rate: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    """float32 (2, S), louder on the left."""
    generator = np.random.default_rng(seed)
    return (generator.normal(0, level, (2, round(seconds * rate))) * [[1.0], [0.4]]).astype(np.float32)


def write(path: Path, signal: np.ndarray, rate: int, kind: str | None = None, **settings: Any) -> Path:
    """Write (C, S) as `kind` (by default the path's ending), whatever the path is called."""
    container, subtype = SUBTYPES[kind or path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, signal.shape[0], subtype, None, container, **settings) as file:
        for start in range(0, signal.shape[1], 4096):
            file.write(signal[:, start : start + 4096].T)
    return path


def two_tone_mp3() -> bytes:
    """6 s MP3 at 44.1 kHz: 500 hz (left) for 3 s, then 800 hz; the right channel an octave above, half as loud."""
    with tempfile.TemporaryDirectory() as folder:
        sound = np.concatenate([tones(3, 44100, 500, 1000), tones(3, 44100, 800, 1600)], axis=1)
        return write(Path(folder) / "song.mp3", sound, 44100).read_bytes()


def pitch(signal: np.ndarray, rate: int) -> float:
    """The strongest frequency of a signal (S,), in hz."""
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    return float(np.argmax(spectrum)) * rate / len(signal)


def id3_tag(size: int, filling: bytes = b"\0") -> bytes:
    """An ID3v2.3 tag with `size` bytes of anything inside a private frame."""
    body = b"PRIV" + (size).to_bytes(4, "big") + b"\0\0" + (filling * (size // len(filling) + 1))[:size]
    length = len(body)
    return b"ID3\3\0\0" + bytes(length >> shift & 127 for shift in (21, 14, 7, 0)) + body

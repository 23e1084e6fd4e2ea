"""A tiny sound font for tests: tones and noise as instruments, written as SoundFont 2.01 by hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 22050
ROOT = 69  # the pitch at which tones sound as they are: the A of 440 Hz
_SILENCE = 46  # samples after each, which the format asks for
_INSTRUMENT, _SAMPLE_MODES, _SAMPLE = 41, 54, 53  # generators


@dataclass(frozen=True)
class Preset:
    """A preset of one sample (S,), which is repeated while the note lasts if it `is_held`."""

    bank: int
    program: int
    sample: np.ndarray
    is_held: bool = True
    root: int = ROOT


def tone(partials: tuple[float, ...]) -> np.ndarray:
    """Ten turns of a tone of 441 Hz, 4 cents sharp of the A, by the amplitudes of its partials."""
    angles = 2 * np.pi * np.arange(500) / 50
    return sum(a * np.sin(n * angles) for n, a in enumerate(partials, 1)) * 0.5  # type: ignore[no-any-return]


def stroke() -> np.ndarray:
    """A tenth of a second of noise that dies away."""
    generator = np.random.default_rng(5)
    return generator.uniform(-0.9, 0.9, RATE // 10) * np.linspace(1, 0, RATE // 10) ** 2


PIANO, VIOLIN, KIT = (
    Preset(0, 0, tone((1.0,))),
    Preset(0, 40, tone((0.2, 0.0, 1.0))),
    Preset(128, 0, stroke(), False, 36),
)


def write_font(path: Path, *presets: Preset) -> Path:
    """Write a font of presets, by default a piano (a sine), a violin (a twelfth higher) and a drum kit (noise)."""
    presets = presets or (PIANO, VIOLIN, KIT)
    bodies = [np.concatenate((preset.sample, np.zeros(_SILENCE))) for preset in presets]
    ends = np.cumsum([len(body) for body in bodies]).tolist()
    samples = np.rint(32767 * np.concatenate(bodies)).astype("<i2").tobytes()
    headers, bags, zones, instruments, sample_zones, shapes, sample_headers = (bytearray() for _ in range(7))
    for number, (preset, body, end) in enumerate(zip(presets, bodies, ends, strict=True)):
        name = f"preset {number}".encode()
        start, stop = end - len(body), end - _SILENCE
        headers += struct.pack("<20sHHHIII", name, preset.program, preset.bank, number, 0, 0, 0)
        bags += struct.pack("<HH", number, 0)
        zones += struct.pack("<HH", _INSTRUMENT, number)
        instruments += struct.pack("<20sH", name, number)
        sample_zones += struct.pack("<HH", 2 * number, 0)
        shapes += struct.pack("<HHHH", _SAMPLE_MODES, int(preset.is_held), _SAMPLE, number)
        sample_headers += struct.pack("<20sIIIIIBbHH", name, start, stop, start, stop, RATE, preset.root, 0, 0, 1)
    count = len(presets)
    headers += struct.pack("<20sHHHIII", b"EOP", 0, 0, count, 0, 0, 0)
    instruments += struct.pack("<20sH", b"EOI", count)
    sample_headers += struct.pack("<20sIIIIIBbHH", b"EOS", *[0] * 9)
    end_bag, end_shape_bag, modulator = struct.pack("<HH", count, 0), struct.pack("<HH", 2 * count, 0), bytes(10)
    info = _chunk(b"ifil", struct.pack("<HH", 2, 1)) + _chunk(b"isng", b"EMU8000\0") + _chunk(b"INAM", b"tiny\0\0")
    tables = [
        (b"phdr", headers), (b"pbag", bags + end_bag), (b"pmod", modulator), (b"pgen", zones + bytes(4)),
        (b"inst", instruments), (b"ibag", sample_zones + end_shape_bag), (b"imod", modulator),
        (b"igen", shapes + bytes(4)), (b"shdr", sample_headers),
    ]  # fmt: skip
    lists = _chunk(b"LIST", b"INFO" + info) + _chunk(b"LIST", b"sdta" + _chunk(b"smpl", samples))
    lists += _chunk(b"LIST", b"pdta" + b"".join(_chunk(name, bytes(table)) for name, table in tables))
    path.write_bytes(_chunk(b"RIFF", b"sfbk" + lists))
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data

"""Rolls as PNG files, small enough to be embedded in a page: greyscale, coloured by the page itself."""

from __future__ import annotations

import struct
import zlib

import numpy as np

LEVELS = 32  # of loudness: more than the eye can distinguish, and few enough to compress well


def roll_png(plane: np.ndarray) -> bytes:
    """Return a PNG of loudness (K, T) in [0, 1]: highest key in the first row, louder is brighter, 0 exactly black."""
    steps = np.round(np.clip(plane, 0.0, 1.0) * (LEVELS - 1))
    steps[(steps == 0) & (plane > 0)] = 1  # so that even the softest sound is visible
    return grey_png((steps[::-1] * (255 / (LEVELS - 1))).astype(np.uint8))


def grey_png(pixels: np.ndarray) -> bytes:
    """Return a greyscale PNG (ISO/IEC 15948) of uint8 (rows, columns)."""
    rows, columns = pixels.shape
    rows_with_filter = np.zeros((rows, columns + 1), np.uint8)  # each row begins with its filter type: 0, none
    rows_with_filter[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows_with_filter.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, content) for name, content in parts)


def _part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

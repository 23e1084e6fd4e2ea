"""Where the channels of a recording belong, by format and mask, and how they become two.

Positions have the names of WAVE: FL and FR front, FC centre, LFE low-frequency effects, BL, BR, BC behind, SL and SR at
the sides, FLC and FRC left and right of the centre; the rest are above, or unknown.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from musigan.sound.mpeg import Bytes

Layout = tuple[str, ...]

# Channels of Vorbis (I, 4.3.9), which Opus shares (RFC 7845, 5.1.1.2), by their number.
_VORBIS = {
    3: "FL FC FR",
    4: "FL FR BL BR",
    5: "FL FC FR BL BR",
    6: "FL FC FR BL BR LFE",
    7: "FL FC FR SL SR BC LFE",
    8: "FL FC FR SL SR BL BR LFE",
}
# Of WAVE without a mask, FLAC (RFC 9639, 9.1.3), and whatever does not say.
_DEFAULT = {
    3: "FL FR FC",
    4: "FL FR BL BR",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
# libsndfile's SF_CHANNEL_MAP_*, as it reads them from a mask: 2 to 4 and 5 to 7 are both left, right, centre.
_LIBSNDFILE = dict(
    enumerate(("FL", "FR", "FC", "FL", "FR", "FC", "BC", "BL", "BR", "LFE", "FLC", "FRC", "SL", "SR"), start=2)
)
_MASK = dict(enumerate(("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")))  # by bit
_MASK_OF_FLAC = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9a-f]{1,8})(?![0-9a-f])", re.I)
_COMMENTS_WITHIN = 1 << 16  # bytes from the file's beginning
_GET_CHANNEL_MAP = 0x1100  # SFC_GET_CHANNEL_MAP_INFO
_HALF = math.sqrt(0.5)
_GAINS = {  # to left and right, of ITU-R BS.775
    "FL": (1.0, 0.0), "FR": (0.0, 1.0), "FLC": (1.0, 0.0), "FRC": (0.0, 1.0), "LFE": (0.0, 0.0),
    "BL": (_HALF, 0.0), "SL": (_HALF, 0.0), "BR": (0.0, _HALF), "SR": (0.0, _HALF),
}  # fmt: skip


def layout_of(file: Any, data: Bytes) -> Layout:
    """Return the layout of an open soundfile.SoundFile of the bytes `data`; () where it does not say."""
    if file.format == "OGG":
        return tuple(_VORBIS.get(file.channels, "").split())
    if file.format == "FLAC":
        mask = _MASK_OF_FLAC.search(data[:_COMMENTS_WITHIN])
        return layout_of_mask(int(mask[1], 16)) if mask else ()
    # soundfile has no method for this command of libsndfile's, and its own are made like this.
    from soundfile import _ffi, _snd

    positions = _ffi.new("int[]", file.channels)
    if not _snd.sf_command(file._file, _GET_CHANNEL_MAP, positions, _ffi.sizeof(positions)):
        return ()
    return tuple(_LIBSNDFILE.get(position, "") for position in positions)


def layout_of_mask(mask: int) -> Layout:
    """Return the layout of a mask of WAVEFORMATEXTENSIBLE; "" for positions that have no name here."""
    return tuple(_MASK.get(bit, "") for bit in range(32) if mask >> bit & 1)


def stereo_matrix(count: int, layout: Layout = ()) -> np.ndarray:
    """Return the matrix (count, 2) from the channels of a layout to stereo, scaled so that it cannot clip.

    Centre and surrounds are at -3 dB, low-frequency effects are left out. Channels without a layout are those of WAVE,
    or, where it has none of so many, mixed alike.
    """
    names = layout if len(layout) == count else tuple(_DEFAULT.get(count, "").split())
    matrix = np.array([_GAINS.get(name, (_HALF, _HALF)) for name in names] or [(0.5, 0.5)] * count, np.float32)
    return matrix / np.maximum(matrix.sum(axis=0), np.finfo(np.float32).tiny)

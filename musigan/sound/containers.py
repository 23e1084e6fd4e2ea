"""What the bytes of WAV, FLAC and Ogg files say, where their headers promise something else.

libsndfile believes a header's length and reads one recording of a file. Here a WAV's sound lasts as long as its bytes
do, where its size is 0, beyond the file's end or counted modulo 4 GiB; a FLAC's as long as its last frame says
(RFC 9639); and the links of a chained Ogg (RFC 3533) and FLAC files one behind another are parts of their own.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

from musigan.sound import mpeg
from musigan.sound.mpeg import Bytes

_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_LOOSE_BYTES = 1 << 16  # behind a WAV's sound: fewer are tags or padding, more are the rest of the recording
_PLAIN_WAV = (1, 3, 6, 7, 0xFFFE)  # samples of equal size: integers, floats, A-law, mu-law, extensible
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\0\0\x22")  # with the first block, STREAMINFO, which may be the last
_FLAC_TAIL_BYTES = 1 << 18  # in which the last frames are looked for
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]", re.DOTALL)
_FLAC_SIZES = {1: 192, **{2 + n: 576 << n for n in range(4)}, **{8 + n: 256 << n for n in range(8)}}


@dataclass(frozen=True)
class Part:
    """A recording in a file: a header of our own and the bytes from `start` to `end`.

    promised_seconds: as its own header has it, where that is not true.
    """

    head: bytes
    start: int
    end: int
    promised_seconds: float | None = None


class PartFile(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, data: Bytes, part: Part) -> None:
        self._data, self._part, self._position = data, part, 0
        self._length = len(part.head) + part.end - part.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        )
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        head, begin = self._part.head, self._position
        end = min(begin + len(buffer), self._length)
        offset = self._part.start - len(head)
        content = head[begin:end] + self._data[max(begin, len(head)) + offset : max(end, len(head)) + offset]
        buffer[: len(content)] = content
        self._position = begin + len(content)
        return len(content)


def parts_of(data: Bytes) -> list[Part]:
    """Return the parts of a file that libsndfile would not read as they are; none where the file as a whole will do."""
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _wav_part(data)
    start = mpeg.after_tags(data, 0)
    if data[start : start + 4] == b"fLaC":
        return _flac_parts(data, start)
    if data[:4] == b"OggS":
        return _ogg_links(data)
    return []


def _wav_part(data: Bytes) -> list[Part]:
    """Return the sound of a WAV under a header with its true size; none where its own header has it."""
    position, format_chunk, long_size, name, size = 12, b"", None, b"", 0
    while name != b"data" and position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        begin = position + 8
        if name == b"ds64":
            long_size = int.from_bytes(data[begin + 8 : begin + 16], "little")
        elif name == b"fmt ":
            format_chunk = data[begin : begin + min(size, 1024)]
        position = begin + size + size % 2
    if name != b"data" or len(format_chunk) < 16:
        return []
    kind, _, _, byte_rate = struct.unpack_from("<HHII", format_chunk)
    declared = size if long_size is None or size != 0xFFFFFFFF else long_size
    actual = _sound_bytes(data, begin, declared)
    if actual in (0, declared) or kind not in _PLAIN_WAV:
        return []
    head = b"WAVEds64" + struct.pack("<IQQQI", 28, 64 + len(format_chunk) + actual, actual, 0, 0)
    head += b"fmt " + struct.pack("<I", len(format_chunk)) + format_chunk + b"data\xff\xff\xff\xff"
    return [Part(b"RF64\xff\xff\xff\xff" + head, begin, begin + actual, declared / max(byte_rate, 1))]


def _sound_bytes(data: Bytes, begin: int, declared: int) -> int:
    """Return how many bytes of sound a WAV has from `begin` on, whatever its header has `declared`."""
    there = len(data) - begin
    if declared > there:
        return there
    if there - declared >= 1 << 32:
        return declared + ((there - declared) >> 32 << 32)
    behind = begin + declared + declared % 2
    next_end = behind + 8 + int.from_bytes(data[behind + 4 : behind + 8], "little")
    has_chunk = bool(_CHUNK_NAME.match(data, behind)) and next_end <= len(data) + 1
    return declared if has_chunk or (declared and len(data) - behind < _LOOSE_BYTES) else there


def _flac_parts(data: Bytes, first: int) -> list[Part]:
    """Return the FLAC files from `first` on, with their true numbers of samples; none for one whose header has it."""
    starts = [first]
    while (following := _FLAC_START.search(data, starts[-1] + 42)) is not None:
        starts.append(following.start())
    parts = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        facts = int.from_bytes(data[start + 18 : start + 26], "big")
        sample_rate, promised = facts >> 44, facts & (1 << 36) - 1
        samples = _flac_samples(data, start, end)
        is_true = samples <= promised
        head = data[start : start + 18] + (facts if is_true else facts - promised + samples).to_bytes(8, "big")
        parts.append(Part(head, start + 26, end, None if is_true or not promised else promised / max(sample_rate, 1)))
        if is_true and len(starts) == 1:
            return []
    return parts


def _flac_samples(data: Bytes, start: int, end: int) -> int:
    """Return the samples per channel up to the end of the last frame of a FLAC file; 0 where none is seen.

    A frame counts where another begins at the sample where it ends: bytes that look like a frame do not.
    """
    block_size = int.from_bytes(data[start + 10 : start + 12], "big")  # the largest: of all, where these are equal
    stops, samples = {0}, 0
    for found in _FLAC_FRAME.finditer(data[max(start + 42, end - _FLAC_TAIL_BYTES) : end]):
        span = _flac_frame(found.string[found.start() : found.start() + 16], block_size)
        if span is not None:
            samples = span[1] if span[0] in stops else samples
            stops.add(span[1])
    return samples


def _flac_frame(header: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the first sample of a frame and the one after its last; None where its checksum is wrong."""
    size_code, rate_code = header[2] >> 4, header[2] & 15
    coded = 1 if header[4] < 0x80 else 8 - (header[4] ^ 0xFF).bit_length()  # bytes of the number, as in UTF-8
    number = header[4] if coded == 1 else header[4] & (0x7F >> coded)
    for byte in header[5 : 4 + coded]:
        number = number << 6 | byte & 63
    end = 4 + coded + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if rate_code == 15 or end >= len(header) or _crc8(header[:end]) != header[end]:
        return None
    at = 4 + coded
    size = _FLAC_SIZES.get(size_code) or int.from_bytes(header[at : at + size_code - 5], "big") + 1
    first = number if header[1] & 1 else number * block_size
    return first, first + size


def _crc8(content: bytes) -> int:
    remainder = 0
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder << 1 ^ (0x107 if remainder & 0x80 else 0)
    return remainder


def _ogg_links(data: Bytes) -> list[Part]:
    """Return the links of a chained Ogg file; none for a single one."""
    starts, position, begins = [0], 0, True
    while (position := data.find(b"OggS", position)) >= 0 and position + 27 <= len(data):
        is_first_page = bool(data[position + 5] & 2)  # of a logical stream; those of one link come together
        if is_first_page and not begins:
            starts.append(position)
        begins = is_first_page
        lacing = data[position + 27 : position + 27 + data[position + 26]]
        position += 27 + len(lacing) + sum(lacing)
    ends = [*starts[1:], len(data)]
    return [Part(b"", start, end) for start, end in zip(starts, ends, strict=True)] if starts[1:] else []

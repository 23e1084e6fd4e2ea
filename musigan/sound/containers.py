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

_MAX_PARTS = 10_000  # recordings in a file: a week of radio
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_LOOSE_BYTES = 1 << 16  # behind a WAV's sound: fewer are tags or padding, more are the rest of the recording
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\0\0\x22")  # with the first block, STREAMINFO, which may be the last
_OGG_FLAC, _OGG_FLAC_HEAD = b"\x7fFLAC", 9  # how the first packet begins; its bytes before FLAC's own
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
        """Move to a place, which may lie behind the end; return it."""
        self._position = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        )
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the new head and then from the data; return how many bytes there were."""
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
    if data[:4] == b"OggS" and data[28 : 28 + len(_OGG_FLAC)] == _OGG_FLAC:
        flac = _flac_in_ogg(data)
        parts = _flac_parts(flac, 0) or [Part(b"", 0, len(flac))]
        return [Part(part.head + flac[part.start : part.end], 0, 0, part.promised_seconds) for part in parts]
    if data[:4] == b"OggS":
        return _ogg_links(data)
    return []


def _wav_part(data: Bytes) -> list[Part]:
    """Return the sound of a WAV under a header with its true size; none where its own header has it."""
    position, format_chunk, long_size, name, size = 12, b"", None, b"", 0
    while name != b"data" and _CHUNK_NAME.match(data, position) and position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        begin = position + 8
        if name == b"ds64":
            long_size = int.from_bytes(data[begin + 8 : begin + 16], "little")
        elif name == b"fmt ":
            format_chunk = data[begin : begin + min(size, 1024)]
        position = begin + size + size % 2
    if name != b"data" or len(format_chunk) < 16:
        return []
    byte_rate = int.from_bytes(format_chunk[8:12], "little")
    declared = size if long_size is None or size != 0xFFFFFFFF else long_size
    actual = _sound_bytes(data, begin, declared)
    if actual in (0, declared):
        return []
    is_long = actual >= 0xFFFFFF00
    head = b"ds64" + struct.pack("<IQQQI", 28, 64 + len(format_chunk) + actual, actual, 0, 0) if is_long else b""
    head = b"WAVE" + head + b"fmt " + struct.pack("<I", len(format_chunk)) + format_chunk + b"data"
    sizes = [0xFFFFFFFF] * 2 if is_long else [len(head) + 4 + actual, actual]
    head = (b"RF64" if is_long else b"RIFF") + struct.pack("<I", sizes[0]) + head + struct.pack("<I", sizes[1])
    return [Part(head, begin, begin + actual, declared / max(byte_rate, 1))]


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
    while len(starts) < _MAX_PARTS and (following := _FLAC_START.search(data, starts[-1] + 42)) is not None:
        starts.append(following.start())
    parts = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        facts = int.from_bytes(data[start + 18 : start + 26], "big")
        sample_rate, promised = facts >> 44, facts & (1 << 36) - 1
        samples = _flac_samples(data, start, end, promised) or promised
        head = data[start : start + 18] + (facts - promised + samples).to_bytes(8, "big")
        false_seconds = promised / max(sample_rate, 1) if promised not in (0, samples) else None
        parts.append(Part(head, start + 26, end, false_seconds))
        if samples == promised and len(starts) == 1:
            return []
    return parts


def _flac_samples(data: Bytes, start: int, end: int, promised: int) -> int:
    """Return the samples per channel up to the end of the last frame of a FLAC file; 0 where none is seen.

    A frame counts where another begins at the sample where it ends: bytes that look like a frame do not. The last one
    counts if it ends as `promised`, or is whole.
    """
    block_size = int.from_bytes(data[start + 10 : start + 12], "big")  # the largest: of all, where these are equal
    end -= 128 if data[end - 128 : end - 125] == b"TAG" else 0
    tail = data[max(start + 42, end - _FLAC_TAIL_BYTES) : end]
    stops, last, offset = {0}, (0, 0), 0
    for found in _FLAC_FRAME.finditer(tail):
        span = _flac_frame(tail[found.start() : found.start() + 16], block_size)
        if span is not None:
            last, offset = (span, found.start()) if span[0] in stops else (last, offset)
            stops.add(span[1])
    return last[1] if last[1] == promised or not _remainder(tail[offset:], 16, 0x8005) else last[0]


def _flac_frame(header: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the first sample of a frame and the one after its last; None where its checksum is wrong."""
    size_code, rate_code = header[2] >> 4, header[2] & 15
    coded = 1 if header[4] < 0x80 else 8 - (header[4] ^ 0xFF).bit_length()  # bytes of the number, as in UTF-8
    number = header[4] if coded == 1 else header[4] & (0x7F >> coded)
    for byte in header[5 : 4 + coded]:
        number = number << 6 | byte & 63
    end = 4 + coded + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if rate_code == 15 or end >= len(header) or _remainder(header[: end + 1], 8, 7):
        return None
    at = 4 + coded
    size = _FLAC_SIZES.get(size_code) or int.from_bytes(header[at : at + size_code - 5], "big") + 1
    first = number if header[1] & 1 else number * block_size
    return first, first + size


def _remainder(content: bytes, bits: int, polynomial: int) -> int:
    """Return the remainder of a cyclic redundancy check: 0 for content with its checksum behind it."""
    remainder, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in content:
        remainder ^= byte << bits - 8
        for _ in range(8):
            remainder = (remainder << 1 ^ polynomial if remainder & top else remainder << 1) & mask
    return remainder


def _flac_in_ogg(data: Bytes) -> bytes:
    """Return the FLAC that an Ogg file holds (xiph.org/flac/ogg_mapping.html): its first stream, without the pages."""
    serial, content, position = data[14:18], bytearray(), 0
    while (position := data.find(b"OggS", position)) >= 0 and position + 27 <= len(data):
        lacing = data[position + 27 : position + 27 + data[position + 26]]
        begin = position + 27 + len(lacing)
        if data[position + 14 : position + 18] == serial:
            content += data[begin : begin + sum(lacing)]
        position = begin + sum(lacing)
    return bytes(content[_OGG_FLAC_HEAD:])


def _ogg_links(data: Bytes) -> list[Part]:
    """Return the links of a chained Ogg file; none for a single one."""
    starts, position, begins = [0], 0, True
    while (position := data.find(b"OggS", position)) >= 0 and position + 27 <= len(data):
        is_first_page = bool(data[position + 5] & 2)  # of a logical stream; those of one link come together
        if is_first_page and not begins and len(starts) < _MAX_PARTS:
            starts.append(position)
        begins = is_first_page
        lacing = data[position + 27 : position + 27 + data[position + 26]]
        position += 27 + len(lacing) + sum(lacing)
    ends = [*starts[1:], len(data)]
    return [Part(b"", start, end) for start, end in zip(starts, ends, strict=True)] if starts[1:] else []

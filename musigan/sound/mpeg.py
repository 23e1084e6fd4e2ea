"""Frames of MPEG audio (MP1, MP2, MP3): their positions, their samples, and the bytes between that are no frames.

libsndfile trusts the length in an MP3's header, or estimates one from the first frame's bitrate, and stops where
garbage begins. Counting frames (ISO/IEC 11172-3, 13818-3) gives the true length of the music, and a damaged file can be
passed to the decoder without its damage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

Bytes = bytes | mmap

_BITRATES_KBPS = {  # by (is version 1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
DECODER_DELAY_SAMPLES = 529  # of every layer III decoder; LAME's tag counts only the encoder's delay
_FRAMES_TO_LOCK = 4  # so many consistent headers in a row do not occur by chance
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]", re.DOTALL)  # how a valid header begins
_LOOSE_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x00-\xef]", re.DOTALL)  # of free format, too


@dataclass(frozen=True)
class Header:
    """The four-byte header of a frame, decoded. `kind` (version, layer, rate, mono) is the same within a recording."""

    sample_rate: int
    channels: int
    samples: int  # per channel in one frame
    size: int  # bytes, header included
    info_offset: int  # bytes from its start to a layer III frame's Xing or Info mark, if any; 0 in layers I, II
    kind: tuple[int, int, int, bool]


@dataclass
class Stretch:
    """A run of frames from one encoding, with no other recording's header in between."""

    header: Header
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    promised_frames: int | None = None  # from its Xing or Info header, if it has one
    delay_samples: int = 0  # to drop at the start
    padding_samples: int = 0  # to drop at the end, when all promised frames are there

    @property
    def samples(self) -> int:
        """Samples per channel in the frames found, encoder delay and padding included."""
        return len(self.offsets) * self.header.samples


@dataclass
class Scan:
    """All stretches of frames in a file, and the number of bytes that are neither frame nor tag."""

    stretches: list[Stretch] = field(default_factory=list)
    garbage_bytes: int = 0

    @property
    def seconds(self) -> float:
        return sum(stretch.samples / stretch.header.sample_rate for stretch in self.stretches)

    @property
    def promised_seconds(self) -> float | None:
        """The length in the first recording's own Xing or Info header; None where it has none."""
        first = self.stretches[0] if self.stretches else None
        if first is None or first.promised_frames is None:
            return None
        return first.promised_frames * first.header.samples / first.header.sample_rate


_headers: dict[bytes, Header | None] = {}  # at most 2^21 valid ones exist; a file uses a handful


def parse_header(four: bytes) -> Header | None:
    """Parse four bytes as a header; None where they are none (free-format streams count as none)."""
    if len(four) < 4 or four[0] != 0xFF or four[1] & 0xE0 != 0xE0:
        return None
    cached_header = _headers.get(four, False)
    if cached_header is not False:
        return cached_header  # type: ignore[return-value]
    header = _parse_header(four)
    if len(_headers) < 4096:
        _headers[bytes(four)] = header
    return header


def _parse_header(four: bytes) -> Header | None:
    version, layer = four[1] >> 3 & 3, 4 - (four[1] >> 1 & 3)
    bitrate_index, rate_index, padding = four[2] >> 4, four[2] >> 2 & 3, four[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3 or four[3] & 3 == 2:
        return None
    is_version_1 = version == 3
    mono = four[3] >> 6 == 3
    bits_per_second = 1000 * _BITRATES_KBPS[is_version_1, layer][bitrate_index]
    sample_rate = _RATES_HZ[version][rate_index]
    if layer == 1:
        samples, size = 384, (12 * bits_per_second // sample_rate + padding) * 4
    else:
        samples = 1152 if is_version_1 or layer == 2 else 576
        size = samples // 8 * bits_per_second // sample_rate + padding
    side_info_size = (17 if mono else 32) if is_version_1 else (9 if mono else 17)
    checksum_size = 0 if four[1] & 1 else 2
    info_offset = 4 + checksum_size + side_info_size if layer == 3 else 0
    kind = (version, layer, sample_rate, mono)
    return Header(sample_rate, 1 if mono else 2, samples, size, info_offset, kind)


def is_mpeg(data: Bytes, limit: int = 1 << 22) -> bool:
    """Return whether frames start within the first `limit` bytes after the tags. A picture or a text has none."""
    position = after_tags(data, 0)
    return _next_lock(data, position, min(len(data), position + limit)) is not None


def scan(data: Bytes, seconds: float | None = None) -> Scan:
    """Find the frames of `data` (bytes or a memory map); stop after `seconds` of sound, None: at the end."""
    result = Scan()
    position, found_seconds = 0, 0.0
    while (start := _next_lock(data, tagless := after_tags(data, position), len(data))) is not None:
        result.garbage_bytes += start - tagless
        for stretch in _run(data, start):
            result.stretches.append(stretch)
            position = stretch.offsets[-1] + stretch.sizes[-1] if stretch.offsets else position
            found_seconds += stretch.samples / stretch.header.sample_rate
            if seconds is not None and found_seconds >= seconds:
                return result
        position = max(position, start + 1)
    result.stretches = [stretch for stretch in result.stretches if stretch.offsets]
    return result


def _run(data: Bytes, position: int) -> Iterator[Stretch]:
    """Yield the frames that follow each other without a gap from `position` on, split where a recording starts."""
    stretch: Stretch | None = None
    while (header := parse_header(data[position : position + 4])) is not None:
        if stretch is not None and header.kind != stretch.header.kind:
            break
        frame_end = position + header.size
        info = _info(data, position, header)
        if stretch is None or info is not None:
            if stretch is not None:
                yield stretch
            stretch = Stretch(header)
        if info is not None:
            stretch.promised_frames, stretch.delay_samples, stretch.padding_samples = info
        elif frame_end <= len(data):
            stretch.offsets.append(position)
            stretch.sizes.append(header.size)
        else:
            break
        position = frame_end
    if stretch is not None:
        yield stretch


def _info(data: Bytes, position: int, header: Header) -> tuple[int | None, int, int] | None:
    """Return (promised frames, delay, padding), in samples, of a Xing or Info header; None if the frame is sound."""
    info_start = position + header.info_offset
    if data[info_start : info_start + 4] not in (b"Xing", b"Info") or not header.info_offset:
        return None
    frame = data[info_start : position + header.size]
    if len(frame) < 8:
        return None
    flags = struct.unpack_from(">I", frame, 4)[0]
    promised_frames = struct.unpack_from(">I", frame, 8)[0] if flags & 1 and len(frame) >= 12 else None
    lame_start = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if len(frame) < lame_start + 24 or frame[lame_start : lame_start + 4] not in (b"LAME", b"Lavf", b"Lavc", b"L3.9"):
        return promised_frames, 0, 0
    high, middle, low = frame[lame_start + 21 : lame_start + 24]
    delay, padding = high << 4 | middle >> 4, (middle & 15) << 8 | low
    return promised_frames, delay + DECODER_DELAY_SAMPLES, max(0, padding - DECODER_DELAY_SAMPLES)


def _next_lock(data: Bytes, position: int, end: int) -> int | None:
    """Return the first offset from `position` on where several consistent frames follow each other, or None."""
    while (sync := _SYNC.search(data, position, end)) is not None:
        position = sync.start()
        frame_start, kind = position, None
        for _ in range(_FRAMES_TO_LOCK):
            header = parse_header(data[frame_start : frame_start + 4])
            if header is None or (kind is not None and header.kind != kind):
                break
            frame_start, kind = frame_start + header.size, header.kind
        else:
            return position
        position += 1
    return None


def after_tags(data: Bytes, position: int) -> int:
    """Return the offset after the ID3 and APE tags that start at `position`; their pictures may hold false frames."""
    while True:
        if data[position : position + 3] == b"ID3" and len(data) >= position + 10:
            a, b, c, d = data[position + 6 : position + 10]
            footer = 10 if data[position + 5] & 0x10 else 0
            size = footer + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | d & 127)
            position = _end_of_tag(data, position + 10, position + 10 + size)
        elif data[position : position + 8] == b"APETAGEX" and len(data) >= position + 32:
            size = struct.unpack_from("<I", data, position + 12)[0]
            position = _end_of_tag(data, position + 32, position + 32 + size)
        elif data[position : position + 3] == b"TAG":
            position += 128
        else:
            return min(position, len(data))


def _end_of_tag(data: Bytes, begin: int, end: int) -> int:
    """Return where the tag whose content lies from `begin` to `end` ends: at `begin` if its size is not true.

    It is not where the file ends before it does, or frames go on from within it to behind it.
    """
    if end > len(data):
        return begin
    frame = None if parse_header(data[end : end + 4]) else _next_lock(data, begin, end)
    while frame is not None and frame < end and (header := parse_header(data[frame : frame + 4])):
        frame += header.size
    return begin if frame is not None and frame > end else end


def may_begin(data: Bytes) -> bool:
    """Return whether frames may begin behind the tags that only a decoder can follow: of free format, or flawed."""
    position = after_tags(data, 0)
    start = data[position : position + 2]
    return _LOOSE_SYNC.match(data, position) is not None and data.find(start, position + 4, position + 8192) > 0


def clean_file(data: Bytes, stretch: Stretch) -> bytes:
    """Return an MP3 file of the stretch's frames and nothing else, with a correct Xing header before them.

    Decoders drop the first DECODER_DELAY_SAMPLES of a layer III file that has such a header. Layers I and II have no
    such header: a decoder estimates the number of frames from the first frame's size. This estimate may be too low, so
    the last frame is repeated a few times, and the caller cuts at the stretch's own count.
    """
    frames = [bytes(data[start : start + size]) for start, size in zip(stretch.offsets, stretch.sizes, strict=True)]
    if not stretch.header.info_offset:
        return b"".join(frames + frames[-1:] * (2 + len(frames) // 50))
    header_bytes = bytearray(frames[0][:4])
    header_bytes[1] |= 1  # no checksum
    for bitrate_index in range(1, 15):
        header_bytes[2] = bitrate_index << 4 | header_bytes[2] & 0x0C
        header = parse_header(bytes(header_bytes))
        if header is not None and header.size >= header.info_offset + 12:
            break
    assert header is not None
    xing = bytes(header_bytes).ljust(header.info_offset, b"\0") + b"Xing" + struct.pack(">II", 1, len(frames))
    return xing.ljust(header.size, b"\0") + b"".join(frames)

"""MPEG audio (MP1, MP2, MP3) as frames: where they are, how many samples they hold, which bytes between are none.

libsndfile believes the length in an MP3's header, or guesses one from the first frame's bitrate, and gives up where
garbage begins. Counting frames (ISO/IEC 11172-3, 13818-3) tells how much music a file really holds and lets a damaged
file be fed to the decoder without its damage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

Bytes = bytes | mmap

_BITRATES_KBPS = {  # by (version 1?, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
DECODER_DELAY_SAMPLES = 529  # of every layer III decoder; LAME's tag counts the encoder's delay alone
_FRAMES_TO_LOCK = 4  # consistent headers in a row that chance does not produce
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]", re.DOTALL)  # how a valid header begins


@dataclass(frozen=True)
class Header:
    """What the four bytes before every frame say. `kind` (version, layer, rate, mono) is equal within a recording."""

    sample_rate: int
    channels: int
    samples: int  # per channel in one frame
    size: int  # bytes, header included
    info_offset: int  # bytes from its start to where a layer III frame may say Xing or Info; 0 in layers I and II
    kind: tuple[int, int, int, bool]


@dataclass
class Stretch:
    """Frames that belong together: one encoder's run, with no other recording's header in between."""

    header: Header
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    promised_frames: int | None = None  # what its Xing or Info header says, if it has one
    delay_samples: int = 0  # to drop at the start
    padding_samples: int = 0  # to drop at the end, when all promised frames are there

    @property
    def samples(self) -> int:
        """Samples per channel in the frames found, encoder delay and padding included."""
        return len(self.offsets) * self.header.samples


@dataclass
class Scan:
    """Every stretch of frames in a file, and how many bytes were neither frame nor tag."""

    stretches: list[Stretch] = field(default_factory=list)
    garbage_bytes: int = 0

    @property
    def seconds(self) -> float:
        return sum(stretch.samples / stretch.header.sample_rate for stretch in self.stretches)

    @property
    def promised_seconds(self) -> float | None:
        """What the first recording's own header says; None where it has none."""
        first = self.stretches[0] if self.stretches else None
        if first is None or first.promised_frames is None:
            return None
        return first.promised_frames * first.header.samples / first.header.sample_rate


_headers: dict[bytes, Header | None] = {}  # at most 2^21 valid ones exist; a file uses a handful


def parse_header(four: bytes) -> Header | None:
    """The header in four bytes, or None where they are none (free-format streams count as none)."""
    if len(four) < 4 or four[0] != 0xFF or four[1] & 0xE0 != 0xE0:
        return None
    known = _headers.get(four, False)
    if known is not False:
        return known  # type: ignore[return-value]
    header = _parse_header(four)
    if len(_headers) < 4096:
        _headers[bytes(four)] = header
    return header


def _parse_header(four: bytes) -> Header | None:
    version, layer = four[1] >> 3 & 3, 4 - (four[1] >> 1 & 3)
    bitrate_index, rate_index, padding = four[2] >> 4, four[2] >> 2 & 3, four[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3 or four[3] & 3 == 2:
        return None
    one = version == 3
    mono = four[3] >> 6 == 3
    bits_per_second = 1000 * _BITRATES_KBPS[one, layer][bitrate_index]
    sample_rate = _RATES_HZ[version][rate_index]
    if layer == 1:
        samples, size = 384, (12 * bits_per_second // sample_rate + padding) * 4
    else:
        samples = 1152 if one or layer == 2 else 576
        size = samples // 8 * bits_per_second // sample_rate + padding
    side_info_size = (17 if mono else 32) if one else (9 if mono else 17)
    checksum_size = 0 if four[1] & 1 else 2
    info_offset = 4 + checksum_size + side_info_size if layer == 3 else 0
    kind = (version, layer, sample_rate, mono)
    return Header(sample_rate, 1 if mono else 2, samples, size, info_offset, kind)


def is_mpeg(data: Bytes, limit: int = 1 << 22) -> bool:
    """Whether frames start within the first `limit` bytes after the tags. A picture or a text has none."""
    position = after_tags(data, 0)
    return _next_lock(data, position, min(len(data), position + limit)) is not None


def scan(data: Bytes, seconds: float | None = None) -> Scan:
    """Find the frames of `data` (bytes or a memory map); stops once `seconds` of sound are found, None: all of it."""
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
    """The frames that follow each other without a gap from `position` on, cut where another recording starts."""
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
    """(promised frames, delay, padding) if the frame is a Xing or Info header instead of sound; None if it is sound."""
    at = position + header.info_offset
    if data[at : at + 4] not in (b"Xing", b"Info") or not header.info_offset:
        return None
    frame = data[at : position + header.size]
    if len(frame) < 8:
        return None
    flags = struct.unpack_from(">I", frame, 4)[0]
    promised = struct.unpack_from(">I", frame, 8)[0] if flags & 1 and len(frame) >= 12 else None
    lame = 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if len(frame) < lame + 24 or frame[lame : lame + 4] not in (b"LAME", b"Lavf", b"Lavc", b"L3.9"):
        return promised, 0, 0
    high, middle, low = frame[lame + 21 : lame + 24]
    delay, padding = high << 4 | middle >> 4, (middle & 15) << 8 | low
    return promised, delay + DECODER_DELAY_SAMPLES, max(0, padding - DECODER_DELAY_SAMPLES)


def _next_lock(data: Bytes, position: int, end: int) -> int | None:
    """The first place from `position` on where several consistent frames follow each other; None if there is none."""
    while (sync := _SYNC.search(data, position, end)) is not None:
        position = sync.start()
        at, kind = position, None
        for _ in range(_FRAMES_TO_LOCK):
            header = parse_header(data[at : at + 4])
            if header is None or (kind is not None and header.kind != kind):
                break
            at, kind = at + header.size, header.kind
        else:
            return position
        position += 1
    return None


def after_tags(data: Bytes, position: int) -> int:
    """`position`, moved behind ID3v2 and APE tags that start there: their pictures may hold what looks like frames."""
    while True:
        if data[position : position + 3] == b"ID3" and len(data) >= position + 10:
            a, b, c, d = data[position + 6 : position + 10]
            footer = 10 if data[position + 5] & 0x10 else 0
            position += 10 + footer + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | d & 127)
        elif data[position : position + 8] == b"APETAGEX" and len(data) >= position + 32:
            size = struct.unpack_from("<I", data, position + 12)[0]
            position += 32 + size
        elif data[position : position + 3] == b"TAG":
            position += 128
        else:
            return min(position, len(data))


def clean_file(data: Bytes, stretch: Stretch) -> bytes:
    """An MP3 file of the stretch's frames and nothing else, with a true Xing header before them.

    Decoders drop the first DECODER_DELAY_SAMPLES of a layer III file that has such a header. Layers I and II know no
    such header: a decoder guesses their number from the first frame's size, so the last frame comes again a few times
    to make up for a guess that is too low, and the caller cuts at the stretch's own count.
    """
    frames = [bytes(data[at : at + size]) for at, size in zip(stretch.offsets, stretch.sizes, strict=True)]
    if not stretch.header.info_offset:
        return b"".join(frames + frames[-1:] * (2 + len(frames) // 50))
    head = bytearray(frames[0][:4])
    head[1] |= 1  # no checksum
    for bitrate_index in range(1, 15):
        head[2] = bitrate_index << 4 | head[2] & 0x0C
        header = parse_header(bytes(head))
        if header is not None and header.size >= header.info_offset + 12:
            break
    assert header is not None
    xing = bytes(head).ljust(header.info_offset, b"\0") + b"Xing" + struct.pack(">II", 1, len(frames))
    return xing.ljust(header.size, b"\0") + b"".join(frames)

"""Files whose headers are not true, and files that hold several recordings."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from musigan.errors import AudioError
from musigan.sound import audio, ffmpeg, mpeg
from musigan.sound.audio import decode
from musigan.sound.containers import Part, PartFile, parts_of
from tests.sounds import id3_tag, noise, pitch, tones, two_tone_mp3, write


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)


def wav(size: int, behind: bytes = b"", rate: int = 12000, channels: int = 2, long_size: int | None = None) -> bytes:
    """A WAV of 10 s of one tone whose header claims `size` bytes of sound; RF64 with `long_size`."""
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    data = (32767 * tones(10, 12000, 500, 800)).astype("<i2").T.tobytes()
    ds64 = b"" if long_size is None else b"ds64" + struct.pack("<IQQQI", 28, 0, long_size, 0, 0)
    start = (b"RIFF" if long_size is None else b"RF64") + struct.pack("<I", size) + b"WAVE" + ds64
    return start + b"fmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + data + behind


def seconds_of(path: Path, content: bytes) -> tuple[float, int]:
    """Return how long a file sounds, and how many warnings it has."""
    path.write_bytes(content)
    recording = decode(path, sample_rate=12000)
    assert pitch(recording.signal[1], 12000) == pytest.approx(800, abs=1)
    return recording.seconds, len(recording.warnings)


TRUE = 10 * 12000 * 4
LIST = b"LIST\4\0\0\0INFO"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (wav(TRUE), (10.0, 0)),
        (wav(TRUE, LIST), (10.0, 0)),
        (wav(TRUE, b"TAG" + bytes(125)), (10.0, 0)),
        (wav(0), (10.0, 1)),
        (wav(0xFFFFFFFF), (10.0, 1)),
        (wav(0x7FFFFFFF), (10.0, 1)),
        (wav(4 * 12000), (10.0, 1)),  # a recorder that stopped after it had written 1 s
        (wav(0xFFFFFFFF, LIST, long_size=TRUE), (10.0, 0)),
        (wav(0xFFFFFFFF, long_size=0), (10.0, 1)),
        (wav(0xFFFFFFFF, long_size=2**64 - 1), (10.0, 1)),
        (wav(0, long_size=0), (10.0, 1)),
        (wav(TRUE)[: -TRUE // 2], (5.0, 1)),
    ],
)
def test_a_wav_sounds_as_long_as_its_bytes_do(content: bytes, expected: tuple[float, int], tmp_path: Path) -> None:
    assert seconds_of(tmp_path / "x.wav", content) == expected


def test_a_wav_with_nothing_in_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav(0)[:44] + LIST)
    with pytest.raises(AudioError, match="no samples"):
        decode(tmp_path / "x.wav")


def test_a_wav_of_more_than_4_gib_whose_size_is_counted_modulo_that(tmp_path: Path) -> None:
    size = (1 << 32) + 40000
    with (tmp_path / "x.wav").open("wb") as file:
        file.write(wav(size % (1 << 32))[:44])
        file.seek(44 + size - 40000)  # a hole, which takes no room
        file.write((32767 * tones(10000 / 12000, 12000, 500, 800)).astype("<i2").T.tobytes())
    recording = decode(tmp_path / "x.wav", start_seconds=(size - 40000) / 48000, seconds=5)
    assert recording.seconds == pytest.approx(10000 / 12000, abs=1e-3)
    assert pitch(recording.signal[1], 12000) == pytest.approx(800, abs=2)


@pytest.mark.parametrize(("rate", "channels"), [(1, 2), (999, 2), (1_000_001, 2), (2**30 - 1, 2), (12000, 65)])
def test_rates_and_channels_that_no_recording_has_are_refused(rate: int, channels: int, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav(TRUE, rate=rate, channels=channels))
    with pytest.raises(AudioError, match="expected at most 64, at 1,000 to 1,000,000 Hz"):
        decode(tmp_path / "x.wav")


def test_a_recording_is_kept_as_far_as_memory_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.wav", noise(60, 12000), 12000)
    monkeypatch.setattr(audio, "MAX_VALUES", 2 * 12000 * 30)
    recording = decode(path, seconds=None)
    assert (recording.seconds, len(recording.warnings)) == (30.0, 1)
    assert decode(path, seconds=20).warnings == ()


def flac_totals(content: bytes, samples: int, start: int = 0) -> bytes:
    facts = int.from_bytes(content[start + 18 : start + 26], "big") >> 36 << 36
    return content[: start + 18] + (facts + samples).to_bytes(8, "big") + content[start + 26 :]


@pytest.mark.parametrize(("samples", "warnings"), [(120000, 0), (12000, 1), (0, 0), (240000, 1), (2**36 - 1, 1)])
@pytest.mark.parametrize("tag", [b"", id3_tag(500)])
def test_a_flac_sounds_to_its_last_frame(samples: int, warnings: int, tag: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", tones(10, 12000, 500, 800), 12000)
    path.write_bytes(tag + flac_totals(path.read_bytes(), samples))
    recording = decode(path)
    assert (recording.seconds, len(recording.warnings)) == (10.0, warnings)
    np.testing.assert_allclose(recording.signal, tones(10, 12000, 500, 800), atol=1e-4)


@pytest.mark.parametrize("samples", [120000, 0])
def test_a_cut_flac_is_read_up_to_its_last_whole_frame(samples: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", tones(10, 12000, 500, 800), 12000)
    content = flac_totals(path.read_bytes(), samples)
    path.write_bytes(content[: len(content) // 2])
    recording = decode(path)
    assert 4.3 < recording.seconds < 5.5
    assert len(recording.warnings) == (samples > 0)


@pytest.mark.parametrize("kind", ["ogg", "opus", "flac"])
def test_recordings_one_behind_another_are_all_read(kind: str, tmp_path: Path) -> None:
    parts = [tones(2, 48000, 500, 700), tones(3, 24000, 900, 1100), tones(1.5, 48000, 1300)]
    paths = [write(tmp_path / f"{n}.{kind}", part, 48000 if n != 1 else 24000) for n, part in enumerate(parts)]
    (tmp_path / f"x.{kind}").write_bytes(b"".join(path.read_bytes() for path in paths))
    recording = decode(tmp_path / f"x.{kind}")
    assert recording.seconds == recording.seconds_total == pytest.approx(6.5, abs=0.01)
    for begin, hertz in ((6000, 700), (36000, 1100), (64000, 1300)):
        assert pitch(recording.signal[1, begin : begin + 12000], 12000) == pytest.approx(hertz, abs=2)
    later = decode(tmp_path / f"x.{kind}", start_seconds=2.5, seconds=2)
    assert pitch(later.signal[1], 12000) == pytest.approx(1100, abs=2)


def test_a_link_that_is_damaged_is_told(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.ogg", tones(2, 48000, 500 + n, 700), 48000) for n in range(2)]
    first, second = (path.read_bytes() for path in paths)
    (tmp_path / "x.ogg").write_bytes(first + second[:58])
    recording = decode(tmp_path / "x.ogg")
    assert recording.seconds == pytest.approx(2.0)
    assert len(recording.warnings) == 1


def test_an_id3_tag_that_is_larger_than_it_can_be_does_not_hide_the_song(tmp_path: Path) -> None:
    song = two_tone_mp3()
    for size in (1 << 24, len(song) // 2, 1200):  # beyond the end, and into the middle of a frame
        tag = b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + b"TIT2\0\0\0\5\0\0\0Song"
        (tmp_path / "x.mp3").write_bytes(tag + song)
        assert decode(tmp_path / "x.mp3").seconds == pytest.approx(6.0, abs=0.03)


def test_an_mp3_whose_headers_have_a_reserved_value_is_the_decoders_to_judge(tmp_path: Path) -> None:
    song = bytearray(two_tone_mp3())
    for stretch in mpeg.scan(bytes(song)).stretches:
        for offset in stretch.offsets:
            song[offset + 3] = song[offset + 3] & 0xFC | 2  # emphasis
    (tmp_path / "x.mp3").write_bytes(song)
    assert decode(tmp_path / "x.mp3").seconds == pytest.approx(6.0, abs=0.06)


def test_an_adpcm_wav_that_was_not_finished(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tones(10, 12000, 500, 800).T, 12000, "MS_ADPCM", format="WAV")
    content = (tmp_path / "x.wav").read_bytes()
    at = content.index(b"data") + 4
    assert seconds_of(tmp_path / "x.wav", content[:at] + bytes(4) + content[at + 4 :])[0] == pytest.approx(10, abs=0.1)


def test_mp3_of_free_format(tmp_path: Path) -> None:
    frame = b"\xff\xfb\x00\x64".ljust(1044, b"\0")
    (tmp_path / "x.mp3").write_bytes(frame * 230)
    assert decode(tmp_path / "x.mp3").seconds == pytest.approx(230 * 1152 / 44100, abs=0.06)


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\0WAVE" + bytes(10**7),
        b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 10**5,
        (b"fLaC\0\0\0\x22" + bytes(34)) * 10**5,
        (b"OggS\0\2" + bytes(21) + b"OggS\0\0" + bytes(21)) * 10**5,
    ],
)
def test_parts_are_found_in_a_time_that_grows_with_the_file_alone(data: bytes) -> None:
    before = time.process_time()
    parts_of(data)
    assert time.process_time() - before < 4


@given(
    st.binary(max_size=300), st.sampled_from([b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVEds64", b"fLaC\0\0\0\x22", b"OggS"])
)
def test_any_bytes_have_parts_within_them(data: bytes, start: bytes) -> None:
    whole = start + data
    for part in parts_of(whole):
        assert 0 <= part.start <= part.end <= len(whole)


@given(st.binary(max_size=9), st.binary(max_size=30), st.integers(0, 30), st.lists(st.integers(0, 20), max_size=6))
def test_a_part_is_a_file_of_its_own(head: bytes, data: bytes, start: int, counts: list[int]) -> None:
    part = Part(head, min(start, len(data)), len(data))
    file, expected, position = PartFile(data, part), head + data[part.start :], 0
    for count in counts:
        assert file.read(count) == expected[position : position + count]
        position += min(count, len(expected) - position)
        assert file.tell() == position
    assert file.seek(0, 2) == len(expected)
    file.seek(2)
    assert file.read(4) == expected[2:6]


def in_ogg(flac: bytes) -> bytes:
    """A FLAC file in Ogg pages of 500 bytes at most, between them a page of another stream."""
    contents = [b"\x7fFLAC\1\0\0\1" + flac[:42], *(flac[at : at + 500] for at in range(42, len(flac), 500))]
    pages = []
    for number, content in enumerate(contents):
        lacing = [255] * (len(content) // 255) + [len(content) % 255]
        flags, serial = (2 if not number else 0), b"one " if number != 3 else b"none"
        content = content if serial == b"one " else bytes(len(content))
        head = bytes((0, flags)) + bytes(8) + serial + number.to_bytes(4, "little") + bytes(4)
        pages.append(b"OggS" + head + bytes((len(lacing), *lacing)) + content)
        if serial == b"none":  # and the one whose place it took
            again = contents[number]
            pages.append(b"OggS\0\0" + bytes(8) + b"one " + bytes(8) + bytes((len(lacing), *lacing)) + again)
    return b"".join(pages)


def test_flac_in_ogg_is_read_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    plain = write(tmp_path / "a.flac", tones(1.5, 44100, 500, 800), 44100)
    (tmp_path / "a.oga").write_bytes(in_ogg(plain.read_bytes()))
    heard, wanted = decode(tmp_path / "a.oga"), decode(plain)
    np.testing.assert_array_equal(heard.signal, wanted.signal)
    assert heard.warnings == ()
    whole = (tmp_path / "a.oga").read_bytes()
    (tmp_path / "cut.oga").write_bytes(whole[: len(whole) * 2 // 3])
    cut = decode(tmp_path / "cut.oga")
    assert 0.5 < cut.seconds < 1.4
    assert cut.warnings

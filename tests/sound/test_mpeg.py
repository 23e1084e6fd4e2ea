from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musigan.sound import mpeg
from tests import sounds


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mpeg") / "song.mp3"
    return sounds.write(path, sounds.noise(2.0, 44100), 44100).read_bytes()


@pytest.mark.parametrize(
    ("four", "expected"),
    [  # worked by hand from the tables of the standard: rate, channels, samples, bytes
        ("fffb9000", (44100, 2, 1152, 417)),  # MPEG-1 layer III, 128 kb/s: 144 * 128000 / 44100
        ("fffb92c0", (44100, 1, 1152, 418)),  # the same, padded, mono
        ("fff38064", (22050, 2, 576, 208)),  # MPEG-2 layer III, 64 kb/s: 72 * 64000 / 22050
        ("ffe318c4", (8000, 1, 576, 72)),  # MPEG-2.5 layer III, 8 kb/s
        ("fffda404", (48000, 2, 1152, 576)),  # MPEG-1 layer II, 192 kb/s
        ("ffff9004", (44100, 2, 384, 312)),  # MPEG-1 layer I, 288 kb/s: 12 * 288000 / 44100 * 4
    ],
)
def test_headers(four: str, expected: tuple[int, int, int, int]) -> None:
    header = mpeg.parse_header(bytes.fromhex(four))
    assert header is not None
    assert (header.sample_rate, header.channels, header.samples, header.size) == expected


@pytest.mark.parametrize("four", ["fffb0000", "fffbf000", "fffb9c00", "ffeb9000", "fff99000", "fffb9002", "fffb90", ""])
def test_what_is_no_header(four: str) -> None:
    assert mpeg.parse_header(bytes.fromhex(four)) is None


def test_scan_counts_what_the_header_promises(song: bytes) -> None:
    (stretch,) = mpeg.scan(song).stretches
    assert stretch.promised_frames == len(stretch.offsets)
    assert stretch.samples - stretch.delay_samples - stretch.padding_samples == 88200


def test_scan_goes_on_behind_garbage_and_counts_it(song: bytes) -> None:
    garbage = np.random.default_rng(1).bytes(5000)
    whole = mpeg.scan(song).stretches[0]
    cut = whole.offsets[20]
    result = mpeg.scan(song[:cut] + garbage + song[cut:])
    assert [len(stretch.offsets) for stretch in result.stretches] == [20, len(whole.offsets) - 20]
    assert result.garbage_bytes == 5000


def test_frames_inside_a_tag_are_none(song: bytes) -> None:
    tagged = sounds.id3_tag(len(song), song) + song
    assert sum(len(s.offsets) for s in mpeg.scan(tagged).stretches) == len(mpeg.scan(song).stretches[0].offsets)


def test_two_songs_are_two_stretches(song: bytes) -> None:
    result = mpeg.scan(song + sounds.id3_tag(999) + song)
    assert [stretch.promised_frames for stretch in result.stretches] == [result.stretches[0].promised_frames] * 2
    assert result.garbage_bytes == 0


def test_scan_stops_when_it_has_enough(song: bytes) -> None:
    assert mpeg.scan(song * 5, seconds=3.0).seconds < 5.0


def test_clean_file_decodes_to_the_same_samples(song: bytes, tmp_path: Path) -> None:
    (stretch,) = mpeg.scan(song).stretches
    original, _ = soundfile.read(io.BytesIO(song), dtype="float32")
    cleaned, _ = soundfile.read(io.BytesIO(mpeg.clean_file(song, stretch)), dtype="float32")
    assert len(cleaned) == stretch.samples - mpeg.DECODER_DELAY_SAMPLES
    start = stretch.delay_samples - mpeg.DECODER_DELAY_SAMPLES
    np.testing.assert_array_equal(cleaned[start : start + len(original)], original)


@pytest.mark.parametrize(
    "data", [b"\xff" * 10**7, b"\xff\xfb\x90\x00" * 3 * 10**5, bytes(10**7), b"ID3" * 10**5, b"ID3", b""]
)
def test_hostile_content_is_no_music_and_is_seen_quickly(data: bytes) -> None:
    before = time.process_time()
    assert mpeg.scan(data).stretches == []
    assert not mpeg.is_mpeg(data)
    assert time.process_time() - before < 5


def test_random_bytes_are_no_music() -> None:
    assert mpeg.scan(np.random.default_rng(2).bytes(10**6)).stretches == []

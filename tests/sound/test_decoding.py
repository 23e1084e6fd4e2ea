from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan.errors import AudioError
from musigan.files.finding import MediaFile
from musigan.sound import audio, decoding, ffmpeg, mpeg
from musigan.sound.audio import decode, decode_many
from tests import sounds
from tests.sounds import noise, pitch, tones, write


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)


@pytest.fixture(scope="module")
def song() -> bytes:
    return sounds.two_tone_mp3()


# Names and content


@pytest.mark.parametrize(("kind", "name"), [("wav", "x.mp3"), ("mp3", "x.wav"), ("flac", "x"), ("ogg", "x.m4a")])
def test_content_decides_not_the_name(kind: str, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, tones(1, 44100, 500, 900), 44100, kind)
    assert pitch(decode(path).signal[1], 12000) == pytest.approx(900, abs=1)


@pytest.mark.parametrize(
    "name", ["-rf.mp3", "file:x.mp3", "a\nb.mp3", "ü 日本 🎹.mp3", "q'\"$(id)*?.mp3", "L" * 251 + ".mp3"]
)
def test_strange_names(name: str, song: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(song)
    assert decode(name).seconds == 6.0


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_unicode(song: bytes, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp3"))
    path.write_bytes(song)
    assert decode(path).seconds == 6.0


NOT_MUSIC = {
    "nothing": (b"", "empty"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(range(256)) * 40, "JPEG picture"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG picture"),
    "page": (b"\n <!DOCTYPE html><p>404 not found", "HTML page"),
    "text": ("What a fine day,\nfor a song é.\n".encode() * 30, "no audio could be decoded"),
    "ascii": (b"What a fine day,\nfor a song.\n" * 30, "a text"),
    "playlist": (b"\xef\xbb\xbf#EXTM3U\nhttp://localhost/x.mp3\n/etc/passwd\n", "a playlist"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(400), "gzip"),
    "MIDI": (b"MThd\0\0\0\6" + bytes(400), "MIDI"),
    "tags alone": (sounds.id3_tag(5000, b"\xff\xfb\x90\x00"), "nothing but tags"),
    "zeros": (bytes(50000), "no audio could be decoded"),
    "WAV header": (
        b"RIFF\x24\x80\x1e\0WAVEfmt \x10\0\0\0\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0data\0\x80\x1e\0",
        "no samples",
    ),
}


@pytest.mark.parametrize("what", NOT_MUSIC)
@pytest.mark.parametrize("with_ffmpeg", [True, False])
def test_what_is_no_music(what: str, with_ffmpeg: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_ffmpeg:
        monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    content, reason = NOT_MUSIC[what]
    (tmp_path / "x.mp3").write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        decode(tmp_path / "x.mp3")
    assert "\n" not in str(caught.value)


def test_one_sample_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        decode(write(tmp_path / "one.wav", np.zeros((2, 1), np.float32), 44100))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    for path, reason in [
        (tmp_path, "regular"),
        (tmp_path / "pipe.mp3", "regular"),
        (tmp_path / "no.mp3", "no such file"),
    ]:
        with pytest.raises(AudioError, match=reason):
            decode(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(song: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(song)
    (tmp_path / "x.mp3").chmod(0)
    with pytest.raises(AudioError, match="permission denied"):
        decode(tmp_path / "x.mp3")


# Damage, without ffmpeg's help


def test_a_truncated_mp3_is_kept_and_told(song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    (tmp_path / "x.mp3").write_bytes(song[: len(song) // 2])
    recording = decode(tmp_path / "x.mp3")
    assert 2.5 < recording.seconds < 3.1
    assert any("ends early" in warning for warning in recording.warnings)


@pytest.mark.parametrize("filling", ["zeros", "random", "inserted"])
def test_garbage_in_the_middle_of_an_mp3(filling: str, song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    third = len(song) // 3
    size = 9000
    garbage = bytes(size) if filling == "zeros" else np.random.default_rng(3).bytes(size)
    (tmp_path / "x.mp3").write_bytes(song[:third] + garbage + song[third + (0 if filling == "inserted" else size) :])
    recording = decode(tmp_path / "x.mp3")
    assert any("damaged" in warning for warning in recording.warnings)
    assert recording.seconds > (5.8 if filling == "inserted" else 4.6)
    assert np.abs(recording.signal).max() < 1.5
    assert pitch(recording.signal[0, -24000:], 12000) == pytest.approx(800, abs=1)


def test_garbage_before_the_first_frame(song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    (tmp_path / "x.mp3").write_bytes(np.random.default_rng(4).bytes(9000) + song)
    assert decode(tmp_path / "x.mp3").seconds == pytest.approx(6.0, abs=0.1)


def test_flipped_bits(song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    damaged = bytearray(song)
    for position in np.random.default_rng(5).integers(3000, len(song), 200):
        damaged[position] ^= 1 << int(position % 8)
    (tmp_path / "x.mp3").write_bytes(damaged)
    recording = decode(tmp_path / "x.mp3")
    assert recording.seconds > 4.5
    assert np.abs(recording.signal).max() < 5


def test_songs_one_after_another_in_one_file(song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    other = write(tmp_path / "other.mp3", tones(2, 44100, 1300, 1700), 44100).read_bytes()
    slow = write(tmp_path / "slow.mp3", tones(2, 22050, 2100), 22050).read_bytes()
    (tmp_path / "x.mp3").write_bytes(sounds.id3_tag(300) + song + sounds.id3_tag(5000) + other + slow)
    recording = decode(tmp_path / "x.mp3")
    assert recording.seconds == pytest.approx(10.0, abs=0.001)
    assert pitch(recording.signal[0, 75000:93000], 12000) == pytest.approx(1300, abs=1)
    assert pitch(recording.signal[1, 99000:117000], 12000) == pytest.approx(2100, abs=1)


@pytest.mark.parametrize("quiet_first", [True, False])
def test_variable_bitrate_without_a_header(quiet_first: bool, tmp_path: Path, no_ffmpeg: None) -> None:
    parts = [np.zeros((2, 44100 * 5), np.float32), noise(5, 44100, 0.3)]
    sound = np.concatenate(parts if quiet_first else parts[::-1], axis=1)
    path = write(tmp_path / "x.mp3", sound, 44100, bitrate_mode="VARIABLE", compression_level=0.0)
    data = path.read_bytes()
    assert b"Xing" in data[:200] or b"Info" in data[:200]
    first_sound = data.index(b"\xff", data.index(b"LAME"))
    path.write_bytes(data[first_sound:])
    assert decode(path).seconds == pytest.approx(10.0, abs=0.08)


@pytest.mark.parametrize("frames", [2, 3])
def test_a_few_frames_by_chance_are_no_music(frames: int, song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    (stretch,) = mpeg.scan(song).stretches
    chance = song[stretch.offsets[5] : stretch.offsets[5 + frames]]
    (tmp_path / "x.mp3").write_bytes(b"\x01\x02unknown" * 50 + chance + bytes(range(200)) * 50)
    with pytest.raises(AudioError, match="no audio could be decoded"):
        decode(tmp_path / "x.mp3")
    request = decoding.Request(str(tmp_path / "x.mp3"), 0.0, None)
    with pytest.raises(decoding.ReaderError, match="does not know this format"):
        next(decoding.read_libsndfile(request, decoding.Report()))


def test_layer_2_whose_frames_differ_in_size(tmp_path: Path, no_ffmpeg: None) -> None:
    short, long = b"\xff\xfd\xa0\0".ljust(626, b"\0"), b"\xff\xfd\xa2\0".ljust(627, b"\0")  # silence at 192 kb/s
    (tmp_path / "x.mp2").write_bytes(short * 81 + bytes(3000) + long + short * 900)
    assert decode(tmp_path / "x.mp2", sample_rate=44100).signal.shape[1] == 982 * 1152


def test_a_large_tag_and_its_picture_are_no_sound(song: bytes, tmp_path: Path, no_ffmpeg: None) -> None:
    (tmp_path / "x.mp3").write_bytes(sounds.id3_tag(2_000_000, song[1000:3000]) + song)
    plain = tmp_path / "plain.mp3"
    plain.write_bytes(song)
    np.testing.assert_array_equal(decode(tmp_path / "x.mp3").signal, decode(plain).signal)


def test_a_truncated_flac_is_kept_and_told(tmp_path: Path, no_ffmpeg: None) -> None:
    path = write(tmp_path / "x.flac", noise(20, 44100), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    recording = decode(path)
    assert 5 < recording.seconds < 15.5
    assert recording.warnings


def test_floats_beyond_full_scale_do_not_wrap(tmp_path: Path) -> None:
    sound = tones(2, 12000, 300, 500, level=5.6)
    path = write(tmp_path / "loud.wav", sound, 12000, "float.wav")
    np.testing.assert_array_equal(decode(path).signal, sound)


def test_a_single_loud_hit_in_a_float_file_is_music(tmp_path: Path) -> None:
    sound = noise(3, 12000, 0.01)
    sound[:, 20000:20100] = 5.6
    path = write(tmp_path / "hit.wav", sound, 12000, "float.wav")
    np.testing.assert_array_equal(decode(path).signal, sound)


def test_values_that_are_no_numbers_become_silence(tmp_path: Path) -> None:
    sound = noise(3, 44100)
    sound[0, 1000], sound[1, 2000], sound[0, 90000] = np.nan, np.inf, 3e38
    recording = decode(write(tmp_path / "x.wav", sound, 44100, "float.wav"))
    assert np.isfinite(recording.signal).all()
    assert np.abs(recording.signal).max() < 1
    assert len(recording.warnings) == 1


def test_bursts_in_lossy_sound_are_muted_and_their_surroundings_are_not() -> None:
    report = decoding.Report(lossy=True)
    block = noise(2, 44100).T.copy()
    block[30000:30010] = 3417.0
    tamed = audio._without_bursts(block, report)
    assert np.abs(tamed).max() < 1
    changed = np.flatnonzero((tamed != block).any(axis=1))
    assert 29000 < changed.min() <= 30000 - 576
    assert 30010 + 576 <= changed.max() < 31200
    loud = noise(2, 44100, level=3.0).T
    np.testing.assert_array_equal(audio._without_bursts(loud, decoding.Report(lossy=True)), loud)


@settings(max_examples=25, deadline=None)
@given(
    st.binary(max_size=3000), st.sampled_from([b"", b"ID3\3\0\0\0\0\0\x0a", b"RIFF\xff\xff\0\0WAVE", b"fLaC", b"OggS"])
)
def test_random_bytes_are_an_error_or_finite_sound(data: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
        path = Path(folder) / "x.mp3"
        path.write_bytes(start + data)
        (outcome,) = decode_many([MediaFile(path, "x.mp3")], jobs=1)
        if outcome.recording is None:
            assert "\n" not in str(outcome.error)
        else:
            assert np.isfinite(outcome.recording.signal).all()

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musigan.errors import AudioError, UsageError
from musigan.files.targets import format_of
from musigan.sound import encoding, ffmpeg, mpeg
from musigan.sound.audio import decode, encode
from tests.disks import limited_files
from tests.sounds import noise, pitch, tones

needs_ffmpeg = pytest.mark.skipif(ffmpeg.find_ffmpeg() is None, reason="there is no ffmpeg")


def blocks(signal: np.ndarray, size: int = 5000) -> Iterator[np.ndarray]:
    for start in range(0, signal.shape[1], size):
        yield signal[:, start : start + size]


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "opus", "aiff"])
@pytest.mark.parametrize("rate", [12000, 44100])
def test_round_trip(format: str, rate: int, tmp_path: Path) -> None:
    sound = tones(3, rate, 440, 1250, level=0.8)
    path = tmp_path / f"out.{format}"
    encode(blocks(sound), rate, path, format)
    back = decode(path, rate)
    assert back.signal.shape == sound.shape
    assert back.warnings == ()
    middle = slice(rate // 2, -rate // 2)
    assert pitch(back.signal[0, middle], rate) == pytest.approx(440, abs=0.6)
    assert pitch(back.signal[1, middle], rate) == pytest.approx(1250, abs=0.6)
    error = back.signal[:, middle] - sound[:, middle]
    assert np.sqrt((error**2).mean()) < (1e-4 if format in ("wav", "flac", "aiff") else 0.03)


def test_mono_stays_mono_and_sample_for_sample(tmp_path: Path) -> None:
    sound = np.rint(noise(1, 12000)[:1] * 32768) / 32768
    encode([sound], 12000, tmp_path / "x.flac", "flac")
    back = decode(tmp_path / "x.flac", channels="keep").signal
    np.testing.assert_allclose(back, sound, atol=1 / 32768)


def test_mp3_of_a_low_rate_is_written_at_44100(tmp_path: Path) -> None:
    encode(blocks(noise(2, 12000)), 12000, tmp_path / "x.mp3", "mp3")
    (stretch,) = mpeg.scan((tmp_path / "x.mp3").read_bytes()).stretches
    assert stretch.header.sample_rate == 44100
    assert stretch.promised_frames == len(stretch.offsets)


@pytest.mark.parametrize("kbps", [32, 64, 128, 192, 320])
def test_mp3_bitrates(kbps: int, tmp_path: Path) -> None:
    encode(blocks(noise(2, 44100)), 44100, tmp_path / "x.mp3", "mp3", bitrate=f"{kbps}k")
    (stretch,) = mpeg.scan((tmp_path / "x.mp3").read_bytes()).stretches
    assert np.mean(stretch.sizes) * 8 * 44100 / 1152 / 1000 == pytest.approx(kbps, rel=0.01)


def test_qualities_order_the_sizes(tmp_path: Path) -> None:
    def size(format: str, bitrate: str | None) -> int:
        encode(blocks(noise(4, 44100)), 44100, tmp_path / "x", format, bitrate)
        return (tmp_path / "x").stat().st_size

    assert size("mp3", "V0") > size("mp3", None) > size("mp3", "V7")
    assert size("ogg", "320k") > size("ogg", None) > size("ogg", "64k")
    assert size("opus", "256k") > size("opus", None) > size("opus", "32k")


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "opus", "aiff"])
def test_tags_come_back(format: str, tmp_path: Path) -> None:
    tags = {
        "title": "Größe – 日本 🎹",
        "artist": "A & B",
        "genre": "Folk",
        "year": "1997",
        "comment": "ckpt.pt",
        "software": "m",
    }
    encode([noise(1, 12000)], 12000, tmp_path / "x", format, tags=tags)
    back = decode(tmp_path / "x")
    assert (back.title, back.artist, back.genre, back.year) == ("Größe – 日本 🎹", "A & B", "Folk", "1997")
    content = (tmp_path / "x").read_bytes()
    assert b"ckpt.pt" in content


def test_comment_and_software_are_where_players_look(tmp_path: Path) -> None:
    import mutagen

    encode([noise(1, 12000)], 12000, tmp_path / "x.mp3", "mp3", tags={"comment": "ckpt.pt", "software": "musigan 1"})
    file = mutagen.File(tmp_path / "x.mp3")
    assert file.tags["COMM::eng"].text == ["ckpt.pt"]
    assert file.tags["TSSE"].text == ["musigan 1"]


def test_a_signal_peaking_at_minus_1_dbfs_does_not_clip(tmp_path: Path) -> None:
    times = np.arange(5 * 12000) / 12000
    chord = sum(np.sin(2 * np.pi * f * times + i) for i, f in enumerate((110, 277.2, 329.6, 880, 1318.5)))
    sound = np.stack([chord, 0.7 * chord]).astype(np.float32)
    sound *= 10 ** (-1 / 20) / np.abs(sound).max()
    encode(blocks(sound), 12000, tmp_path / "x.mp3", "mp3")
    assert 0.8 < np.abs(decode(tmp_path / "x.mp3", 44100).signal).max() <= 1.0


def test_what_is_too_loud_is_clipped_not_wrapped(tmp_path: Path) -> None:
    encode([tones(1, 12000, 100, 200, level=4.0)], 12000, tmp_path / "x.wav", "wav")
    back = decode(tmp_path / "x.wav").signal
    wanted = np.clip(tones(1, 12000, 100, 200, level=4.0), -1, 1)
    np.testing.assert_allclose(back, wanted, atol=2e-4)


def test_a_stream_gets_the_same_bytes_as_a_file(tmp_path: Path) -> None:
    stream = io.BytesIO()
    for target in (stream, tmp_path / "x.mp3"):
        encode(blocks(noise(1, 12000)), 12000, target, "mp3", tags={"title": "T"})
    assert stream.getvalue() == (tmp_path / "x.mp3").read_bytes()


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield noise(1, 12000)
        raise KeyboardInterrupt

    (tmp_path / "x.mp3").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        encode(failing(), 12000, tmp_path / "x.mp3", "mp3")
    assert os.listdir(tmp_path) == ["x.mp3"]
    assert (tmp_path / "x.mp3").read_bytes() == b"old"


def test_nothing_reaches_a_stream_before_all_went_well() -> None:
    stream = io.BytesIO()
    with pytest.raises(AudioError, match="not finite"):
        encode([noise(1, 12000), np.full((2, 5), np.nan, np.float32)], 12000, stream, "mp3")
    assert stream.getvalue() == b""


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_others_may_read_the_file_as_any_other(tmp_path: Path) -> None:
    encode([noise(1, 12000)], 12000, tmp_path / "x.wav", "wav")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "x.wav").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    ("signal_blocks", "reason"),
    [
        ([], "no samples"),
        ([np.zeros((2, 0), np.float32)], "no samples"),
        ([np.zeros(5, np.float32)], "shape"),
        ([noise(0.1, 12000), noise(0.1, 12000)[:1]], "shape"),
    ],
)
def test_blocks_that_cannot_be_encoded(signal_blocks: list[np.ndarray], reason: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=reason):
        encode(signal_blocks, 12000, tmp_path / "x.mp3", "mp3")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("format", "bitrate"), [("mp3", "193k"), ("mp3", "fast"), ("mp3", "V11"), ("wav", "128k"), ("ogg", "0")]
)
def test_bitrates_of_no_sense(format: str, bitrate: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bitrate"):
        encode([noise(1, 12000)], 12000, tmp_path / "x", format, bitrate)
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mp3").mkdir()
    for target in (tmp_path / "none" / "x.mp3", tmp_path / "folder.mp3"):
        with pytest.raises(AudioError, match=r"\.mp3: cannot be written"):
            encode([noise(1, 12000)], 12000, target, "mp3")
    assert os.listdir(tmp_path) == ["folder.mp3"]


def test_an_unknown_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="unknown tag 'mood'"):
        encode([noise(1, 12000)], 12000, tmp_path / "x.mp3", "mp3", tags={"mood": "fine"})


@needs_ffmpeg
def test_other_formats_by_ffmpeg(tmp_path: Path) -> None:
    sound = tones(2, 12000, 440, 1250)
    for format in ("m4a", "wma"):
        path = tmp_path / f"x.{format}"
        encode(blocks(sound), 12000, path, format, "128k", {"title": "Größe", "artist": "A"})
        back = decode(path)
        assert (back.title, back.artist) == ("Größe", "A")
        assert back.seconds == pytest.approx(2.0, abs=0.1)
        assert pitch(back.signal[1, 3000:-3000], 12000) == pytest.approx(1250, abs=1)


@needs_ffmpeg
def test_a_format_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="could not write xyz") as caught:
        encode([noise(1, 12000)], 12000, tmp_path / "x.xyz", "xyz")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_without_ffmpeg_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    with pytest.raises(AudioError, match=r"cannot write m4a: pip install \"musigan\[ffmpeg\]\""):
        encode([noise(1, 12000)], 12000, tmp_path / "x.m4a", "m4a")


@pytest.mark.parametrize(
    ("name", "format"), [("a/b.MP3", "mp3"), ("x.oga", "ogg"), ("x.tar.aif", "aiff"), ("x.m4a", "m4a")]
)
def test_format_of(name: str, format: str) -> None:
    assert format_of(name) == format


def test_a_name_without_ending_has_no_format() -> None:
    with pytest.raises(UsageError, match="ending"):
        format_of("folder.mp3/out")


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "opus", "aiff"])
def test_a_disk_that_is_full_at_the_very_end_is_told_by_name(format: str, tmp_path: Path) -> None:
    """Also where the library passes over it: the last page of an Ogg file is written when it is closed."""
    path, sound = tmp_path / f"x.{format}", [tones(0.7, 44100, 220, 310)]
    encode(sound, 44100, path, format, tags={"title": "x"})
    whole = path.read_bytes()
    for short in (1, 60, len(whole) // 2):
        with limited_files(len(whole) - short), pytest.raises(AudioError, match=rf"x.{format}: cannot be written"):
            encode(sound, 44100, path, format, tags={"title": "x"})
        assert path.read_bytes() == whole
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", ["ogg", "opus"])
def test_the_same_sound_is_the_same_ogg_file_and_another_sound_another_stream(format: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.{format}" for number in range(3)]
    for path, seconds in zip(files, (0.4, 0.4, 0.5), strict=True):
        encode([tones(seconds, 48000, 220, 310)], 48000, path, format, tags={"title": "Lied Ä"})
    one, again, other = (path.read_bytes() for path in files)
    assert one == again
    assert one[14:18] != other[14:18]  # the serial number
    assert soundfile.read(files[0])[0].shape == (19200, 2)


def test_what_ffmpeg_says_names_no_temporary_file() -> None:
    said = f"Output from ffmpeg/avlib:\n\nError opening output {tempfile.gettempdir()}/tmpqz3_.x: Invalid argument"
    assert encoding._reason(said) == "Error opening output the file: Invalid argument"
    assert encoding._reason("") == "no reason given"

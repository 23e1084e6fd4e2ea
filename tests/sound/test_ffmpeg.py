from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from musigan.errors import AudioError
from musigan.sound import ffmpeg
from musigan.sound.audio import decode, encode
from tests.sounds import noise, pitch, tones, write

needs_ffmpeg = pytest.mark.skipif(ffmpeg.find_ffmpeg() is None, reason="there is no ffmpeg")


def fake(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of our own in ffmpeg's place."""
    program = folder / "ffmpeg"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: (str(program), "the test"))


def wav(rate: int, signal: np.ndarray) -> bytes:
    """What ffmpeg writes to a pipe, with a list of words before the sound."""
    channels = len(signal)
    form = struct.pack("<HHIIHH", 3, channels, rate, 4 * channels * rate, 4 * channels, 32)
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"LIST\5\0\0\0INFO!\0data\xff\xff\xff\xff"
    return header + signal.T.astype("<f4").tobytes()


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    path = tmp_path / "x.wma"
    path.write_bytes(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(range(200)) * 5)
    return path


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    path = tmp_path / "x.m4a"
    encode([tones(3, 44100, 440, 990)], 44100, path, "m4a", tags={"title": "T"})
    return path


def test_what_the_program_writes_is_read(unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(1, 12000)
    (tmp_path / "answer").write_bytes(wav(12000, sound) + b"\0\0\0")
    fake(tmp_path, f"cat {tmp_path}/answer", monkeypatch)
    np.testing.assert_array_equal(decode(unknown).signal, sound)


def test_complaints_of_a_program_that_goes_on_become_a_warning(
    unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answer").write_bytes(wav(12000, noise(1, 12000)))
    fake(tmp_path, f"cat {tmp_path}/answer; echo header missing >&2", monkeypatch)
    assert decode(unknown).warnings == ("damaged; ffmpeg kept what decodes",)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'x: Invalid data found' >&2; exit 1", "neither libsndfile nor ffmpeg can read it"),
        ("echo \"Stream map '' matches no streams.\" >&2; exit 1", "no audio stream"),
        ("exit 0", "no samples"),
        ("cat /dev/zero | head -c 100000", "something other than sound"),
        ("kill -9 $$", "can read it"),
    ],
)
def test_a_program_that_fails(
    script: str, reason: str, unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, script, monkeypatch)
    with pytest.raises(AudioError, match=reason) as caught:
        decode(unknown)
    assert "\n" not in str(caught.value)


def test_a_program_that_hangs_is_stopped(unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr(ffmpeg, "_LEAST_LIMIT_SECONDS", 0.3)
    before = time.perf_counter()
    with pytest.raises(AudioError, match="stopped"):
        decode(unknown, seconds=0.1)
    assert time.perf_counter() - before < 5


def test_the_program_ends_when_enough_is_read(unknown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answer").write_bytes(wav(12000, noise(40, 12000)))
    fake(tmp_path, f"echo $$ > {tmp_path}/pid; cat {tmp_path}/answer; exec sleep 30", monkeypatch)
    before = time.perf_counter()
    assert decode(unknown, seconds=2).seconds == 2
    assert time.perf_counter() - before < 10
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_its_standard_input_is_closed(unknown: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from musigan.sound import audio, ffmpeg
ffmpeg.find_ffmpeg = lambda: ({str(tmp_path / "eater")!r}, "")
try: audio.decode({str(unknown)!r})
except audio.AudioError: pass
print(sys.stdin.read())
"""
    (tmp_path / "eater").write_text("#!/bin/sh\ncat >/dev/null\n")
    (tmp_path / "eater").chmod(0o755)
    result = subprocess.run([sys.executable, "-c", script], input=b"precious", stdout=subprocess.PIPE, check=True)
    assert result.stdout == b"precious\n"


@needs_ffmpeg
@pytest.mark.parametrize("name", ["x.m4a", "x.mp3", "file:colon.m4a", "-i.m4a", "a\nb %d.m4a"])
def test_m4a_under_any_name(name: str, m4a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    m4a.rename(tmp_path / name)
    recording = decode(name)
    assert recording.seconds == pytest.approx(3.0, abs=0.05)
    assert pitch(recording.signal[1, 6000:30000], 12000) == pytest.approx(990, abs=1)
    assert recording.title == "T"


def test_without_ffmpeg_the_message_names_the_extra(unknown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    with pytest.raises(AudioError, match=r"Windows Media \(wma\); pip install \"musigan\[ffmpeg\]\" would read it"):
        decode(unknown)


@needs_ffmpeg
def test_video_without_sound_and_pictures_are_no_music(tmp_path: Path) -> None:
    found = ffmpeg.find_ffmpeg()
    assert found is not None
    path = tmp_path / "silent.mp4"
    picture = tmp_path / "picture.mp3"
    make = [found[0], "-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=c=red:s=32x32:d=1"]
    subprocess.run([*make, "-c:v", "mpeg4", str(path)], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(
        [*make, "-frames:v", "1", "-f", "image2", "-c:v", "bmp", str(picture)], check=True, stdin=subprocess.DEVNULL
    )
    with pytest.raises(AudioError, match="no audio stream"):
        decode(path)
    with pytest.raises(AudioError, match="no audio could be decoded"):
        decode(picture)


@needs_ffmpeg
@pytest.mark.parametrize(
    "script",
    ["ffconcat version 1.0\nfile {song}\n", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{song}\n#EXT-X-ENDLIST\n"],
)
@pytest.mark.parametrize("past_our_own_check", [False, True])
def test_no_playlist_is_followed(script: str, past_our_own_check: bool, tmp_path: Path) -> None:
    song = write(tmp_path / "secret.mp3", noise(2, 44100), 44100)
    path = tmp_path / "list.mp3"
    path.write_text(script.format(song=song.name))
    with pytest.raises(AudioError):
        decode(path) if not past_our_own_check else list(ffmpeg.decoded_blocks(str(path), None, []))


@needs_ffmpeg
def test_a_damaged_flac_goes_on_behind_the_damage(tmp_path: Path) -> None:
    sound = np.concatenate([tones(5, 44100, 500, 700), tones(5, 44100, 900, 1100)], axis=1)
    path = write(tmp_path / "x.flac", sound + noise(10, 44100, 0.01), 44100)
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 4 + 5000] = np.random.default_rng(0).bytes(5000)
    path.write_bytes(data)
    recording = decode(path)
    assert recording.seconds > 9
    assert pitch(recording.signal[0, -24000:], 12000) == pytest.approx(900, abs=1)
    assert recording.warnings

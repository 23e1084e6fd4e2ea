from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan import doctor, store
from musigan.analysis.stores import DecodingRequest
from musigan.errors import AudioError, UsageError
from musigan.files.finding import MediaFile
from musigan.sound import audio, decoding
from musigan.sound.audio import content_hash, decode, decode_many
from musigan.sound.takes import Take
from tests import sounds
from tests.sessions import Session
from tests.sounds import noise, pitch, tones, write

KINDS = ["mp3", "wav", "float.wav", "flac", "ogg", "opus", "aiff"]


@pytest.fixture(scope="module")
def song() -> bytes:
    return sounds.two_tone_mp3()


# What is decoded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [44100, 48000, 12000])
def test_pitch_sides_level_and_length_are_kept(kind: str, rate: int, tmp_path: Path) -> None:
    if (kind, rate) == ("opus", 44100):
        pytest.skip("Opus has no such rate")
    path = write(tmp_path / f"x.{kind}", tones(2.5, rate, 441, 662), rate, kind)
    recording = decode(path)
    assert recording.sample_rate == 12000
    assert recording.signal.dtype == np.float32
    assert recording.signal.flags.c_contiguous
    assert recording.signal.shape == (2, 30000)
    left, right = recording.signal[:, 3000:27000]
    assert pitch(left, 12000) == pytest.approx(441, abs=0.6)
    assert pitch(right, 12000) == pytest.approx(662, abs=0.6)
    assert np.std(left) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    assert np.std(right) == pytest.approx(0.25 / np.sqrt(2), rel=0.03)
    assert recording.warnings == ()
    assert recording.seconds_total == pytest.approx(2.5)


def test_what_12_khz_cannot_hold_does_not_fold_back(tmp_path: Path) -> None:
    path = write(tmp_path / "high.wav", tones(2, 44100, 7000, 15000, level=1.0), 44100, "float.wav")
    assert np.abs(decode(path).signal[:, 1000:-1000]).max() < 1e-5


@pytest.mark.parametrize("kind", ["mp3", "wav", "flac", "ogg"])
def test_the_part_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    sound = np.concatenate([tones(4, 44100, 500, 700), tones(3, 44100, 900, 1200)], axis=1)
    sound[:, 4 * 44100 + 22050] = 1.0  # a click at 4.5 s
    path = write(tmp_path / f"x.{kind}", sound, 44100)
    part = decode(path, start_seconds=3.5, seconds=2.25).signal
    assert part.shape == (2, 27000)
    click = part - decode(path, start_seconds=0.0, seconds=None).signal[:, 42000:69000]
    assert np.abs(click[:, 200:-200]).max() < 2e-3
    assert pitch(part[0, :5500], 12000) == pytest.approx(500, abs=3)
    assert pitch(part[0, 14000:], 12000) == pytest.approx(900, abs=2)


def test_start_at_the_rate_of_the_file_is_exact_to_the_sample(tmp_path: Path) -> None:
    sound = noise(3, 12000)
    path = write(tmp_path / "x.wav", sound, 12000, "float.wav")
    np.testing.assert_array_equal(decode(path, start_seconds=1.0, seconds=0.5).signal, sound[:, 12000:18000])


def test_a_start_behind_the_end_is_an_error(song: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(song)
    with pytest.raises(AudioError, match="no samples in it after 60 s"):
        decode(tmp_path / "x.mp3", start_seconds=60)


def test_no_more_is_read_than_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.mp3", noise(60, 22050), 22050)
    monkeypatch.setattr(decoding, "_BLOCK_FRAMES", 22050)
    read: list[int] = []
    reader = decoding.read_libsndfile

    def counting(request: decoding.Request, report: decoding.Report):  # type: ignore[no-untyped-def]
        for rate, block in reader(request, report):
            read.append(len(block))
            yield rate, block

    monkeypatch.setattr(decoding, "read_libsndfile", counting)
    assert decode(path, seconds=5).seconds == 5
    assert sum(read) <= 7 * 22050


def test_channels(tmp_path: Path) -> None:
    mono = write(tmp_path / "mono.wav", tones(1, 12000, 500), 12000, "float.wav")
    stereo = write(tmp_path / "stereo.wav", tones(1, 12000, 500, 800), 12000, "float.wav")
    doubled = decode(mono, channels="stereo").signal
    assert doubled.shape == (2, 12000)
    np.testing.assert_array_equal(doubled[0], doubled[1])
    assert decode(mono, channels="keep").signal.shape == (1, 12000)
    assert decode(stereo, channels="keep").signal.shape == (2, 12000)
    mixed = decode(stereo, channels="mono").signal
    np.testing.assert_allclose(mixed, tones(1, 12000, 500, 800).mean(axis=0, keepdims=True), atol=1e-6)


def test_surround_becomes_stereo_without_its_effects_channel(tmp_path: Path) -> None:
    six = np.zeros((6, 12000), np.float32)
    six[0], six[2], six[3], six[5] = 0.5, 0.3, 0.9, 0.2  # left, centre, effects, right surround
    path = write(tmp_path / "six.wav", six, 12000, "float.wav")
    total = 1 + 2 * np.sqrt(0.5)
    left, right = decode(path).signal[:, 6000] * total
    assert left == pytest.approx(0.5 + 0.3 * np.sqrt(0.5), abs=1e-4)
    assert right == pytest.approx((0.3 + 0.2) * np.sqrt(0.5), abs=1e-4)
    assert decode(path, channels="keep").signal.shape[0] == 6


@pytest.mark.parametrize("count", range(3, 12))
def test_no_downmix_clips(count: int) -> None:
    mixed = audio._mixed(np.ones((5, count), np.float32), "stereo", 0)
    assert mixed.shape == (5, 2)
    np.testing.assert_allclose(mixed, 1.0, rtol=1e-6)


def test_too_short_is_said_with_both_lengths(song: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(song)
    assert decode(tmp_path / "x.mp3", min_seconds=6.0).seconds == 6.0
    with pytest.raises(AudioError, match=r"too short: 6.00 s, at least 20 s"):
        decode(tmp_path / "x.mp3", min_seconds=20)


@pytest.mark.parametrize("wrong", [{"sample_rate": 0}, {"seconds": 0.0}, {"start_seconds": -1.0}, {"channels": "quad"}])
def test_arguments_of_no_sense(wrong: dict[str, object], song: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(song)
    with pytest.raises(UsageError):
        decode(tmp_path / "x.mp3", **wrong)  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.sampled_from([12000, 44100, 8000]))
def test_how_the_sound_is_cut_into_blocks_does_not_matter(sizes: list[int], rate: int) -> None:
    sound = noise(sum(sizes) / rate, rate).T[: sum(sizes)]
    request, plan = decoding.Request("", 0.01, None), audio._OutputFormat(12000, "stereo", None)

    def collect(blocks: list[np.ndarray]) -> np.ndarray:
        report = decoding.Report()
        collector = audio._Collector(request, plan)
        for block in blocks:
            collector.add(rate, block, report)
        return collector.take(report).signal()

    whole = collect([sound])
    np.testing.assert_allclose(collect(np.split(sound, np.cumsum(sizes)[:-1])), whole, atol=1e-6)


# Identity


def test_copies_links_and_retagged_files_are_one_recording(song: bytes, tmp_path: Path) -> None:
    original = tmp_path / "a.mp3"
    original.write_bytes(song)
    shutil.copy(original, tmp_path / "b.mp3")
    os.link(original, tmp_path / "c.mp3")
    (tmp_path / "d.mp3").write_bytes(sounds.id3_tag(70000) + song + b"TAG" + b"another title".ljust(125, b"\0"))
    hashes = {content_hash(decode(path).signal) for path in sorted(tmp_path.iterdir())}
    assert len(hashes) == 1


def test_a_lossless_copy_is_the_same_recording(tmp_path: Path) -> None:
    samples = np.rint(noise(2, 44100) * 32767).astype(np.int16)
    files = [tmp_path / name for name in ("a.wav", "b.flac", "c.aiff")]
    for path in files:
        soundfile.write(path, samples.T, 44100, "PCM_16")
    assert len({content_hash(decode(path).signal) for path in files}) == 1


def test_other_sound_is_another_recording() -> None:
    sound = noise(1, 12000)
    changed = sound.copy()
    changed[1, 7000] += 0.01
    others = [sound, sound[::-1], sound[:, :-1], sound[:1], -sound, changed, np.zeros((2, 12000), np.float32)]
    assert len({content_hash(other) for other in others}) == len(others)
    assert content_hash(np.asfortranarray(sound)) == content_hash(sound)


# Many files


def found(path: Path) -> MediaFile:
    return MediaFile(path, path.name)


def test_many_come_in_order_with_errors_in_their_places(tmp_path: Path) -> None:
    paths = []
    for i in range(9):
        path = tmp_path / f"{i}.wav"
        if i in (2, 5):
            path.write_bytes(b"")
        else:
            write(path, tones(8 if i == 0 else 0.5, 44100, 300 + 100 * i), 44100)
        paths.append(path)
    outcomes = list(decode_many(map(found, paths), jobs=3))
    assert [outcome.found.path for outcome in outcomes] == paths
    for i, outcome in enumerate(outcomes):
        if i in (2, 5):
            assert outcome.recording is None
            assert "empty" in str(outcome.error)
        else:
            assert outcome.error is None
            assert outcome.recording is not None
            assert pitch(outcome.recording.signal[0], 12000) == pytest.approx(300 + 100 * i, abs=2)


def test_look_ahead_is_bounded_and_closing_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    taken: list[int] = []
    go_on, stops = threading.Event(), []

    def fake(path: Path, *rest: object) -> audio.Recording:
        started.append(str(path))
        stops.append(rest[-1])
        if str(path) != "0":
            go_on.wait(10)
        return audio.Recording(Take([np.zeros((2, 10), np.float32)]), 12000)

    def items():  # type: ignore[no-untyped-def]
        for i in range(100):
            taken.append(i)
            yield MediaFile(Path(str(i)), str(i))

    monkeypatch.setattr(audio, "decode", fake)
    outcomes = decode_many(items(), jobs=3)
    assert next(outcomes).found.source == "0"
    time.sleep(0.05)
    assert len(taken) <= 4  # three beyond the first, which the caller may still hold
    outcomes.close()  # type: ignore[attr-defined]
    assert all(stop.is_set() for stop in stops)
    go_on.set()
    time.sleep(0.05)
    assert len(started) <= 4


def test_an_interrupted_decode_ends_soon(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(AudioError, match="interrupted"):
        decode(write(tmp_path / "x.wav", noise(1, 12000), 12000), stop=stop)


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("inf"), ValueError("a\nb"), ZeroDivisionError()])
def test_whatever_one_file_raises_is_its_own_failure(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    decode_well = audio.decode

    def fail_at_bad(path: Path, *rest: Any) -> audio.Recording:
        if path.name == "bad.wav":
            raise error
        return decode_well(path, *rest)

    monkeypatch.setattr(audio, "decode", fail_at_bad)
    good = write(tmp_path / "good.wav", tones(1, 12000, 500), 12000)
    session = Session()
    with store.write(str(tmp_path / "out.zip"), store.StoreHeader("waveform", 12000)) as writer:
        DecodingRequest(min_seconds=0).write([found(tmp_path / "bad.wav"), found(good)], 2, writer, session)
        assert writer.items == 1
    ((name, reason, _),) = session.skipped
    assert name == "bad.wav"
    assert "\n" not in reason


def test_many_agree_with_one_thread(song: bytes, tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.mp3").write_bytes(song[: len(song) - 997 * i])
    items = [found(path) for path in sorted(tmp_path.iterdir())]
    alone, together = (
        [content_hash(o.recording.signal) for o in decode_many(items, jobs) if o.recording] for jobs in (1, 6)
    )
    assert alone == together


def test_doctor_report_is_words() -> None:
    report = doctor.doctor_report()
    assert soundfile.__libsndfile_version__ in report["libsndfile"]
    assert "MP3" in report["libsndfile"]
    assert all(isinstance(line, str) and "\n" not in line for line in report.values())


@pytest.mark.parametrize(("right", "warns"), [(-1.0, True), (-0.95, True), (-0.5, False), (0.0, False), (1.0, False)])
def test_sides_that_cancel_each_other_out_are_told_in_mono(right: float, warns: bool, tmp_path: Path) -> None:
    left = tones(1, 44100, 440)
    path = write(tmp_path / "song.wav", np.concatenate((left, right * left)), 44100)
    assert any("cancel each other out" in each for each in decode(path, channels="mono").warnings) == warns
    assert decode(path).warnings == ()

"""Where channels belong, and how they become two."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musigan.sound import ffmpeg
from musigan.sound.audio import decode
from musigan.sound.layouts import layout_of, stereo_matrix

HERTZ = [300, 500, 700, 900, 1100, 1300, 1500, 1700]


def masked_wav(mask: int, signal: np.ndarray, rate: int) -> bytes:
    """A WAV of the extensible format, float32 (C, S)."""
    channels, data = len(signal), signal.T.astype("<f4").tobytes()
    form = struct.pack("<HHIIHHHHI", 0xFFFE, channels, rate, 4 * channels * rate, 4 * channels, 32, 22, 32, mask)
    form += bytes.fromhex("0300000000001000800000aa00389b71")
    start = b"RIFF" + struct.pack("<I", 20 + len(form) + len(data)) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return start + b"data" + struct.pack("<I", len(data)) + data


def heard(path: Path) -> list[dict[str, float]]:
    """Return the level of each channel's tone on the left and the right, in parts of FL's or FR's, by their number."""
    signal = decode(path, sample_rate=12000).signal
    spectra = 2 * np.abs(np.fft.rfft(signal[:, :12000])) / 12000
    return [{str(n): round(float(side[f]), 2) for n, f in enumerate(HERTZ) if side[f] > 0.005} for side in spectra]


def played(count: int) -> np.ndarray:
    times = np.arange(13000) / 12000
    return np.stack([0.5 * np.sin(2 * np.pi * f * times) for f in HERTZ[:count]]).astype(np.float32)


# By mask: which channels are heard on the left and the right, and how loud.
MASKED = {
    "2.1": (0xB, "1 0", "0 1"),  # front, and a third one for effects
    "3.0": (0x7, "1 0 .7", "0 1 .7"),
    "4.0": (0x107, "1 0 .7 .7", "0 1 .7 .7"),  # one behind
    "quad": (0x33, "1 0 .7 0", "0 1 0 .7"),
    "5.1": (0x3F, "1 0 .7 0 .7 0", "0 1 .7 0 0 .7"),
    "5.1 with sides": (0x60F, "1 0 .7 0 .7 0", "0 1 .7 0 0 .7"),
    "7.1": (0x63F, "1 0 .7 0 .7 0 .7 0", "0 1 .7 0 0 .7 0 .7"),
}


@pytest.mark.parametrize("name", MASKED)
def test_wav_by_its_mask(name: str, tmp_path: Path) -> None:
    mask, *sides = MASKED[name]
    (tmp_path / "x.wav").write_bytes(masked_wav(mask, played(mask.bit_count()), 12000))
    for side, gains in zip(heard(tmp_path / "x.wav"), sides, strict=True):
        wanted = np.array([{".7": np.sqrt(0.5)}.get(gain, gain) for gain in gains.split()], float)
        levels = 0.5 * wanted / wanted.sum()
        assert side == pytest.approx({str(n): level for n, level in enumerate(levels) if level}, abs=0.012)


@pytest.mark.parametrize("kind", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_16")])
def test_the_same_5_1_from_every_format(kind: tuple[str, str], tmp_path: Path) -> None:
    signal = played(6)
    signal[3 if kind[0] != "OGG" else 5] *= 0.1  # effects, of which encoders keep the lowest alone
    order = [0, 2, 1, 4, 5, 3] if kind[0] == "OGG" else list(range(6))  # of Vorbis: FL FC FR BL BR LFE
    rate = 48000
    times = np.arange(4 * 13000) / rate
    wide = np.stack([(0.05 if n == 3 else 0.5) * np.sin(2 * np.pi * f * times) for n, f in enumerate(HERTZ[:6])])
    soundfile.write(tmp_path / "x", wide[order].T, rate, kind[1], format=kind[0])
    left, right = heard(tmp_path / "x")
    total = 1 + 2 * np.sqrt(0.5)
    side = {"2": 0.5 * np.sqrt(0.5) / total}
    assert left == pytest.approx({"0": 0.5 / total, "4": side["2"], **side}, abs=0.03)
    assert right == pytest.approx({"1": 0.5 / total, "5": side["2"], **side}, abs=0.03)


@pytest.mark.parametrize("count", range(3, 9))
def test_vorbis_orders_hold_the_same_places_as_wave(count: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.ogg", np.zeros((4800, count)), 48000, "VORBIS", format="OGG")
    with soundfile.SoundFile(tmp_path / "x.ogg") as file:
        layout = layout_of(file, b"")
    assert len(layout) == len(set(layout)) == count
    np.testing.assert_allclose(
        np.sort(stereo_matrix(count, layout), axis=0), np.sort(stereo_matrix(count), axis=0), rtol=1e-6
    )


def test_flac_by_the_mask_in_its_comments(tmp_path: Path) -> None:
    import mutagen

    soundfile.write(tmp_path / "x.flac", 0.9 * played(3).T, 12000)
    assert set(heard(tmp_path / "x.flac")[0]) == {"0", "2"}
    file = mutagen.File(tmp_path / "x.flac")
    file["WAVEFORMATEXTENSIBLE_CHANNEL_MASK"] = "0x000B"  # 2.1
    file.save()
    assert [set(side) for side in heard(tmp_path / "x.flac")] == [{"0"}, {"1"}]


@pytest.mark.skipif(ffmpeg.find_ffmpeg() is None, reason="there is no ffmpeg")
def test_ffmpeg_by_its_mask(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(masked_wav(0x107, played(4), 12000))
    program = ffmpeg.find_ffmpeg()
    assert program is not None
    words = ["-v", "error", "-i", "x.wav", "-c:a", "alac", "x.m4a"]
    subprocess.run([program[0], *words], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    assert [set(side) for side in heard(tmp_path / "x.m4a")] == [{"0", "2", "3"}, {"1", "2", "3"}]


def test_effects_alone_are_silence() -> None:
    assert not stereo_matrix(1, ("LFE",)).any()

"""From a folder of sound files to a new MP3, through the tools' own processes and pipes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.analysis.bands import analyse
from musigan.sound.audio import decode
from tests import helpers
from tests.helpers import run, start


def first_line(music: Path, target: Path) -> None:
    """Run mp3-to-npy MUSIC | pair-chunks | npy-to-keys > TARGET."""
    with target.open("wb") as file:
        first = start("mp3-to-npy", music, "-q", stdout=subprocess.PIPE)
        second = start("pair-chunks", "-q", stdin=first.stdout, stdout=subprocess.PIPE)
        third = start("npy-to-keys", "-q", stdin=second.stdout, stdout=file)
        for process in (first, second):
            assert process.stdout is not None
            process.stdout.close()
        assert [process.wait(120) for process in (first, second, third)] == [0, 0, 0]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    helpers.write_sound(folder / "first.wav", helpers.tune(41, [37, 40, 44, 49, 52], 1))
    (folder / "more").mkdir()
    helpers.write_sound(folder / "more" / "second.wav", helpers.tune(63, [42, 45, 49], 2))
    return folder


def test_the_three_lines_end_in_an_mp3_that_plays(music: Path, tmp_path: Path) -> None:
    keys, checkpoint, out = tmp_path / "keys.zarr", tmp_path / "ckpt.pt", tmp_path / "out.mp3"
    first_line(music, keys)
    with store.open_reader(str(keys), ("keys",)) as reader:
        assert [(info.song.source, info.shape) for info in reader.infos()] == [
            ("first.wav", (2, 2, 3, 88, 500)),
            ("more/second.wav", (3, 2, 3, 88, 500)),
        ]
    arguments = ["--epochs", 3, "--pretrain-epochs", 1, "--critic-epochs", 1, "--batch-size", 5, "-o", checkpoint]
    quick = [word for size in helpers.QUICK for word in ("--set", size)]
    trained = run("train-gan", keys, *arguments, *quick, timeout=300)
    assert trained.returncode == 0, trained.stderr.decode()
    assert (tmp_path / "ckpt.run" / "metrics.jsonl").read_text()
    drawn = run("sample", checkpoint, "-n", 2, "--seconds", 12)
    assert drawn.returncode == 0, drawn.stderr.decode()
    written = run("keys-to-mp3", out, "--crossfade", 1, data=drawn.stdout)
    assert written.returncode == 0, written.stderr.decode()
    recording = decode(out, seconds=None)
    assert recording.seconds == pytest.approx(2 * 12 - 1, abs=0.2)
    assert 0.01 < np.abs(recording.signal).max() <= 1


def test_a_song_as_keys_is_still_the_song(music: Path, tmp_path: Path) -> None:
    """Sound -> keys -> MP3 -> keys: notes stay where they were, on the same side, at the same loudness."""
    waveform, keys = tmp_path / "song.npy", tmp_path / "song.keys"
    assert run("mp3-to-npy", music / "first.wav", "-o", waveform).returncode == 0
    assert run("npy-to-keys", waveform, "-o", keys).returncode == 0
    assert run("keys-to-mp3", tmp_path / "song.mp3", keys, "--fade", 0, "--timbre", "sine").returncode == 0
    with store.open_reader(str(keys)) as reader:
        (item,) = reader
        rolls = item.array.astype(np.float32)  # (chunks, C, K, T)
        settings = reader.header.key_settings
    original = np.concatenate(list(rolls), axis=-1)[:2]  # (C, K, T), the sides
    recording = decode(tmp_path / "song.mp3", seconds=None)
    again, _ = analyse(recording.signal, 12000, settings)
    again = again[..., : original.shape[-1]]
    cosine = (original * again).sum() / np.sqrt((original**2).sum() * (again**2).sum())
    assert cosine > 0.95
    assert again[0].sum() > 1.5 * again[1].sum()  # louder on the left
    strongest = original[0].sum(axis=1).argsort()[-5:] + settings.keys.low
    assert set(strongest) == {37, 40, 44, 49, 52}


def test_pairs_of_a_song_join_without_a_seam(music: Path, tmp_path: Path) -> None:
    """A steady tone cut into pairs sounds on through every seam: no click, no gap."""
    tone = np.sin(2 * np.pi * 440 * np.arange(60 * helpers.RATE) / helpers.RATE).astype(np.float32)
    helpers.write_sound(tmp_path / "tone.wav", np.stack([0.3 * tone, 0.3 * tone]))
    keys = tmp_path / "keys.zarr"
    first_line(tmp_path / "tone.wav", keys)
    assert run("keys-to-mp3", tmp_path / "out.wav", keys, "--fade", 0, "--timbre", "sine").returncode == 0
    signal = decode(tmp_path / "out.wav", seconds=None).signal[0]
    inner = signal[helpers.RATE : -helpers.RATE]
    envelope = np.abs(inner[: len(inner) // 300 * 300].reshape(-1, 300)).max(axis=1)
    assert envelope.min() > 0.9 * envelope.max()
    steps = np.abs(np.diff(inner, 2))
    assert steps.max() < 1.3 * np.median(np.sort(steps)[-1000:])

"""Tools on a store of recordings with drums: what is heard, seen, written, judged and drawn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from musigan import store
from musigan.settings import write_yaml
from tests import tiny
from tests.helpers import one_line, run
from tests.musicstores import write_recordings

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TRACKS = ("left", "right", "drums")
DRUM_CHANNEL = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """played, silent, sides: the same recordings with drums, with silent drums, and without; ckpt.pt of the first."""
    folder = tmp_path_factory.mktemp("drummed")
    for name, drums in (("played", "played"), ("silent", "silent"), ("sides", None)):
        write_recordings(folder / name, drums, songs=9, pairs=4)
    settings = {"model": "musegan", "network": tiny.NETWORKS["musegan"], "batch_size": 3}
    (folder / "tiny.yaml").write_text(write_yaml(settings))
    flags = ["--config", folder / "tiny.yaml", "--steps-limit", 1, "--evaluate-every", 0, "--sample-every", 0]
    done = call(folder, "train-gan", "played", *flags, "-o", "ckpt.pt")
    assert done.returncode == 0, done.stderr
    return folder


def call(folder: Path, tool: str, *words: object):  # type: ignore[no-untyped-def]
    return run(tool, *words, cwd=folder, env=ENVIRONMENT)


def sound_of(folder: Path, name: str, *flags: object) -> tuple[np.ndarray, int]:
    out = folder / f"{name}.wav"
    done = call(folder, "keys-to-mp3", out, name, "--force", *flags)
    assert done.returncode == 0, done.stderr
    signal, rate = soundfile.read(out)
    return signal, rate


def test_drums_are_heard_and_silent_ones_change_nothing(folder: Path) -> None:
    for name in ("silent", "sides"):
        call(folder, "keys-to-mp3", f"{name}.wav", name, "--sample-rate", 44100)
    assert (folder / "silent.wav").read_bytes() == (folder / "sides.wav").read_bytes()
    played, rate = sound_of(folder, "played", "--lufs", "none")
    assert rate == 44100
    sides, _ = sound_of(folder, "sides", "--lufs", "none", "--sample-rate", rate)
    assert played.shape == sides.shape
    power = [np.abs(np.fft.rfft(signal[:, 0])) ** 2 for signal in (played, sides)]
    above = [part[part.size // 3 :].sum() / part.sum() for part in power]  # over 7 kHz
    assert above[0] > 10 * above[1]


def test_drums_are_written_on_channel_10_and_sides_as_one_piano(folder: Path) -> None:
    for name in ("played", "sides"):
        done = call(folder, "keys-to-midi", f"{name}.mid", name, "--force")
        assert done.returncode == 0, done.stderr
    played, sides = (mido.MidiFile(folder / f"{name}.mid") for name in ("played", "sides"))

    def notes(file: mido.MidiFile, is_drums: bool) -> list[tuple[int, int, int]]:
        found, tick = [], 0
        for message in mido.merge_tracks(file.tracks):
            tick += message.time
            if message.type == "note_on" and (message.channel == DRUM_CHANNEL) == is_drums:
                found.append((tick, message.note, message.velocity))
        return sorted(found)

    assert notes(played, False) == notes(sides, False)
    assert not notes(sides, True)
    assert {pitch for _, pitch, _ in notes(played, True)} == {36, 38, 42}
    strokes = [pitch for _, pitch, _ in notes(played, True)]
    assert strokes.count(42) == 2 * strokes.count(36)  # two hats a beat, though they still ring


def test_pictures_show_drums(folder: Path) -> None:
    words = ["--items", "1", "--force"]
    for out, name, *flags in (
        ("a.png", "played"), ("b.png", "sides"), ("c.png", "played", "--track", "drums"), ("d.png", "silent"),
    ):  # fmt: skip
        done = call(folder, "plot-keys", name, "-o", out, *words, *flags)
        assert done.returncode == 0, done.stderr
    a, b, c, d = ((folder / name).read_bytes() for name in ("a.png", "b.png", "c.png", "d.png"))
    assert a != b
    assert c not in (a, b)
    assert d not in (a, b)  # the key beside it names the drums, though none is struck
    done = call(folder, "plot-keys", "played", "-o", "e.png", "--track", "bass")
    assert "left, right, drums" in one_line(done.stderr)


def test_check_describes_and_stores_of_other_channels_are_named(folder: Path) -> None:
    done = call(folder, "musigan check", "played")
    assert done.returncode == 0, done.stderr
    assert "tracks left right drums" in (done.stdout + done.stderr).decode()
    done = call(folder, "sample", "ckpt.pt", "-n", 1, "--seconds", 1, "--prime", "sides", "-o", "x", "--force")
    assert done.returncode != 0


def test_drawn_music_has_drums_and_a_given_track_stays(folder: Path) -> None:
    done = call(folder, "sample", "ckpt.pt", "-n", 2, "--seconds", 1, "-o", "drawn", "--force")
    assert done.returncode == 0, done.stderr
    with store.open_reader(str(folder / "drawn")) as reader:
        assert reader.header.tracks == TRACKS
        assert all(item.array.shape[1] == 3 and item.dimension_names[1] == "tracks" for item in reader)
    given = ["--keep", "drums", "--with", "played"]
    done = call(folder, "sample", "ckpt.pt", "--seconds", 1, *given, "-o", "kept", "--force")
    assert done.returncode == 0, done.stderr
    with store.open_reader(str(folder / "kept")) as kept, store.open_reader(str(folder / "played")) as songs:
        drawn, song = next(iter(kept)).array, next(iter(songs)).array
    frames = song.shape[-1]
    np.testing.assert_allclose(drawn[0, 2, :, :frames], song[0, 0, 2], atol=2e-3)
    done = call(folder, "sample", "ckpt.pt", "--seconds", 1, "--keep", "bass", "--with", "played", "-o", "y")
    assert "left, right, drums" in one_line(done.stderr)


def test_evaluate_judges_drums_of_recordings(folder: Path) -> None:
    done = call(folder, "evaluate", "played", "--bootstraps", 10, "--splits", 0, "--no-baselines", "--json", "-j", 1)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert "polyphony" in table["rows"]["floor"]["metrics"]
    assert "distance of tracks" not in table["rows"]["floor"]["metrics"]

"""MIDI to a checkpoint that goes by style, tempo and given tracks, and back to MIDI: the tools one after another."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest

from musigan import store
from musigan.settings import write_yaml
from tests import midifiles, tiny
from tests.helpers import one_line, run, run_each

TRACKS = ["drums", "piano", "guitar", "bass", "strings"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys of MIDI files in two folders, folk and rock, and a tiny musegan of them: ckpt.pt."""
    folder = tmp_path_factory.mktemp("musegan")
    names = {f"{kind}/{n}.mid": midifiles.song(n, 12) for n, kind in enumerate(("folk", "rock") * 3)}
    music = midifiles.folder(folder / "music", names)
    cut = ["--chunk-seconds", 0.48, "--keys", "30:60", "--validation", 0.2]
    done = run("midi-to-keys", music, "-o", folder / "keys", *cut)
    assert done.returncode == 0, done.stderr
    settings = {
        "model": "musegan",
        "network": tiny.NETWORKS["musegan"],
        "batch_size": 4,
        "augment": {"transpose_keys": 0},
    }
    (folder / "tiny.yaml").write_text(write_yaml(settings))
    flags = ["--epochs", 4, "--evaluate-every", 0, "--sample-every", 0, "-o", folder / "ckpt.pt"]
    done = run("train-gan", folder / "keys", "--config", folder / "tiny.yaml", *flags)
    assert done.returncode == 0, done.stderr
    return folder


def rolls(path: Path) -> list[np.ndarray]:
    with store.open_reader(str(path)) as reader:
        assert reader.header.tracks == tuple(TRACKS)
        return [np.concatenate(list(item.array.astype(np.float32)), axis=-1) for item in reader]


def test_style_and_tempo_go_into_what_is_drawn(folder: Path, tmp_path: Path) -> None:
    line = [folder / "ckpt.pt", "-n", 1, "--seconds", 2]
    asked = (["--style", "folk"], ["--style", "rock"], ["--style", "FOLK"], ["--style", "folk", "--tempo", 71])
    done = run_each("sample", *([*line, *flags, "-o", tmp_path / str(i)] for i, flags in enumerate(asked)))
    assert [each.returncode for each in done] == [0] * 4, [each.stderr for each in done]
    folk, rock, again, slow = (rolls(tmp_path / str(number))[0] for number in range(4))
    np.testing.assert_array_equal(folk, again)
    assert not np.array_equal(folk, rock)
    assert not np.array_equal(folk, slow)
    unknown, odd = run_each("sample", [*line, "--style", "jazz"], [*line, "--tempo", 3])
    assert (unknown.returncode, odd.returncode) == (2, 2)
    assert "--style jazz" in one_line(unknown.stderr)
    assert "folk, rock" in one_line(unknown.stderr)


def test_a_kept_track_is_the_song_s_own_to_the_end(folder: Path, tmp_path: Path) -> None:
    line = [folder / "ckpt.pt", "--seconds", 2]
    done = run("sample", *line, "--keep", "piano", "--with", folder / "keys", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    made = rolls(tmp_path / "out")
    with store.open_reader(str(folder / "keys")) as reader:
        for item, roll in zip(reader, made, strict=True):
            song = np.concatenate([chunk for pair in item.array for chunk in pair], axis=-1)[1]
            frames = 100  # the 2 s that are asked for; behind them whole chunks are filled up
            assert song[:, :frames].any()
            np.testing.assert_allclose(roll[1, :, :frames], song[:, :frames], atol=2e-3)
    done = run("keys-to-midi", tmp_path / "out.mid", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "piano" in [track.name for track in mido.MidiFile(tmp_path / "out.mid").tracks]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["--keep", "piano"], "give both"),
        (["--keep", "harp", "--with", "keys"], "drums, piano, guitar, bass"),
        (["--keep", "piano", "--with", "keys", "-n", 2], "leave -n, --best, --morph and --prime out"),
    ],
)
def test_what_cannot_be_asked_together(folder: Path, wanted: list[object], said: str) -> None:
    done = run("sample", folder / "ckpt.pt", *[folder / "keys" if word == "keys" else word for word in wanted])
    assert done.returncode == 2, done.stderr
    assert said in one_line(done.stderr)
    assert done.stdout == b""

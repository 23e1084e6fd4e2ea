"""The library's public face: what `import musigan` offers, how little it costs, and the README's lines of Python."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import musigan
from musigan.checkpoints import checkpoint
from musigan.rolls.keysettings import KeySettings
from tests import sounds, tiny
from tests.tiny import start

README = Path(__file__).parent.parent / "README.md"
RATE = 44_100


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of all 88 keys, an untrained checkpoint of it, and a song in stereo: A4 and A5."""
    monkeypatch.setattr(tiny, "KEYS", 88)
    monkeypatch.setattr(tiny, "HEADER", tiny.HEADER.with_keys(KeySettings()))
    store = tiny.write_keys(tmp_path / "keys.zarr")
    run, _ = start(store, tiny.settings())
    checkpoint.save(tmp_path / "ckpt.pt", run.snapshot())
    sounds.write(tmp_path / "song.flac", sounds.tones(2.0, RATE, 440.0, 880.0), RATE)
    return tmp_path


def test_the_readme_in_python(home: Path) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", block], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 songs to learn from, [1 1] keys in use left and right\n"
    assert {path.name for path in home.glob("*.wav")} == {"piece-1.wav", "piece-2.wav"}


def test_everything_named_is_there_and_documented() -> None:
    for name in musigan.__all__:
        assert name == "__version__" or getattr(musigan, name).__doc__
    assert set(musigan.__all__) == {name for name in musigan.__all__ if name in dir(musigan)}
    errors = [getattr(musigan, name) for name in musigan.__all__ if name.endswith("Error")]
    assert all(issubclass(error, musigan.MusiganError) for error in errors)
    assert re.fullmatch(r"\d+\.\d+\.\d+", musigan.__version__)


def test_importing_it_costs_next_to_nothing() -> None:
    """At most 30 ms of processor time, the best of five, which a busy machine does not change by much."""
    code = "import time; begin = time.process_time(); import musigan; print(time.process_time() - begin)"
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    assert min(seconds) < 0.03
    loaded = subprocess.run(
        [sys.executable, "-c", "import musigan, sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    ours = [name for name in loaded.stdout.split() if name.startswith("musigan")]
    assert sorted(ours) == ["musigan", "musigan.errors"]
    assert "numpy" not in loaded.stdout.split()


def test_a_checkpoint_draws_the_same_for_the_same_seed(home: Path) -> None:
    sampler = musigan.load(home / "ckpt.pt")
    pieces = sampler.sample(count=2, seconds=1.5, seed=3)
    assert [piece.number for piece in pieces] == [1, 2]
    assert all(piece.roll.shape == (2, 88, 75) for piece in pieces)
    assert not np.array_equal(pieces[0].roll, pieces[1].roll)
    np.testing.assert_array_equal(sampler.sample(count=1, seconds=1.5, seed=3)[0].roll, pieces[0].roll)
    with pytest.raises(musigan.UsageError, match="more than one frame"):
        sampler.sample(count=1, seconds=0)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_store_is_read_song_by_song(home: Path, as_text: bool) -> None:
    path = home / "keys.zarr"
    with musigan.read(str(path) if as_text else path) as songs:
        assert [song.title for song in songs] == ["Song 0", "Song 1", "Song 2"]


def test_a_file_and_its_samples_give_the_same_notes(home: Path) -> None:
    of_file = musigan.analyse(home / "song.flac")
    of_samples = musigan.analyse(sounds.tones(2.0, RATE, 440.0, 880.0), RATE)
    for roll in (of_file, of_samples):
        assert roll.shape == (2, 88, 100)
        assert [list(np.flatnonzero(side.any(axis=1))) for side in roll] == [[48], [60]]
    assert musigan.analyse(sounds.tones(0.5, RATE, 440.0)[0], RATE).shape == (1, 88, 25)


def test_a_roll_sounds_as_long_as_it_is_and_comes_back() -> None:
    roll = np.zeros((1, 12, 100), np.float32)
    roll[0, 9, 10:90] = 3.0
    sound = musigan.synthesise(roll, 22_050, "organ", low_key=40)
    assert sound.shape == (1, 100 * 441)
    assert np.abs(sound).max() == pytest.approx(10 ** (-2.5 / 20))
    assert list(np.flatnonzero(musigan.analyse(sound, 22_050)[0].any(axis=1))) == [48]
    assert not musigan.synthesise(np.zeros((2, 88, 3), np.float32)).any()


def test_what_cannot_be_done_is_said(home: Path) -> None:
    (home / "no.mp3").write_bytes(b"words")
    with pytest.raises(musigan.AudioError, match=r"no\.mp3: "):
        musigan.analyse(home / "no.mp3")
    with pytest.raises(musigan.UsageError, match="sample_rate"):
        musigan.analyse(np.zeros((1, 5), np.float32))
    with pytest.raises(musigan.CheckpointError):
        musigan.load(home / "no.mp3")
    with pytest.raises(musigan.SettingsError, match="--device"):
        musigan.load(home / "ckpt.pt", "abacus")
    with pytest.raises(musigan.MusiganError):
        musigan.read(home / "none.zarr")
    with pytest.raises(musigan.SettingsError, match="not on a piano"):
        musigan.synthesise(np.zeros((1, 40, 5), np.float32), low_key=60)

"""What a run leaves beside its checkpoint: figures, pictures and sound, and training undisturbed by them."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.errors import FieldError, MusiganError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.sound import lufs
from musigan.store import StoreHeader
from musigan.training import journal as journals
from musigan.training import logs, loop
from musigan.training.journal import Journal, write_sound
from musigan.training.requests import TrainingRequest
from tests import tiny
from tests.disks import limited_files
from tests.tiny import assert_same_weights, go_on, start

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SECONDS", 2.0)


@pytest.fixture
def _without_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "write_sound", lambda *a: None)
    monkeypatch.setattr(logs.TensorBoardLog, "sound", lambda *a: None)


@pytest.mark.usefixtures("_without_sound")
def test_journal_writes_figures_pictures_and_sound(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "ckpt.pt"
    heard: list[Path] = []

    def sound(rolls: list[Any], store: dict[str, Any], path: Path) -> None:
        assert rolls[0].shape[:2] == (tiny.CHANNELS, tiny.KEYS)
        heard.append(path)

    monkeypatch.setattr(journals, "write_sound", sound)
    settings = tiny.settings(sample_every=5, epochs=6)
    run, data = start(keys, settings)
    journal = Journal(target, run.history)
    reporter = tiny.Silent()
    loop.train(run, data, target, reporter, journal, steps_limit=4)
    journal.record({"stage": "variational", "epoch": 99, "step": 1})  # written, but not in the checkpoint
    journal.close()
    run, data = go_on(target, keys)
    journal = Journal(target, run.history)
    loop.train(run, data, target, reporter, journal)
    journal.close()
    folder = tmp_path / "ckpt.run"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["total_epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {path.name for path in heard} == {f"samples-{n:06d}.mp3" for n in (1, 2, 3, 5, 6)}
    assert (folder / "samples-000005.png").read_bytes()[:4] == b"\x89PNG"
    assert not [note for note in reporter.notes if "left out" in note]


@pytest.mark.usefixtures("_without_sound")
@pytest.mark.parametrize("name", [name for name in models.FAMILIES if name != "cyclegan"])
def test_every_family_that_draws_leaves_samples(name: str, keys: Path, tmp_path: Path) -> None:
    run, _ = start(keys, tiny.settings(name))
    journal, notes = Journal(tmp_path / "ckpt.pt", []), list[str]()
    journal.samples(run, 7, notes.append)
    journal.close()
    assert notes == []
    assert (tmp_path / "ckpt.run" / "samples-000007.png").exists()


@pytest.mark.usefixtures("_without_sound")
def test_samples_in_between_do_not_change_training(keys: Path, tmp_path: Path) -> None:
    with_samples, without = tmp_path / "with.pt", tmp_path / "without.pt"
    run, data = start(keys, tiny.settings(sample_every=1))
    journal = Journal(with_samples, [])
    loop.train(run, data, with_samples, tiny.Silent(), journal)
    journal.close()
    run, data = start(keys, tiny.settings())
    loop.train(run, data, without, tiny.Silent())
    assert_same_weights(with_samples, without)


@pytest.mark.parametrize("broken", ["write_sound", "Sampler"])
def test_samples_that_fail_are_noted_after_the_epoch_was_saved(
    broken: str, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings(sample_every=1, save_every=4))
    saved: list[int] = []

    def fail(*_: Any) -> None:
        run.networks["critic"].eval()
        saved.append(len(checkpoint.load(path).history))
        raise ZeroDivisionError("of\ntwo lines")

    monkeypatch.setattr(journals, broken, fail)
    journal, reporter = Journal(path, []), tiny.Silent()
    assert loop.train(run, data, path, reporter, journal)
    journal.close()
    assert saved == [1, 2, 3, 4]
    assert run.networks["critic"].training
    assert "samples of epoch 2 left out: ZeroDivisionError: of two lines" in reporter.notes


def test_no_samples_where_none_are_asked_for(keys: Path, tmp_path: Path) -> None:
    run, data = start(keys, tiny.settings(sample_every=0))
    journal = Journal(tmp_path / "ckpt.pt", [])
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), journal)
    journal.close()
    assert not list((tmp_path / "ckpt.run").glob("samples-*"))


def test_run_folders_do_not_meet(tmp_path: Path) -> None:
    names = ("ckpt.pt", "run.v1", "run.v2", "run")
    for name in names:
        Journal(tmp_path / name, []).close()
    assert {path.name for path in tmp_path.iterdir()} == {"ckpt.run", "run.v1.run", "run.v2.run", "run.run"}


def test_tensorboard_shows_repeated_steps_once(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history: list[dict[str, Any]] = []
    for sitting, last in enumerate((3, 4)):
        journal = Journal(tmp_path / "ckpt.pt", history)
        for step in range(len(history) + 1, last + 1):
            journal.record({"stage": "prior", "step": step, "flow": float(sitting)})
        journal.close()
        history = [{"step": 1}]  # the rest was not saved
    found = events.EventAccumulator(str(tmp_path / "ckpt.run"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("prior/flow")] == [(1, 0.0), (2, 1.0), (3, 1.0), (4, 1.0)]


def test_without_tensorboard_the_figures_are_in_a_file_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # importing it raises ImportError
    notes: list[str] = []
    journal = Journal(tmp_path / "ckpt.pt", [], notes.append)
    journal.record({"stage": "prior", "step": 7, "flow": 0.25})
    journal.close()
    [note] = notes
    assert "metrics.jsonl" in note
    assert 'pip install "musigan[tensorboard]"' in note
    assert [path.name for path in (tmp_path / "ckpt.run").iterdir()] == ["metrics.jsonl"]
    assert json.loads((tmp_path / "ckpt.run" / "metrics.jsonl").read_text())["flow"] == 0.25


def test_tensorboard_shows_and_plays_samples(keys: Path, tmp_path: Path) -> None:
    """The picture is the file beside it; the sound is heard of that, in mono, a megabyte for half a minute."""
    import soundfile

    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, _ = start(keys, tiny.settings())
    journal, notes = Journal(tmp_path / "ckpt.pt", []), list[str]()
    for epoch, step in ((1, 3), (4, 14)):
        run.position.total_steps = step
        journal.samples(run, epoch, notes.append)
    journal.close()
    assert notes == []
    folder = tmp_path / "ckpt.run"
    found = events.EventAccumulator(str(folder), {events.IMAGES: 0, events.AUDIO: 0})
    found.Reload()
    pictures, sounds = found.Images(logs.PICTURE), found.Audio(logs.SOUND)
    assert [each.step for each in pictures] == [each.step for each in sounds] == [3, 14]
    last = (folder / "samples-000004.png").read_bytes()
    assert pictures[-1].encoded_image_string == last
    size = int.from_bytes(last[16:20], "big"), int.from_bytes(last[20:24], "big")
    assert (pictures[-1].width, pictures[-1].height) == size
    assert sounds[-1].content_type == "audio/wav"
    signal, rate = soundfile.read(io.BytesIO(sounds[-1].encoded_audio_string))
    beside, beside_rate = soundfile.read(folder / "samples-000004.mp3", always_2d=True)
    assert signal.ndim == 1
    assert (rate, len(signal)) == (logs.SOUND_RATE, sounds[-1].length_frames)
    assert len(signal) / rate == pytest.approx(len(beside) / beside_rate, abs=0.1)
    assert signal.std() == pytest.approx(beside.mean(1).std(), rel=0.1, abs=1e-3)
    assert len(sounds[-1].encoded_audio_string) / (len(signal) / rate) < 33_000


class FakeWandb(ModuleType):
    """Stands in for the library: keeps what it is told, and fails to log once it is told to."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.options: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.is_finished = self.fails = False

    Settings = staticmethod(lambda **options: options)
    Image = staticmethod(lambda path: ("picture", path))
    Audio = staticmethod(lambda path: ("sound", path))

    def init(self, **options: Any) -> FakeWandb:
        if self.fails:
            raise RuntimeError("no key\nat all")
        self.options = options
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        if self.fails:
            raise ConnectionError("gone")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.is_finished = True


def test_wandb_is_shown_the_same(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, notes = FakeWandb(), list[str]()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(journals, "write_sound", lambda rolls, header, path: path.touch())
    run, _ = start(keys, tiny.settings())
    run.position.total_steps = 14
    journal = Journal(tmp_path / "ckpt.pt", [], notes.append)
    journal.close()  # of TensorBoard, which is another test's
    journal.logs[:] = [logs.WandbLog(journal.folder, "ckpt", {"seed": 7})]
    journal.record({"stage": "prior", "step": 14, "flow": 0.5, "evaluation": {"metrics": {"pulse": {"samples": 0.3}}}})
    journal.samples(run, 4, notes.append)
    beside = journal.folder / "samples-000004"
    assert wandb.logged == [
        (14, {"prior/flow": 0.5, "evaluation/pulse": 0.3}),
        (14, {"samples/rolls": ("picture", f"{beside}.png")}),
        (14, {"samples/sound": ("sound", f"{beside}.mp3")}),
    ]
    assert (wandb.options["project"], wandb.options["name"], wandb.options["config"]) == (
        "musigan",
        "ckpt",
        {"seed": 7},
    )
    wandb.fails = True
    journal.record({"stage": "prior", "step": 99, "flow": 0.5})  # a log that fails does not end hours of training
    journal.samples(run, 9, notes.append)  # nor does it cost the files
    assert {path.suffix for path in journal.folder.glob("samples-000009.*")} == {".png", ".mp3"}
    journal.close()
    assert [note for note in notes if "TensorBoard" not in note] == [
        "figures for a log left out: ConnectionError: gone",
        "samples for a log left out: ConnectionError: gone",
    ]
    assert wandb.is_finished


def test_where_wandb_is_not_to_be_had_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it raises ImportError
    with pytest.raises(MusiganError, match=r'pip install "musigan\[wandb\]"'):
        logs.import_wandb()
    wandb = FakeWandb()
    wandb.fails = True
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(MusiganError, match="no key at all") as caught:
        logs.WandbLog(tmp_path, "ckpt", {})
    assert "WANDB_MODE=offline" in str(caught.value)
    with pytest.raises(FieldError, match="log nowhere: expected wandb"):
        TrainingRequest(("keys",), log="nowhere")


def test_samples_sound(tmp_path: Path) -> None:
    """The MP3 of samples has their length, its tone where the roll has one, and the loudness of `keys-to-mp3`."""
    import soundfile

    settings = KeySettings(keys=KeyRange(45, 52))
    roll = np.zeros((2, 8, 50), np.float32)
    roll[:, 4, 5:45] = 0.5  # A4, key 49
    write_sound([roll, roll], StoreHeader("keys", 12000).with_keys(settings), tmp_path / "out.mp3")
    signal, rate = soundfile.read(tmp_path / "out.mp3")
    assert len(signal) / rate == pytest.approx(2.0, abs=0.15)
    assert lufs.measure(signal.T, rate) == pytest.approx(-14, abs=1)
    assert np.abs(signal).max() < 10 ** (-1 / 20)
    spectrum = np.abs(np.fft.rfft(signal[:, 0]))
    assert spectrum.argmax() * rate / len(signal) == pytest.approx(440, abs=3)


def test_figures_that_find_no_room_are_told_by_name_and_leave_no_half_of_a_line(tmp_path: Path) -> None:
    made = Journal(tmp_path / "ckpt.pt", [])
    made.record({"stage": "prior", "step": 1})
    before = (tmp_path / "ckpt.run" / "metrics.jsonl").read_bytes()
    with limited_files(len(before) + 20), pytest.raises(MusiganError, match=r"metrics.jsonl: cannot be written"):
        made.record({"stage": "prior", "step": 2, "loss": 0.123456789})
    made.close()
    assert (tmp_path / "ckpt.run" / "metrics.jsonl").read_bytes() == before


def test_samples_are_thinned_out_evenly(tmp_path: Path) -> None:
    for epoch in (*range(20, 420, 20), 500):  # the last is of another, longer run
        for suffix in ("png", "mp3"):
            (tmp_path / f"samples-{epoch:06d}.{suffix}").touch()
    (tmp_path / "samples-mine.png").touch()
    journals.thin_out(tmp_path, 400, 0)
    assert len(list(tmp_path.iterdir())) == 43
    journals.thin_out(tmp_path, 400, 6)
    kept = sorted(int(path.stem[8:]) for path in tmp_path.glob("samples-0*.mp3"))
    assert kept == sorted(int(path.stem[8:]) for path in tmp_path.glob("samples-0*.png"))
    assert (kept[0], kept[-2], kept[-1], len(kept)) == (20, 400, 500, 7)
    gaps = [after - before for before, after in pairwise(kept[:-1])]
    assert max(gaps) <= 3 * min(gaps)
    assert (tmp_path / "samples-mine.png").exists()

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.datasets.record import MusicRecord
from musigan.errors import CheckpointError
from musigan.rolls.shape import RollShape
from musigan.settings import as_mapping
from musigan.training import loop, runs
from tests import tiny
from tests.disks import limited_files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    settings = tiny.settings()
    data = tiny.dataset(tiny.write_keys(folder / "keys"), settings)
    run = runs.begin(settings, data, data.record(), settings.stage_epochs(), torch.device("cpu"))
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent(), steps_limit=10)
    return folder / "ckpt.pt"


def test_round_trip(trained: Path, tmp_path: Path) -> None:
    saved = checkpoint.load(trained)
    checkpoint.save(tmp_path / "again.pt", saved)
    again = checkpoint.load(tmp_path / "again.pt")
    for name in ("settings", "shape", "store", "data", "plan", "position", "history"):
        assert getattr(saved, name) == getattr(again, name)
    assert saved.optimisers.keys() == {"critic", "generator"}
    left, right = checkpoint.build_networks(saved), checkpoint.build_networks(again)
    for key, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[key])


def test_same_output_after_loading(trained: Path) -> None:
    networks = [checkpoint.build_networks(checkpoint.load(trained), averaged=True).eval() for _ in range(2)]
    outputs = []
    for network in networks:
        generator: Any = network["generator"]
        noise = generator.draw(2, tiny.FRAMES, torch.Generator().manual_seed(5))
        outputs.append(generator(noise, tiny.FRAMES)[0])
    assert torch.equal(*outputs)


def test_averaged_weights_are_others(trained: Path) -> None:
    saved = checkpoint.load(trained)
    live, averaged = (checkpoint.build_networks(saved, averaged=a)["generator"].state_dict() for a in (False, True))
    assert any(not torch.equal(live[key], averaged[key]) for key in live)


def test_nothing_is_left_beside_a_checkpoint(trained: Path) -> None:
    assert not [p for p in trained.parent.iterdir() if p.name.startswith(".")]


def test_failed_save_keeps_the_old_file(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, path = checkpoint.load(trained), tmp_path / "ckpt.pt"
    checkpoint.save(path, saved)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(path, saved)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


@pytest.mark.parametrize("short", [1, 300, 5000])
def test_a_full_disk_is_told_in_its_own_words(short: int, trained: Path, tmp_path: Path) -> None:
    saved, path = checkpoint.load(trained), tmp_path / "ckpt.pt"
    checkpoint.save(path, saved)
    before = path.read_bytes()
    with limited_files(len(before) - short), pytest.raises(CheckpointError, match=r"ckpt.pt: .*\(File too large"):
        checkpoint.save(path, saved)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]


def refused(path: Path, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        checkpoint.build_networks(checkpoint.load(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "checkpoint's" in str(caught.value)


class Malicious:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_malicious_pickles_are_refused_and_do_nothing(trained: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Malicious(mark)))
    refused(plain, "not a checkpoint")
    inside = tmp_path / "inside.pt"
    torch.save({"kind": checkpoint.KIND, "format": checkpoint.FORMAT, "settings": Malicious(mark)}, inside)
    refused(inside, "could run code")
    whole = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), whole)
    refused(whole, "could run code")
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.97, 0.9999])
def test_cut_short(share: float, trained: Path, tmp_path: Path) -> None:
    whole = trained.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "cut short")


def test_flipped_bytes_never_surprise(trained: Path, tmp_path: Path) -> None:
    whole = bytearray(trained.read_bytes())
    path = tmp_path / "flipped.pt"
    for place in range(0, len(whole), max(len(whole) // 25, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x5A
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            checkpoint.build_networks(checkpoint.load(path))


def test_a_flipped_bit_of_what_is_drawn_from_is_noticed(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    with zipfile.ZipFile(trained) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        data = archive.read(largest)
    whole = bytearray(trained.read_bytes())
    start = whole.index(data)
    for bit in (0, 13, 30):
        damaged = bytearray(whole)
        damaged[start + len(data) // 2 + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        refused(path, "damaged .* wrong checksum")


def test_cut_pickles_in_a_whole_archive_never_surprise(trained: Path, tmp_path: Path) -> None:
    """Cuts in the middle of an opcode's argument are among them."""
    path = tmp_path / "cut.pt"
    with zipfile.ZipFile(trained) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in entries if name.endswith("data.pkl"))
    whole = entries[pickled]
    for end in range(0, len(whole), max(len(whole) // 60, 1)):
        entries[pickled] = whole[:end]
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            checkpoint.load(path)


def test_foreign_files(tmp_path: Path) -> None:
    refused(tmp_path / "missing.pt", "no such file")
    (tmp_path / "folder.pt").mkdir()
    refused(tmp_path / "folder.pt", "is a folder")
    foreign = tmp_path / "foreign.pt"
    torch.save({"state_dict": {"w": torch.ones(2)}}, foreign)
    refused(foreign, "not a musigan checkpoint")
    torch.save([1, 2], foreign)
    refused(foreign, "not a musigan checkpoint")
    refused(tiny.write_keys(tmp_path / "keys"), "not a checkpoint")


def altered(trained: Path, path: Path, **changes: Any) -> Path:
    content = torch.load(trained, weights_only=True)
    content.update(changes)
    torch.save({k: v for k, v in content.items() if v is not ...}, path)
    return path


BOMB: dict[str, Any] = {}  # of a few bytes, that stand for 10^9 values
for _ in range(9):
    BOMB = {str(number): BOMB for number in range(10)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3}, "format 3, this version reads up to 2"),
        ({"format": None}, "format None"),
        ({"settings": ...}, "incomplete"),
        ({"position": {"stag": 1}}, "incomplete"),
        ({"plan": [3]}, "incomplete"),
        ({"shape": {"channels": -1, "keys": 3, "frames": 5}}, "roll shape"),
        ({"shape": {"channels": 2, "keys": 200, "frames": 5}}, "does not fit"),
        ({"settings": {"epoks": 3}}, r"wrong\.pt: .*epoks.* update musigan"),
        ({"settings": {"network": {3: [torch.ones(2)]}}}, "settings"),
        ({"format": True}, "format True"),
        ({"format": 2.0}, "format 2.0"),
        ({"format": [2]}, "format .2."),
        ({"format": torch.ones(2)}, "format tensor"),
        ({"history": 3}, "incomplete"),
        ({"history": [3]}, "incomplete"),
        ({"history": [{}]}, "incomplete"),
        ({"history": [{"stage": "prior", "step": torch.ones(2)}]}, "incomplete"),
        ({"history": [{"stage": "prior", "step": 3, "evaluation": []}]}, "incomplete"),
        ({"position": {"tally": {"kl": 3}}}, "incomplete"),
        ({"position": {"tally": {"kl": ["a", 1]}}}, "incomplete"),
        ({"position": {"tally": []}}, "incomplete"),
        ({"position": {"step": -1}}, "incomplete"),
        ({"position": {"stage": True}}, "incomplete"),
        ({"position": {"seconds": "long"}}, "incomplete"),
        ({"rng": "x"}, "incomplete"),
        ({"settings": BOMB}, "incomplete"),
        ({"networks": {}}, "critic does not fit"),
        ({"average": {"generator": {"a": 3}}}, "does not fit"),
    ],
)
def test_wrong_content(changes: dict[str, Any], said: str, trained: Path, tmp_path: Path) -> None:
    path = altered(trained, tmp_path / "wrong.pt", **changes)
    with pytest.raises(CheckpointError, match=said) as caught:
        checkpoint.build_networks(checkpoint.load(path), averaged=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["networks", "average"])
def test_weights_that_are_no_numbers_are_neither_loaded_nor_saved(
    part: str, value: float, trained: Path, tmp_path: Path
) -> None:
    saved = checkpoint.load(trained)
    weights = getattr(saved, part)["generator"]
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.ndim > 1)
    weights[name][-1] = value
    path = tmp_path / "diverged.pt"
    with pytest.raises(CheckpointError, match=f"not written, as the training diverged.*{name}"):
        checkpoint.save(path, saved)
    assert not path.exists()
    altered(trained, path, **{part: getattr(saved, part)})
    with pytest.raises(CheckpointError, match=f"its training diverged: {part} generator {name} holds NaN") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_bomb_is_refused_before_it_expands(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    refused(path, "compressed")


def test_place_that_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        checkpoint.check_writable(tmp_path / "nowhere" / "ckpt.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        checkpoint.check_writable(tmp_path)


@pytest.mark.parametrize("name", ["lstm", "rnn", "mdn-rnn"])
def test_a_family_that_has_learned_more_since_reads_its_old_checkpoints(name: str, tmp_path: Path) -> None:
    """Settings and weights that there were not when it was saved are as the family then was."""
    chosen, shape = tiny.settings(name), RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    of_frames = {"memory_frames": [], "joint_loudness": False, "key_power": 1.0}
    since = {"lstm": of_frames, "rnn": of_frames, "mdn-rnn": {"unheard_steps": 0}}
    network = {**chosen.network, **since[name]}
    generator = models.build(name, network, shape)["generator"]
    old = {setting: value for setting, value in network.items() if setting not in since[name]}
    weights = {key: value for key, value in generator.state_dict().items() if not key.startswith("gates.")}
    settings = {**as_mapping(chosen), "network": old}
    record, rng = MusicRecord(tiny.HEADER), torch.get_rng_state()
    own = models.build(name, network, shape)
    networks = {part: weights if part == "generator" else own[part].state_dict() for part in own}
    parts = {"networks": networks, "average": {"generator": weights}, "optimisers": {}, "rng": rng}
    whole = checkpoint.Checkpoint(settings, shape, record, {}, [], checkpoint.Position(), **parts)
    checkpoint.save(tmp_path / "old.pt", whole)
    back: Any = checkpoint.build_networks(checkpoint.load(tmp_path / "old.pt"), averaged=True)["generator"].eval()
    drawn = [each.eval().extend(None, 60, torch.Generator().manual_seed(3), 1.0) for each in (back, generator)]
    assert torch.equal(*drawn)
    assert models.build(name, chosen.network, shape)["generator"].state_dict().keys() != weights.keys()

"""Slim checkpoints: what comes back of a run, and what is said of files that are none or are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from musigan import models
from musigan.checkpoints import checkpoint, slim
from musigan.checkpoints.checkpoint import Checkpoint
from musigan.datasets.record import MusicRecord
from musigan.errors import CheckpointError
from musigan.models.protocol import Generator
from musigan.rolls.shape import RollShape
from musigan.settings import as_mapping
from musigan.training import loop, runs
from tests import tiny

CARD = "# Ours\n\nüber *alles*\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run of 3 stages, stopped in its third epoch."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    settings = tiny.settings(ema_half_life=20.0)
    data = tiny.dataset(tiny.write_keys(folder / "keys"), settings)
    run = runs.begin(settings, data, data.record(), settings.stage_epochs(), torch.device("cpu"))
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent(), steps_limit=4)
    return checkpoint.load(folder / "ckpt.pt")


@pytest.fixture(scope="module")
def whole(saved: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slim") / "ours.safetensors"
    checkpoint.save_slim(path, saved, CARD)
    return path


def drawn(content: Checkpoint) -> torch.Tensor:
    generator: Any = checkpoint.build_networks(content, averaged=True).eval()["generator"]
    noise = generator.draw(2, tiny.FRAMES, torch.Generator().manual_seed(5))
    with torch.no_grad():
        roll: torch.Tensor = generator(noise, tiny.FRAMES)[0]
    return roll


def verdicts(content: Checkpoint) -> torch.Tensor:
    critic: Any = checkpoint.build_networks(content, averaged=True).eval()["critic"]
    return torch.cat([each.flatten() for each in critic.state_dict().values()])


def test_what_draws_and_judges_comes_back_as_it_was(saved: Checkpoint, whole: Path) -> None:
    back = checkpoint.load(whole)
    assert torch.equal(drawn(back), drawn(saved))
    assert torch.equal(verdicts(back), verdicts(saved))
    assert (back.settings, back.shape, back.store, back.card) == (saved.settings, saved.shape, saved.store, CARD)
    assert isinstance(checkpoint.build_networks(back)["generator"], Generator)


def test_it_is_a_finished_run_of_the_epochs_that_were_trained(saved: Checkpoint, whole: Path) -> None:
    back = checkpoint.load(whole)
    assert sum(epochs for _, epochs in saved.plan) == 4
    assert saved.trained == back.plan == back.trained
    assert sum(epochs for _, epochs in back.plan) == len(saved.history) < 4
    assert back.position == checkpoint.Position(stage=len(back.plan))
    assert (back.is_resumable, saved.is_resumable) == (False, True)
    assert (back.rng, back.optimisers, back.history) == (None, {}, [])


def test_half_is_close_and_half_the_size(saved: Checkpoint, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    checkpoint.save_slim(path, saved, CARD, half=True)
    back = checkpoint.load(path)
    assert all(tensor.dtype != torch.float16 for part in back.networks.values() for tensor in part.values())
    assert torch.allclose(drawn(back), drawn(saved), atol=0.02)
    assert not torch.equal(drawn(back), drawn(saved))
    weights = sum(tensor.numel() for part in back.networks.values() for tensor in part.values() if tensor.ndim > 1)
    assert whole.stat().st_size - path.stat().st_size == pytest.approx(2 * weights, rel=0.02)  # the header, too


def test_numbers_that_16_bits_do_not_hold_stay(saved: Checkpoint, tmp_path: Path) -> None:
    weights = {"large": torch.full((2, 3), 1e6), "small": torch.tensor([1e-9, 1.0]), "usual": torch.full((2, 3), 0.3)}
    weights["count"] = torch.tensor([[7]])
    slim.write(tmp_path / "x.safetensors", {}, weights, {}, half=True)
    _, back, _ = slim.read(tmp_path / "x.safetensors")
    assert all(torch.equal(back["generator"][name], weights[name]) for name in ("large", "small", "count"))
    assert not torch.equal(back["generator"]["usual"], weights["usual"])


def test_there_and_back_as_a_torch_file(saved: Checkpoint, whole: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "back.pt", checkpoint.load(whole))
    back = checkpoint.load(tmp_path / "back.pt")
    assert torch.equal(drawn(back), drawn(saved))
    assert (back.card, back.is_resumable, back.plan) == (CARD, False, saved.trained)
    checkpoint.save_slim(tmp_path / "again.safetensors", back, back.card)
    assert (tmp_path / "again.safetensors").read_bytes() == whole.read_bytes()


def test_the_same_checkpoint_is_the_same_file_that_all_may_read(saved: Checkpoint, tmp_path: Path) -> None:
    for name in "abcdef":
        checkpoint.save_slim(tmp_path / name, saved, CARD)
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1
    (tmp_path / "new").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_other_programs_read_it(saved: Checkpoint, whole: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(whole), "np") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert metadata["card"] == CARD
    assert json.loads(metadata["musigan"])["settings"]["model"] == "musigan"
    assert {name.partition(".")[0] for name in names} == {"generator", "critic"}
    assert {f"generator.{name}" for name in saved.average["generator"]} <= names


@pytest.mark.parametrize("name", models.FAMILIES)
def test_every_family_comes_back(name: str, tmp_path: Path) -> None:
    """A critic or none; what a game keeps besides, such as drawn rolls, begins anew."""
    shape, path = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), tmp_path / "x.safetensors"
    chosen = tiny.settings(name, pretrain_epochs=None, critic_epochs=None)
    networks = models.build(name, chosen.network, shape)
    weights = {part: network.state_dict() for part, network in networks.items()}
    record, rng = MusicRecord(tiny.HEADER), torch.get_rng_state()
    whole = Checkpoint(as_mapping(chosen), shape, record, {}, [], checkpoint.Position(), weights, {}, {}, rng)
    checkpoint.save_slim(path, whole)
    back = checkpoint.build_networks(checkpoint.load(path), averaged=True)
    assert back.keys() == networks.keys()
    kept = {key: value for key, value in networks.state_dict().items() if key.partition(".")[0] in slim.PARTS}
    assert [key for key, value in kept.items() if not torch.equal(value, back.state_dict()[key])] == []
    assert kept.keys() == {f"{part}.{key}" for part, own in slim.read(path)[1].items() for key in own}


def test_a_full_disk_leaves_the_old_file(saved: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"x\.safetensors: cannot be written \(No space left on device\)"):
        checkpoint.save_slim(path, saved)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_weights_that_do_not_fit_their_settings_are_not_written(saved: Checkpoint, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(CheckpointError, match="generator does not fit"):
        checkpoint.save_slim(tmp_path / "x.safetensors", replace(saved, average={"generator": {"a": 3}}))
    assert list(tmp_path.iterdir()) == []


def refused(path: Path, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        checkpoint.build_networks(checkpoint.load(path), averaged=True)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "checkpoint's" in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.97, 0.9999])
def test_cut_short(share: float, whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    refused(path, "cut short")


def test_flipped_bits_are_noticed(whole: Path, tmp_path: Path) -> None:
    """Those of the header, above all: names, shapes, places and the JSON inside the JSON."""
    data, path = whole.read_bytes(), tmp_path / "flipped.safetensors"
    header = int.from_bytes(data[:8], "little")
    names = [data.index(name) for name in (b'"checksum"', b"has_checksum", b'"card"', b"__metadata__")]
    for place in [0, 3, 8, *names, *range(9, header, max(header // 40, 1)), header + 9, len(data) // 2, len(data) - 3]:
        for bits in (0x5A, 1):
            damaged = bytearray(data)
            damaged[place + 2] ^= bits
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                checkpoint.load(path)


def test_a_file_of_before_checksums_is_read(whole: Path, tmp_path: Path) -> None:
    again = checkpoint.load(altered(whole, tmp_path / "old.safetensors"))
    assert again.plan == checkpoint.load(whole).plan


@pytest.mark.parametrize("length", [0, 1, 99_999_999, 1 << 40, (1 << 64) - 1])
def test_absurd_lengths_of_the_header(length: int, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + whole.read_bytes()[8:])
    refused(path, "not a checkpoint, or cut short")


def altered(whole: Path, path: Path, metadata: Any = None, **changes: Any) -> Path:
    """A copy with other content; `metadata` is what stands there instead of it."""
    content, weights, card = slim.read(whole)
    tensors = {f"{part}.{name}": each for part, own in weights.items() for name, each in own.items()}
    content = {name: value for name, value in {**content, **changes}.items() if value is not ...}
    text = json.dumps(content) if metadata is None else metadata
    save_file(tensors, path, {"musigan": text, "card": card})
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "musigan keys"}, "not one of musigan"),
        ({"format": 2}, "format 2, this version reads 1; update musigan"),
        ({"format": ...}, "format None"),
        ({"settings": ...}, "incomplete"),
        ({"settings": [1]}, "settings is list"),
        ({"settings": {"epoks": 3}}, "epoks"),
        ({"settings": {"model": "musigan", "network": {"width": "wide"}}}, "width"),
        ({"settings": {"model": "nonsense"}}, "unknown model"),
        ({"shape": None}, "incomplete"),
        ({"shape": {"channels": 2, "keys": "many", "frames": 5}}, "roll shape"),
        ({"shape": {"channels": 2, "keys": 200, "frames": 5}}, "does not fit"),
        ({"store": {}}, "lacks its store's"),
        ({"store": "keys"}, "store is str"),
        ({"plan": 5}, "incomplete"),
        ({"plan": [3]}, "incomplete"),
        ({"plan": {"a": "b"}}, "incomplete"),
        ({"plan": [["adversarial", float("inf")]]}, "incomplete"),
        ({"metadata": "no JSON"}, "damaged or cut short"),
        ({"metadata": "[1, 2]"}, "not one of musigan"),
        ({"metadata": "[" * 100_000}, "damaged or cut short"),
        ({"metadata": ""}, "damaged or cut short"),
    ],
)
def test_wrong_content(changes: dict[str, Any], said: str, whole: Path, tmp_path: Path) -> None:
    refused(altered(whole, tmp_path / "wrong.safetensors", **changes), said)


def test_content_cannot_make_a_run_that_goes_on(whole: Path, tmp_path: Path) -> None:
    extras = {"position": {"stage": 0}, "rng": [1, 2], "networks": {}, "history": [{"stage": "x"}], "card": "other"}
    back = checkpoint.load(altered(whole, tmp_path / "x.safetensors", **extras))
    assert (back.is_resumable, back.position.stage, back.history, back.card) == (False, len(back.plan), [], CARD)


def test_tensors_that_lack_or_have_other_shapes(whole: Path, tmp_path: Path) -> None:
    content, weights, _ = slim.read(whole)
    own = weights["generator"]
    name = next(key for key in own if "bypass" not in key)  # which older checkpoints lack
    for number, (generator, said) in enumerate(
        (
            ({key: value for key, value in own.items() if key != name}, "generator does not fit"),
            ({**own, name: torch.zeros(1, 2, 3)}, "generator does not fit"),
            ({**own, "more": torch.zeros(2)}, "generator does not fit"),
            ({}, "generator does not fit"),
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        slim.write(path, content, generator, weights["critic"])
        refused(path, said)
    slim.write(tmp_path / "x.safetensors", content, own, {})
    refused(tmp_path / "x.safetensors", "critic does not fit")


def test_foreign_safetensors_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, path)
    refused(path, "not one of musigan")
    save_file({"w": torch.ones(2)}, path, {"format": "pt"})
    refused(path, "not one of musigan")


def test_pickles_under_its_name_are_not_run(tmp_path: Path) -> None:
    import pickle

    class Malicious:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "mark"),))

    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps(Malicious()))
    refused(path, "not a checkpoint")
    torch.save({"kind": slim.KIND, "format": 1, "settings": Malicious()}, path)
    refused(path, "could run code")
    assert not (tmp_path / "mark").exists()


def test_which_files_are_taken_for_checkpoints(whole: Path, tmp_path: Path) -> None:
    store, text = tiny.write_keys(tmp_path / "keys"), tmp_path / "text"
    text.write_text("12345678{")
    os.mkfifo(tmp_path / "pipe")
    assert checkpoint.is_checkpoint(whole)
    assert not any(map(checkpoint.is_checkpoint, (store, text, tmp_path, tmp_path / "pipe", tmp_path / "missing")))

"""The family cyclegan: its networks, its game of four, the two stores it learns from, the pool in its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from musigan import models, store
from musigan.checkpoints import checkpoint
from musigan.datasets.domains import Domains, domain_names
from musigan.datasets.rolls import AugmentSettings
from musigan.errors import CheckpointError, SettingsError, StoreError, UsageError
from musigan.losses.translation import harmony, l1_difference
from musigan.models.cyclegan.generator import Pool
from musigan.models.cyclegan.settings import CycleGanSettings
from musigan.rolls.shape import RollShape
from musigan.sampling.sampler import Sampler
from musigan.training import loop, runs
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny
from tests.tiny import CPU, assert_same_weights

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
NAMES = ("low", "high")


def built(shape: RollShape = SHAPE, loud: bool = False, **changes: Any) -> nn.ModuleDict:
    torch.manual_seed(1)
    networks = models.build("cyclegan", {**tiny.NETWORKS["cyclegan"], **changes}, shape)
    if loud:  # past the zeros that residual branches start at
        with torch.no_grad():
            for parameter in networks.parameters():
                parameter.add_(0.15 * torch.randn_like(parameter))
    return networks


def real(batch: int = 4, shape: RollShape = SHAPE, seed: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    loud = 0.1 + 0.9 * torch.rand(batch, shape.channels, shape.keys, shape.frames, generator=rng)
    return loud * (torch.rand(loud.shape, generator=rng) > 0.6)


def context(step: int = 0) -> StepContext:
    return StepContext(step, 0.5, torch.Generator().manual_seed(3), {"other": real(seed=5)})


def write_kind(path: Path, kind: int, songs: int = 4, held: int = 1) -> Path:
    """A store of songs of one kind: low and soft keys, or high and loud ones, a few notes at random."""
    rng = np.random.default_rng(kind)
    with store.write(str(path), tiny.HEADER) as writer:
        for number in range(songs):
            long = np.zeros((2, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float16)
            for key in rng.choice(5, 3, replace=False) + 6 * kind:
                start = int(rng.integers(0, 12))
                long[..., key, start : start + 9] = (0.1, 0.6)[kind] * rng.uniform(0.7, 1.0)
            long[:, :, 1] *= 0.5
            song = store.Song(title=f"Song {number}", split="validation" if number < held else "train", level=0.1)
            writer.add(long, ("pairs", "part", "channels", "keys", "frames"), song)
    return path


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """Two kinds of music, of four songs and of three."""
    return write_kind(tmp_path / "low.zarr.zip", 0), write_kind(tmp_path / "high.zarr.zip", 1, songs=3)


def domains(paths: tuple[Path, Path], settings: Any, split: Any = "train") -> Domains:
    readers = [store.open_reader(str(path), ("keys",)) for path in paths]
    return Domains(readers, NAMES, split, settings.augment, settings.compression, settings.seed)


def begin(paths: tuple[Path, Path], settings: Any) -> tuple[runs.Run, Domains]:
    data = domains(paths, settings)
    return runs.begin(settings, data, data.record(), settings.stage_epochs(), CPU), data


@pytest.mark.parametrize("shape", [SHAPE, RollShape(1, 5, 10), RollShape(3, 16, 31)])
def test_any_length_and_shape_comes_back_as_it_was(shape: RollShape) -> None:
    networks = built(shape, loud=True).eval()
    for frames in (1, shape.frames, 3 * shape.frames + 1):
        roll = real(2, RollShape(shape.channels, shape.keys, frames))
        for kind in range(2):
            found = networks["generator"].translate(roll, kind)
            assert found.shape == roll.shape
            assert found.min() >= 0
            assert found.max() <= 1
            assert networks["critic"].judge(roll, kind).dim() == 2


def test_the_ways_begin_as_the_identity_and_are_two() -> None:
    generator = built()["generator"]
    roll = real()
    torch.testing.assert_close(generator.translate(roll, 0), roll)
    torch.testing.assert_close(generator.translate(roll, 1), roll)
    assert torch.equal(generator.translate(roll, 1) > 0, roll > 0)
    with torch.no_grad():
        generator.ways[0].pack_out.bias.fill_(0.1)  # the first kind's way to the second
    torch.testing.assert_close(generator.translate(roll, 0), roll)
    assert not torch.equal(generator.translate(roll, 1), roll)


@pytest.mark.parametrize("remix", [True, False])
def test_notes_end_and_begin_and_silence_stays_silence(remix: bool) -> None:
    way = built(remix=remix)["generator"].ways[0]
    roll = real()
    cells = len(way.pack_out.bias) // 2
    with torch.no_grad():
        way.pack_out.bias[cells:] = 1.5  # the gate's half, past what holds a silent key back
        assert (way(roll) > 0).all()
        torch.testing.assert_close(way(roll)[roll > 0], roll[roll > 0])
        way.pack_out.bias[cells:] = -1.5
        assert (way(roll) == 0).all()


def test_a_note_can_be_born_by_its_gradient() -> None:
    """Silent cells are told whether to sound, though nothing of them is heard yet."""
    way = built()["generator"].ways[0]
    way(torch.zeros(1, 2, 11, 24)).sum().backward()
    assert way.pack_out.bias.grad is not None
    assert way.pack_out.bias.grad.abs().sum() > 0


def test_windows_with_the_halo_join_exactly() -> None:
    networks = built(RollShape(2, 11, 24), loud=True, dilations=[1, 3]).eval()
    generator, step = networks["generator"], 4
    roll = real(1, RollShape(2, 11, 60 * step))
    whole = generator.translate(roll, 1)

    def apart(receptive_field: int) -> float:
        window = roll[..., (30 - receptive_field) * step : (34 + receptive_field) * step]
        with torch.no_grad():
            part = generator.translate(window, 1)[..., receptive_field * step : (4 + receptive_field) * step]
        return float((part - whole[..., 30 * step : 34 * step]).detach().abs().max())

    assert generator.receptive_field == 9
    assert apart(9) < 1e-5
    assert apart(7) > 1e-4


def test_keys_are_told_apart() -> None:
    networks = built(loud=True).eval()
    roll = torch.zeros(1, 2, 11, 24)
    roll[:, :, 1, 4:12] = 0.7
    moved = roll.roll(4, 2)
    assert not torch.allclose(
        networks["generator"].translate(roll, 1).roll(4, 2), networks["generator"].translate(moved, 1)
    )
    assert not torch.allclose(networks["critic"].judge(roll, 1), networks["critic"].judge(moved, 1))


def test_gradient_reaches_every_parameter_of_its_own_side_only() -> None:
    networks, settings = built(loud=True), tiny.settings("cyclegan")
    objective = OBJECTIVES["translation"](networks, settings)
    batch, now = real(), context()
    reached = {}
    for side in objective.sides(0):
        networks.requires_grad_(False)
        for group in objective.groups()[side]:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        networks.zero_grad()
        sum(objective.losses(side, batch, now).losses.values()).backward()
        reached[side] = {key for key, p in networks.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {
        side: {key for key, _ in networks.named_parameters() if key.startswith(f"{side}.")} for side in reached
    }
    assert list(reached) == ["generator", "critic"]


def test_losses_of_the_identity() -> None:
    """A generator that changes nothing: nothing is lost there and back, and critics see real music of both kinds."""
    objective = OBJECTIVES["translation"](built(), tiny.settings("cyclegan"))
    found = objective.losses("generator", real(), context())
    lost = [*(found.losses[name].item() for name in ("cycle", "identity", "harmony")), found.figures["change"].item()]
    assert lost == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert set(found.losses) == {"adversarial_roll", "cycle", "identity", "harmony"}
    assert set(objective.losses("critic", real(), context()).losses) == {"critic_roll"}


@pytest.mark.parametrize(
    "change",
    [
        {"adversarial": {"objective": "wgan"}, "loss_weights": {"penalty_roll": 1.0}},
        {"loss_weights": {"penalty_roll": 1.0}},
        {"adversarial": {"adaptive": True}},
    ],
)
def test_settings_that_would_do_nothing_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="is not for the model cyclegan"):
        OBJECTIVES["translation"](built(), tiny.settings("cyclegan", **change))


def test_kept_by_hand() -> None:
    target = torch.tensor([[[[0.0, 0.8, 0.4, 0.0]]]])
    assert l1_difference(target, target).item() == 0
    assert l1_difference(torch.tensor([[[[0.1, 0.8, 0.0, 0.0]]]]), target).item() == pytest.approx(0.125 / 0.31)


def test_harmony_is_the_same_an_octave_higher_and_lost_in_silence() -> None:
    song = torch.zeros(1, 2, 40, 30)
    song[:, 0, 3, :20], song[:, 1, 7, :20] = 0.8, 0.4
    octave = song.roll(12, 2).flip(1)
    assert harmony(song, song).item() == pytest.approx(0, abs=1e-3)
    assert harmony(0.5 * octave, song).item() == pytest.approx(0, abs=1e-3)
    assert harmony(0 * song, song).item() == pytest.approx(1, abs=1e-3)
    assert harmony(song.roll(1, 2), song).item() == pytest.approx(1, abs=1e-3)
    half = song.clone()
    half[..., 10:20] = 0  # one of two stretches that sound
    assert harmony(half, song).item() == pytest.approx(0.5, abs=1e-3)
    later = torch.cat((song, song), -1)
    later[..., 30:] = 0
    louder = later.clone()
    louder[..., 20:] = 0.9  # where the song is silent nothing is asked
    assert harmony(louder, later).item() == pytest.approx(0, abs=1e-3)
    fake = (0.1 * torch.rand_like(song)).requires_grad_()
    harmony(fake, song).backward()
    assert torch.isfinite(fake.grad).all()
    assert fake.grad[0, 0, 3, 0] < 0 < fake.grad[0, 0, 4, 0]


def test_pool_shows_older_rolls_every_second_time() -> None:
    pool = Pool(CycleGanSettings(pool=3), RollShape(1, 1, 1))
    rng = torch.Generator().manual_seed(0)

    def shown(*values: float, kind: int = 1) -> list[float]:
        rolls = torch.tensor(values).reshape(-1, 1, 1, 1)
        return pool.exchange(rolls, kind, rng).flatten().tolist()

    assert shown(1, 2) == [1, 2]  # while it fills, each itself
    assert shown(3) == [3]
    later = [shown(float(number))[0] for number in range(4, 204)]
    old = [value for number, value in enumerate(later, 4) if value != number]
    assert 70 < len(old) < 130
    assert len(set(old)) == len(old)  # what was shown is replaced
    assert pool.filled.tolist() == [0, 3]  # the other kind's is another
    none = Pool(CycleGanSettings(pool=0), RollShape(1, 1, 1))
    assert none.exchange(torch.full((2, 1, 1, 1), 0.3), 0, rng).flatten().tolist() == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize("limit", [1, 3])
def test_stopped_and_resumed_is_bit_equal_pool_and_all(limit: int, stores: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.settings("cyclegan", epochs=2, pretrain_epochs=None, critic_epochs=None)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    run, data = begin(stores, settings)
    assert loop.train(run, data, whole, tiny.Silent())
    run, data = begin(stores, settings)
    while not loop.train(run, data, parts, tiny.Silent(), steps_limit=limit):
        torch.rand(7)
        saved = checkpoint.load(parts)
        data = domains(stores, settings)
        run = runs.resume(saved, saved.training_settings(), data, CPU)
    assert_same_weights(whole, parts)
    assert checkpoint.load(whole).networks["pool"]["filled"].tolist() == [5, 5]
    assert [entry["stage"] for entry in run.history] == ["translation"] * 2


def test_resume_with_the_stores_exchanged_is_refused(stores: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.settings("cyclegan", epochs=2, pretrain_epochs=None, critic_epochs=None)
    run, data = begin(stores, settings)
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), steps_limit=1)
    other = domains((stores[1], stores[0]), settings)
    with pytest.raises(CheckpointError, match="another keys store"):
        runs.resume(checkpoint.load(tmp_path / "ckpt.pt"), settings, other, CPU)


def test_it_learns_to_turn_one_kind_into_the_other(stores: tuple[Path, Path], tmp_path: Path) -> None:
    """Held-out low songs come out high, held-out high ones low, and each returns to near what it was."""
    network = {**tiny.NETWORKS["cyclegan"], "patch_keys": 11, "width": 16, "critic_width": 8}
    rates = {"decoder_learning_rate": 5e-3, "critic_learning_rate": 5e-3}
    augment = {"transpose_keys": 0}
    settings = tiny.settings(
        "cyclegan", epochs=40, pretrain_epochs=None, critic_epochs=None, batch_size=6, adversarial=rates,
        network=network, augment=augment, save_every=40,
        loss_weights={"cycle": 4.0, "identity": 2.0, "harmony": 0.0},  # the kinds differ in what harmony would keep
    )  # fmt: skip
    run, data = begin(stores, settings)
    held = domains(stores, settings, "validation")
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), validation=held)
    low, given = held.example(0, 0)
    generator: Any = run.average.network
    rolls = torch.from_numpy(np.stack([low, given["other"]]))
    with torch.no_grad():
        turned = torch.cat([generator.translate(rolls[:1], 1), generator.translate(rolls[1:], 0)])
        back = torch.cat([generator.translate(turned[:1], 0), generator.translate(turned[1:], 1)])

    def height(roll: torch.Tensor) -> float:
        use = roll.sum((0, 2))
        return float((use * torch.arange(tiny.KEYS)).sum() / use.sum())

    assert height(rolls[0]) < 4 < 6 < height(rolls[1])
    assert height(turned[1]) < 5 < height(turned[0])
    assert l1_difference(back, rolls) < l1_difference(turned, rolls)
    assert run.history[-1]["validation_cycle"] > 0


def test_domains_give_the_same_rolls_for_the_same_epoch(stores: tuple[Path, Path]) -> None:
    settings = tiny.settings("cyclegan", pretrain_epochs=None, critic_epochs=None, augment={"crop": False})
    data = domains(stores, settings)
    assert (len(data), data.songs) == (12, 5)  # 3 songs of 4 rolls, and 2
    again = data.example(1, 7)
    assert np.array_equal(again[0], data.example(1, 7)[0])
    assert np.array_equal(again[1]["other"], data.example(1, 7)[1]["other"])
    assert domains(stores, settings, "validation").songs == 2


def test_every_roll_of_the_smaller_store_is_met(stores: tuple[Path, Path]) -> None:
    plain = AugmentSettings(crop=False, swap_channels=False, transpose_keys=0)
    readers = [store.open_reader(str(path), ("keys",)) for path in stores]
    data = Domains(readers, NAMES, "train", plain)
    whole = {data.kinds[1].roll(0, index).tobytes() for index in range(8)}
    met = [[data.example(epoch, i)[1]["other"].tobytes() for i in range(12)] for epoch in range(2)]
    assert set(met[0]) == set(met[1]) == whole
    assert met[0] != met[1]  # with others of the first kind
    assert {data.example(0, i)[0].tobytes() for i in range(12)} == {
        data.kinds[0].roll(0, i).tobytes() for i in range(12)
    }


def test_stores_that_were_not_made_alike_are_refused(stores: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    with store.write(str(other), replace(tiny.HEADER, chunk_seconds=0.96, frame_seconds=0.04)) as writer:
        writer.add(
            np.ones((1, 2, 2, 11, 24), np.float16), ("pairs", "part", "channels", "keys", "frames"), store.Song()
        )
    longer = tmp_path / "longer"
    with store.write(str(longer), replace(tiny.HEADER, chunk_seconds=0.5)) as writer:
        writer.add(
            np.ones((1, 2, 2, 11, 25), np.float16), ("pairs", "part", "channels", "keys", "frames"), store.Song()
        )
    settings = tiny.settings("cyclegan", pretrain_epochs=None, critic_epochs=None)
    with pytest.raises(StoreError, match=r"frames of 0\.02 s, .*other frames of 0\.04 s"):
        domains((stores[0], other), settings)
    with pytest.raises(StoreError, match=r"\(2, 11, 24\), .*\(2, 11, 25\)"):
        domains((stores[0], longer), settings)


def test_names_of_kinds() -> None:
    assert domain_names(["a/folk.keys.zarr", "s3://bucket/rock.zarr/"]) == ("folk", "rock")
    for wrong in (["a/folk.zarr", "b/folk.zip"], ["folk.zarr", "-"]):
        with pytest.raises(UsageError):
            domain_names(wrong)


def test_sampling_says_which_tool_it_is_for(stores: tuple[Path, Path]) -> None:
    run, _ = begin(stores, tiny.settings("cyclegan", pretrain_epochs=None, critic_epochs=None))
    with pytest.raises(CheckpointError, match="use transfer"):
        Sampler.from_checkpoint(run.snapshot())

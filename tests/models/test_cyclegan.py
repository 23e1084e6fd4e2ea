"""The family cyclegan: its networks, its game of four, the two stores it learns from, the pool in its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from musigan import models, settings, store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.domains import Domains, domain_names
from musigan.datasets.rolls import AugmentSettings
from musigan.errors import CheckpointError, SettingsError, StoreError, UsageError
from musigan.losses.translation import harmony, l1_difference
from musigan.models.cyclegan.generator import Pool
from musigan.models.cyclegan.pulse import find, regular_beat
from musigan.models.cyclegan.remix import AMOUNTS, Remix
from musigan.models.cyclegan.settings import CycleGanSettings
from musigan.models.cyclegan.statistics import KindStatistics, statistics
from musigan.rolls.shape import RollShape
from musigan.sampling.sampler import Sampler
from musigan.training import loop, runs
from musigan.training.objectives import OBJECTIVES, StepContext, translation
from tests import tiny
from tests.tiny import CPU, assert_same_weights

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
NAMES = ("low", "high")
DRUMMED = RollShape(3, 14, 24, True, (0, 2, 9, 6, 13))
FORMER = {"remix": False, "beat": False, "statistics": False, "drum_width": 0}  # as older checkpoints have it


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


@pytest.mark.parametrize("former", [{}, FORMER])
@pytest.mark.parametrize("shape", [SHAPE, RollShape(1, 5, 10), RollShape(3, 16, 31), DRUMMED])
def test_any_length_and_shape_comes_back_as_it_was(shape: RollShape, former: dict[str, Any]) -> None:
    networks = built(shape, loud=True, **former).eval()
    for frames in (1, shape.frames, 3 * shape.frames + 1):
        roll = real(2, RollShape(shape.channels, shape.keys, frames))
        for kind in range(2):
            found = networks["generator"].translate(roll, kind)
            assert found.shape == roll.shape
            assert found.min() >= 0
            assert found.max() <= 1
            assert networks["critic"].judge(roll, kind).dim() == 2


@pytest.mark.parametrize("former", [{}, FORMER])
def test_the_ways_begin_as_the_identity_and_are_two(former: dict[str, Any]) -> None:
    generator = built(**former)["generator"]
    roll = real()
    torch.testing.assert_close(generator.translate(roll, 0), roll)
    torch.testing.assert_close(generator.translate(roll, 1), roll)
    assert torch.equal(generator.translate(roll, 1) > 0, roll > 0)
    with torch.no_grad():
        generator.ways[0].pack_out.bias.fill_(0.1)  # the first kind's way to the second
    torch.testing.assert_close(generator.translate(roll, 0), roll)
    assert not torch.equal(generator.translate(roll, 1), roll)


def test_notes_end_and_begin_and_silence_stays_silence() -> None:
    way = built(**FORMER)["generator"].ways[0]
    roll = real()
    cells = SHAPE.channels * 2 * 4
    with torch.no_grad():
        way.pack_out.bias[cells:] = 1.5  # the gate's half, past what holds a silent key back
        assert (way(roll) > 0).all()
        torch.testing.assert_close(way(roll)[roll > 0], roll[roll > 0])
        way.pack_out.bias[cells:] = -1.5
        assert (way(roll) == 0).all()


def test_a_note_can_be_born_by_its_gradient() -> None:
    """Silent cells are told whether to sound, though nothing of them is heard yet."""
    way = built(**FORMER)["generator"].ways[0]
    way(torch.zeros(1, 2, 11, 24)).sum().backward()
    assert way.pack_out.bias.grad is not None
    assert way.pack_out.bias.grad.abs().sum() > 0


def test_a_remix_makes_no_notes_of_nothing_but_ends_them() -> None:
    way = built()["generator"].ways[0]
    roll = real()
    with torch.no_grad():
        way.pack_out.bias[SHAPE.channels * 2 :] = 1.5
        torch.testing.assert_close(way(roll), roll)
        way.pack_out.bias[SHAPE.channels * 2 :] = -1.5
        assert (way(roll) == 0).all()


def test_an_octave_is_learned_though_it_is_silent_yet() -> None:
    way = built(RollShape(2, 30, 24))["generator"].ways[0]
    roll = torch.zeros(1, 2, 30, 24)
    roll[:, :, 4, 8:20] = 0.7
    (-way(roll)[:, :, 16].sum()).backward()
    assert way.remix.by_band.grad[0, AMOUNTS.index("higher")].sum() < 0  # a descent step raises it
    with torch.no_grad():
        way.remix.by_band[0, AMOUNTS.index("higher")] = 0.5
        found = way(roll)
    torch.testing.assert_close(found[:, :, 16], 0.5 * roll[:, :, 4])
    torch.testing.assert_close(found[:, :, 4], roll[:, :, 4])
    assert set(found.sum((0, 1, 3)).nonzero().flatten().tolist()) == {4, 16}


def strummed() -> torch.Tensor:
    """Chords of ten keys every 30 frames, left louder than right, and a soft note between the second and the third."""
    roll = torch.zeros(1, 2, 30, 120)
    for start in (10, 40, 70, 100):
        roll[:, 0, 2:12, start : start + 20], roll[:, 1, 2:12, start : start + 20] = 0.8, 0.6
    roll[:, :, 20, 55:99] = 0.5
    return roll


def test_strong_onsets_are_found_and_what_began_away_from_them() -> None:
    found = find(strummed())
    assert found.strong[0].nonzero().flatten().tolist() == [10, 40, 70, 100]
    assert found.gap[0, 0, 0].nonzero().flatten().tolist() == [t for s in (10, 40, 70, 100) for t in range(s - 3, s)]
    assert found.off[0, 0].nonzero().tolist() == [[20, t] for t in range(55, 99)]
    assert found.note_age[0, 1, 5, 40:46].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.age[0, 0, 0, [0, 9, 10, 39, 40, 119]].tolist() == [100, 100, 0, 29, 0, 19]


def test_a_regular_beat_goes_on_where_onsets_are_missing() -> None:
    starts = [start for start in range(10, 480, 30) if start not in (130, 280)]
    onsets = torch.zeros(1, 480)
    onsets[0, starts] = 1
    onsets[0, 63] = 0.3  # one that is off the beat
    found = regular_beat(onsets)[0].nonzero().flatten()
    assert len(found) >= 15
    assert min(abs(found - 130).min(), abs(found - 280).min()) <= 1
    assert all(abs(found - start).min() <= 1 for start in range(70, 430, 30))
    assert abs(found - 63).min() > 5
    assert regular_beat(torch.zeros(1, 480)).sum() == 0


@pytest.mark.parametrize("period", [13, 18, 24, 29])
def test_a_regular_beat_of_any_period(period: int) -> None:
    onsets = torch.zeros(1, 600)
    onsets[0, 7::period] = 1
    found = regular_beat(onsets)[0, 100:500].nonzero().flatten() + 100
    wanted = torch.arange(7, 600, period)
    assert all(abs(found - beat).min() <= 1 for beat in wanted[(wanted > 110) & (wanted < 490)])
    assert len(found) <= 400 / (period if period < 24 else period / 2) + 1  # or in halves


def test_notes_are_struck_on_the_beat_held_back_and_tied() -> None:
    way, roll = built(RollShape(2, 30, 480))["generator"].ways[0], strummed().repeat(1, 1, 1, 4)
    roll[:, :, 25] = 0.6  # one note from beginning to end
    beat = find(roll, with_beat=True).beat
    assert beat is not None
    beats = beat.at[0].nonzero().flatten()
    inner = beats[(beats > 100) & (beats < 400)].tolist()
    with torch.no_grad():
        way.remix.by_band[0, way.remix.names.index("beat gap")] = -1.2
        struck = way(roll)
        assert all((struck[..., b - 1] == 0).all() and (struck[:, :, 25, b] > 0).all() for b in inner)
        way.remix.by_band[:] = 0
        way.remix.by_band[0, way.remix.names.index("tie")] = 1.0
        assert (way(struck)[:, :, 25, 100:400] > 0).all()
        torch.testing.assert_close(way(roll), roll)  # longer gaps stay
        way.remix.by_band[:] = 0
        way.remix.by_band[0, way.remix.names.index("early")] = -1.2
        kept = way(roll)
    next_beat = min(b for b in inner if b > 175)
    assert (kept[:, :, 20, 175:next_beat] == 0).all()
    torch.testing.assert_close(kept[:, :, 20, next_beat:219], roll[:, :, 20, next_beat:219])
    torch.testing.assert_close(kept[:, :, 2:12, 120:360], roll[:, :, 2:12, 120:360])


@pytest.mark.parametrize(
    ("name", "amount", "check"),
    [
        (
            "width",
            -1.0,
            lambda new, old: torch.allclose(new[:, 0], new[:, 1]) and new[0, 0, 5, 12] == pytest.approx(0.7),
        ),
        ("note decay", -1.0, lambda new, old: new[0, 0, 5, 10] == old[0, 0, 5, 10] and new[0, 0, 5, 28] < 0.5),
        ("decay", -1.0, lambda new, old: new[0, 0, 20, 69] < new[0, 0, 20, 71] == pytest.approx(0.48, abs=0.02)),
        ("gap", -2.0, lambda new, old: (new[..., 67:70] == 0).all() and (new[..., 70:97] == old[..., 70:97]).all()),
        ("off", -2.0, lambda new, old: (new[:, :, 20] == 0).all() and (new[:, :, :12] == old[:, :, :12]).all()),
        ("soft", -9.0, lambda new, old: (new[:, :, :12] == 0).all() and torch.allclose(new[:, :, 20], old[:, :, 20])),
        ("own", -0.5, lambda new, old: torch.allclose(new, old / 2)),
    ],
)
def test_amounts_by_hand(name: str, amount: float, check: Callable[[torch.Tensor, torch.Tensor], bool]) -> None:
    way, roll = built(RollShape(2, 30, 24))["generator"].ways[0], strummed()
    with torch.no_grad():
        way.remix.by_band[0, AMOUNTS.index(name)] = amount
        assert check(way(roll), roll)


def test_drums_are_struck_at_strong_onsets_and_left_out() -> None:
    shape = RollShape(3, 30, 24, True, (15, 17, 24, 21, 28))
    way = built(shape)["generator"].ways[0]
    roll = torch.cat((strummed(), torch.zeros(1, 1, 30, 120)), 1)
    roll[0, 2, 17, 33:36] = torch.tensor([0.9, 0.6, 0.4])
    with torch.no_grad():
        torch.testing.assert_close(way(roll), roll)
        way.drummer.amounts.bias[5] = 1.5  # the kick is struck
        struck = way(roll)[0, 2]
        way.drummer.amounts.bias[:] = -1.5  # nothing is kept, and nothing is struck
        assert (way(roll)[0, 2] == 0).all()
        torch.testing.assert_close(way(roll)[:, :2], roll[:, :2])
    rises = (struck[15, 1:] > struck[15, :-1]).nonzero().flatten() + 1
    assert rises.tolist() == [10, 40, 70, 100]
    assert struck[15, 10:20].tolist() == sorted(struck[15, 10:20].tolist(), reverse=True)
    assert (struck[15, 10], struck[15, 18]) == (pytest.approx(0.7), 0)
    torch.testing.assert_close(struck[17], roll[0, 2, 17])


def test_statistics_say_what_they_are_of() -> None:
    chords = strummed()[:, :, :, :120]
    wide, falling = chords.clone(), chords * torch.linspace(1, 0.2, 30).repeat(4)
    wide[:, 1] = 0
    shuffled = chords[..., torch.randperm(120, generator=torch.Generator().manual_seed(1))]
    plain, found = statistics(chords)[0], {}
    for name, roll in (("wide", wide), ("falling", falling), ("shuffled", shuffled), ("higher", chords.roll(8, 2))):
        found[name] = statistics(roll)[0] - plain
    bands, width, decay, beat = slice(0, 8), 8 + 2, 8 + 3 * 3 + 2, -2
    assert len(plain) == 8 + 4 * 3 + 4
    assert found["wide"][width] > 0.3
    assert found["falling"][decay] > 0.05 > found["wide"][decay].abs()
    assert found["shuffled"][beat] < -0.3
    torch.testing.assert_close(found["higher"][10:12], torch.zeros(2), atol=0.2, rtol=0)
    assert found["higher"][bands].abs().max() > 0.3


def test_a_place_in_one_kind_is_a_place_in_the_other() -> None:
    kinds = KindStatistics(2, 11)
    loud, soft = real(8), 0.3 * real(8, seed=6)
    own = kinds.follow(loud, 0)
    kinds.follow(soft, 1)
    torch.testing.assert_close(kinds.place(own, 1).mean(0), kinds.mean[1], atol=0.02, rtol=0.05)
    assert kinds.distance(loud, kinds.place(own, 1), 1) > 1 > 0.5 > kinds.distance(0.3 * loud, kinds.place(own, 1), 1)
    assert kinds.distance(loud, own, 0).item() == 0
    before = kinds.mean.clone()
    with torch.no_grad():
        kinds.follow(0.9 * real(3), 1)  # songs held back are not learned from
    assert torch.equal(kinds.mean, before)


def test_what_older_checkpoints_hold_still_fits() -> None:
    networks = built(DRUMMED, **FORMER)
    way, critic = networks["generator"].ways[0], networks["critic"].kinds[1]
    assert list(dict(networks.named_children())) == ["generator", "critic", "pool"]
    assert {key: tuple(value.shape) for key, value in way.named_parameters() if "blocks" not in key} == {
        "key_map": (1, 6, 7, 1), "pack_in.weight": (6, 24, 1, 1), "pack_in.bias": (6,),
        "pack_out.weight": (48, 6, 1, 1), "pack_out.bias": (48,),
    }  # fmt: skip
    assert {key.partition(".")[0] for key in critic.state_dict()} == {"key_map", "pack_in", "down", "out_proj"}
    saved = settings.build(TrainingSettings, {"model": "cyclegan", "network": {"width": 6}})
    assert {name: saved.network[name] for name in FORMER} == FORMER
    assert (saved.weight("cycle"), saved.weight("identity"), saved.weight("likeness")) == (3, 2, 0)


def test_windows_with_the_halo_join_exactly() -> None:
    networks = built(RollShape(2, 11, 24), loud=True, dilations=[1, 3], **FORMER).eval()
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


@pytest.mark.parametrize(("beat", "patches"), [(False, 43), (True, 132)])
def test_windows_of_a_remix_join_exactly(beat: bool, patches: int) -> None:
    shape, step, middle = RollShape(3, 30, 24, True, (15, 17, 24, 21, 28)), 4, 150
    generator = built(shape, loud=True, dilations=[1, 2], beat=beat).eval()["generator"]
    roll = torch.cat((strummed().repeat(1, 1, 1, 10), torch.zeros(1, 1, 30, 1200)), 1)
    roll[..., ::7] = 0  # notes of all ages
    roll[..., 400:700] *= (torch.rand(300, generator=torch.Generator().manual_seed(1)) > 0.3).float()  # uneven
    with torch.no_grad():
        whole, reach = generator.translate(roll, 1), generator.receptive_field
        part = generator.translate(roll[..., (middle - reach) * step : (middle + 2 + reach) * step], 1)
    assert reach == 2 * 3 + 1 + patches
    wanted = whole[..., middle * step : (middle + 2) * step]
    torch.testing.assert_close(part[..., reach * step : (reach + 2) * step], wanted)


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
    objective = OBJECTIVES["translation"](
        built(), tiny.settings("cyclegan", loss_weights={"identity": 2.0, "kind": 0.2})
    )
    found = objective.losses("generator", real(), context())
    lost = [*(found.losses[name].item() for name in ("cycle", "identity", "harmony")), found.figures["change"].item()]
    assert lost == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert set(found.losses) == {"adversarial_roll", "cycle", "identity", "harmony", "likeness", "place", "kind"}
    assert found.losses["likeness"].item() == 0
    assert found.losses["place"].item() < 0.5  # the kinds are alike here
    assert set(objective.losses("critic", real(), context()).losses) == {"critic_roll", "critic_kind"}


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
    network = {**tiny.NETWORKS["cyclegan"], **FORMER, "patch_keys": 11, "width": 16, "critic_width": 8}
    rates = {"decoder_learning_rate": 5e-3, "critic_learning_rate": 5e-3}
    augment = {"transpose_keys": 0}
    settings = tiny.settings(
        "cyclegan", epochs=40, pretrain_epochs=None, critic_epochs=None, batch_size=6, adversarial=rates,
        network=network, augment=augment, save_every=40,
        # The kinds differ in what harmony and likeness would keep.
        loss_weights={"adversarial_roll": 1.0, "cycle": 4.0, "identity": 2.0, "harmony": 0.0, "likeness": 0.0},
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


def test_the_kinds_are_told_apart_by_statistics_and_a_fake_is_moved_towards_its_kind() -> None:
    """The first kind high and short, the second low and held: the teller learns it, and its loss falls on the right."""
    networks, settings = built(), tiny.settings("cyclegan", adversarial={"critic_learning_rate": 0.02})
    objective = OBJECTIVES["translation"](networks, settings)
    first = torch.zeros(6, SHAPE.channels, SHAPE.keys, SHAPE.frames)
    second = first.clone()
    first[:, :, SHAPE.keys * 3 // 4 :, ::5] = 0.6
    second[:, :, : SHAPE.keys // 4] = 0.4
    for kind, rolls in enumerate((first, second)):
        for _ in range(3):
            objective.statistics.follow(rolls * torch.linspace(0.8, 1.2, 6)[:, None, None, None], kind)
    teller = networks["critic"].teller
    optimiser = torch.optim.Adam(teller.parameters(), 0.02)
    for step in range(60):
        now = StepContext(step, 0.5, torch.Generator().manual_seed(step), {"other": second})
        optimiser.zero_grad()
        objective.losses("critic", first, now).losses["critic_kind"].backward()
        optimiser.step()
    measured = [objective.statistics.measured(rolls) for rolls in (first, second)]
    assert (networks["critic"].tell(measured[0], 0) > 1).all()
    assert (networks["critic"].tell(measured[1], 1) > 1).all()
    assert (networks["critic"].tell(measured[0], 1) < -1).all()


def test_statistics_of_silence_and_of_a_steady_sound_have_finite_gradients() -> None:
    for loudness in (0.0, 0.5):
        roll = torch.full((2, 2, SHAPE.keys, SHAPE.frames), loudness, requires_grad=True)
        statistics(roll).sum().backward()
        assert roll.grad is not None
        assert torch.isfinite(roll.grad).all()


def test_gradients_between_the_generators_are_bounded() -> None:
    steep = torch.stack((torch.full((1, 3, 4), 1e9), torch.full((1, 3, 4), 1e-3)))
    once = translation.bounded(steep)
    assert once[0].norm() == pytest.approx(translation.MOST_SLOPE)
    torch.testing.assert_close(once[1], steep[1])


def test_what_a_remix_changes_is_bounded_if_it_is_asked_for() -> None:
    """However large its features are. Unbounded, a loop of two generators made them large and lost the song."""
    remix = Remix(4, SHAPE.pitched, 5, 2, 4, 0.5)
    notes = torch.zeros(1, SHAPE.pitched, 10, 24)
    notes[:, :, 3] = 0.5
    with torch.no_grad():
        remix.by_band.fill_(1e6)
        louder, _ = remix(notes, torch.zeros(1, 4, 5, 6), find(notes))
        remix.most = 0.0
        loudest, _ = remix(notes, torch.zeros(1, 4, 5, 6), find(notes))
    assert 0 < louder.abs().max() < 0.5 * 2**6
    assert loudest.abs().max() > 1e6

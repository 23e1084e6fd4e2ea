from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from musigan import models, store
from musigan.checkpoints.settings import configure
from musigan.datasets.conditions import TO_GENERATE, Conditions
from musigan.datasets.record import MusicRecord, SongStatistics
from musigan.errors import SettingsError, StoreError, UsageError
from musigan.layers.gates import stochastic_gate
from musigan.machine.seeding import seed_of
from musigan.models.musegan_seconds.layout import MuseganSettings
from musigan.rolls import beats
from musigan.rolls.beats import Beat
from musigan.rolls.shape import RollShape
from musigan.sampling.items import as_item
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny

SHAPE = RollShape(3, tiny.KEYS, tiny.FRAMES)
STRUCTURES = ("jamming", "composer", "hybrid")
COLUMNS, VECTOR = 2 * (tiny.FRAMES // 8), 3  # two columns a bar


def built(structure: str = "hybrid", shape: RollShape = SHAPE, **changes: Any) -> nn.ModuleDict:
    torch.manual_seed(1)
    networks = models.build(
        "musegan-seconds", {**tiny.NETWORKS["musegan-seconds"], "structure": structure, **changes}, shape
    )
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return networks.eval()


def noise_of(generator: Any, batch: int = 2) -> torch.Tensor:
    drawn: torch.Tensor = generator.draw(batch, SHAPE.frames, torch.Generator().manual_seed(3))
    return drawn


@pytest.mark.parametrize(("structure", "players", "writers"), [("jamming", 3, 3), ("composer", 1, 1), ("hybrid", 4, 3)])
def test_structures(structure: str, players: int, writers: int) -> None:
    generator: Any = built(structure)["generator"]
    assert noise_of(generator).shape == (2, players * COLUMNS, VECTOR)
    assert len(generator.writers) == writers
    assert generator.encode(torch.rand(2, 3, tiny.KEYS, tiny.FRAMES)).mean.shape == (2, players * COLUMNS, VECTOR)
    assert generator.decode(noise_of(generator), SHAPE.frames).roll.shape == (2, 3, tiny.KEYS, tiny.FRAMES)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_who_decides_for_whom(structure: str) -> None:
    """A track's own noise changes that track only, what is in common all; each kind is where its structure says."""
    generator: Any = built(structure)["generator"]
    noise = noise_of(generator)
    before = generator.decode(generator.sample_prior(noise), SHAPE.frames).logits
    changed = []
    for player in range(noise.shape[1] // COLUMNS):
        moved = noise.clone()
        moved[:, player * COLUMNS + 1] += 1.5
        after = generator.decode(generator.sample_prior(moved), SHAPE.frames).logits
        changed.append(tuple(((after - before).abs().amax((0, 2, 3)) > 1e-6).tolist()))
    alone = [tuple(track == own for track in range(3)) for own in range(3)]
    everyone = [(True, True, True)]
    assert changed == {"jamming": alone, "composer": everyone, "hybrid": everyone + alone}[structure]


def test_bars_are_written_and_read_where_they_are() -> None:
    """Each of a bar's vectors changes its own half and, by layers over bar lines, what is near; and back."""
    generator: Any = built("composer", RollShape(1, tiny.KEYS, 80))["generator"]
    vectors = generator.draw(1, 80, torch.Generator().manual_seed(3))
    before = generator.decode(vectors, 80).logits
    roll = torch.rand(1, 1, tiny.KEYS, 80)
    for half in range(2):
        moved = vectors.clone()
        moved[:, 2 * 4 + half] += 1.5
        by_column = (generator.decode(moved, 80).logits - before).abs().amax((0, 1, 2)).unflatten(0, (20, 4)).amax(1)
        written = (by_column > 1e-6).nonzero()[:, 0]
        assert (written.min() + written.max()).item() / 2 == 2 * 4 + half
        assert 3 <= len(written) <= 11
        changed = roll.clone()
        changed[..., 32 + 4 * half : 36 + 4 * half] = 0
        gaps = (generator.encode(changed).mean - generator.encode(roll).mean).abs()[0].amax(1)
        reached = gaps.nonzero()[:, 0]
        assert abs((reached.min() + reached.max()).item() / 2 - (2 * 4 + half)) <= 0.5


def test_the_way_from_noise_heeds_the_conditions() -> None:
    """Vectors depend on style, clock and given track, and not on where in a batch they stand."""
    generator: Any = built()["generator"]
    noise, given = noise_of(generator), tiny.conditions("musegan-seconds", torch.rand(2, 3, tiny.KEYS, tiny.FRAMES))
    made = generator.sample_prior(noise, **given)
    assert (made - noise).abs().max() > 1e-2
    for name in ("style", "tempo"):
        assert (generator.sample_prior(noise, **{**given, name: given[name].flip(0)}) - made).abs().amax(
            (1, 2)
        ).min() > 1e-4
    free = generator.sample_prior(noise, **{**given, "kept": torch.full_like(given["kept"], TO_GENERATE)})
    torch.testing.assert_close(free[0], made[0])
    assert (free[1] - made[1]).abs().max() > 1e-4


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_given_track_is_copied_and_heard(structure: str) -> None:
    """What is given comes out as it went in; the other tracks depend on it, and only on what is given."""
    generator: Any = built(structure)["generator"]
    noise = noise_of(generator)
    kept = torch.full((2, 3, tiny.KEYS, tiny.FRAMES), TO_GENERATE)
    kept[1, 2] = torch.rand(tiny.KEYS, tiny.FRAMES)
    free = generator.decode(noise, SHAPE.frames)
    given = generator.decode(noise, SHAPE.frames, kept=kept)
    torch.testing.assert_close(given.roll[1, 2], kept[1, 2])
    torch.testing.assert_close(given.logits[0], free.logits[0])
    assert (given.logits[1, :2] - free.logits[1, :2]).abs().max() > 1e-3
    kept[1, 2] = 0  # silence is given, too
    assert (generator.decode(noise, SHAPE.frames, kept=kept).logits[1, :2] - free.logits[1, :2]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["style", "tempo"])
def test_both_sides_hear_style_and_tempo(name: str) -> None:
    networks = built()
    generator: Any = networks["generator"]
    roll, noise = torch.rand(2, 3, tiny.KEYS, tiny.FRAMES), noise_of(generator)
    one, other = (
        {
            "style": torch.tensor([number, number]),
            "tempo": tiny.conditions("musegan-seconds", roll)["tempo"].roll(shift, 2),
        }[name]
        for number, shift in ((1, 0), (2, 5))
    )
    made = [generator.decode(noise, SHAPE.frames, **{name: value}).logits for value in (one, other)]
    said = [networks["critic"](roll, None, **{name: value}).logits["roll"] for value in (one, other)]
    assert (made[0] - made[1]).abs().max() > 1e-3
    assert (said[0] - said[1]).abs().max() > 1e-4


def test_styles_beyond_the_room_there_is_count_as_none() -> None:
    generator: Any = built(most_styles=2)["generator"]
    noise = noise_of(generator)[:1].expand(4, -1, -1)
    made = generator.decode(noise, SHAPE.frames, style=torch.tensor([0, 1, 2, 3])).logits
    torch.testing.assert_close(made[3], made[0])
    assert (made[1] - made[0]).abs().max() > 1e-3
    assert (made[2] - made[1]).abs().max() > 1e-3


def test_stochastic_neurons_fire_as_often_as_they_say() -> None:
    torch.manual_seed(2)
    logits = torch.full((4000,), -1.0, requires_grad=True)
    fired = stochastic_gate(logits)
    assert set(fired.detach().round(decimals=5).tolist()) == {0.0, 1.0}
    assert fired.mean().item() == pytest.approx(0.269, abs=0.03)
    fired.sum().backward()
    torch.testing.assert_close(logits.grad, torch.full((4000,), 0.269 * 0.731), atol=1e-3, rtol=0)


def test_binary_neurons_of_both_kinds() -> None:
    """Stochastic neurons differ from draw to draw in training; drawn music is deterministic."""
    made: dict[tuple[str, bool], list[torch.Tensor]] = {}
    for kind in ("deterministic", "stochastic"):
        generator: Any = built(binary=kind)["generator"]
        for training in (True, False):
            generator.train(training)
            torch.manual_seed(4)
            made[kind, training] = [generator.decode(noise_of(generator), SHAPE.frames).roll for _ in range(2)]
    differs = {key: not torch.equal(*rolls) for key, rolls in made.items()}
    assert differs == {
        ("deterministic", True): False, ("deterministic", False): False,
        ("stochastic", True): True, ("stochastic", False): False,
    }  # fmt: skip
    assert all((roll == 0).any() for rolls in made.values() for roll in rolls)


def test_bars_that_do_not_divide_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"network\.bar_frames 30"):
        MuseganSettings(bar_frames=30)


def test_wrong_conditions_count_as_fakes() -> None:
    """With the matching-aware loss alone the critic learns which clock goes with which roll."""
    networks, settings = built(shape=RollShape(2, tiny.KEYS, tiny.FRAMES)), tiny.settings("musegan-seconds")
    roll = torch.rand(6, 2, tiny.KEYS, tiny.FRAMES)
    objective = OBJECTIVES["critic"](networks, settings)
    context = StepContext(0, 0.5, torch.Generator().manual_seed(1), tiny.conditions("musegan-seconds", roll))
    losses = objective.losses("critic", roll, context).losses
    assert set(losses) == {"critic_roll", "penalty_roll", "critic_mismatch"}
    losses["critic_mismatch"].backward()
    assert networks["critic"].clock_in.weight.grad.abs().max() > 0
    assert networks["critic"].style.weight.grad.abs().max() > 0
    assert settings.weight("critic_mismatch") > 0
    assert settings.weight("penalty_roll") == 10


def sampler(shape: RollShape = SHAPE, tracks: tuple[str, ...] = (), **learned: Any) -> Sampler:
    record = MusicRecord(replace(tiny.HEADER, tracks=tracks), 0.2, **learned)
    return Sampler(built(shape=shape), shape, record, "sqrt", models.family("musegan-seconds"))


def test_sampler_draws_how_songs_go_and_goes_by_what_is_asked() -> None:
    songs = (SongStatistics("folk", 90.0, 3), SongStatistics("rock", 120.0, 4), SongStatistics("rock", 140.0, 4))
    drawn = sampler(styles=("rock", "folk"), songs=songs)
    pieces = list(drawn.pieces(12, 60, seed=2))
    assert {(piece.genre, piece.beat.tempo, piece.beat.beats) for piece in pieces} == set(songs)
    asked = [drawn.piece(2, number, 60, request=Request(style="Folk")) for number in range(1, 13)]
    assert {(piece.genre, piece.beat.tempo) for piece in asked} == {("folk", 90.0)}
    for free, folk in zip(pieces, asked, strict=True):
        assert bool(np.array_equal(free.roll, folk.roll)) == (free.genre == "folk")
    fast = drawn.piece(2, 1, 60, request=Request(style="folk", beat=Beat(140)))
    assert (fast.genre, fast.beat.tempo) == ("folk", 140)
    assert not np.array_equal(fast.roll, asked[0].roll)
    song = as_item(fast, drawn, 2, "x")[2]
    assert (song.tempo, song.genre, song.time_signature) == (140, "folk", (4, 4))


def test_long_pieces_keep_one_clock() -> None:
    """Every window is given the clock from where it begins in the piece."""
    drawn, seen = sampler(songs=(SongStatistics("", 90.0, 4),)), []
    decode = drawn.generator.decode
    drawn.generator.decode = lambda *given, **named: (seen.append(named["tempo"]), decode(*given, **named))[1]
    drawn.piece(1, 1, 3 * tiny.FRAMES)
    hop = tiny.FRAMES - max(int(tiny.FRAMES * 0.1), 1)
    assert len(seen) > 2
    for number, told in enumerate(seen):
        expected = beats.clock(Beat(90.0, -number * hop * 0.02), tiny.FRAMES, 0.02)
        np.testing.assert_allclose(told[0].numpy(), expected, atol=1e-5)


def test_a_given_track_sounds_through_the_whole_piece() -> None:
    drawn = sampler(tracks=("drums", "piano", "bass"))
    kept = np.full((3, tiny.KEYS, 70), TO_GENERATE, np.float32)
    kept[1] = np.random.default_rng(1).random((tiny.KEYS, 70)) ** 2
    request = Request(kept=kept)
    request.check(drawn.capabilities)
    piece = drawn.piece(1, 1, 70, request=request)
    np.testing.assert_allclose(piece.roll[1], kept[1], atol=1e-5)
    assert drawn.header.tracks == ("drums", "piano", "bass")
    with pytest.raises(StoreError, match="the given track has 2 channels"):
        Request(kept=kept[:2]).check(drawn.capabilities)


def test_wishes_that_cannot_be_granted() -> None:
    drawn = sampler(styles=("folk", "rock"))
    with pytest.raises(UsageError, match=r"style jazz.* it knows folk, rock"):
        Request(style="jazz").check(drawn.capabilities)
    torch.manual_seed(1)
    networks, family = models.build("original", tiny.NETWORKS["original"], SHAPE), models.family("original")
    plain = Sampler(networks, SHAPE, MusicRecord(tiny.HEADER), "sqrt", family)
    for request, field in ((Request(style="folk"), "style"), (Request(beat=Beat(90)), "tempo")):
        with pytest.raises(UsageError, match=f"{field}: this checkpoint's model does not use it"):
            request.check(plain.capabilities)


FRAMES, KEYS = 240, 12
TEMPI, FRAME = (90.0, 150.0), 0.02


def music(rng: np.random.Generator, style: int, tempo: float) -> tuple[np.ndarray, np.ndarray]:
    """A roll (1, K, T) of a chord on every beat, low in style 1 and high in style 2, and its clock."""
    first, key = rng.uniform(0, 60 / tempo), int(rng.integers(0, 3)) + (6 if style == 2 else 0)
    roll = np.zeros((1, KEYS, FRAMES), np.float32)
    for start in np.arange(first, FRAMES * FRAME, 60 / tempo):
        frame = round(start / FRAME)
        roll[0, key : key + 3, frame : frame + 6] = 0.8
    return roll, beats.clock(Beat(tempo, first), FRAMES, FRAME)


def batch(rng: np.random.Generator, size: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Rolls of both styles at both tempi, in all four combinations, and what goes with them."""
    kinds = [(1 + index % 2, TEMPI[index // 2 % 2]) for index in range(size)]
    made = [music(rng, *kind) for kind in kinds]
    roll = torch.from_numpy(np.stack([one for one, _ in made]))
    given = {
        "style": torch.tensor([style for style, _ in kinds]),
        "tempo": torch.from_numpy(np.stack([told for _, told in made])),
        "kept": torch.full_like(roll, TO_GENERATE),
    }
    return roll, given


def taught() -> nn.ModuleDict:
    """Networks after a short training on made-up music, stage by stage."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network = {
        "bar_frames": 80, "patch_keys": 6, "patch_frames": 10, "latent_dim": 6, "width": 24, "deep_width": 16,
        "temporal_width": 16, "temporal_layers": 2, "temporal_heads": 2, "rounds": 4, "critic_width": 12,
    }  # fmt: skip
    rates = {
        "variational": {"learning_rate": 5e-3, "kl_warmup": 0}, "prior": {"learning_rate": 3e-3},
        "adversarial": {"critic_steps": 2},
    }  # fmt: skip
    settings = configure("musegan-seconds", {"network": network, **rates})
    networks = models.build("musegan-seconds", settings.network, RollShape(1, KEYS, FRAMES))
    rng = np.random.default_rng(3)
    for stage, steps in (("variational", 150), ("prior", 80), ("adversarial", 15)):
        objective = OBJECTIVES[stage](networks, settings)
        optimisers = {side: torch.optim.Adam(groups) for side, groups in objective.groups().items()}
        for step in range(steps):
            roll, given = batch(rng, 12)
            for turn, side in enumerate(objective.sides(step)):
                context = StepContext(step, step / steps, torch.Generator().manual_seed(seed_of(step, turn)), given)
                losses = objective.losses(side, roll, context).losses
                optimisers[side].zero_grad()
                networks.zero_grad()
                torch.stack([settings.weight(name) * loss for name, loss in losses.items()]).sum().backward()
                optimisers[side].step()
    return networks.eval()


def test_what_is_learned_is_followed() -> None:
    """After a short training pieces have the tempo asked for, by autocorrelation, and the style, by a classifier."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(9)
    real, given = batch(rng, 48)
    classifier = LogisticRegression(max_iter=500).fit(real.mean((1, 3)).numpy(), given["style"].numpy())
    generator: Any = taught()["generator"]
    styles, tempi = [], []
    for number in range(16):
        style, tempo = 1 + number % 2, TEMPI[number // 2 % 2]
        asked = Conditions(style, Beat(tempo, 0.3)).at_frames(0, (1, KEYS, FRAMES), FRAME)
        conditions = {name: torch.from_numpy(value)[None] for name, value in asked.items()}
        noise = generator.draw(1, FRAMES, torch.Generator().manual_seed(number))
        with torch.no_grad():
            roll = generator.decode(generator.sample_prior(noise, **conditions), FRAMES, **conditions).roll
        styles.append(classifier.predict(roll.mean((1, 3)).numpy())[0] == style)
        found = beats.estimate(roll[0].numpy(), FRAME)
        tempi.append(found is not None and abs(found.tempo / tempo - 1) < 0.04)
    assert np.mean(styles) >= 0.9, styles
    assert np.mean(tempi) >= 0.8, tempi


def test_the_tool_accompanies(tmp_path: Path) -> None:
    """`given_tracks` reads a store's songs as the sampler wants them."""
    from musigan.sampling.accompaniment import given_tracks, track_number

    keys = tiny.write_keys(tmp_path / "keys", songs=2)
    drawn = sampler(RollShape(2, tiny.KEYS, tiny.FRAMES))
    track = track_number("right", drawn)
    songs = list(given_tracks(store.open_reader(str(keys), ("keys",)), drawn, track, 1.5, lambda *_: None))
    assert [song.title for song in songs] == ["Song 0", "Song 1"]
    assert [song.beat.tempo for song in songs] == [100.0, 120.0]
    for song in songs:
        assert song.kept.shape[-1] == 75
        assert (song.kept[0] == TO_GENERATE).all()
        piece = drawn.piece(1, 1, 75, request=Request(kept=song.kept))
        np.testing.assert_allclose(piece.roll[1], np.minimum(song.kept[1], 1), atol=1e-3)
    with pytest.raises(UsageError, match=r"keep piano.* it has left, right"):
        track_number("piano", drawn)

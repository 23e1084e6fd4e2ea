"""MuseGAN on the grid: who hears whom, what is given, and instruments that are written apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.models.bars.composer import Context
from musigan.models.protocol import Decoded
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.parts import FIGURES
from musigan.rolls.shape import RollShape
from musigan.training.objectives.bars import composition
from tests import tiny

BEATS, COUNT = 6, 3
SHAPE = RollShape(COUNT, tiny.KEYS, BEATS * GRID_FRAMES)
STRUCTURES = ("jamming", "composer", "hybrid")


def built(structure: str) -> Any:
    torch.manual_seed(1)
    networks = models.build("musegan", {**tiny.NETWORKS["musegan"], "structure": structure}, SHAPE)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return networks.eval()["generator"]


def context(batch: int = 2) -> Context:
    outlines = [tiny.with_parts(tiny.outline(BEATS, number), COUNT) for number in range(batch)]
    return Context.of(tiny.context(*outlines))


def by_instrument(beats: torch.Tensor) -> torch.Tensor:
    """Beats (B, N, D) as (B, N, C, numbers of an instrument)."""
    return beats.unflatten(-1, (4, COUNT, -1)).transpose(-3, -2).flatten(-2)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_instruments_are_written_apart(structure: str) -> None:
    generator = built(structure)
    roll = torch.rand(2, COUNT, tiny.KEYS, 48)
    other = roll.clone()
    other[:, 1] = 0
    one, two = (generator.as_beats(generator.encode(each).mean) for each in (roll, other))
    is_changed = (by_instrument(one) != by_instrument(two)).any(-1).flatten(0, 1).any(0)
    assert is_changed.tolist() == [False, True, False]
    with torch.no_grad():
        parts = [generator.decode(generator.as_latents(each), 48).logits for each in (one, two)]
    assert (parts[0] != parts[1]).flatten(2).any(-1).any(0).tolist() == [False, True, False]
    shared = len(generator.codec.codecs) == 1
    assert shared is (structure == "composer")


@pytest.mark.parametrize("structure", STRUCTURES)
def test_who_hears_whom(structure: str) -> None:
    """The past of an instrument is heard by all, unless they jam; and nobody hears what is still to come."""
    generator = built(structure)
    beats = torch.randn(2, BEATS, generator.composer.beat_dim)
    other = beats.clone()
    other.unflatten(-1, (4, COUNT, -1))[:, 3, :, 1] += 1.0
    time, noise = torch.full((2, BEATS), 0.5), torch.randn_like(beats)
    with torch.no_grad():
        one, two = (
            generator.composer.velocity(noise, time, generator.composer.hear(each, context()))
            for each in (beats, other)
        )
    is_changed = (by_instrument(one) != by_instrument(two)).any(-1).any(0)  # (N, C)
    assert not is_changed[:4].any()
    assert is_changed[4].tolist() == ([False, True, False] if structure == "jamming" else [True] * 3)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_is_given_stays_and_is_heard_in_the_same_beat(structure: str) -> None:
    generator = built(structure)
    given = torch.randn(2, 2, BEATS, generator.composer.beat_dim)
    flags = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    made = []
    for each in given:
        asked = context()._replace(given=each, is_given=flags[:, None].expand(-1, BEATS, -1)).part(0, 1)
        with torch.no_grad():
            made.append(generator.as_beats(generator.compose(asked, torch.Generator().manual_seed(3))))
        is_given = flags[:, None, :, None].bool().expand_as(by_instrument(made[-1]))
        assert torch.allclose(by_instrument(made[-1])[is_given], by_instrument(each[:, :1])[is_given], atol=1e-5)
    others = (by_instrument(made[0]) - by_instrument(made[1])).abs().amax(-1)[:, 0]
    is_moved = others > 1e-4
    assert is_moved[flags.bool()].all()
    assert is_moved[~flags.bool()].all() == (structure != "jamming")


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_instrument_that_rests_in_a_bar_is_silent_there(structure: str) -> None:
    generator, told = built(structure), context()
    parts = told.parts.clone()
    parts[0, :3, FIGURES] = 0.0  # the second instrument, whether it plays
    told = told._replace(parts=parts)
    with torch.no_grad():
        beats = by_instrument(generator.as_beats(generator.compose(told, torch.Generator().manual_seed(3))))
        silent = by_instrument(generator.as_beats(generator.encode(torch.zeros(1, COUNT, tiny.KEYS, 480)).mean))[:, 2:3]
    is_silent = (beats - silent).abs().amax(-1) < 1e-4  # (B, N, C)
    assert is_silent[0, :3, 1].all()
    assert is_silent.sum() == 3
    learned, asked = generator.asked(torch.randn(2, BEATS, generator.composer.beat_dim), told, torch.Generator())
    assert (by_instrument(asked)[0, :3, 1] == 0).all()
    assert learned.is_given is not None
    assert (learned.is_given[0, :3, 1] == 1).all()


def test_instruments_are_held_to_what_each_is_told() -> None:
    """One that is told to strike much and does not gets more noise, and the others do not."""
    generator, told = built("hybrid"), context(1).part(0, 1)
    few, many = told.parts.clone(), told.parts.clone()
    few[..., FIGURES + 1], many[..., FIGURES + 1] = 0.1, 1.0
    newest = torch.randn(1, 2, generator.composer.beat_dim)
    with torch.no_grad():
        one, two = (generator._excess(newest, told._replace(parts=parts)) for parts in (few, many))
    assert one.shape == (1, COUNT)
    assert (one > two).tolist() == [[False, True, False]]
    assert torch.equal(one[:, [0, 2]], two[:, [0, 2]])
    scaled = by_instrument(generator.for_players(torch.arange(COUNT)[None].float()))
    assert (scaled == torch.arange(COUNT)[:, None]).all()


def test_a_composer_is_not_asked_for_what_it_is_given() -> None:
    generator = built("hybrid")
    beats = torch.randn(40, 2, generator.composer.beat_dim)
    outlines = [tiny.with_parts(tiny.outline(2), COUNT)] * 40
    told, asked = generator.asked(beats, Context.of(tiny.context(*outlines)), torch.Generator())
    counts = by_instrument(asked).amin((1, 3))
    is_given = told.is_given.amax(1)
    assert ((counts == 0) == (is_given == 1)).all()
    assert (is_given.sum(1) < COUNT).all()
    assert 0 < (is_given.sum(1) > 0).float().mean() < 0.6
    latents = generator.as_latents(beats[:2, :2])
    conditions = {**tiny.context(*(tiny.with_parts(tiny.outline(2, number), COUNT) for number in range(2)))}
    assert torch.isfinite(composition(generator, latents, conditions, torch.Generator()))


def test_a_row_that_hardly_sounds_has_little_noise_and_counts_for_little() -> None:
    generator = built("hybrid")
    songs = []
    for seed in range(3):
        beats = torch.randn(1, BEATS, generator.composer.beat_dim, generator=torch.Generator().manual_seed(seed))
        scale = torch.ones(generator.composer.head.rows)
        scale[1] = 0.0  # of the first instrument
        rows = generator.composer.head.as_rows(beats) * scale[:, None]
        songs.append((generator.composer.head.as_beats(rows), context(1)))
    generator.composer.fit(songs)
    each = generator.composer.head.rows // COUNT
    deviation = generator.composer.deviation.reshape(COUNT, each)
    others = [number for number in range(each) if number != 1]
    assert deviation[0, 1] < 0.5 * deviation[0, others].min()
    assert deviation[0, 1] == pytest.approx(0.15 * deviation[0].max().item())
    weights = generator.composer.head.as_rows(generator.composer.weights()).mean(1).reshape(COUNT, each)
    assert weights.amax(1).tolist() == pytest.approx([1.0] * COUNT)
    assert weights[0, 1] == pytest.approx(0.15)


def test_checkpoints_in_seconds_keep_their_model(tmp_path: Path) -> None:
    """Those that were written when `musegan` had bars of a fixed length."""
    run, _ = tiny.start(tiny.write_keys(tmp_path / "keys"), tiny.settings("musegan-seconds"))
    saved = run.snapshot()
    saved.settings["model"] = "musegan"
    checkpoint.save(tmp_path / "old.pt", saved)
    assert checkpoint.load(tmp_path / "old.pt").training_settings().model == "musegan-seconds"


@pytest.mark.parametrize("structure", STRUCTURES)
def test_instruments_are_told_the_harmony(structure: str) -> None:
    """Another harmony, in one beat: what is drawn there is other, and nothing before it."""
    generator, told = built(structure), context()
    changed = told.harmony.clone()
    changed[0, 3] = changed[0, 3].roll(1)
    with torch.no_grad():
        generator.composer.guess_weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
        one, two = (
            generator.compose(told._replace(harmony=harmony), torch.Generator().manual_seed(3))
            for harmony in (told.harmony, changed)
        )
    is_moved = (one != two).any(-1).unflatten(1, (BEATS, -1)).any(-1)
    assert is_moved.tolist() == [[False] * 3 + [True] * 3, [False] * BEATS]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_composers_of_before_there_was_harmony_draw_what_they_drew(structure: str) -> None:
    composer, told = built(structure).composer, context()
    place, keys = composer.head.plays_column, composer.row_keys
    first = composer.guess_weight.shape[-1] + place - 12 - keys  # before the places in the bar
    with torch.no_grad():
        composer.guess_weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
        own = composer.state_dict()
        old = {name: value for name, value in own.items() if name != "harmony_in.weight"}
        for name, value in old.items():
            if name == "guess_weight" or (name.startswith("head.rows_in.") and name.endswith("weight")):
                at = first + value.shape[-1] - composer.guess_weight.shape[-1]
                old[name] = torch.cat((value[..., :at], value[..., at + keys :]), -1)
        past = torch.randn(2, BEATS, composer.beat_dim)
        without = told._replace(harmony=torch.zeros_like(told.harmony))
        expected = composer.hear(past, without)
        composer.load_state_dict(old)
        for harmony in (told.harmony, told.harmony[..., :0]):
            heard = composer.hear(past, told._replace(harmony=harmony))
            torch.testing.assert_close(heard.voice, expected.voice)
            torch.testing.assert_close(heard.guess, expected.guess)
            noise, time = torch.randn(2, BEATS, composer.beat_dim), torch.rand(2, BEATS)
            torch.testing.assert_close(
                composer.velocity(noise, time, heard), composer.velocity(noise, time, expected), atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_instrument_that_sleeps_on_is_drawn_again_and_the_others_stay(
    structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a decoder for which a beat of zeros is silence. The first and third sleep, the third as it is told to."""
    generator, told = built(structure), context(1).part(0, 1)

    def decode(latents: torch.Tensor, frames: int) -> Decoded:
        loudness = by_instrument(generator.as_beats(latents)).abs().amax((1, 3))[..., None, None]  # (B, C, 1, 1)
        roll = loudness.expand(-1, -1, tiny.KEYS, frames) * (loudness > 1e-3)
        return Decoded(roll, roll)

    monkeypatch.setattr(generator, "decode", decode)
    parts = torch.ones_like(told.parts)
    parts[..., 2 * FIGURES] = 0.0
    here = generator.with_rests(told._replace(parts=parts, harmony=torch.ones_like(told.harmony)))
    first, second, _ = (generator.composer.head.of_beat(row) for row in torch.eye(COUNT))
    drawn = torch.randn(1, 1, generator.composer.beat_dim)
    heard = generator.composer.hear_next(drawn[:, :0], here, generator.composer.memory())
    seen = []

    def draw(context: Context, hearing: Any, blind: Any, louder: torch.Tensor) -> torch.Tensor:
        loudest = louder.max().item()
        seen.append((context.is_given[0, 0].tolist(), loudest))
        assert louder[(second + louder * 0) > 0].tolist() == [1.0] * int(second.sum())  # who is awake
        return generator.with_given(drawn if loudest > 1.15 else 0 * drawn, context)

    def redrawn(before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        seen.clear()
        result: torch.Tensor = generator.redrawn(before, now, here, heard, None, draw)
        return result

    torch.testing.assert_close(redrawn(second * drawn, second * drawn), (first + second) * drawn)
    assert seen == [([0.0, 1.0, 1.0], pytest.approx(1.1)), ([0.0, 1.0, 1.0], pytest.approx(1.21))]
    for before in (drawn, drawn[:, :0]):  # it played, or it plays
        now = second * drawn if before.numel() else drawn
        torch.testing.assert_close(redrawn(before, now), now)
        assert not seen


def test_an_instrument_that_leaves_the_harmony_is_drawn_again_and_the_least_astray_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a decoder that plays key 0 for a beat of ones, key 1 for twos, both for threes; the third are drums."""
    generator, told = built("hybrid"), context(1).part(0, 1)
    generator.unpitched = [2]

    def decode(latents: torch.Tensor, frames: int) -> Decoded:
        said = by_instrument(generator.as_beats(latents))[:, -1].mean(2).round().long()  # (B, C)
        roll = torch.zeros(*said.shape, tiny.KEYS, frames)
        roll[:, :, 0, :], roll[:, :, 1, :] = (said % 2)[..., None], (said // 2)[..., None]
        return Decoded(roll, roll)

    monkeypatch.setattr(generator, "decode", decode)
    harmony = torch.zeros_like(told.harmony)
    harmony[..., 0] = 1.0
    here = generator.with_rests(told._replace(parts=torch.ones_like(told.parts), harmony=harmony))

    def beat(*said: int) -> torch.Tensor:
        return generator.composer.head.of_beat(torch.tensor(said, dtype=torch.float32))[None, None]

    heard = generator.composer.hear_next(beat(1, 1, 1)[:, :0], here, generator.composer.memory())
    asked = []

    def drawing(*answers: int) -> Any:
        turns = iter(answers)

        def draw(context: Context, hearing: Any, blind: Any, louder: torch.Tensor) -> torch.Tensor:
            asked.append(context.is_given[0, 0].tolist())
            assert (louder == 1).all()
            return generator.with_given(beat(*[next(turns)] * 3), context)

        return draw

    with torch.no_grad():
        drawn = generator.redrawn(beat(1, 1, 1), beat(2, 1, 2), here, heard, None, drawing(3, 2, 3))
        torch.testing.assert_close(drawn, beat(3, 1, 2))
        assert asked == [[0.0, 1.0, 1.0]] * 3
        drawn = generator.redrawn(beat(1, 1, 1), beat(2, 1, 2), here, heard, None, drawing(1))
        torch.testing.assert_close(drawn, beat(1, 1, 2))
        for silent in (harmony[..., :0], 0 * harmony):  # of checkpoints of before; where songs are silent
            drawn = generator.redrawn(
                beat(1, 1, 1), beat(2, 1, 2), here._replace(harmony=silent), heard, None, drawing()
            )
            torch.testing.assert_close(drawn, beat(2, 1, 2))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_instruments_are_told_the_feel_and_those_of_before_are_not(structure: str) -> None:
    composer, told = built(structure).composer, context()
    past = torch.randn(2, BEATS, composer.beat_dim)
    changed = told.feel.clone()
    changed[0, 3] = changed[0, 3].roll(1)
    with torch.no_grad():
        one, two = (composer.hear(past, told._replace(feel=feel)).voice for feel in (told.feel, changed))
        is_moved = (one != two).flatten(2).any(-1)
        assert is_moved.tolist() == [[False] * 3 + [True] * 3, [False] * BEATS]
        state = {name: value for name, value in composer.state_dict().items() if name != "feel_in.weight"}
        composer.load_state_dict(state)
        without = composer.hear(past, told._replace(feel=told.feel[..., :0])).voice
        torch.testing.assert_close(composer.hear(past, told).voice, without)

"""The model bars: what its codec keeps, what its composer may know, and pieces beat after beat."""

from __future__ import annotations

import math
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from musigan import models
from musigan.errors import SettingsError
from musigan.models.bars.codec import TOKEN_FRAMES, fullness, onsets_of, steepened
from musigan.models.bars.composer import Context, Heard, Memory, earlier
from musigan.models.bars.generator import Generator
from musigan.models.bars.settings import BarSettings
from musigan.models.windows import decode_in_windows
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import CLASSES, SCENE
from musigan.rolls.shape import RollShape
from musigan.rolls.timing import FAINT, RISE
from musigan.training.objectives.bars import composition
from tests import tiny

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, 4 * GRID_FRAMES)


def networks(shape: RollShape = SHAPE, **changes: Any) -> nn.ModuleDict:
    torch.manual_seed(1)
    return models.build("bars", {**tiny.NETWORKS["bars"], **changes}, shape)


def generator(shape: RollShape = SHAPE, loud: bool = True, **changes: Any) -> Generator:
    """A generator in use; where `loud`, past the zeros that residual branches and the flow start at."""
    built: Any = networks(shape, **changes)["generator"].eval().requires_grad_(False)
    if loud:
        for parameter in built.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    built.latent_mean.copy_(torch.linspace(-0.3, 0.4, len(built.latent_mean)))
    built.latent_deviation.fill_(0.7)
    if loud:
        built.composer.guess_weight.normal_(std=0.1)
        built.composer.guess_bias.normal_(std=0.1)
        built.composer.deviation.fill_(0.8)
    return built  # type: ignore[no-any-return]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def music(count: int, shape: RollShape) -> Tensor:
    """Rolls (B, C, K, T) of held notes that begin loud and fade, the first channel louder, silence between them."""
    source, rolls = rng(5), torch.zeros(count, shape.channels, shape.keys, shape.frames)
    for roll in rolls:
        for start in range(0, shape.frames - 7, 12):
            key = int(torch.randint(shape.keys, (), generator=source))
            level = 0.5 + 0.4 * torch.rand((), generator=source)
            roll[:, key, start : start + 7] = level * torch.linspace(1, 0.6, 7)
        roll[1:] *= 0.5
    return rolls


def beats_of(built: Generator, count: int, seed: int = 2) -> Tensor:
    return torch.randn(1, count, built.composer.beat_dim, generator=rng(seed))


def context(count: int, number: int = 1, **changes: Any) -> Context:
    """What a composer is told of `count` beats, two a bar, and that each bar is like the one two bars before."""
    return Context.of(tiny.context(tiny.outline(count, number, **changes)))


def joined(heard: Heard) -> Tensor:
    """All that is known before each beat, side by side: (B, N, ...)."""
    return torch.cat((heard.voice, heard.rows.flatten(2), heard.scale.flatten(2), heard.guess), -1)


# ---- the codec ----


@pytest.mark.parametrize("shape", [SHAPE, RollShape(1, 5, 24), RollShape(3, 16, 31), RollShape(2, 88, 48)], ids=str)
def test_rolls_of_any_size_come_back_as_large(shape: RollShape) -> None:
    built = generator(shape)
    posterior = built.encode(music(3, shape))
    steps, rows = -(-shape.frames // TOKEN_FRAMES), -(-shape.keys // 4)
    assert posterior.mean.shape == posterior.log_variance.shape == (3, steps, rows * 3)
    decoded = built.decode(posterior.mean, shape.frames)
    size = (3, shape.channels, shape.keys, shape.frames)
    assert decoded.loudness is not None
    assert decoded.onsets is not None
    assert decoded.roll.shape == decoded.logits.shape == decoded.loudness.shape == decoded.onsets.shape == size
    assert 0 <= decoded.roll.min() < decoded.roll.max() <= 1
    assert built.steps(shape.frames) == -(-shape.frames // GRID_FRAMES) * 4


def test_what_the_gate_closes_is_exactly_silent() -> None:
    built = generator()
    decoded = built.decode(torch.randn(2, 16, built.codec.latent_dim, generator=rng()), SHAPE.frames)
    is_open = decoded.logits > 0
    assert 0.1 < is_open.float().mean() < 0.9
    assert (decoded.roll[~is_open] == 0).all()
    assert decoded.roll[is_open].max() > 0.1


def test_principal_components_carry_most_of_the_music_from_the_start() -> None:
    """Before any step; with little variety all of it, loudness and the cells that sound."""
    shape = RollShape(2, 11, 4 * GRID_FRAMES)
    rolls = music(12, shape)
    rolls[..., 1::2, :] = 0

    def error(built: Generator) -> float:
        decoded = built.decode(built.encode(rolls).mean, shape.frames)
        assert decoded.loudness is not None
        return float((decoded.loudness - rolls).square().mean() / rolls.square().mean())

    at_random, begun = generator(loud=False, row_latents=8), generator(loud=False, row_latents=8)
    begun.codec.begin_with(rolls)
    for built in (at_random, begun):  # what the bypasses say alone
        nn.init.zeros_(built.codec.pack_out.weight)
        nn.init.zeros_(built.codec.pack_out.bias)  # type: ignore[arg-type]
        nn.init.zeros_(built.codec.to_posterior.weight)
    assert error(at_random) > 0.9
    assert error(begun) < 0.4
    decoded = begun.decode(begun.encode(rolls).mean, shape.frames)
    shared = ((decoded.logits > 0) & (rolls > 0)).sum() / ((decoded.logits > 0) | (rolls > 0)).sum()
    assert shared > 0.5


def test_too_little_music_begins_at_random() -> None:
    built = generator()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    rolls = torch.zeros(3, 2, 11, 48)
    rolls[0, :, 2, 3:9] = 0.5  # two patches that sound, and three numbers for each
    built.codec.begin_with(rolls)
    assert [name for name, value in built.state_dict().items() if not torch.equal(value, before[name])] == []


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_window_decodes_as_the_whole_does(blocks: int) -> None:
    """With the receptive field on either side; with a step less it does not, attacks included."""
    built = generator(fine_blocks=blocks)
    latents = torch.randn(1, 70, built.codec.latent_dim, generator=rng(1))
    whole = built.decode(latents, 70 * TOKEN_FRAMES).roll
    assert whole.max() > 0.1
    for size in (1, 9):
        torch.testing.assert_close(decode_in_windows(built, latents, size), whole, atol=2e-6, rtol=0)
    reach = built.decoder_receptive_field

    def changed(step: int) -> Tensor:
        """Return how much each step of the whole changes, (70), when one step of latents does."""
        others = latents.clone()
        others[:, step] += 3.0
        difference = (built.decode(others, 70 * TOKEN_FRAMES).roll - whole).abs()
        return difference.amax((0, 1, 2)).unflatten(0, (70, -1)).amax(1)

    distances = (torch.arange(70) - 35).abs()
    assert (changed(35)[distances > reach] == 0).all()
    assert changed(35)[distances >= reach - 1].max() > 0


def test_the_encoder_sees_no_farther_than_the_decoder() -> None:
    built, roll = generator(), music(1, RollShape(2, 11, 60 * TOKEN_FRAMES))
    other = roll.clone()
    other[..., 30 * TOKEN_FRAMES : 31 * TOKEN_FRAMES] += 0.4
    moved = (built.encode(other).mean - built.encode(roll).mean).abs().amax((0, 2))
    assert (moved[(torch.arange(60) - 30).abs() > built.decoder_receptive_field] == 0).all()


def test_onsets_by_hand() -> None:
    """Struck: from silence, again and much louder; neither what fades, nor what is faint, nor what swells slowly."""
    roll = torch.tensor([[0.5, 0.4, 0.3, 0.45, 0.5], [0.0, 0.1, 0.13, 0.0, 0.2], [0.3, 0.4, 0.5, 0.6, 0.7]])[None, None]
    expected = torch.tensor([[1.0, 0, 0, 1, 0], [0.0, 0, 0, 0, 1], [1.0, 0, 0, 0, 0]])[None, None]
    assert FAINT > 0.13
    torch.testing.assert_close(onsets_of(roll), expected)


def test_steepened_attacks_are_onsets_again() -> None:
    """What sounds before an onset gives way, and only that: not where nothing sounds, nor after it."""
    roll = torch.tensor([[0.6, 0.6, 0.7, 0.7], [0.6, 0.6, 0.0, 0.7], [0.1, 0.1, 0.7, 0.7]])[None, None]
    onsets = torch.full_like(roll, -1.0)
    onsets[..., 2] = 1.0
    steep = steepened(roll, onsets)
    expected = roll.clone()
    expected[0, 0, 0, 1] = 0.7 / RISE
    torch.testing.assert_close(steep, expected)
    torch.testing.assert_close(steepened(roll, torch.full_like(roll, -1.0)), roll)


def test_keys_and_octaves_are_told_apart() -> None:
    built = generator()
    roll = torch.zeros(1, 2, 11, GRID_FRAMES)
    roll[:, :, 1, 4:12] = 0.7
    assert not torch.allclose(built.encode(roll).mean[..., :3], built.encode(roll.roll(4, 2)).mean[..., 3:6], atol=1e-3)


# ---- the composer ----


def test_earlier_beats_by_hand() -> None:
    beats = torch.tensor([[1.0, 2, 3, 4, 5]])[..., None]
    lags = torch.tensor([[0, 1, 2, 4, 2]])
    assert earlier(beats, lags).flatten().tolist() == [0, 1, 1, 0, 3]


def test_likeness_is_read_from_where_the_outline_writes_it() -> None:
    outline = tiny.outline(9, 2)
    told = Context.of(tiny.context(outline))
    torch.testing.assert_close(told.likeness[0, :, 0], torch.tensor(outline.likeness, dtype=torch.float32))
    assert told.likeness.max() == pytest.approx(0.7)


@pytest.mark.parametrize("changed", [0, 3, 11])
def test_a_beat_knows_those_before_it_alone(changed: int) -> None:
    built, told = generator(), context(20)
    beats = beats_of(built, 20)
    other = beats.clone()
    other[:, changed] += 2.0
    moved = (joined(built.composer.hear(other, told)) - joined(built.composer.hear(beats, told))).abs().amax((0, 2))
    assert (moved[: changed + 1] == 0).all()
    assert (moved[changed + 1 :] > 1e-6).all()


def test_lookback_and_plan_show_single_beats() -> None:
    """Without attention beat 19 hears the two before it, 1, 2, 4 and 8 bars of two beats back, and that of the plan."""
    built, told = generator(composer_layers=1), context(20, number=4)  # the plan leads five bars back
    nn.init.zeros_(built.composer.layers[0].merge.weight)  # type: ignore[union-attr,arg-type]
    beats = beats_of(built, 20)
    heard = joined(built.composer.hear(beats, told))[0, 19]
    reached = set()
    for number in range(20):
        other = beats.clone()
        other[:, number] += 2.0
        if not torch.allclose(joined(built.composer.hear(other, told))[0, 19], heard, atol=1e-5):
            reached.add(19 - number)
    assert reached == {1, 2, 4, 8, 10, 16}


@pytest.mark.parametrize("number", [0, 1, 3])
def test_beat_after_beat_hears_what_all_at_once_does(number: int) -> None:
    built, told = generator(), context(23, number)
    beats, memory = beats_of(built, 23), built.composer.memory()
    whole = joined(built.composer.hear(beats, told))
    for place in range(23):
        here = told.part(place, 1)
        heard = joined(built.composer.hear_next(beats[:, :place], here, memory))
        torch.testing.assert_close(heard[:, 0], whole[:, place], atol=2e-5, rtol=1e-4)


def test_beats_heard_at_once_are_remembered_as_one_by_one() -> None:
    """Beat 20 after a memory of 9 beats, which heard 19 at once or each apart."""
    built, told = generator(composer_layers=2, memory_beats=9), context(20, 1)
    beats, apart, at_once = beats_of(built, 20), built.composer.memory(), built.composer.memory()
    for place in range(19):
        built.composer.hear_next(beats[:, :place], told.part(place, 1), apart)
    built.composer.hear(beats[:, :19], told.part(0, 19), memory=at_once)
    last = told.part(19, 1)
    expected, found = (joined(built.composer.hear_next(beats[:, :19], last, memory)) for memory in (apart, at_once))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert at_once[0].key is not None
    assert at_once[0].key.shape[2] == 9


def test_memory_forgets_the_oldest() -> None:
    """Of five beats, with lookback of eight bars of a beat: beat 29 hears from beat 17 on, with one layer."""
    built, told = (
        generator(composer_layers=1, memory_beats=5),
        context(30, meter=1, lags=torch.zeros(30, dtype=int).numpy()),
    )
    beats = beats_of(built, 30)

    def last(past: Tensor) -> Tensor:
        memory = built.composer.memory()
        for place in range(30):
            here = told.part(place, 1)
            heard = joined(built.composer.hear_next(past[:, :place], here, memory))
        assert memory[0].key is not None
        assert memory[0].key.shape[2] == 5
        return heard

    whole = last(beats)
    for number, is_heard in ((0, False), (16, False), (17, True), (28, True)):
        other = beats.clone()
        other[:, number] += 2.0
        assert torch.equal(last(other), whole) is not is_heard, number


def test_memory_in_its_limits_by_hand() -> None:
    memory = Memory(3)
    for number in range(5):
        beat = torch.full((1, 1, 1, 1), float(number))
        keys, values = memory.add(beat, -beat)
    assert keys.flatten().tolist() == [2, 3, 4]
    assert values.flatten().tolist() == [-2, -3, -4]


def test_styles_beyond_the_last_share_an_embedding() -> None:
    built, told, beats = generator(), context(3), beats_of(generator(), 3)
    heard = [built.composer.hear(beats, told._replace(style=torch.tensor([n]))).voice for n in (1, 62, 63, 64, 900)]
    assert torch.equal(heard[2], heard[3])
    assert torch.equal(heard[2], heard[4])
    assert not torch.allclose(heard[0], heard[1])
    assert not torch.allclose(heard[1], heard[2])


def test_what_is_not_known_counts_for_nothing() -> None:
    """The loss of a song that ends is that of its beats, whatever fills the rest."""
    built, told = generator(), {**tiny.context(tiny.outline(4, 1), tiny.outline(6, 2))}
    latents = torch.randn(2, 24, built.codec.latent_dim, generator=rng(3))
    other = latents.clone()
    other[0, 16:] += 5.0
    losses = [composition(built, each, told, rng(), 2, 0.3, told["known"]).item() for each in (latents, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    all_count = [composition(built, each, told, rng(), 2, 0.3).item() for each in (latents, other)]
    assert all_count[1] > 1.2 * all_count[0]


def test_past_noise_blurs_what_is_heard_and_not_what_is_learned() -> None:
    """Nothing is heard of the first beat, so its loss is the same; that of the others is not."""
    built, told = generator(), tiny.context(tiny.outline(5, 1))
    latents = torch.randn(1, 20, built.codec.latent_dim, generator=rng(3))
    first = (torch.arange(5) < 1).float()[None]
    for known, same in ((first, True), (1 - first, False)):
        plain, blurred = (composition(built, latents, told, rng(), 1, noise, known).item() for noise in (0.0, 3.0))
        assert (plain == pytest.approx(blurred, rel=1e-6)) is same


def test_a_share_of_the_beats_stands_for_all() -> None:
    """Of two beats one is drawn in a step: over many steps as often the one as the other, which cost what both do."""
    built, told = generator(), tiny.context(tiny.outline(2, 1))
    latents = torch.randn(1, 8, built.codec.latent_dim, generator=rng(3))
    latents[:, 4:] *= 3.0  # the second beat costs much more
    draws = [composition(built, latents, told, rng(seed), beats_share=0.5).item() for seed in range(60)]
    both = [composition(built, latents, told, rng(seed)).item() for seed in range(60)]
    assert sum(draws) == pytest.approx(sum(both), rel=0.25)
    is_second = [value > sum(both) / 60 for value in draws]
    assert 15 <= sum(is_second) <= 45


def test_from_some_pieces_the_past_is_kept_and_never_from_the_guess() -> None:
    built, told = generator(), tiny.context(tiny.outline(5, 1), tiny.outline(5, 2))
    beats = torch.cat([beats_of(built, 5, seed) for seed in (1, 2)])
    known = torch.tensor([1.0, 0.0])[:, None, None]
    plain, other = (built.composer.hear(each, Context.of(told), known) for each in (beats, beats + 1.0))
    assert not torch.allclose(plain.voice[0, 1:], other.voice[0, 1:], atol=1e-4)
    torch.testing.assert_close(plain.voice[1], other.voice[1])
    assert (plain.rows[1] == 0).all()
    assert (plain.scale[1] == 0).all()
    assert not torch.allclose(plain.guess[1, 1:], other.guess[1, 1:], atol=1e-4)
    blind = built.composer.hear_next(beats[:, :3], Context.of(told).part(3, 1), built.composer.memory(), 0.0)
    assert (blind.rows == 0).all()
    latents = torch.randn(2, 20, built.codec.latent_dim, generator=rng(3))
    never, always = (composition(built, latents, told, rng(), past_unknown=share).item() for share in (0.0, 1.0))
    assert never != pytest.approx(always, rel=1e-3)


def test_rows_are_told_how_much_their_own_keys_are_heard() -> None:
    """By hand: key 17, the second of the fifth row of four keys, is of the sixth pitch class above the lowest."""
    built, told = generator(RollShape(2, 27, 96)), context(3)
    scale = built.composer.hear(beats_of(built, 3), told).scale
    assert scale.shape == (1, 3, 7, 4)
    torch.testing.assert_close(scale[..., 4, 1], told.scene[..., 5])
    torch.testing.assert_close(scale[..., 0, 3], told.scene[..., 3])


def test_a_composer_of_before_there_were_scenes_takes_no_notice_of_them() -> None:
    built = generator()
    old = {
        name: value for name, value in built.state_dict().items() if "scene_in" not in name and "scale_in" not in name
    }
    assert len(old) < len(built.state_dict())
    built.load_state_dict(old)
    told, beats = context(6), beats_of(built, 6)
    heard, unheard = (built.composer.hear(beats, each) for each in (told, no_scene(told)))
    assert torch.equal(heard.voice, unheard.voice)
    time = torch.full((1, 6), 0.4)
    assert torch.equal(built.composer.velocity(beats, time, heard), built.composer.velocity(beats, time, unheard))


def no_scene(told: Context) -> Context:
    """The same context of a checkpoint that knows no scenes."""
    return told._replace(scene=torch.zeros_like(told.scene))


def test_guidance_leads_away_from_what_is_drawn_without_the_past() -> None:
    """Velocity with the past, and as much of the difference again as is set; of none, the second pass is saved."""
    built, led = generator(), generator(guidance=0.5)
    told, beats = context(4), beats_of(built, 4)
    heard, blind = built.composer.hear(beats, told), built.composer.hear(beats, told, 0.0)
    time = torch.full((1, 4), 0.4)
    noise = beats_of(built, 4, 9)
    with_past, without = (built.composer.velocity(noise, time, each) for each in (heard, blind))
    assert not torch.allclose(with_past, without, atol=1e-3)
    torch.testing.assert_close(led._velocity(noise, time, heard, blind), 1.5 * with_past - 0.5 * without)
    torch.testing.assert_close(led._velocity(noise, time, heard, None), with_past)
    assert not torch.allclose(led.compose(told, rng(1)), built.compose(told, rng(1)), atol=1e-3)


def test_beats_are_sorted_by_rows_of_keys() -> None:
    """By hand: the second row of a beat holds the second three numbers of each of its four 16ths."""
    head = generator().composer.head
    beats = torch.arange(36.0)[None, None]  # four 16ths of three rows of three numbers
    rows = head.as_rows(beats)
    assert rows.shape == (1, 1, 3, 12)
    assert rows[0, 0, 1].tolist() == [3, 4, 5, 12, 13, 14, 21, 22, 23, 30, 31, 32]
    assert torch.equal(head.as_beats(rows), beats)


def test_rows_share_all_weights_but_which_keys_they_are() -> None:
    """What moves by a row of keys in the middle moves the flow by a row, once no row knows its place."""
    built = generator(RollShape(2, 27, 96))
    head = built.composer.head
    nn.init.zeros_(head.row_map)
    nn.init.zeros_(head.told.weight)
    nn.init.zeros_(head.told.bias)
    voice = torch.randn(1, 1, 16, generator=rng(1))
    rows, noise = torch.zeros(1, 1, 7, head.row_in.in_features - 12), torch.zeros(1, 1, 7, 12)
    rows[..., 2, :], noise[..., 2, :] = torch.randn(rows.shape[-1], generator=rng(2)), torch.randn(12, generator=rng(3))
    scale = torch.zeros(1, 1, 7, 4)
    scale[..., 2, 1] = 1.0

    def velocity(shift: int) -> Tensor:
        heard = Heard(voice, rows.roll(shift, 2), scale.roll(shift, 2), torch.zeros(1, 1, 84))
        return head.as_rows(head(head.as_beats(noise.roll(shift, 2)), torch.full((1, 1), 0.3), heard))

    torch.testing.assert_close(velocity(1)[..., 2:5, :], velocity(0)[..., 1:4, :], atol=1e-5, rtol=1e-4)
    assert (velocity(0)[..., 1, :] - velocity(0)[..., 5, :]).abs().max() > 1e-3  # a neighbour sees it, others do not


def test_the_guess_is_solved_for() -> None:
    """Of songs whose beats repeat after a bar of two, all is guessed; of white noise nothing, and all is left."""
    told, noise = context(16, number=0), rng(7)
    built = generator(loud=False)
    bar = torch.randn(40, 1, 2, built.composer.beat_dim, generator=noise)
    built.composer.fit((each.repeat(1, 8, 1), told) for each in bar)
    beats = bar[3].repeat(1, 8, 1)
    heard = built.composer.hear(beats, told)
    assert (heard.guess - beats)[:, 2:].square().mean() < 0.05
    assert built.composer.deviation < 0.6
    torch.testing.assert_close(built.composer.absolute(built.composer.relative(beats, heard), heard), beats)
    built.composer.fit((torch.randn(1, 16, built.composer.beat_dim, generator=noise), told) for _ in range(40))
    assert built.composer.deviation.item() == pytest.approx(1.0, abs=0.05)
    assert built.composer.guess_weight.abs().mean() < 0.03


def test_an_untrained_flow_draws_white_noise() -> None:
    """The velocity of noise is known: what ten steps draw is as loud as what they began with."""
    built = generator(loud=False, flow_steps=10)
    drawn = built._flow(torch.randn(1, 300, built.composer.beat_dim, generator=rng()), silent(built, 300), None, 0, 10)
    assert drawn.std().item() == pytest.approx(1.0, abs=0.05)


def silent(built: Generator, count: int) -> Heard:
    """What is heard of silence."""
    return built.composer.hear(torch.zeros(1, count, built.composer.beat_dim), context(count))


# ---- composed pieces ----


def test_beats_and_latents_are_each_others_inverse() -> None:
    built = generator()
    latents = torch.randn(2, 12, built.codec.latent_dim, generator=rng())
    beats = built.as_beats(latents)
    assert beats.shape == (2, 3, 4 * built.codec.latent_dim)
    torch.testing.assert_close(built.as_latents(beats), latents)
    third = (latents[1, 6] - built.latent_mean) / 0.7  # the third 16th of the second beat
    torch.testing.assert_close(beats[1, 1].unflatten(0, (4, -1))[2], third)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_piece_of_any_length_is_its_seed(count: int) -> None:
    built, told = generator(), context(count)
    one, same, other = (built.compose(told, rng(seed)) for seed in (3, 3, 4))
    assert one.shape == (1, 4 * count, built.codec.latent_dim)
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_a_shorter_piece_is_the_beginning_of_a_longer_one() -> None:
    built = generator()
    long, short = (built.compose(context(count, begins=False), rng(3)) for count in (9, 5))
    torch.testing.assert_close(long[:, :20], short)


def test_temperature_is_the_noise() -> None:
    built, told = generator(), context(6)
    still, again = (built.compose(told, rng(seed), 0.0) for seed in (1, 2))
    assert torch.equal(still, again)
    half = built.compose(told, rng(1), 0.5)
    assert not torch.allclose(half, built.compose(told, rng(1), 1.0))
    built.noise_deviation.fill_(0.5)  # of as dense music
    assert torch.equal(built.compose(told, rng(1), 1.0), half)


def test_fullness_by_hand() -> None:
    """Of two keys one is held on from the beat before and struck again; the other sounds for a sixth of the beat."""
    roll = torch.zeros(1, 2, 2, 2 * GRID_FRAMES)
    roll[:, 0, 0, 9:30], roll[:, 1, 0, 30:] = 0.3, 0.8
    roll[:, 1, 1, 40:44] = 0.5
    attacks, sounding = fullness(roll, 1)
    assert attacks.tolist() == [2]
    assert sounding.item() == pytest.approx((1 + 1 / 6) / 2)
    attacks, sounding = fullness(roll, 2)
    assert attacks.tolist() == [1.5]
    assert sounding.item() == pytest.approx((39 + 4) / 96)


def test_noise_is_held_by_how_full_a_piece_has_become(monkeypatch: pytest.MonkeyPatch) -> None:
    """Excess by hand, where one of two keys sounds on and is struck once; the more of it, the less noise."""
    built, told = generator(), context(3)
    scene = torch.zeros(1, 1, SCENE)
    scene[..., CLASSES], scene[..., CLASSES + 1] = math.log2(1 + 4) / 4, 4 * 0.25**0.5  # told: 4 attacks, a quarter
    roll = torch.zeros(1, 2, 2, 2 * GRID_FRAMES)
    roll[:, :, 0, 1:30], roll[:, :, 0, 30:] = 0.3, 0.8
    monkeypatch.setattr(built, "decode", lambda latents, frames: SimpleNamespace(roll=roll[..., :frames]))
    here = told.part(0, 1)._replace(scene=scene)
    found = built._excess(beats_of(built, 2), here).item()
    assert found == pytest.approx((math.log2((1 + 2) / (4 + 2)) + math.log2(0.51 / 0.26)) / 2, abs=1e-5)
    assert built._excess(beats_of(built, 2), no_scene(here)).item() == 0
    for excess in (-1.0, 1.0):
        noises: list[Tensor] = []
        monkeypatch.setattr(built, "_excess", lambda newest, here, excess=excess: torch.full((1,), excess))
        monkeypatch.setattr(built, "_flow", lambda noise, *given, noises=noises: noises.append(noise) or noise)
        built.compose(told, rng(3))
        source = rng(3)
        for number, counts in enumerate((0.0, 0.2, 0.2 + 0.8 * 0.2)):  # a fifth of the newest beat's excess each time
            white = torch.randn(1, 1, built.composer.beat_dim, generator=source)
            torch.testing.assert_close(noises[number], white * 2 ** (-0.25 * counts * excess))


def test_the_past_stays_and_is_gone_on_from() -> None:
    built, told = generator(), context(7)
    past = torch.randn(1, 12, built.codec.latent_dim, generator=rng(8))
    whole = built.compose(told, rng(3), past=past)
    assert whole.shape == (1, 28, built.codec.latent_dim)
    torch.testing.assert_close(whole[:, :12], past)
    other = built.compose(told, rng(3), past=past + 1.0)
    assert not torch.allclose(whole[:, 12:16], other[:, 12:16], atol=1e-4)


def test_training_and_drawing_run_the_same_flow() -> None:
    """A piece composed from noise is what the flow makes of that noise after the piece's own beats."""
    built, told = generator(), no_scene(context(6))  # without a scene nothing holds the noise
    piece = built.compose(told, rng(3))
    noise, source = torch.zeros(1, 6, built.composer.beat_dim), rng(3)
    for number in range(6):
        noise[:, number] = torch.randn(1, 1, built.composer.beat_dim, generator=source)[:, 0]
    again = built.sample_prior(noise, past=piece, **told._asdict())
    torch.testing.assert_close(again, piece, atol=1e-4, rtol=1e-3)
    halfway = built.sample_prior(noise, 0, 2, past=piece, **told._asdict())
    assert halfway.shape == noise.shape
    torch.testing.assert_close(built.sample_prior(halfway, 2, past=piece, **told._asdict()), again)


# ---- settings ----

SIZES = {
    "patch_keys": 3, "row_latents": 4, "width": 10, "deep_width": 12, "fine_blocks": 2, "deep_blocks": 2,
    "composer_width": 24, "composer_layers": 3, "head_width": 10, "head_layers": 2, "critic_width": 8,
    "latent_critic_width": 0, "chroma_critic_width": 0, "spectral": False,
}  # fmt: skip


@pytest.mark.parametrize("setting", SIZES)
def test_every_size_has_an_effect(setting: str) -> None:
    plain = {name: value.shape for name, value in networks().state_dict().items()}
    assert plain != {name: value.shape for name, value in networks(**{setting: SIZES[setting]}).state_dict().items()}


def test_what_changes_no_shape_changes_the_music() -> None:
    told = context(5)
    piece = generator().compose(told, rng())
    for change in ({"composer_heads": 4}, {"flow_steps": 5}, {"guidance": 0.3}, {"memory_beats": 1}):
        assert not torch.allclose(generator(**change).compose(told, rng()), piece), change
    for share, is_random in ((0.0, False), (0.5, True)):
        built = generator(composer_dropout=share).train()
        heard = [built.composer.hear(beats_of(built, 5), told).voice for _ in range(2)]
        assert torch.equal(*heard) is not is_random
    tested = {*SIZES, "composer_heads", "flow_steps", "composer_dropout", "guidance", "memory_beats"}
    tested |= {"sides"}  # of mono: test_adapting
    assert tested == {entry.name for entry in fields(BarSettings)}


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"network\.composer_width 20 .* network\.composer_heads \(4\)"):
        BarSettings(composer_width=20, composer_heads=4)


def test_critic_hears_rolls_and_latents_each_alone() -> None:
    critic: Any = networks()["critic"].eval()
    roll, latents = music(3, SHAPE), torch.randn(3, 16, 9, generator=rng())
    told = critic(roll, latents, per_sample=True, **context(4)._asdict())
    assert set(told.logits) == {"roll", "chroma", "latent"}
    assert all(logit.shape == (3, 1) for logit in told.logits.values())
    alone = critic(roll[1:2], latents[1:2], per_sample=True)
    for view, logit in told.logits.items():
        torch.testing.assert_close(logit[1:2], alone.logits[view])

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from importlib import resources
from typing import Any

import pytest
import torch
from torch import nn

from musigan import models
from musigan.checkpoints.settings import PRESETS, configure
from musigan.errors import SettingsError
from musigan.layers.packing import chroma
from musigan.models import protocol
from musigan.models.bars import generator as bars
from musigan.models.bars.composer import Context
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.shape import RollShape
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


EXTRAS = {"gaussian": True, "critic_heads": True}
# Families that write rolls as latents and play on both; the others have tests of their own.
LATENT = ["musigan", "original"]


def built(name: str, shape: RollShape = SHAPE, **changes: Any) -> nn.ModuleDict:
    torch.manual_seed(1)
    known = {entry.name for entry in fields(models.family(name).settings)}
    extras = {key: value for key, value in changes.items() if key not in EXTRAS or key in known}
    return models.build(name, {**tiny.NETWORKS[name], **extras}, shape)


def shape_of(name: str) -> RollShape:
    """The shape of a training roll: of models that think in beats, long enough for all that they look back to."""
    return RollShape(tiny.CHANNELS, tiny.KEYS, 19 * GRID_FRAMES) if models.family(name).on_beats else SHAPE


def real(batch: int = 4, shape: RollShape = SHAPE) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    loud = torch.rand(batch, shape.channels, shape.keys, shape.frames, generator=rng)
    return loud * (torch.rand(loud.shape, generator=rng) > 0.6)


def context(step: int = 0, **given: torch.Tensor) -> StepContext:
    return StepContext(step, 0.5, torch.Generator().manual_seed(3), given)


@pytest.mark.parametrize("name", models.FAMILIES)
def test_family_is_complete(name: str) -> None:
    family = models.family(name)
    assert family.name == name
    assert family.summary
    assert family.paper
    assert set(family.stages) <= set(OBJECTIVES)


@pytest.mark.parametrize("name", models.FAMILIES)
def test_a_family_declares_what_its_networks_offer(name: str) -> None:
    family, generator = models.family(name), built(name)["generator"]
    composes = isinstance(generator, protocol.BeatComposer)
    offers = {
        "draws": isinstance(generator, (protocol.NoiseGenerator, protocol.Continuation)),
        "on_beats": composes,
        "extends": composes or isinstance(generator, protocol.Continuation),
        "morphs": composes or isinstance(generator, protocol.TimeGenerator),
        "translates": isinstance(generator, protocol.Translator),
        "takes_temperature": composes or isinstance(generator, protocol.Likelihood),
        "encodes": isinstance(generator, protocol.Autoencoder),
    }
    assert offers == {capability: getattr(family, capability) for capability in offers}


STAGE_NEEDS: dict[str, tuple[Any, Any]] = {
    "variational": (protocol.Autoencoder, None),
    "prior": (protocol.Flow, None),
    "codec": (protocol.Autoencoder, None),
    "composer": (protocol.BeatComposer, None),
    "likelihood": (protocol.Likelihood, None),
    "critic": (protocol.NoiseGenerator, protocol.Critic),
    "adversarial": (protocol.NoiseGenerator, protocol.Critic),
    "translation": (protocol.Translator, protocol.KindCritic),
}


@pytest.mark.parametrize("name", models.FAMILIES)
def test_networks_offer_what_their_stages_need(name: str) -> None:
    networks = built(name)
    for stage in models.family(name).stages:
        generator, critic = STAGE_NEEDS[stage]
        assert isinstance(networks["generator"], generator), stage
        assert critic is None or isinstance(networks["critic"], critic), stage
    assert ("critic" in networks) == any(STAGE_NEEDS[stage][1] for stage in models.family(name).stages)
    assert ("pool" in networks and isinstance(networks["pool"], protocol.FakePool)) == models.family(name).translates


PLAIN = {"roll", "latents", "time", "frames", "per_sample", "kind"}  # parameters that are no conditions


@pytest.mark.parametrize("name", models.FAMILIES)
def test_conditions_are_what_the_networks_take_by_name(name: str) -> None:
    """The networks of cyclegan take the other kind as a roll like any."""
    family, networks, taken = models.family(name), built(name), set[str]()
    functions = [("generator", function) for function in ("decode", "encode", "velocity")] + [("critic", "forward")]
    for network, function in functions:
        kind = type(networks[network]) if network in networks else object
        declared = next(
            (vars(base)[function] for base in kind.__mro__[: -len(nn.Module.__mro__)] if function in vars(base)), None
        )
        parameters = list(inspect.signature(declared).parameters.values())[1:] if declared else []
        taken |= {one.name for one in parameters if one.kind is not one.VAR_KEYWORD}
    if family.on_beats:
        taken |= conditions_of_outlines()
    if family.on_beats and type(networks["generator"]).with_given is not bars.Generator.with_given:
        taken.add("kept")
    assert taken - PLAIN == set(family.conditions) - {"other"}
    assert ("other" in family.conditions) == family.translates == (family.stores == 2)


def conditions_of_outlines() -> set[str]:
    """What can be asked for of an outline, as the context of a composer tells it."""
    plain, slower = tiny.context(tiny.outline(5)), tiny.context(tiny.outline(5, tempo=60.0))
    assert set(Context._fields) - {"given", "is_given"} == set(plain) - {"known"}
    assert [name for name in plain if not torch.equal(plain[name], slower[name])] == ["features"]
    return {"style", "tempo"}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_and_has_the_parameters_its_file_says(name: str) -> None:
    chosen = configure(name)
    with torch.device("meta"):
        networks = models.build(chosen.model, chosen.network, RollShape(2, 88, 500))
    millions = sum(parameter.numel() for parameter in networks.parameters()) / 1e6
    text = (resources.files("musigan.checkpoints.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    said = re.search(r"(\d+\.\d) M parameters", text)
    assert said, "the file's comment has no number of parameters"
    assert float(said[1]) == pytest.approx(millions, abs=0.05)
    for word in ("GiB", "a second"):
        assert word in text.partition("model:")[0]


def test_unknown_family() -> None:
    with pytest.raises(SettingsError, match="musegun"):
        models.family("musegun")


@pytest.mark.parametrize("shape", [SHAPE, RollShape(1, 5, 10), RollShape(3, 16, 31)])
@pytest.mark.parametrize("name", LATENT)
def test_shapes(name: str, shape: RollShape) -> None:
    networks = built(name, shape).eval()
    generator: Any = networks["generator"]
    roll = real(3, shape)
    posterior = generator.encode(roll)
    assert posterior.mean.shape == posterior.log_variance.shape
    decoded = generator.decode(posterior.mean, shape.frames)
    assert decoded.roll.shape == decoded.logits.shape == roll.shape
    assert decoded.roll.min() >= 0
    assert decoded.roll.max() <= 1
    latents = generator.sample_prior(generator.draw(3, shape.frames, torch.Generator().manual_seed(0)))
    assert latents.shape == posterior.mean.shape
    said = networks["critic"](roll, latents)
    assert set(said.logits) == {*networks["critic"].views, *(["chroma"] if name == "musigan" else [])}
    assert all(logit.shape == (3, 1) for logit in said.logits.values())


@pytest.mark.parametrize(
    ("name", "extras"),
    [*((name, {}) for name in models.FAMILIES if name != "cyclegan"), ("musigan", EXTRAS), ("original", EXTRAS)],
)
def test_gradient_reaches_every_parameter(name: str, extras: dict[str, Any]) -> None:
    rolls = real(shape=shape_of(name))
    networks, settings = built(name, shape_of(name), **extras), tiny.settings(name)
    with torch.no_grad():  # past the zeros that residual branches start at, which let nothing through
        for key, parameter in networks.named_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
            if "heads" in key:  # too much of real and fake alike, or the signs of their errors cancel each other
                parameter.add_(2.0)
    reached: set[str] = set()
    for stage in models.family(name).stages:
        objective = OBJECTIVES[stage](networks, settings)
        for step in range(2):
            for side in objective.sides(step):
                networks.zero_grad()
                now = context(step, **tiny.conditions(name, rolls))
                examples = networks["generator"].encode(rolls).mean.detach() if stage == "composer" else rolls
                sum(objective.losses(side, examples, now).losses.values()).backward()
                reached |= {key for key, p in networks.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {key for key, _ in networks.named_parameters()}


@pytest.mark.parametrize("name", models.FAMILIES)
def test_parts_name_every_parameter_once(name: str) -> None:
    generator: Any = built(name)["generator"]
    named = [id(p) for part in generator.parts().values() for p in part]
    assert sorted(named) == sorted(id(p) for p in generator.parameters())


@pytest.mark.parametrize("extras", [{}, EXTRAS], ids=["plain", "extras"])
@pytest.mark.parametrize("name", LATENT)
def test_samples_do_not_mix(name: str, extras: dict[str, Any]) -> None:
    networks = built(name, **extras).eval()
    generator: Any = networks["generator"]
    noise = generator.draw(3, tiny.FRAMES, torch.Generator().manual_seed(0))
    alone = noise[1:2]
    together = generator.decode(generator.sample_prior(noise), tiny.FRAMES).roll[1:2]
    torch.testing.assert_close(together, generator.decode(generator.sample_prior(alone), tiny.FRAMES).roll)
    roll, latents = real(3), generator.sample_prior(noise)
    scored = networks["critic"](roll, latents, per_sample=True).logits
    single = networks["critic"](roll[1:2], latents[1:2], per_sample=True).logits
    for view in scored:
        torch.testing.assert_close(scored[view][1:2], single[view])


def test_silence_is_reachable_exactly() -> None:
    generator: Any = built("musigan")["generator"]
    with torch.no_grad():
        generator.key_bias.fill_(-50.0)
    noise = generator.draw(2, tiny.FRAMES, torch.Generator().manual_seed(0))
    assert (generator(noise, tiny.FRAMES)[0] == 0).all()


def test_keys_are_told_apart() -> None:
    """The same notes an octave (here: two rows) higher are another thing to the critic and the encoder."""
    networks = built("musigan").eval()
    roll = torch.zeros(1, 2, 11, 24)
    roll[:, :, 1, 4:12] = 0.7
    with torch.no_grad():
        networks["generator"].key_map.normal_()
    moved = roll.roll(4, 2)
    assert not torch.allclose(networks["generator"].encode(roll).mean, networks["generator"].encode(moved).mean)
    assert not torch.allclose(
        networks["critic"](roll, None).logits["roll"], networks["critic"](moved, None).logits["roll"]
    )


def test_medium_preset_builds() -> None:
    from musigan.checkpoints.settings import configure

    chosen = configure("medium")
    networks = models.build(chosen.model, chosen.network, RollShape(2, 88, 500))
    assert 3e6 < sum(p.numel() for p in networks.parameters()) < 30e6


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 10), ("deep_width", 12), ("latent_dim", 4), ("fine_blocks", 2), ("deep_blocks", 2), ("patch_keys", 3),
     ("patch_frames", 6), ("transformer_layers", 3), ("transformer_width", 16), ("critic_width", 8),
     ("latent_critic_width", 0), ("chroma_critic_width", 0), ("time_dim", 6), ("gaussian", True),
     ("critic_heads", True), ("spectral", False)],
)  # fmt: skip
def test_every_size_has_an_effect(setting: str, value: int) -> None:
    plain = {k: v.shape for k, v in built("musigan").state_dict().items()}
    changed = models.build("musigan", {**tiny.NETWORKS["musigan"], setting: value}, SHAPE)
    assert plain != {k: v.shape for k, v in changed.state_dict().items()}


def loudly(networks: nn.ModuleDict) -> nn.ModuleDict:
    """The networks past the zeros that residual branches start at."""
    with torch.no_grad():
        for parameter in networks["generator"].parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return networks.eval()


def test_gaussian_smooths_loudness_and_leaves_the_gate_hard() -> None:
    """With the same weights otherwise the same keys sound, and what changes is how loud they are."""
    plain = loudly(built("musigan"))
    smooth = built("musigan", **EXTRAS).eval()
    smooth.load_state_dict({**smooth.state_dict(), **plain.state_dict()})
    generator: Any = plain["generator"]
    noise = generator.draw(2, tiny.FRAMES, torch.Generator().manual_seed(0))
    latents = generator.sample_prior(noise)
    before, after = generator.decode(latents, tiny.FRAMES), smooth["generator"].decode(latents, tiny.FRAMES)
    torch.testing.assert_close(after.logits, before.logits)
    assert (after.roll[after.logits <= 0] == 0).all()
    assert (after.roll - before.roll).abs().max() > 0.01
    with torch.no_grad():
        smooth["generator"].gaussian.width_logits.fill_(-200.0)
    torch.testing.assert_close(smooth["generator"].decode(latents, tiny.FRAMES).roll, before.roll)


@pytest.mark.parametrize("extras", [{}, EXTRAS], ids=["plain", "extras"])
def test_decoder_reaches_as_far_as_the_halo_says(extras: dict[str, Any]) -> None:
    """A window of latents with the decoder's part of the halo on either side decodes to what the whole does."""
    generator: Any = loudly(built("musigan", **extras))["generator"]
    if extras:
        with torch.no_grad():
            generator.gaussian.width_logits.fill_(3.0)  # near the widest
    s = generator.settings
    reach = generator.receptive_field - s.flow_steps * s.transformer_layers * generator.transformer.reach
    latents = torch.randn(1, 60, s.latent_dim, generator=torch.Generator().manual_seed(1))
    step = generator.token_frames
    whole = generator.decode(latents, 60 * step).roll

    def window(receptive_field: int) -> torch.Tensor:
        part = generator.decode(
            latents[:, 30 - receptive_field : 34 + receptive_field], (4 + 2 * receptive_field) * step
        ).roll
        return (
            (part[..., receptive_field * step : (4 + receptive_field) * step] - whole[..., 30 * step : 34 * step])
            .abs()
            .max()
        )

    assert whole.max() > 0.01
    assert window(reach) < 1e-5
    assert window(3) > 1e-4


@pytest.mark.parametrize(("name", "steps"), [("musigan", 40), ("original", 120)])
def test_heads_learn_what_they_must_tell(name: str, steps: int) -> None:
    """The critic's named losses fall under their own gradient, on rolls of more and less silence and motion."""
    networks = built(name, **EXTRAS)
    objective = OBJECTIVES["critic"](networks, tiny.settings(name))
    rolls = real(8)
    for index in range(8):
        rolls[index, ..., 3 * index :] = 0
    optimiser = torch.optim.Adam(networks["critic"].parameters(), lr=0.01)
    told = []
    for _ in range(steps):
        losses = objective.losses("critic", rolls, context()).losses
        told.append([losses["critic_silence"].item(), losses["critic_melody"].item()])
        optimiser.zero_grad()
        (losses["critic_silence"] + losses["critic_melody"]).backward()
        optimiser.step()
    assert all(last < 0.6 * first for first, last in zip(told[0], told[-1], strict=True)), (told[0], told[-1])


@pytest.mark.parametrize("name", LATENT)
def test_plain_networks_hold_nothing_of_the_extras(name: str) -> None:
    """Weights from before there were heads or a filter still fit."""
    assert not [key for key in built(name).state_dict() if "heads" in key or "gaussian" in key]
    assert built(name)["critic"](real(2), None).predictions is None


def test_chroma_sums_octaves_and_averages_frames() -> None:
    roll = torch.zeros(1, 2, 30, 25)  # neither whole octaves nor whole tokens
    roll[0, 0, 3, 10:20] = 0.5
    roll[0, 0, 3 + 24, 15:20] = 0.25
    roll[0, 1, 11, 20:] = 1.0
    folded = chroma(roll, 10)
    expected = torch.zeros(1, 3, 24)
    expected[0, 1, 3] = 0.5 + 0.25 / 2
    expected[0, 2, 12 + 11] = 5 / 10
    torch.testing.assert_close(folded, expected)

"""The first GAN: linear layers from noise to a roll, linear layers from a roll to a logit (arXiv 1406.2661).

It is the small baseline. Departures, all to keep it small: the roll is generated and judged at steps of several frames,
with linear interpolation in between. The generator's last layer has low rank: a roll is a sum of a few patterns over
keys, the same in all rolls, each scaled by the roll's own curve over time. The critic begins with the same split.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.critics import minibatch_deviation
from musigan.layers.gates import hard_gate, limit
from musigan.models import Family
from musigan.models.protocol import Decoded, Judgement, OneShotGenerator
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class MlpSettings:
    """Sizes of the networks."""

    latent_dim: Count = 100  # numbers of noise for a roll
    width: Count = 512  # of the hidden layers
    step_frames: Count = 10  # frames from one step of the roll to the next
    patterns: Count = 64  # patterns over keys in the generator, and as many in the critic


class Generator(OneShotGenerator):
    """Linear layers from noise (B, Z) to roll (B, C, K, T)."""

    def __init__(self, settings: MlpSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.steps = -(-shape.frames // s.step_frames)
        self.curves = nn.Sequential(
            nn.Linear(s.latent_dim, s.width // 2), nn.LeakyReLU(0.2),
            nn.Linear(s.width // 2, s.width), nn.LeakyReLU(0.2),
            nn.Linear(s.width, s.width), nn.LeakyReLU(0.2),
            nn.Linear(s.width, s.patterns * self.steps), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.patterns = nn.Linear(s.patterns, 2 * shape.channels * shape.keys)
        for layer in self.curves:  # otherwise the noise would shrink from layer to layer, below the biases
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, 0.2)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.patterns.weight, std=s.patterns**-0.5)
        with torch.no_grad():
            self.patterns.bias.copy_(torch.tensor((0.3, -1.5)).repeat_interleave(shape.channels * shape.keys))

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw white noise (B, Z); every roll has the length the network was built for."""
        return torch.randn(batch, self.settings.latent_dim, generator=rng).to(self.patterns.weight.device)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode noise (B, Z) to roll (B, C, K, frames)."""
        curves = self.curves(latents).unflatten(1, (self.steps, -1))  # (B, L, patterns)
        outputs = self.patterns(curves).transpose(1, 2)  # (B, 2C*K, L)
        outputs = F.interpolate(outputs, self.steps * self.settings.step_frames, mode="linear", align_corners=False)
        outputs = outputs.unflatten(1, (2, self.shape.channels, self.shape.keys))[..., :frames]  # (B, 2, C, K, T)
        loudness, logits = outputs.unbind(1)
        return Decoded(limit(loudness) * hard_gate(logits), logits)


class Critic(nn.Module):
    """Linear layers from a roll's steps to a logit."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: MlpSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        steps = -(-shape.frames // s.step_frames)
        self.patterns = nn.Linear(shape.channels * shape.keys, s.patterns)
        self.layers = nn.Sequential(
            nn.Linear(s.patterns * steps, s.width), nn.LeakyReLU(0.2),
            nn.Linear(s.width, s.width // 2), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.out_proj = nn.Linear(s.width // 2 + 1, 1)

    def forward(self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False) -> Judgement:
        """Judge roll (B, C, K, T); `latents` are not used. `per_sample` leaves the rest of the batch out."""
        if roll is None:
            return Judgement({}, {})
        s = self.settings
        rows = F.pad(roll.flatten(1, 2), (0, -roll.shape[-1] % s.step_frames))  # (B, C*K, T)
        steps = F.avg_pool1d(rows, s.step_frames).transpose(1, 2)  # (B, L, C*K)
        hidden = self.layers(F.leaky_relu(self.patterns(steps), 0.2).flatten(1))  # (B, W/2)
        spread = hidden.new_zeros(len(hidden), 1) if per_sample else minibatch_deviation(hidden)
        return Judgement({"roll": self.out_proj(torch.cat((hidden, spread), 1))}, {"roll": [hidden]})


def build(settings: MlpSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    return nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)})


FAMILY = Family(
    name="mlp",
    summary="the first GAN, linear layers to a roll and from it: the small baseline, minutes on any machine",
    paper="Goodfellow et al., arXiv 1406.2661",
    settings=MlpSettings,
    build=build,
    stages=("adversarial",),
    defaults={
        "epochs": 200,
        "batch_size": 32,
        "sample_every": 10,
        "ema_half_life": 1.0,  # no average: behind a hard gate it is sparser and more alike than any of the networks
        "adversarial": {
            "learning_rate": 2e-4,
            "decoder_learning_rate": 2e-4,
            "critic_learning_rate": 2e-4,
            "betas": [0.5, 0.999],
            "roll_every": 1,
        },
    },
    losses={"adversarial_roll": 1.0},
)

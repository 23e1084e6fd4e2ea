"""C-RNN-GAN: recurrent generator and critic over frames (Mogren, arXiv 1611.09904).

As there, the generator's input at every step is noise and its previous sample, and it is first trained to predict the
next step of real music. The critic is bidirectional and averages its logits over all steps, and the generator learns
to match its features. Departures: frames of a roll instead of single notes, sampled from chains (frames.py),
with one chain for each key; no gradient through samples that are fed back; the cell can be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.models import Family
from musigan.models.frames import CELLS, Cell, FrameGenerator, FrameSettings
from musigan.models.protocol import Judgement
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count


@dataclass(frozen=True, config=CHECKED)
class RnnSettings(FrameSettings):
    """Sizes of both networks."""

    cell: Cell = "lstm"  # of generator and critic
    critic_width: Count = 96  # of the critic's recurrent layers, each way
    critic_layers: Count = 1  # of the critic


class Critic(nn.Module):
    """Bidirectional recurrent critic: judges each step of a roll and averages the logits."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: RnnSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        self.in_proj = nn.Linear(2 * s.step_frames * shape.channels * shape.keys, s.critic_width)
        # The default initialisation expects dense input. In a roll one cell in 14 sounds, and biases would outweigh it.
        nn.init.normal_(self.in_proj.weight, std=5.0 / math.sqrt(self.in_proj.in_features))
        self.cell = CELLS[s.cell](s.critic_width, s.critic_width, s.critic_layers, batch_first=True, bidirectional=True)
        self.out_proj = nn.Linear(2 * s.critic_width, 1)

    def forward(self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False) -> Judgement:
        """Judge roll (B, C, K, T); neither `latents` nor the rest of the batch are used."""
        if roll is None:
            return Judgement({}, {})
        # Loudness, and its change from frame to frame, so that the network need not learn to detect onsets.
        views = torch.cat((roll, F.pad(roll.diff(dim=3), (1, 0))), 1)
        views = F.pad(views, (0, -roll.shape[-1] % self.settings.step_frames)).permute(0, 3, 1, 2)
        steps = views.reshape(len(roll), -1, self.in_proj.in_features)  # (B, L, 2C*s*K)
        hidden, _ = self.cell(F.leaky_relu(self.in_proj(steps), 0.2))  # (B, L, 2W)
        return Judgement({"roll": self.out_proj(hidden).mean(1)}, {"roll": [hidden.mean(1)]})


def build(settings: RnnSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    generator = FrameGenerator(settings, settings.cell, shape)
    return nn.ModuleDict({"generator": generator, "critic": Critic(settings, shape)})


FAMILY = Family(
    name="rnn",
    summary="recurrent generator (RNN, GRU or LSTM) against a critic that listens both ways: any length, goes on",
    paper="Mogren, C-RNN-GAN, arXiv 1611.09904",
    settings=RnnSettings,
    build=build,
    stages=("likelihood", "critic", "adversarial"),
    pretrain_share=0.8,
    defaults={
        "epochs": 60,
        "batch_size": 8,
        "likelihood": {"learning_rate": 0.002},
        "adversarial": {"learning_rate": 3e-5, "critic_learning_rate": 1e-3, "betas": [0.5, 0.9], "roll_every": 1},
    },
    losses={"frame_nats": 1.0, "loudness_nats": 0.1, "features_roll": 1.0},
    extends=True,
    takes_temperature=True,
    formerly={"memory_frames": [], "joint_loudness": False, "key_power": 1.0},
)

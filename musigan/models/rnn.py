"""C-RNN-GAN: recurrent generator and critic over frames (Mogren, arXiv 1611.09904).

As there, the generator takes noise and what it drew before at every step, is first taught to predict the next step of
real music, the critic listens in both directions and its verdicts on all steps are averaged, and the generator learns
to match its features. Departures: frames of a roll instead of single notes, drawn by chains (`musigan.recurrent`), so
that one sound is decided for each key; no gradient through draws that are fed back; the cell can be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.models import Family, RollShape
from musigan.models.protocol import Judgement
from musigan.recurrent import CELLS, Cell, FrameGenerator, FrameSettings


@dataclass(frozen=True)
class RnnSettings(FrameSettings):
    """Sizes of both networks."""

    cell: Cell = "lstm"  # of both
    critic_width: int = 96  # of the critic's recurrent layers, each way
    critic_layers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("critic_width", "critic_layers"):
            if getattr(self, name) < 1:
                raise SettingsError(f"network.{name} is {getattr(self, name)}; expected at least 1")


class Critic(nn.Module):
    """Listens to a roll forwards and backwards, judges each step, and averages."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: RnnSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        self.inward = nn.Linear(2 * s.step_frames * shape.channels * shape.keys, s.critic_width)
        # The usual start counts on input everywhere; of a roll one cell in 14 sounds, and biases would drown it.
        nn.init.normal_(self.inward.weight, std=5.0 / math.sqrt(self.inward.in_features))
        self.cell = CELLS[s.cell](s.critic_width, s.critic_width, s.critic_layers, batch_first=True, bidirectional=True)
        self.outward = nn.Linear(2 * s.critic_width, 1)

    def forward(self, roll: Tensor | None, latents: Tensor | None, alone: bool = False) -> Judgement:
        """roll (B, C, K, T); latents are not looked at, nor is the rest of the batch."""
        if roll is None:
            return Judgement({}, {})
        # Loudness, and its change from frame to frame, so that onsets need not be found first.
        views = torch.cat((roll, F.pad(roll.diff(dim=3), (1, 0))), 1)
        views = F.pad(views, (0, -roll.shape[-1] % self.settings.step_frames)).permute(0, 3, 1, 2)
        steps = views.reshape(len(roll), -1, self.inward.in_features)  # (B, L, 2C*s*K)
        heard, _ = self.cell(F.leaky_relu(self.inward(steps), 0.2))  # (B, L, 2W)
        return Judgement({"roll": self.outward(heard).mean(1)}, {"roll": [heard.mean(1)]})


def build(settings: RnnSettings, shape: RollShape) -> nn.ModuleDict:
    """Generator and critic for rolls of `shape`."""
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
        "batch_size": 16,
        "likelihood": {"learning_rate": 0.002},
        "adversarial": {"learning_rate": 3e-5, "critic_learning_rate": 1e-3, "betas": [0.5, 0.9], "roll_every": 1},
    },
    losses={"frame_nats": 1.0, "loudness_nats": 0.1, "features_roll": 1.0},
)

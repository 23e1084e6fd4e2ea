"""Critics of one kind of music each: of patches, and of drums beside the onsets that they go with.

Drums tell folk from rock in any patch. Heard together with all else they are all that a critic learns to hear, so they
have one of their own. Each critic has as much say as the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import DownBlock, normed
from musigan.layers.packing import pack, pad_roll
from musigan.models.cyclegan.pulse import rises
from musigan.models.cyclegan.settings import CycleGanSettings
from musigan.models.cyclegan.statistics import KindTeller, statistics_of
from musigan.rolls.kit import KIT
from musigan.rolls.shape import RollShape

Noise = Callable[[Tensor], Tensor]

ONSET_BANDS = 3  # registers whose onsets the critic of drums hears


def unchanged(values: Tensor) -> Tensor:
    """Return the values: no noise."""
    return values


class PatchCritic(nn.Module):
    """Critic of patches (PatchGAN): (B, C, K, T) -> logits (B, P) of P overlapping patches."""

    def __init__(self, settings: CycleGanSettings, channels: int, keys: int) -> None:
        super().__init__()
        s, self.settings = settings, settings
        rows = -(-keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        self.key_map = nn.Parameter(torch.zeros(1, s.critic_width, rows, 1))
        self.pack_in = nn.Conv2d(channels * s.patch_keys * s.patch_frames, s.critic_width, 1)
        widths = [s.critic_width * 2**index for index in range(s.critic_layers + 1)]
        self.down = nn.Sequential(*(DownBlock(a, b, s.spectral) for a, b in itertools.pairwise(widths)))
        self.out_proj = normed(nn.Conv2d(widths[-1], 1, 3, padding=1), s.spectral)

    def forward(self, roll: Tensor) -> Tensor:
        """Judge roll (B, C, K, T)."""
        s = self.settings
        padded_frames = -(-roll.shape[-1] // s.patch_frames) * s.patch_frames
        patches = pack(pad_roll(roll, self.padded_keys, padded_frames), s.patch_keys, s.patch_frames)
        feature_map = self.pack_in(patches.contiguous(memory_format=torch.channels_last)) + self.key_map
        logits: Tensor = self.out_proj(F.leaky_relu(self.down(feature_map), 0.2))
        return logits.flatten(1)


class DrumCritic(nn.Module):
    """Critic of drums beside the onsets of what else sounds: (B, C, K, T) -> logits (B, P) of P overlapping times."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        width, self.pitched, self.kit = settings.drum_width, shape.pitched, shape.kit
        sizes = (len(KIT) + ONSET_BANDS, width, width, 2 * width)
        self.layers = nn.ModuleList(
            normed(nn.Conv1d(a, b, 7, 3, 3), settings.spectral) for a, b in itertools.pairwise(sizes)
        )
        self.out_proj = normed(nn.Conv1d(sizes[-1], 1, 3, padding=1), settings.spectral)

    def forward(self, roll: Tensor, noise: Noise) -> Tensor:
        """Judge all channels (B, C, K, T) of rolls."""
        bands = rises(roll[:, : self.pitched].mean(1)).tensor_split(ONSET_BANDS, 1)
        heard = noise(torch.cat((roll[:, -1, list(self.kit)], torch.stack([band.sum(1) for band in bands], 1)), 1))
        for layer in self.layers:
            heard = F.leaky_relu(layer(heard), 0.2)
        logits: Tensor = self.out_proj(heard)
        return logits[:, 0]


class Critic(PatchCritic):
    """All critics of one kind: (B, C, K, T) -> logits (B, P); each critic has as many, so as much say."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        pitched = shape.pitched if settings.drum_width else shape.channels
        super().__init__(settings, pitched, shape.keys)
        self.pitched = pitched
        self.drums = DrumCritic(settings, shape) if settings.drum_width and shape.kit else None

    def forward(self, roll: Tensor, noise: Noise = unchanged) -> Tensor:
        """Judge roll (B, C, K, T)."""
        notes = roll[:, : self.pitched]
        logits = super().forward(noise(notes))
        votes = [logits]
        if self.drums is not None:
            votes.append(F.interpolate(self.drums(roll, noise)[:, None], logits.shape[1])[:, 0])
        return torch.cat(votes, 1)


class Critics(nn.Module):
    """The critics of both kinds."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(Critic(settings, shape) for _ in range(2))
        self.teller = KindTeller(statistics_of(shape.keys), settings.teller_width) if settings.teller_width else None

    def judge(self, roll: Tensor, kind: int, noise: Noise = unchanged) -> Tensor:
        """Return logits (B, P) of rolls (B, C, K, T): above 0 where a part is taken for real music of `kind`.

        `noise` is put on what the critics see.
        """
        logits: Tensor = self.kinds[kind](roll, noise)
        return logits

    def tell(self, found: Tensor, kind: int, noise: Noise = unchanged) -> Tensor | None:
        """Return logits (B) of standardised statistics (B, N): above 0 where they are taken for those of `kind`.

        None without a teller. `noise` is put on what it sees.
        """
        if self.teller is None:
            return None
        logits: Tensor = self.teller(noise(found))
        return logits if kind else -logits

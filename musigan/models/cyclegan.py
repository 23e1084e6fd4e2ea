"""CycleGAN between two kinds of music: Zhu et al., arXiv 1703.10593; on piano rolls Brunner et al., arXiv 1809.07575.

Two generators, one each way, and two critics, one for each kind. A generator is residual as a whole: what it adds to a
roll starts at nothing, so that training begins with the identity, which both cycle and identity loss are content with,
and the critics' say is all that leads away from it. Departures from the papers: no instance normalisation (a frame
would depend on the whole song, and a song in windows would not be the song in one pass), patches of keys by frames in
channels instead of strided layers (a quarter of the work on a CPU), dilated convolutions in time for the reach that
depth would give, loudness instead of binary notes with a gate that leaves silence exactly 0, and a learned map of the
keys, without which a convolution cannot know a bass from a treble.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers import DownBlock, ResidualBlock, hard_gate, limit, normed, pack, pad_roll, unpack
from musigan.models import Family, RollShape

HELD = 1.0  # the gate's logit before training: a key that sounds goes on, one that is silent stays so
BORN = 0.4  # loudness, in model space, that the generator's change is added to where the roll is silent
FAINTEST = 0.1  # in model space, of what sounds: fainter notes than music has cost next to nothing, and hide the song


@dataclass(frozen=True)
class CycleGanSettings:
    """Sizes of the networks."""

    patch_keys: int = 4  # keys in a patch
    patch_frames: int = 10  # frames in a patch
    width: int = 32  # channels of the generators
    dilations: tuple[int, ...] = (1, 2, 4, 8)  # in time, of the generators' residual blocks
    critic_width: int = 32  # channels of the critics' finest plane
    critic_layers: int = 2  # each halves the plane
    spectral: bool = False  # spectral normalisation of the critics' layers
    pool: int = 32  # drawn rolls of each kind that the critics go on being shown; 0: the latest only

    def __post_init__(self) -> None:
        sizes = (self.patch_keys, self.patch_frames, self.width, self.critic_width, self.critic_layers)
        if min(*sizes, *self.dilations, 1) < 1 or not self.dilations:
            raise SettingsError("network sizes must be at least 1, and network.dilations name one block or more")
        if self.pool < 0:
            raise SettingsError(f"setting 'network.pool' is {self.pool}; expected 0 (none) or more")


class Way(nn.Module):
    """Rolls of one kind as the other: (B, C, K, T) -> (B, C, K, T), T of any length."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.channels = settings, settings, shape.channels
        rows = -(-shape.keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        patch = shape.channels * s.patch_keys * s.patch_frames
        self.key_map = nn.Parameter(torch.zeros(1, s.width, rows, 1))  # which keys these are
        self.pack_in = nn.Conv2d(patch, s.width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(s.width, dilation=dilation) for dilation in s.dilations))
        self.pack_out = nn.Conv2d(s.width, 2 * patch, 1)
        for parameter in self.pack_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, roll: Tensor) -> Tensor:
        """roll (B, C, K, T)."""
        s, (keys, frames) = self.settings, roll.shape[-2:]
        whole = -(-frames // s.patch_frames) * s.patch_frames
        padded = pad_roll(roll, self.padded_keys, whole)
        patches = pack(padded, s.patch_keys, s.patch_frames).contiguous(memory_format=torch.channels_last)
        plane = self.blocks(self.pack_in(patches) + self.key_map)  # (B, W, K/pk, T/pt)
        both = unpack(self.pack_out(F.leaky_relu(plane, 0.2)), 2 * self.channels, s.patch_keys, s.patch_frames)
        change, tilt = self._smoothed(both)[:, :, :keys, :frames].chunk(2, 1)
        sounds = roll > 0
        loudness = torch.where(sounds, roll, BORN) + change
        heard = FAINTEST + (1 - FAINTEST) * limit((loudness - FAINTEST) / (1 - FAINTEST))
        return heard * hard_gate(torch.where(sounds, HELD, -HELD) + tilt)

    def _smoothed(self, both: Tensor) -> Tensor:
        """Each frame of (B, 2C, K, T) as the mean over the length of a patch around it: no ticking at their rate."""
        length = self.settings.patch_frames
        padded = F.pad(both, ((length - 1) // 2, length // 2, 0, 0), mode="replicate")
        return F.avg_pool2d(padded, (1, length), stride=1)


class Generator(nn.Module):
    """Both ways: the first kind as the second, the second as the first."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.token_frames = settings.patch_frames
        self.halo = 2 * sum(settings.dilations) + 1  # patches on either side that a patch depends on
        self.ways = nn.ModuleList(Way(settings, shape) for _ in range(2))

    def translate(self, roll: Tensor, to: int) -> Tensor:
        """roll (B, C, K, T) as kind `to`: 0 or 1. The same for any cut at whole patches that leaves it the halo."""
        translated: Tensor = self.ways[1 - to](roll)
        return translated

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by what they are for."""
        return {"decoder": list(self.parameters())}


class Critic(nn.Module):
    """Is a patch of a roll of this kind of music? (B, C, K, T) -> (B, P), P patches that overlap (PatchGAN)."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        rows = -(-shape.keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        self.key_map = nn.Parameter(torch.zeros(1, s.critic_width, rows, 1))
        self.pack_in = nn.Conv2d(shape.channels * s.patch_keys * s.patch_frames, s.critic_width, 1)
        widths = [s.critic_width * 2**index for index in range(s.critic_layers + 1)]
        self.down = nn.Sequential(*(DownBlock(a, b, s.spectral) for a, b in itertools.pairwise(widths)))
        self.outward = normed(nn.Conv2d(widths[-1], 1, 3, padding=1), s.spectral)

    def forward(self, roll: Tensor) -> Tensor:
        """roll (B, C, K, T)."""
        s = self.settings
        whole = -(-roll.shape[-1] // s.patch_frames) * s.patch_frames
        patches = pack(pad_roll(roll, self.padded_keys, whole), s.patch_keys, s.patch_frames)
        plane = self.pack_in(patches.contiguous(memory_format=torch.channels_last)) + self.key_map
        logits: Tensor = self.outward(F.leaky_relu(self.down(plane), 0.2))
        return logits.flatten(1)


class Critics(nn.Module):
    """One critic for each kind."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(Critic(settings, shape) for _ in range(2))

    def judge(self, roll: Tensor, kind: int) -> Tensor:
        """Logits (B, P) of rolls (B, C, K, T): above 0 where a patch is taken for real music of `kind`."""
        logits: Tensor = self.kinds[kind](roll)
        return logits


class Pool(nn.Module):
    """Rolls drawn earlier, so that a critic does not forget what it has once seen through (arXiv 1612.07828).

    Buffers, which a checkpoint holds: a run that goes on shows its critics what it would have.
    """

    held: Tensor
    filled: Tensor

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        # Half precision halves the checkpoint; loudness comes in no finer steps from the store either.
        sizes = (2, settings.pool, shape.channels, shape.keys, shape.frames)
        self.register_buffer("held", torch.zeros(sizes, dtype=torch.float16))
        self.register_buffer("filled", torch.zeros(2, dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, fake: Tensor, kind: int, rng: torch.Generator) -> Tensor:
        """What a critic is shown for the rolls `fake` (B, C, K, T): each itself, or every second time an older one.

        An older one is replaced by the new one; until the pool is full every new one is kept, too.
        """
        held, size = self.held[kind], self.held.shape[1]
        shown = fake.clone()
        for index in range(len(fake) if size else 0):
            filled = int(self.filled[kind])
            if filled < size:
                held[filled] = fake[index]
                self.filled[kind] += 1
            elif torch.rand((), generator=rng) < 0.5:
                place = int(torch.randint(size, (), generator=rng))
                shown[index] = held[place]
                held[place] = fake[index]
        return shown


def build(settings: CycleGanSettings, shape: RollShape) -> nn.ModuleDict:
    """Generators, critics and pool for rolls of `shape`."""
    return nn.ModuleDict(
        {
            "generator": Generator(settings, shape),
            "critic": Critics(settings, shape),
            "pool": Pool(settings, shape),
        }
    )


FAMILY = Family(
    name="cyclegan",
    summary="turns songs of one kind into another, there and back; learns from two stores, used by transfer",
    paper="Zhu et al., arXiv 1703.10593; Brunner et al., arXiv 1809.07575",
    settings=CycleGanSettings,
    build=build,
    stages=("translation",),
    stores=2,
    defaults={
        "epochs": 80,
        "batch_size": 4,
        "ema_half_life": 1000.0,
        "sample_every": 0,
        "evaluate_every": 0,
        "adversarial": {
            "objective": "lsgan",
            "decoder_learning_rate": 2e-4,
            "critic_learning_rate": 2e-4,
            "betas": [0.5, 0.99],
            "label_smoothing": 0.0,
            "instance_noise": 0.2,
        },
    },
    losses={"adversarial_roll": 1.0, "critic_roll": 1.0, "cycle": 3.0, "identity": 2.0, "harmony": 4.0},
)

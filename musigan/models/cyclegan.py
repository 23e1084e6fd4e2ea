"""CycleGAN between two kinds of music: Zhu et al., arXiv 1703.10593; on piano rolls Brunner et al., arXiv 1809.07575.

There are two generators, one for each direction, and two critics, one for each kind. A generator is residual as a
whole. The change that it adds to a roll starts at zero, so that training begins with the identity. Cycle and identity
loss are both minimal there, and only the critics lead away from it. Departures from the papers: no instance
normalisation (a frame would depend on the whole song, and a song in windows would differ from the song in one pass);
patches of keys by frames in channels instead of strided layers (a quarter of the work on a CPU); dilated convolutions
in time for the receptive field that depth would give; loudness instead of binary notes, with a gate that leaves silence
exactly 0; and a learned map of the keys, without which a convolution cannot tell a bass from a treble.
"""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import DownBlock, ResidualBlock, normed
from musigan.layers.gates import hard_gate, limit
from musigan.layers.packing import pack, pad_roll, unpack
from musigan.models import Family
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count, CountOrNone

GATE_LOGIT = 1.0  # the gate's logit before training: sounding keys go on, silent keys stay silent
BORN = 0.4  # base loudness, in model space, of notes that the generator adds where the roll is silent
FAINTEST = 0.1  # least loudness of a note, in model space: fainter notes would cost almost nothing and hide the song


@dataclass(frozen=True, config=CHECKED)
class CycleGanSettings:
    """Sizes of the networks."""

    patch_keys: Count = 4  # keys in a patch
    patch_frames: Count = 10  # frames in a patch
    width: Count = 32  # channels of the generators
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 8)  # in time, of the generators' blocks
    critic_width: Count = 32  # channels of the critics' finest feature map
    critic_layers: Count = 2  # each halves the feature map
    spectral: bool = False  # spectral normalisation of the critics' layers
    pool: CountOrNone = 32  # earlier generated rolls of each kind that the critics are still shown; 0: the latest only


class DirectedGenerator(nn.Module):
    """Generator for one direction, from one kind to the other: (B, C, K, T) -> (B, C, K, T), T of any length."""

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
        """Translate roll (B, C, K, T)."""
        s, (keys, frames) = self.settings, roll.shape[-2:]
        padded_frames = -(-frames // s.patch_frames) * s.patch_frames
        padded = pad_roll(roll, self.padded_keys, padded_frames)
        patches = pack(padded, s.patch_keys, s.patch_frames).contiguous(memory_format=torch.channels_last)
        feature_map = self.blocks(self.pack_in(patches) + self.key_map)  # (B, W, K/pk, T/pt)
        outputs = unpack(self.pack_out(F.leaky_relu(feature_map, 0.2)), 2 * self.channels, s.patch_keys, s.patch_frames)
        change, gate_change = self._smoothed(outputs)[:, :, :keys, :frames].chunk(2, 1)
        is_sounding = roll > 0
        loudness = torch.where(is_sounding, roll, BORN) + change
        audible = FAINTEST + (1 - FAINTEST) * limit((loudness - FAINTEST) / (1 - FAINTEST))
        return audible * hard_gate(torch.where(is_sounding, GATE_LOGIT, -GATE_LOGIT) + gate_change)

    def _smoothed(self, both: Tensor) -> Tensor:
        """Average (B, 2C, K, T) over a patch length around each frame, so that nothing ticks at the patch rate."""
        length = self.settings.patch_frames
        padded = F.pad(both, ((length - 1) // 2, length // 2, 0, 0), mode="replicate")
        return F.avg_pool2d(padded, (1, length), stride=1)


class Generator(nn.Module):
    """Both generators: the first kind to the second, and the second to the first."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.token_frames = settings.patch_frames
        self.receptive_field = (
            2 * sum(settings.dilations) + 1
        )  # receptive field: patches on either side that a patch depends on
        self.ways = nn.ModuleList(DirectedGenerator(settings, shape) for _ in range(2))

    def translate(self, roll: Tensor, to: int) -> Tensor:
        """Translate roll (B, C, K, T) to kind `to`, 0 or 1.

        The result is the same for any cut at whole patches that keeps the receptive field.
        """
        translated: Tensor = self.ways[1 - to](roll)
        return translated

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        return {"decoder": list(self.parameters())}


class Critic(nn.Module):
    """Critic of one kind of music: (B, C, K, T) -> logits (B, P) of P overlapping patches (PatchGAN)."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        rows = -(-shape.keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        self.key_map = nn.Parameter(torch.zeros(1, s.critic_width, rows, 1))
        self.pack_in = nn.Conv2d(shape.channels * s.patch_keys * s.patch_frames, s.critic_width, 1)
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


class Critics(nn.Module):
    """Both critics, one for each kind."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(Critic(settings, shape) for _ in range(2))

    def judge(self, roll: Tensor, kind: int) -> Tensor:
        """Return logits (B, P) of rolls (B, C, K, T): above 0 where a patch is taken for real music of `kind`."""
        logits: Tensor = self.kinds[kind](roll)
        return logits


class Pool(nn.Module):
    """Pool of earlier generated rolls, so that a critic does not forget fakes it once recognised (arXiv 1612.07828).

    They are buffers, which a checkpoint holds: a resumed run shows its critics what it would have shown without the
    break.
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
        """Return the rolls that a critic is shown for `fake` (B, C, K, T): each itself or, half the time, an older one.

        The new roll then replaces the older one in the pool. Until the pool is full every new roll is stored and shown.
        """
        stored_rolls, size = self.held[kind], self.held.shape[1]
        shown = fake.clone()
        for index in range(len(fake) if size else 0):
            filled = int(self.filled[kind])
            if filled < size:
                stored_rolls[filled] = fake[index]
                self.filled[kind] += 1
            elif torch.rand((), generator=rng) < 0.5:
                slot = int(torch.randint(size, (), generator=rng))
                shown[index] = stored_rolls[slot]
                stored_rolls[slot] = fake[index]
        return shown


def build(settings: CycleGanSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generators, critics and pool for rolls of `shape`."""
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
    draws=False,
    translates=True,
    conditions=("other",),
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

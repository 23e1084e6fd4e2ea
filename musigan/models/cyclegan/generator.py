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

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import ResidualBlock
from musigan.layers.gates import hard_gate, limit
from musigan.layers.packing import pack, pad_roll, unpack
from musigan.models import Family
from musigan.models.cyclegan.critics import Critics
from musigan.models.cyclegan.pulse import BEAT_REACH, REACH, find
from musigan.models.cyclegan.remix import SOUNDING, Drummer, Remix, slow
from musigan.models.cyclegan.settings import CycleGanSettings
from musigan.models.cyclegan.statistics import KindStatistics
from musigan.rolls.shape import RollShape

GATE_LOGIT = 1.0  # the gate's logit before training: sounding keys go on, silent keys stay silent
BORN = 0.4  # base loudness, in model space, of notes that the generator adds where the roll is silent
FAINTEST = 0.1  # least loudness of a note, in model space: fainter notes would cost almost nothing and hide the song


class DirectedGenerator(nn.Module):
    """Generator for one direction, from one kind to the other: (B, C, K, T) -> (B, C, K, T), T of any length."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        self.kit = shape.kit if s.remix else ()
        self.channels = shape.pitched if s.remix else shape.channels  # that notes are changed in
        rows = -(-shape.keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        cells = s.patch_keys * s.patch_frames
        self.out_cells = s.patch_keys if s.remix else cells
        self.key_map = nn.Parameter(torch.zeros(1, s.width, rows, 1))  # which keys these are
        self.pack_in = nn.Conv2d(shape.channels * cells, s.width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(s.width, dilation=dilation) for dilation in s.dilations))
        self.pack_out = nn.Conv2d(s.width, 2 * self.channels * self.out_cells, 1)
        for parameter in self.pack_out.parameters():
            nn.init.zeros_(parameter)
        pulses = (1 + s.beat) * s.patch_frames
        self.pulse_in = nn.Conv2d(pulses, s.width, 1, bias=False) if s.remix else None
        sizes = (s.width, self.channels, rows, s.patch_keys, s.patch_frames)
        self.remix = Remix(*sizes, s.most_amount, s.beat) if s.remix else None
        self.drummer = Drummer(s.width, s.patch_frames) if self.kit else None

    def forward(self, roll: Tensor) -> Tensor:
        """Translate roll (B, C, K, T)."""
        s, (keys, frames) = self.settings, roll.shape[-2:]
        padded_frames = -(-frames // s.patch_frames) * s.patch_frames
        padded = pad_roll(roll, self.padded_keys, padded_frames)
        patches = pack(padded, s.patch_keys, s.patch_frames).contiguous(memory_format=torch.channels_last)
        features = self.pack_in(patches) + self.key_map
        notes = roll[:, : self.channels]
        pulse = find(notes, s.beat) if self.remix is not None else None
        if self.pulse_in is not None and pulse is not None:
            at = torch.stack((pulse.strong, pulse.beat.at) if pulse.beat else (pulse.strong,), 1)  # (B, 1 or 2, T)
            features = features + self.pulse_in(pack(pad_roll(at[:, :, None], 1, padded_frames), 1, s.patch_frames))
        features = F.leaky_relu(self.blocks(features), 0.2)  # (B, W, K/pk, T/pt)
        outputs = self.pack_out(features)
        if self.remix is None or pulse is None:
            cells = unpack(outputs, 2 * self.channels, s.patch_keys, s.patch_frames)
            change, gate_change = self._smoothed(cells)[:, :, :keys, :frames].chunk(2, 1)
            return _audible(notes, notes > 0, change, gate_change)
        by_key = unpack(outputs, 2 * self.channels, s.patch_keys, 1)
        change, gate_change = slow(by_key, s.patch_frames, frames)[:, :, :keys].chunk(2, 1)
        mixed, logits = self.remix(notes, features, pulse)
        # Notes are not made of nothing: slabs of a patch's length would come of it, and other chords. What could be
        # mixed from other octaves learns so by its gate, which has the gradient of its loudness.
        is_sounding = mixed > SOUNDING
        gate_change = torch.where(is_sounding, gate_change + logits, mixed - mixed.detach())
        translated = _audible(mixed, is_sounding, change, gate_change)
        drums = roll[:, self.channels :]
        if self.drummer is not None:
            rows = torch.tensor(self.kit, device=roll.device)
            drums = drums.index_copy(2, rows, self.drummer(drums[:, 0, rows], features, pulse)[:, None])
        return torch.cat((translated, drums), 1)

    def _smoothed(self, both: Tensor) -> Tensor:
        """Average (B, 2C, K, T) over a patch length around each frame, so that nothing ticks at the patch rate."""
        length = self.settings.patch_frames
        padded = F.pad(both, ((length - 1) // 2, length // 2, 0, 0), mode="replicate")
        return F.avg_pool2d(padded, (1, length), stride=1)


def _audible(roll: Tensor, is_sounding: Tensor, change: Tensor, gate_change: Tensor) -> Tensor:
    """Return rolls (B, C, K, T) louder by `change` and gated: silence and what sounds stay so where nothing changes."""
    loudness = torch.where(is_sounding, roll, BORN) + change
    audible = FAINTEST + (1 - FAINTEST) * limit((loudness - FAINTEST) / (1 - FAINTEST))
    return audible * hard_gate(torch.where(is_sounding, GATE_LOGIT, -GATE_LOGIT) + gate_change)


class Generator(nn.Module):
    """Both generators: the first kind to the second, and the second to the first."""

    def __init__(self, settings: CycleGanSettings, shape: RollShape) -> None:
        super().__init__()
        self.token_frames = settings.patch_frames
        pulse_frames = REACH + BEAT_REACH * settings.beat if settings.remix else 0
        pulse_reach = -(-pulse_frames // settings.patch_frames)
        # Patches on either side that a patch depends on.
        self.receptive_field = 2 * sum(settings.dilations) + 1 + pulse_reach
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


class Pool(nn.Module):
    """Pool of earlier generated rolls, so that a critic does not forget fakes it once recognised (arXiv 1612.07828).

    They are buffers, which a checkpoint holds: a resumed run shows its critics what it would have shown without the
    break.
    """

    held: Tensor
    filled: Tensor
    over_ranks: ClassVar = {"held": "first", "filled": "first"}

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
    """Build generators, critics, pool and statistics for rolls of `shape`."""
    networks: dict[str, nn.Module] = {
        "generator": Generator(settings, shape),
        "critic": Critics(settings, shape),
        "pool": Pool(settings, shape),
    }
    if settings.statistics:
        networks["statistics"] = KindStatistics(shape.pitched, shape.keys)
    return nn.ModuleDict(networks)


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
        "epochs": 10,
        "batch_size": 2,
        "ema_half_life": 300.0,
        "sample_every": 0,
        "evaluate_every": 0,
        "adversarial": {
            "objective": "lsgan",
            "decoder_learning_rate": 1e-2,
            "critic_learning_rate": 1e-3,
            "betas": [0.5, 0.99],
            "label_smoothing": 0.0,
            "instance_noise": 0.2,
        },
        "loss_weights": {
            "adversarial_roll": 0.3,
            "cycle": 0.3,
            "identity": 0.0,
            "place": 9.0,
            "kind": 0.2,
            "likeness": 12.0,
            "harmony": 2.0,
        },
        "network": {
            "patch_frames": 20,
            "width": 24,
            "dilations": [1, 2, 4],
            "remix": True,
            "beat": True,
            "critic_width": 24,
            "drum_width": 24,
            "statistics": True,
            "teller_width": 24,
            "most_amount": 1.5,
        },
    },
    # Weights of a run of before there were statistics; what a new one takes is among its defaults, which it remembers.
    losses={
        "adversarial_roll": 1.0, "critic_roll": 1.0, "cycle": 3.0, "identity": 2.0, "harmony": 4.0, "place": 6.0,
        "likeness": 0.0, "kind": 0.0, "critic_kind": 1.0,
    },
)  # fmt: skip

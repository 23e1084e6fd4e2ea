"""MuseGAN: several tracks by generators of their own and in common, bar by bar, under a style and a tempo.

After Dong et al., MuseGAN (arXiv 1709.06298), and for the binary neurons Dong and Yang (arXiv 1804.09399). Vectors of
noise stand for who decides: one each for the whole piece, and one each that a temporal generator turns into a vector
a bar. Which tracks read which is the `structure`:

    jamming    every track has its own pair of vectors and its own bar generator
    composer   one pair for all, and one bar generator that writes all tracks
    hybrid     a pair in common and a pair of its own for every track, each with its own bar generator

Our departures. Bars are stretches of `bar_frames`; the true beat and bar come as a clock (sine and cosine of their
phase in each frame) that goes into generator and critic alike, with the style: what the papers leave to the choice of
data is a condition here. The last layers run over bar lines, so that notes are held across them. A cell is a loudness
behind a binary neuron. The critic has no normalisation over the batch, sees all tracks and bars with their onsets and
pitch classes in streams of their own, and takes real music with another's conditions for fake (arXiv 1605.04396's
matching-aware critic). Before the game of WGAN-GP, for which minutes on a CPU are short, the bar generators learn as
the decoder of a variational autoencoder (arXiv 1512.09300): an encoder writes real rolls down as the same vectors.

Given tracks (`kept`, the paper's track-conditional generation) are read by an encoder bar by bar, and beside it cell
by cell, and are copied to what is generated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers import (
    PITCH_CLASSES,
    ResidualBlock,
    chroma,
    hard_gate,
    limit,
    pack,
    pad_roll,
    stochastic_gate,
    unpack,
)
from musigan.models import Family, RollShape
from musigan.models.protocol import Decoded, Judgement, OneShotGenerator, Posterior

CLOCK = 4  # sine and cosine of the beat's phase and of the bar's
NEEDS = ("style", "tempo", "kept")


@dataclass(frozen=True)
class MuseganSettings:
    """Sizes of the networks."""

    structure: Literal["jamming", "composer", "hybrid"] = "hybrid"
    bar_frames: int = 100  # frames that one vector of a temporal generator stands for: 2 s, a bar at 120 a minute
    patch_keys: int = 4  # keys packed into channels
    patch_frames: int = 10  # frames packed into channels
    latent_dim: int = 32  # numbers in each vector of noise
    width: int = 32  # channels of a bar generator's fine plane
    deep_width: int = 48  # channels of its coarse plane (half as many rows and columns)
    temporal_width: int = 64  # of the temporal generators
    style_dim: int = 16
    most_styles: int = 32  # told apart, the most frequent first; the others count as none
    kept_dim: int = 32  # numbers that tell a bar of the given tracks
    critic_width: int = 32  # channels of the critic's finest plane
    binary: Literal["deterministic", "stochastic"] = "deterministic"  # neurons; drawn music is always deterministic

    def __post_init__(self) -> None:
        if self.bar_frames % (2 * self.patch_frames):
            raise SettingsError(
                f"network.bar_frames {self.bar_frames} is not divisible by twice network.patch_frames "
                f"({self.patch_frames})"
            )
        if min(self.patch_keys, self.patch_frames, self.bar_frames, self.latent_dim, self.width, self.most_styles) < 1:
            raise SettingsError("network sizes must be at least 1")


@dataclass(frozen=True)
class _Plane:
    """Sizes of padded rolls: packed on a fine plane of rows by columns, and on a coarse one with half of each."""

    rows: int  # of the coarse plane
    bars: int
    bar_columns: int  # of the coarse plane, in a bar
    padded_keys: int
    padded_frames: int

    @classmethod
    def of(cls, settings: MuseganSettings, shape: RollShape) -> _Plane:
        rows = -(-shape.keys // (2 * settings.patch_keys))
        bars = -(-shape.frames // settings.bar_frames)
        columns = settings.bar_frames // (2 * settings.patch_frames)
        return cls(rows, bars, columns, rows * 2 * settings.patch_keys, bars * settings.bar_frames)


class TemporalGenerator(nn.Module):
    """One vector of noise -> a vector for every bar: (B, Z) -> (B, bars, Z)."""

    def __init__(self, latent_dim: int, width: int, bars: int) -> None:
        super().__init__()
        self.bars = bars
        self.inward = nn.Linear(latent_dim, bars * width)
        self.along = nn.Conv1d(width, width, 3, padding=1)
        self.outward = nn.Linear(width, latent_dim)

    def forward(self, noise: Tensor) -> Tensor:
        """noise (B, Z)."""
        plane = F.leaky_relu(self.inward(noise).unflatten(1, (-1, self.bars)), 0.2)  # (B, W, bars)
        return self.outward(F.leaky_relu(self.along(plane), 0.2).transpose(1, 2))


class BarGenerator(nn.Module):
    """Vectors of bars -> loudness and logits of some tracks, (B, 2, tracks, K, T) before what pads them is cut off."""

    def __init__(self, settings: MuseganSettings, plane: _Plane, told: int, tracks: int) -> None:
        super().__init__()
        s, self.settings, self.plane, self.tracks = settings, settings, plane, tracks
        self.inward = nn.Linear(told, s.deep_width * plane.rows * plane.bar_columns)
        self.deep = ResidualBlock(s.deep_width)
        self.up = nn.Conv2d(s.deep_width, 4 * s.width, 1)
        self.key_map = nn.Parameter(0.1 * torch.randn(1, s.width, 2 * plane.rows, 1))  # which keys these are
        self.clock_in = nn.Conv2d(CLOCK * s.patch_frames, s.width, 1, bias=False)
        self.fine = ResidualBlock(s.width)
        self.outward = nn.Conv2d(s.width, 2 * tracks * s.patch_keys * s.patch_frames, 1)
        self.key_bias = nn.Parameter(torch.zeros(1, tracks, plane.padded_keys, 1))  # how often a key sounds

    def forward(self, bars: Tensor, clock: Tensor | None, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """bars (B, bars, V), packed clock (B, CLOCK * pt, 1, T / pt), given (B, W, K / pk, T / pt)."""
        s, p = self.settings, self.plane
        grid = self.inward(bars).unflatten(2, (s.deep_width, p.rows, p.bar_columns))  # (B, bars, D, rows, columns)
        grid = grid.permute(0, 2, 3, 1, 4).flatten(3)  # (B, D, rows, bars * columns): bars side by side
        grid = self.deep(grid.contiguous(memory_format=torch.channels_last))
        grid = F.pixel_shuffle(self.up(F.leaky_relu(grid, 0.2)), 2) + self.key_map  # (B, W, 2 rows, 2 columns)
        if clock is not None:
            grid = grid + self.clock_in(clock)
        if given is not None:
            grid = grid + given
        grid = self.fine(grid.contiguous(memory_format=torch.channels_last))
        loudness, logits = self.outward(F.leaky_relu(grid, 0.2)).chunk(2, 1)
        loudness = unpack(loudness, self.tracks, s.patch_keys, s.patch_frames)
        return loudness, unpack(logits, self.tracks, s.patch_keys, s.patch_frames) + self.key_bias


class KeptEncoder(nn.Module):
    """Given tracks -> what they tell of each bar (B, bars, D) and of each cell of the fine plane (B, W, K/pk, T/pt)."""

    def __init__(self, settings: MuseganSettings, shape: RollShape, plane: _Plane) -> None:
        super().__init__()
        s, self.settings, self.plane = settings, settings, plane
        patch = shape.channels * s.patch_keys * s.patch_frames
        self.inward = nn.Conv2d(patch + shape.channels, s.width, 1)  # the roll, and which tracks are given
        self.along = nn.Conv2d(s.width, s.width, 3, padding=1)
        self.bar = nn.Linear(s.width * 2 * plane.rows, s.kept_dim)

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """kept (B, C, K, T), below 0 in tracks that are not given; nothing is told where none is."""
        s, p = self.settings, self.plane
        known = given_tracks(kept)  # (B, C, 1, 1)
        packed = pack(pad_roll(kept.clamp(min=0), p.padded_keys, p.padded_frames), s.patch_keys, s.patch_frames)
        packed = torch.cat((packed, known.expand(-1, -1, *packed.shape[2:])), 1)
        grid = self.along(F.leaky_relu(self.inward(packed), 0.2)) * known.amax(1, keepdim=True)
        by_bar = F.leaky_relu(grid, 0.2).unflatten(3, (p.bars, -1)).mean(4)  # (B, W, 2 rows, bars)
        told = self.bar(by_bar.flatten(1, 2).transpose(1, 2))  # (B, bars, D)
        return told * known.amax(1), grid


def given_tracks(kept: Tensor) -> Tensor:
    """1 for tracks of (B, C, K, T) that are given, 0 for those below 0, which are to be made: (B, C, 1, 1)."""
    return (kept[:, :, :1, :1] >= 0).to(kept.dtype)


class Generator(OneShotGenerator):
    """Vectors of noise (B, L, Z), in pairs of one for the piece and one for its bars, to rolls; and back."""

    needs = NEEDS

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.plane = p = _Plane.of(settings, shape)
        private = 0 if s.structure == "composer" else shape.channels
        self.shared = 0 if s.structure == "jamming" else 1
        self.pairs = self.shared + private
        read = self.shared + (1 if private else 0)  # pairs that one bar generator reads
        self.temporal = nn.ModuleList(
            TemporalGenerator(s.latent_dim, s.temporal_width, p.bars) for _ in range(self.pairs)
        )
        self.style = nn.Embedding(s.most_styles + 1, s.style_dim)
        self.kept = KeptEncoder(s, shape, p) if shape.channels > 1 else None
        told = read * 2 * s.latent_dim + s.style_dim + (s.kept_dim if self.kept is not None else 0)
        writers = [1] * private or [shape.channels]
        self.writers = nn.ModuleList(BarGenerator(s, p, told, tracks) for tracks in writers)
        self.encoder = Encoder(s, shape, p, 2 * self.pairs)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by what they are for."""
        encoder = {id(parameter) for parameter in self.encoder.parameters()}
        others = [parameter for parameter in self.parameters() if id(parameter) not in encoder]
        return {"encoder": list(self.encoder.parameters()), "decoder": others}

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """White noise (B, L, Z) for rolls of the length that the networks were built for."""
        noise = torch.randn(batch, 2 * self.pairs, self.settings.latent_dim, generator=rng)
        return noise.to(self.style.weight.device)

    def encode(self, roll: Tensor) -> Posterior:
        """roll (B, C, K, T) -> Gaussian of the vectors, (B, L, Z) each."""
        found: Posterior = self.encoder(roll)
        return found

    def decode(
        self,
        latents: Tensor,
        frames: int,
        style: Tensor | None = None,
        tempo: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Decoded:
        """latents (B, L, Z) -> roll (B, C, K, T), under style (B), clock (B, 4, T) and given tracks (B, C, K, T)."""
        s, batch = self.settings, len(latents)
        pairs = latents.unflatten(1, (self.pairs, 2))  # (B, pairs, 2, Z): for the piece, for its bars
        by_bar = [
            torch.cat((pairs[:, n, :1].expand(-1, self.plane.bars, -1), temporal(pairs[:, n, 1])), 2)
            for n, temporal in enumerate(self.temporal)
        ]  # (B, bars, 2Z) each
        number = latents.new_zeros(batch, dtype=torch.long) if style is None else known_style(style, s.most_styles)
        common = [self.style(number)[:, None].expand(-1, self.plane.bars, -1), *by_bar[: self.shared]]
        given = None
        if self.kept is not None:
            told = latents.new_zeros(batch, self.plane.bars, s.kept_dim)
            if kept is not None:
                told, given = self.kept(kept)
            common.append(told)
        clock = None if tempo is None else packed_clock(tempo, self.plane.padded_frames, s.patch_frames)
        own = by_bar[self.shared :] or [None]
        written = [
            writer(torch.cat(common if mine is None else [*common, mine], 2), clock, given)
            for writer, mine in zip(self.writers, own, strict=True)
        ]
        loudness, logits = (
            torch.cat(parts, 1)[:, :, : self.shape.keys, :frames] for parts in zip(*written, strict=True)
        )
        gate = stochastic_gate if self.training and s.binary == "stochastic" else hard_gate
        roll = limit(loudness) * gate(logits)
        if kept is not None:
            roll = torch.where(given_tracks(kept) > 0, kept, roll)
        return Decoded(roll, logits)


def known_style(style: Tensor, most: int) -> Tensor:
    """Numbers of styles (B), 0 for those beyond the `most` that there is room for."""
    return style * (style <= most)


def packed_clock(tempo: Tensor, frames: int, patch_frames: int) -> Tensor:
    """(B, 4, T), silent behind its end up to `frames`, as the columns of a plane: (B, 4 * pt, 1, frames / pt)."""
    return pack(F.pad(tempo, (0, frames - tempo.shape[-1]))[:, :, None], 1, patch_frames)


class Encoder(nn.Module):
    """Real rolls -> the vectors that a generator would make them from: (B, C, K, T) -> (B, L, Z)."""

    def __init__(self, settings: MuseganSettings, shape: RollShape, plane: _Plane, vectors: int) -> None:
        super().__init__()
        s, self.settings, self.plane, self.vectors = settings, settings, plane, vectors
        self.inward = nn.Conv2d(shape.channels * s.patch_keys * s.patch_frames, s.width, 1)
        self.key_map = nn.Parameter(0.1 * torch.randn(1, s.width, 2 * plane.rows, 1))
        self.fine = ResidualBlock(s.width)
        self.down = nn.Conv2d(s.width, s.deep_width, 4, stride=2, padding=1)
        self.columns = nn.Conv1d(s.deep_width * plane.rows, 2 * s.temporal_width, 3, padding=1)
        columns = plane.bars * plane.bar_columns
        self.outward = nn.Linear(2 * s.temporal_width * columns, 2 * vectors * s.latent_dim)

    def forward(self, roll: Tensor) -> Posterior:
        """roll (B, C, K, T)."""
        s, p = self.settings, self.plane
        packed = pack(pad_roll(roll, p.padded_keys, p.padded_frames), s.patch_keys, s.patch_frames)
        grid = self.fine(self.inward(packed.contiguous(memory_format=torch.channels_last)) + self.key_map)
        grid = F.leaky_relu(self.down(F.leaky_relu(grid, 0.2)), 0.2)  # (B, D, rows, bars * columns)
        row = F.leaky_relu(self.columns(grid.flatten(1, 2)), 0.2)
        both = self.outward(row.flatten(1)).unflatten(1, (self.vectors, 2 * s.latent_dim))
        mean, log_variance = both.chunk(2, -1)
        return Posterior(mean, log_variance.clamp(-10.0, 4.0))


class Stream(nn.Module):
    """A tower over time: (B, D, T) -> features (B, 2W), mean and maximum over what is left of time."""

    def __init__(self, size: int, width: int, steps: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        sizes = [size]
        layers = []
        for kernel, stride in steps:  # of each layer
            layers.append(nn.Conv1d(sizes[-1], width, kernel, stride=stride, padding=kernel // 2))
            sizes.append(width)
        self.layers = nn.ModuleList(layers)

    def forward(self, row: Tensor) -> Tensor:
        """row (B, D, T)."""
        for layer in self.layers:
            row = F.leaky_relu(layer(row), 0.2)
        return torch.cat((row.mean(2), row.amax(2)), 1)


class Critic(nn.Module):
    """Judges all tracks and bars at once, their onsets and their pitch classes, with style and clock: one logit."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.plane = settings, settings, _Plane.of(settings, shape)
        width = s.critic_width
        # A patch and a frame to either side: what begins at its edge is seen to begin.
        self.inward = nn.Conv2d(
            shape.channels, width, (s.patch_keys, s.patch_frames + 2), stride=(s.patch_keys, s.patch_frames)
        )
        self.key_map = nn.Parameter(0.1 * torch.randn(1, width, 2 * self.plane.rows, 1))
        self.clock_in = nn.Conv2d(CLOCK * s.patch_frames, width, 1, bias=False)
        wider = (width, 3 * width // 2, 2 * width, 2 * width)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(wider, wider[1:], strict=False)
        )
        self.onsets = Stream(shape.channels + CLOCK, width, ((9, 5), (5, 2), (5, 2)))
        self.classes = Stream(PITCH_CLASSES * shape.channels + CLOCK, width, ((5, 1), (5, 2), (5, 2)))
        self.inner = nn.Linear(2 * wider[-1] + 4 * width, 4 * width)
        self.outward = nn.Linear(4 * width, 1)
        self.style = nn.Embedding(s.most_styles + 1, 4 * width)

    def forward(
        self,
        roll: Tensor | None,
        latents: Tensor | None,
        alone: bool = False,
        style: Tensor | None = None,
        tempo: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Judgement:
        """roll (B, C, K, T) under style (B) and clock (B, 4, T); latents and given tracks are not looked at.

        No sample knows of the others of its batch, `alone` or not.
        """
        if roll is None:
            return Judgement({}, {})
        s, p = self.settings, self.plane
        clock = roll.new_zeros(len(roll), CLOCK, roll.shape[-1]) if tempo is None else tempo
        keys, frames = p.padded_keys - roll.shape[2], p.padded_frames - roll.shape[3]
        grid = self.inward(F.pad(roll, (1, frames + 1, 0, keys))) + self.key_map
        grid = grid + self.clock_in(packed_clock(clock, p.padded_frames, s.patch_frames))
        for layer in self.down:
            grid = layer(F.leaky_relu(grid, 0.2))
        grid = F.leaky_relu(grid, 0.2)
        onsets = torch.log1p(F.pad(F.relu(roll.diff(dim=3)).sum(2), (1, 0)))  # (B, C, T)
        classes = chroma(roll, s.patch_frames).transpose(1, 2)  # (B, 12 C, T / pt)
        slow = F.adaptive_avg_pool1d(clock, classes.shape[-1])
        told = (
            grid.mean((2, 3)),
            grid.amax((2, 3)),
            self.onsets(torch.cat((onsets, clock), 1)),
            self.classes(torch.cat((classes, slow), 1)),
        )
        features = F.leaky_relu(self.inner(torch.cat(told, 1)), 0.2)
        logit = self.outward(features)
        if style is not None:  # a projection (arXiv 1802.05637)
            logit = logit + (self.style(known_style(style, s.most_styles)) * features).sum(1, keepdim=True)
        return Judgement({"roll": logit}, {"roll": [features]})


def build(settings: MuseganSettings, shape: RollShape) -> nn.ModuleDict:
    """Generator and critic for rolls of `shape`."""
    networks = nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)})
    for network in networks.values():
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


FAMILY = Family(
    name="musegan",
    stages=("variational", "critic", "adversarial"),
    pretrain_share=0.6,
    summary="several tracks bar by bar, each by a generator of its own, in a style, at a tempo, to a track that is given",
    paper="Dong et al., MuseGAN (arXiv 1709.06298); Dong and Yang, binary neurons (arXiv 1804.09399)",
    settings=MuseganSettings,
    build=build,
    needs=NEEDS,
    defaults={
        "epochs": 150,
        "batch_size": 16,
        "adversarial": {
            "objective": "wgan",
            "critic_steps": 5,
            "learning_rate": 1e-4,
            "decoder_learning_rate": 1e-4,
            "critic_learning_rate": 5e-4,
            "betas": [0.5, 0.9],
            "roll_every": 1,
            "instance_noise": 0.0,
        },
    },
    losses={
        "kl": 0.1,
        "adversarial_roll": 0.1,
        "critic_mismatch": 1.0,
        "penalty_roll": 10.0,
        "anchor": 0.3,
        "anchor_activity": 0.3,
    },
)

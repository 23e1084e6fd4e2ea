"""Layout of the original MusiGAN scripts as a baseline: 1-D convolutions over keys and frames in one long row.

Layer sizes are those of Vlasenko's repository (piano_encoder_decoder.py, piano_model.py, discriminator.py and its
config): a roll of 33 keys x 500 frames is a row of 16,500 values per channel. Only the defects that kept it from
working are repaired: activations stand between the convolutions, the transformer has positions, the critic's skip path
sees the whole row, nothing is divided by the maximum of the batch, the encoder sees real rolls and the noise goes into
the transformer, and the 131 M parameters that no output depended on are gone. The design itself, in which the next key
is 500 positions away, is left as it was. Only the Gaussian filter, which ran along the row, runs over keys and frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers.convolution import GaussianFilter, normed
from musigan.layers.critics import Heads, MinibatchDiscrimination
from musigan.layers.gates import limit
from musigan.losses.musical import HEAD_LOSSES
from musigan.models import Family
from musigan.models.protocol import Decoded, Judgement, Posterior
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED


@dataclass(frozen=True, config=CHECKED)
class OriginalSettings:
    """Sizes of the networks; the defaults are the author's."""

    width: int = 128  # channels of every convolution of encoder and decoder
    latent_steps: int = 500  # latent steps of a roll
    latent_dim: int = 512  # numbers per latent step
    transformer_layers: int = 1  # of the transformer
    transformer_heads: int = 8  # of its attention
    dropout: float = 0.1  # share of the transformer's activations that are left out while it learns
    critic_layers: int = 8  # each halves the row and doubles the channels
    critic_width: int = 2  # channels of the critic's first layer
    minibatch_projections: int = 10  # of the critic's minibatch discrimination
    minibatch_width: int = 5  # numbers in each of these
    gaussian: bool = False  # smooth the decoder's output over keys and frames, by learned widths
    critic_heads: bool = False  # have the critic predict silence and melodic motion, too
    spectral: bool = True  # spectral normalisation of the critic's convolutions but the first

    def __post_init__(self) -> None:
        if self.latent_dim % self.transformer_heads:
            raise SettingsError(
                f"network.latent_dim {self.latent_dim} is not divisible by network.transformer_heads "
                f"{self.transformer_heads}"
            )


class Generator(nn.Module):
    """Encoder, transformer and decoder over rows of C x (K*T) values."""

    flow_steps = 0  # from noise to latents

    def __init__(self, settings: OriginalSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        width = s.width
        self.encoder1 = nn.Sequential(
            nn.Conv1d(shape.channels, width, 9, stride=2, padding=4), nn.ReLU(), nn.BatchNorm1d(width)
        )
        self.encoder2 = nn.Sequential(nn.Conv1d(width, width, 7, stride=2, padding=3), nn.ReLU(), nn.BatchNorm1d(width))
        self.to_posterior = nn.Linear(width, 2 * s.latent_dim)
        self.positions = nn.Parameter(0.02 * torch.randn(1, s.latent_steps, s.latent_dim))
        layer = nn.TransformerEncoderLayer(
            s.latent_dim, s.transformer_heads, 2 * s.latent_dim, s.dropout, batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, s.transformer_layers, enable_nested_tensor=False)
        self.from_latents = nn.Linear(s.latent_dim, width)
        self.decoder1 = nn.Sequential(
            nn.ConvTranspose1d(width, width, 7, stride=2, padding=3, output_padding=1), nn.ReLU(), nn.BatchNorm1d(width)
        )
        self.decoder2 = nn.Sequential(nn.ConvTranspose1d(width, width, 2, stride=2), nn.ReLU(), nn.BatchNorm1d(width))
        self.decoder3 = nn.Sequential(
            nn.ConvTranspose1d(width, width, 3, stride=5, padding=1, output_padding=4), nn.ReLU(), nn.BatchNorm1d(width)
        )
        self.decoder4 = nn.ConvTranspose1d(width, shape.channels, 9, stride=2, padding=4, output_padding=1)
        self.gaussian = GaussianFilter() if s.gaussian else None

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role; the transformer counts as decoder: it also serves real latents."""
        encoder = ("encoder", "to_posterior")
        named: dict[str, list[nn.Parameter]] = {"encoder": [], "prior": [], "decoder": []}
        for name, parameter in self.named_parameters():
            named["encoder" if name.startswith(encoder) else "decoder"].append(parameter)
        return named

    def encode(self, roll: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""
        fine = self.encoder1(roll.flatten(2))  # (B, W, K*T/2)
        pooled = F.max_pool1d(fine, 2) + F.avg_pool1d(fine, 2)
        coarse = F.adaptive_avg_pool1d(self.encoder2(pooled), self.settings.latent_steps)
        mean, log_variance = self.to_posterior(coarse.transpose(1, 2)).chunk(2, -1)
        return Posterior(mean, log_variance.clamp(-10.0, 4.0))

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw white noise for `batch` rolls; every roll has the length the network was built for."""
        s = self.settings
        return torch.randn(batch, s.latent_steps, s.latent_dim, generator=rng).to(self.positions.device)

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Return the white noise itself as latents, as a posterior close to N(0, 1) would give them."""
        return latents

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, T), through the transformer."""
        row = self.from_latents(self.transformer(latents + self.positions)).transpose(1, 2)  # (B, W, L)
        for layer in (self.decoder1, self.decoder2, self.decoder3):
            inner = layer(row)
            row = inner + F.interpolate(row, size=inner.shape[-1], mode="linear", align_corners=False)
        shape = self.shape
        row = F.adaptive_avg_pool1d(self.decoder4(row), shape.keys * shape.frames)
        logits = row.unflatten(2, (shape.keys, shape.frames))  # (B, C, K, T)
        if self.gaussian is not None:
            logits = self.gaussian(logits)
        return Decoded(limit(logits / 6.0), logits)


class Critic(nn.Module):
    """Convolutions that halve the row and double the channels, each with a skip, then minibatch discrimination."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: OriginalSettings, shape: RollShape) -> None:
        super().__init__()
        widths = [shape.channels] + [settings.critic_width * 2**index for index in range(settings.critic_layers)]
        pairs = list(itertools.pairwise(widths))
        self.layers = nn.ModuleList(
            normed(nn.Conv1d(a, b, 4, stride=2, padding=1), settings.spectral and index > 0)
            for index, (a, b) in enumerate(pairs)
        )
        self.skips = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in pairs)
        self.discrimination = MinibatchDiscrimination(
            widths[-1], settings.minibatch_projections, settings.minibatch_width
        )
        self.out_proj = nn.Linear(widths[-1] + settings.minibatch_projections, 1)
        self.heads = Heads(widths[-1], HEAD_LOSSES) if settings.critic_heads else None

    def forward(self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False) -> Judgement:
        """Judge roll (B, C, K, T); `latents` are not used. `per_sample` leaves the rest of the batch out."""
        if roll is None:
            return Judgement({}, {})
        row, features = roll.flatten(2), []
        for layer, skip in zip(self.layers, self.skips, strict=True):
            inner = F.leaky_relu(layer(row), 0.25)
            row = inner + F.adaptive_avg_pool1d(skip(row), inner.shape[-1])
            features.append(row)
        pooled = row.mean(2)
        if per_sample:
            spread = torch.cat([self.discrimination(sample) for sample in pooled.split(1)])
        else:
            spread = self.discrimination(pooled)
        predictions = None if self.heads is None else self.heads(pooled)
        return Judgement({"roll": self.out_proj(spread)}, {"roll": features[-2:-1]}, predictions)


def build(settings: OriginalSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    return nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)})


FAMILY = Family(
    name="original",
    summary="the original scripts' layout, its defects repaired: the baseline to beat",
    paper="Vlasenko, MusiGAN (github.com/Vlasenko2006/MusiGAN)",
    settings=OriginalSettings,
    build=build,
)

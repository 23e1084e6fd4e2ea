"""MusiGAN: variational encoder, transformer, convolutional decoder over keys and time, residual critic.

The system Andrey Vlasenko describes in MusiGAN's README, with these departures. Frames and keys are packed into
channels, so that all convolutions run on a coarse grid of keys by time. The transformer turns white noise into a
sequence of latents, one per `token_frames` frames, in a few steps of a flow from noise to music (arXiv 2210.02747,
2209.03003). The flow is trained on the latents of real music before the adversarial stage. Rotary positions
(arXiv 2104.09864) and a limited receptive field make latents a function of time: a piece has any length. The critic
judges rolls by a 2-D tower and, as in Musika (arXiv 2208.08706), their latents by a small tower over time.

    real roll -> encoder -> latents --------------+
                                                  +--> decoder -> roll -> critic (roll tower, latent tower)
    noise -> transformer, flow steps -> latents --+

A decoded cell is a loudness times a gate that is exactly 0 or 1, so silence is silence. No layer of the generator
mixes the samples of a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers.attention import Transformer
from musigan.layers.convolution import PITCH_CLASSES, DownBlock, GaussianFilter, ResidualBlock, normed
from musigan.layers.critics import Heads, minibatch_deviation
from musigan.layers.gates import hard_gate, limit
from musigan.layers.packing import channels_last, chroma, pack, pad_roll, unpack
from musigan.layers.principal import Bypass, begin_with, planes_of, quiet_posterior, steps_of
from musigan.losses.musical import HEAD_LOSSES
from musigan.models import Family, inpainting
from musigan.models.protocol import Decoded, FlowGenerator, Judgement, Posterior
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count, Even


@dataclass(frozen=True, config=CHECKED)
class MusiganSettings:
    """Sizes of the networks."""

    patch_keys: Count = 4  # keys packed into channels
    patch_frames: Count = 10  # frames packed into channels; also the time step of one latent
    width: Count = 64  # channels of the fine feature map
    deep_width: int = 96  # channels of the coarse feature map (half as many rows)
    fine_blocks: int = 1  # residual blocks on the fine feature map, encoder and decoder each
    deep_blocks: int = 1  # residual blocks on the coarse feature map, encoder and decoder each
    latent_dim: Count = 32  # numbers per latent step
    flow_steps: Count = 8  # flow steps, passes through the transformer, from noise to latents
    time_dim: Even = 32  # size of the embedding of the flow's time
    transformer_width: int = 128  # features of a token, a multiple of twice the heads
    transformer_layers: int = 4  # of the transformer
    transformer_heads: int = 4  # of its attention
    critic_width: int = 64  # channels of the critic's finest feature map
    latent_critic_width: int = 128  # channels of the critic's tower over latents; 0 leaves it out
    chroma_critic_width: int = 0  # channels of the critic's tower over pitch classes; 0 leaves it out
    gaussian: bool = False  # smooth the decoder's loudness over keys and frames, by widths that are learned
    critic_heads: bool = False  # have the critic predict silence and melodic motion, too
    spectral: bool = True  # spectral normalisation of the critic's layers

    def __post_init__(self) -> None:
        if self.transformer_width % (2 * self.transformer_heads):
            raise SettingsError(
                f"network.transformer_width {self.transformer_width} is not divisible by twice "
                f"network.transformer_heads ({self.transformer_heads})"
            )


class LatentFlow(FlowGenerator):
    """Encoder, transformer and decoder: rolls as latents, and a flow from noise to latents."""

    PRIOR: tuple[str, ...] = (
        "noise_in",
        "transformer",
        "time_in",
        "latents_out",
    )  # name prefixes of the prior's parameters

    def __init__(self, settings: MusiganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.flow_steps = s.flow_steps
        rows = -(-shape.keys // (2 * s.patch_keys))  # rows of the coarse feature map
        self.padded_keys = rows * 2 * s.patch_keys
        self.token_frames = s.patch_frames
        self.rows = rows
        patch = shape.channels * s.patch_keys * s.patch_frames

        self.key_map = nn.Parameter(torch.zeros(1, s.width, 2 * rows, 1))  # which keys these are
        self.pack_in = nn.Conv2d(patch, s.width, 1)
        self.encoder_fine = nn.Sequential(*(ResidualBlock(s.width) for _ in range(s.fine_blocks)))
        self.encoder_down = nn.Conv2d(s.width, s.deep_width, (4, 3), stride=(2, 1), padding=1)
        self.encoder_deep = nn.Sequential(*(ResidualBlock(s.deep_width) for _ in range(s.deep_blocks)))
        self.to_posterior = nn.Conv1d(rows * s.deep_width, 2 * s.latent_dim, 3, padding=1)
        cells = shape.channels * self.padded_keys * s.patch_frames  # of a step
        self.encoder_bypass = Bypass(cells, s.latent_dim)

        tokens = -(-shape.frames // s.patch_frames)
        self.noise_in = nn.Linear(s.latent_dim, s.transformer_width)
        self.transformer = Transformer(
            s.transformer_width, s.transformer_layers, s.transformer_heads, max(tokens // 2, 1), s.time_dim
        )
        self.time_in = nn.Sequential(nn.Linear(s.time_dim, s.time_dim), nn.GELU())
        self.latents_out = nn.Sequential(
            nn.LayerNorm(s.transformer_width), nn.Linear(s.transformer_width, s.latent_dim)
        )

        nn.init.zeros_(self.latents_out[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.latents_out[1].bias)  # type: ignore[arg-type]
        # Matches mean and deviation of sampled latents to real ones, after the flow (training/calibration.py).
        self.register_calibration(s.latent_dim)

        self.from_latents = nn.Conv1d(s.latent_dim, rows * s.deep_width, 3, padding=1)
        self.decoder_deep = nn.Sequential(*(ResidualBlock(s.deep_width) for _ in range(s.deep_blocks)))
        self.decoder_up = nn.Conv2d(s.deep_width, 2 * s.width, 3, padding=1)
        self.decoder_fine = nn.Sequential(*(ResidualBlock(s.width) for _ in range(s.fine_blocks)))
        self.pack_out = nn.Conv2d(s.width, 2 * patch, 1)
        self.decoder_bypass = Bypass(s.latent_dim, 2 * cells)
        self.key_bias = nn.Parameter(torch.zeros(1, shape.channels, self.padded_keys, 1))  # how often a key sounds
        self.gaussian = GaussianFilter() if s.gaussian else None

    @property
    def decoder_receptive_field(self) -> int:
        """Decoder's receptive field: latent steps on either side of a decoded step; at least the encoder's."""
        s = self.settings
        filter_steps = 0 if self.gaussian is None else self.steps(self.gaussian.reach_frames)
        return 1 + 2 * (s.deep_blocks + s.fine_blocks) + 1 + filter_steps

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role; the map of keys counts as the encoder's."""
        named: dict[str, list[nn.Parameter]] = {"encoder": [], "prior": [], "decoder": []}
        encoder = ("encoder", "pack_in", "to_posterior", "key_map")
        for name, parameter in self.named_parameters():
            part = "prior" if name.startswith(self.PRIOR) else "encoder" if name.startswith(encoder) else "decoder"
            named[part].append(parameter)
        return named

    def steps(self, frames: int) -> int:
        """Return the number of latent steps that cover `frames` frames."""
        return -(-frames // self.token_frames)

    def encode(self, roll: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""
        frames = self.steps(roll.shape[-1]) * self.token_frames
        patches = pack(pad_roll(roll, self.padded_keys, frames), self.settings.patch_keys, self.token_frames)
        feature_map = self.encoder_fine(
            self.pack_in(patches.contiguous(memory_format=torch.channels_last)) + self.key_map
        )
        feature_map = self.encoder_deep(F.leaky_relu(self.encoder_down(feature_map), 0.2))  # (B, D, rows, L)
        outputs = self.to_posterior(F.leaky_relu(feature_map, 0.2).flatten(1, 2)).transpose(1, 2)  # (B, L, 2Z)
        mean, log_variance = outputs.chunk(2, -1)
        mean = mean + self.encoder_bypass(steps_of(roll, self.padded_keys, self.token_frames))
        return Posterior(mean, log_variance.clamp(-10.0, 4.0))

    def begin_with(self, rolls: Tensor) -> None:
        """Begin with the principal components of rolls (B, C, K, T), unless there was training before."""
        steps = steps_of(rolls, self.padded_keys, self.token_frames).flatten(0, 1)
        if not self.key_bias.any() and begin_with(self.encoder_bypass, self.decoder_bypass, steps):
            quiet_posterior(self.to_posterior)

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw white noise (B, L, Z) for `batch` pieces of `frames` frames."""
        return torch.randn(batch, self.steps(frames), self.settings.latent_dim, generator=rng).to(self.key_map.device)

    def velocity(self, latents: Tensor, time: Tensor) -> Tensor:
        """Return the flow's velocity (B, L, Z) at latents (B, L, Z) and `time` (B), 0 noise and 1 music."""
        return self.latents_out(self.transformer(self.noise_in(latents), self.style(time)))

    def style(self, time: Tensor) -> Tensor:
        """Embed the flow's time (B) for the transformer's layers: (B, S)."""
        half = self.settings.time_dim // 2
        angles = time[:, None] * torch.logspace(0.0, 2.3, half, device=time.device)  # (B, D/2), up to 200 radians
        return self.time_in(torch.cat((angles.sin(), angles.cos()), -1))

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames)."""
        s, batch = self.settings, latents.shape[0]
        feature_map = self.from_latents(latents.transpose(1, 2)).reshape(batch, s.deep_width, self.rows, -1)
        feature_map = self.decoder_deep(feature_map.contiguous(memory_format=torch.channels_last))
        feature_map = self.decoder_up(F.leaky_relu(feature_map, 0.2))  # (B, 2W, rows, L): two rows from each
        feature_map = feature_map.unflatten(1, (2, s.width)).permute(0, 2, 3, 1, 4).flatten(2, 3)  # (B, W, 2 rows, L)
        feature_map = self.decoder_fine(feature_map.contiguous(memory_format=torch.channels_last) + self.key_map)
        loudness, logits = self.pack_out(F.leaky_relu(feature_map, 0.2)).chunk(2, 1)
        loudness = unpack(loudness, self.shape.channels, s.patch_keys, s.patch_frames)
        logits = unpack(logits, self.shape.channels, s.patch_keys, s.patch_frames) + self.key_bias
        straight, straight_logits = planes_of(self.decoder_bypass(latents), self.shape.channels, self.token_frames)
        loudness, logits = loudness + straight, logits + straight_logits
        keys = slice(0, self.shape.keys)
        loudness, logits = loudness[:, :, keys, :frames], logits[:, :, keys, :frames]
        if self.gaussian is not None:
            loudness = self.gaussian(loudness)
        return Decoded(limit(loudness) * hard_gate(logits), logits)


class Generator(LatentFlow):
    """Generator of pieces of any length: its latents are a sequence in time."""

    @property
    def receptive_field(self) -> int:
        """Receptive field: latent steps on either side of a decoded step; windows that overlap by it join exactly."""
        s = self.settings
        return s.flow_steps * s.transformer_layers * self.transformer.reach + self.decoder_receptive_field

    def forward(self, noise: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Sample roll (B, C, K, frames) and its latents (B, L, Z) from white noise."""
        latents = self.sample_prior(noise)
        return self.decode(latents, frames).roll, latents

    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Sample the roll after `past` (1, C, K, P): (1, C, K, frames); `temperature` is the noise's deviation."""
        return inpainting.continue_past(self, past, frames, rng, temperature)


class SequenceTower(nn.Module):
    """Critic tower for a sequence, of latents or of pitch classes: (B, L, D) -> logit (B, 1), features."""

    def __init__(self, size: int, width: int, spectral: bool = True) -> None:
        super().__init__()
        self.in_proj = normed(nn.Conv1d(size, width, 3, padding=1), spectral)
        self.layers = nn.ModuleList(
            normed(nn.Conv1d(width, width, 5, padding=2, stride=stride), spectral) for stride in (1, 2, 1, 2, 1)
        )
        self.out_proj = normed(nn.Linear(2 * width + 1, 1), spectral)

    def forward(self, sequence: Tensor, per_sample: bool) -> tuple[Tensor, list[Tensor]]:
        """Judge sequence (B, L, D); `per_sample` leaves the other samples of the batch out (per sample)."""
        feature_map = F.leaky_relu(self.in_proj(sequence.transpose(1, 2)), 0.2)  # (B, W, L)
        features = []
        for layer in self.layers:
            inner = F.leaky_relu(layer(feature_map), 0.2)
            feature_map = inner if inner.shape != feature_map.shape else (inner + feature_map) * 0.7071
            features.append(feature_map)
        pooled = torch.cat((feature_map.mean(2), feature_map.amax(2)), 1)  # (B, 2W)
        return critic_logit(self.out_proj, pooled, per_sample), features


class RollTower(nn.Module):
    """Critic tower for a roll (B, C, K, T): logit (B, 1), features, head predictions. A learned map marks the keys."""

    def __init__(self, settings: MusiganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings = settings, settings
        rows = -(-shape.keys // s.patch_keys)
        self.padded_keys = rows * s.patch_keys
        self.key_map = nn.Parameter(0.1 * torch.randn(1, s.critic_width, rows, 1))
        # Loudness, and its change from frame to frame, so that the tower need not learn to detect onsets.
        patch = 2 * shape.channels * s.patch_keys * s.patch_frames
        self.in_proj = normed(nn.Conv2d(patch, s.critic_width, 1), s.spectral)
        widths = (s.critic_width, 3 * s.critic_width // 2, 2 * s.critic_width, 2 * s.critic_width)
        self.blocks = nn.ModuleList(DownBlock(a, b, s.spectral) for a, b in itertools.pairwise(widths))
        self.out_proj = normed(nn.Linear(2 * widths[-1] + 1, 1), s.spectral)
        self.heads = Heads(2 * widths[-1], HEAD_LOSSES) if s.critic_heads else None

    def plane(self, roll: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last feature map (B, W, K', T') of roll (B, C, K, T), and the features of every block."""
        s = self.settings
        onsets = F.pad(roll.diff(dim=3), (1, 0))
        frames = -(-roll.shape[-1] // s.patch_frames) * s.patch_frames
        views = pad_roll(torch.cat((roll, onsets), 1), self.padded_keys, frames)
        patches = pack(views, s.patch_keys, s.patch_frames).contiguous(memory_format=torch.channels_last)
        feature_map = self.in_proj(patches) + self.key_map
        features = []
        for block in self.blocks:
            feature_map = block(feature_map)
            features.append(feature_map)
        return F.leaky_relu(feature_map, 0.2), features

    def forward(self, roll: Tensor, per_sample: bool) -> tuple[Tensor, list[Tensor], dict[str, Tensor] | None]:
        """Judge roll (B, C, K, T)."""
        feature_map, features = self.plane(roll)
        pooled = pool(feature_map)
        predictions = None if self.heads is None else self.heads(pooled)
        return critic_logit(self.out_proj, pooled, per_sample), features, predictions


def pool(plane: Tensor) -> Tensor:
    """Pool means and maxima over a feature map: (B, W, K, T) -> (B, 2W)."""
    return torch.cat((plane.mean((2, 3)), plane.amax((2, 3))), 1)


def critic_logit(out_proj: nn.Module, pooled: Tensor, per_sample: bool) -> Tensor:
    """Return a logit (B, 1) from features (B, D) and, unless `per_sample`, their spread over the minibatch."""
    spread = pooled.new_zeros(len(pooled), 1) if per_sample else minibatch_deviation(pooled)
    return out_proj(torch.cat((pooled, spread), 1))


class Critic(nn.Module):
    """Critic of a roll, its pitch classes and its latents, with a tower for each."""

    def __init__(self, settings: MusiganSettings, shape: RollShape, seen: RollShape | None = None) -> None:
        super().__init__()
        self.roll = RollTower(settings, seen or shape)
        width = settings.latent_critic_width
        self.latent = SequenceTower(settings.latent_dim, width, settings.spectral) if width else None
        width, self.frames = settings.chroma_critic_width, settings.patch_frames
        self.pitched = shape.pitched
        size = PITCH_CLASSES * shape.pitched
        self.chroma = SequenceTower(size, width, settings.spectral) if width else None

    @property
    def views(self) -> Sequence[str]:
        """Views that this critic judges."""
        return ("roll", "latent") if self.latent is not None else ("roll",)

    def as_seen(self, roll: Tensor) -> Tensor:
        """Return a roll (B, C, K, T) as its tower sees it, of the shape `seen`."""
        return roll

    def forward(self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False) -> Judgement:
        """Judge roll (B, C, K, T) and latents (B, L, Z); a view that is None is not judged.

        `per_sample` judges each sample without the rest of the batch: for ranking, where neighbours must not matter.
        """
        logits, features, predictions = {}, {}, None
        if roll is not None:
            logits["roll"], features["roll"], predictions = self.roll(self.as_seen(roll), per_sample)
            if self.chroma is not None:
                classes = chroma(roll[:, : self.pitched], self.frames)
                logits["chroma"], features["chroma"] = self.chroma(classes, per_sample)
        if latents is not None and self.latent is not None:
            logits["latent"], features["latent"] = self.latent(latents, per_sample)
        return Judgement(logits, features, predictions)


def build(settings: MusiganSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    return channels_last(nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)}))


FAMILY = Family(
    name="musigan",
    stages=("variational", "prior", "critic", "adversarial"),
    summary="variational encoder, transformer and 2-D decoder against a residual critic: new music from noise",
    paper="Vlasenko, MusiGAN (github.com/Vlasenko2006/MusiGAN)",
    settings=MusiganSettings,
    build=build,
    extends=True,
    morphs=True,
    defaults={
        "epochs": 200,
        "batch_size": 8,
        "variational": {"learning_rate": 0.002},
        "network": {"chroma_critic_width": 64},
    },
)

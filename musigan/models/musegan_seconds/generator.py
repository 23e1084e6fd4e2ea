"""MuseGAN: several tracks by generators of their own and in common, bar by bar, conditioned on style and tempo.

After Dong et al., MuseGAN (arXiv 1709.06298), and for the binary neurons Dong and Yang (arXiv 1804.09399). A temporal
generator turns noise into vectors for every bar of every player, and bar generators decode them. Who the players are,
and which tracks read whose vectors, is the `structure`:

    jamming    every track has its own vectors and its own bar generator
    composer   one player for all, and one bar generator that writes all tracks
    hybrid     one player in common and one for every track, each track with its own bar generator

Our departures. Bars are stretches of `bar_frames`, and every player has a vector for each column of a bar, 0.4 s,
instead of one for all of it. The true beat and bar come as a clock (sine and cosine of their phase in each frame). It
is a condition of generator and critic alike, and so is the style, which the papers leave to the choice of data. The
last layers run over bar lines, so that notes are held across them. A cell is a loudness times a binary neuron. The
critic has no normalisation over the batch, sees all tracks and bars with their onsets and pitch classes in streams of
their own, and takes real music with another song's conditions as fake (the matching-aware critic of arXiv 1605.05396).
WGAN-GP from scratch takes too long on a CPU. So before the adversarial stage the bar generators are trained as the
decoder of a variational autoencoder (arXiv 1312.6114), whose encoder turns real bars into such vectors, and the
temporal generator learns the flow (arXiv 2210.02747) from noise to them.

Given tracks (`kept`, the paper's track-conditional generation) are encoded by bar and by cell, and are copied into
what is generated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.attention import TransformerLayer
from musigan.layers.convolution import ResidualBlock
from musigan.layers.gates import hard_gate, limit, stochastic_gate
from musigan.layers.packing import channels_last, pack, pad_roll, unpack
from musigan.models import Family
from musigan.models.musegan_seconds.critic import Critic
from musigan.models.musegan_seconds.layout import CLOCK, Grid, MuseganSettings, clamp_style, given_tracks, packed_clock
from musigan.models.protocol import Decoded, FlowGenerator, Posterior
from musigan.rolls.shape import RollShape


class TemporalGenerator(nn.Module):
    """Transformer that predicts the flow's velocity for the vectors of all bars: (B, L, Z) -> (B, L, Z).

    Its tokens are players by columns of all bars. A track's own vectors attend to the common ones and to each other,
    and the common ones to each other alone: no track's decisions reach another's.
    """

    seen: Tensor

    def __init__(self, settings: MuseganSettings, players: int, shared: int, bars: int, told: int) -> None:
        super().__init__()
        s, self.settings, self.bars, self.players = settings, settings, bars, players
        width = s.temporal_width
        self.columns = bars * s.bar_columns
        self.in_proj = nn.Linear(s.latent_dim, width)
        self.places = nn.Parameter(0.02 * torch.randn(players, bars, 1, width))
        self.places_in_bar = nn.Parameter(0.02 * torch.randn(1, 1, s.bar_columns, width))
        self.clock_in = nn.Linear(2 * CLOCK, width, bias=False)
        self.kept_in = nn.Linear(told, width, bias=False) if told else None
        self.style = nn.Embedding(s.most_styles + 1, s.time_dim)
        self.time_in = nn.Sequential(nn.Linear(s.time_dim, s.time_dim), nn.GELU())
        self.layers = nn.ModuleList(
            TransformerLayer(width, s.temporal_heads, s.time_dim) for _ in range(s.temporal_layers)
        )
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, s.latent_dim))
        nn.init.zeros_(self.out_proj[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.out_proj[1].bias)  # type: ignore[arg-type]
        player_index = torch.arange(players).repeat_interleave(self.columns)  # of each vector
        mask = (player_index[:, None] == player_index[None]) | (player_index[None] < shared)
        self.register_buffer("seen", mask, persistent=False)  # (L, L)

    def forward(
        self, latents: Tensor, time: Tensor, style: Tensor, tempo: Tensor | None, told: Tensor | None
    ) -> Tensor:
        """Return the velocity at latents (B, L, Z) and `time` (B).

        Conditions: style (B), clock `tempo` (B, 4, T), features `told` (B, bars, V) of given tracks.
        """
        half = self.settings.time_dim // 2
        angles = time[:, None] * torch.logspace(0.0, 2.3, half, device=time.device)  # (B, D/2), up to 200 radians
        condition = self.time_in(torch.cat((angles.sin(), angles.cos()), -1)) + self.style(style)
        tokens = self.in_proj(latents) + (self.places + self.places_in_bar).flatten(0, 2)
        if tempo is not None:
            step = self.settings.bar_frames // self.settings.bar_columns
            # The change of a beat's phase over an eighth of a bar gives the tempo.
            later_clock = tempo[..., self.settings.bar_frames // 8 :: step]
            clock_pairs = torch.cat([_padded(part, self.columns) for part in (tempo[..., ::step], later_clock)], 1)
            tokens = tokens + self.clock_in(clock_pairs.transpose(1, 2)).repeat(1, self.players, 1)
        if told is not None and self.kept_in is not None:
            by_column = self.kept_in(told).repeat_interleave(self.settings.bar_columns, 1)
            tokens = tokens + by_column.repeat(1, self.players, 1)
        for layer in self.layers:
            tokens = layer(tokens, condition, self.seen)
        velocity: Tensor = self.out_proj(tokens)
        return velocity


def _padded(row: Tensor, length: int) -> Tensor:
    """Pad (B, D, N) with zeros at its end, to (B, D, length)."""
    return F.pad(row, (0, length - row.shape[-1]))


class BarGenerator(nn.Module):
    """Decoder of vectors to loudness and logits of some tracks, (B, tracks, K, T) each, with their padding."""

    def __init__(self, settings: MuseganSettings, plane: Grid, told: int, tracks: int) -> None:
        super().__init__()
        s, self.settings, self.plane, self.tracks = settings, settings, plane, tracks
        self.in_proj = nn.Conv1d(told, s.deep_width * plane.rows, 3, padding=1)
        self.deep = ResidualBlock(s.deep_width)
        self.up = nn.Conv2d(s.deep_width, 4 * s.width, 1)
        self.key_map = nn.Parameter(0.1 * torch.randn(1, s.width, 2 * plane.rows, 1))  # which keys these are
        self.clock_in = nn.Conv2d(CLOCK * s.patch_frames, s.width, 1, bias=False)
        self.fine = ResidualBlock(s.width)
        self.out_proj = nn.Conv2d(s.width, 2 * tracks * s.patch_keys * s.patch_frames, 1)
        self.key_bias = nn.Parameter(torch.zeros(1, tracks, plane.padded_keys, 1))  # how often a key sounds

    def forward(self, columns: Tensor, clock: Tensor | None, conditions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decode `columns` (B, bars * columns, V), one vector for each column of the coarse grid.

        On the fine grid, `clock` is packed (B, CLOCK * pt, 1, T / pt) and `conditions` is (B, W, K / pk, T / pt).
        """
        s, p = self.settings, self.plane
        grid = self.in_proj(columns.transpose(1, 2)).unflatten(
            1, (s.deep_width, p.rows)
        )  # (B, D, rows, bars * columns)
        grid = self.deep(grid.contiguous(memory_format=torch.channels_last))
        grid = F.pixel_shuffle(self.up(F.leaky_relu(grid, 0.2)), 2) + self.key_map  # (B, W, 2 rows, 2 columns)
        if clock is not None:
            grid = grid + self.clock_in(clock)
        if conditions is not None:
            grid = grid + conditions
        grid = self.fine(grid.contiguous(memory_format=torch.channels_last))
        loudness, logits = self.out_proj(F.leaky_relu(grid, 0.2)).chunk(2, 1)
        loudness = unpack(loudness, self.tracks, s.patch_keys, s.patch_frames)
        return loudness, unpack(logits, self.tracks, s.patch_keys, s.patch_frames) + self.key_bias


class KeptEncoder(nn.Module):
    """Encoder of given tracks: features of each bar (B, bars, D) and of each fine cell (B, W, K/pk, T/pt)."""

    def __init__(self, settings: MuseganSettings, shape: RollShape, plane: Grid) -> None:
        super().__init__()
        s, self.settings, self.plane = settings, settings, plane
        patch = shape.channels * s.patch_keys * s.patch_frames
        self.in_proj = nn.Conv2d(patch + shape.channels, s.width, 1)  # the roll, and which tracks are given
        self.along = nn.Conv2d(s.width, s.width, 3, padding=1)
        self.bar = nn.Linear(s.width * 2 * plane.rows, s.kept_dim)

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Encode kept (B, C, K, T), below 0 in tracks that are not given; features are 0 where none is given."""
        s, p = self.settings, self.plane
        is_given = given_tracks(kept)  # (B, C, 1, 1)
        packed = pack(pad_roll(kept.clamp(min=0), p.padded_keys, p.padded_frames), s.patch_keys, s.patch_frames)
        packed = torch.cat((packed, is_given.expand(-1, -1, *packed.shape[2:])), 1)
        grid = self.along(F.leaky_relu(self.in_proj(packed), 0.2)) * is_given.amax(1, keepdim=True)
        by_bar = F.leaky_relu(grid, 0.2).unflatten(3, (p.bars, -1)).mean(4)  # (B, W, 2 rows, bars)
        bar_features = self.bar(by_bar.flatten(1, 2).transpose(1, 2))  # (B, bars, D)
        return bar_features * is_given.amax(1), grid


class Generator(FlowGenerator):
    """Flow from noise to vectors (B, L, Z), player after player over all columns; encoder and decoder of rolls."""

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.flow_steps = s.flow_steps
        self.plane = p = Grid.of(settings, shape)
        own_players = 0 if s.structure == "composer" else shape.channels
        self.shared = 0 if s.structure == "jamming" else 1
        self.players = self.shared + own_players
        self.kept = KeptEncoder(s, shape, p) if shape.channels > 1 else None
        kept_dim = s.kept_dim if self.kept is not None else 0
        self.temporal = TemporalGenerator(s, self.players, self.shared, p.bars, kept_dim)
        self.style = nn.Embedding(s.most_styles + 1, s.style_dim)
        vector_dim = (self.shared + (1 if own_players else 0)) * s.latent_dim + s.style_dim + kept_dim
        writers = [1] * own_players or [shape.channels]
        self.writers = nn.ModuleList(BarGenerator(s, p, vector_dim, tracks) for tracks in writers)
        self.encoder = Encoder(s, shape, p, self.players)
        # Matches mean and deviation of sampled vectors to real ones, after the flow (training/calibration.py).
        self.register_calibration(s.latent_dim)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        named: dict[str, list[nn.Parameter]] = {"encoder": [], "prior": [], "decoder": []}
        for name, parameter in self.named_parameters():
            part = {"encoder": "encoder", "temporal": "prior"}.get(name.partition(".")[0], "decoder")
            named[part].append(parameter)
        return named

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw white noise (B, L, Z) for rolls of the length that the networks were built for."""
        noise = torch.randn(batch, self.players * self.temporal.columns, self.settings.latent_dim, generator=rng)
        return noise.to(self.style.weight.device)

    def encode(self, roll: Tensor, **conditions: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its vectors, (B, L, Z) each; conditions are not used."""
        posterior: Posterior = self.encoder(roll)
        return posterior

    def velocity(self, latents: Tensor, time: Tensor, **conditions: Tensor) -> Tensor:
        """Return the flow's velocity (B, L, Z) at vectors (B, L, Z) and `time` (B), under the conditions.

        Conditions are (B / n, ...): vectors i, i + B / n, ... have condition i.
        """
        kept = conditions.get("kept")
        bar_features = None if kept is None or self.kept is None else self.kept(kept)[0]
        style, tempo, bar_features = (
            None if tensor is None else tensor.repeat(len(latents) // len(tensor), *[1] * (tensor.dim() - 1))
            for tensor in (conditions.get("style"), conditions.get("tempo"), bar_features)
        )
        velocity: Tensor = self.temporal(latents, time, self._style(latents, style), tempo, bar_features)
        return velocity

    def _style(self, like: Tensor, style: Tensor | None) -> Tensor:
        """Return style numbers (B): 0 for none and for numbers beyond `most_styles`."""
        return (
            like.new_zeros(len(like), dtype=torch.long)
            if style is None
            else clamp_style(style, self.settings.most_styles)
        )

    def decode(
        self,
        latents: Tensor,
        frames: int,
        style: Tensor | None = None,
        tempo: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, T).

        Conditions: style (B), clock `tempo` (B, 4, T), given tracks `kept` (B, C, K, T).
        """
        s, bars = self.settings, self.plane.bars
        columns = self.temporal.columns
        by_player = list(latents.unflatten(1, (self.players, columns)).unbind(1))  # (B, columns, Z) each
        shared_inputs = [
            self.style(self._style(latents, style))[:, None].expand(-1, columns, -1),
            *by_player[: self.shared],
        ]
        cell_features = None
        if self.kept is not None:
            bar_features = latents.new_zeros(len(latents), bars, s.kept_dim)
            if kept is not None:
                bar_features, cell_features = self.kept(kept)
            shared_inputs.append(bar_features.repeat_interleave(s.bar_columns, 1))
        clock = None if tempo is None else packed_clock(tempo, self.plane.padded_frames, s.patch_frames)
        own_vectors = by_player[self.shared :] or [None]
        outputs = [
            writer(torch.cat(shared_inputs if vectors is None else [*shared_inputs, vectors], 2), clock, cell_features)
            for writer, vectors in zip(self.writers, own_vectors, strict=True)
        ]
        loudness, logits = (
            torch.cat(parts, 1)[:, :, : self.shape.keys, :frames] for parts in zip(*outputs, strict=True)
        )
        gate = stochastic_gate if self.training and s.binary == "stochastic" else hard_gate
        roll = limit(loudness) * gate(logits)
        if kept is not None:
            roll = torch.where(given_tracks(kept) > 0, kept, roll)
        return Decoded(roll, logits)


class Encoder(nn.Module):
    """Encoder of real rolls to the vectors that the generator decodes: (B, C, K, T) -> (B, L, Z)."""

    def __init__(self, settings: MuseganSettings, shape: RollShape, plane: Grid, players: int) -> None:
        super().__init__()
        s, self.settings, self.plane, self.players = settings, settings, plane, players
        self.in_proj = nn.Conv2d(shape.channels * s.patch_keys * s.patch_frames, s.width, 1)
        self.key_map = nn.Parameter(0.1 * torch.randn(1, s.width, 2 * plane.rows, 1))
        self.fine = ResidualBlock(s.width)
        self.down = nn.Conv2d(s.width, s.deep_width, 4, stride=2, padding=1)
        self.columns = nn.Conv1d(s.deep_width * plane.rows, s.temporal_width, 3, padding=1)
        self.out_proj = nn.Conv1d(s.temporal_width, 2 * players * s.latent_dim, 1)

    def forward(self, roll: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its vectors, (B, L, Z) each."""
        s, p = self.settings, self.plane
        packed = pack(pad_roll(roll, p.padded_keys, p.padded_frames), s.patch_keys, s.patch_frames)
        grid = self.fine(self.in_proj(packed.contiguous(memory_format=torch.channels_last)) + self.key_map)
        grid = F.leaky_relu(self.down(F.leaky_relu(grid, 0.2)), 0.2)  # (B, D, rows, bars * columns)
        outputs = self.out_proj(F.leaky_relu(self.columns(grid.flatten(1, 2)), 0.2))
        outputs = outputs.unflatten(1, (2, self.players, -1)).transpose(3, 4)  # (B, 2, players, bars * columns, Z)
        mean, log_variance = outputs.flatten(2, 3).unbind(1)  # (B, L, Z) each
        return Posterior(mean, log_variance.clamp(-10.0, 4.0))


def build(settings: MuseganSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    return channels_last(nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)}))


FAMILY = Family(
    name="musegan-seconds",
    stages=("variational", "prior", "critic", "adversarial"),
    pretrain_share=0.98,
    parts={"variational": 1, "prior": 2},
    summary="MuseGAN in seconds, as it was before it had the grid of beats: for checkpoints of that time",
    paper="Dong et al., MuseGAN (arXiv 1709.06298); Dong and Yang, binary neurons (arXiv 1804.09399)",
    settings=MuseganSettings,
    build=build,
    conditions=("style", "tempo", "kept"),
    defaults={
        "epochs": 150,
        "batch_size": 8,
        "variational": {"learning_rate": 2e-3},
        "adversarial": {
            "objective": "wgan",
            "critic_steps": 5,
            "learning_rate": 3e-5,
            "decoder_learning_rate": 1e-5,
            "critic_learning_rate": 5e-4,
            "betas": [0.5, 0.9],
            "roll_every": 1,
            "instance_noise": 0.0,
        },
    },
    losses={
        "adversarial_roll": 0.1,
        "critic_mismatch": 1.0,
        "penalty_roll": 10.0,
    },
)

"""Codec of rolls on the grid: a map of latents, a few for each octave-third of keys and each quarter of a beat.

The latents stay where their notes are, by key and by time, and all weights are shared over both: that is why onsets
come back where they were after minutes of training. On held-out songs 86 % of onsets (F1, within a frame) after four
CPU minutes; a single code of 64 numbers for all keys, with as many parameters, 45 %. Encoder and decoder each have a
linear bypass that begins as the principal components of patches, so that the first step already carries most of the
music.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.gates import hard_gate, limit
from musigan.layers.packing import pack, pad_roll, unpack
from musigan.models.bars.settings import BarSettings
from musigan.models.protocol import Decoded, Posterior
from musigan.rolls import timing
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import Fullness
from musigan.rolls.shape import RollShape
from musigan.rolls.timing import RISE

TOKEN_FRAMES = GRID_FRAMES // 4  # a latent step is a 16th
START_LOG_VARIANCE = -4.0  # of the posterior: noise that hides the music from the start teaches nothing
START_SLOPE = 12.0  # logits over loudness, from the principal components
START_LOUDNESS = 0.15  # model space, at which such a logit is 0
START_ONSET = -5.0  # logit
PLANES = 3  # loudness, sounding, onset


class ChannelNorm(nn.Module):
    """Root mean square norm of each cell of a feature map (B, D, K, T) over its channels: nothing leaks in time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, grid: Tensor) -> Tensor:
        """Normalise (B, D, K, T)."""
        return F.rms_norm(grid.permute(0, 2, 3, 1), (grid.shape[1],), self.gain, 1e-5).permute(0, 3, 1, 2)


class NormedBlock(nn.Module):
    """Residual block of two 3 x 3 convolutions, normalised, that begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, grid: Tensor) -> Tensor:
        """Transform (B, D, K, T)."""
        return grid + self.last(F.silu(self.first(self.norm(grid))))


class Codec(nn.Module):
    """Encoder and decoder: roll (B, C, K, T) on the grid <-> latents (B, L, Z), Z = rows * row_latents.

    With several `voices` the samples of a batch are those of one instrument after another, which differ in their maps
    of keys and share all else.
    """

    def __init__(self, settings: BarSettings, shape: RollShape, voices: int = 1) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.rows = -(-shape.keys // (2 * s.patch_keys))
        self.padded_keys = self.rows * 2 * s.patch_keys
        self.latent_dim = self.rows * s.row_latents
        cells = shape.channels * s.patch_keys * TOKEN_FRAMES  # of a fine patch; a row has twice as many

        self.key_map = nn.Parameter(torch.zeros(voices, s.width, 2 * self.rows, 1))  # which keys these are
        self.row_map = nn.Parameter(torch.zeros(voices, s.deep_width, self.rows, 1))
        self.pack_in = nn.Conv2d(2 * cells, s.width, 1)
        self.encoder_fine = nn.Sequential(*(NormedBlock(s.width) for _ in range(s.fine_blocks)))
        self.encoder_down = nn.Conv2d(s.width, s.deep_width, (4, 3), stride=(2, 1), padding=1)
        self.encoder_deep = nn.Sequential(*(NormedBlock(s.deep_width) for _ in range(s.deep_blocks)))
        self.encoder_norms = nn.ModuleList((ChannelNorm(s.width), ChannelNorm(s.deep_width)))
        self.to_posterior = nn.Conv2d(s.deep_width, 2 * s.row_latents, 1)
        self.encoder_bypass = nn.Conv2d(2 * cells, s.row_latents, 1)

        self.from_latents = nn.Conv2d(s.row_latents, s.deep_width, 3, padding=1)
        self.decoder_rows = nn.Parameter(torch.zeros(voices, s.deep_width, self.rows, 1))
        self.decoder_keys = nn.Parameter(torch.zeros(voices, s.width, 2 * self.rows, 1))
        self.decoder_deep = nn.Sequential(*(NormedBlock(s.deep_width) for _ in range(s.deep_blocks)))
        self.decoder_up = nn.Conv2d(s.deep_width, 2 * s.width, 3, padding=1)
        self.decoder_fine = nn.Sequential(*(NormedBlock(s.width) for _ in range(s.fine_blocks)))
        self.decoder_norms = nn.ModuleList((ChannelNorm(s.deep_width), ChannelNorm(s.width)))
        self.pack_out = nn.Conv2d(s.width, PLANES * cells, 1)
        self.decoder_bypass = nn.Conv2d(s.row_latents, 2 * PLANES * cells, 1)

        with torch.no_grad():
            self.to_posterior.weight.mul_(0.1)
            self.to_posterior.bias[s.row_latents :] = START_LOG_VARIANCE  # type: ignore[index]
            self.pack_out.weight.mul_(0.3)

    @property
    def receptive_field(self) -> int:
        """Latent steps on either side on which a decoded step depends; at least the encoder's."""
        s = self.settings
        return 2 * (s.deep_blocks + s.fine_blocks) + 3  # the last: an attack makes way in the frame before it

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the encoder."""
        own = ("pack_in", "encoder", "to_posterior", "key_map", "row_map")
        return [parameter for name, parameter in self.named_parameters() if name.startswith(own)]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the decoder."""
        encoder = set(map(id, self.encoder_parameters()))
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]

    def _padded(self, roll: Tensor) -> Tensor:
        frames = -(-roll.shape[-1] // TOKEN_FRAMES) * TOKEN_FRAMES
        return pad_roll(roll, self.padded_keys, frames)

    @torch.no_grad()
    def begin_with(self, rolls: Tensor) -> None:
        """Set the bypasses to the principal components of the sounding patches of rolls (B, C, K, T)."""
        s = self.settings
        patches = pack(self._padded(rolls), 2 * s.patch_keys, TOKEN_FRAMES)
        cells = patches.permute(0, 2, 3, 1).flatten(0, 2)  # (N, cells of a row)
        cells = cells[cells.sum(1) > 0].double()
        if len(cells) <= s.row_latents:  # hardly any music: it begins at random
            return
        mean = cells.mean(0)
        values, vectors = torch.linalg.eigh((cells - mean).T @ (cells - mean) / len(cells))
        values, vectors = values[-s.row_latents :].clamp(min=1e-6), vectors[:, -s.row_latents :]
        deviations = values.sqrt()
        into, out = (vectors / deviations).T.float(), (vectors * deviations).float()
        offset, size = mean.float(), len(mean)
        self.encoder_bypass.weight.copy_(into[..., None, None])
        self.encoder_bypass.bias.copy_(-into @ offset)  # type: ignore[union-attr]
        weight, bias = torch.zeros(PLANES * size, s.row_latents), torch.full((PLANES * size,), START_ONSET)
        weight[:size], bias[:size] = out, offset
        weight[size : 2 * size], bias[size : 2 * size] = START_SLOPE * out, START_SLOPE * (offset - START_LOUDNESS)
        self.decoder_bypass.weight.copy_(weight[..., None, None])
        self.decoder_bypass.bias.copy_(bias)  # type: ignore[union-attr]

    def encode(self, roll: Tensor) -> Posterior:
        """Encode a roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""
        s, padded = self.settings, self._padded(roll)
        views = torch.cat((padded, F.pad(padded.diff(dim=3), (1, 0))), 1)  # loudness, and its change
        patches = pack(views, s.patch_keys, TOKEN_FRAMES).contiguous(memory_format=torch.channels_last)
        fine = self.encoder_fine(self.pack_in(patches) + _for_each(self.key_map, roll))
        deep = self.encoder_deep(self.encoder_down(self.encoder_norms[0](fine)) + _for_each(self.row_map, roll))
        mean, log_variance = self.to_posterior(F.silu(self.encoder_norms[1](deep))).chunk(
            2, 1
        )  # (B, Z / rows, rows, L)
        mean = mean + self.encoder_bypass(pack(padded, 2 * s.patch_keys, TOKEN_FRAMES))
        return Posterior(self._as_sequence(mean), self._as_sequence(log_variance).clamp(-10.0, 4.0))

    @staticmethod
    def _as_sequence(grid: Tensor) -> Tensor:
        """Reshape a map of latents (B, Z / rows, rows, L) to (B, L, Z)."""
        return grid.permute(0, 3, 2, 1).flatten(2)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames), with its planes."""
        s, channels = self.settings, self.shape.channels
        grid = latents.unflatten(2, (self.rows, s.row_latents)).permute(0, 3, 2, 1)
        grid = grid.contiguous(memory_format=torch.channels_last)
        deep = self.decoder_deep(self.from_latents(grid) + _for_each(self.decoder_rows, latents))
        up = self.decoder_up(self.decoder_norms[0](deep))  # (B, 2W, rows, L): two rows from each
        up = up.unflatten(1, (2, s.width)).permute(0, 2, 3, 1, 4).flatten(2, 3)  # (B, W, 2 rows, L)
        fine = self.decoder_fine(
            up.contiguous(memory_format=torch.channels_last) + _for_each(self.decoder_keys, latents)
        )
        planes = unpack(
            self.pack_out(F.silu(self.decoder_norms[1](fine))), PLANES * channels, s.patch_keys, TOKEN_FRAMES
        ) + unpack(self.decoder_bypass(grid), PLANES * channels, 2 * s.patch_keys, TOKEN_FRAMES)
        loudness, logits, onsets = planes[:, :, : self.shape.keys, :frames].chunk(PLANES, 1)
        return Decoded(steepened(limit(loudness) * hard_gate(logits), onsets), logits, loudness, onsets)


def _for_each(voices: Tensor, batch: Tensor) -> Tensor:
    """Repeat maps (V, ...) for a batch (B, ...) of one voice after another, (B, ...); one map is that of all."""
    return voices if len(voices) == 1 else voices.repeat(len(batch) // len(voices), *[1] * (voices.dim() - 1))


def onsets_of(roll: Tensor) -> Tensor:
    """Return 1 where a key is struck in a roll (B, C, K, T) in model space, else 0, of the same shape."""
    before = F.pad(roll, (1, 0))[..., :-1]
    onsets: Tensor = timing.struck(roll, before).to(roll.dtype)
    return onsets


def fullness(roll: Tensor, beats: int) -> Fullness:
    """Measure how full the last `beats` beats of a roll (B, C, K, T) on the grid are, (B) each.

    The beat before belongs to the roll where there is one: what sounds on from it is not struck.
    """
    frames, loudest = beats * GRID_FRAMES, roll.amax(1)
    attacks = onsets_of(loudest)[..., -frames:].sum((1, 2)) / beats
    return Fullness(attacks, (loudest[..., -frames:] > 0).to(roll.dtype).mean((1, 2)))


def steepened(roll: Tensor, onsets: Tensor) -> Tensor:
    """Limit what sounds before an onset (logits above 0) so that attacks are as steep as modelled; all (B, C, K, T)."""
    struck = (onsets > 0) & (roll > 0)
    ceiling = torch.where(struck, roll / RISE, torch.ones_like(roll))
    return torch.minimum(roll, F.pad(ceiling, (0, 1), value=1.0)[..., 1:])

"""Codec of instruments: each is written and read by itself, so that one can be given and the others composed to it.

B batch, C instruments, K keys, T frames, L latent steps, Z latents.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from musigan.models.bars.codec import Codec
from musigan.models.musegan.settings import MuseganSettings
from musigan.models.protocol import Decoded, Posterior
from musigan.rolls.shape import RollShape


class InstrumentCodec(nn.Module):
    """Codecs of all instruments: roll (B, C, K, T) <-> latents (B, L, Z), one instrument's after another's.

    `shared` is one codec, of which each instrument has its own maps of keys; else each has a codec of its own.
    """

    def __init__(self, settings: MuseganSettings, shape: RollShape, shared: bool) -> None:
        super().__init__()
        self.count = shape.channels
        one = replace(shape, channels=1, has_drums=False, kit=())
        voices = [shape.channels] if shared else [1] * shape.channels
        self.codecs = nn.ModuleList(Codec(settings, one, each) for each in voices)
        self.rows = sum(self._each("rows"))
        self.latent_dim = sum(self._each("latent_dim"))

    def _each(self, name: str) -> list[int]:
        """Return a codec's number `name` for each instrument."""
        values = [getattr(codec, name) for codec in self.codecs]
        return values if len(values) == self.count else values * self.count

    @property
    def receptive_field(self) -> int:
        """Latent steps on either side on which a decoded step depends; at least the encoder's."""
        return max(self._each("receptive_field"))

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the encoders."""
        return [parameter for codec in self._codecs for parameter in codec.encoder_parameters()]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the decoders."""
        return [parameter for codec in self._codecs for parameter in codec.decoder_parameters()]

    @property
    def _codecs(self) -> list[Codec]:
        return [codec for codec in self.codecs if isinstance(codec, Codec)]

    def _dealt(self, rolls: Tensor) -> list[Tensor]:
        """Deal (B, C, ...) to the codecs: (B, 1, ...) each, or all to one, (B * C, 1, ...)."""
        return [rolls.flatten(0, 1)[:, None]] if len(self.codecs) == 1 else list(rolls[:, :, None].unbind(1))

    def _gathered(self, parts: list[Tensor]) -> Tensor:
        """Undo `_dealt`."""
        if len(self.codecs) == 1:
            return parts[0].squeeze(1).unflatten(0, (-1, self.count))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def begin_with(self, rolls: Tensor) -> None:
        """Set the first weights from rolls (B, C, K, T)."""
        for codec, part in zip(self._codecs, self._dealt(rolls), strict=True):
            codec.begin_with(part)

    def encode(self, roll: Tensor) -> Posterior:
        """Encode a roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""
        posteriors = [codec.encode(part) for codec, part in zip(self._codecs, self._dealt(roll), strict=True)]
        mean, log_variance = (
            self._gathered([each[:, None] for each in values]).transpose(1, 2).flatten(2)
            for values in zip(*posteriors, strict=True)
        )
        return Posterior(mean, log_variance)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames), with its planes."""
        by_instrument = latents.unflatten(2, (self.count, -1)).transpose(1, 2)  # (B, C, L, Z / C)
        parts = [
            codec.decode(part.squeeze(1), frames)
            for codec, part in zip(self._codecs, self._dealt(by_instrument), strict=True)
        ]
        return Decoded(*(self._gathered(list(planes)) for planes in zip(*parts, strict=True)))

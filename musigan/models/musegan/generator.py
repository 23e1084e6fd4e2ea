"""MuseGAN: instruments, bar after bar, each by a generator of its own or all by one; in a style, or to what is given.

After Dong et al., MuseGAN (arXiv 1709.06298). Who writes what is the `structure`:

    jamming    every instrument has its own generator, and hears its own past alone
    composer   one generator writes all instruments, from the past of all
    hybrid     every instrument has its own generator, and hears its own past and that of all

Our departures. Music is on the grid of its own beats, of any length and any meter, and what draws a bar is the composer
of `bars` (musigan/models/bars): beat after beat, each by a short flow from noise, after all before it, told of the
plan, scenes, and when which instrument plays how much (musigan/rolls/parts.py). That and the style are taken from the
songs that were learned from. WGAN-GP from nothing takes too long on a CPU: the generators learn by flow matching,
and the game, with critics of all instruments together, comes last. Instruments that are given (the paper's
track-conditional generation) are what the others hear in the same beat.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from musigan.layers.packing import channels_last
from musigan.models import Family, musigan
from musigan.models.bars import generator as bars
from musigan.models.bars.codec import TOKEN_FRAMES
from musigan.models.bars.composer import Context
from musigan.models.musegan.codec import InstrumentCodec
from musigan.models.musegan.composer import InstrumentComposer
from musigan.models.musegan.settings import MuseganSettings
from musigan.rolls.shape import RollShape


class Generator(bars.Generator):
    """Codecs and composer of instruments; latents (B, L, Z) are those of 16ths, one instrument's after another's."""

    settings: MuseganSettings
    codec: InstrumentCodec  # type: ignore[assignment]
    composer: InstrumentComposer

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__(settings, replace(shape, kit=()))  # a recording's drums are an instrument like the others

    def _networks(self) -> tuple[InstrumentCodec, InstrumentComposer]:  # type: ignore[override]
        """Return the networks."""
        codec = InstrumentCodec(self.settings, self.shape, self.settings.structure == "composer")
        return codec, InstrumentComposer(self.settings, codec.rows, self.shape.channels)

    def asked(self, beats: Tensor, context: Context, rng: torch.Generator) -> tuple[Context, Tensor | None]:
        """Give some of the instruments of some pieces, at random: (context, 1 where the answer counts, (B, 1, D))."""
        count = self.shape.channels
        shares = torch.rand(len(beats), 1, generator=rng)
        is_given = (torch.rand(len(beats), count, generator=rng) < shares).to(beats)
        is_given = is_given * (torch.rand(len(beats), 1, generator=rng) < self.settings.given_share).to(beats)
        is_given = is_given * (is_given.sum(1, keepdim=True) < count)
        return context._replace(given=beats, is_given=is_given), 1 - self._of_beats(is_given)

    def _of_beats(self, is_given: Tensor) -> Tensor:
        """Return 1 for the numbers of a beat that are given instruments', (B, 1, D), else 0; of flags (B, C)."""
        rows = is_given.repeat_interleave(self.codec.rows // self.shape.channels, 1)
        head = self.composer.head
        return head.as_beats(rows[:, None, :, None].expand(-1, 1, -1, head.row_dim))

    def with_given(self, drawn: Tensor, here: Context) -> Tensor:
        """Return drawn beats (B, N, D) with those of the given instruments."""
        if here.given is None or here.is_given is None:
            return drawn
        return torch.lerp(drawn, here.given, self._of_beats(here.is_given))


def build(settings: MuseganSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape` on the grid."""
    generator = Generator(settings, shape)
    judged = musigan.MusiganSettings(
        patch_keys=settings.patch_keys, patch_frames=TOKEN_FRAMES, latent_dim=generator.codec.latent_dim,
        critic_width=settings.critic_width, latent_critic_width=settings.latent_critic_width,
        chroma_critic_width=settings.chroma_critic_width, spectral=settings.spectral,
    )  # fmt: skip
    critic = bars.Critic(judged, shape, generator.kit_row)
    return channels_last(nn.ModuleDict({"generator": generator, "critic": critic}))


FAMILY = Family(
    name="musegan",
    stages=("codec", "composer", "critic", "adversarial"),
    summary="instruments, each with a part of its own, in a style, at a tempo, or to an instrument that is given",
    paper="Dong et al., MuseGAN (arXiv 1709.06298), on the music's own clock",
    settings=MuseganSettings,
    build=build,
    on_beats=True,
    extends=True,
    morphs=True,
    takes_temperature=True,
    conditions=("style", "tempo", "kept"),
    parts={"codec": 1, "composer": 6},
    pretrain_share=0.99,
    critic_share=0.005,
    losses={"loudness": 1.0, "sounding": 20.0, "onsets": 20.0, "kl": 0.1},
    defaults={
        "epochs": 60,
        "batch_size": 2,
        "sample_every": 20,
        "evaluate_every": 0,
        "augment": {"transpose_keys": 2},
        "variational": {"learning_rate": 0.002},
        "prior": {"learning_rate": 0.002, "draws": 1},
    },
)

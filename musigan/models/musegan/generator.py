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
from musigan.models.bars.composer import BEAT_STEPS, Context, Heard
from musigan.models.bars.generator import Draw
from musigan.models.musegan.codec import InstrumentCodec
from musigan.models.musegan.composer import InstrumentComposer
from musigan.models.musegan.settings import MuseganSettings
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.parts import FIGURES, attacks_of, sounding_of
from musigan.rolls.scenes import CLASSES, Fullness
from musigan.rolls.shape import RollShape

# Of instruments that sleep on: silent for two beats, though told to strike, or to sound, about so often.
LIVELY = 0.5  # attacks a beat, or keys that sound
MOST_ASTRAY = 0.1  # share of what an instrument plays in a beat that is not of the harmony
ATTEMPTS, LOUDER = 3, 1.1  # draws of a beat at most besides the first; who sleeps, from so much more noise each time


class Generator(bars.Generator):
    """Codecs and composer of instruments; latents (B, L, Z) are those of 16ths, one instrument's after another's."""

    settings: MuseganSettings
    codec: InstrumentCodec  # type: ignore[assignment]
    composer: InstrumentComposer

    hardly_anything = Fullness(attacks=0.7, sounding=0.003)
    writes_tightly = True

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__(settings, replace(shape, kit=()))  # a recording's drums are an instrument like the others
        self.players, self.unpitched = shape.channels, list(shape.unpitched)
        self.register_buffer("noise_deviation", torch.ones(shape.channels))

    def _networks(self) -> tuple[InstrumentCodec, InstrumentComposer]:  # type: ignore[override]
        """Return the networks."""
        codec = InstrumentCodec(self.settings, self.shape, self.settings.structure == "composer")
        return codec, InstrumentComposer(self.settings, codec.rows, self.shape.channels)

    def asked(self, beats: Tensor, context: Context, rng: torch.Generator) -> tuple[Context, Tensor | None]:
        """Give some of the instruments of some pieces, at random: (context, how much the answer counts, (B, N, D))."""
        count = self.players
        shares = torch.rand(len(beats), 1, generator=rng)
        is_given = (torch.rand(len(beats), count, generator=rng) < shares).to(beats)
        is_given = is_given * (torch.rand(len(beats), 1, generator=rng) < self.settings.given_share).to(beats)
        is_given = is_given * (is_given.sum(1, keepdim=True) < count)
        context = self.with_rests(
            context._replace(given=beats, is_given=is_given[:, None].expand(-1, beats.shape[1], -1))
        )
        assert context.is_given is not None
        return context, (1 - self.composer.head.of_beat(context.is_given)) * self.composer.weights()

    def with_rests(self, context: Context) -> Context:
        """Return the context in which an instrument that does not play in a bar is given there, as silence."""
        rests = (context.parts[..., ::FIGURES] <= 0).to(context.parts)  # (B, N, C)
        is_given = torch.zeros_like(rests) if context.is_given is None else context.is_given
        silence = self._silence().expand(*rests.shape[:2], -1)
        given = silence
        if context.given is not None:
            given = torch.lerp(silence, context.given, self.composer.head.of_beat(1 - rests))
        return context._replace(given=given, is_given=torch.maximum(rests, is_given))

    @torch.no_grad()
    def _silence(self) -> Tensor:
        """Return a silent beat, (1, 1, D)."""
        beats = 1 + 2 * -(-self.decoder_receptive_field // BEAT_STEPS)  # more than what the middle one depends on
        silent = self.latent_mean.new_zeros(1, self.shape.channels, self.shape.keys, beats * GRID_FRAMES)
        return self.as_beats(self.encode(silent).mean)[:, beats // 2, None]

    def with_given(self, drawn: Tensor, here: Context) -> Tensor:
        """Return drawn beats (B, N, D) with those of the given instruments."""
        if here.given is None or here.is_given is None:
            return drawn
        return torch.lerp(drawn, here.given, self.composer.head.of_beat(here.is_given))

    def redrawn(
        self, before: Tensor, drawn: Tensor, here: Context, heard: Heard, blind: Heard | None, draw: Draw
    ) -> Tensor:
        """Return a drawn beat (B, 1, D) in which instruments asleep or astray were drawn again, hearing the others.

        Silence follows silence: who missed an entry would rest for bars. Of those astray, the draw that is the least is
        taken.
        """
        asleep, astray = self._faults(torch.cat((before, drawn), 1), here)
        for attempt in range(1, ATTEMPTS + 1):
            again = ((asleep > 0) | (astray > MOST_ASTRAY)).to(drawn)
            if not again.any():
                break
            others = here._replace(given=drawn, is_given=1 - again[:, None])
            louder = self.for_players(LOUDER ** (attempt * asleep))
            new = draw(others, *self.composer.hearing_given(heard, blind, others), louder=louder)
            asleep_now, astray_now = self._faults(torch.cat((before, new), 1), here)
            is_better = (again > 0) & ((asleep > 0) | ((asleep_now <= 0) & (astray_now < astray)))
            drawn = torch.lerp(drawn, new, self.for_players(is_better.to(drawn)))
            asleep, astray = (
                torch.where(is_better, now, former) for now, former in ((asleep_now, asleep), (astray_now, astray))
            )
        return drawn

    def _faults(self, newest: Tensor, here: Context) -> tuple[Tensor, Tensor]:
        """Return what is wrong with what each instrument plays in the newest beats (B, N, D), (B, C) each.

        1 where it is silent in all of them and told to play a lot; and the share of its loudness in the last beat that
        is of other pitch classes than the harmony's.
        """
        told = self.told(here)
        is_told = (told.attacks >= LIVELY) | (self.shape.keys * told.sounding >= LIVELY)
        may_play = here.parts[:, 0, ::FIGURES] > 0
        if here.is_given is not None:
            may_play &= here.is_given[:, 0] <= 0
        roll = self.decode(self.as_latents(newest), newest.shape[1] * GRID_FRAMES).roll
        asleep = (is_told & may_play & (roll.amax((2, 3)) <= 0)).to(newest.dtype)
        if not here.harmony.shape[-1]:
            return asleep, torch.zeros_like(asleep)
        by_key = roll[..., -GRID_FRAMES:].clamp(min=0).sum(3)  # (B, C, K)
        classes = torch.arange(self.shape.keys, device=roll.device) % CLASSES
        is_foreign = (here.harmony[:, 0] <= 0)[:, classes] & here.harmony[:, 0].any(1, keepdim=True)  # (B, K)
        astray = (by_key * is_foreign[:, None]).sum(2) / by_key.sum(2).clamp(min=1e-6) * may_play
        astray[:, self.unpitched] = 0
        return asleep, astray

    def for_players(self, values: Tensor) -> Tensor:
        """Return a value of each instrument (B, C) for the numbers of a beat that are its, (B, 1, D)."""
        return self.composer.head.of_beat(values[:, None])

    def played(self, rolls: Tensor) -> Tensor:
        """Return what each instrument plays in rolls (B, C, K, T), (B, C, 1, K, T)."""
        return rolls[:, :, None]

    def told(self, here: Context) -> Fullness:
        """Return how full the instruments of one beat are told to be, (B, C) each."""
        return Fullness(attacks_of(here.parts[:, 0]), sounding_of(here.parts[:, 0]))


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
    parts={"codec": 1, "composer": 24},
    pretrain_share=0.999,
    critic_share=0.0005,
    losses={"loudness": 1.0, "sounding": 20.0, "onsets": 20.0, "kl": 0.1},
    defaults={
        "epochs": 240,
        "batch_size": 2,
        "sample_every": 20,
        "evaluate_every": 0,
        "augment": {"transpose_keys": 2, "swing": 0.2},
        "variational": {"learning_rate": 0.002},
        "prior": {"learning_rate": 0.003, "draws": 1, "beats": 0.25},
    },
)

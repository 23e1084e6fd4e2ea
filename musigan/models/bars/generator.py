"""Bars, the default model: codec of rolls on the beat's grid, composer of beats, and critics of bars.

    real roll -> encoder -> latents -> composer (all beats before) -> flow -> next beat's latents
                               |                                                   |
                               +-------------------- decoder <---------------------+ -> roll, onsets -> critic

A piece is composed from beginning to end, any length, each beat once all before it are finished. In the game the
composer answers real music, a beat at a time; what it draws is decoded and judged in stretches of EXCERPT_BEATS beats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from musigan.layers.packing import channels_last
from musigan.models import Family, musigan
from musigan.models.bars.adapting import adapt
from musigan.models.bars.codec import TOKEN_FRAMES, Codec, fullness
from musigan.models.bars.composer import BEAT_STEPS, Composer, Context, Heard
from musigan.models.bars.kitrow import KitRow
from musigan.models.bars.settings import BarSettings
from musigan.models.protocol import Decoded, Posterior
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import Fullness, fullness_of
from musigan.rolls.shape import RollShape

# What is drawn follows from what was drawn: a little too dense becomes noise, a little too sparse silence. So the noise
# of each piece is held by how dense it has become: without this pieces had between half and 2.7 times their density.
EXCESS_SHARE = 0.2  # of the newest beat in the excess that counts
MOST_EXCESS = 2.0  # octaves
HOLD = 0.25  # octaves of noise for each octave of excess: a quarter fuller than told, 5 % less noise

Draw = Callable[..., Tensor]  # of a context, what is heard in it, that without the past, how much louder the noise is


class Generator(nn.Module):
    """Codec and composer; latents (B, L, Z) are those of 16ths, beats (B, N, 4 Z) the same, standardised."""

    temperature = 1.0  # of what is drawn unless another is asked for; 1 is as dense as real music
    token_frames = TOKEN_FRAMES
    players = 1  # who are held to be as full as they are told, each for itself
    writes_tightly = False  # whether the attacks of what is drawn are put on the grid
    hardly_anything = Fullness(attacks=2.0, sounding=0.01)  # added to what is told and to what is drawn
    latent_mean: Tensor
    latent_deviation: Tensor
    noise_deviation: Tensor

    def __init__(self, settings: BarSettings, shape: RollShape) -> None:
        super().__init__()
        self.settings, self.shape, self.flow_steps = settings, shape, settings.flow_steps
        self.kit_row = KitRow(shape, settings.row_keys, settings.sides)
        self.codec, self.composer = self._networks()
        # Of the latents of real music, known once the codec is trained.
        self.register_buffer("latent_mean", torch.zeros(self.codec.latent_dim))
        self.register_buffer("latent_deviation", torch.ones(()))
        # Of the noise that beats are drawn from, so that they are as dense as real ones (training/calibration.py).
        self.register_buffer("noise_deviation", torch.ones(()))

    def _networks(self) -> tuple[Codec, Composer]:
        """Return the networks."""
        codec = Codec(self.settings, self.kit_row.folded)
        return codec, Composer(self.settings, codec.rows, bool(self.shape.kit))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        return {
            "encoder": self.codec.encoder_parameters(),
            "prior": list(self.composer.parameters()),
            "decoder": self.codec.decoder_parameters(),
        }

    @property
    def is_measured(self) -> bool:
        """Whether the mean and deviation of latents are known: the codec was trained, here or before."""
        return bool(self.latent_deviation != 1)

    @property
    def decoder_receptive_field(self) -> int:
        """Latent steps on either side on which a decoded step depends; at least the encoder's."""
        return self.codec.receptive_field

    def steps(self, frames: int) -> int:
        """Return the number of latent steps that cover `frames` frames: whole beats."""
        return -(-frames // (BEAT_STEPS * TOKEN_FRAMES)) * BEAT_STEPS

    def encode(self, roll: Tensor, **conditions: Tensor) -> Posterior:
        """Encode a roll (B, C, K, T) on the grid as a Gaussian of its latents, (B, L, Z) each."""
        return self.codec.encode(self.kit_row.fold(roll))

    def decode(self, latents: Tensor, frames: int, **conditions: Tensor) -> Decoded:
        """Decode latents (B, L, Z) to a roll (B, C, K, frames) on the grid."""
        return self.kit_row.unfolded(self.codec.decode(latents, frames))

    def as_beats(self, latents: Tensor) -> Tensor:
        """Standardise latents (B, L, Z) and put the four of a beat side by side: (B, L / 4, 4 Z)."""
        standard = (latents - self.latent_mean) / self.latent_deviation
        return standard.unflatten(1, (-1, BEAT_STEPS)).flatten(2)

    def as_latents(self, beats: Tensor) -> Tensor:
        """Undo `as_beats`: (B, N, 4 Z) -> (B, 4 N, Z)."""
        standard = beats.unflatten(2, (BEAT_STEPS, -1)).flatten(1, 2)
        return standard * self.latent_deviation + self.latent_mean

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw the white noise of the beats of `batch` pieces of `frames` frames, (B, N, 4 Z)."""
        beats = self.steps(frames) // BEAT_STEPS
        return torch.randn(batch, beats, self.composer.beat_dim, generator=rng).to(self.latent_mean.device)

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, /, **conditions: Tensor) -> Tensor:
        """Run the flow steps `first` to `last` on beats (B, N, 4 Z), each after the real ones before it.

        Those are the latents (B, L, Z) called `past`, with the conditions of a `Context`. After the last step the
        result is latents (B, L, Z).
        """
        last = self.flow_steps if last is None else last
        context = self.with_rests(Context.of(conditions))
        heard = self.composer.hear(self.as_beats(conditions["past"]), context)
        beats = self._flow(latents, heard, None, first, last)
        if last < self.flow_steps:
            return beats
        return self.as_latents(self.with_given(self.composer.absolute(beats, heard), context))

    def _flow(self, beats: Tensor, heard: Heard, blind: Heard | None, first: int, last: int) -> Tensor:
        """Run flow steps on beats (B, N, 4 Z), which are relative to the composer's guess.

        They are led away from what `blind`, who did not hear the past, would draw.
        By the midpoint rule: single steps of as many passes draw too little, and what is drawn from too little a past
        becomes silence.
        """
        for index in range(first, last):
            time = beats.new_full(beats.shape[:2], index / self.flow_steps)
            half = beats + self._velocity(beats, time, heard, blind) / (2 * self.flow_steps)
            beats = beats + self._velocity(half, time + 0.5 / self.flow_steps, heard, blind) / self.flow_steps
        return beats

    def _velocity(self, beats: Tensor, time: Tensor, heard: Heard, blind: Heard | None) -> Tensor:
        """Return the velocity at beats (B, N, 4 Z), beyond that of `blind` by the settings' guidance."""
        if blind is None:
            return self.composer.velocity(beats, time, heard)
        both = Heard(*(torch.cat(each) for each in zip(heard, blind, strict=True)))
        with_past, without = self.composer.velocity(beats.repeat(2, 1, 1), time.repeat(2, 1), both).chunk(2)
        return with_past + self.settings.guidance * (with_past - without)

    def compose(
        self, context: Context, rng: torch.Generator, temperature: float = 1.0, past: Tensor | None = None
    ) -> Tensor:
        """Draw the latents (B, 4 N, Z) of the beats of `context` (B, N), the first of which are `past` (B, L, Z)."""
        (batch, count), beat_dim = context.lags.shape, self.composer.beat_dim
        beats = self.latent_mean.new_zeros(batch, 0, beat_dim) if past is None else self.as_beats(past)
        finished, is_guided = beats.shape[1], self.settings.guidance > 0
        context = self.with_rests(context)
        memory, blind_memory = self.composer.memory(), self.composer.memory()
        if finished:
            known = context.part(0, finished)
            self.composer.hear(beats, known, memory=memory)
            if is_guided:
                self.composer.hear(beats, known, 0.0, blind_memory)
        excess = beats.new_zeros(batch, self.players)
        for number in range(finished, count):
            here = context.part(number, 1)
            heard = self.composer.hear_next(beats[:, :number], here, memory)
            blind = self.composer.hear_next(beats[:, :number], here, blind_memory, 0.0) if is_guided else None
            held = temperature * self.for_players(self.noise_deviation * torch.exp2(-HOLD * excess))

            def draw(
                here: Context, heard: Heard, blind: Heard | None, louder: float | Tensor = 1.0, held: Tensor = held
            ) -> Tensor:
                """Draw the next beat (B, 1, 4 Z), from noise `louder` than it would be."""
                noise = louder * held * torch.randn(batch, 1, beat_dim, generator=rng).to(held.device)
                flowed = self._flow(noise, heard, blind, 0, self.flow_steps)
                return self.with_given(self.composer.absolute(flowed, heard), here)

            drawn = self.redrawn(beats[:, -1:], draw(here, heard, blind), here, heard, blind, draw)
            beats = torch.cat((beats, drawn), 1)
            excess = torch.lerp(excess, self._excess(beats[:, -2:], here), EXCESS_SHARE)
        return self.as_latents(beats)

    def asked(self, beats: Tensor, context: Context, rng: torch.Generator) -> tuple[Context, Tensor | None]:
        """Return what a composer that learns from beats (B, N, D) is asked for.

        That is its context, and how much its answer counts, (B, N, D); None: everywhere alike.
        """
        return context, None

    def with_rests(self, context: Context) -> Context:
        """Return the context, what is given in it and the rests of instruments being one: as it is, of a recording."""
        return context

    def with_given(self, drawn: Tensor, here: Context) -> Tensor:
        """Return drawn beats (B, N, D) with what is given in their context: as they are, for nothing is."""
        return drawn

    def redrawn(
        self, before: Tensor, drawn: Tensor, here: Context, heard: Heard, blind: Heard | None, draw: Draw
    ) -> Tensor:
        """Return a drawn beat (B, 1, 4 Z), after that `before` it (B, 0 or 1, 4 Z), players at fault drawn again.

        As it is, where players are not known one by one.
        """
        return drawn

    def for_players(self, values: Tensor) -> Tensor:
        """Return a value of each player (B, P) for the numbers of a beat that are its, (B, 1, D or 1)."""
        return values[:, None]

    def played(self, rolls: Tensor) -> Tensor:
        """Return what each of `players` plays in rolls (B, C, K, T), (B, P, C', K, T): all that has a pitch."""
        return rolls[:, None, : self.shape.pitched]

    def told(self, here: Context) -> Fullness:
        """Return how full the players of one beat are told to be, (B, P) each."""
        told = fullness_of(here.scene[:, 0])
        return Fullness(told.attacks[:, None], told.sounding[:, None])

    def _excess(self, newest: Tensor, here: Context) -> Tensor:
        """Return by how many octaves the last of the newest beats (B, N, 4 Z) is fuller than it was told, (B, P).

        The mean of two: attacks, and share of keys that sound. 0 where nothing is told to sound.
        """
        told, none = self.told(here), self.hardly_anything
        roll = self.decode(self.as_latents(newest), newest.shape[1] * GRID_FRAMES).roll
        drawn = fullness(self.played(roll).flatten(0, 1), 1)
        attacks, sounding = (each.unflatten(0, (-1, self.players)) for each in drawn)
        octaves = torch.stack((
            ((attacks + none.attacks) / (told.attacks + none.attacks)).log2(),
            ((sounding + none.sounding) / (told.sounding + none.sounding)).log2(),
        ))  # fmt: skip
        return octaves.clamp(-MOST_EXCESS, MOST_EXCESS).mean(0) * (told.sounding > 0)


class Critic(musigan.Critic):
    """Critic of rolls on the grid, their pitch classes and their latents; conditions are the generator's alone."""

    def __init__(self, settings: musigan.MusiganSettings, shape: RollShape, kit_row: KitRow) -> None:
        super().__init__(settings, shape, kit_row.folded)
        self.kit_row = kit_row

    def as_seen(self, roll: Tensor) -> Tensor:
        """Return a roll (B, C, K, T) with its drums as a row of keys."""
        return self.kit_row.fold(roll)

    def forward(
        self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False, **conditions: Tensor
    ) -> Any:
        """Judge roll (B, C, K, T) and latents (B, L, Z); a view that is None is not judged."""
        return super().forward(roll, latents, per_sample)


def build(settings: BarSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape` on the grid."""
    generator = Generator(settings, shape)
    judged = musigan.MusiganSettings(
        patch_keys=settings.patch_keys, patch_frames=TOKEN_FRAMES, latent_dim=generator.codec.latent_dim,
        critic_width=settings.critic_width, latent_critic_width=settings.latent_critic_width,
        chroma_critic_width=settings.chroma_critic_width, spectral=settings.spectral,
    )  # fmt: skip
    return channels_last(nn.ModuleDict({"generator": generator, "critic": Critic(judged, shape, generator.kit_row)}))


FAMILY = Family(
    name="bars",
    stages=("codec", "composer", "critic", "adversarial"),
    summary="thinks in beats: rolls on the grid of bars, composed beat after beat, against critics of bars",
    paper="Vlasenko, MusiGAN (github.com/Vlasenko2006/MusiGAN), on the music's own clock",
    settings=BarSettings,
    build=build,
    on_beats=True,
    extends=True,
    morphs=True,
    takes_temperature=True,
    conditions=("style", "tempo"),
    parts={"codec": 1, "composer": 12},
    pretrain_share=0.99,
    critic_share=0.005,
    losses={"loudness": 1.0, "sounding": 20.0, "onsets": 20.0, "kl": 0.1},
    adapt=adapt,
)

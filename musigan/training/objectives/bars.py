"""Stages of models that think in beats: the codec of rolls on the grid, and the composer of its latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from musigan.datasets.bars import BarDataset
from musigan.losses import likelihood
from musigan.models.bars.codec import onsets_of
from musigan.models.bars.composer import Context, Heard
from musigan.models.bars.generator import Generator
from musigan.training.objectives.base import StepContext, Terms, sampled
from musigan.training.objectives.latents import FIRST_ROLLS, PriorSide, Variational, excerpts
from musigan.training.songlatents import SongLatents


class Codec(Variational):
    """The autoencoder of rolls on the grid: loudness of what sounds, what sounds, onsets and KL."""

    generator: Generator
    name = "codec"

    def begin(self, dataset: Any) -> None:
        """Set the first weights from excerpts spread evenly over the music, unless they were learned before."""
        if self.generator.is_measured:
            return
        rolls = excerpts(dataset, FIRST_ROLLS).to(self.generator.latent_mean.device)
        rolls = self.generator.kit_row.fold(rolls)
        self.generator.codec.begin_with(rolls)

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the losses of the codec on real (B, C, K, T), and the overlap of active cells."""
        codec, real = self.generator.codec, self.generator.kit_row.fold(real)
        posterior = codec.encode(real)
        decoded = codec.decode(sampled(posterior, context.rng), real.shape[-1])
        assert decoded.loudness is not None
        assert decoded.onsets is not None
        onsets = onsets_of(real)
        weights = likelihood.attack_weights(onsets)
        free_bits = self.settings.variational.free_bits
        terms = Terms(
            {
                "loudness": likelihood.loudness(decoded.loudness, real, weights),
                "sounding": likelihood.activity(decoded.logits, real, weights),
                "onsets": likelihood.activity(decoded.onsets, onsets),
                "kl": likelihood.kl_divergence(posterior.mean, posterior.log_variance, free_bits),
            }
        )
        with torch.no_grad():
            shared_cells = ((decoded.logits > 0) & (real > 0)).sum()
            terms.figures["overlap"] = 2 * shared_cells / ((decoded.logits > 0).sum() + (real > 0).sum() + 1)
        return terms


class Composition(PriorSide):
    """The composer: which beat follows all before it, by flow matching on the latents of whole songs."""

    generator: Generator
    name = "composer"

    def examples(self, dataset: BarDataset) -> SongLatents:
        """Return the latents of whole songs, in all keys that the settings allow.

        Of songs to learn from, the generator is told their mean and deviation, and the composer its first guess. One
        that knows them already, from other music, keeps them: all that it has learned is relative to them.
        """
        songs = SongLatents(dataset, self.generator)
        if dataset.split == "train" and not self.generator.is_measured:
            songs.measure(self.generator)
            self.generator.composer.fit(self._beats_of(songs))
        return songs

    def _beats_of(self, songs: SongLatents) -> Iterator[tuple[Tensor, Context]]:
        """Yield beats (1, N, D) of each song, and their contexts."""
        device = self.generator.latent_mean.device
        for index in range(len(songs)):
            latents, conditions = songs.example(0, index)
            known = int(conditions["known"].sum())
            context = Context.of({name: torch.from_numpy(value)[None].to(device) for name, value in conditions.items()})
            beats = self.generator.as_beats(torch.from_numpy(latents)[None].to(device))[:, :known]
            yield beats, context.part(0, known)

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the flow-matching loss on the latents of songs, (B, L, Z)."""
        settings, known = self.settings.prior, context.conditions["known"]
        loss = composition(
            self.generator, real, context.conditions, context.rng, settings.draws, settings.past_noise,
            known, settings.past_unknown, settings.beats,
        )  # fmt: skip
        return Terms({"flow": loss})


def composition(
    generator: Generator, latents: Tensor, conditions: Mapping[str, Tensor], rng: torch.Generator, draws: int = 1,
    past_noise: float = 0.0, known: Tensor | None = None, past_unknown: float = 0.0, beats_share: float = 1.0,
) -> Tensor:  # fmt: skip
    """Compute the flow-matching loss of each beat of latents (B, L, Z) after those before it, over `known` (B, N) ones.

    The past is blurred by noise of a deviation between 0 and `past_noise`, another for each piece; from a share
    `past_unknown` of the pieces it is kept. Each beat, or a random share `beats_share` of them, is drawn at `draws`
    times of the flow, logistic-normal (arXiv 2403.03206).
    """
    beats = generator.as_beats(latents)
    blur = past_noise * torch.rand(len(beats), 1, 1, generator=rng)
    past = beats + (blur * torch.randn(beats.shape, generator=rng)).to(beats.device)
    is_known = (torch.rand(len(beats), 1, 1, generator=rng) >= past_unknown).to(past)
    context, asked = generator.asked(beats, Context.of(conditions), rng)
    heard = generator.composer.hear(past, context, is_known)
    wanted = generator.composer.relative(beats, heard)
    share = torch.ones(beats.shape[:2], device=beats.device) if known is None else known
    if beats_share < 1:
        chosen = torch.randperm(beats.shape[1], generator=rng)[: max(round(beats_share * beats.shape[1]), 1)]
        heard = Heard(*(each[:, chosen] for each in heard))
        wanted, share, asked = wanted[:, chosen], share[:, chosen], None if asked is None else asked[:, chosen]
    total = beats.new_zeros(())
    for _ in range(draws):
        time = torch.sigmoid(torch.randn(wanted.shape[:2], generator=rng)).to(beats.device)
        noise = torch.randn(wanted.shape, generator=rng).to(beats.device)
        velocity = generator.composer.velocity(noise + time[..., None] * (wanted - noise), time, heard)
        error = (velocity - (wanted - noise)).square()
        if asked is None:
            total = total + (error.mean(-1) * share).sum() / share.sum()
        else:
            counts = asked * share[..., None]
            total = total + (error * counts).sum() / counts.sum().clamp(min=1.0)
    return total / draws

"""Stages that learn music as latents: there and back, and which ones music has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from musigan.losses import likelihood
from musigan.training.objectives.base import Moment, Objective, Terms, noise_like, sampled


class Variational(Objective):
    """Real rolls to latents and back: reconstruction, activity and KL (arXiv 1312.6114)."""

    name = "variational"
    title = "learning to write rolls as latents"

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """One side: encoder and decoder."""
        parts = self.generator.parts()
        rate = self.settings.variational.learning_rate
        return {"generator": [{"params": parts["encoder"] + parts["decoder"], "lr": rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's momentum settings."""
        first, second = self.settings.variational.betas
        return first, second

    def factor(self, name: str, progress: float) -> float:
        """The KL weight rises linearly at first."""
        warmup = self.settings.variational.kl_warmup
        return min(progress / warmup, 1.0) if name == "kl" and warmup > 0 else 1.0

    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """Losses of the autoencoder on real (B, C, K, T)."""
        posterior = self.generator.encode(real)
        decoded = self.generator.decode(sampled(posterior, moment.rng), real.shape[-1], **moment.given)
        free_bits = self.settings.variational.free_bits
        terms = Terms(
            {
                "reconstruction": likelihood.reconstruction(decoded.roll, real),
                "activity": likelihood.activity(decoded.logits, real),
                "kl": likelihood.kl_divergence(posterior.mean, posterior.log_variance, free_bits),
            }
        )
        with torch.no_grad():
            hits = ((decoded.logits > 0) & (real > 0)).sum()
            terms.figures["overlap"] = 2 * hits / ((decoded.logits > 0).sum() + (real > 0).sum() + 1)
        return terms


def flow(generator: Any, latents: Tensor, rng: torch.Generator, **given: Tensor) -> Tensor:
    """The flow-matching loss of a generator's transformer on latents (B, L, Z) under conditions, most often midway.

    Times are logistic-normal (arXiv 2403.03206): the ends of the way are easy.
    """
    noise = noise_like(latents, rng)
    time = torch.sigmoid(torch.randn(len(latents), generator=rng)).to(latents.device)
    between = noise + time[:, None, None] * (latents - noise)
    return likelihood.flow_matching(generator.velocity(between, time, **given), noise, latents)


class Prior(Objective):
    """The transformer learns which latents music has: a flow from white noise to the latents of real rolls."""

    name = "prior"
    title = "teaching the transformer"

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """One side: the transformer."""
        return {"generator": [{"params": self.generator.parts()["prior"], "lr": self.settings.prior.learning_rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's momentum settings."""
        first, second = self.settings.prior.betas
        return first, second

    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """Flow matching on the latents of real (B, C, K, T), each under several noises."""
        posterior = self._encoded(real)
        latents = torch.cat([sampled(posterior, moment.rng) for _ in range(self.settings.prior.draws)])
        draws = self.settings.prior.draws
        given = {name: value.repeat(draws, *[1] * (value.dim() - 1)) for name, value in moment.given.items()}
        return Terms({"flow": flow(self.generator, latents, moment.rng, **given)})

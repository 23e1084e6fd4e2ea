"""Stages that learn latents of music: the autoencoder, and the prior over its latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musigan.datasets.batches import stack_examples
from musigan.losses import likelihood
from musigan.models import protocol
from musigan.training.objectives.base import Objective, StepContext, Terms, noise_like, sampled

FIRST_ROLLS = 96  # real excerpts, from which first weights are computed


def excerpts(dataset: Any, count: int) -> Tensor:
    """Return `count` rolls of a dataset at most, (B, C, K, T), spread evenly over its music."""
    numbers = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return stack_examples([dataset.example(0, int(number)) for number in numbers]).roll


class Variational(Objective):
    """The autoencoder, real rolls to latents and back: reconstruction, activity and KL (arXiv 1312.6114)."""

    generator: protocol.Autoencoder
    name = "variational"

    def begin(self, dataset: Any) -> None:
        """Set the first weights from excerpts spread evenly over the music, where the family has a way to."""
        if isinstance(self.generator, protocol.BeginsWithMusic):
            place = self.generator.parts()["decoder"][0].device
            self.generator.begin_with(excerpts(dataset, FIRST_ROLLS).to(place))

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return one side: encoder and decoder."""
        parts = self.generator.parts()
        rate = self.settings.variational.learning_rate
        return {"generator": [{"params": parts["encoder"] + parts["decoder"], "lr": rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = self.settings.variational.betas
        return first, second

    def factor(self, name: str, progress: float) -> float:
        """Return the KL weight's linear warm-up; 1 for other losses."""
        warmup = self.settings.variational.kl_warmup
        return min(progress / warmup, 1.0) if name == "kl" and warmup > 0 else 1.0

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the losses of the autoencoder on real (B, C, K, T), and the overlap of active cells."""
        posterior = self.generator.encode(real, **context.conditions)
        decoded = self.generator.decode(sampled(posterior, context.rng), real.shape[-1], **context.conditions)
        free_bits = self.settings.variational.free_bits
        terms = Terms(
            {
                "reconstruction": likelihood.reconstruction(decoded.roll, real),
                "activity": likelihood.activity(decoded.logits, real),
                "kl": likelihood.kl_divergence(posterior.mean, posterior.log_variance, free_bits),
            }
        )
        with torch.no_grad():
            shared_cells = ((decoded.logits > 0) & (real > 0)).sum()
            terms.figures["overlap"] = 2 * shared_cells / ((decoded.logits > 0).sum() + (real > 0).sum() + 1)
        return terms


def flow(generator: protocol.Flow, latents: Tensor, rng: torch.Generator, conditions: Mapping[str, Tensor]) -> Tensor:
    """Compute the flow-matching loss of a generator's transformer on latents (B, L, Z).

    Times are logistic-normal (arXiv 2403.03206), most often midway, because both ends of the path are easy.
    """
    noise = noise_like(latents, rng)
    time = torch.sigmoid(torch.randn(len(latents), generator=rng)).to(latents.device)
    mixed = noise + time[:, None, None] * (latents - noise)
    return likelihood.flow_matching(generator.velocity(mixed, time, **conditions), noise, latents)


class PriorSide(Objective):
    """Base of stages that train the generator's part `prior` alone, by `settings.prior`."""

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return one side: the prior."""
        return {"generator": [{"params": self.generator.parts()["prior"], "lr": self.settings.prior.learning_rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = self.settings.prior.betas
        return first, second


class Prior(PriorSide):
    """The transformer as a prior: a flow from white noise to the latents of real rolls."""

    generator: protocol.Flow
    name = "prior"

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the flow-matching loss on the latents of real (B, C, K, T), each with `prior.draws` noises."""
        posterior = self._posterior_of(real, context.conditions)
        latents = torch.cat([sampled(posterior, context.rng) for _ in range(self.settings.prior.draws)])
        return Terms({"flow": flow(self.generator, latents, context.rng, context.conditions)})


class Likelihood(Objective):
    """The generator's own likelihood losses on real rolls, by name."""

    generator: protocol.Likelihood
    name = "likelihood"

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return one side: the generator's part `prior`."""
        rate = self.settings.likelihood.learning_rate
        return {"generator": [{"params": self.generator.parts()["prior"], "lr": rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = self.settings.likelihood.betas
        return first, second

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the generator's named losses on real (B, C, K, T)."""
        return Terms(self.generator.likelihood(real, context.rng, **context.conditions))

"""Gradient penalties in a critic's step, exact (second derivative) or approximate (finite difference)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from musigan.checkpoints.settings import AdversarialSettings
from musigan.losses import adversarial


@dataclass(frozen=True)
class CriticView:
    """Inputs of a critic, (B, ...), requiring a gradient, and its logits (B, 1)."""

    inputs: Tensor
    logits: Tensor


def penalty(
    settings: AdversarialSettings,
    judge: Callable[[Tensor], Tensor],
    real: CriticView,
    fake: CriticView,
    rng: torch.Generator,
) -> Tensor:
    """Return the penalty chosen by `settings` for one view of a critic, a scalar; `judge` maps inputs to logits.

    Exact penalties take the second derivative of the pass already made; approximate ones and wgan's make further
    passes. Exact and approximate penalties estimate the same number, so one weight serves both.
    """
    if settings.objective == "wgan":
        mixed = adversarial.interpolates(real.inputs, fake.inputs, rng).requires_grad_()
        return adversarial.gradient_norm_penalty(adversarial.input_gradient(judge(mixed), mixed))
    if settings.penalty == "exact":
        slopes = [adversarial.input_gradient(view.logits, view.inputs) for view in (real, fake)]
        return adversarial.squared_gradient_norm(slopes[0]) + adversarial.squared_gradient_norm(slopes[1])
    return _difference(settings, judge, real, rng) + _difference(settings, judge, fake, rng)


def _difference(
    settings: AdversarialSettings, judge: Callable[[Tensor], Tensor], seen: CriticView, rng: torch.Generator
) -> Tensor:
    """Return the finite-difference penalty at the inputs: a step of `penalty_distance` in a random direction."""
    inputs, distance = seen.inputs.detach(), settings.penalty_distance
    noise = torch.randn(inputs.shape, generator=rng).to(inputs.device)
    return adversarial.approximate_penalty(seen.logits, judge(inputs + distance * noise), distance)

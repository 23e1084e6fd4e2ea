"""Gradient penalties in a critic's step: how steep it is where it looks, and how that is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from musigan.losses import adversarial
from musigan.training.configuration import AdversarialSettings


@dataclass(frozen=True)
class Seen:
    """What a critic was shown, (B, ...), requiring a gradient, and its logits (B, 1)."""

    inputs: Tensor
    logits: Tensor


def penalty(
    settings: AdversarialSettings, judge: Callable[[Tensor], Tensor], real: Seen, fake: Seen, rng: torch.Generator
) -> Tensor:
    """The penalty that `settings` choose for one view of a critic, a scalar; `judge` gives logits for other inputs.

    The exact ones take the second derivative of the pass that was made already; the approximate ones and wgan's make
    further passes. Exact and approximate penalties estimate the same number, so a weight serves both.
    """
    if settings.objective == "wgan":
        between = adversarial.interpolates(real.inputs, fake.inputs, rng).requires_grad_()
        return adversarial.lipschitz(adversarial.input_gradient(judge(between), between))
    if settings.penalty == "exact":
        slopes = [adversarial.input_gradient(seen.logits, seen.inputs) for seen in (real, fake)]
        return adversarial.steepness(slopes[0]) + adversarial.steepness(slopes[1])
    return _difference(settings, judge, real, rng) + _difference(settings, judge, fake, rng)


def _difference(
    settings: AdversarialSettings, judge: Callable[[Tensor], Tensor], seen: Seen, rng: torch.Generator
) -> Tensor:
    """The finite difference at what was seen, a step of `penalty_distance` in a random direction."""
    inputs, distance = seen.inputs.detach(), settings.penalty_distance
    noise = torch.randn(inputs.shape, generator=rng).to(inputs.device)
    return adversarial.smoothness(seen.logits, judge(inputs + distance * noise), distance)

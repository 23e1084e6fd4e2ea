"""Adversarial losses on critic logits (B, 1), higher meaning more real.

Each objective has two halves, one for the critic and one for the generator; who is detached is the caller's side to
decide by which parameters it lets move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Half = Callable[[Tensor, Tensor, float], Tensor]


def bce_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log s(real) - log(1 - s(fake)), the real label smoothed to 1 - smoothing (arXiv 1406.2661, 1606.03498)."""
    target = torch.full_like(real, 1.0 - smoothing)
    return F.binary_cross_entropy_with_logits(real, target) + F.softplus(fake).mean()


def bce_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log s(fake): the non-saturating half (arXiv 1406.2661, section 3). `real` is not looked at."""
    return F.softplus(-fake).mean()


def hinge_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + fake) (arXiv 1705.02894)."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-fake, the generator's half of the hinge loss."""
    return -fake.mean()


def relativistic_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log s(real - fake), in pairs (arXiv 1807.00734; with gradient penalties, 2501.05441)."""
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log s(fake - real), in pairs."""
    return F.softplus(real - fake).mean()


@dataclass(frozen=True)
class Adversary:
    """The two halves of one objective."""

    critic: Half
    generator: Half


ADVERSARIES = {
    "bce": Adversary(bce_critic, bce_generator),
    "hinge": Adversary(hinge_critic, hinge_generator),
    "relativistic": Adversary(relativistic_critic, relativistic_generator),
}


def smoothness(logits: Tensor, moved: Tensor, distance: float) -> Tensor:
    """Approximate gradient penalty: mean ((D(x + distance * noise) - D(x)) / distance)^2, both logits (B, 1).

    A finite difference along a random direction; its expectation is the squared gradient norm, R1 on real and R2 on
    fake input (arXiv 1801.04406), at the price of one more plain pass instead of a second derivative.
    """
    return ((moved - logits) / distance).square().mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over layers of |E features(real) - E features(fake)|, E over the batch, each over real's own mean size.

    arXiv 1606.03498, section 3.1. Each element is (B, ...); batches may differ in size.
    """
    gaps = [(r.mean(0) - f.mean(0)).abs().mean() / (r.abs().mean() + 1e-6) for r, f in zip(real, fake, strict=True)]
    return torch.stack(gaps).mean()

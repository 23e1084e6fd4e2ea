"""Adversarial losses on critic logits (B, 1), higher meaning more real.

Each objective has two halves, one for the critic and one for the generator. Nothing is detached here: the caller
decides which parameters move. Gradient penalties are functions of the critic's gradient at its input, which is
(B, ...), shaped like the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Half = Callable[[Tensor, Tensor, float], Tensor]


def bce_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -log s(real) - log(1 - s(fake)), real label smoothed to 1 - smoothing (arXiv 1406.2661, 1606.03498)."""
    target = torch.full_like(real, 1.0 - smoothing)
    return F.binary_cross_entropy_with_logits(real, target) + F.softplus(fake).mean()


def bce_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -log s(fake), the non-saturating half (arXiv 1406.2661, section 3); `real` is not used."""
    return F.softplus(-fake).mean()


def hinge_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return max(0, 1 - real) + max(0, 1 + fake) (arXiv 1705.02894)."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -fake, the generator's half of the hinge loss; `real` is not used."""
    return -fake.mean()


def relativistic_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -log s(real - fake), in pairs (arXiv 1807.00734; with gradient penalties, 2501.05441)."""
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -log s(fake - real), in pairs."""
    return F.softplus(real - fake).mean()


def wgan_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return E fake - E real (arXiv 1701.07875).

    It is minus the Wasserstein distance if the critic's slope is nowhere above 1.
    """
    return fake.mean() - real.mean()


def wgan_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -E fake; `real` is not used."""
    return -fake.mean()


def lsgan_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return ((real - 1)^2 + (fake + 1)^2) / 4: least squares (arXiv 1611.04076), a = -1 and b = 1 there.

    With these targets the decision threshold is 0, as for the other objectives. The quarter gives the values that
    targets 0 and 1 would: 0.5 for a critic that cannot discriminate. `smoothing` lowers the real target.
    """
    return ((real - (1.0 - smoothing)).square().mean() + (fake + 1.0).square().mean()) / 4


def lsgan_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return (fake - 1)^2 / 4; `real` is not used."""
    return (fake - 1.0).square().mean() / 4


@dataclass(frozen=True)
class AdversarialObjective:
    """The two halves of one adversarial objective."""

    critic: Half
    generator: Half
    relative: bool = False  # only differences of logits count: a logit of 0 means nothing by itself

    @torch.no_grad()
    def decision_threshold(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the decision threshold: 0, or midway between the mean logits where a logit of 0 means nothing."""
        return (real.mean() + fake.mean()) / 2 if self.relative else real.new_zeros(())


ADVERSARIES = {
    "bce": AdversarialObjective(bce_critic, bce_generator),
    "hinge": AdversarialObjective(hinge_critic, hinge_generator),
    "relativistic": AdversarialObjective(relativistic_critic, relativistic_generator, relative=True),
    "wgan": AdversarialObjective(wgan_critic, wgan_generator, relative=True),
    "lsgan": AdversarialObjective(lsgan_critic, lsgan_generator),
}


def approximate_penalty(logits: Tensor, moved: Tensor, distance: float) -> Tensor:
    """Approximate a gradient penalty: mean ((D(x + distance * noise) - D(x)) / distance)^2, both logits (B, 1).

    It is a finite difference along a random direction. Its expectation is the squared gradient norm, R1 on real and R2
    on fake input (arXiv 1801.04406). It costs one more plain pass instead of a second derivative.
    """
    return ((moved - logits) / distance).square().mean()


def input_gradient(logits: Tensor, inputs: Tensor) -> Tensor:
    """Return d(sum of logits) / d inputs, shaped like the inputs, with a graph, so that it can be penalised.

    `logits` (B, 1) were computed from `inputs` (B, ...), which require a gradient. Every layer in between needs a
    second derivative. Fused attention has none on a CPU, so a critic with attention would have to be run under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient


def squared_gradient_norm(gradient: Tensor) -> Tensor:
    """Return the mean |gradient|^2 over the batch: R1 on real input, R2 on fake (arXiv 1801.04406, 2501.05441).

    The papers' gamma is twice the weight. A suitable weight depends on the size of the input: try powers of ten.
    Papers on images use 5 (1801.04406) and .025, 1 and 75 at 32, 64 and 256 pixels a side (2501.05441's code).
    """
    return gradient.flatten(1).square().sum(1).mean()


def gradient_norm_penalty(gradient: Tensor) -> Tensor:
    """Return the mean (|gradient| - 1)^2, on interpolates of real and fake (arXiv 1704.00028). Usual weight: 10."""
    length = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # (B); the root has no second derivative at 0
    return (length - 1).square().mean()


def interpolates(real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Draw random points on the straight lines between pairs of real and fake input, (B, ...) each, detached."""
    share = torch.rand(len(real), generator=rng).to(real.device).reshape(-1, *[1] * (real.dim() - 1))
    return torch.lerp(real.detach(), fake.detach(), share)


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of |E features(real) - E features(fake)|, each divided by the mean |features(real)|.

    arXiv 1606.03498, section 3.1. E is over the batch. Each element is (B, ...); batches may differ in size.
    """
    gaps = [(r.mean(0) - f.mean(0)).abs().mean() / (r.abs().mean() + 1e-6) for r, f in zip(real, fake, strict=True)]
    return torch.stack(gaps).mean()

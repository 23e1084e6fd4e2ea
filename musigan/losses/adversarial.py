"""Adversarial losses on critic logits (B, 1), higher meaning more real.

Each objective has two halves, one for the critic and one for the generator; who is detached is the caller's side to
decide by which parameters it lets move. Gradient penalties are functions of the critic's gradient at its input, which
is (B, ...), shaped like the input.
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


def wgan_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """E fake - E real: minus the Wasserstein distance of a critic that is nowhere steeper than 1 (arXiv 1701.07875)."""
    return fake.mean() - real.mean()


def wgan_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-E fake. `real` is not looked at."""
    return -fake.mean()


def lsgan_critic(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """((real - 1)^2 + (fake + 1)^2) / 4: least squares (arXiv 1611.04076), a = -1 and b = 1 there.

    So 0 is the border, as with the others; the quarter gives what targets 0 and 1 would: 0.5 for a critic that cannot
    tell. `smoothing` lowers the real target.
    """
    return ((real - (1.0 - smoothing)).square().mean() + (fake + 1.0).square().mean()) / 4


def lsgan_generator(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """(fake - 1)^2 / 4. `real` is not looked at."""
    return (fake - 1.0).square().mean() / 4


@dataclass(frozen=True)
class Adversary:
    """The two halves of one objective."""

    critic: Half
    generator: Half
    relative: bool = False  # only differences of logits count: their zero is nowhere in particular

    @torch.no_grad()
    def border(self, real: Tensor, fake: Tensor) -> Tensor:
        """The logit above which the critic means real: 0, or midway between the means where zero means nothing."""
        return (real.mean() + fake.mean()) / 2 if self.relative else real.new_zeros(())


ADVERSARIES = {
    "bce": Adversary(bce_critic, bce_generator),
    "hinge": Adversary(hinge_critic, hinge_generator),
    "relativistic": Adversary(relativistic_critic, relativistic_generator, relative=True),
    "wgan": Adversary(wgan_critic, wgan_generator, relative=True),
    "lsgan": Adversary(lsgan_critic, lsgan_generator),
}


def smoothness(logits: Tensor, moved: Tensor, distance: float) -> Tensor:
    """Approximate gradient penalty: mean ((D(x + distance * noise) - D(x)) / distance)^2, both logits (B, 1).

    A finite difference along a random direction; its expectation is the squared gradient norm, R1 on real and R2 on
    fake input (arXiv 1801.04406), at the price of one more plain pass instead of a second derivative.
    """
    return ((moved - logits) / distance).square().mean()


def input_gradient(logits: Tensor, inputs: Tensor) -> Tensor:
    """d(sum of logits) / d inputs, shaped like the inputs, with a graph of its own: a penalty on it can be minimised.

    `logits` (B, 1) were computed from `inputs` (B, ...), which require a gradient. Every layer in between needs a
    second derivative; fused attention has none on a CPU, so a critic with attention would have to be run under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient


def steepness(gradient: Tensor) -> Tensor:
    """Mean |gradient|^2 over the batch: R1 on real input, R2 on fake (arXiv 1801.04406, 2501.05441).

    The papers' gamma is twice the weight. What suits goes with the size of the input and is to be tried in tenfolds;
    papers on images weigh 5 (1801.04406) and .025, 1 and 75 at 32, 64 and 256 pixels a side (2501.05441's code).
    """
    return gradient.flatten(1).square().sum(1).mean()


def lipschitz(gradient: Tensor) -> Tensor:
    """Mean (|gradient| - 1)^2, on random interpolates between real and fake (arXiv 1704.00028). Usual weight: 10."""
    length = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()  # (B); the root has no second derivative at 0
    return (length - 1).square().mean()


def interpolates(real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Points anywhere on the straight lines between pairs of real and fake input, (B, ...) each, detached."""
    share = torch.rand(len(real), generator=rng).to(real.device).reshape(-1, *[1] * (real.dim() - 1))
    return torch.lerp(real.detach(), fake.detach(), share)


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over layers of |E features(real) - E features(fake)|, E over the batch, each over real's own mean size.

    arXiv 1606.03498, section 3.1. Each element is (B, ...); batches may differ in size.
    """
    gaps = [(r.mean(0) - f.mean(0)).abs().mean() / (r.abs().mean() + 1e-6) for r, f in zip(real, fake, strict=True)]
    return torch.stack(gaps).mean()

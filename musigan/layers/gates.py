"""Gates and limits that let a decoder output exact zeros."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_gate(logits: Tensor) -> Tensor:
    """Return 1 where a logit is above 0, else exactly 0; the gradient is the sigmoid's (straight-through).

    Binary neurons as in BinaryMuseGAN (arXiv 1804.09399, section 3.2, the deterministic kind).
    """
    soft = torch.sigmoid(logits)
    return (logits > 0).to(soft.dtype) + soft - soft.detach()


def stochastic_gate(logits: Tensor) -> Tensor:
    """Return 1 with probability sigmoid(logit), else exactly 0; the gradient is the sigmoid's (straight-through).

    Binary neurons of the stochastic kind (arXiv 1804.09399, section 3.2).
    """
    soft = torch.sigmoid(logits)
    return (torch.rand_like(soft) < soft).to(soft.dtype) + soft - soft.detach()


def held(logits: Tensor, onset: Tensor | float, release: Tensor | float) -> Tensor:
    """Return which cells sound, bool (..., T): from a logit above `onset` on, until one is not above `release`.

    With two thresholds what varies about one of them does not flicker.
    """
    begins, goes_on = ((logits > gate).movedim(-1, 0).contiguous() for gate in (onset, release))  # (T, ...)
    is_sounding = torch.empty_like(begins)
    now = begins.new_zeros(begins.shape[1:])
    for frame, (begin, go_on) in enumerate(zip(begins, goes_on, strict=True)):
        now = is_sounding[frame] = begin | (now & go_on)
    return is_sounding.movedim(0, -1)


def limit(values: Tensor) -> Tensor:
    """Clip to [0, 1]; outside, pass the gradient unchanged, but only where a descent step leads back inside."""
    return _Limit.apply(values)


class _Limit(torch.autograd.Function):
    """Clip whose gradient survives outside the range."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Clip values of any shape."""
        ctx.save_for_backward(values)
        return values.clamp(0.0, 1.0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Return the gradient, shaped like the values; 0 where a descent step would lead further outside."""
        (values,) = ctx.saved_tensors
        # A descent step moves against the gradient: keep it where that leads up from below 0 or down from above 1.
        stuck = ((values < 0) & (gradient > 0)) | ((values > 1) & (gradient < 0))
        return gradient.masked_fill(stuck, 0.0)

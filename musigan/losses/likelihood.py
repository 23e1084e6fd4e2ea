"""Losses of the variational stage, and likelihoods.

B batch, C channels, K keys, T frames, L latent steps, Z latent dimensions, M components of a mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def reconstruction(roll: Tensor, target: Tensor, beta: float = 0.1) -> Tensor:
    """Return the smooth L1 error between rolls (B, C, K, T) in model space, relative to the target's loudness.

    Mean over all cells of d^2 / (2 beta) for |d| < beta, else |d| - beta / 2 (Huber). Divided by the mean of the
    target's loudness, so that the value reads as a share of what sounds and quiet music is not learned as silence.
    """
    error = F.smooth_l1_loss(roll, target, beta=beta)
    return error / (target.mean() + 0.01)


def activity(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy, in nats per cell, of "this key sounds" (target > 0); all (B, C, K, T)."""
    return F.binary_cross_entropy_with_logits(logits, (target > 0).to(logits.dtype), weight=weights)


ATTACK_WEIGHT = 4.0  # in addition to 1


def attack_weights(onsets: Tensor) -> Tensor:
    """Return weights of cells, (B, C, K, T), from onsets (1 where a key is struck): an attack is two frames of many.

    The frame of the onset and the one before it weigh 1 + ATTACK_WEIGHT, all others 1.
    """
    return 1 + ATTACK_WEIGHT * torch.maximum(onsets, F.pad(onsets, (0, 1))[..., 1:])


def loudness(values: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the Huber error (0.1) of loudness where the target sounds, relative to its loudness; all (B, C, K, T).

    Of cells that are silent in the target the activity alone decides.
    """
    error = F.smooth_l1_loss(values * (target > 0), target, beta=0.1, reduction="none")
    return (error * weights).mean() / (target.mean() + 0.01)


def flow_matching(velocity: Tensor, noise: Tensor, latents: Tensor) -> Tensor:
    """Return the mean squared error of a velocity against the straight path from noise to latents; all (B, L, Z).

    |v(x_t, t) - (latents - noise)|^2 at x_t = noise + t (latents - noise): arXiv 2210.02747, 2209.03003. An untrained
    velocity of 0 costs 2 for standardised latents.
    """
    return (velocity - (latents - noise)).square().mean()


def kl_divergence(mean: Tensor, log_variance: Tensor, free_bits: float = 0.0) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, 1)) in nats per latent number; both (B, L, Z).

    Averaged over batch and time per dimension, then clamped from below at `free_bits` (nats) in each dimension, so that
    no dimension is penalised for carrying a little information (arXiv 1606.04934, appendix C8).
    """
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)  # (B, L, Z)
    return divergence.mean((0, 1)).clamp(min=free_bits).mean()


def mixture_nll(logits: Tensor, means: Tensor, log_deviations: Tensor, target: Tensor) -> Tensor:
    """Return the negative log likelihood of target (B, L, Z) under mixtures of Gaussians, in nats per latent number.

    -log sum_m w_m prod_z N(target_z; mean_mz, deviation_mz), averaged over batch and steps, over Z. The weights are
    softmax(logits), logits (B, L, M); means and log_deviations are (B, L, M, Z). Bishop 1994 (NCRG/94/004), equations
    21 to 23 and 29, with a deviation for each number, summed in logarithms. The standard normal as prediction costs
    1.42 for standardised latents.
    """
    deviations_away = (target[:, :, None] - means) * (-log_deviations).exp()  # (B, L, M, Z)
    constant = 0.5 * math.log(2 * math.pi)
    log_density = -(0.5 * deviations_away.square() + log_deviations + constant).sum(-1)  # (B, L, M)
    return -torch.logsumexp(torch.log_softmax(logits, -1) + log_density, -1).mean() / target.shape[-1]

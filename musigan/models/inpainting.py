"""Going on from given music with a flow that was taught to draw from nothing: what is known stays, the rest is painted.

In each round the transformer's guess of the finished latents is held against those that are known, and all are moved
so that the guess would come nearer: pseudoinverse guidance for flows on straight ways (arXiv 2310.04432, algorithm 1).
Besides, as in RePaint (arXiv 2201.09865), known latents stand where they would be if they had come from their noise.
Music longer than a window is a chain of them, each going on from the end of the one before.

From 10 s each of 16 songs held back, the cosine between the keys used before and after is .59, and where they join the
keys that sound overlap by .57 before `joined` sees to them; from nothing .16 and .11, with RePaint alone (each round
three times) .40 and .50, in the songs themselves .79 and .98.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from musigan.models.joining import joined

if TYPE_CHECKING:
    from musigan.models.musigan import Generator

WINDOW_STEPS = 200  # latents painted in at once


def go_on(generator: Generator, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float) -> Tensor:
    """What comes after the roll `past` (1, C, K, P), of which the last training length counts: (1, C, K, frames)."""
    z = generator.settings.latent_dim
    latents = generator.key_map.new_zeros(1, 0, z) if past is None else _known(generator, past)
    given, reach = latents.shape[1], generator.steps(generator.shape.frames)
    total = given + generator.steps(frames)
    while latents.shape[1] < total:
        known = latents[:, -reach:] if latents.shape[1] else latents
        steps = known.shape[1] + min(WINDOW_STEPS, total - latents.shape[1])
        noise = temperature * torch.randn(1, steps, z, generator=rng).to(latents.device)
        latents = torch.cat((latents, inpaint(generator, known, noise)[:, known.shape[1] :]), 1)
    latents = generator.calibrated(latents)
    if past is None:
        return _decoded(generator, latents, 0)[..., :frames]
    step = generator.token_frames
    return joined(past, _decoded(generator, latents, given - 1)[..., step - 1 :])[..., :frames]


def inpaint(generator: Generator, known: Tensor, noise: Tensor) -> Tensor:
    """Latents (B, L, Z) that begin with `known` (B, P, Z) and go on as music does, from white noise (B, L, Z).

    Before calibration, `known` too. At time t of the way from noise to latents the velocity v(x) gives the guess
    z(x) = x + (1 - t) v(x). Were the latents Gaussian around it with variance r^2 = (1 - t)^2 / ((1 - t)^2 + t^2), the
    likelihood of what is known would have the gradient (dz/dx)^T (known - z) / r^2, and the velocity given it would be
    v + (1 - t) / t times that.
    """
    rounds, first, latents = generator.rounds, known.shape[1], noise
    for index in range(rounds):
        t = index / rounds
        latents = torch.cat(((1 - t) * noise[:, :first] + t * known, latents[:, first:]), 1)
        time = latents.new_full((len(latents),), t)
        with torch.enable_grad():
            latents = latents.detach().requires_grad_()
            velocity = generator.velocity(latents, time)
            guess = (latents + (1 - t) * velocity)[:, :first]
            agreement = (guess * (known - guess).detach()).sum()
        if index and first:  # at time 0 there is nothing yet that could agree
            (gradient,) = torch.autograd.grad(agreement, latents)
            velocity = velocity + ((1 - t) ** 2 + t**2) / (t * (1 - t)) * gradient
        latents = (latents + velocity / rounds).detach()
    return torch.cat((known, latents[:, first:]), 1)


def _known(generator: Generator, past: Tensor) -> Tensor:
    """Latents (1, P, Z) of the end of `past` (1, C, K, T), before calibration, as if its last frame were held.

    The encoder sees a little of what follows; silence there would be heard as an ending.
    """
    step, held = generator.token_frames, generator.decoder_reach
    heard = past[..., -generator.steps(generator.shape.frames) * step :]
    heard = F.pad(heard, (-heard.shape[-1] % step, 0))  # the last step ends where the past does
    steps = heard.shape[-1] // step
    followed = torch.cat((heard, heard[..., -1:].expand(*heard.shape[:3], held * step)), -1)
    return (generator.encode(followed).mean[:, :steps] - generator.latent_offset) / generator.latent_gain


def _decoded(generator: Generator, latents: Tensor, given: int) -> Tensor:
    """The roll of latents (1, L, Z) from step `given` on, in windows that overlap by all that a decoded step sees."""
    step, reach, total, rolls = generator.token_frames, generator.decoder_reach, latents.shape[1], []
    for start in range(given, total, WINDOW_STEPS):
        stop = min(start + WINDOW_STEPS, total)
        low, high = max(start - reach, 0), min(stop + reach, total)
        roll = generator.decode(latents[:, low:high], (high - low) * step).roll
        rolls.append(roll[..., (start - low) * step : (stop - low) * step])
    return torch.cat(rolls, -1)

"""Going on from given music with a flow that was taught to draw from nothing: what is known stays, the rest is painted.

After RePaint (arXiv 2201.09865), for a flow on straight ways (arXiv 2310.04432 compares such methods): in each round
known latents are put where they would be if they had come from noise, the transformer moves all, and what it made of
the others is taken back to where the round began, with fresh noise, and moved again, so that it comes to agree with
what is known. Music longer than a window is a chain of them, each going on from the end of the one before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from musigan.models.musigan import Generator

# Times that a round is gone through. From 10 s of 16 songs held back, the cosine of the keys used before and after was
# .24 with one, .40 with three and with six; .16 from nothing, .79 in the songs themselves.
REPEATS = 3
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
        latents = torch.cat((latents, inpaint(generator, known, noise, rng)[:, known.shape[1] :]), 1)
    latents = generator.latent_offset + generator.latent_gain * latents
    return _decoded(generator, latents, given)[..., :frames]


def inpaint(generator: Generator, known: Tensor, noise: Tensor, rng: torch.Generator, repeats: int = REPEATS) -> Tensor:
    """Latents (B, L, Z) that begin with `known` (B, P, Z) and go on as music does, from white noise (B, L, Z).

    Before calibration, `known` too. At time t of the way x = (1 - t) noise + t latents; from time s back to t < s it is
    t/s x + sqrt((1 - t)^2 - (t/s (1 - s))^2) fresh noise, which has the right share of each.
    """
    rounds, first = generator.rounds, known.shape[1]
    latents = noise
    for index in range(rounds):
        now, then = index / rounds, (index + 1) / rounds
        for again in range(repeats if first and index else 1):  # at time 0 there is nothing yet that could agree
            if again:
                fresh = torch.randn(noise.shape, generator=rng).to(noise.device)
                spread = math.sqrt((1 - now) ** 2 - (now / then * (1 - then)) ** 2)
                latents = now / then * latents + spread * fresh
            placed = (1 - now) * noise[:, :first] + now * known
            latents = torch.cat((placed, latents[:, first:]), 1)
            latents = latents + generator.velocity(latents, latents.new_full((len(latents),), now)) / rounds
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

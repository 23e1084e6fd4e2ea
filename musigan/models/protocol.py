"""What networks hand over, and the least that a generator is. What objectives ask of them: training/objectives/base.py.

B batch, C channels, K keys, T frames, L latent steps, Z latent dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Posterior(NamedTuple):
    """Gaussian of the latents given a roll, both (B, L, Z)."""

    mean: Tensor
    log_variance: Tensor


class Decoded(NamedTuple):
    """`roll` (B, C, K, T) in [0, 1] and `logits` (B, C, K, T): a key sounds where they are above 0."""

    roll: Tensor
    logits: Tensor


class Judgement(NamedTuple):
    """What a critic says: logits (B, 1) by view, the features (B, ...) of the views to match, what its heads tell."""

    logits: dict[str, Tensor]
    features: dict[str, list[Tensor]]
    told: dict[str, Tensor] | None = None  # of the roll, (B, 1) by name; None without heads


class OneShotGenerator(nn.Module):
    """What generators share that turn noise into a roll of the training length at once, with no latents in between.

    They define `draw(batch, frames, rng)` -> noise and `decode(noise, frames, **given)` -> Decoded.
    """

    rounds = 0  # from noise to latents
    halo = None  # a roll has the length it was built for: longer pieces are windows that fade into each other

    def compose(self, latents: Tensor, first: int = 0, last: int | None = None, **given: Tensor) -> Tensor:
        """Latents are the noise itself."""
        return latents

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by what they are for."""
        return {"decoder": list(self.parameters())}

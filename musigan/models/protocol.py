"""What networks hand over, and the least that a generator is. What objectives ask of them: training/objectives/base.py.

B batch, C channels, K keys, T frames, L latent steps, Z latent dimensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
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


MOST_GAIN = 2.0  # of a calibration


class FlowGenerator(nn.Module):
    """What generators share that bring white noise to latents in rounds, each a step along a velocity.

    They define `settings` and `velocity(latents, time, **given)`, and call `register_calibration`.
    """

    settings: Any  # with `rounds`
    velocity: Any
    latent_offset: Tensor
    latent_gain: Tensor

    @property
    def rounds(self) -> int:
        """Rounds from noise to latents."""
        return int(self.settings.rounds)

    def register_calibration(self, latent_dim: int) -> None:
        """Begin without one: it is what brings drawn latents to the spread of real ones (training/calibration.py)."""
        self.register_buffer("latent_offset", torch.zeros(latent_dim))
        self.register_buffer("latent_gain", torch.ones(latent_dim))

    def compose(self, latents: Tensor, first: int = 0, last: int | None = None, **given: Tensor) -> Tensor:
        """Latents (B, L, Z) after the rounds `first` to `last`, from white noise (all rounds) or from halfway."""
        for index in range(first, self.rounds if last is None else last):
            time = latents.new_full((len(latents),), index / self.rounds)
            latents = latents + self.velocity(latents, time, **given) / self.rounds
        return self.calibrated(latents) if last is None or last == self.rounds else latents

    def calibrated(self, latents: Tensor) -> Tensor:
        """Latents (B, L, Z) behind the last round, at the mean and deviation of real ones."""
        return self.latent_offset + self.latent_gain * latents

    def calibrate(self, drawn: Tensor, real: Tensor) -> None:
        """Have `compose` give latents of the mean and deviation of `real` where it gave `drawn`, (B, L, Z) each."""
        gain = real.std((0, 1)) / drawn.std((0, 1)).clamp(min=1e-6)
        gain = gain.clamp(1 / MOST_GAIN, MOST_GAIN)  # networks that have learned nothing are not blown up
        self.latent_offset = real.mean((0, 1)) + gain * (self.latent_offset - drawn.mean((0, 1)))
        self.latent_gain = gain * self.latent_gain

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A checkpoint from before there was a calibration has none."""
        for name in ("latent_offset", "latent_gain"):
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *rest)


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

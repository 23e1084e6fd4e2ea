"""Protocol of the networks: the tuples they return, and what every generator provides.

What objectives require of them: training/objectives/base.py.
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
    """Decoded music: `roll` (B, C, K, T) in [0, 1] and `logits` (B, C, K, T); a key sounds where they are above 0."""

    roll: Tensor
    logits: Tensor


class Judgement(NamedTuple):
    """Critic's output: logits (B, 1) by view, features (B, ...) by view for feature matching, head predictions."""

    logits: dict[str, Tensor]
    features: dict[str, list[Tensor]]
    predictions: dict[str, Tensor] | None = None  # head predictions for the roll, (B, 1) by name; None without heads


MOST_GAIN = 2.0  # of a calibration, and 1 / MOST_GAIN its least gain


class FlowGenerator(nn.Module):
    """Base of generators that turn white noise into latents in flow steps, each a step along a velocity.

    Subclasses define `settings` and `velocity(latents, time, **given)`, and call `register_calibration`.
    """

    settings: Any  # has `flow_steps`
    velocity: Any
    latent_offset: Tensor
    latent_gain: Tensor

    @property
    def flow_steps(self) -> int:
        """Number of flow steps from noise to latents."""
        return int(self.settings.flow_steps)

    def register_calibration(self, latent_dim: int) -> None:
        """Register the identity as calibration.

        A calibration brings sampled latents to the mean and deviation of real ones (training/calibration.py).
        """
        self.register_buffer("latent_offset", torch.zeros(latent_dim))
        self.register_buffer("latent_gain", torch.ones(latent_dim))

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, **conditions: Tensor) -> Tensor:
        """Run the flow steps `first` to `last` on latents (B, L, Z): from white noise (all steps) or from halfway."""
        for index in range(first, self.flow_steps if last is None else last):
            time = latents.new_full((len(latents),), index / self.flow_steps)
            latents = latents + self.velocity(latents, time, **conditions) / self.flow_steps
        return self.calibrated(latents) if last is None or last == self.flow_steps else latents

    def calibrated(self, latents: Tensor) -> Tensor:
        """Bring latents (B, L, Z) after the last flow step to the mean and deviation of real ones."""
        return self.latent_offset + self.latent_gain * latents

    def calibrate(self, drawn: Tensor, real: Tensor) -> None:
        """Set the calibration so that sampled latents `drawn` get the mean and deviation of `real`, (B, L, Z) each."""
        gain = real.std((0, 1)) / drawn.std((0, 1)).clamp(min=1e-6)
        gain = gain.clamp(1 / MOST_GAIN, MOST_GAIN)  # bounds the gain of untrained networks
        self.latent_offset = real.mean((0, 1)) + gain * (self.latent_offset - drawn.mean((0, 1)))
        self.latent_gain = gain * self.latent_gain

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state; checkpoints older than the calibration have none and keep the present one."""
        for name in ("latent_offset", "latent_gain"):
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class OneShotGenerator(nn.Module):
    """Base of generators that turn noise into a roll of the training length at once, with no latents in between.

    Subclasses define `draw(batch, frames, rng)` -> noise and `decode(noise, frames, **given)` -> Decoded.
    """

    flow_steps = 0  # flow steps from noise to latents
    receptive_field = None  # a roll has a fixed length: longer pieces are crossfaded windows

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, **conditions: Tensor) -> Tensor:
        """Return the noise itself as latents."""
        return latents

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        return {"decoder": list(self.parameters())}

"""What an objective is: what one training stage minimises, as named losses per side. One loop runs them all.

A side is a set of parameters with an optimiser of its own. For each side that is to move, the loop asks for its
named losses, weights and sums them, and steps that side's parameters alone. Networks know nothing of this; what
objectives ask of them, each only what its stage needs (`given` are the conditions that `Family.needs` names):

    generator.parts() -> {"encoder" | "prior" | "decoder": parameters}
    generator.encode(roll) -> mean, log_variance            (B, C, K, T) -> (B, L, Z) each; stage `variational`
    generator.velocity(latents, time, **given) -> velocity  (B, L, Z); stage `prior`
    generator.likelihood(roll, rng, **given) -> losses      named scalars; stage `likelihood`
    generator.draw(batch, frames, rng) -> noise             from here on the game's
    generator.compose(latents, first, last, **given) -> latents      (B, L, Z), from noise in `rounds` rounds
    generator.decode(latents, frames, **given) -> roll, logits       (B, C, K, T) each
    critic(roll | None, latents | None, alone, **given) -> logits, features by view, told by head or None;  critic.views
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from musigan.training.configuration import TrainingSettings


@dataclass(frozen=True)
class Moment:
    """Where the stage stands when losses are asked for."""

    step: int  # of this stage, from 0
    progress: float  # 0 to 1 of this stage
    rng: torch.Generator  # seeded by seed, stage, step, side and part: the same moment draws the same numbers
    given: Mapping[str, Tensor] = field(default_factory=dict)  # conditions of the batch, (B, ...) each, by name


@dataclass
class Terms:
    """Named losses of one side (scalars, weighted by the loop) and figures that are only logged."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    figures: dict[str, Tensor] = field(default_factory=dict)


class PerPart:
    """What was computed for the parts of the step under way, so that every side's turn finds what another began."""

    def __init__(self, parts: int) -> None:
        self._parts, self._held = parts, list[tuple[Tensor, Any]]()

    def __contains__(self, real: Tensor) -> bool:
        return any(part is real for part, _ in self._held)

    def __getitem__(self, real: Tensor) -> Any:
        return next(value for part, value in self._held if part is real)

    def __setitem__(self, real: Tensor, value: Any) -> None:
        """Keep `value` for the batch `real`; what belongs to the step before is let go."""
        others = [(part, kept) for part, kept in self._held if part is not real]
        self._held = [*others, (real, value)][-self._parts :]

    def pop(self, real: Tensor) -> Any:
        """The value of the batch `real`, kept no longer."""
        value = self[real]
        self._held = [(part, kept) for part, kept in self._held if part is not real]
        return value


class Objective(ABC):
    """Networks and what is minimised in one stage."""

    name: ClassVar[str]
    title: ClassVar[str]  # for people

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings) -> None:
        self.networks, self.settings = networks, settings
        self.generator: Any = networks["generator"]
        self.critic: Any = dict(networks.items()).get("critic")
        self._posteriors, self._begun = PerPart(settings.accumulate), PerPart(settings.accumulate)

    @abstractmethod
    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Optimiser groups ({"params", "lr"}) of each side, by the side's name."""

    @abstractmethod
    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """The named losses of `side` on a batch of real rolls (B, C, K, T).

        With gradients accumulated a step asks once for each of its batches, always with the same tensor for the same
        batch: what is kept of it from one side's turn to the next goes by that (`PerPart`).
        """

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's momentum settings."""
        first, second = self.settings.adversarial.betas
        return first, second

    def sides(self, step: int) -> list[str]:
        """The sides that move in step `step`, in order."""
        return list(self.groups())

    def frozen(self, progress: float) -> frozenset[str]:
        """The sides that stand still at `progress` (0 to 1) of the stage, though it would be their turn."""
        return frozenset()

    def _encoded(self, real: Tensor) -> Any:
        """Posterior of a batch, while the encoder stands still; all sides of a step ask for the same one."""
        if real not in self._posteriors:
            with torch.no_grad():
                self._posteriors[real] = self.generator.encode(real)
        return self._posteriors[real]

    def factor(self, name: str, progress: float) -> float:
        """Schedule of the weight of the loss `name`: a factor on it."""
        return 1.0


def noise_like(like: Tensor, rng: torch.Generator) -> Tensor:
    """White noise of the shape and device of `like`, drawn on the CPU so that devices agree."""
    return torch.randn(like.shape, generator=rng).to(like.device)


def sampled(posterior: Any, rng: torch.Generator) -> Tensor:
    """A draw from the posterior, (B, L, Z)."""
    return posterior.mean + (0.5 * posterior.log_variance).exp() * noise_like(posterior.mean, rng)

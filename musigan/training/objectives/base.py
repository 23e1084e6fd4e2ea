"""Base of the objectives: what one training stage minimises, as named losses per side. One loop runs them all.

A side is a set of parameters with an optimiser of its own. For each side that is to move, the loop computes its named
losses, weights and sums them, and steps that side's parameters alone. Networks know nothing of this. What a stage needs
of them is the protocol that its objective declares for `generator` (and `critic`): see `musigan.models.protocol`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from musigan.checkpoints.settings import TrainingSettings
from musigan.models.protocol import Autoencoder, Generator, Posterior

Value = TypeVar("Value")


@dataclass(frozen=True)
class StepContext:
    """Position in the stage, random generator and conditions for one computation of losses."""

    step: int  # of this stage, from 0
    progress: float  # 0 to 1 of this stage
    rng: torch.Generator  # seeded by seed, stage, step, turn and batch, so that a resumed run draws the same
    conditions: Mapping[str, Tensor] = field(default_factory=dict)  # conditions of the batch, (B, ...) each, by name


@dataclass
class Terms:
    """Named losses of one side (scalars, weighted by the loop) and figures, which are only logged."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    figures: dict[str, Tensor] = field(default_factory=dict)


class BatchCache(Generic[Value]):
    """Values computed for each batch of the current step, shared by the turns of its sides."""

    def __init__(self, parts: int) -> None:
        self._parts, self._held = parts, list[tuple[Tensor, Value]]()

    def __contains__(self, real: Tensor) -> bool:
        return any(part is real for part, _ in self._held)

    def __getitem__(self, real: Tensor) -> Value:
        return next(value for part, value in self._held if part is real)

    def __setitem__(self, real: Tensor, value: Value) -> None:
        """Store `value` for the batch `real`, and drop the values of the step before."""
        others = [(part, held) for part, held in self._held if part is not real]
        self._held = [*others, (real, value)][-self._parts :]

    def pop(self, real: Tensor) -> Value:
        """Return the value of the batch `real` and drop it."""
        value = self[real]
        self._held = [(part, held) for part, held in self._held if part is not real]
        return value


class Objective(ABC):
    """Networks and the losses that one stage minimises; subclasses say what they need of the generator."""

    generator: Generator
    name: ClassVar[str]  # of the stage in which it is minimised, one of `models.stages.STAGES`

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings, pitched: int | None = None) -> None:
        self.networks, self.settings = networks, settings
        self.pitched = pitched  # the number of the first channels in which a key is a pitch; None: all
        self.generator = cast(Generator, networks["generator"])
        self._posteriors = BatchCache[Posterior](settings.accumulate)

    @abstractmethod
    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return the optimiser groups ({"params", "lr"}) of each side, by the side's name."""

    @abstractmethod
    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the named losses of `side` on a batch of real rolls (B, C, K, T).

        With accumulated gradients a step calls this once for each of its batches. All sides get the same tensor
        object for the same batch, which is the key to values shared between turns (`BatchCache`).
        """

    def begin(self, dataset: Any) -> None:  # noqa: B027  (most stages need none)
        """Prepare the networks for the stage, once, before its first step."""

    def examples(self, dataset: Any) -> Any:
        """Return what the stage learns from: the dataset itself, or examples made of it by the networks as they are.

        They have what batches need: a length, `seed`, and `example(epoch, index)`.
        """
        return dataset

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = self.settings.adversarial.betas
        return first, second

    def sides(self, step: int) -> list[str]:
        """Return the sides that move in step `step`, in order."""
        return list(self.groups())

    def frozen(self, progress: float) -> frozenset[str]:
        """Return the sides that skip their turns at `progress` (0 to 1) of the stage."""
        return frozenset()

    def _posterior_of(self, real: Tensor, conditions: Mapping[str, Tensor]) -> Posterior:
        """Return the posterior of a batch from the frozen encoder, computed once for all sides of a step."""
        if real not in self._posteriors:
            with torch.no_grad():
                self._posteriors[real] = cast(Autoencoder, self.generator).encode(real, **conditions)
        return self._posteriors[real]

    def factor(self, name: str, progress: float) -> float:
        """Return the factor on the weight of the loss `name` at `progress` (0 to 1) of the stage."""
        return 1.0


def noise_like(like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw white noise of the shape and device of `like`, on the CPU so that devices agree."""
    return torch.randn(like.shape, generator=rng).to(like.device)


def sampled(posterior: Posterior, rng: torch.Generator) -> Tensor:
    """Draw latents (B, L, Z) from the posterior."""
    return posterior.mean + (0.5 * posterior.log_variance).exp() * noise_like(posterior.mean, rng)

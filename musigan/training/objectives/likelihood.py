"""The stage of families that are trained by likelihood alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from musigan.training.objectives.base import Objective, StepContext, Terms


class Likelihood(Objective):
    """The generator's own likelihood losses on real rolls, by name."""

    name = "likelihood"
    title = "learning what comes next"

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return one side: the generator's part `prior`."""
        rate = self.settings.likelihood.learning_rate
        return {"generator": [{"params": self.generator.parts()["prior"], "lr": rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = self.settings.likelihood.betas
        return first, second

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the generator's named losses on real (B, C, K, T)."""
        return Terms(dict(self.generator.likelihood(real, context.rng, **context.conditions)))

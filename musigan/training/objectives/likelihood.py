"""The stage of families that say how likely music is: they learn by that alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from musigan.training.objectives.base import Moment, Objective, Terms


class Likelihood(Objective):
    """What the generator's own likelihood says of real rolls, by name."""

    name = "likelihood"
    title = "learning what comes next"

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """One side: what the generator calls its prior."""
        rate = self.settings.likelihood.learning_rate
        return {"generator": [{"params": self.generator.parts()["prior"], "lr": rate}]}

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's momentum settings."""
        first, second = self.settings.likelihood.betas
        return first, second

    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """The generator's named losses on real (B, C, K, T)."""
        return Terms(dict(self.generator.likelihood(real, moment.rng, **moment.given)))

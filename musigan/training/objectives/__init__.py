"""Training objectives, by the name of the stage in which each is minimised."""

from __future__ import annotations

from musigan.training.objectives.adversarial import Adversarial, CriticOnly
from musigan.training.objectives.bars import Codec, Composition
from musigan.training.objectives.base import Objective, StepContext, Terms
from musigan.training.objectives.latents import Likelihood, Prior, Variational
from musigan.training.objectives.translation import Translation

__all__ = ["OBJECTIVES", "Adversarial", "Objective", "StepContext", "Terms"]

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind
    for kind in (Variational, Prior, Codec, Composition, Likelihood, CriticOnly, Adversarial, Translation)
}

"""Stages of training: what each is called, costs and shares, for the loop, the settings, the report and the reference.

What a stage minimises is its objective in `musigan.training.objectives`, under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

ACCURACIES = ("accuracy_roll", "accuracy_latent", "accuracy_chroma")  # of a critic, by what it looks at


@dataclass(frozen=True)
class Stage:
    """One stage of training."""

    name: str  # in plans, logs and checkpoints
    title: str  # for people, when it begins
    cost: float  # time of an epoch relative to a variational one: of the preset small, roughly right for others
    share: float = 0.0  # weight in the division of the epochs before the adversarial stage; 0 for those counted apart
    is_validated: bool = False  # whether its losses mean the same on held-out songs
    is_adversarial: bool = False  # whether several sides, each with its own losses, are trained against each other
    can_sample: bool = True  # whether samples can be drawn in it: the generator is trained to draw, or was before
    figures: tuple[str, ...] = ()  # losses and figures that tell most of it, and are shown first

    @property
    def draws_anew(self) -> bool:
        """Whether what is drawn after the stage differs from before: its generator has learned to draw."""
        return self.can_sample and self.name != "critic"


# An epoch of the prior stage takes half the time of a variational one, and the prior has more to learn.
STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "variational", "learning to encode rolls as latents", 1.0, share=2, is_validated=True, can_sample=False,
            figures=("overlap",),
        ),
        Stage("prior", "training the transformer", 0.5, share=3, figures=("flow",)),
        Stage(
            "codec", "learning to write bars as latents", 1.0, share=1, is_validated=True, can_sample=False,
            figures=("overlap",),
        ),
        Stage("composer", "learning how music goes on", 0.3, share=4, is_validated=True, figures=("flow",)),
        Stage("likelihood", "learning what comes next", 1.0, share=3, is_validated=True, figures=("frame_nats", "nll")),
        Stage("critic", "training the critic", 1.2, figures=ACCURACIES),
        Stage("adversarial", "generator against critic", 2.0, is_adversarial=True, figures=ACCURACIES),
        Stage(
            "translation", "generators in both directions against a critic of each kind", 4.0, is_validated=True,
            is_adversarial=True, figures=ACCURACIES,
        ),
    )
}  # fmt: skip

ADVERSARIAL_STAGES = tuple(stage.name for stage in STAGES.values() if stage.is_adversarial)

"""The stage of families that translate between two kinds of music, trained on unpaired songs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.checkpoints.settings import TrainingSettings
from musigan.errors import SettingsError
from musigan.losses import adversarial
from musigan.losses.translation import harmony, l1_difference, likeness
from musigan.models.protocol import FakePool, KindCritic, KindStatistics, Translator
from musigan.training.objectives.base import BatchCache, Objective, StepContext, Terms, noise_like

SURE = 1.0  # logit from which on music is taken for its kind well enough
STATISTICS_NOISE = 1.0  # deviations

MOST_SLOPE = 10.0  # norm of a loss's gradient by one roll; it is about 1


def bounded(gradient: Tensor) -> Tensor:
    """Return the gradient by rolls (B, C, K, T), none with a norm above MOST_SLOPE.

    What comes back through one generator goes on through the other, and a large one became larger than any number.
    """
    norms = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
    return gradient * (MOST_SLOPE / norms).clamp(max=1.0)[:, None, None, None]


class Translation(Objective):
    """Generators in both directions, a critic for each kind: adversarial, cycle, identity and harmony losses.

    A batch holds rolls of the first kind and, as the condition `other`, as many of the second.
    """

    generator: Translator
    name = "translation"

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings, pitched: int | None = None) -> None:
        super().__init__(networks, settings, pitched)
        _refuse_unread(settings)
        self.critic, self.pool = cast(KindCritic, networks["critic"]), cast(FakePool, networks["pool"])
        self.statistics = cast(KindStatistics, networks["statistics"]) if "statistics" in networks else None
        self._fakes = BatchCache[tuple[Tensor, ...]](settings.accumulate)

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return both generators as one side and both critics as the other."""
        rates = self.settings.adversarial.decoder_learning_rate, self.settings.adversarial.critic_learning_rate
        return {
            side: [{"params": list(self.networks[side].parameters()), "lr": rate}]
            for side, rate in zip(("generator", "critic"), rates, strict=True)
        }

    def sides(self, step: int) -> list[str]:
        """Return the generators first, then the critics, `critic_steps` times, on the rolls just generated."""
        return ["generator"] + ["critic"] * self.settings.adversarial.critic_steps

    def frozen(self, progress: float) -> frozenset[str]:
        """Return the sides that the settings freeze at `progress`."""
        return self.settings.adversarial.frozen(progress)

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the losses of one side on real (B, C, K, T) of the first kind, and as many of the second."""
        kinds = (real, context.conditions["other"])
        return self._generator_losses(kinds, context) if side == "generator" else self._critic_losses(kinds, context)

    def _adversary(self) -> adversarial.AdversarialObjective:
        return adversarial.ADVERSARIES[self.settings.adversarial.objective]

    def _noise(self, context: StepContext) -> Callable[[Tensor], Tensor]:
        """Return what adds instance noise: without it a critic judges by the faintest cells' loudness (1809.07575)."""
        return lambda values: values + self.settings.adversarial.instance_noise * noise_like(values, context.rng)

    def _blur(self, context: StepContext) -> Callable[[Tensor], Tensor]:
        """Return what blurs statistics: told apart without it, few songs are soon known one by one."""
        return lambda found: found + STATISTICS_NOISE * noise_like(found, context.rng)

    def _translated(self, roll: Tensor, to: int) -> Tensor:
        """Return rolls (B, C, K, T) of one kind as the other, through which gradients are bounded."""
        fake = self.generator.translate(roll, to)
        if fake.requires_grad:
            fake.register_hook(bounded)
        return fake

    def _generator_losses(self, kinds: tuple[Tensor, Tensor], context: StepContext) -> Terms:
        """Compute the generators' losses: to the other kind (adversarial, harmony), and back (cycle), and identity."""
        adversary, losses, noise = self._adversary(), dict[str, list[Tensor]](), self._noise(context)
        fakes = tuple(self._translated(kinds[1 - kind], kind) for kind in range(2))
        self._fakes[kinds[0]] = tuple(fake.detach() for fake in fakes)
        own = [self.statistics.follow(real, kind) for kind, real in enumerate(kinds)] if self.statistics else []
        for kind, real in enumerate(kinds):
            fake_logits = self.critic.judge(fakes[kind], kind, noise)
            with torch.no_grad():  # for objectives that compare real and fake logits
                real_logits = self.critic.judge(real, kind, noise)
            losses.setdefault("adversarial_roll", []).append(adversary.generator(real_logits, fake_logits, 0.0))
            cycled = self.generator.translate(fakes[1 - kind], kind) if self.settings.weight("cycle") else None
            if cycled is not None:
                # Drums that one kind has and the other has not cannot come back as they were.
                losses.setdefault("cycle", []).append(l1_difference(cycled[:, : self.pitched], real[:, : self.pitched]))
            if self.statistics and self.settings.weight("place"):
                wanted = self.statistics.place(own[1 - kind], kind)
                distances = [self.statistics.distance(fakes[kind], wanted, kind)]
                if cycled is not None:
                    distances.append(self.statistics.distance(cycled, own[kind], kind))
                losses.setdefault("place", []).extend(distances)
            if self.statistics and self.settings.weight("kind"):
                told = self.critic.tell(self.statistics.measured(fakes[kind]), kind, self._blur(context))
                if told is not None:
                    losses.setdefault("kind", []).append((SURE - told).clamp(min=0).mean())
            notes, song = fakes[kind][:, : self.pitched], kinds[1 - kind][:, : self.pitched]
            for name, loss in (("harmony", harmony), ("likeness", likeness)):
                if self.settings.weight(name):
                    losses.setdefault(name, []).append(loss(notes, song))
            if self.settings.weight("identity"):
                losses.setdefault("identity", []).append(l1_difference(self.generator.translate(real, kind), real))
        with torch.no_grad():
            changes = [l1_difference(fake, kinds[1 - kind]) for kind, fake in enumerate(fakes)]
        return Terms({name: _mean(each) for name, each in losses.items()}, {"change": _mean(changes)})

    def _critic_losses(self, kinds: tuple[Tensor, Tensor], context: StepContext) -> Terms:
        """Compute the critics' losses: real rolls of a kind against fakes made from the other, now or earlier."""
        adversary, settings, noise = self._adversary(), self.settings.adversarial, self._noise(context)
        if kinds[0] not in self._fakes:  # the generators are frozen
            with torch.no_grad():
                self._fakes[kinds[0]] = tuple(self.generator.translate(kinds[1 - kind], kind) for kind in range(2))
        losses, accuracies = [], []
        for kind, real in enumerate(kinds):
            fake = self.pool.exchange(self._fakes[kinds[0]][kind], kind, context.rng)
            real_logits = self.critic.judge(real, kind, noise)
            fake_logits = self.critic.judge(fake, kind, noise)
            losses.append(adversary.critic(real_logits, fake_logits, settings.label_smoothing))
            threshold = adversary.decision_threshold(real_logits, fake_logits)
            accuracies.append(
                ((real_logits > threshold).float().mean() + (fake_logits <= threshold).float().mean()) / 2
            )
        terms = Terms({"critic_roll": _mean(losses)}, {"accuracy_roll": _mean(accuracies)})
        for kind, real in enumerate(kinds if self.statistics else ()):
            assert self.statistics is not None
            told = self.critic.tell(self.statistics.measured(real), kind, self._blur(context))
            if told is not None:
                terms.losses["critic_kind"] = terms.losses.get("critic_kind", 0.0) + F.softplus(-told).mean() / 2
        return terms


def _refuse_unread(settings: TrainingSettings) -> None:
    """Raise SettingsError for settings of other adversarial stages, which would do nothing here."""
    adversarial_settings = settings.adversarial
    unread_settings = {
        "adversarial.objective: wgan": adversarial_settings.objective == "wgan",
        "loss_weights.penalty_roll": settings.weight("penalty_roll"),
        "adversarial.adaptive": adversarial_settings.adaptive,
    }
    for name, is_set in unread_settings.items():
        if is_set:
            raise SettingsError(
                f"setting '{name}' is not for the model {settings.model}, whose critics have no penalties and see "
                "rolls as they are; leave it out"
            )


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()

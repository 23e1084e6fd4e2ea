"""The stage of families that turn one kind of music into another without a song that exists as both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from musigan.errors import SettingsError
from musigan.losses import adversarial
from musigan.losses.translation import harmony, kept
from musigan.training.configuration import TrainingSettings
from musigan.training.objectives.base import Moment, Objective, PerPart, Terms, noise_like


class Translation(Objective):
    """Generators there and back against a critic for each kind: adversarial, cycle, identity and harmony losses.

    A batch holds rolls of the first kind, and under the condition `other` as many of the second.
    """

    name = "translation"
    title = "generators there and back against a critic of each kind"

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings) -> None:
        super().__init__(networks, settings)
        _refuse_unread(settings)
        self.pool: Any = networks["pool"]
        self._fakes = PerPart(settings.accumulate)

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Both generators, both critics."""
        chosen = self.settings.adversarial
        return {
            "generator": [{"params": list(self.generator.parameters()), "lr": chosen.decoder_learning_rate}],
            "critic": [{"params": list(self.critic.parameters()), "lr": chosen.critic_learning_rate}],
        }

    def sides(self, step: int) -> list[str]:
        """The generators, whose rolls the critics then see, as many times as they step."""
        return ["generator"] + ["critic"] * self.settings.adversarial.critic_steps

    def frozen(self, progress: float) -> frozenset[str]:
        """What the settings say of each side."""
        return self.settings.adversarial.frozen(progress)

    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """Losses of one side on real (B, C, K, T) of the first kind, and as many of the second."""
        kinds = (real, moment.given["other"])
        return self._generator_losses(kinds, moment) if side == "generator" else self._critic_losses(kinds, moment)

    def _adversary(self) -> adversarial.Adversary:
        return adversarial.ADVERSARIES[self.settings.adversarial.objective]

    def _blurred(self, roll: Tensor, moment: Moment) -> Tensor:
        """Under noise, without which a critic looks at how loud the faintest cells are (arXiv 1809.07575)."""
        return roll + self.settings.adversarial.instance_noise * noise_like(roll, moment.rng)

    def _generator_losses(self, kinds: tuple[Tensor, Tensor], moment: Moment) -> Terms:
        """Each real roll as the other kind, that one back, and the other kind's real rolls as what they are."""
        adversary, found = self._adversary(), dict[str, list[Tensor]]()
        fakes = tuple(self.generator.translate(kinds[1 - kind], kind) for kind in range(2))
        self._fakes[kinds[0]] = tuple(fake.detach() for fake in fakes)
        for kind, real in enumerate(kinds):
            said = self.critic.judge(self._blurred(fakes[kind], moment), kind)
            with torch.no_grad():  # for objectives that compare
                truth = self.critic.judge(self._blurred(real, moment), kind)
            found.setdefault("adversarial_roll", []).append(adversary.generator(truth, said, 0.0))
            if self.settings.weight("cycle"):
                back = self.generator.translate(fakes[1 - kind], kind)
                found.setdefault("cycle", []).append(kept(back, real))
            if self.settings.weight("harmony"):
                found.setdefault("harmony", []).append(harmony(fakes[kind], kinds[1 - kind]))
            if self.settings.weight("identity"):
                found.setdefault("identity", []).append(kept(self.generator.translate(real, kind), real))
        with torch.no_grad():
            changed = [kept(fake, kinds[1 - kind]) for kind, fake in enumerate(fakes)]
        return Terms({name: _mean(each) for name, each in found.items()}, {"change": _mean(changed)})

    def _critic_losses(self, kinds: tuple[Tensor, Tensor], moment: Moment) -> Terms:
        """Real rolls of a kind against those made of the other, now or earlier."""
        adversary, chosen = self._adversary(), self.settings.adversarial
        if kinds[0] not in self._fakes:  # the generators stand still
            with torch.no_grad():
                self._fakes[kinds[0]] = tuple(self.generator.translate(kinds[1 - kind], kind) for kind in range(2))
        losses, right = [], []
        for kind, real in enumerate(kinds):
            fake = self.pool.exchange(self._fakes[kinds[0]][kind], kind, moment.rng)
            real_said = self.critic.judge(self._blurred(real, moment), kind)
            fake_said = self.critic.judge(self._blurred(fake, moment), kind)
            losses.append(adversary.critic(real_said, fake_said, chosen.label_smoothing))
            border = adversary.border(real_said, fake_said)
            right.append(((real_said > border).float().mean() + (fake_said <= border).float().mean()) / 2)
        return Terms({"critic_roll": _mean(losses)}, {"accuracy_roll": _mean(right)})


def _refuse_unread(settings: TrainingSettings) -> None:
    """Raise SettingsError for settings of other games, which would do nothing here."""
    chosen = settings.adversarial
    given = {
        "adversarial.objective: wgan": chosen.objective == "wgan",
        "loss_weights.penalty_roll": settings.weight("penalty_roll"),
        "adversarial.adaptive": chosen.adaptive,
    }
    for name, wanted in given.items():
        if wanted:
            raise SettingsError(
                f"setting '{name}' is not for the model {settings.model}, whose critics have no penalties and see "
                "rolls as they are; leave it out"
            )


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()

"""The game of generator and critic, and the critic's side of it alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from musigan.losses import adversarial, likelihood
from musigan.losses.musical import MUSICAL, TOLD
from musigan.training import penalties
from musigan.training.augmentation import Augmentation
from musigan.training.configuration import TrainingSettings
from musigan.training.objectives.base import Moment, Objective, Terms, noise_like, sampled
from musigan.training.objectives.latents import flow


def _said_of(view: str, said: Any) -> Tensor:
    """Logits (B, 1) of all that a critic makes of one input: of a roll, its pitch classes too."""
    logits: Tensor = said.logits[view]
    return logits + said.logits["chroma"] if view == "roll" and "chroma" in said.logits else logits


class Adversarial(Objective):
    """Noise to rolls against the critic, which also sees latents; the encoder stands still.

    Whole rolls are decoded and judged every `roll_every` steps, latents in every step: they are a few hundred
    numbers a second, so most steps are cheap (Musika, arXiv 2208.08706).
    """

    name = "adversarial"
    title = "generator against critic"
    steers = True  # the probability of augmentations, if there are any

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings) -> None:
        super().__init__(networks, settings)
        self.augmentation: Any = None
        if settings.adversarial.adaptive:
            if "augmentation" not in networks:
                networks["augmentation"] = Augmentation().to(next(self.critic.parameters()).device)
            self.augmentation = networks["augmentation"]

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Critic and generator; the decoder, already taught, moves more slowly than the transformer."""
        parts, chosen = self.generator.parts(), self.settings.adversarial
        generator = [
            {"params": parts.get("prior", []), "lr": chosen.learning_rate},
            {"params": parts.get("decoder", []), "lr": chosen.decoder_learning_rate},
        ]
        critic = [{"params": list(self.critic.parameters()), "lr": chosen.critic_learning_rate}]
        return {"critic": critic, "generator": [group for group in generator if group["params"]]}

    def sides(self, step: int) -> list[str]:
        """The critic, as many times as it steps, then the generator."""
        return ["critic"] * self.settings.adversarial.critic_steps + ["generator"]

    def frozen(self, progress: float) -> frozenset[str]:
        """What the settings say of each side."""
        return self.settings.adversarial.frozen(progress)

    def whole(self, step: int) -> bool:
        """Whether rolls are decoded and judged in this step."""
        return "latent" not in self.critic.views or step % self.settings.adversarial.roll_every == 0

    def losses(self, side: str, real: Tensor, moment: Moment) -> Terms:
        """Losses of one side on real (B, C, K, T)."""
        if self.augmentation is not None:
            chosen = self.settings.adversarial
            self.augmentation.enter(moment.step, chosen.adaptive_target, chosen.adaptive_rolls)
        with torch.no_grad():
            posterior = self._encoded(real, moment.given) if "latent" in self.critic.views else None
            truth = {"roll": real if self.whole(moment.step) else None}
            truth["latent"] = None if posterior is None else sampled(posterior, moment.rng)
        if side == "critic" or real not in self._begun:
            with torch.no_grad():
                self._begun[real] = self._begin(real, moment)
        if side == "critic":
            with torch.no_grad():
                fake = self._fake(real, self._begun[real], moment)
            return self._critic_losses(truth, fake, moment)
        fake = self._fake(real, self._begun.pop(real), moment)
        return self._generator_losses(truth, fake, moment)

    def _early_rounds(self) -> int:
        """Rounds of the generator that the game does not teach."""
        return max(self.generator.rounds - self.settings.adversarial.learning_rounds, 0)

    def _begin(self, real: Tensor, moment: Moment) -> Tensor:
        """Noise for as many pieces as there are real ones, through the rounds that are not taught: (B, L, Z).

        The generator's turn goes on from what the critic's began: nothing has moved there in between.
        """
        noise = self.generator.draw(len(real), real.shape[-1], moment.rng)
        return self.generator.compose(noise, 0, self._early_rounds(), **moment.given)

    def _fake(self, real: Tensor, begun: Tensor, moment: Moment) -> dict[str, Tensor | None]:
        """Generated latents and, where due, rolls, from what was begun: views of as many pieces as real ones."""
        frames = real.shape[-1]
        latents = self.generator.compose(begun, self._early_rounds(), **moment.given)
        roll = self.generator.decode(latents, frames, **moment.given).roll if self.whole(moment.step) else None
        return {"roll": roll, "latent": latents if "latent" in self.critic.views else None}

    def _changed(self, views: dict[str, Tensor | None], moment: Moment) -> dict[str, Tensor | None]:
        """The views with rolls augmented, if that is asked for: real and fake alike."""
        if self.augmentation is None or views["roll"] is None:
            return views
        return {**views, "roll": self.augmentation(views["roll"], moment.rng)}

    def _blurred(self, views: dict[str, Tensor | None], moment: Moment) -> dict[str, Any]:
        """The views under instance noise (arXiv 1610.04490): real and fake alike."""
        amounts = {"roll": self.settings.adversarial.instance_noise, "latent": self.settings.adversarial.latent_noise}
        return {
            k: v if v is None or not amounts[k] else v + amounts[k] * noise_like(v, moment.rng)
            for k, v in views.items()
        }

    def factor(self, name: str, progress: float) -> float:
        """Penalties' weights may fall to a tenth, by a cosine (arXiv 2501.05441: the steps at the end can be small)."""
        decay = self.settings.adversarial.penalty_decay
        if not decay or not name.startswith("penalty_"):
            return 1.0
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(progress / decay, 1.0)))

    def _judge(self, views: dict[str, Any], given: Mapping[str, Tensor]) -> Any:
        return self.critic(views["roll"], views["latent"], **given)

    def _critic_losses(self, truth: dict[str, Tensor | None], fake: dict[str, Tensor | None], moment: Moment) -> Terms:
        """The critic's half on detached fakes; accuracy over both."""
        chosen, terms = self.settings.adversarial, Terms()
        adversary = adversarial.ADVERSARIES[chosen.objective]
        truth, fake = self._changed(truth, moment), self._changed(fake, moment)
        shown = self._blurred(truth, moment), self._blurred(fake, moment)
        penalised = [v for v, x in shown[0].items() if x is not None and self.settings.weight(f"penalty_{v}")]
        for inputs in shown:
            inputs.update({view: inputs[view].detach().requires_grad_() for view in penalised})
        real_said, fake_said = self._judge(shown[0], moment.given), self._judge(shown[1], moment.given)
        for view, logits in real_said.logits.items():
            other = fake_said.logits[view]
            terms.losses[f"critic_{view}"] = adversary.critic(logits, other, chosen.label_smoothing)
            border = adversary.border(logits, other)
            right = (logits > border).float().mean() + (other <= border).float().mean()
            terms.figures[f"accuracy_{view}"] = (right / 2).detach()
            if view == "roll" and self.augmentation is not None:
                terms.figures["augmentation"] = self.augmentation.probability.clone()
                if self.steers:
                    self.augmentation.watch(torch.sign(logits.detach() - border))
        for view in penalised:
            pair = [
                penalties.Seen(x[view], _said_of(view, y)) for x, y in zip(shown, (real_said, fake_said), strict=True)
            ]
            judge = self._judge_of(view, moment.given)
            terms.losses[f"penalty_{view}"] = penalties.penalty(chosen, judge, pair[0], pair[1], moment.rng)
        terms.losses |= self._mismatched(shown[0], real_said, moment)
        terms.losses |= self._told(truth, fake, (real_said, fake_said))
        return terms

    def _told(self, truth: dict[str, Any], fake: dict[str, Any], said: Any) -> dict[str, Tensor]:
        """Errors of what the critic's heads tell of real and fake rolls, before the noise that it saw them under."""
        real_told, fake_told = said[0].told or {}, said[1].told or {}
        return {
            f"critic_{name}": TOLD[name](real_told[name], truth["roll"]) + TOLD[name](fake_told[name], fake["roll"])
            for name in real_told
        }

    def _mismatched(self, shown: dict[str, Any], real_said: Any, moment: Moment) -> dict[str, Tensor]:
        """The critic's loss on real rolls with another's conditions, which count as fakes (arXiv 1605.05396)."""
        if not moment.given or not self.settings.weight("critic_mismatch"):
            return {}
        others = {name: value.roll(1, 0) for name, value in moment.given.items()}
        adversary = adversarial.ADVERSARIES[self.settings.adversarial.objective]
        smoothing = self.settings.adversarial.label_smoothing
        said = self._judge(shown, others).logits
        losses = [adversary.critic(real_said.logits[view], said[view], smoothing) for view in said]
        return {"critic_mismatch": torch.stack(losses).mean()}

    def _judge_of(self, view: str, given: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """The critic as a function of one view alone, to its logits (B, 1)."""
        return lambda inputs: _said_of(view, self._judge({"roll": None, "latent": None, view: inputs}, given))

    def _generator_losses(
        self, truth: dict[str, Tensor | None], fake: dict[str, Tensor | None], moment: Moment
    ) -> Terms:
        """The generator's half, features to match, musical helpers, and the anchor that keeps the decoder honest."""
        chosen, terms = self.settings.adversarial, Terms()
        adversary = adversarial.ADVERSARIES[chosen.objective]
        with torch.no_grad():
            real_said = self._judge(self._blurred(self._changed(truth, moment), moment), moment.given)
        fake_said = self._judge(self._blurred(self._changed(fake, moment), moment), moment.given)
        for view, logits in fake_said.logits.items():
            terms.losses[f"adversarial_{view}"] = adversary.generator(real_said.logits[view], logits, 0.0)
            if self.settings.weight(f"features_{view}"):
                terms.losses[f"features_{view}"] = adversarial.feature_matching(
                    real_said.features[view], fake_said.features[view]
                )
        if truth["latent"] is not None and self.settings.weight("flow"):
            terms.losses["flow"] = flow(self.generator, truth["latent"], moment.rng, moment.given)
        if truth["roll"] is not None and fake["roll"] is not None:
            for name, loss in MUSICAL.items():
                if self.settings.weight(name):
                    terms.losses[name] = loss(fake["roll"], truth["roll"])
            terms.losses |= self._anchors(truth, moment)
        return terms

    def _anchors(self, truth: dict[str, Any], moment: Moment) -> dict[str, Tensor]:
        """Reconstruction of real rolls from their latents: the decoder must go on writing what it learned."""
        anchored = self.settings.weight("anchor") or self.settings.weight("anchor_activity")
        if not anchored or not hasattr(self.generator, "encode"):
            return {}
        roll, latents = truth["roll"], truth["latent"]
        if latents is None:
            latents = sampled(self._encoded(roll, moment.given), moment.rng)
        decoded = self.generator.decode(latents, roll.shape[-1], **moment.given)
        return {
            "anchor": likelihood.reconstruction(decoded.roll, roll),
            "anchor_activity": likelihood.activity(decoded.logits, roll),
        }


class CriticAlone(Adversarial):
    """The critic's side of the game with the generator standing still: it meets the real game prepared."""

    name = "critic"
    title = "teaching the critic"
    steers = False  # against a generator that stands still it is to become sure

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """The critic only."""
        return {"critic": super().groups()["critic"]}

    def sides(self, step: int) -> list[str]:
        """The critic only."""
        return ["critic"]

    def factor(self, name: str, progress: float) -> float:
        """Penalties begin to fall with the game itself."""
        return 1.0

    def frozen(self, progress: float) -> frozenset[str]:
        """None: the settings speak of the game."""
        return frozenset()

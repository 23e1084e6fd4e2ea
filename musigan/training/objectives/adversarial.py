"""The adversarial stage, generator against critic, and the stage that trains the critic alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from musigan import models
from musigan.checkpoints.settings import TrainingSettings
from musigan.losses import adversarial, likelihood
from musigan.losses.musical import HEAD_LOSSES, MUSICAL
from musigan.models.augmentation import Augmentation
from musigan.models.protocol import Critic, Flow, Judgement, NoiseGenerator
from musigan.training import penalties
from musigan.training.objectives import bars
from musigan.training.objectives.base import BatchCache, Objective, StepContext, Terms, noise_like, sampled
from musigan.training.objectives.latents import flow

Views = dict[str, Tensor]  # a critic's inputs: "roll" (B, C, K, T) and "latent" (B, L, Z), or one of them


def _summed_logits(view: str, judgement: Judgement) -> Tensor:
    """Sum a critic's logits on one input, (B, 1): those of a roll and of its pitch classes."""
    logits = judgement.logits[view]
    return logits + judgement.logits["chroma"] if view == "roll" and "chroma" in judgement.logits else logits


class Adversarial(Objective):
    """Generator of rolls from noise against the critic, which also judges latents; the encoder is frozen.

    Whole rolls are decoded and judged every `roll_every` steps, latents in every step. Latents are only a few hundred
    numbers per second of music, so most steps are cheap (Musika, arXiv 2208.08706).
    """

    generator: NoiseGenerator
    name = "adversarial"
    steers = True  # whether the stage adapts the probability of augmentations, if there are any

    def __init__(self, networks: nn.ModuleDict, settings: TrainingSettings, pitched: int | None = None) -> None:
        super().__init__(networks, settings, pitched)
        family = models.family(settings.model)
        self.critic, self.encodes, self.composes = cast(Critic, networks["critic"]), family.encodes, family.on_beats
        is_augmented = settings.adversarial.adaptive
        self.augmentation = cast(Augmentation, networks["augmentation"]) if is_augmented else None
        self._started_latents = BatchCache[Tensor](settings.accumulate)

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return critic and generator; the decoder, already trained, has a lower rate than the transformer."""
        parts, settings = self.generator.parts(), self.settings.adversarial
        generator = [
            {"params": parts.get("prior", []), "lr": settings.learning_rate},
            {"params": parts.get("decoder", []), "lr": settings.decoder_learning_rate},
        ]
        critic = [{"params": list(self.networks["critic"].parameters()), "lr": settings.critic_learning_rate}]
        return {"critic": critic, "generator": [group for group in generator if group["params"]]}

    def examples(self, dataset: Any) -> Any:
        """Return what is judged beside what is generated: what a composer draws has its attacks on the grid."""
        return dataset.tightened() if self.composes else dataset

    def sides(self, step: int) -> list[str]:
        """Return the critic, `critic_steps` times, then the generator."""
        return ["critic"] * self.settings.adversarial.critic_steps + ["generator"]

    def frozen(self, progress: float) -> frozenset[str]:
        """Return the sides that the settings freeze at `progress`."""
        return self.settings.adversarial.frozen(progress)

    def whole(self, step: int) -> bool:
        """Return whether whole rolls are decoded and judged in this step."""
        return "latent" not in self.critic.views or step % self.settings.adversarial.roll_every == 0

    def losses(self, side: str, real: Tensor, context: StepContext) -> Terms:
        """Compute the losses of one side on real (B, C, K, T)."""
        context = self._with_past(real, context)
        if self.augmentation is not None:
            settings = self.settings.adversarial
            self.augmentation.enter(context.step, settings.adaptive_target, settings.adaptive_rolls)
        with torch.no_grad():
            truth: Views = {"roll": real} if self.whole(context.step) else {}
            if "latent" in self.critic.views and self.composes:
                truth["latent"] = context.conditions["past"]
            elif "latent" in self.critic.views:
                truth["latent"] = sampled(self._posterior_of(real, context.conditions), context.rng)
        if side == "critic" or real not in self._started_latents:
            with torch.no_grad():
                self._started_latents[real] = self._start_latents(real, context)
        if side == "critic":
            with torch.no_grad():
                fake = self._fake(real, self._started_latents[real], context)
            return self._critic_losses(truth, fake, context)
        fake = self._fake(real, self._started_latents.pop(real), context)
        return self._generator_losses(truth, fake, context)

    def _with_past(self, real: Tensor, context: StepContext) -> StepContext:
        """Return the context with the latents of real, which a generator that composes answers beat by beat."""
        if not self.composes:
            return context
        posterior = self._posterior_of(real, {})
        return replace(context, conditions={**context.conditions, "past": posterior.mean})

    def _frozen_steps(self) -> int:
        """Return the number of the generator's first flow steps, which this stage does not train."""
        return max(self.generator.flow_steps - self.settings.adversarial.learning_flow_steps, 0)

    def _start_latents(self, real: Tensor, context: StepContext) -> Tensor:
        """Draw noise for B pieces and run it through the flow steps that are not trained: (B, L, Z).

        The generator's turn reuses the critic's result: no weight of these flow steps moves in between.
        """
        noise = self.generator.draw(len(real), real.shape[-1], context.rng)
        return self.generator.sample_prior(noise, 0, self._frozen_steps(), **context.conditions)

    def _fake(self, real: Tensor, begun: Tensor, context: StepContext) -> Views:
        """Finish the latents `begun` (B, L, Z) and, where due, decode them: generated views of B pieces."""
        frames = real.shape[-1]
        latents = self.generator.sample_prior(begun, self._frozen_steps(), **context.conditions)
        views = {"latent": latents} if "latent" in self.critic.views else {}
        if self.whole(context.step):
            views["roll"] = self.generator.decode(latents, frames, **context.conditions).roll
        return views

    def _augmented(self, views: Views, context: StepContext) -> Views:
        """Augment the rolls of the views, real or fake, if there is an augmentation."""
        if self.augmentation is None or "roll" not in views:
            return views
        return {**views, "roll": self.augmentation(views["roll"], context.rng)}

    def _with_noise(self, views: Views, context: StepContext) -> Views:
        """Add instance noise to the views, real or fake (arXiv 1610.04490)."""
        amounts = {"roll": self.settings.adversarial.instance_noise, "latent": self.settings.adversarial.latent_noise}
        return {
            k: views[k] + amount * noise_like(views[k], context.rng) if amount else views[k]
            for k, amount in amounts.items()
            if k in views
        }

    def factor(self, name: str, progress: float) -> float:
        """Return the penalties' factor: a cosine to a tenth if `penalty_decay` (arXiv 2501.05441: small in the end)."""
        decay = self.settings.adversarial.penalty_decay
        if not decay or not name.startswith("penalty_"):
            return 1.0
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(progress / decay, 1.0)))

    def _judge(self, views: Views, conditions: Mapping[str, Tensor]) -> Judgement:
        return self.critic(views.get("roll"), views.get("latent"), per_sample=False, **conditions)

    def _critic_losses(self, truth: Views, fake: Views, context: StepContext) -> Terms:
        """Compute the critic's losses on detached fakes, and its accuracy over real and fake."""
        settings, terms = self.settings.adversarial, Terms()
        adversary = adversarial.ADVERSARIES[settings.objective]
        truth, fake = self._augmented(truth, context), self._augmented(fake, context)
        inputs_by_side = self._with_noise(truth, context), self._with_noise(fake, context)
        penalised_views = [view for view in inputs_by_side[0] if self.settings.weight(f"penalty_{view}")]
        for inputs in inputs_by_side:
            inputs.update({view: inputs[view].detach().requires_grad_() for view in penalised_views})
        real_results, fake_results = (
            self._judge(inputs_by_side[0], context.conditions),
            self._judge(inputs_by_side[1], context.conditions),
        )
        for view, logits in real_results.logits.items():
            fake_logits = fake_results.logits[view]
            terms.losses[f"critic_{view}"] = adversary.critic(logits, fake_logits, settings.label_smoothing)
            threshold = adversary.decision_threshold(logits, fake_logits)
            correct = (logits > threshold).float().mean() + (fake_logits <= threshold).float().mean()
            terms.figures[f"accuracy_{view}"] = (correct / 2).detach()
            if view == "roll" and self.augmentation is not None:
                terms.figures["augmentation"] = self.augmentation.probability.clone()
                if self.steers:
                    self.augmentation.add_verdicts(torch.sign(logits.detach() - threshold))
        for view in penalised_views:
            pair = [
                penalties.CriticView(x[view], _summed_logits(view, y))
                for x, y in zip(inputs_by_side, (real_results, fake_results), strict=True)
            ]
            judge = self._judge_of(view, context.conditions)
            terms.losses[f"penalty_{view}"] = penalties.penalty(settings, judge, pair[0], pair[1], context.rng)
        terms.losses |= self._mismatch_loss(inputs_by_side[0], real_results, context)
        terms.losses |= self._head_losses(truth, fake, (real_results, fake_results))
        return terms

    def _head_losses(self, truth: Views, fake: Views, judgements: tuple[Judgement, Judgement]) -> dict[str, Tensor]:
        """Compute the errors of the head predictions on real and fake rolls, against these without instance noise."""
        real_predictions, fake_predictions = (judgement.predictions or {} for judgement in judgements)
        return {
            f"critic_{name}": HEAD_LOSSES[name](real_predictions[name], truth["roll"][:, : self.pitched])
            + HEAD_LOSSES[name](fake_predictions[name], fake["roll"][:, : self.pitched])
            for name in real_predictions
        }

    def _mismatch_loss(self, shown: Views, real_results: Judgement, context: StepContext) -> dict[str, Tensor]:
        """Compute the critic's loss with real rolls under another's conditions as fakes (arXiv 1605.05396)."""
        if not context.conditions or not self.settings.weight("critic_mismatch"):
            return {}
        other_conditions = {name: value.roll(1, 0) for name, value in context.conditions.items()}
        adversary = adversarial.ADVERSARIES[self.settings.adversarial.objective]
        smoothing = self.settings.adversarial.label_smoothing
        mismatched_logits = self._judge(shown, other_conditions).logits
        losses = [
            adversary.critic(real_results.logits[view], mismatched_logits[view], smoothing)
            for view in mismatched_logits
        ]
        return {"critic_mismatch": torch.stack(losses).mean()}

    def _judge_of(self, view: str, conditions: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the critic as a function from one view alone to its logits (B, 1)."""
        return lambda inputs: _summed_logits(view, self._judge({view: inputs}, conditions))

    def _generator_losses(self, truth: Views, fake: Views, context: StepContext) -> Terms:
        """Compute the generator's losses: adversarial, feature matching, flow, musical and anchor."""
        settings, terms = self.settings.adversarial, Terms()
        adversary = adversarial.ADVERSARIES[settings.objective]
        with torch.no_grad():
            real_results = self._judge(self._with_noise(self._augmented(truth, context), context), context.conditions)
        fake_results = self._judge(self._with_noise(self._augmented(fake, context), context), context.conditions)
        for view, logits in fake_results.logits.items():
            terms.losses[f"adversarial_{view}"] = adversary.generator(real_results.logits[view], logits, 0.0)
            if self.settings.weight(f"features_{view}"):
                terms.losses[f"features_{view}"] = adversarial.feature_matching(
                    real_results.features[view], fake_results.features[view]
                )
        if "latent" in truth and self.settings.weight("flow"):
            terms.losses["flow"] = self._flow(truth["latent"], context)
        if "roll" in truth and "roll" in fake:
            for name, loss in MUSICAL.items():
                if self.settings.weight(name):
                    terms.losses[name] = loss(fake["roll"][:, : self.pitched], truth["roll"][:, : self.pitched])
            terms.losses |= self._anchors(truth["roll"], truth.get("latent"), context)
        return terms

    def _flow(self, latents: Tensor, context: StepContext) -> Tensor:
        """Compute the loss of the stage before on latents (B, L, Z), which keeps the prior from forgetting."""
        if self.composes:
            composer = cast(bars.Generator, self.generator)
            unknown = self.settings.prior.past_unknown
            return bars.composition(
                composer, context.conditions["past"], context.conditions, context.rng, past_unknown=unknown
            )
        return flow(cast(Flow, self.generator), latents, context.rng, context.conditions)

    def _anchors(self, roll: Tensor, latents: Tensor | None, context: StepContext) -> dict[str, Tensor]:
        """Compute the reconstruction losses of real rolls, which keep the decoder from forgetting them."""
        has_anchor = self.settings.weight("anchor") or self.settings.weight("anchor_activity")
        if not has_anchor or not self.encodes:
            return {}
        if latents is None:
            latents = sampled(self._posterior_of(roll, context.conditions), context.rng)
        decoded = self.generator.decode(latents, roll.shape[-1], **context.conditions)
        return {
            "anchor": likelihood.reconstruction(decoded.roll, roll),
            "anchor_activity": likelihood.activity(decoded.logits, roll),
        }


class CriticOnly(Adversarial):
    """The critic's side of the adversarial stage with a frozen generator: a head start for the critic."""

    name = "critic"
    steers = False  # against a frozen generator the critic is meant to become sure

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return the critic only."""
        return {"critic": super().groups()["critic"]}

    def sides(self, step: int) -> list[str]:
        """Return the critic only."""
        return ["critic"]

    def factor(self, name: str, progress: float) -> float:
        """Return 1: penalties begin to fall in the adversarial stage."""
        return 1.0

    def frozen(self, progress: float) -> frozenset[str]:
        """Return no side: the settings are for the adversarial stage."""
        return frozenset()

"""Call and response: answers ten seconds of music with the next ten.

The question-answer generator of the article, applied to music: a conditional adversarial network (arXiv 1411.1784) on
the pairs that pair-chunks makes. Its critic is shown (call, answer) and takes real answers to other calls as fakes
(arXiv 1605.05396). The article's generator never sees the call, and its critic judges one number without it. Here both
sides are conditioned on the call. Before the adversarial stage the generator has learned, as musigan's, to write rolls
as latents and which latents music has. New compared with musigan: the flow from noise to the answer's latents attends
to those of the call (`question`), encoded once and cached for all flow steps; and one call in ten is silence.

    question -> encoder -> latents --------------+   |
    noise -> transformer, flow steps -> latents -+--> decoder -> question's end, answer -> critic of the pair

An answer begins without a seam because encoder and decoder see the call's end next to it, in training as in
sampling, and because notes that sound there are continued from the call itself (joining.py). A chain of answers,
each the call of the next one, is a piece of any length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import KeyValueCache, normed
from musigan.layers.packing import channels_last
from musigan.models import Family, musigan
from musigan.models.inpainting import joined
from musigan.models.protocol import CalibrationSet, Decoded, Judgement, Posterior
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, NotNegative


@dataclass(frozen=True, config=CHECKED)
class AnswerSettings(musigan.MusiganSettings):
    """Sizes of the networks: musigan's, and how strongly an answer follows its call."""

    guidance: NotNegative = 2.0  # how much the call weighs: 0 not at all, 1 as learned, above 1 more (arXiv 2207.12598)


class Generator(musigan.LatentFlow):
    """Encoder, transformer and decoder, conditioned on the call `question`: a roll (B, C, K, T) that came before.

    An answer has a fixed length; longer pieces are chains of answers.
    """

    silent_offset: Tensor
    silent_gain: Tensor
    PRIOR = (*musigan.LatentFlow.PRIOR, "question_in")

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        self.guidance = settings.guidance
        self.question_in = nn.Linear(settings.latent_dim, settings.transformer_width)
        self.transformer.reach = 2 * self.steps(shape.frames)  # all of call and answer
        # A calibration of its own after silence, where no guidance exaggerates what the flow draws.
        self.register_buffer("silent_offset", torch.zeros(settings.latent_dim))
        self.register_buffer("silent_gain", torch.ones(settings.latent_dim))

    def silence(self, batch: int) -> Tensor:
        """Return silent calls, (B, C, K, T)."""
        shape = self.shape
        return self.key_map.new_zeros(batch, shape.channels, shape.keys, shape.frames)

    def encode_call(self, question: Tensor, steps: int) -> Tensor:
        """Encode the last `steps` latent steps of question (B, C, K, T), silence before it: (B, steps, Z)."""
        # Frames outside the encoder's receptive field do not affect these latents.
        context_steps = max(steps, min(steps + self.decoder_receptive_field, self.steps(question.shape[-1])))
        return super().encode(ending(question, context_steps * self.token_frames)).mean[:, -steps:]

    def encode(self, roll: Tensor, question: Tensor | None = None) -> Posterior:
        """Encode roll (B, C, K, T) that followed `question` as a Gaussian of its latents, (B, L, Z) each."""
        if question is None:
            return super().encode(roll)
        lead_steps = self.decoder_receptive_field
        posterior = super().encode(torch.cat((ending(question, lead_steps * self.token_frames), roll), -1))
        return Posterior(posterior.mean[:, lead_steps:], posterior.log_variance[:, lead_steps:])

    def velocity(self, latents: Tensor, time: Tensor, question: Tensor | None = None) -> Tensor:
        """Return the flow's velocity at latents (B, L, Z) and `time` (B); several latents may answer one call.

        question (B / n, C, K, T): latents i, i + B / n, ... answer question i.
        """
        return self._cached_velocity(latents, time, self._call_cache(question, latents))

    def _call_cache(self, question: Tensor | None, latents: Tensor) -> KeyValueCache:
        """Cache a call (silence if None) for the transformer to attend to, repeated for each of latents (B, L, Z)."""
        question_latents = self.encode_call(self.silence(1) if question is None else question, latents.shape[1])
        memory = self.transformer.cache_keys_values(
            self.question_in(question_latents), self.style(question_latents.new_ones(len(question_latents)))
        )
        repeats = len(latents) // len(question_latents)
        return [(key.repeat(repeats, 1, 1, 1), value.repeat(repeats, 1, 1, 1)) for key, value in memory]

    def _cached_velocity(self, latents: Tensor, time: Tensor, memory: KeyValueCache) -> Tensor:
        """Return the velocity of latents (B, L, Z) at `time` (B), given the cached calls."""
        return self.latents_out(self.transformer(self.noise_in(latents), self.style(time), memory))

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, /, **conditions: Tensor) -> Tensor:
        """Run the flow steps `first` to `last` on latents (B, L, Z) of the answer to a `question`, or to silence."""
        question = conditions.get("question")
        is_heard = question is not None and bool(question.any())
        memory = self._call_cache(question, latents)
        silence_memory = self._call_cache(None, latents) if is_heard and self.guidance != 1 else None
        for index in range(first, self.flow_steps if last is None else last):
            time = latents.new_full((len(latents),), index / self.flow_steps)
            velocity = self._cached_velocity(latents, time, memory)
            if silence_memory is not None:
                velocity = torch.lerp(self._cached_velocity(latents, time, silence_memory), velocity, self.guidance)
            latents = latents + velocity / self.flow_steps
        if last is None or last == self.flow_steps:
            latents = self._calibrated_after(question, latents)
        return latents

    def _calibrated_after(self, question: Tensor | None, latents: Tensor) -> Tensor:
        """Bring latents (B, L, Z) to mean and deviation of real ones after question (B / n, C, K, T), or silence."""
        after_silence = self.silent_offset + self.silent_gain * latents
        if question is None:
            return after_silence
        is_heard = question.flatten(1).any(1).repeat(len(latents) // len(question))
        return torch.where(is_heard[:, None, None], self.calibrated(latents), after_silence)

    def calibration_sets(self, roll: Tensor, conditions: Mapping[str, Tensor]) -> dict[str, CalibrationSet]:
        """Return the answers to calls that are heard, and all rolls (B, C, K, T) as answers to silence."""
        question = conditions["question"]
        is_heard = question.flatten(1).any(1)
        heard = {"latent": (roll[is_heard], {"question": question[is_heard]})} if is_heard.any() else {}
        return {**heard, "silent": (roll, {"question": torch.zeros_like(question)})}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state; checkpoints older than the calibration after silence have the other's there, too."""
        for part in ("offset", "gain"):
            common = state_dict.get(f"{prefix}latent_{part}", getattr(self, f"latent_{part}"))
            state_dict.setdefault(f"{prefix}silent_{part}", common)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def decode(self, latents: Tensor, frames: int, question: Tensor | None = None) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames), joined to the end of `question`."""
        if question is None:
            return super().decode(latents, frames)
        both = self._decoded_pair(latents, frames, question)
        return Decoded(both.roll[..., -frames:], both.logits[..., -frames:])

    def _decoded_pair(self, latents: Tensor, frames: int, question: Tensor) -> Decoded:
        """Decode the end of `question`, as far as the decoder sees, and the answer of latents (B, L, Z) to it."""
        lead_steps = self.decoder_receptive_field
        return super().decode(
            torch.cat((self.encode_call(question, lead_steps), latents), 1), lead_steps * self.token_frames + frames
        )

    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Continue past (1, C, K, P) by (1, C, K, frames): a chain of answers, each the next one's call.

        The past counts as far back as an answer is long; None begins after silence. `temperature` is the deviation of
        the noise.
        """
        length, pieces = self.shape.frames, list[Tensor]()
        question = self.silence(1) if past is None else ending(past, length)
        while length * len(pieces) < frames:
            latents = self.sample_prior(temperature * self.draw(1, length, rng), question=question)
            decoded = self._decoded_pair(latents, length, question).roll[..., -length - 1 :]
            question = joined(question, decoded)
            pieces.append(question)
        return torch.cat(pieces, -1)[..., :frames]


def ending(roll: Tensor, frames: int) -> Tensor:
    """Return the last `frames` frames of roll (B, C, K, T), with silence before a shorter one."""
    return F.pad(roll, (frames - roll.shape[-1], 0))


class PairTower(musigan.RollTower):
    """Critic tower for a pair (B, C, K, 2T): convolves both halves together, then compares their pooled features."""

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        pooled_features = int(self.out_proj.in_features) - 1  # type: ignore[arg-type]
        self.out_proj = normed(nn.Linear(4 * pooled_features + 1, 1), settings.spectral)

    def forward(self, roll: Tensor, per_sample: bool) -> tuple[Tensor, list[Tensor], dict[str, Tensor] | None]:
        """Judge roll (B, C, K, 2T), the call's half first; heads predict statistics of the answer."""
        feature_map, features = self.plane(roll)
        columns = feature_map.shape[-1]  # the middle one, if any, belongs to both halves
        call = musigan.pool(feature_map[..., : -(-columns // 2)])
        answer = musigan.pool(feature_map[..., columns // 2 :])
        pair_features = torch.cat((answer, call, (answer - call).abs(), answer * call), 1)
        predictions = None if self.heads is None else self.heads(answer)
        return musigan.critic_logit(self.out_proj, pair_features, per_sample), features, predictions


class Critic(musigan.Critic):
    """Critic of a roll, its pitch classes and its latents as the answer to a call, with a tower for each."""

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        self.shape = shape
        self.roll = PairTower(settings, shape)
        size = shape.channels * shape.keys
        # The latent tower's view of the call: its keys in each step, projected to the size of a latent.
        self.asked = normed(nn.Linear(size, settings.latent_dim), settings.spectral) if self.latent else None

    def forward(
        self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False, question: Tensor | None = None
    ) -> Judgement:
        """Judge roll (B, C, K, T) and latents (B, L, Z) as answers to question (B, C, K, T), or to silence.

        A view that is None is not judged.
        """
        logits, features, predictions = {}, {}, None
        if question is None:
            reference, shape = next(view for view in (roll, latents) if view is not None), self.shape
            question = reference.new_zeros(len(reference), shape.channels, shape.keys, shape.frames)
        if roll is not None:
            pair = torch.cat((question, roll), -1)  # (B, C, K, 2T)
            logits["roll"], features["roll"], predictions = self.roll(pair, per_sample)
            if self.chroma is not None:
                classes = musigan.chroma(pair[:, : self.pitched], self.frames)
                logits["chroma"], features["chroma"] = self.chroma(classes, per_sample)
        if latents is not None and self.latent is not None and self.asked is not None:
            steps = F.adaptive_avg_pool1d(question.flatten(1, 2), latents.shape[1])  # (B, C * K, L)
            sequence = torch.cat((self.asked(steps.transpose(1, 2)), latents), 1)  # (B, 2L, Z)
            logits["latent"], features["latent"] = self.latent(sequence, per_sample)
        return Judgement(logits, features, predictions)


def build(settings: AnswerSettings, shape: RollShape) -> nn.ModuleDict:
    """Build generator and critic for rolls of `shape`."""
    return channels_last(nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)}))


FAMILY = Family(
    name="answer",
    stages=("variational", "prior", "critic", "adversarial"),
    summary="call and response: answers ten seconds with the next ten, and so goes on from your own music",
    paper="conditional GAN, 1411.1784, with mismatched pairs as fakes, 1605.05396",
    settings=AnswerSettings,
    build=build,
    parts={"variational": 1, "prior": 1},  # the prior given a call needs fewer epochs than an unconditional one
    extends=True,
    conditions=("question",),
    defaults={
        "epochs": 120,
        "batch_size": 8,
        "variational": {"learning_rate": 2e-3},
        "augment": {"silent_question": 0.3},
    },
    losses={"critic_mismatch": 1.0},
)

"""Call and response: hears ten seconds and answers with the next ten.

The question-answer generator of the article, read in music: a conditional adversarial network (arXiv 1411.1784) on
the pairs that pair-chunks makes, whose critic is shown (question, answer) and takes real answers to other questions
for fakes (arXiv 1605.05396). The article's generator never sees the question and its critic judges one number without
it; here both sides are given the question, and the generator, as musigan's, has learned to write rolls as latents and
which latents music has before the game. What is new beside musigan: the flow from noise to the answer's latents has
those of the question in front of it, read once and looked back at in every round, and one question in ten is silence.

    question -> encoder -> latents --------+   |
    noise -> transformer, rounds -> latents -+--> decoder -> question's end, answer -> critic of the pair

An answer begins without a seam because encoder and decoder see the question's end next to it, in training as in
sampling, and because notes that sound there are held on from the question itself (joining.py). A chain of answers,
each the next one's question, is a piece of any length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers import Memory, channels_last, normed
from musigan.models import Family, RollShape, musigan
from musigan.models.joining import joined
from musigan.models.protocol import Decoded, Judgement, Posterior


@dataclass(frozen=True)
class AnswerSettings(musigan.MusiganSettings):
    """Sizes of the networks: musigan's, and how much an answer listens."""

    guidance: float = 2.0  # above 1, answers are drawn as if the question said more than it does (arXiv 2207.12598)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance < 0:
            raise SettingsError(f"network.guidance is {self.guidance:g}; expected 0 (deaf), 1 (as learned) or more")


class Generator(musigan.Generator):
    """Encoder, transformer and decoder, each given the question: a roll (B, C, K, T) of what sounded before."""

    PRIOR = (*musigan.Generator.PRIOR, "question_in")
    halo = None  # an answer has the length it was built for: longer pieces are chains of them

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        self.guidance = settings.guidance
        self.question_in = nn.Linear(settings.latent_dim, settings.transformer_width)
        self.transformer.reach = 2 * self.steps(shape.frames)  # all of question and answer

    def silence(self, batch: int) -> Tensor:
        """The question that says nothing, (B, C, K, T)."""
        shape = self.shape
        return self.key_map.new_zeros(batch, shape.channels, shape.keys, shape.frames)

    def heard(self, question: Tensor, steps: int) -> Tensor:
        """Latents (B, steps, Z) of the last `steps` steps of question (B, C, K, T), silence before it."""
        # What lies farther back than the encoder sees reaches none of them.
        seen = max(steps, min(steps + self.decoder_reach, self.steps(question.shape[-1])))
        return super().encode(ending(question, seen * self.token_frames)).mean[:, -steps:]

    def encode(self, roll: Tensor, question: Tensor | None = None) -> Posterior:
        """roll (B, C, K, T) that followed `question` -> Gaussian of its latents, (B, L, Z) each."""
        if question is None:
            return super().encode(roll)
        lead = self.decoder_reach
        both = super().encode(torch.cat((ending(question, lead * self.token_frames), roll), -1))
        return Posterior(both.mean[:, lead:], both.log_variance[:, lead:])

    def velocity(self, latents: Tensor, time: Tensor, question: Tensor | None = None) -> Tensor:
        """Where latents (B, L, Z) that have come `time` (B) of the way should move; several may answer one question.

        question (B / n, C, K, T): latents i, i + B / n, ... answer question i.
        """
        return self._towards(latents, time, self._memory(question, latents))

    def _memory(self, question: Tensor | None, latents: Tensor) -> Memory:
        """A question (silence if None) as the transformer remembers it, once for each of latents (B, L, Z)."""
        heard = self.heard(self.silence(1) if question is None else question, latents.shape[1])
        memory = self.transformer.remember(self.question_in(heard), self.style(heard.new_ones(len(heard))))
        several = len(latents) // len(heard)
        return [(key.repeat(several, 1, 1, 1), value.repeat(several, 1, 1, 1)) for key, value in memory]

    def _towards(self, latents: Tensor, time: Tensor, memory: Memory) -> Tensor:
        """The velocity of latents (B, L, Z) at `time` (B) after what is remembered of questions."""
        return self.latents_out(self.transformer(self.noise_in(latents), self.style(time), memory))

    def compose(self, latents: Tensor, first: int = 0, last: int | None = None, **given: Tensor) -> Tensor:
        """Latents (B, L, Z) of the answer to a `question`, or to silence, after the rounds `first` to `last`."""
        question = given.get("question")
        memory = self._memory(question, latents)
        nothing = self._memory(None, latents) if self.guidance != 1 else None
        for index in range(first, self.rounds if last is None else last):
            time = latents.new_full((len(latents),), index / self.rounds)
            velocity = self._towards(latents, time, memory)
            if nothing is not None:
                velocity = torch.lerp(self._towards(latents, time, nothing), velocity, self.guidance)
            latents = latents + velocity / self.rounds
        if last is None or last == self.rounds:
            latents = self.calibrated(latents)
        return latents

    def decode(self, latents: Tensor, frames: int, question: Tensor | None = None) -> Decoded:
        """latents (B, L, Z) -> roll (B, C, K, frames), joined to the end of `question`."""
        if question is None:
            return super().decode(latents, frames)
        return Decoded(*(part[..., -frames:] for part in self._decoded_pair(latents, frames, question)))

    def _decoded_pair(self, latents: Tensor, frames: int, question: Tensor) -> Decoded:
        """The end of `question`, as far as the decoder sees, and the answer of latents (B, L, Z) to it."""
        lead = self.decoder_reach
        return super().decode(torch.cat((self.heard(question, lead), latents), 1), lead * self.token_frames + frames)

    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """`frames` frames (1, C, K, frames) that go on from past (1, C, K, P): answers, each the next one's question.

        Of the past as much is heard as an answer lasts; None begins after silence. `temperature` is the deviation of
        the noise.
        """
        length, pieces = self.shape.frames, list[Tensor]()
        question = self.silence(1) if past is None else ending(past, length)
        while length * len(pieces) < frames:
            latents = self.compose(temperature * self.draw(1, length, rng), question=question)
            written = self._decoded_pair(latents, length, question).roll[..., -length - 1 :]
            question = joined(question, written)
            pieces.append(question)
        return torch.cat(pieces, -1)[..., :frames]


def ending(roll: Tensor, frames: int) -> Tensor:
    """The last `frames` frames of roll (B, C, K, T), silence before a shorter one."""
    return F.pad(roll, (frames - roll.shape[-1], 0))


class PairTower(musigan.RollTower):
    """Judges a pair (B, C, K, 2T): sees it whole, its joint too, then what the halves have in common."""

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        pooled = int(self.outward.in_features) - 1  # type: ignore[arg-type]
        self.outward = normed(nn.Linear(4 * pooled + 1, 1), settings.spectral)

    def forward(self, roll: Tensor, alone: bool) -> tuple[Tensor, list[Tensor], dict[str, Tensor] | None]:
        """roll (B, C, K, 2T), the question's half first; heads tell of the answer."""
        plane, features = self.plane(roll)
        columns = plane.shape[-1]  # a middle one belongs to both
        asked = musigan.pool(plane[..., : -(-columns // 2)])
        answered = musigan.pool(plane[..., columns // 2 :])
        together = torch.cat((answered, asked, (answered - asked).abs(), answered * asked), 1)
        told = None if self.heads is None else self.heads(answered)
        return musigan.verdict(self.outward, together, alone), features, told


class Critic(musigan.Critic):
    """Judges a roll, its pitch classes and its latents as the answer to a question, each by a tower of its own."""

    def __init__(self, settings: AnswerSettings, shape: RollShape) -> None:
        super().__init__(settings, shape)
        self.shape = shape
        self.roll = PairTower(settings, shape)
        size = shape.channels * shape.keys
        # What the latent tower hears of the question: its keys in each step, in as many numbers as a latent has.
        self.asked = normed(nn.Linear(size, settings.latent_dim), settings.spectral) if self.latent else None

    def forward(
        self, roll: Tensor | None, latents: Tensor | None, alone: bool = False, question: Tensor | None = None
    ) -> Judgement:
        """roll (B, C, K, T), latents (B, L, Z), a view that is None is not judged; question (B, C, K, T) or silence."""
        logits, features, told = {}, {}, None
        if question is None:
            like, shape = next(view for view in (roll, latents) if view is not None), self.shape
            question = like.new_zeros(len(like), shape.channels, shape.keys, shape.frames)
        if roll is not None:
            pair = torch.cat((question, roll), -1)  # (B, C, K, 2T)
            logits["roll"], features["roll"], told = self.roll(pair, alone)
            if self.chroma is not None:
                logits["chroma"], features["chroma"] = self.chroma(musigan.chroma(pair, self.frames), alone)
        if latents is not None and self.latent is not None and self.asked is not None:
            steps = F.adaptive_avg_pool1d(question.flatten(1, 2), latents.shape[1])  # (B, C * K, L)
            sequence = torch.cat((self.asked(steps.transpose(1, 2)), latents), 1)  # (B, 2L, Z)
            logits["latent"], features["latent"] = self.latent(sequence, alone)
        return Judgement(logits, features, told)


def build(settings: AnswerSettings, shape: RollShape) -> nn.ModuleDict:
    """Generator and critic for rolls of `shape`."""
    return channels_last(nn.ModuleDict({"generator": Generator(settings, shape), "critic": Critic(settings, shape)}))


FAMILY = Family(
    name="answer",
    stages=("variational", "prior", "critic", "adversarial"),
    summary="call and response: answers ten seconds with the next ten, and so goes on from your own music",
    paper="conditional GAN, 1411.1784, with mismatched pairs as fakes, 1605.05396",
    settings=AnswerSettings,
    build=build,
    parts={"variational": 1, "prior": 1},  # which latents follow a question is learned sooner than which there are
    needs=("question",),
    defaults={
        "epochs": 120,
        "batch_size": 8,
        "variational": {"learning_rate": 2e-3},
        "augment": {"silent_question": 0.1},
    },
    losses={"critic_mismatch": 1.0},
)

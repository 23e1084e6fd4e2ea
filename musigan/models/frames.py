"""Recurrent networks over frames: the likelihood of the next frames, and continuation of given music.

The network takes a step of a few frames at a time. For every channel and key it predicts a small Markov chain that the
frames of the next step follow: the probabilities that the key begins to sound in a frame and that it goes on, the
loudness at which it begins and how its loudness changes. So the likelihood is one of frames of 20 ms, at a fifth of the
cost of a recurrence over single frames. Keys are independent given the past. Channels are not: they are most often the
two sides of stereo sound.

B batch, C channels, K keys, T frames, L steps, D features. Here frames are (B, T, C, K), in model space.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.gates import hard_gate, limit
from musigan.models.means import Means, RunningMeans
from musigan.models.protocol import Decoded
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count, CountOrNone, Positive

Cell = Literal["rnn", "gru", "lstm"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
Memory = Tensor | tuple[Tensor, Tensor]  # state of the recurrent layers, of an LSTM two
FAINTEST = 0.05  # least loudness of a key that sounds
LEAST_SIGMA = 0.01
COUPLING = 30.0  # unit of the coupling from one channel to the next: Adam steps equally far in all parameters
OWN_RATE, CLASS_RATE = 1.0, 0.3  # powers of a key's own running means, and its class's, in how often it begins
MOST_CORRELATION = 0.995  # of loudness in one channel and the next
# Where training begins, as 82 songs of four genres are: logits that keys begin and stay, loudness of onsets and its
# deviation, changes of loudness and theirs; deviations before LEAST_SIGMA and softplus.
USUAL = (-6.1, 3.4, 0.34, -1.6, 0.0, -3.3)
USUAL_OF_DRUMS = (-7.1, 1.3, 0.66, -1.6, -0.1, -2.7)
SIDES = 2  # channels in which a key is a pitch: most often left and right of a recording
SIDES_COUPLING, SIDES_CORRELATION, SIDES_PULL = 12.0, (0.94, 0.75), 0.1
BLOCK_STEPS = 100  # steps of noise drawn at once
PROFILES = 96  # songs' running means, one of which a piece from nothing begins with


@dataclass(frozen=True, config=CHECKED)
class FrameSettings:
    """Sizes of a recurrent network over frames."""

    width: Count = 256  # of the recurrent layers
    layers: Count = 1  # recurrent layers
    step_frames: Count = 5  # frames of one recurrent step
    key_width: Count = 32  # features of every key
    reach_keys: CountOrNone = 12  # keys to either side that a key's features see directly
    joint_loudness: bool = True  # whether a key's loudness in one channel goes by that in the channel before
    memory_frames: tuple[Count, ...] = (100, 400, 1600)  # reaches of the running means of loudness; []: none
    key_power: Positive = 1.35  # of the chances that keys begin, in what is drawn: more than 1 prefers the likely ones


class ChainParameters(NamedTuple):
    """Parameters of the chain that frames follow, (B, ..., C, K) each; the frames of a step differ in the first two."""

    begins: Tensor  # logit that a key sounds that was silent in the frame before
    stays: Tensor  # the same where it sounded
    onset: Tensor  # mean loudness of a key that begins
    onset_sigma: Tensor
    moves: Tensor  # mean change of loudness of a key that stays
    moves_sigma: Tensor


class SequenceState(NamedTuple):
    """State of a piece at one point: everything that the next frames depend on."""

    memory: Memory | None  # None before the first step
    in_proj: Tensor  # (B, 1, W): their next input
    features: Tensor  # (B, 1, D, K) of the step before
    last: Tensor  # (B, C, K): the frame before
    means: Means | None  # of loudness until then; None without any


class FrameGenerator(nn.Module):
    """Recurrent generator: likelihoods of rolls, and samples of them step by step, from nothing or after a past."""

    flow_steps = 0  # from noise to latents
    temperature = 1.0  # of `extend`
    profiles: Tensor
    profile_weights: Tensor

    def __init__(self, settings: FrameSettings, cell: Cell, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        features, outputs = (s.step_frames + 1) * shape.channels, (2 * s.step_frames + 4) * shape.channels
        self.in_proj = nn.Linear(features * shape.keys, s.width)
        self.start = nn.Parameter(0.1 * torch.randn(s.width))
        self.cell = CELLS[cell](s.width, s.width, s.layers, batch_first=True)
        self.neighbours = nn.Conv1d(features, s.key_width, 2 * s.reach_keys + 1, padding=s.reach_keys)
        self.spread = nn.Linear(s.width, s.key_width * shape.keys)
        self.means, self.recall = None, None
        if s.memory_frames:
            self.means = RunningMeans(tuple(frames / s.step_frames for frames in s.memory_frames), shape)
            self.recall = nn.Conv1d(self.means.features, s.key_width + outputs, 1, bias=False)
            self._begin_by_means(self.means)
            sums, weights = self.means.none(PROFILES)
            self.register_buffer("profiles", sums)
            self.register_buffer("profile_weights", weights)  # 0: no profiles yet
        self.out_proj = nn.Conv1d(s.key_width, outputs, 1, bias=False)
        nn.init.normal_(self.out_proj.weight, std=0.05)
        self.usual = nn.Parameter(torch.tensor(USUAL)[:, None, None].repeat(1, shape.channels, shape.keys))
        self.coupling = nn.Parameter(torch.zeros(2, shape.channels - 1, shape.keys))
        self.correlation, self.pull = None, None
        if s.joint_loudness:
            self.correlation = nn.Parameter(torch.zeros(2, shape.channels - 1, shape.keys))
            self.pull = nn.Parameter(torch.zeros(shape.channels - 1, shape.keys))
        self._begin_as_recordings()

    @torch.no_grad()
    def _begin_as_recordings(self) -> None:
        """Begin training with what the two sides of any recording, and its drums, have in common.

        What sounds on one side sounds on the other, nearly as loud.
        """
        if self.shape.has_drums:
            self.usual[:, -1] = torch.tensor(USUAL_OF_DRUMS)[:, None]
        if self.shape.pitched == SIDES:
            self.coupling[:, 0] = SIDES_COUPLING / COUPLING
            if self.correlation is not None and self.pull is not None:
                correlation = torch.tensor(SIDES_CORRELATION)[:, None] / MOST_CORRELATION
                self.correlation[:, 0] = correlation.atanh() / COUPLING
                self.pull[0] = SIDES_PULL

    @torch.no_grad()
    def _begin_by_means(self, means: RunningMeans) -> None:
        """Begin training with keys that begin as often as they and their pitch class sounded lately.

        What would be learned last, because it shows over seconds alone, is so known from the first step on.
        """
        assert self.recall is not None
        channels, frames = self.shape.channels, self.settings.step_frames
        direct = self.recall.weight[self.settings.key_width :, :, 0].zero_()
        begins = direct.unflatten(0, (-1, channels))[:frames]  # (s, C, E)
        for channel in range(channels):
            begins[:, channel] = means.weights_of(channel, OWN_RATE, CLASS_RATE)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        return {"prior": list(self.parameters())}

    # Prediction

    def _frames(self, roll: Tensor) -> Tensor:
        """Reorder (B, C, K, T) to (B, T', C, K), padded with silence at the end to whole steps."""
        missing = -roll.shape[-1] % self.settings.step_frames
        return F.pad(roll, (0, missing)).permute(0, 3, 1, 2)

    def _features(self, frames: Tensor) -> Tensor:
        """Return each step's loudness, and which keys sound at its end: (B, T, C, K) -> (B, L, D, K)."""
        steps = frames.unflatten(1, (-1, self.settings.step_frames))  # (B, L, s, C, K)
        return torch.cat((steps.flatten(2, 3), (steps[:, :, -1] > 0).to(frames.dtype)), 2)

    def _recalled(self, frames: Tensor) -> Tensor | None:
        """Return features of all that was before each step of frames (B, T, C, K): (B, L, E, K); None without means."""
        if self.means is None:
            return None
        steps = frames.unflatten(1, (-1, self.settings.step_frames)).mean(2)  # (B, L, C, K)
        return F.pad(self.means.described(self.means.of_all(steps)), (0, 0, 0, 0, 1, 0))[:, :-1]

    def _predict(self, hidden: Tensor, features: Tensor, recalled: Tensor | None) -> ChainParameters:
        """Predict the chains of a step's frames, (B, L, s, C, K) each.

        hidden (B, L, W); features (B, L, D, K) are those of the steps before, recalled (B, L, E, K) of all before.
        """
        s, batch, steps, frames = self.settings, *hidden.shape[:2], self.settings.step_frames
        key_features = self.neighbours(features.flatten(0, 1))  # (B*L, key width, K)
        global_features = self.spread(hidden).reshape(key_features.shape)
        if self.recall is None or recalled is None:
            outputs = self.out_proj(F.leaky_relu(key_features + global_features, 0.2))
        else:
            lately, direct = self.recall(recalled.flatten(0, 1)).split((s.key_width, self.out_proj.out_channels), 1)
            outputs = self.out_proj(F.leaky_relu(key_features + global_features + lately, 0.2)) + direct
        outputs = outputs.reshape(batch, steps, -1, *self.usual.shape[1:])
        sounds = outputs[:, :, : 2 * frames].unflatten(2, (2, frames)) + self.usual[:2, None]  # (B, L, 2, s, C, K)
        loudness = (outputs[:, :, 2 * frames :] + self.usual[2:])[:, :, :, None].expand(-1, -1, -1, frames, -1, -1)
        onset, onset_sigma, moves, moves_sigma = loudness.unbind(2)
        begins, stays = sounds.unbind(2)
        return ChainParameters(
            begins, stays, onset, LEAST_SIGMA + F.softplus(onset_sigma), moves, LEAST_SIGMA + F.softplus(moves_sigma)
        )

    def _teacher_forced(self, frames: Tensor) -> ChainParameters:
        """Predict the chains of all frames by teacher forcing: (B, T, C, K) -> (B, T, C, K) each."""
        features = self._features(frames)
        inputs = self.in_proj(features[:, :-1].flatten(2))
        inputs = torch.cat((self.start.expand(len(frames), 1, -1), inputs), 1)  # (B, L, W)
        hidden, _ = self.cell(inputs)
        chain = self._predict(hidden, F.pad(features, (0, 0, 0, 0, 1, 0))[:, :-1], self._recalled(frames))
        return ChainParameters(*(value.flatten(1, 2) for value in chain))

    def _logits(self, says: ChainParameters, before: Tensor, sounds: Tensor) -> Tensor:
        """Return logits that keys sound, given the loudness before and which keys sound; all (B, T, C, K)."""
        logits = torch.where(before > 0, says.stays, says.begins)
        couplings = [
            self._channel_coupling(channel, before[..., channel, :], sounds[..., channel - 1, :])
            for channel in range(1, self.shape.channels)
        ]
        return logits + torch.stack([torch.zeros_like(logits[..., 0, :]), *couplings], -2)

    def _channel_coupling(self, channel: int, before: Tensor, sounds: Tensor) -> Tensor:
        """Return what the channel before `channel` (from 1) adds to the logits there; (..., K).

        It depends on whether the key sounds in the channel before, and on whether it sounded in `channel`.
        """
        silent, sounding = COUPLING * self.coupling[:, channel - 1]  # (K) each
        return torch.where(before > 0, sounding, silent) * (2.0 * sounds.to(silent.dtype) - 1.0)

    def _loudness(self, says: ChainParameters, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the loudness of keys that sound, given the frames before; shaped like them."""
        is_held, held = before > 0, before + says.moves
        if self.pull is not None:
            # Sides that change apart come together again.
            pull = self.pull * (before[..., :-1, :] - before[..., 1:, :]) * is_held[..., :-1, :]
            held = held + F.pad(pull, (0, 0, 1, 0))
        return torch.where(is_held, held, says.onset), torch.where(is_held, says.moves_sigma, says.onset_sigma)

    def _correlations(self, before: Tensor, sounds: Tensor) -> list[Tensor]:
        """Return each channel's correlation of loudness with the one before, from the second on, (B, T, K) each.

        It is 0 where the key does not sound in both; `before` and `sounds` (B, T, C, K) as in `_logits`.
        """
        if self.correlation is None:
            return []
        onset, moves = MOST_CORRELATION * (COUPLING * self.correlation).tanh()  # (C - 1, K) each
        return [
            torch.where(before[..., channel, :] > 0, moves[channel - 1], onset[channel - 1])
            * (sounds[..., channel, :] & sounds[..., channel - 1, :])
            for channel in range(1, self.shape.channels)
        ]

    def _joint(self, noise: Tensor, before: Tensor, sounds: Tensor) -> Tensor:
        """Correlate white noise of loudness (B, T, C, K) from channel to channel."""
        channels = [noise[..., 0, :]]
        for channel, correlation in enumerate(self._correlations(before, sounds), 1):
            own = (1 - correlation.square()).sqrt() * noise[..., channel, :]
            channels.append(correlation * channels[-1] + own)
        return torch.stack(channels, -2) if len(channels) > 1 else noise

    def _own(self, deviation: Tensor, sigma: Tensor, before: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `_joint`: return deviations and sigmas (B, T, C, K) given the loudness in the channel before."""
        deviations, sigmas = [deviation[..., 0, :]], [sigma[..., 0, :]]
        for channel, correlation in enumerate(self._correlations(before, sounds), 1):
            left = (1 - correlation.square()).sqrt()
            deviations.append((deviation[..., channel, :] - correlation * deviation[..., channel - 1, :]) / left)
            sigmas.append(sigma[..., channel, :] * left)
        return (deviation, sigma) if len(sigmas) == 1 else (torch.stack(deviations, -2), torch.stack(sigmas, -2))

    def likelihood(self, roll: Tensor, rng: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the negative log likelihood of roll (B, C, K, T), in nats per frame, as the sum of two terms.

        `frame_nats`: of which keys sound (binary frames, as in arXiv 1206.6392 and 1803.01271, here of 20 ms).
        `loudness_nats`: of their loudness, given that; a density in model space, so it may be negative.
        """
        frames, length = self._frames(roll), roll.shape[-1]
        chain = self._teacher_forced(frames)
        sounds, before = frames > 0, _before(frames)
        frame_nats = F.binary_cross_entropy_with_logits(
            self._logits(chain, before, sounds), sounds.to(frames.dtype), reduction="none"
        )
        mean, sigma = self._loudness(chain, before)
        deviation, sigma = self._own((frames - mean) / sigma, sigma, before, sounds)
        loudness_nats = 0.5 * deviation.square() + sigma.log() + 0.5 * math.log(2 * math.pi)
        count = len(roll) * length
        return {
            "frame_nats": frame_nats[:, :length].sum() / count,
            "loudness_nats": (loudness_nats * sounds)[:, :length].sum() / count,
        }

    # Sampling

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw noise (B, T, 2, C, K) for whole steps: logistic for which keys sound, normal for their loudness."""
        padded_frames = -(-frames // self.settings.step_frames) * self.settings.step_frames
        size = (batch, padded_frames, self.shape.channels, self.shape.keys)
        uniform = torch.rand(size, generator=rng).clamp(1e-7, 1 - 1e-7)
        return torch.stack((torch.logit(uniform), torch.randn(size, generator=rng)), 2).to(self.start.device)

    @torch.no_grad()
    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Sample frames from noise (B, T, 2, C, K), from nothing, and append them to it: (B, T, 3, C, K).

        One sample serves both sides of an adversarial step, because the generator moves last.
        """
        if latents.shape[2] == 3:
            return latents
        sampled_frames, _ = self._sample(latents, self._initial_state(len(latents)))
        return torch.cat((latents, sampled_frames[:, :, None]), 2)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode noise and the frames sampled from it, (B, T, 3, C, K), to roll (B, C, K, frames).

        All steps are computed at once, each after the sampled frames before it. Each step is responsible for its own
        choices: the gradient runs through the recurrent layers and not through the sampled frames that are their input.
        """
        sound_noise, loudness_noise, sampled_frames = latents.unbind(2)  # (B, T, C, K) each
        chain, before = self._teacher_forced(sampled_frames), _before(sampled_frames)
        sounds = sampled_frames > 0
        logits = self._logits(chain, before, sounds) + sound_noise
        mean, sigma = self._loudness(chain, before)
        roll = _audible(mean + sigma * self._joint(loudness_noise, before, sounds)) * hard_gate(logits)
        return Decoded(*(value.permute(0, 2, 3, 1)[..., :frames] for value in (roll, logits)))

    @torch.no_grad()
    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Sample the frames after past (1, C, K, P), or from nothing: (1, C, K, frames).

        `temperature` multiplies the noise: logits are divided by it, deviations multiplied.
        """
        state = self._state_from_nothing(rng) if past is None or not past.shape[-1] else self._state_after(past)
        block_frames, blocks, frames_left = BLOCK_STEPS * self.settings.step_frames, [], frames
        while frames_left > 0:
            noise = temperature * self.draw(1, min(block_frames, frames_left), rng)
            block, state = self._sample(noise, state, self.settings.key_power)
            blocks.append(block)
            frames_left -= block.shape[1]
        return torch.cat(blocks, 1)[:, :frames].permute(0, 2, 3, 1)

    def _initial_state(self, batch: int) -> SequenceState:
        """Return the state before the first frame."""
        channels, keys = self.shape.channels, self.shape.keys
        features = self.start.new_zeros(batch, 1, (self.settings.step_frames + 1) * channels, keys)
        last = features.new_zeros(batch, channels, keys)
        means = None if self.means is None else self.means.none(batch)
        return SequenceState(None, self.start.expand(batch, 1, -1), features, last, means)

    def _state_from_nothing(self, rng: torch.Generator) -> SequenceState:
        """Return the state before the first frame, (1, ...), with the running means of a random song, where known.

        Keys that were drawn each for itself are in no key, and the means would have the music stay there.
        """
        state = self._initial_state(1)
        if self.means is None or not bool(self.profile_weights.any()):
            return state
        number = int(torch.randint(PROFILES, (), generator=rng))
        return state._replace(means=Means(self.profiles[number : number + 1], self.profile_weights))

    @torch.no_grad()
    def balance(self, real: Tensor, rng: torch.Generator) -> None:
        """Keep the running means of real rolls (B, C, K, T), for pieces from nothing to begin with."""
        if self.means is None:
            return
        means = self._means_after(self._frames(real))
        self.profiles.copy_(means.sums[torch.arange(PROFILES, device=real.device) % len(real)])
        self.profile_weights.copy_(means.weights)

    def _means_after(self, frames: Tensor) -> Means:
        """Return the running means after frames (B, T, C, K), whole steps."""
        assert self.means is not None
        means = self.means.none(len(frames))
        for step in frames.split(self.settings.step_frames, 1):
            means = self.means.after(means, step.mean(1))
        return means

    def _state_after(self, past: Tensor) -> SequenceState:
        """Return the state after past (B, C, K, P).

        Steps are counted from its end, so that none of its last frames is left out.
        """
        frames = F.pad(past, (-past.shape[-1] % self.settings.step_frames, 0)).permute(0, 3, 1, 2)
        features = self._features(frames)
        inputs = torch.cat((self.start.expand(len(past), 1, -1), self.in_proj(features.flatten(2))), 1)
        _, memory = self.cell(inputs[:, :-1])
        means = None if self.means is None else self._means_after(frames)
        return SequenceState(memory, inputs[:, -1:], features[:, -1:], frames[:, -1], means)

    def _sample(self, noise: Tensor, place: SequenceState, key_power: float = 1.0) -> tuple[Tensor, SequenceState]:
        """Sample the frames (B, T, C, K) that follow the state `place`, from noise (B, T, 2, C, K).

        Return them and the state after them. `key_power` is that of the settings.
        """
        memory, inputs, features, last, means = place
        steps = []
        for step in noise.split(self.settings.step_frames, 1):
            hidden, memory = self.cell(inputs, memory)
            recalled = None if self.means is None or means is None else self.means.described(means.values)[:, None]
            chain, frames = self._predict(hidden, features, recalled), []
            if key_power != 1:
                chain = chain._replace(begins=self._preferring(chain.begins, key_power))
            for number, frame_noise in enumerate(step.unbind(1)):
                last = self._frame(ChainParameters(*(value[:, 0, number] for value in chain)), last, frame_noise)
                frames.append(last)
            steps.append(torch.stack(frames, 1))
            features = self._features(steps[-1])
            inputs = self.in_proj(features.flatten(2))
            if self.means is not None and means is not None:
                means = self.means.after(means, steps[-1].mean(1))
        return torch.cat(steps, 1), SequenceState(memory, inputs, features, last, means)

    def _preferring(self, begins: Tensor, power: float) -> Tensor:
        """Return logits (B, L, F, C, K) that keys begin, of chances to a `power` whose sum over keys stays.

        Keys are drawn each for itself, and the many that hardly belong to the music begin now and then: together they
        are what leaves its key. Drums are as they are.
        """
        logs = F.logsigmoid(begins)
        raised = power * logs
        raised = raised + (logs.logsumexp(-1, keepdim=True) - raised.logsumexp(-1, keepdim=True))
        raised = raised.clamp(max=-1e-3)
        preferring = raised - torch.log1p(-raised.exp())  # the logit
        pitched = torch.arange(self.shape.channels, device=begins.device) < self.shape.pitched
        return torch.where(pitched[:, None], preferring, begins)

    def _frame(self, says: ChainParameters, before: Tensor, chance: Tensor) -> Tensor:
        """Sample the frame (B, C, K) after the frame `before` from noise `chance` (B, 2, C, K), channel by channel."""
        logits = torch.where(before > 0, says.stays, says.begins) + chance[:, 0]
        sounding = [logits[:, 0] > 0]
        for channel in range(1, self.shape.channels):
            sounding.append(logits[:, channel] + self._channel_coupling(channel, before[:, channel], sounding[-1]) > 0)
        sounds = torch.stack(sounding, 1)
        mean, sigma = self._loudness(says, before)
        return _audible(mean + sigma * self._joint(chance[:, 1], before, sounds)) * sounds


def _before(frames: Tensor) -> Tensor:
    """Return for each frame (B, T, C, K) the one before it; silence before the first."""
    return F.pad(frames, (0, 0, 0, 0, 1, 0))[:, :-1]


def _audible(loudness: Tensor) -> Tensor:
    """Clip loudness between FAINTEST and 1."""
    return FAINTEST + (1 - FAINTEST) * limit((loudness - FAINTEST) / (1 - FAINTEST))

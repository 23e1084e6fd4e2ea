"""Recurrent networks over frames: how likely what comes next is, and playing on from what sounded before.

The network takes a step of a few frames at a time and says, for every channel and key, a small Markov chain that the
frames of the next step follow: how likely the key begins to sound in a frame, how likely it goes on, how loud it
begins and how its loudness moves. So the likelihood is one of frames of 20 ms, and the recurrence five times cheaper
than one over them. Keys are independent given the past; channels are not: most often both sides of stereo sound.

B batch, C channels, K keys, T frames, L steps, D features. In here frames are (B, T, C, K), in model space.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers import hard_gate, limit
from musigan.models import RollShape
from musigan.models.protocol import Decoded

Cell = Literal["rnn", "gru", "lstm"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
FAINTEST = 0.05  # loudness of a key that sounds, at least
LEAST_SIGMA = 0.01
COUPLING = 30.0  # unit of what one channel says of the next: Adam's steps are of the same size for all parameters
BLOCK_STEPS = 100  # of noise drawn at once


@dataclass(frozen=True)
class FrameSettings:
    """Sizes of a recurrent network over frames."""

    width: int = 256  # of the recurrent layers
    layers: int = 1
    step_frames: int = 5  # frames that one recurrent step takes
    key_width: int = 32  # features of every key
    reach_keys: int = 12  # keys to either side that a key's features see directly

    def __post_init__(self) -> None:
        for name in ("width", "layers", "step_frames", "key_width"):
            if getattr(self, name) < 1:
                raise SettingsError(f"network.{name} is {getattr(self, name)}; expected at least 1")
        if self.reach_keys < 0:
            raise SettingsError(f"network.reach_keys is {self.reach_keys}; expected 0 or more")


class Says(NamedTuple):
    """The chain that frames follow, (B, ..., C, K) each; the frames of a step differ in the first two."""

    begins: Tensor  # logit that a key sounds that was silent in the frame before
    stays: Tensor  # the same where it sounded
    onset: Tensor  # mean loudness of a key that begins
    onset_sigma: Tensor
    moves: Tensor  # mean change of loudness of a key that stays
    moves_sigma: Tensor


class Place(NamedTuple):
    """Where a piece stands: all that what comes next depends on."""

    memory: Any  # of the recurrent layers, None before the first step
    inward: Tensor  # (B, 1, W): what goes into them next
    features: Tensor  # (B, 1, D, K) of the step before
    last: Tensor  # (B, C, K): the frame before


class FrameGenerator(nn.Module):
    """Says how likely rolls are, step by step, and draws them, from nothing or on from a past."""

    rounds = 0  # from noise to latents
    halo = None  # of any length by going on, not by latents in time

    def __init__(self, settings: FrameSettings, cell: Cell, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        features = (s.step_frames + 1) * shape.channels
        self.inward = nn.Linear(features * shape.keys, s.width)
        self.start = nn.Parameter(0.1 * torch.randn(s.width))
        self.cell = CELLS[cell](s.width, s.width, s.layers, batch_first=True)
        self.neighbours = nn.Conv1d(features, s.key_width, 2 * s.reach_keys + 1, padding=s.reach_keys)
        self.spread = nn.Linear(s.width, s.key_width * shape.keys)
        self.outward = nn.Conv1d(s.key_width, (2 * s.step_frames + 4) * shape.channels, 1, bias=False)
        nn.init.normal_(self.outward.weight, std=0.05)
        # Before anything is learned: keys begin rarely, stay for half a second, and keep their loudness.
        usual = torch.tensor((-6.0, 3.2, 0.3, -1.8, 0.0, -3.2))
        self.usual = nn.Parameter(usual[:, None, None].repeat(1, shape.channels, shape.keys))
        self.coupling = nn.Parameter(torch.zeros(2, shape.channels - 1, shape.keys))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by what they are for."""
        return {"prior": list(self.parameters())}

    # What comes next

    def _frames(self, roll: Tensor) -> Tensor:
        """(B, C, K, T) -> (B, T', C, K), with silence at the end to whole steps."""
        missing = -roll.shape[-1] % self.settings.step_frames
        return F.pad(roll, (0, missing)).permute(0, 3, 1, 2)

    def _features(self, frames: Tensor) -> Tensor:
        """(B, T, C, K) -> what is known of each step, (B, L, D, K): its loudness, and which keys sound at its end."""
        steps = frames.unflatten(1, (-1, self.settings.step_frames))  # (B, L, s, C, K)
        return torch.cat((steps.flatten(2, 3), (steps[:, :, -1] > 0).to(frames.dtype)), 2)

    def _says(self, hidden: Tensor, features: Tensor) -> Says:
        """hidden (B, L, W), features of the steps before (B, L, D, K) -> chains of the frames, (B, L, s, C, K) each."""
        batch, steps, frames = *hidden.shape[:2], self.settings.step_frames
        near = self.neighbours(features.flatten(0, 1))  # (B*L, key width, K)
        far = self.spread(hidden).reshape(near.shape)
        said = self.outward(F.leaky_relu(near + far, 0.2)).reshape(batch, steps, -1, *self.usual.shape[1:])
        sounds = said[:, :, : 2 * frames].unflatten(2, (2, frames)) + self.usual[:2, None]  # (B, L, 2, s, C, K)
        loudness = (said[:, :, 2 * frames :] + self.usual[2:])[:, :, :, None].expand(-1, -1, -1, frames, -1, -1)
        onset, onset_sigma, moves, moves_sigma = loudness.unbind(2)
        begins, stays = sounds.unbind(2)
        return Says(
            begins, stays, onset, LEAST_SIGMA + F.softplus(onset_sigma), moves, LEAST_SIGMA + F.softplus(moves_sigma)
        )

    def _taught(self, frames: Tensor) -> Says:
        """The chains of all frames, each given the true ones before its step: (B, T, C, K) -> (B, T, C, K) each."""
        features = self._features(frames)
        inward = self.inward(features[:, :-1].flatten(2))
        inward = torch.cat((self.start.expand(len(frames), 1, -1), inward), 1)  # (B, L, W)
        hidden, _ = self.cell(inward)
        says = self._says(hidden, F.pad(features, (0, 0, 0, 0, 1, 0))[:, :-1])
        return Says(*(value.flatten(1, 2) for value in says))

    def _logits(self, says: Says, before: Tensor, sounds: Tensor) -> Tensor:
        """Logits that keys sound, given loudness in the frames before and which sound in them; all (B, T, C, K)."""
        logits = torch.where(before > 0, says.stays, says.begins)
        urges = [
            self._urge(channel, before[..., channel, :], sounds[..., channel - 1, :])
            for channel in range(1, self.shape.channels)
        ]
        return logits + torch.stack([torch.zeros_like(logits[..., 0, :]), *urges], -2)

    def _urge(self, channel: int, before: Tensor, sounds: Tensor) -> Tensor:
        """What adds to a key's logit in `channel` (from 1) that it sounds, or not, in the channel before; (..., K)."""
        silent, sounding = COUPLING * self.coupling[:, channel - 1]  # (K) each
        return torch.where(before > 0, sounding, silent) * (2.0 * sounds.to(silent.dtype) - 1.0)

    def likelihood(self, roll: Tensor, rng: torch.Generator | None = None) -> dict[str, Tensor]:
        """Negative log likelihood of roll (B, C, K, T), in nats per frame, as the sum of two.

        `frame_nats`: of which keys sound (binary frames, as in arXiv 1206.6392 and 1803.01271, here of 20 ms).
        `loudness_nats`: of how loud they are, given that; a density in model space, so it may be negative.
        """
        frames, length = self._frames(roll), roll.shape[-1]
        says = self._taught(frames)
        sounds, before = frames > 0, _before(frames)
        unlikely = F.binary_cross_entropy_with_logits(
            self._logits(says, before, sounds), sounds.to(frames.dtype), reduction="none"
        )
        mean, sigma = _loudness(says, before)
        surprise = 0.5 * ((frames - mean) / sigma).square() + sigma.log() + 0.5 * math.log(2 * math.pi)
        count = len(roll) * length
        return {
            "frame_nats": unlikely[:, :length].sum() / count,
            "loudness_nats": (surprise * sounds)[:, :length].sum() / count,
        }

    # Drawing

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Noise (B, T, 2, C, K) for whole steps: logistic, which decides who sounds, and normal, for how loud."""
        whole = -(-frames // self.settings.step_frames) * self.settings.step_frames
        size = (batch, whole, self.shape.channels, self.shape.keys)
        uniform = torch.rand(size, generator=rng).clamp(1e-7, 1 - 1e-7)
        return torch.stack((torch.logit(uniform), torch.randn(size, generator=rng)), 2).to(self.start.device)

    @torch.no_grad()
    def compose(self, latents: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Noise (B, T, 2, C, K) and, after it, the frames that it draws from nothing: (B, T, 3, C, K).

        Drawn once, they serve every side of a step of the game: the generator moves last.
        """
        if latents.shape[2] == 3:
            return latents
        drawn, _ = self._play(latents, self._nothing(len(latents)))
        return torch.cat((latents, drawn[:, :, None]), 2)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Noise and what it drew, (B, T, 3, C, K) -> roll (B, C, K, frames).

        All steps at once, each after what was drawn before it: each answers for its own choices, and the gradient
        runs through the recurrent layers and not through the draws that went into them.
        """
        chance, loud, drawn = latents.unbind(2)  # (B, T, C, K) each
        says, before = self._taught(drawn), _before(drawn)
        logits = self._logits(says, before, drawn > 0) + chance
        mean, sigma = _loudness(says, before)
        roll = _audible(mean + sigma * loud) * hard_gate(logits)
        return Decoded(*(value.permute(0, 2, 3, 1)[..., :frames] for value in (roll, logits)))

    @torch.no_grad()
    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """What comes after past (1, C, K, P), or from nothing: (1, C, K, frames).

        `temperature` multiplies the noise: logits are divided by it, deviations multiplied.
        """
        place = self._nothing(1) if past is None or not past.shape[-1] else self._heard(past)
        block, played, left = BLOCK_STEPS * self.settings.step_frames, [], frames
        while left > 0:
            found, place = self._play(temperature * self.draw(1, min(block, left), rng), place)
            played.append(found)
            left -= found.shape[1]
        return torch.cat(played, 1)[:, :frames].permute(0, 2, 3, 1)

    def _nothing(self, batch: int) -> Place:
        """Before the first frame."""
        channels, keys = self.shape.channels, self.shape.keys
        features = self.start.new_zeros(batch, 1, (self.settings.step_frames + 1) * channels, keys)
        return Place(None, self.start.expand(batch, 1, -1), features, features.new_zeros(batch, channels, keys))

    def _heard(self, past: Tensor) -> Place:
        """After past (B, C, K, P); its steps are counted from its end, so that nothing of that is left out."""
        frames = F.pad(past, (-past.shape[-1] % self.settings.step_frames, 0)).permute(0, 3, 1, 2)
        features = self._features(frames)
        inward = torch.cat((self.start.expand(len(past), 1, -1), self.inward(features.flatten(2))), 1)
        _, memory = self.cell(inward[:, :-1])
        return Place(memory, inward[:, -1:], features[:, -1:], frames[:, -1])

    def _play(self, noise: Tensor, place: Place) -> tuple[Tensor, Place]:
        """Noise (B, T, 2, C, K) -> frames (B, T, C, K) that follow `place`, and the place after them."""
        memory, inward, features, last = place
        played = []
        for step in noise.split(self.settings.step_frames, 1):
            hidden, memory = self.cell(inward, memory)
            says, frames = self._says(hidden, features), []
            for number, chance in enumerate(step.unbind(1)):
                last = self._frame(Says(*(value[:, 0, number] for value in says)), last, chance)
                frames.append(last)
            played.append(torch.stack(frames, 1))
            features = self._features(played[-1])
            inward = self.inward(features.flatten(2))
        return torch.cat(played, 1), Place(memory, inward, features, last)

    def _frame(self, says: Says, before: Tensor, chance: Tensor) -> Tensor:
        """The frame (B, C, K) after the frame `before`, by chance (B, 2, C, K); channel by channel."""
        logits = torch.where(before > 0, says.stays, says.begins) + chance[:, 0]
        mean, sigma = _loudness(says, before)
        loudness = _audible(mean + sigma * chance[:, 1])
        sounds = [logits[:, 0] > 0]
        for channel in range(1, self.shape.channels):
            sounds.append(logits[:, channel] + self._urge(channel, before[:, channel], sounds[-1]) > 0)
        return loudness * torch.stack(sounds, 1)


def _before(frames: Tensor) -> Tensor:
    """Of each frame (B, T, C, K) the one before it; silence before the first."""
    return F.pad(frames, (0, 0, 0, 0, 1, 0))[:, :-1]


def _loudness(says: Says, before: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the loudness of keys that sound, given the frames before; shaped like them."""
    sounded = before > 0
    mean = torch.where(sounded, before + says.moves, says.onset)
    return mean, torch.where(sounded, says.moves_sigma, says.onset_sigma)


def _audible(loudness: Tensor) -> Tensor:
    """Held between the faintest loudness and 1."""
    return FAINTEST + (1 - FAINTEST) * limit((loudness - FAINTEST) / (1 - FAINTEST))

"""Sampling of music from a checkpoint: any length, ranked by the critic, bit-equal for the same seed.

A piece depends on (seed, number) alone, not on how many are drawn with it. Long pieces come from the model itself:
latents are a function of time. Where memory requires windows, these overlap by the generator's
`receptive_field`, so the joined result equals that of a single pass. A family that can continue music draws that way
(the generator's `extend`). A family with neither is drawn in windows of its training length, crossfaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.datasets.conditions import TO_GENERATE, Conditions, style_number
from musigan.errors import CheckpointError, StoreError, UsageError
from musigan.machine.seeding import seed_of
from musigan.rolls.beats import USUAL_TEMPO, Beat
from musigan.rolls.loudness import compress, expand
from musigan.rolls.runs import remove_fragments

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.rolls.shape import RollShape

WINDOW_STEPS = 512  # latent steps decoded in one pass
FADE_SHARE = 0.1  # length of a crossfade, as a share of a window
MAX_SECONDS = 24 * 3600.0
REQUIRED_ATTRIBUTES = ("sample_rate", "chunk_seconds", "frame_seconds", "low_key", "high_key", "band")
OPTIONAL = ("tracks",)


@dataclass(frozen=True)
class Piece:
    """A generated piece: `roll` (C, K, T) in linear loudness, 1 being a song's level; `score` by the critic."""

    number: int  # from 1
    roll: np.ndarray
    score: float | None = None
    said: Mapping[str, Any] = field(default_factory=dict)  # genre and beat of its conditions, as item attributes


@dataclass(frozen=True)
class Request:
    """Request for a piece, beyond its length; `Sampler.check` refuses what a family cannot do."""

    temperature: float | None = None  # of draws from a likelihood; 1 is as trained, None the family's default
    past: np.ndarray | None = None  # (C, K, P) in linear loudness: music to continue
    style: str | None = None  # one of the store's; None takes that of a random training song
    beat: Beat | None = None  # None takes that of a random training song
    kept: np.ndarray | None = None  # (C, K, P) in linear loudness, below 0 in tracks to be generated


NO_REQUEST = Request()


class Sampler:
    """Generator and, where the family has one, critic, ready to draw pieces."""

    def __init__(
        self,
        networks: nn.ModuleDict,
        shape: RollShape,
        store: Mapping[str, Any],
        compression: Any,
        device: Any = "cpu",
        needs: Sequence[str] = (),
    ) -> None:
        self.networks = networks.to(device).eval()
        self.generator: Any = self.networks["generator"]
        if hasattr(self.generator, "translate"):
            raise CheckpointError("the checkpoint turns songs into another kind of music and draws none; use transfer")
        self.critic: Any = dict(self.networks.items()).get("critic")
        self.shape, self.store, self.compression, self.device = shape, dict(store), compression, device
        self.extends, self.needs = hasattr(self.generator, "extend"), tuple(needs)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Sampler:
        """Load the averaged generator and the critic from a checkpoint file."""
        from musigan.checkpoints import checkpoint as checkpoints

        return cls.from_checkpoint(checkpoints.load(path), device)

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, device: str = "cpu") -> Sampler:
        """Build a sampler from a checkpoint in memory; CheckpointError where it lacks its store's settings."""
        from musigan import models
        from musigan.checkpoints import checkpoint as checkpoints

        missing_attributes = [name for name in REQUIRED_ATTRIBUTES if name not in saved.store]
        if missing_attributes:
            raise CheckpointError(f"the checkpoint lacks its store's {', '.join(missing_attributes)}; train it again")
        networks = checkpoints.build_networks(saved, averaged=True)
        settings = saved.training_settings()
        needs = models.family(settings.model).needs
        return cls(networks, saved.shape, saved.store, settings.compression, device, needs)

    def frames(self, seconds: float) -> int:
        """Return the frames in `seconds`; UsageError for less than one frame or more than MAX_SECONDS."""
        frames = round(seconds / self.store["frame_seconds"]) if 0 < seconds <= MAX_SECONDS else 0
        if frames < 1:
            raise UsageError(f"--seconds {seconds:g}: expected more than one frame and at most {MAX_SECONDS:.0f}")
        return int(frames)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a keys store of drawn pieces: all that synthesis needs."""
        return {name: self.store[name] for name in (*REQUIRED_ATTRIBUTES, *OPTIONAL) if name in self.store}

    def check(self, request: Request, scored: bool) -> None:
        """Raise UsageError where this checkpoint's model cannot fulfil the request."""
        if scored and self.critic is None:
            raise UsageError("--best: this checkpoint's model has no critic to choose by; draw with -n")
        if request.temperature is not None and not hasattr(self.generator, "likelihood"):
            raise UsageError("--temperature: this checkpoint's model draws from noise alone; leave it out")
        self._check_conditions(request)
        if request.past is not None:
            self.check_extends()
            self._check_size("music to go on from", request.past)

    def _check_conditions(self, request: Request) -> None:
        """Raise UsageError for a style, a tempo or a track that the checkpoint's model does not take."""
        requested = {"style": request.style, "tempo": request.beat, "kept": request.kept}
        for name, flag in (("style", "--style"), ("tempo", "--tempo"), ("kept", "--keep")):
            if requested[name] is not None:
                self.check_takes(name, flag)
        styles = self.store.get("styles") or []
        if request.style is not None and request.style.lower() not in styles:
            known_styles = ", ".join(styles) or "none: no song had a genre"
            raise UsageError(
                f"--style {request.style}: not what this checkpoint has learned from; it knows {known_styles}"
            )
        if request.kept is not None:
            self._check_size("given track", request.kept)

    def check_takes(self, condition: str, flag: str) -> None:
        """Raise UsageError where this checkpoint's model does not take `condition`, which `flag` asks for."""
        if condition not in self.needs:
            raise UsageError(f"{flag}: this checkpoint's model does not use it; train one with --model musegan")

    def _check_size(self, what: str, roll: np.ndarray) -> None:
        own_size, roll_size = (self.shape.channels, self.shape.keys), roll.shape[:2]
        if own_size != roll_size:
            raise StoreError(
                f"the {what} has {roll_size[0]} channels x {roll_size[1]} keys, the checkpoint {own_size[0]} x "
                f"{own_size[1]}: make its keys with the settings that it was trained with"
            )

    def check_extends(self) -> None:
        """Raise UsageError where this checkpoint's model cannot continue music."""
        if not self.extends:
            raise UsageError("--prime: this model cannot go on from music; `musigan models` says which can")

    @property
    def past_seconds(self) -> float:
        """Seconds of a song that a piece continues: the length of a training roll."""
        return float(self.shape.frames * self.store["frame_seconds"])

    def piece(self, seed: int, number: int, frames: int, scored: bool = False, request: Request = NO_REQUEST) -> Piece:
        """Draw piece `number` (from 1) of `seed`, `frames` frames long, not counting the request's past, if any."""
        import torch

        rng = torch.Generator().manual_seed(seed_of(seed, number))
        with torch.no_grad():
            tensors = self._complete(rng, request)
            roll, latents = self._draw(frames, rng, request, tensors)
            score = self._score(roll, latents, request, tensors) if scored else None
        return Piece(number, self._loudness(roll), score, self._condition_attributes(tensors))

    def morph(self, first: np.ndarray, second: np.ndarray, number: int = 1) -> Piece:
        """Make piece `number` that begins as the roll `first` and ends as `second`, (C, K, T) in linear loudness.

        Their latents are mixed, the share of `second` rising linearly over the middle half. The same roll twice gives
        its reconstruction by the autoencoder. Raises UsageError for a family whose latents are no sequence in time,
        and StoreError for rolls of other channels or keys.
        """
        import torch

        if getattr(self.generator, "receptive_field", None) is None:
            raise UsageError("--morph: this checkpoint's model has no latents in time; train one with --model musigan")
        own_size = (self.shape.channels, self.shape.keys)
        for roll in (first, second):
            if roll.shape[:2] != own_size:
                raise StoreError(
                    f"the songs have {roll.shape[0]} channels x {roll.shape[1]} keys, the checkpoint {own_size[0]} x "
                    f"{own_size[1]}: make the keys with the settings that it was trained with"
                )
        frames = min(first.shape[-1], second.shape[-1])
        with torch.no_grad():
            ends = []
            for roll in (first, second):
                model_roll = torch.from_numpy(compress(roll[..., :frames], self.compression))[None].to(self.device)
                ends.append(self.generator.encode(model_roll).mean)  # (1, L, Z)
            steps = torch.linspace(-0.5, 1.5, ends[0].shape[1], device=self.device)
            mixed = torch.lerp(ends[0], ends[1], steps.clamp(0, 1)[None, :, None])
            return Piece(number, self._loudness(self.generator.decode(mixed, frames).roll))

    def _loudness(self, roll: Tensor) -> np.ndarray:
        """Convert a roll (1, C, K, T) in model space to linear loudness (C, K, T), cleaned as its store was."""
        loudness = expand(roll[0].cpu().numpy(), self.compression)
        if self.store["band"].get("cleaned"):
            return remove_fragments(loudness, self.store["frame_seconds"])
        return loudness

    def sample(self, count: int, seconds: float, seed: int = 0) -> list[Piece]:
        """Draw `count` pieces of `seconds`, the same for the same seed; UsageError for a length that cannot be."""
        return list(self.pieces(count, self.frames(seconds), seed))

    def pieces(self, count: int, frames: int, seed: int) -> Iterator[Piece]:
        """Yield `count` pieces in order of their numbers."""
        for number in range(1, count + 1):
            yield self.piece(seed, number, frames)

    def scores(self, count: int, frames: int, seed: int, request: Request = NO_REQUEST) -> Iterator[tuple[int, float]]:
        """Yield (number, score by the critic) of `count` pieces, higher being more like real music."""
        for number in range(1, count + 1):
            score = self.piece(seed, number, frames, scored=True, request=request).score
            assert score is not None
            yield number, score

    def _complete(self, rng: torch.Generator, request: Request) -> Conditions:
        """Complete the request into conditions; open ones are those of a random training song (of its style)."""
        import torch

        if not self.needs:
            return Conditions()
        songs = self.store.get("manners") or [["", USUAL_TEMPO, 4]]
        wanted_style = None if request.style is None else request.style.lower()
        candidates = [song for song in songs if song[0] == wanted_style] or songs
        style, tempo, beats_per_bar = candidates[int(torch.randint(len(candidates), (), generator=rng))]
        number = int(style_number(wanted_style or style, self.store.get("styles") or ()))
        beat = request.beat or Beat(float(tempo), beats=int(beats_per_bar))
        track = request.kept
        if track is not None:
            track = np.where(track[:, :1, :1] >= 0, compress(track, self.compression), np.float32(TO_GENERATE))
        return Conditions(number, beat, track)

    def _condition_attributes(self, conditions: Conditions) -> dict[str, Any]:
        """Return the conditions of a piece as attributes of a keys store's item."""
        attributes: dict[str, Any] = {}
        if "style" in self.needs and conditions.style:
            attributes["genre"] = self.store["styles"][conditions.style - 1]
        if "tempo" in self.needs:
            beat = conditions.beat
            attributes |= {"tempo": beat.tempo, "first_beat": beat.first_beat, "time_signature": [beat.beats, 4]}
        return attributes

    def _condition_tensors(self, conditions: Conditions, start: int, frames: int) -> dict[str, Tensor]:
        """Return the networks' condition tensors (1, ...) for `frames` frames of a piece from `start` on."""
        import torch

        if not self.needs:
            return {}
        shape = (self.shape.channels, self.shape.keys, frames)
        tensors = conditions.at_frames(start, shape, float(self.store["frame_seconds"]))
        return {name: torch.from_numpy(tensors[name])[None].to(self.device) for name in self.needs if name in tensors}

    def _draw(
        self, frames: int, rng: torch.Generator, request: Request, conditions: Conditions
    ) -> tuple[Tensor, Tensor | None]:
        """Draw a roll (1, C, K, frames) in model space and its latents (1, L, Z), None if these are no sequence."""
        import torch

        generator = self.generator
        if self.extends and (request.past is not None or getattr(generator, "receptive_field", None) is None):
            default_temperature = getattr(generator, "temperature", 1.0)
            temperature = default_temperature if request.temperature is None else request.temperature
            return generator.extend(self._past(request), frames, rng, temperature), None
        if generator.receptive_field is None:
            return self._faded(frames, rng, conditions), None
        noise, per_step, receptive_field = (
            generator.draw(1, frames, rng),
            generator.token_frames,
            generator.receptive_field,
        )
        steps = generator.steps(frames)
        rolls, latents = [], []
        for start in range(0, steps, WINDOW_STEPS):
            stop = min(start + WINDOW_STEPS, steps)
            low, high = max(start - receptive_field, 0), min(stop + receptive_field, steps)
            window = generator.sample_prior(noise[:, low:high])
            decoded = generator.decode(window, (high - low) * per_step).roll
            latents.append(window[:, start - low : stop - low])
            rolls.append(decoded[..., (start - low) * per_step : (stop - low) * per_step])
        return torch.cat(rolls, -1)[..., :frames], torch.cat(latents, 1)

    def _past(self, request: Request) -> Tensor | None:
        """Return the music to continue, (1, C, K, P) in model space; None if there is none."""
        import torch

        if request.past is None:
            return None
        return torch.from_numpy(compress(request.past, self.compression))[None].to(self.device)

    def _faded(self, frames: int, rng: torch.Generator, conditions: Conditions) -> Tensor:
        """Draw windows of the training length and crossfade them: (1, C, K, frames), for families of a fixed length."""
        import torch

        length = self.shape.frames
        fade = max(int(length * FADE_SHARE), 1)
        hop = length - fade
        count = max(-(-(frames - fade) // hop), 1)
        total = torch.zeros(1, self.shape.channels, self.shape.keys, hop * count + fade, device=self.device)
        fade_in = torch.linspace(0, 1, fade + 2, device=self.device)[1:-1]
        for number in range(count):
            noise = self.generator.draw(1, length, rng)
            tensors = self._condition_tensors(conditions, number * hop, length)
            window = self.generator.decode(
                self.generator.sample_prior(noise, **tensors), length, **tensors
            ).roll.clone()
            if number:
                window[..., :fade] *= fade_in
            if number < count - 1:
                window[..., -fade:] *= fade_in.flip(0)
            total[..., number * hop : number * hop + length] += window
        return total[..., :frames]

    def _score(self, roll: Tensor, latents: Tensor | None, request: Request, conditions: Conditions) -> float:
        """Return the critic's mean logit over its views and over windows of the training length.

        A critic of the answer model also gets the music before each window: its call.
        """
        import torch
        from torch.nn import functional as F

        length, frames, scores = self.shape.frames, roll.shape[-1], []
        past = self._past(request)
        past_window = roll[..., :0] if past is None else past[..., -length:]
        with_past = torch.cat((F.pad(past_window, (length - past_window.shape[-1], 0)), roll), -1)
        starts = list(range(0, max(frames - length, 0) + 1, length))
        if starts[-1] + length < frames:  # one more window for the end of the piece
            per_step = self.generator.token_frames if latents is not None else 1
            starts.append((frames - length) // per_step * per_step)
        for start in starts:
            latent_window = None
            if latents is not None:
                first = start // self.generator.token_frames
                latent_window = latents[:, first : first + self.generator.steps(length)]
            window, tensors = roll[..., start : start + length], self._condition_tensors(conditions, start, length)
            if "question" in self.needs:
                tensors["question"] = with_past[..., start : start + length]
            results = self.critic(window, latent_window, per_sample=True, **tensors)
            scores.append(sum(logit.item() for logit in results.logits.values()) / len(results.logits))
        return float(np.mean(scores))


def best_numbers(scores: Mapping[int, float], count: int) -> list[int]:
    """Return the numbers of the `count` highest scores, best first; ties in order of their numbers."""
    return sorted(scores, key=lambda number: (-scores[number], number))[:count]

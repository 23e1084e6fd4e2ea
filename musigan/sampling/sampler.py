"""Sampling of music from a checkpoint: any length, ranked by the critic, bit-equal for the same seed.

A piece depends on (seed, number) alone, not on how many are drawn with it. Long pieces come from the model itself:
latents are a function of time (`Family.morphs`). Where memory requires windows, these overlap by the generator's
`receptive_field`, so the joined result equals that of a single pass. A family that can continue music draws that way
(`Family.extends`). A family with neither is drawn in windows of its training length, crossfaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from musigan.datasets.conditions import TO_GENERATE, Conditions, style_number
from musigan.datasets.record import SongStatistics
from musigan.errors import CheckpointError, FieldError, StoreError
from musigan.machine.seeding import seed_of
from musigan.rolls.beats import USUAL_TEMPO, Beat, Beats
from musigan.rolls.loudness import compress, expand
from musigan.rolls.runs import remove_fragments
from musigan.rolls.tracks import on_pitched
from musigan.sampling.requests import NO_REQUEST, Capabilities, Request
from musigan.store.chunks import chunk_frames
from musigan.store.layout import holds_numbers

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.datasets.record import MusicRecord
    from musigan.models import Family
    from musigan.models.protocol import Continuation, Critic, Generator, NoiseGenerator, TimeGenerator
    from musigan.rolls.loudness import Compression
    from musigan.rolls.shape import RollShape
    from musigan.store import StoreHeader

WINDOW_STEPS = 512  # latent steps decoded in one pass
FADE_SHARE = 0.1  # length of a crossfade, as a share of a window
MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Piece:
    """A generated piece: `roll` (C, K, T) in linear loudness, 1 being a song's level; `score` by the critic."""

    number: int  # from 1
    roll: np.ndarray
    score: float | None = None
    genre: str = ""  # of its conditions
    beat: Beat | None = None
    beats: Beats | None = None  # every one, where the model knows them; of a continued piece those of its past, too


class Sampler:
    """Generator and, where the family has one, critic, ready to draw pieces."""

    def __init__(
        self,
        networks: nn.ModuleDict,
        shape: RollShape,
        store: MusicRecord,
        compression: Compression,
        family: Family,
        device: str | torch.device = "cpu",
    ) -> None:
        if not family.draws:
            raise CheckpointError("the checkpoint turns songs into another kind of music and draws none; use transfer")
        if family.on_beats and not store.outlines:
            raise CheckpointError("the checkpoint holds no outlines of songs, which pieces follow; train it again")
        self.family, self.networks = family, networks.to(device).eval()
        self.generator = cast("Generator", networks["generator"])
        self.critic = cast("Critic", networks["critic"]) if "critic" in networks else None
        self.shape, self.store, self.compression, self.device = shape, store, compression, device

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Sampler:
        """Load the averaged generator and the critic from a checkpoint file."""
        from musigan.checkpoints import checkpoint as checkpoints

        return cls.from_checkpoint(checkpoints.load(path), device)

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, device: str = "cpu") -> Sampler:
        """Build a sampler from a checkpoint in memory."""
        from musigan import models
        from musigan.checkpoints import checkpoint as checkpoints

        networks = checkpoints.build_networks(saved, averaged=True)
        settings = saved.training_settings()
        family = models.family(settings.model)
        return cls(networks, saved.shape, saved.store, settings.compression, family, device)

    def frames(self, seconds: float) -> int:
        """Return the frames in `seconds`; FieldError for less than one frame or more than MAX_SECONDS."""
        frames = round(seconds / self.store.header.frame_seconds) if 0 < seconds <= MAX_SECONDS else 0
        if frames < 1:
            raise FieldError("{seconds} {0:g}: expected more than one frame and at most {1:.0f}", seconds, MAX_SECONDS)
        return int(frames)

    @property
    def header(self) -> StoreHeader:
        """The header of a keys store of drawn pieces: all that synthesis needs."""
        return self.store.header.of_new_items()

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do, for requests to check themselves against."""
        return Capabilities(
            self.shape.channels,
            self.shape.keys,
            extends=self.family.extends,
            has_critic=self.critic is not None,
            takes_temperature=self.family.takes_temperature,
            conditions=self.family.conditions,
            styles=self.store.styles or (),
        )

    @property
    def past_seconds(self) -> float:
        """Seconds of a song that a piece continues: the length of a training roll."""
        return self.roll_shape.frames * self.frame_seconds

    @property
    def frame_seconds(self) -> float:
        """Duration of a frame of drawn pieces, in seconds."""
        return float(self.store.header.frame_seconds)

    @property
    def roll_shape(self) -> RollShape:
        """Shape of a chunk of the store that was learned from; a training roll on the grid has other frames."""
        if not self.family.on_beats:
            return self.shape
        frames = chunk_frames(self.store.header.chunk_seconds, self.frame_seconds)
        return replace(self.shape, frames=frames)

    def piece(self, seed: int, number: int, frames: int, scored: bool = False, request: Request = NO_REQUEST) -> Piece:
        """Draw piece `number` (from 1) of `seed`, `frames` frames long, not counting the request's past, if any."""
        import torch

        rng = torch.Generator().manual_seed(seed_of(seed, number))
        if self.family.on_beats:
            return self._composed(number, frames, rng, scored, request)
        with torch.no_grad():
            tensors = self._complete(rng, request)
            roll, latents = self._draw(frames, rng, request, tensors)
            score = self._score(roll, latents, request, tensors) if scored else None
        return Piece(number, self._loudness(roll[..., :frames]), score, self._genre(tensors), self._beat(tensors))

    def _composed(self, number: int, frames: int, rng: torch.Generator, scored: bool, request: Request) -> Piece:
        """Compose piece `number`, beat after beat."""
        import torch

        from musigan.sampling import composing

        with torch.no_grad():
            composed = composing.compose(self, frames, rng, request)
            score = None
            if scored:
                score = self._score(composed.on_grid, composed.latents, request, Conditions())
        style = composed.style if composed.style in (self.store.styles or ()) else ""
        return Piece(number, self._cleaned(composed.roll), score, style, beats=composed.beats)

    def morph(
        self, first: np.ndarray, second: np.ndarray, number: int = 1, beats: tuple[Beats, Beats] | None = None
    ) -> Piece:
        """Make piece `number` that begins as the roll `first` and ends as `second`, (C, K, T) in linear loudness.

        Their latents are mixed, the share of `second` rising linearly over the middle half. The same roll twice gives
        its reconstruction by the autoencoder. Raises FieldError for a family whose latents are no sequence in time,
        and StoreError for rolls of other channels or keys.
        """
        import torch

        if not self.family.morphs:
            raise FieldError("{morph}: this checkpoint's model has no latents in time; train one with --model musigan")
        own_size = (self.shape.channels, self.shape.keys)
        for roll in (first, second):
            if roll.shape[:2] != own_size:
                raise StoreError(
                    f"the songs have {roll.shape[0]} channels x {roll.shape[1]} keys, the checkpoint {own_size[0]} x "
                    f"{own_size[1]}: make the keys with the settings that it was trained with"
                )
        if self.family.on_beats:
            from musigan.sampling import composing

            with torch.no_grad():
                roll, mixed = composing.morph(self, (first, second), beats or (Beats.none(), Beats.none()))
            return Piece(number, self._cleaned(roll), beats=mixed)
        frames = min(first.shape[-1], second.shape[-1])
        generator, ends = cast("TimeGenerator", self.generator), []
        with torch.no_grad():
            for roll in (first, second):
                model_roll = torch.from_numpy(compress(roll[..., :frames], self.compression))[None].to(self.device)
                ends.append(generator.encode(model_roll).mean)  # (1, L, Z)
            steps = torch.linspace(-0.5, 1.5, ends[0].shape[1], device=self.device)
            latents = torch.lerp(ends[0], ends[1], steps.clamp(0, 1)[None, :, None])
            return Piece(number, self._loudness(generator.decode(latents, frames).roll))

    def _loudness(self, roll: Tensor) -> np.ndarray:
        """Convert a roll (1, C, K, T) in model space to linear loudness (C, K, T), cleaned as its store was."""
        return self._cleaned(roll[0].cpu().numpy())

    def _cleaned(self, roll: np.ndarray) -> np.ndarray:
        """Convert a roll (C, K, T) in model space to linear loudness, cleaned as its store was.

        Raises CheckpointError for values that are not finite.
        """
        loudness = expand(made_of_numbers(roll), self.compression)
        if self.store.header.key_settings.cleaned:
            seconds, tracks = self.store.header.frame_seconds, self.store.header.tracks
            return on_pitched(loudness, tracks, lambda pitched: remove_fragments(pitched, seconds))
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

        if not self.family.conditions:
            return Conditions()
        songs = self.store.songs or (SongStatistics("", USUAL_TEMPO, 4),)
        wanted_style = None if request.style is None else request.style.lower()
        candidates = [song for song in songs if song.style == wanted_style] or songs
        style, tempo, beats_per_bar = candidates[int(torch.randint(len(candidates), (), generator=rng))]
        number = int(style_number(wanted_style or style, self.store.styles or ()))
        beat = request.beat or Beat(float(tempo), beats=int(beats_per_bar))
        track = request.kept
        if track is not None:
            track = np.where(track[:, :1, :1] >= 0, compress(track, self.compression), np.float32(TO_GENERATE))
        return Conditions(number, beat, track)

    def _genre(self, conditions: Conditions) -> str:
        """Return the style that a piece was drawn in; "" where the model takes none."""
        takes_style = "style" in self.family.conditions and conditions.style
        return (self.store.styles or ())[conditions.style - 1] if takes_style else ""

    def _beat(self, conditions: Conditions) -> Beat | None:
        """Return the beat that a piece was drawn on; None where the model takes none."""
        return conditions.beat if "tempo" in self.family.conditions else None

    def _condition_tensors(self, conditions: Conditions, start: int, frames: int) -> dict[str, Tensor]:
        """Return the networks' condition tensors (1, ...) for `frames` frames of a piece from `start` on."""
        import torch

        needed = self.family.conditions
        if not needed or self.family.on_beats:
            return {}
        shape = (self.shape.channels, self.shape.keys, frames)
        tensors = conditions.at_frames(start, shape, self.store.header.frame_seconds)
        return {name: torch.from_numpy(tensors[name])[None].to(self.device) for name in needed if name in tensors}

    def _draw(
        self, frames: int, rng: torch.Generator, request: Request, conditions: Conditions
    ) -> tuple[Tensor, Tensor | None]:
        """Draw a roll (1, C, K, T) in model space and its latents (1, L, Z), None if these are no sequence.

        T is `frames`; families of a fixed length draw a roll of that length at least.
        """
        if self.family.extends and (request.past is not None or not self.family.morphs):
            continuation = cast("Continuation", self.generator)
            temperature = continuation.temperature if request.temperature is None else request.temperature
            return continuation.extend(self._past(request), frames, rng, temperature), None
        if not self.family.morphs:
            return self._faded(frames, rng, conditions), None
        return self._in_time(frames, rng)

    def _in_time(self, frames: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw latents in time (1, L, Z) and decode them to a roll (1, C, K, frames), in windows that join exactly."""
        from musigan.models.windows import in_windows

        generator = cast("TimeGenerator", self.generator)
        noise = generator.draw(1, frames, rng)

        @cache  # a window is drawn once, for its latents and for its roll
        def draw(low: int, high: int) -> Tensor:
            return generator.sample_prior(noise[:, low:high])

        def decode(low: int, high: int) -> Tensor:
            return generator.decode(draw(low, high), (high - low) * generator.token_frames).roll

        windows = generator.steps(frames), WINDOW_STEPS, generator.receptive_field
        latents = in_windows(lambda low, high: draw(low, high).mT, *windows).mT  # time is the last axis of a window
        return in_windows(decode, *windows)[..., :frames], latents.contiguous()

    def _past(self, request: Request) -> Tensor | None:
        """Return the music to continue, (1, C, K, P) in model space; None if there is none."""
        import torch

        if request.past is None:
            return None
        return torch.from_numpy(compress(request.past, self.compression))[None].to(self.device)

    def _faded(self, frames: int, rng: torch.Generator, conditions: Conditions) -> Tensor:
        """Draw windows of the training length and crossfade them, for families of a fixed length.

        Returns (1, C, K, T), T being `frames`, or the training length where that is more: what a critic can judge.
        """
        import torch

        generator, length = cast("NoiseGenerator", self.generator), self.shape.frames
        fade = max(int(length * FADE_SHARE), 1)
        hop = length - fade
        count = max(-(-(frames - fade) // hop), 1)
        total = torch.zeros(1, self.shape.channels, self.shape.keys, hop * count + fade, device=self.device)
        fade_in = torch.linspace(0, 1, fade + 2, device=self.device)[1:-1]
        for number in range(count):
            noise = generator.draw(1, length, rng)
            tensors = self._condition_tensors(conditions, number * hop, length)
            window = generator.decode(generator.sample_prior(noise, **tensors), length, **tensors).roll.clone()
            if number:
                window[..., :fade] *= fade_in
            if number < count - 1:
                window[..., -fade:] *= fade_in.flip(0)
            total[..., number * hop : number * hop + length] += window
        return total[..., : max(frames, length)]

    def _score(self, roll: Tensor, latents: Tensor | None, request: Request, conditions: Conditions) -> float:
        """Return the critic's mean logit over its views and over windows of the training length.

        A critic of the answer model also gets the music before each window: its call.
        """
        import torch
        from torch.nn import functional as F

        assert self.critic is not None
        length, frames, scores = self.shape.frames, roll.shape[-1], []
        generator = cast("TimeGenerator", self.generator)  # where there are latents
        past = None if self.family.on_beats else self._past(request)
        past_window = roll[..., :0] if past is None else past[..., -length:]
        with_past = torch.cat((F.pad(past_window, (length - past_window.shape[-1], 0)), roll), -1)
        starts = list(range(0, max(frames - length, 0) + 1, length))
        if starts[-1] + length < frames:  # one more window for the end of the piece
            per_step = generator.token_frames if latents is not None else 1
            starts.append((frames - length) // per_step * per_step)
        for start in starts:
            latent_window = None
            if latents is not None:
                first = start // generator.token_frames
                latent_window = latents[:, first : first + generator.steps(length)]
            window, tensors = roll[..., start : start + length], self._condition_tensors(conditions, start, length)
            if "question" in self.family.conditions:
                tensors["question"] = with_past[..., start : start + length]
            results = self.critic(window, latent_window, per_sample=True, **tensors)
            scores.append(sum(logit.item() for logit in results.logits.values()) / len(results.logits))
        return float(np.mean(scores))


def made_of_numbers(roll: np.ndarray) -> np.ndarray:
    """Return a roll that networks made. Raises CheckpointError where it holds NaN or infinity."""
    if not holds_numbers(roll):
        raise CheckpointError(
            "the checkpoint's networks answer with NaN or infinity: its training diverged; use an earlier checkpoint, "
            "or train again with a lower learning rate"
        )
    return roll


def best_numbers(scores: Mapping[int, float], count: int) -> list[int]:
    """Return the numbers of the `count` highest scores, best first; ties in order of their numbers."""
    return sorted(scores, key=lambda number: (-scores[number], number))[:count]

"""Draw music from a checkpoint: any length, ranked by the critic, the same for the same seed bit for bit.

A piece depends on (seed, number) alone, not on how many are drawn with it. Long pieces come from the model itself:
latents are a function of time, and where memory calls for windows they overlap by all that a layer can see (the
generator's `halo`), so the joined result is what one pass would have given. A family that can go on from what sounded
before does (the generator's `extend`); one with neither is drawn in windows of its training length that fade into
each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.beats import USUAL_TEMPO, Beat
from musigan.cleaning import without_fragments
from musigan.conditions import NOT_GIVEN, Asked, style_number
from musigan.data import compress, expand
from musigan.errors import CheckpointError, StoreError, UsageError
from musigan.seeding import seed_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from musigan.data import Reader
    from musigan.models import RollShape
    from musigan.training.checkpoint import Checkpoint

WINDOW_STEPS = 512  # latent steps decoded at once
FADE_SHARE = 0.1  # of a window, where windows must fade
MAX_SECONDS = 24 * 3600.0
KEPT = ("sample_rate", "chunk_seconds", "frame_seconds", "low_key", "high_key", "band")
OPTIONAL = ("tracks",)


@dataclass(frozen=True)
class Piece:
    """One generated piece: `roll` (C, K, T) in linear loudness, 1 being a song's level; `score` by the critic."""

    number: int  # from 1
    roll: np.ndarray
    score: float | None = None
    said: Mapping[str, Any] = field(default_factory=dict)  # its genre and beat, where it was drawn by them


@dataclass(frozen=True)
class Wish:
    """What is asked of a piece beyond its length; a family that cannot grant it refuses (`Sampler.check`)."""

    temperature: float | None = None  # how freely a likelihood is drawn from; 1 is as learned, None the family's choice
    past: np.ndarray | None = None  # (C, K, P) in linear loudness: what to go on from
    style: str | None = None  # one of the store's; None is that of one of the songs that were learned from
    beat: Beat | None = None  # None is that of one of the songs that were learned from
    kept: np.ndarray | None = None  # (C, K, P) in linear loudness, below 0 in tracks that are to be made


NO_WISH = Wish()


class Sampler:
    """Generator and, where the family has one, critic, ready to draw."""

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
            raise CheckpointError("the checkpoint turns songs into another kind of music: transfer is its tool")
        self.critic: Any = dict(self.networks.items()).get("critic")
        self.shape, self.store, self.compression, self.device = shape, dict(store), compression, device
        self.extends, self.needs = hasattr(self.generator, "extend"), tuple(needs)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Sampler:
        """From a checkpoint file: the averaged generator and the critic."""
        from musigan.training import checkpoint as checkpoints

        return cls.from_checkpoint(checkpoints.load(path), device)

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, device: str = "cpu") -> Sampler:
        """From a checkpoint in memory. Raises CheckpointError where the store's settings are missing from it."""
        from musigan import models
        from musigan.training import checkpoint as checkpoints

        missing = [name for name in KEPT if name not in saved.store]
        if missing:
            raise CheckpointError(f"the checkpoint does not say its store's {', '.join(missing)}; train it again")
        networks = checkpoints.build_networks(saved, averaged=True)
        settings = saved.training_settings()
        needs = models.family(settings.model).needs
        return cls(networks, saved.shape, saved.store, settings.compression, device, needs)

    def frames(self, seconds: float) -> int:
        """Frames in `seconds`; UsageError where that is not a length to draw."""
        frames = round(seconds / self.store["frame_seconds"]) if 0 < seconds <= MAX_SECONDS else 0
        if frames < 1:
            raise UsageError(f"--seconds {seconds:g}: expected more than one frame and at most {MAX_SECONDS:.0f}")
        return int(frames)

    def attributes(self) -> dict[str, Any]:
        """Attributes of a keys store for what is drawn: all that synthesis needs."""
        return {name: self.store[name] for name in (*KEPT, *OPTIONAL) if name in self.store}

    def check(self, wish: Wish, scored: bool) -> None:
        """Raise UsageError where this checkpoint's model cannot do what is asked."""
        if scored and self.critic is None:
            raise UsageError("--best: this checkpoint's model has no critic to choose by; draw with -n")
        if wish.temperature is not None and not hasattr(self.generator, "likelihood"):
            raise UsageError("--temperature: this checkpoint's model draws by noise alone; leave it out")
        self._check_conditions(wish)
        if wish.past is not None:
            self.check_extends()
            self._check_size("music to go on from", wish.past)

    def _check_conditions(self, wish: Wish) -> None:
        """Raise UsageError for a style, a tempo or a track that the checkpoint's model does not go by."""
        asked = {"style": wish.style, "tempo": wish.beat, "kept": wish.kept}
        for name, flag in (("style", "--style"), ("tempo", "--tempo"), ("kept", "--keep")):
            if asked[name] is not None:
                self.check_goes_by(name, flag)
        styles = self.store.get("styles") or []
        if wish.style is not None and wish.style.lower() not in styles:
            known = ", ".join(styles) or "none: no song had a genre"
            raise UsageError(f"--style {wish.style}: not what this checkpoint has learned from; it knows {known}")
        if wish.kept is not None:
            self._check_size("given track", wish.kept)

    def check_goes_by(self, condition: str, flag: str) -> None:
        """Raise UsageError where this checkpoint's model does not take `condition`, which `flag` asks for."""
        if condition not in self.needs:
            raise UsageError(f"{flag}: this checkpoint's model does not go by it; train one with --model musegan")

    def _check_size(self, what: str, roll: np.ndarray) -> None:
        here, there = (self.shape.channels, self.shape.keys), roll.shape[:2]
        if here != there:
            raise StoreError(
                f"the {what} has {there[0]} channels x {there[1]} keys, the checkpoint {here[0]} x {here[1]}: make its "
                "keys with the settings that it was trained with"
            )

    def check_extends(self) -> None:
        """Raise UsageError where this checkpoint's model cannot go on from music."""
        if not self.extends:
            raise UsageError("--prime: this model cannot go on from music; `musigan models` says which can")

    @property
    def past_seconds(self) -> float:
        """How much of a song a piece goes on from: as much as a training roll lasts."""
        return float(self.shape.frames * self.store["frame_seconds"])

    def piece(self, seed: int, number: int, frames: int, scored: bool = False, wish: Wish = NO_WISH) -> Piece:
        """Piece `number` (from 1) of `seed`, `frames` frames long: of what comes after, where there is a past."""
        import torch

        rng = torch.Generator().manual_seed(seed_of(seed, number))
        with torch.no_grad():
            asked = self._asked(rng, wish)
            roll, latents = self._draw(frames, rng, wish, asked)
            score = self._score(roll, latents, wish, asked) if scored else None
        return Piece(number, self._loudness(roll), score, self._said(asked))

    def morph(self, first: np.ndarray, second: np.ndarray, number: int = 1) -> Piece:
        """Piece `number`, which begins as the roll `first` and ends as `second`, both (C, K, T) in linear loudness.

        Their latents are mixed, the share of `second` rising evenly over the middle half. The same roll twice is
        what the autoencoder makes of it. Raises UsageError for a family whose latents are no sequence in time, and
        StoreError for rolls of other channels or keys.
        """
        import torch

        if getattr(self.generator, "halo", None) is None:
            raise UsageError("--morph: this checkpoint's model has no latents in time; train one with --model musigan")
        here = (self.shape.channels, self.shape.keys)
        for roll in (first, second):
            if roll.shape[:2] != here:
                raise StoreError(
                    f"the songs have {roll.shape[0]} channels x {roll.shape[1]} keys, the checkpoint {here[0]} x "
                    f"{here[1]}: make the keys with the settings that it was trained with"
                )
        frames = min(first.shape[-1], second.shape[-1])
        with torch.no_grad():
            ends = []
            for roll in (first, second):
                shown = torch.from_numpy(compress(roll[..., :frames], self.compression))[None].to(self.device)
                ends.append(self.generator.encode(shown).mean)  # (1, L, Z)
            steps = torch.linspace(-0.5, 1.5, ends[0].shape[1], device=self.device)
            mixed = torch.lerp(ends[0], ends[1], steps.clamp(0, 1)[None, :, None])
            return Piece(number, self._loudness(self.generator.decode(mixed, frames).roll))

    def _loudness(self, roll: Tensor) -> np.ndarray:
        """A roll (1, C, K, T) in model space as linear loudness (C, K, T), cleaned as its store was."""
        loudness = expand(roll[0].cpu().numpy(), self.compression)
        if self.store["band"].get("cleaned"):
            return without_fragments(loudness, self.store["frame_seconds"])
        return loudness

    def pieces(self, count: int, frames: int, seed: int) -> Iterator[Piece]:
        """`count` pieces in order of their numbers."""
        for number in range(1, count + 1):
            yield self.piece(seed, number, frames)

    def scores(self, count: int, frames: int, seed: int, wish: Wish = NO_WISH) -> Iterator[tuple[int, float]]:
        """(number, score) of `count` pieces: higher is more like real music, says the critic. Memory holds one."""
        for number in range(1, count + 1):
            score = self.piece(seed, number, frames, scored=True, wish=wish).score
            assert score is not None
            yield number, score

    def _asked(self, rng: torch.Generator, wish: Wish) -> Asked:
        """What `wish` leaves open filled in, as one of the songs has it that were learned from."""
        import torch

        if not self.needs:
            return Asked()
        songs = self.store.get("manners") or [["", USUAL_TEMPO, 4]]
        wanted = None if wish.style is None else wish.style.lower()
        alike = [song for song in songs if song[0] == wanted] or songs
        style, tempo, in_bar = alike[int(torch.randint(len(alike), (), generator=rng))]
        number = int(style_number(wanted or style, self.store.get("styles") or ()))
        beat = wish.beat or Beat(float(tempo), beats=int(in_bar))
        track = wish.kept
        if track is not None:
            track = np.where(track[:, :1, :1] >= 0, compress(track, self.compression), np.float32(NOT_GIVEN))
        return Asked(number, beat, track)

    def _said(self, asked: Asked) -> dict[str, Any]:
        """What a piece drawn so says of itself, as the items of a keys store do."""
        said: dict[str, Any] = {}
        if "style" in self.needs and asked.style:
            said["genre"] = self.store["styles"][asked.style - 1]
        if "tempo" in self.needs:
            beat = asked.beat
            said |= {"tempo": beat.tempo, "first_beat": beat.first_beat, "time_signature": [beat.beats, 4]}
        return said

    def _given(self, asked: Asked, start: int, frames: int) -> dict[str, Tensor]:
        """The conditions that the networks need of a stretch of a piece, for a batch of one."""
        import torch

        if not self.needs:
            return {}
        shape = (self.shape.channels, self.shape.keys, frames)
        made = asked.given(start, shape, float(self.store["frame_seconds"]))
        return {name: torch.from_numpy(made[name])[None].to(self.device) for name in self.needs if name in made}

    def _draw(self, frames: int, rng: torch.Generator, wish: Wish, asked: Asked) -> tuple[Tensor, Tensor | None]:
        """Roll (1, C, K, frames) in model space and its latents (1, L, Z), None where there are no windows to keep."""
        import torch

        generator = self.generator
        if self.extends and (wish.past is not None or getattr(generator, "halo", None) is None):
            usual = getattr(generator, "temperature", 1.0)
            temperature = usual if wish.temperature is None else wish.temperature
            return generator.extend(self._past(wish), frames, rng, temperature), None
        if generator.halo is None:
            return self._faded(frames, rng, asked), None
        noise, per_step, halo = generator.draw(1, frames, rng), generator.token_frames, generator.halo
        total = generator.steps(frames)
        rolls, latents = [], []
        for start in range(0, total, WINDOW_STEPS):
            stop = min(start + WINDOW_STEPS, total)
            low, high = max(start - halo, 0), min(stop + halo, total)
            window = generator.compose(noise[:, low:high])
            decoded = generator.decode(window, (high - low) * per_step).roll
            latents.append(window[:, start - low : stop - low])
            rolls.append(decoded[..., (start - low) * per_step : (stop - low) * per_step])
        return torch.cat(rolls, -1)[..., :frames], torch.cat(latents, 1)

    def _past(self, wish: Wish) -> Tensor | None:
        """What to go on from, (1, C, K, P) in model space."""
        import torch

        if wish.past is None:
            return None
        return torch.from_numpy(compress(wish.past, self.compression))[None].to(self.device)

    def _faded(self, frames: int, rng: torch.Generator, asked: Asked) -> Tensor:
        """Windows of the training length that fade into each other, for families of a fixed length."""
        import torch

        length = self.shape.frames
        fade = max(int(length * FADE_SHARE), 1)
        hop = length - fade
        count = max(-(-(frames - fade) // hop), 1)
        total = torch.zeros(1, self.shape.channels, self.shape.keys, hop * count + fade, device=self.device)
        up = torch.linspace(0, 1, fade + 2, device=self.device)[1:-1]
        for number in range(count):
            noise = self.generator.draw(1, length, rng)
            given = self._given(asked, number * hop, length)
            window = self.generator.decode(self.generator.compose(noise, **given), length, **given).roll.clone()
            if number:
                window[..., :fade] *= up
            if number < count - 1:
                window[..., -fade:] *= up.flip(0)
            total[..., number * hop : number * hop + length] += window
        return total[..., :frames]

    def _score(self, roll: Tensor, latents: Tensor | None, wish: Wish, asked: Asked) -> float:
        """Mean over windows of the training length, and over the critic's views, of its logit.

        A critic of answers is shown what sounded before each window: its question.
        """
        import torch
        from torch.nn import functional as F

        length, frames, found = self.shape.frames, roll.shape[-1], []
        past = self._past(wish)
        before = roll[..., :0] if past is None else past[..., -length:]
        whole = torch.cat((F.pad(before, (length - before.shape[-1], 0)), roll), -1)
        starts = list(range(0, max(frames - length, 0) + 1, length))
        if starts[-1] + length < frames:  # the end of the piece is judged too
            per_step = self.generator.token_frames if latents is not None else 1
            starts.append((frames - length) // per_step * per_step)
        for start in starts:
            part = None
            if latents is not None:
                first = start // self.generator.token_frames
                part = latents[:, first : first + self.generator.steps(length)]
            shown, given = roll[..., start : start + length], self._given(asked, start, length)
            if "question" in self.needs:
                given["question"] = whole[..., start : start + length]
            said = self.critic(shown, part, alone=True, **given)
            found.append(sum(logit.item() for logit in said.logits.values()) / len(said.logits))
        return float(np.mean(found))


def best(scores: Mapping[int, float], count: int) -> list[int]:
    """The numbers of the `count` highest scores, best first; ties keep their order."""
    return sorted(scores, key=lambda number: (-scores[number], number))[:count]


def check_made_alike(reader: Reader, sampler: Sampler) -> None:
    """Raise StoreError where the rolls of a keys store lie on other keys or frames than the checkpoint's."""
    for name in ("frame_seconds", "low_key", "high_key", "tracks"):
        here, there = (attributes.get(name, "none") for attributes in (reader.attributes, sampler.store))
        if here != there:
            raise StoreError(
                f"{reader.source} has {name} {here}, the checkpoint {there}: make the "
                "keys with the settings that it was trained with"
            )


def as_item(piece: Piece, sampler: Sampler, seed: int, name: str) -> tuple[np.ndarray, tuple[str, ...], dict[str, Any]]:
    """A piece as an item of a keys store: (chunks, C, K, T) float16, dimension names, attributes."""
    length, frames = sampler.shape.frames, piece.roll.shape[-1]
    count = -(-frames // length)
    padded = np.zeros((*piece.roll.shape[:2], count * length), np.float32)
    padded[..., :frames] = piece.roll
    blocks = padded.reshape(*piece.roll.shape[:2], count, length).transpose(2, 0, 1, 3)  # (chunks, C, K, T)
    step = float(sampler.store["chunk_seconds"])
    attributes: dict[str, Any] = {
        "title": f"{name} {piece.number}",
        "artist": "MusiGAN",
        "source": f"{name}, seed {seed}, piece {piece.number}",
        "level": float(sampler.store.get("level", 0.1)),
        "starts": [index * step for index in range(count)],
        "seconds": frames * float(sampler.store["frame_seconds"]),
        "seed": seed,
        **piece.said,
    }
    if piece.score is not None:
        attributes["score"] = piece.score
    channels = "tracks" if sampler.store.get("tracks") else "channels"
    return np.ascontiguousarray(blocks, np.float16), ("chunks", channels, "keys", "frames"), attributes

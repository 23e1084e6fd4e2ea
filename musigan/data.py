"""Rolls for training, straight from a keys store: random crops, cheap augmentations, seeded per (epoch, index).

Conventions: a roll is (C, K, T) float32 in *model space*, [0, 1]: the store's linear loudness relative to its song's
level, clipped at 1 and compressed. Only `compress` and `expand` know the compression; real and generated rolls meet
in this one space. Rolls are read when asked for, so memory does not grow with the collection.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from musigan import beats
from musigan.conditions import CONDITIONS, Excerpt, style_of, styles_of
from musigan.errors import MusiganError, SettingsError, StoreError
from musigan.models import RollShape
from musigan.tracks import DRUMS, names_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Compression = Literal["sqrt", "log"]
LOG_RANGE = 99.0  # `log` spreads 40 dB over [0, 1]


def compress(loudness: np.ndarray, how: Compression = "sqrt") -> np.ndarray:
    """Linear loudness, 1 = the song's level -> model space [0, 1]; 0 stays exactly 0. Any shape, float32 out."""
    clipped = np.clip(np.asarray(loudness, np.float32), 0.0, 1.0)
    if how == "sqrt":
        return np.asarray(np.sqrt(clipped))
    return np.asarray(np.log1p(LOG_RANGE * clipped) / np.float32(np.log1p(LOG_RANGE)), np.float32)


def expand(values: np.ndarray, how: Compression = "sqrt") -> np.ndarray:
    """Model space [0, 1] -> linear loudness: the inverse of `compress`. Any shape, float32 out."""
    clipped = np.clip(np.asarray(values, np.float32), 0.0, 1.0)
    if how == "sqrt":
        return np.asarray(np.square(clipped))
    return np.asarray(np.expm1(clipped * np.float32(np.log1p(LOG_RANGE))) / LOG_RANGE, np.float32)


@dataclass(frozen=True)
class AugmentSettings:
    """Changes to a training roll that leave it music. All off leaves the chunks as they are in the store."""

    crop: bool = True  # start anywhere inside a pair of chunks, not only at the chunks' own starts
    swap_channels: bool = True  # left for right, every second time (stereo only)
    gain: float = 0.0  # loudness times a random factor in [1 - gain, 1]; what is generated becomes as much quieter
    transpose_keys: int = 2  # up to so many keys up or down, the free edge silent
    silent_question: float = 0.0  # share of questions that are silence, for families that answer (needs `question`)

    def __post_init__(self) -> None:
        if not 0.0 <= self.gain < 1.0:
            raise SettingsError(f"augment.gain is {self.gain}; expected 0 to 1, 1 left out")
        if self.transpose_keys < 0:
            raise SettingsError(f"augment.transpose_keys is {self.transpose_keys}; expected 0 or more")
        if not 0.0 <= self.silent_question <= 1.0:
            raise SettingsError(f"augment.silent_question is {self.silent_question}; expected 0 to 1")


NO_AUGMENT = AugmentSettings(crop=False, swap_channels=False, gain=0.0, transpose_keys=0)


class Info(Protocol):
    """What is read of a store's item description."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dimension_names(self) -> Any: ...
    @property
    def attributes(self) -> Any: ...


class Reader(Protocol):
    """What is read of an open keys store (`musigan.store.open_reader`)."""

    @property
    def kind(self) -> str: ...
    @property
    def attributes(self) -> Any: ...
    @property
    def source(self) -> str: ...
    def infos(self) -> Sequence[Info]: ...
    def read(self, name: str) -> np.ndarray: ...
    def block(self, name: str, index: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Place:
    """Where one roll starts: item, its block along the first axis, and which half of a pair."""

    item: str
    block: int
    half: int


@dataclass(frozen=True)
class Batch:
    """Rolls (B, C, K, T) in model space and the conditions that go with them, (B, ...) each, by name."""

    roll: Tensor
    given: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on `device`."""
        given = {name: value.to(device, non_blocking=non_blocking) for name, value in self.given.items()}
        return Batch(self.roll.to(device, non_blocking=non_blocking), given)

    def pinned(self) -> Batch:
        """The batch in pinned memory."""
        return Batch(self.roll.pin_memory(), {name: value.pin_memory() for name, value in self.given.items()})

    def chunk(self, parts: int) -> list[Batch]:
        """Equal parts of the batch, in order."""
        given = {name: value.chunk(parts) for name, value in self.given.items()}
        return [Batch(roll, {k: v[i] for k, v in given.items()}) for i, roll in enumerate(self.roll.chunk(parts))]


class RollDataset:
    """The rolls of one split of a keys store, one per chunk; `reader` stays open as long as this is used.

    `needs` names the conditions that go with each roll (`musigan.conditions`); `styles` are those that are told apart,
    the store's own by default. Raises StoreError for items of another
    shape than the first, MusiganError where nothing is left to train on or a condition is not known of the store.
    """

    def __init__(
        self,
        reader: Reader,
        split: Literal["train", "validation"] = "train",
        augment: AugmentSettings = NO_AUGMENT,
        compression: Compression = "sqrt",
        seed: int = 0,
        needs: Sequence[str] = (),
        styles: Sequence[str] | None = None,
    ) -> None:
        self.reader, self.augment, self.compression, self.seed = reader, augment, compression, seed
        self.needs = tuple(needs)
        self.answers = "question" in self.needs  # a roll goes with the chunk before it
        infos = list(reader.infos())
        if not infos:
            raise MusiganError("the keys store holds no songs; nothing to train on")
        self.shape = _roll_shape(infos)
        self.tracks = names_of(reader.attributes)
        self.paired = len(infos[0].shape) == 5
        if self.answers and not self.paired:
            raise MusiganError("the keys store holds chunks without their continuations; cut the songs by pair-chunks")
        self._attributes = {info.name: info.attributes for info in infos}
        self.styles = tuple(styles_of(self._attributes.values()) if styles is None else styles)
        self._beats: dict[tuple[str, int], beats.Beat] = {}
        chosen = [info for info in infos if info.attributes.get("split", "train") == split]
        self.places = [
            Place(info.name, block, half)
            for info in chosen
            for block in range(info.shape[0])
            for half in (range(1, 2) if self.answers else range(2 if self.paired else 1))
        ]
        self.followers = _followers(chosen, reader) if self.answers else {}
        self.songs = len(chosen)
        if split == "train" and not self.places:
            raise MusiganError(
                f"none of the {len(infos)} songs of the keys store is marked for training; "
                "lower --validation of pair-chunks, or add songs"
            )

    def __len__(self) -> int:
        return len(self.places)

    def roll(self, epoch: int, index: int) -> np.ndarray:
        """Roll `index` as epoch `epoch` sees it: (C, K, T) in model space. The same arguments give the same roll."""
        return self.example(epoch, index)[0]

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Roll `index` as epoch `epoch` sees it, (C, K, T) in model space, and its conditions by name."""
        place, rng = self.places[index], np.random.default_rng([self.seed, epoch, index])
        whole, frames = self._whole(place.item, place.block), self.shape.frames
        start = place.half * frames
        if self.paired and self.augment.crop and not self.answers:
            start = int(rng.integers(0, frames + 1))
        follower = self.followers.get((place.item, place.block))
        if self.answers and self.augment.crop and follower is not None:
            start += int(rng.integers(0, 2 * frames))
            whole = np.concatenate((whole, self._whole(place.item, follower)), -1)
        first = start - frames if self.answers else start
        values = self._augment(np.asarray(whole[..., first : start + frames], np.float32), rng)
        if not np.isfinite(values).all():
            raise StoreError(f"item {place.item} of the keys store holds values that are not numbers; make it again")
        values = compress(values, self.compression)
        before, roll = (values[..., :frames], values[..., frames:]) if self.answers else (None, values)
        if before is not None and rng.random() < self.augment.silent_question:
            before = np.zeros_like(before)
        beat = self._beat(place, whole).seen_from(start * self.frame_seconds) if "tempo" in self.needs else None
        excerpt = Excerpt(
            self._attributes[place.item], self._seconds(place, start), before, roll, self.frame_seconds, rng, beat,
            self.styles,
        )  # fmt: skip
        return roll, {name: CONDITIONS[name](excerpt) for name in self.needs}

    def _whole(self, item: str, index: int) -> np.ndarray:
        """A pair or chunk as it lies in its song, (C, K, T or 2T), as stored."""
        channels, keys, frames = self.shape.channels, self.shape.keys, self.shape.frames
        block = self.reader.block(item, index).reshape(-1, channels, keys, frames)
        return np.asarray(block.transpose(1, 2, 0, 3).reshape(channels, keys, -1))

    def _seconds(self, place: Place, start: int) -> float:
        """Where in its song a roll begins that starts `start` frames into its block."""
        starts = self._attributes[place.item].get("starts") or ()
        return (float(starts[place.block]) if place.block < len(starts) else 0.0) + start * self.frame_seconds

    @property
    def frame_seconds(self) -> float:
        """How long a frame lasts."""
        return float(self.reader.attributes.get("frame_seconds", 0.02))

    def _beat(self, place: Place, whole: np.ndarray) -> beats.Beat:
        """The beat from a block's first frame on: what its song says, or what the onsets of (C, K, T) suggest.

        A block, not the song, is what onsets are looked at of: hands that play do not keep one tempo for minutes.
        """
        at = place.item, place.block
        if at not in self._beats:
            said = beats.said(self._attributes[place.item])
            found = said.seen_from(self._seconds(place, 0)) if said else beats.estimate(whole, self.frame_seconds)
            self._beats[at] = found or beats.Beat()
        return self._beats[at]

    def manners(self) -> list[list[Any]]:
        """Style, tempo and beats in a bar of each song; a beat it does not say is found in its first block."""
        found: dict[str, list[Any]] = {}
        for place in self.places:
            if place.item not in found:
                beat = self._beat(place, self._whole(place.item, place.block))
                found[place.item] = [style_of(self._attributes[place.item]), round(beat.tempo, 2), beat.beats]
        return list(found.values())

    def _augment(self, loudness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Linear loudness (C, K, T), changed at random; the draws are the same whichever changes are on."""
        swap, gain, shift = rng.random(), rng.random(), rng.random()
        if self.augment.swap_channels and not self.tracks and loudness.shape[0] == 2 and swap < 0.5:
            loudness = loudness[::-1]
        if self.augment.gain:
            loudness = loudness * np.float32(1.0 - self.augment.gain * gain)
        span = self.augment.transpose_keys
        keys = int(np.floor(shift * (2 * span + 1))) - span
        moved = transpose(loudness, keys)
        if keys and DRUMS in self.tracks:  # a drum moved by a key is another drum
            drums = self.tracks.index(DRUMS)
            moved[drums] = loudness[drums]
        return moved

    def store_attributes(self) -> dict[str, Any]:
        """The store's attributes, with `level`: the median factor back to full scale of its songs.

        Where they are needed, the names of the `styles` and the `manners` of the songs, too.
        """
        levels = [float(info.attributes["level"]) for info in self.reader.infos() if "level" in info.attributes]
        attributes = {k: v for k, v in dict(self.reader.attributes).items() if k not in ("expected", "items")}
        if "style" in self.needs:
            attributes["styles"] = list(self.styles)
        if "tempo" in self.needs:
            attributes["manners"] = self.manners()
        return {**attributes, "level": float(np.median(levels)) if levels else 0.1}

    def fingerprint(self) -> dict[str, Any]:
        """What tells this store from another: plain values, the same for the same content list."""
        infos = list(self.reader.infos())
        listing = [[info.name, list(info.shape), str(info.attributes.get("title", ""))] for info in infos]
        listing.append([info.attributes.get("level") for info in infos])
        # The same songs, cut or held back otherwise, are other rolls.
        listing.append([[info.attributes.get("split"), info.attributes.get("starts")] for info in infos])
        return {
            "songs": len(infos),
            "chunks": int(sum(info.shape[0] * (2 if self.paired else 1) for info in infos)),
            "channels, keys, frames": [self.shape.channels, self.shape.keys, self.shape.frames],
            "digest": hashlib.sha256(json.dumps(listing, sort_keys=True, default=str).encode()).hexdigest()[:16],
        }


def _followers(infos: Sequence[Info], reader: Reader) -> dict[tuple[str, int], int]:
    """By item and pair, the pair that begins where that one ends, where there is one.

    Pairs of an item that does not say when they start follow each other.
    """
    span = 2 * float(reader.attributes.get("chunk_seconds", 0.0))
    found = {}
    for info in infos:
        starts = info.attributes.get("starts") or [index * span for index in range(info.shape[0])]
        begins = {round(float(start), 3): index for index, start in enumerate(starts)}
        for index, start in enumerate(starts):
            follower = begins.get(round(float(start) + span, 3))
            if follower is not None and follower != index:
                found[info.name, index] = follower
    return found


def transpose(roll: np.ndarray, keys: int) -> np.ndarray:
    """(C, K, T) moved up by `keys` (down if negative); keys moved in from outside are silent."""
    if keys == 0:
        return roll
    moved = np.zeros_like(roll)
    if keys > 0:
        moved[:, keys:] = roll[:, :-keys]
    else:
        moved[:, :keys] = roll[:, -keys:]
    return moved


def _roll_shape(infos: Sequence[Info]) -> RollShape:
    """The (C, K, T) that all items share."""
    first = infos[0]
    for info in infos:
        if len(info.shape) not in (4, 5) or (len(info.shape) == 5 and info.shape[1] != 2) or 0 in info.shape[1:]:
            raise StoreError(
                f"item {info.name} has shape {tuple(info.shape)}; expected (pairs, 2, channels, keys, frames) or "
                "(chunks, channels, keys, frames)"
            )
        if tuple(info.shape[1:]) != tuple(first.shape[1:]):
            raise StoreError(
                f"item {info.name} has rolls of shape {tuple(info.shape[1:])}, item {first.name} of "
                f"{tuple(first.shape[1:])}; make the store again with one setting for all songs"
            )
    channels, keys, frames = first.shape[-3:]
    return RollShape(int(channels), int(keys), int(frames))


def steps_per_epoch(dataset: RollDataset, batch_size: int) -> int:
    """Batches that one pass over the rolls takes."""
    return -(-len(dataset) // batch_size)


def batch_indices(dataset: RollDataset, batch_size: int, epoch: int) -> list[np.ndarray]:
    """A shuffled pass over the rolls in batches of exactly `batch_size`: the last is filled from the pass's start."""
    order = np.random.default_rng([dataset.seed, epoch, 1 << 20]).permutation(len(dataset))
    filled = np.resize(order, steps_per_epoch(dataset, batch_size) * batch_size)
    return list(filled.reshape(-1, batch_size))


def stacked(examples: Sequence[tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> Batch:
    """Examples of a dataset, each a roll (C, K, T) and its conditions, as a batch."""
    import torch

    rolls, given = zip(*examples, strict=True)
    conditions = {name: torch.from_numpy(np.stack([one[name] for one in given])) for name in given[0]}
    return Batch(torch.from_numpy(np.stack(rolls)), conditions)


def batches(
    dataset: RollDataset,
    batch_size: int,
    epoch: int,
    first: int = 0,
    workers: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Batches `first` and on of epoch `epoch`: rolls (B, C, K, T) float32 on `device`, in order.

    While one is in use the next `workers` are read, by as many threads; what a batch holds does not depend on them.
    For a GPU they wait in pinned memory, so that their copy does not hold up the thread that asks for work.
    """
    import torch

    pinned = torch.device(device).type == "cuda"

    def load(indices: np.ndarray) -> Batch:
        batch = stacked([dataset.example(epoch, int(index)) for index in indices])
        return batch.pinned() if pinned else batch

    plan = iter(batch_indices(dataset, batch_size, epoch)[first:])
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rolls")
    try:
        ahead = deque(pool.submit(load, indices) for indices in itertools.islice(plan, workers))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(load, indices) for indices in itertools.islice(plan, 1))
            yield batch.to(device, non_blocking=pinned)
    finally:
        pool.shutdown(cancel_futures=True)

"""Rolls for training, read from a keys store: random crops, cheap augmentations, seeded per (epoch, index).

Conventions: a roll is (C, K, T) float32 in *model space*, [0, 1]: the store's linear loudness relative to its song's
level, clipped at 1 and compressed. Only `compress` and `expand` know the compression; real and generated rolls are
both in this space. Rolls are read when they are needed, so memory does not grow with the collection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic.dataclasses import dataclass as checked_dataclass

from musigan.datasets.conditions import CONDITIONS, RollSource, style_of, styles_of
from musigan.datasets.record import TYPICAL_LEVEL, MusicRecord, SongStatistics
from musigan.errors import MusiganError, StoreError
from musigan.rolls import beats
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.kit import kit_rows
from musigan.rolls.loudness import Compression, compress
from musigan.rolls.shape import RollShape
from musigan.rolls.tone import average
from musigan.rolls.tracks import has_own_drums, swapped_sides, transposed, unpitched_instruments
from musigan.settings import CHECKED, CountOrNone, Share, ShareBelowOne
from musigan.store import ItemInfo, Reader, StoreHeader
from musigan.store.header import PLAIN
from musigan.store.splits import HELD_BACK, held_out_names, marked_names


@checked_dataclass(frozen=True, config=CHECKED)
class AugmentSettings:
    """Random changes to a training roll. With all off, rolls are the chunks as they are in the store."""

    crop: bool = True  # start anywhere inside a pair of chunks, not only where a chunk starts
    swap_channels: bool = True  # swap left and right with probability 1/2 (stereo only)
    gain: ShareBelowOne = 0.0  # loudness times a random factor in [1 - gain, 1]; generated music gets as much quieter
    transpose_keys: CountOrNone = 2  # transpose by up to so many keys, up or down; keys that become free are silent
    swing: Share = 0.0  # share of excerpts on the grid of beats whose halves become two thirds and a third of a beat
    silent_question: Share = 0.0  # share of calls replaced by silence, for families that answer (needs `question`)


NO_AUGMENT = AugmentSettings(crop=False, swap_channels=False, gain=0.0, transpose_keys=0)


@dataclass(frozen=True)
class RollPlace:
    """The place of one roll in a store: item, block along the first axis, and half of a pair (0 or 1)."""

    item: str
    block: int
    half: int


class RollDataset:
    """The rolls of one split of a keys store, one per chunk; `reader` must stay open as long as this is used.

    `needs` names the conditions of each roll (see conditions.py); `styles` lists the styles that get a number, by
    default the store's own; `held_out` names the items of the split `validation`, by default those of
    `held_out_names`. Raises StoreError for items of another shape than the first, MusiganError where there is nothing
    to train on or the store cannot provide a condition.
    """

    name, rolls_each = "rolls", 1.0  # as examples: musigan.datasets.batches

    def __init__(
        self,
        reader: Reader,
        split: Literal["train", "validation"] = "train",
        augment: AugmentSettings = NO_AUGMENT,
        compression: Compression = "sqrt",
        seed: int = 0,
        needs: Sequence[str] = (),
        styles: Sequence[str] | None = None,
        held_out: frozenset[str] | None = None,
    ) -> None:
        self.reader, self.split, self.augment = reader, split, augment
        self.compression, self.seed = compression, seed
        self.needs = tuple(needs)
        self.answers = "question" in self.needs  # each roll comes with the chunk before it
        infos = list(reader.infos())
        if not infos:
            raise MusiganError("the keys store holds no songs; nothing to train on")
        self.tracks = reader.header.tracks
        self.shape = _roll_shape(infos, reader.header)
        self.paired = len(infos[0].shape) == 5
        if self.answers and not self.paired:
            raise MusiganError("the keys store holds chunks without their continuations; cut the songs by pair-chunks")
        self._songs = {info.name: info.song for info in infos}
        self.styles = tuple(styles_of(self._songs.values()) if styles is None else styles)
        self._beats: dict[tuple[str, int], beats.Beat] = {}
        self.held_out = held_out_names(reader) if held_out is None else held_out
        split_infos = [
            info
            for info in infos
            if ("validation" if info.name in self.held_out else info.song.split or "train") == split
        ]
        self.places = [
            RollPlace(info.name, block, half)
            for info in split_infos
            for block in range(info.shape[0])
            for half in (range(1, 2) if self.answers else range(2 if self.paired else 1))
        ]
        self.next_pairs = _next_pairs(split_infos, reader) if self.answers else {}
        self.songs = len(split_infos)
        if split == "train" and not self.places:
            raise MusiganError(
                f"none of the {len(infos)} songs of the keys store is marked for training; "
                "lower --validation of pair-chunks, or add songs"
            )

    def __len__(self) -> int:
        return len(self.places)

    def few(self, songs: int) -> RollDataset:
        """Return the rolls to measure a pace on: all, of which a step reads only its own."""
        return self

    def roll(self, epoch: int, index: int) -> np.ndarray:
        """Return roll `index` of epoch `epoch`, (C, K, T) in model space. The same arguments give the same roll."""
        return self.example(epoch, index)[0]

    def example(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return roll `index` of epoch `epoch`, (C, K, T) in model space, and its conditions by name.

        Raises StoreError for values that are not finite.
        """
        place, rng = self.places[index], np.random.default_rng([self.seed, epoch, index])
        block_roll, frames = self._block_roll(place.item, place.block), self.shape.frames
        start = place.half * frames
        if self.paired and self.augment.crop and not self.answers:
            start = int(rng.integers(0, frames + 1))
        follower = self.next_pairs.get((place.item, place.block))
        if self.answers and self.augment.crop and follower is not None:
            start += int(rng.integers(0, 2 * frames))
            block_roll = np.concatenate((block_roll, self._block_roll(place.item, follower)), -1)
        first = start - frames if self.answers else start
        values = self._augment(np.asarray(block_roll[..., first : start + frames], np.float32), rng)
        if not np.isfinite(values).all():
            raise StoreError(f"item {place.item} of the keys store holds values that are not numbers; make it again")
        values = compress(values, self.compression)
        before, roll = (values[..., :frames], values[..., frames:]) if self.answers else (None, values)
        if before is not None and rng.random() < self.augment.silent_question:
            before = np.zeros_like(before)
        beat = self._beat(place, block_roll).counted_from(start * self.frame_seconds) if "tempo" in self.needs else None
        excerpt = RollSource(
            self._songs[place.item], self._seconds(place, start), before, roll, self.frame_seconds, rng, beat,
            self.styles,
        )  # fmt: skip
        return roll, {name: CONDITIONS[name](excerpt) for name in self.needs}

    def _block_roll(self, item: str, index: int) -> np.ndarray:
        """Read a chunk (C, K, T), or a pair as one continuous roll (C, K, 2T), in the stored dtype."""
        channels, keys, frames = self.shape.channels, self.shape.keys, self.shape.frames
        block = self.reader.block(item, index).reshape(-1, channels, keys, frames)
        return np.asarray(block.transpose(1, 2, 0, 3).reshape(channels, keys, -1))

    def _seconds(self, place: RollPlace, start: int) -> float:
        """Return the time in seconds, in its song, of a roll that starts `start` frames into its block."""
        starts = self._songs[place.item].starts
        return (float(starts[place.block]) if place.block < len(starts) else 0.0) + start * self.frame_seconds

    @property
    def frame_seconds(self) -> float:
        """Duration of a frame in seconds."""
        return float(self.reader.header.frame_seconds)

    def _beat(self, place: RollPlace, whole: np.ndarray) -> beats.Beat:
        """Return the beat of a block, from its first frame on: the song's own, or an estimate from `whole` (C, K, T).

        The onsets of the block and not of the whole song count: players do not keep one tempo for minutes.
        """
        key = place.item, place.block
        if key not in self._beats:
            song_beat = self._songs[place.item].beat
            beat = (
                song_beat.counted_from(self._seconds(place, 0))
                if song_beat
                else beats.estimate(whole, self.frame_seconds)
            )
            self._beats[key] = beat or beats.Beat()
        return self._beats[key]

    def song_statistics(self) -> tuple[SongStatistics, ...]:
        """Return style, tempo and beats in a bar of each song; a beat that it does not state is estimated.

        The estimate is made from the song's first block.
        """
        statistics: dict[str, SongStatistics] = {}
        for place in self.places:
            if place.item not in statistics:
                beat = self._beat(place, self._block_roll(place.item, place.block))
                style = style_of(self._songs[place.item])
                statistics[place.item] = SongStatistics(style, round(beat.tempo, 2), beat.beats)
        return tuple(statistics.values())

    def _augment(self, loudness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change linear loudness (C, K, T) at random; the random draws are the same whichever changes are on."""
        swap, gain, shift = rng.random(), rng.random(), rng.random()
        if self.augment.swap_channels and swap < 0.5:
            loudness = swapped_sides(loudness, self.tracks)
        if self.augment.gain:
            loudness = loudness * np.float32(1.0 - self.augment.gain * gain)
        span = self.augment.transpose_keys
        keys = int(np.floor(shift * (2 * span + 1))) - span
        return transposed(loudness, keys, self.tracks)

    def record(self) -> MusicRecord:
        """Return what a checkpoint keeps of the store; `level` is the median of its songs', `tone` their average.

        With it the names of the `styles` and each song's statistics, where a condition needs them.
        """
        levels = [float(song.level) for song in self._songs.values() if song.level is not None]
        names = dict.fromkeys(place.item for place in self.places)  # of the songs that are learned from
        return MusicRecord(
            replace(self.reader.header, expected=None, items=None, format=PLAIN),
            float(np.median(levels)) if levels else TYPICAL_LEVEL,
            self.styles if "style" in self.needs else None,
            self.song_statistics() if "tempo" in self.needs else None,
            tone=average([tone for tone in (self._songs[name].tone for name in names) if tone is not None]),
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return plain values that identify the store: equal for stores with the same list of contents."""
        infos = list(self.reader.infos())
        listing: list[Any] = [[info.name, list(info.shape), info.song.title] for info in infos]
        listing.append([info.song.level for info in infos])
        # The same songs, cut or split in another way, give other rolls.
        listing.append([[info.song.split or None, info.song.starts or None] for info in infos])
        chosen = {} if self.held_out == marked_names(self.reader) else {HELD_BACK: sorted(self.held_out)}
        return chosen | {
            "songs": len(infos),
            "chunks": int(sum(info.shape[0] * (2 if self.paired else 1) for info in infos)),
            "channels, keys, frames": [self.shape.channels, self.shape.keys, self.shape.frames],
            "digest": hashlib.sha256(json.dumps(listing, sort_keys=True, default=str).encode()).hexdigest()[:16],
        }


def _next_pairs(infos: Sequence[ItemInfo], reader: Reader) -> dict[tuple[str, int], int]:
    """Map (item, pair) to the pair that begins where that one ends, where there is one.

    Pairs of an item without `starts` follow each other.
    """
    span = 2 * float(reader.header.chunk_seconds)
    next_pairs = {}
    for info in infos:
        starts = info.song.start_times(info.shape[0], span)
        index_by_start = {round(float(start), 3): index for index, start in enumerate(starts)}
        for index, start in enumerate(starts):
            follower = index_by_start.get(round(float(start) + span, 3))
            if follower is not None and follower != index:
                next_pairs[info.name, index] = follower
    return next_pairs


def _roll_shape(infos: Sequence[ItemInfo], header: StoreHeader) -> RollShape:
    """Return the (C, K, T) that all items share. Raises StoreError where they do not share one."""
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
    has_drums = has_own_drums(header.tracks)
    kit = kit_rows(KeyRange(header.low_key, header.high_key)) if has_drums else ()
    return RollShape(int(channels), int(keys), int(frames), has_drums, kit, unpitched_instruments(header.tracks))

"""Sets of rolls to be judged: their source, and how many rolls of which songs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.datasets.rolls import NO_AUGMENT, RollDataset
from musigan.errors import MusiganError, StoreError
from musigan.machine.reporting import counted
from musigan.metrics.describing import as_sides, picture
from musigan.metrics.drawing import evenly
from musigan.metrics.matching import PairSet
from musigan.metrics.piecesets import PieceMusic, store_source
from musigan.rolls.loudness import expand
from musigan.rolls.shape import Geometry
from musigan.store import Reader
from musigan.store.chunks import is_validation
from musigan.store.songs import piece_roll, read_item
from musigan.store.splits import held_out_names, marked_names

if TYPE_CHECKING:
    from musigan.rolls.shape import RollShape

Songs = Callable[[], Iterator[tuple[str, np.ndarray]]]


@dataclass(frozen=True)
class RollSet:
    """Rolls read on demand; `songs` is the song of each."""

    songs: np.ndarray  # (N,) str
    roll: Callable[[int], np.ndarray]  # number -> (C, K, T), linear loudness

    def __len__(self) -> int:
        return len(self.songs)

    def drawn(self, count: int, seed: int) -> RollSet:
        """Draw at most `count` of the rolls, evenly among the songs, in a random order."""
        return self.chosen(evenly(self.songs, count, np.random.default_rng(seed)))

    def whole_songs(self, most: int, seed: int) -> RollSet:
        """Return `most` rolls, or all if they are fewer, of as few random songs as have them.

        A song longer than a tenth of `most` counts for a tenth only, and the longest songs give up the surplus.
        Otherwise one long recording could fill the whole set.
        """
        names, counts = np.unique(self.songs, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(names))
        cumulative_counts = np.cumsum(np.minimum(counts[order], max(1, most // 10)))
        song_names = names[order[: int(np.searchsorted(cumulative_counts, most)) + 1]]
        candidates = self.chosen(np.flatnonzero(np.isin(self.songs, song_names)))
        return candidates.drawn(most, seed) if len(candidates) > most else candidates

    def chosen(self, numbers: np.ndarray) -> RollSet:
        """Return the rolls of these numbers."""
        return RollSet(self.songs[numbers], lambda number: self.roll(int(numbers[number])))

    def rolls(self) -> Iterator[np.ndarray]:
        """Yield the rolls one after another."""
        return (self.roll(number) for number in range(len(self)))


@dataclass(frozen=True)
class Collection:
    """Real music: rolls to learn from, held-out rolls, and the training songs whole (as pictures)."""

    geometry: Geometry
    shape: RollShape
    training: RollSet
    held_out: RollSet
    training_songs: Songs
    split: str  # how the songs were divided, in words
    pieces: PieceMusic
    pairs: tuple[PairSet, PairSet] | None = None  # training and held-out calls and answers, of songs cut in pairs


def collection_of(reader: Reader, held: frozenset[str] | None = None) -> Collection:
    """Divide a keys store by song as its items say; in halves, by the songs' content, where they do not say.

    `held` are the names of the items that a run held back; None: those that training holds back by itself. Raises
    MusiganError where there are fewer than two songs.
    """
    infos = reader.infos()
    held_names = held_out_names(reader) if held is None else held
    split = "as the store says"
    if held_names != marked_names(reader):
        split = "as training divides a store that holds fewer than two back"
    if not held_names or len(held_names) == len(infos):
        split = f"in halves, for the store holds {'all' if held_names else 'none'} back"
        held_names = frozenset(i.name for i in infos if is_validation(i.song.content or i.name, 0.5))
    if len(held_names) in (0, len(infos)):
        raise MusiganError(
            f"{reader.source}: {counted(len(infos), 'songs')} cannot be divided into songs to learn from and songs "
            "held back; more songs are needed"
        )
    rolls, shape = _rolls_of(reader)
    geometry = reader.header.geometry
    is_held_out = np.isin(rolls.songs, list(held_names))

    def songs() -> Iterator[tuple[str, np.ndarray]]:
        """Yield pictures of the training songs."""
        for info in infos:
            if info.name not in held_names:
                roll = piece_roll(read_item(reader, info), geometry.frame_seconds)
                yield info.name, picture(as_sides(roll, geometry.tracks), geometry.frame_seconds)

    training, held_out = (rolls.chosen(np.flatnonzero(side)) for side in (~is_held_out, is_held_out))
    names = [[info.name for info in infos if (info.name in held_names) == side] for side in (False, True)]
    pieces = PieceMusic(*(store_source(reader, of_side) for of_side in names))
    return Collection(geometry, shape, training, held_out, songs, split, pieces, _pairs_of(reader, held_names))


def _pairs_of(reader: Reader, held: frozenset[str]) -> tuple[PairSet, PairSet] | None:
    """Return the pairs of songs not in `held` and of those in it; None where songs are cut in single chunks."""
    if any(len(info.shape) != 5 for info in reader.infos()):
        return None
    sides = [
        RollDataset(reader, split, NO_AUGMENT, needs=("question",), held_out=marked_names(reader))
        for split in _splits(reader)
    ]
    places = [(side, number) for side in sides for number in range(len(side))]
    songs = np.array([side.places[number].item for side, number in places])

    def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one pair, linear."""
        side, index = places[number]
        answer, conditions = side.example(0, index)
        return expand(conditions["question"], side.compression), expand(answer, side.compression)

    all_pairs, is_held = PairSet(songs, pair), np.isin(songs, list(held))
    return all_pairs.chosen(np.flatnonzero(~is_held)), all_pairs.chosen(np.flatnonzero(is_held))


def store_set(reader: Reader, like: Collection) -> RollSet:
    """Return all whole rolls of a keys store of samples, which must have the shape of the real ones.

    The end of a piece, padded with silence to a whole roll, is left out. Raises MusiganError where shapes differ.
    """
    rolls, shape = _rolls_of(reader)
    geometry = reader.header.geometry
    require_alike(reader.source, shape, geometry, like)
    # Every store numbers its songs from 000001, but a sample is not of the real song with its number.
    sample_rolls = RollSet(np.array([f"sample {song}" for song in rolls.songs]), rolls.roll)
    return sample_rolls.chosen(
        np.flatnonzero(_is_whole_roll(reader, rolls.songs, shape.frames * geometry.frame_seconds))
    )


def _is_whole_roll(reader: Reader, songs: np.ndarray, roll_seconds: float) -> np.ndarray:
    """Return which rolls (N,) lie within their item's length in `seconds` and after the music it continues."""
    durations = {info.name: info.song.seconds for info in reader.infos()}
    primed_seconds = {info.name: info.song.primed_seconds or 0.0 for info in reader.infos()}
    roll_counts = dict.fromkeys(durations, 0)
    is_whole = np.ones(len(songs), bool)
    for number, song in enumerate(songs):
        roll_counts[song] += 1
        seconds = durations[song]
        is_whole[number] = seconds is None or roll_counts[song] * roll_seconds <= float(seconds) + 1e-6
        is_whole[number] &= (roll_counts[song] - 1) * roll_seconds >= primed_seconds[song] - 1e-6
    return is_whole


def _rolls_of(reader: Reader) -> tuple[RollSet, Any]:
    """Return every chunk of every song, of all splits, and the shape of a roll."""
    sides = [RollDataset(reader, split, NO_AUGMENT, held_out=marked_names(reader)) for split in _splits(reader)]
    places = [(side, number) for side in sides for number in range(len(side))]
    songs = np.array([side.places[number].item for side, number in places])

    def roll(number: int) -> np.ndarray:
        """Return one chunk, linear."""
        side, index = places[number]
        return expand(side.roll(0, index), side.compression)

    return RollSet(songs, roll), sides[0].shape


def _splits(reader: Reader) -> Sequence[Any]:
    splits = {info.song.split or "train" for info in reader.infos()}
    if not splits:
        raise StoreError(f"{reader.source}: holds no songs: nothing to judge")
    if splits - {"train", "validation"}:
        raise StoreError(f"{reader.source}: songs are of split {sorted(splits)}; expected train or validation")
    return sorted(splits)


def require_alike(name: str, shape: RollShape, geometry: Geometry, like: Collection) -> None:
    """Raise MusiganError unless rolls of this shape and geometry can be compared with those of `like`."""
    for property_name, ours, theirs in (
        ("channels, keys and frames", shape, like.shape),
        ("frame length, lowest key and tracks", geometry, like.geometry),
    ):
        if ours != theirs:
            raise MusiganError(
                f"{name}: its {property_name} are {ours}, those of the real music {theirs}: both must be alike"
            )

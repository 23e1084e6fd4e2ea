"""Sets of rolls to be judged: where they come from, and how many of which songs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from musigan.chunks import is_validation
from musigan.data import NO_AUGMENT, Reader, RollDataset, expand
from musigan.errors import MusiganError, StoreError
from musigan.metrics.describing import as_sides, picture
from musigan.metrics.description import Geometry
from musigan.metrics.matching import PairSet

if TYPE_CHECKING:
    from musigan.models import RollShape
    from musigan.sampling import Sampler

Songs = Callable[[], Iterator[tuple[str, np.ndarray]]]


def evenly(songs: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """At most `count` numbers of rolls in a random order, the songs (N,) taking turns."""
    order = generator.permutation(len(songs))
    _, inverse = np.unique(songs[order], return_inverse=True)
    turn = np.zeros(len(order), int)  # how many of its song come before a roll
    for song in range(inverse.max(initial=-1) + 1):
        mine = inverse == song
        turn[mine] = np.arange(mine.sum())
    return np.asarray(order[np.argsort(turn, kind="stable")][:count])


@dataclass(frozen=True)
class RollSet:
    """Rolls that are read when asked for; `songs` says of which song each is."""

    songs: np.ndarray  # (N,) str
    roll: Callable[[int], np.ndarray]  # number -> (C, K, T), linear loudness

    def __len__(self) -> int:
        return len(self.songs)

    def drawn(self, count: int, seed: int) -> RollSet:
        """At most `count` of the rolls, evenly among the songs, in a random order."""
        return self.chosen(evenly(self.songs, count, np.random.default_rng(seed)))

    def whole_songs(self, most: int, seed: int) -> RollSet:
        """`most` rolls, or all if they are fewer, of as few songs chosen at random as have them.

        A song longer than a tenth of that counts for a tenth only, and the longest give up what is too much: else one
        long recording would be all there is.
        """
        names, counts = np.unique(self.songs, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(names))
        together = np.cumsum(np.minimum(counts[order], max(1, most // 10)))
        kept = names[order[: int(np.searchsorted(together, most)) + 1]]
        whole = self.chosen(np.flatnonzero(np.isin(self.songs, kept)))
        return whole.drawn(most, seed) if len(whole) > most else whole

    def chosen(self, numbers: np.ndarray) -> RollSet:
        """The rolls of these numbers."""
        return RollSet(self.songs[numbers], lambda number: self.roll(int(numbers[number])))

    def rolls(self) -> Iterator[np.ndarray]:
        """One after another."""
        return (self.roll(number) for number in range(len(self)))


@dataclass(frozen=True)
class Collection:
    """Real music: rolls to learn from, rolls held back, and the training songs whole (as pictures)."""

    geometry: Geometry
    shape: RollShape
    training: RollSet
    held_out: RollSet
    training_songs: Songs
    split: str  # how it was divided, for people
    pairs: tuple[PairSet, PairSet] | None = None  # questions and answers of either side, where songs are cut in pairs


def collection_of(reader: Reader) -> Collection:
    """A keys store, divided by song as it says; in halves, by the songs' content, where it does not say.

    Raises MusiganError where there are fewer than two songs.
    """
    infos = reader.infos()
    held = {info.name for info in infos if info.attributes.get("split") == "validation"}
    split = "as the store says"
    if not held or len(held) == len(infos):
        split = f"in halves, for the store holds {'all' if held else 'none'} back"
        held = {info.name for info in infos if is_validation(str(info.attributes.get("content", info.name)), 0.5)}
    if len(held) in (0, len(infos)):
        raise MusiganError(
            f"{reader.source}: {len(infos)} songs cannot be divided into songs to learn from and songs held back; "
            "more songs are needed"
        )
    rolls, shape = _rolls_of(reader)
    geometry = Geometry.of(reader.attributes)
    is_held = np.isin(rolls.songs, list(held))

    def songs() -> Iterator[tuple[str, np.ndarray]]:
        """Pictures of the training songs."""
        from musigan.keysettings import KeySettings
        from musigan.rendering import piece_roll
        from musigan.store import Item

        settings = KeySettings.from_attributes(reader.attributes)
        for info in infos:
            if info.name not in held:
                roll = piece_roll(Item(cast(Any, info), reader.read(info.name)), settings)
                yield info.name, picture(as_sides(roll, geometry.tracks), geometry.frame_seconds)

    training, held_out = (rolls.chosen(np.flatnonzero(side)) for side in (~is_held, is_held))
    return Collection(geometry, shape, training, held_out, songs, split, _pairs_of(reader, held))


def _pairs_of(reader: Reader, held: set[str]) -> tuple[PairSet, PairSet] | None:
    """Every pair of songs that are not `held` and of those that are; None where songs are cut into chunks alone."""
    if any(len(info.shape) != 5 for info in reader.infos()):
        return None
    sides = [RollDataset(reader, split, NO_AUGMENT, needs=("question",)) for split in _splits(reader)]
    places = [(side, number) for side in sides for number in range(len(side))]
    songs = np.array([side.places[number].item for side, number in places])

    def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
        """One pair, linear."""
        side, index = places[number]
        answer, given = side.example(0, index)
        return expand(given["question"], side.compression), expand(answer, side.compression)

    every, is_held = PairSet(songs, pair), np.isin(songs, list(held))
    return every.chosen(np.flatnonzero(~is_held)), every.chosen(np.flatnonzero(is_held))


def sampled_collection(sampler: Sampler, count: int, seed: int) -> Collection:
    """Pieces of a checkpoint in the place of real music: `count` held back, twice as many to learn from."""
    geometry = Geometry.of(sampler.store)
    frames = sampler.shape.frames
    songs = np.array([f"piece {number}" for number in range(1, 3 * count + 1)])
    rolls = RollSet(songs, lambda number: sampler.piece(seed, number + 1, frames).roll)
    training, held_out = rolls.chosen(np.arange(count, 3 * count)), rolls.chosen(np.arange(count))

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        """Pictures of the pieces to learn from."""
        for name, roll in zip(training.songs, training.rolls(), strict=True):
            yield str(name), picture(as_sides(roll, geometry.tracks), geometry.frame_seconds)

    return Collection(geometry, sampler.shape, training, held_out, pictures, "by piece, all of them drawn")


def store_set(reader: Reader, like: Collection) -> RollSet:
    """All whole rolls of a keys store of samples, which must be of the shape of the real ones.

    What is left at the end of a piece, filled up with silence, is no roll.
    """
    rolls, shape = _rolls_of(reader)
    ours = Geometry.of(reader.attributes)
    _require_alike(reader.source, shape, ours, like)
    # Songs of every store are numbered from 000001: a sample is not of the real song of its number.
    named = RollSet(np.array([f"sample {song}" for song in rolls.songs]), rolls.roll)
    return named.chosen(np.flatnonzero(_whole(reader, rolls.songs, shape.frames * ours.frame_seconds)))


def _whole(reader: Reader, songs: np.ndarray, roll_seconds: float) -> np.ndarray:
    """Which rolls (N,) of a store lie within the `seconds` that their item says it lasts, behind what was given."""
    lasts = {info.name: info.attributes.get("seconds") for info in reader.infos()}
    given = {info.name: float(info.attributes.get("primed_seconds", 0.0)) for info in reader.infos()}
    turn = dict.fromkeys(lasts, 0)
    whole = np.ones(len(songs), bool)
    for number, song in enumerate(songs):
        turn[song] += 1
        seconds = lasts[song]
        whole[number] = seconds is None or turn[song] * roll_seconds <= float(seconds) + 1e-6
        whole[number] &= (turn[song] - 1) * roll_seconds >= given[song] - 1e-6
    return whole


def sampled_set(sampler: Sampler, like: Collection, count: int, seed: int, name: str) -> RollSet:
    """`count` pieces of a checkpoint, as long as the real rolls, drawn when asked for."""
    ours = Geometry.of(sampler.store)
    _require_alike(name, sampler.shape, ours, like)
    frames = like.shape.frames
    songs = np.array([f"piece {number}" for number in range(1, count + 1)])
    return RollSet(songs, lambda number: sampler.piece(seed, number + 1, frames).roll)


def _rolls_of(reader: Reader) -> tuple[RollSet, Any]:
    """Every chunk of every song, whatever its split."""
    sides = [RollDataset(reader, split, NO_AUGMENT) for split in _splits(reader)]
    places = [(side, number) for side in sides for number in range(len(side))]
    songs = np.array([side.places[number].item for side, number in places])

    def roll(number: int) -> np.ndarray:
        """One chunk, linear."""
        side, index = places[number]
        return expand(side.roll(0, index), side.compression)

    return RollSet(songs, roll), sides[0].shape


def _splits(reader: Reader) -> Sequence[Any]:
    found = {info.attributes.get("split", "train") for info in reader.infos()}
    if not found:
        raise StoreError(f"{reader.source}: holds no songs: nothing to judge")
    if found - {"train", "validation"}:
        raise StoreError(f"{reader.source}: songs are of split {sorted(found)}; expected train or validation")
    return sorted(found)


def _require_alike(name: str, shape: RollShape, geometry: Geometry, like: Collection) -> None:
    for what, ours, theirs in (
        ("channels, keys and frames", shape, like.shape),
        ("frame length, lowest key and tracks", geometry, like.geometry),
    ):
        if ours != theirs:
            raise MusiganError(f"{name}: its {what} are {ours}, those of the real music {theirs}: both must be alike")

"""Sets of rolls to be judged, from stores and from checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from musigan.datasets.domains import domain_names
from musigan.errors import FieldError, MusiganError
from musigan.metrics import genre
from musigan.metrics.describing import as_sides, picture
from musigan.metrics.features import musical_features
from musigan.metrics.genre import TransferredSong, cut_rolls, harmony_similarity, loudness_similarity
from musigan.metrics.piecesets import SHORT_SECONDS, PieceMusic, PieceSource, drawn_source
from musigan.metrics.sets import Collection, RollSet, require_alike
from musigan.rolls.tracks import sides_or_tracks

if TYPE_CHECKING:
    from musigan.sampling.sampler import Sampler
    from musigan.sampling.transfer import Transfer
    from musigan.store import Reader as StoreReader
    from musigan.store.opening import ToolSession

DRAWN_PIECES = 24  # for rhythm and form


def judge_transfer(transfer: Transfer, sources: Sequence[str], session: ToolSession) -> list[str]:
    """Return lines that say what kind the held-out songs of the stores `sources` are taken for.

    The stores are called as the kinds are; FieldError where they are not. Raises StoreError for stores of another
    layout, MusiganError where one holds fewer than two songs back.
    """
    names = domain_names(sources)
    if sorted(names) != sorted(transfer.domains):
        kinds = " and ".join(transfer.domains)
        raise FieldError(
            "{judge} takes a store of each kind, called as in training: {0}; found {1}", kinds, " and ".join(names)
        )
    readers = [session.random_access_reader(sources[names.index(name)], "keys") for name in transfer.domains]
    for reader in readers:
        transfer.check(reader.header, reader.source)
    songs = list(held_out_songs(transfer, readers, lambda title: session.status(f"turning {title}")))
    verdicts = [verdict for kind in genre.CLASSIFIERS for verdict in genre.judge(songs, transfer.domains, kind)]
    return list(genre.lines(verdicts, songs, transfer.domains))


def held_out_songs(
    transfer: Transfer, readers: Sequence[StoreReader], heard: Callable[[str], None] = lambda title: None
) -> Iterator[TransferredSong]:
    """Yield the held-out songs of a store for each kind, turned into the other kind and back.

    `heard` is called with each title. Raises MusiganError where a store holds fewer than two songs back.
    """
    from musigan.store.songs import read_item, whole_song

    frame_seconds, low_key = transfer.store.header.frame_seconds, transfer.store.header.low_key
    frames = transfer.shape.frames
    held_out = [[info for info in reader.infos() if info.song.is_held_out] for reader in readers]
    for reader, infos in zip(readers, held_out, strict=True):
        if len(infos) < 2:
            raise MusiganError(
                f"{reader.source}: songs held back: {len(infos)}; 2 or more are needed, as a classifier learns from "
                "some and is tested on the others: hold more back with pair-chunks --validation"
            )
    for kind, (reader, infos) in enumerate(zip(readers, held_out, strict=True)):
        for info in infos:
            heard(info.song.title or info.name)
            song = whole_song(read_item(reader, info), frame_seconds)
            after = transfer.song(song, 1 - kind)
            whole = (song, after, transfer.song(after, kind))
            versions = [sides_or_tracks(version, transfer.store.header.tracks) for version in whole]
            features = [
                [list(musical_features(roll, frame_seconds, low_key).values()) for roll in cut_rolls(version, frames)]
                for version in versions
            ]
            yield TransferredSong(
                kind,
                np.array(features),
                tuple(loudness_similarity(versions[0], version) for version in versions),
                tuple(harmony_similarity(versions[0], version, frame_seconds) for version in versions),
            )


def sampled_collection(sampler: Sampler, count: int, seed: int) -> Collection:
    """Draw pieces of a checkpoint in place of real music: `count` held out, twice as many to learn from."""
    geometry = sampler.store.header.geometry
    frames = sampler.roll_shape.frames
    songs = np.array([f"piece {number}" for number in range(1, 3 * count + 1)])
    rolls = RollSet(songs, lambda number: sampler.piece(seed, number + 1, frames).roll)
    training, held_out = rolls.chosen(np.arange(count, 3 * count)), rolls.chosen(np.arange(count))

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        """Yield pictures of the pieces to learn from."""
        for name, roll in zip(training.songs, training.rolls(), strict=True):
            yield str(name), picture(as_sides(roll, geometry.tracks), geometry.frame_seconds)

    pieces = PieceMusic(sampled_pieces(sampler, seed, first=count), sampled_pieces(sampler, seed))
    return Collection(geometry, sampler.roll_shape, training, held_out, pictures, "by piece, all of them drawn", pieces)


def sampled_pieces(
    sampler: Sampler, seed: int, first: int = 0, longest: float = SHORT_SECONDS, most: int = DRAWN_PIECES
) -> PieceSource:
    """Return pieces of a checkpoint as a source: `most` at most, from number `first` + 1 on, of `longest` seconds."""

    def piece(number: int, frames: int) -> np.ndarray:
        """Draw one piece."""
        return sampler.piece(seed, first + number, frames).roll

    return drawn_source(piece, sampler.store.header.frame_seconds, longest, most)


def sampled_set(sampler: Sampler, like: Collection, count: int, seed: int, name: str) -> RollSet:
    """Return `count` rolls of a checkpoint, as long as the real ones, drawn on demand.

    A model that composes knows beginnings: its rolls are cut from pieces of half a minute, as those of songs are from
    songs. Others draw a piece for each.
    """
    geometry = sampler.store.header.geometry
    require_alike(name, sampler.roll_shape, geometry, like)
    frames = like.shape.frames
    if not sampler.family.on_beats:
        songs = np.array([f"piece {number}" for number in range(1, count + 1)])
        return RollSet(songs, lambda number: sampler.piece(seed, number + 1, frames).roll)
    cuts = max(int(SHORT_SECONDS / (frames * geometry.frame_seconds) + 1e-6), 1)

    @functools.cache
    def piece(number: int) -> np.ndarray:
        """Draw a piece, once, as its rolls are asked for in any order."""
        return sampler.piece(seed, number + 1, cuts * frames).roll

    def cut(number: int) -> np.ndarray:
        """Cut one roll out of its piece."""
        start = number % cuts * frames
        return piece(number // cuts)[..., start : start + frames]

    return RollSet(np.array([f"piece {number // cuts + 1}" for number in range(count)]), cut)

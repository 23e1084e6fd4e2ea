"""Sets of pieces to be judged: cut from the songs of a store, or drawn, as many and as long as the judge asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from musigan.metrics.bars import BeatGrid, Piece, excerpts
from musigan.metrics.drawing import evenly
from musigan.metrics.pieces import FEWEST_PIECES, PieceOptions, PieceTable, evaluate_pieces
from musigan.rolls.shape import Geometry
from musigan.store import ItemInfo, Reader
from musigan.store.songs import piece_roll, read_item

SHORT_SECONDS, LONG_SECONDS = 30.0, 120.0


@dataclass(frozen=True)
class PieceSource:
    """A source of pieces: `cut(seconds, count, seed)` returns at most `count`, evenly among the songs."""

    cut: Callable[[float, int, int], list[Piece]]
    has_beats: bool = False  # whether every piece comes with beats that somebody found


@dataclass(frozen=True)
class PieceMusic:
    """Real songs to learn from and held-out ones, and samples (None: none)."""

    training: PieceSource
    held_out: PieceSource
    samples: PieceSource | None = None

    def tables(
        self,
        geometry: Geometry,
        options: PieceOptions,
        step: Callable[[str], None] = lambda row: None,
        note: Callable[[str], None] = lambda line: None,
    ) -> list[PieceTable]:
        """Return the tables of pieces of half a minute and of 2 minutes, as far as songs are long and many enough.

        Samples are left out of the longer ones where too few of them are so long; `note` is told of what is left out.
        """
        sources = [source for source in (self.training, self.held_out, self.samples) if source is not None]
        # Beats of the same kind for all, so that no side has an advantage: found by the same code in the rolls.
        knows_beats = all(source.has_beats for source in sources)

        def cut(source: PieceSource, seconds: float) -> list[Piece]:
            """Cut pieces of a length from a source, with beats where all sources know them."""
            count = max(FEWEST_PIECES, round(options.count * SHORT_SECONDS / seconds))  # as much music of any length
            pieces = source.cut(seconds, count, options.seed)
            return pieces if knows_beats else [replace(piece, beats=None) for piece in pieces]

        def table(seconds: float) -> PieceTable | None:
            """Return the table of pieces of one length; None where there are too few songs of that length."""
            training, held_out = cut(self.training, seconds), cut(self.held_out, seconds)
            fewest = min(len(training), len(held_out))
            if fewest < FEWEST_PIECES:
                note(f"pieces of {seconds:g} s are not judged: the songs give {fewest}, {FEWEST_PIECES} are needed")
                return None
            samples = cut(self.samples, seconds) if self.samples is not None else None
            if samples is not None and len(samples) < FEWEST_PIECES:
                note(f"samples are not judged by pieces of {seconds:g} s: {len(samples)} found, {FEWEST_PIECES} needed")
                samples = None
            return evaluate_pieces(
                held_out, training, samples, geometry, options, lambda row: step(f"{row}, pieces of {seconds:g} s")
            )

        return [found for seconds in (SHORT_SECONDS, LONG_SECONDS) if (found := table(seconds)) is not None]


def store_source(reader: Reader, names: Iterable[str] | None = None, prefix: str = "") -> PieceSource:
    """Return the songs of a keys store, or those of these names, as a source of pieces; `prefix` is put before names.

    Music that a drawn piece continues is left out.
    """
    infos = [info for info in reader.infos() if names is None or info.name in set(names)]
    frame_seconds = reader.header.frame_seconds

    def cut(seconds: float, count: int, seed: int) -> list[Piece]:
        """Read the songs whose excerpts are chosen, one after another."""
        counts = [int(_seconds(info, frame_seconds) / seconds + 1e-6) for info in infos]
        songs = np.repeat(np.arange(len(infos)), counts)
        numbers = np.concatenate([np.arange(number) for number in counts]) if counts else songs
        chosen = evenly(songs, count, np.random.default_rng(seed))
        pieces = []
        for song in np.unique(songs[chosen]):
            of_song = excerpts(_piece(infos[song], reader, prefix), seconds, frame_seconds)
            wanted = numbers[chosen[songs[chosen] == song]]
            pieces += [piece for number, piece in enumerate(of_song) if number in wanted]
        return pieces

    return PieceSource(cut, bool(infos) and all(info.song.beat_confidence is not None for info in infos))


def _seconds(info: ItemInfo, frame_seconds: float) -> float:
    """Return how long the roll of an item's own music is, from its attributes alone."""
    span_seconds = info.shape[-1] * frame_seconds * (2 if len(info.shape) == 5 else 1)
    starts = info.song.start_times(info.shape[0], span_seconds)
    assembled = max(starts) - min(starts) + span_seconds
    return min(assembled, info.song.seconds or assembled) - (info.song.primed_seconds or 0.0)


def _piece(info: ItemInfo, reader: Reader, prefix: str) -> Piece:
    """Read a song whole, with its beats, counted from the roll's first frame."""
    song, frame_seconds = info.song, reader.header.frame_seconds
    primed_seconds = song.primed_seconds or 0.0
    roll = piece_roll(read_item(reader, info), frame_seconds)[..., round(primed_seconds / frame_seconds) :]
    found = song.every_beat.counted_from(song.begin_seconds + primed_seconds)
    beats = BeatGrid(np.zeros(0), np.zeros(0, int)) if found.is_free else BeatGrid(found.seconds, found.numbers)
    # Where an item does not say how long its song is, it was cut: after 120 s, and at its last whole chunk.
    ends = song.seconds is not None
    return Piece(roll, prefix + info.name, beats, not song.begin_seconds and not primed_seconds, ends)


def drawn_source(
    piece: Callable[[int, int], np.ndarray], frame_seconds: float, longest: float, most: int
) -> PieceSource:
    """Return pieces drawn by `piece(number, frames)` as a source: at most `most`, and of `longest` seconds."""

    def cut(seconds: float, count: int, seed: int) -> list[Piece]:
        """Draw one after another."""
        numbers = range(1, min(count, most) + 1) if seconds <= longest else ()
        return [Piece(piece(number, round(seconds / frame_seconds)), f"piece {number}") for number in numbers]

    return PieceSource(cut)

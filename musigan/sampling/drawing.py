"""Drawing of a request's pieces into a store: new ones, continued songs, ways between songs, accompaniments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from musigan.errors import StoreError
from musigan.machine.reporting import counted
from musigan.sampling import accompaniment, items, priming
from musigan.sampling.sampler import best_numbers
from musigan.store.alike import TRAINED, require_alike
from musigan.store.excerpts import MAX_ITEMS, Window, excerpts

if TYPE_CHECKING:
    from musigan.sampling.items import StoreItem
    from musigan.sampling.priming import Prime
    from musigan.sampling.requests import DrawingRequest, Request
    from musigan.sampling.sampler import Piece, Sampler
    from musigan.store import StoreHeader, Writer
    from musigan.store.opening import ToolSession

    OpenWriter = Callable[[StoreHeader], AbstractContextManager[Writer]]  # gets the header of the store to write
CANDIDATES = 25  # pieces drawn for each of the best, unless the request says how many


@dataclass(frozen=True)
class Drawing:
    """One request to a checkpoint called `name`; the store goes to what `open_writer` opens."""

    request: DrawingRequest
    sampler: Sampler
    name: str
    session: ToolSession
    open_writer: OpenWriter

    def draw(self) -> str:
        """Draw what is requested, write it, and return what was done, in words.

        Raises FieldError where the checkpoint's model cannot do it, StoreError for stores of another layout.
        """
        request, frames = self.request, self.sampler.frames(self.request.seconds)
        request.piece.check(self.sampler.capabilities, scored=bool(request.best))
        if request.keep:
            return self._accompany()
        if request.morph:
            return self._morph()
        return self._pieces(frames, self._primes() if request.prime else [None])

    def _pieces(self, frames: int, primes: Iterable[Prime | None]) -> str:
        """Write pieces of `frames` frames after each prime; None begins from nothing."""
        request, sampler = self.request, self.sampler
        primed = False
        progress = self.session.progress(request.pieces if isinstance(primes, list) else None, "pieces")
        with self.open_writer(sampler.header) as writer:
            for prime in primes:
                primed = prime is not None
                for piece in self._after(prime, frames):
                    if prime is None:
                        writer.add(*items.as_item(piece, sampler, request.seed, self.name))
                    else:
                        writer.add(*priming.as_item(piece, prime, sampler, request.seed, self.name))
                    progress.step()
        began = f", each after {sampler.past_seconds:g} s that were given" if primed else ""
        return f"{counted(writer.items, 'pieces')} of {frames * sampler.header.frame_seconds:g} s{began}"

    def _after(self, prime: Prime | None, frames: int) -> Iterator[Piece]:
        """Yield the requested pieces after a prime, or the best of them, best first."""
        request = replace(
            self.request.piece,
            past=None if prime is None else prime.past,
            past_beats=None if prime is None else prime.beats,
        )
        best, seed = self.request.best, self.request.seed
        request.check(self.sampler.capabilities, scored=bool(best))
        for number in self._best(request, frames) if best else range(1, self.request.pieces + 1):
            yield self.sampler.piece(seed, number, frames, scored=bool(best), request=request)

    def _best(self, request: Request, frames: int) -> list[int]:
        """Return the numbers of the pieces that the critic likes best, best first."""
        count = self.request.of or CANDIDATES * self.request.best
        scores: dict[int, float] = {}
        ranking = self.session.progress(count, "pieces judged")
        for number, score in self.sampler.scores(count, frames, self.request.seed, request):
            scores[number] = score
            ranking.step()
        return best_numbers(scores, self.request.best)

    def _primes(self) -> Iterable[Prime | None]:
        """Return what each piece begins with: one part of an audio file, or one of each item of a keys store."""
        source, from_seconds = self.request.prime, self.request.prime_from
        self.sampler.capabilities.check_extends()
        if priming.is_recording(source):
            return [priming.of_recording(source, self.sampler, from_seconds)]
        return priming.of_items(self.session.reader(source, "keys"), self.sampler, from_seconds, self.session.skip)

    def _morph(self) -> str:
        """Write the ways from each of the store's first songs to the next; a single one leads to itself."""
        sampler, reader = self.sampler, self.session.reader(self.request.morph, "keys")
        require_alike((reader.source, reader.header), ("the checkpoint", sampler.header), TRAINED)
        window = Window(0.0, self.request.seconds)
        songs = excerpts(reader, range(1, MAX_ITEMS + 1), window, self.session.skip)
        before = next(songs, None)
        if before is None:
            raise StoreError(f"{reader.source} holds no song to begin with")
        with self.open_writer(sampler.header) as writer:
            while before is not None:
                after = next(songs, None)
                if after is None and writer.items:
                    break
                beats = before.beats, (after or before).beats
                piece = sampler.morph(before.roll, (after or before).roll, writer.items + 1, beats)
                title = before.title if after is None else f"{before.title} -> {after.title}"
                item, names, song = self._titled(piece, title)
                writer.add(item, names, replace(song, seed=None))
                before = after
        return f"{counted(writer.items, 'pieces')} of at most {self.request.seconds:g} s"

    def _accompany(self) -> str:
        """Write the other tracks to the requested one of each song of a keys store."""
        sampler, track = self.sampler, self.request.keep
        number = accompaniment.track_number(track, sampler)
        reader = self.session.random_access_reader(self.request.songs, "keys")
        songs = accompaniment.given_tracks(reader, sampler, number, self.request.seconds, self.session.skip)
        with self.open_writer(sampler.header) as writer:
            for song in songs:
                piece_request = self.request.piece
                request = replace(
                    piece_request, kept=song.kept, beat=piece_request.beat or song.beat, kept_beats=song.beats
                )
                request.check(sampler.capabilities)
                frames = song.kept.shape[-1]
                piece = sampler.piece(self.request.seed, writer.items + 1, frames, request=request)
                writer.add(*self._titled(piece, f"{song.title}, to its {track}"))
            if not writer.items:
                raise StoreError(f"{reader.source} holds no song with {track}")
        return f"{counted(writer.items, 'pieces')} of at most {self.request.seconds:g} s to the {track} of their songs"

    def _titled(self, piece: Piece, title: str) -> StoreItem:
        """Convert a piece to an item of a keys store under a title of its own."""
        item, names, song = items.as_item(piece, self.sampler, self.request.seed, self.name)
        return item, names, replace(song, title=title, source=f"{self.name}, {title}")

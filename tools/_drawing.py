"""What `sample` does with a checkpoint: draws pieces, goes on from music, leads from song to song, accompanies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from musigan_tools import _cli

if TYPE_CHECKING:
    from musigan.sampling.priming import Prime
    from musigan.sampling.sampler import Request, Sampler


@dataclass(frozen=True)
class Drawing:
    """One run of `sample`: who draws, from which seed, how long at most, and where to."""

    session: _cli.Session
    sampler: Sampler
    seed: int
    seconds: float
    output: tuple[str, bool]  # where the store goes, and whether it replaces what is there
    name: str  # of the checkpoint

    def pieces(self, request: Request, many: int, best: int, of: int, primes: Iterable[Prime | None]) -> None:
        """`many` pieces, or the `best` of `of`, after each of `primes`; None begins from nothing."""
        from musigan.sampling import items, priming

        session, sampler, frames = self.session, self.sampler, self.sampler.frames(self.seconds)
        primed = False
        progress = session.progress(best or many if isinstance(primes, list) else None, "pieces")
        with session.writer(*self.output, sampler.header) as writer:
            for given in primes:
                primed = given is not None
                asked = replace(request, past=None if given is None else given.past)
                sampler.check(asked, scored=bool(best))
                for number in self._best(asked, best, of) if best else range(1, many + 1):
                    piece = sampler.piece(self.seed, number, frames, scored=bool(best), request=asked)
                    if given is None:
                        writer.add(*items.as_item(piece, sampler, self.seed, self.name))
                    else:
                        writer.add(*priming.as_item(piece, given, sampler, self.seed, self.name))
                    progress.step()
        began = f", each after {sampler.past_seconds:g} s that were given" if primed else ""
        session.summary(f"{writer.items} pieces of {frames * sampler.header.frame_seconds:g} s{began}")

    def _best(self, request: Request, best: int, of: int) -> list[int]:
        """The numbers of the pieces that the critic likes best, best first."""
        from musigan.sampling.sampler import best_numbers

        among, scored = of or 25 * best, {}
        ranking = self.session.progress(among, "pieces judged")
        for number, score in self.sampler.scores(among, self.sampler.frames(self.seconds), self.seed, request):
            scored[number] = score
            ranking.step()
        return best_numbers(scored, best)

    def primes(self, source: str, from_seconds: float | None) -> Iterable[Prime | None]:
        """What each piece begins with: one stretch of an audio file, or one of each item of a keys store."""
        from musigan.sampling import priming

        self.sampler.check_extends()
        if priming.is_recording(source):
            return [priming.of_recording(source, self.sampler, from_seconds)]
        reader = self.session.reader(source, "keys")
        return priming.of_items(reader, self.sampler, from_seconds, self.session.skip)

    def morph(self, source: str) -> None:
        """From each of the first songs of the keys store `source` to the next; a single one to itself."""
        from musigan.errors import StoreError
        from musigan.sampling import items
        from musigan.store.alike import TRAINED, require_alike
        from musigan.store.excerpts import MAX_ITEMS, Window, excerpts

        session, sampler = self.session, self.sampler
        reader = session.reader(source, "keys")
        require_alike((reader.source, reader.header), ("the checkpoint", sampler.header), TRAINED)
        found = excerpts(reader, range(1, MAX_ITEMS + 1), Window(0.0, self.seconds), session.skip)
        before = next(found, None)
        if before is None:
            raise StoreError(f"{reader.source} holds no song to begin with")
        with session.writer(*self.output, sampler.header) as writer:
            while before is not None:
                after = next(found, None)
                if after is None and writer.items:
                    break
                piece = sampler.morph(before.roll, (after or before).roll, writer.items + 1)
                item, names, made = items.as_item(piece, sampler, 0, self.name)
                title = before.title if after is None else f"{before.title} -> {after.title}"
                writer.add(item, names, replace(made, seed=None, title=title, source=f"{self.name}, {title}"))
                before = after
        session.summary(f"{writer.items} pieces of at most {self.seconds:g} s")

    def accompany(self, track: str, source: str, request: Request) -> None:
        """The other tracks to `track` of each song of the keys store `source`."""
        from musigan.errors import StoreError
        from musigan.sampling import accompaniment, items

        session, sampler = self.session, self.sampler
        number = accompaniment.track_number(track, sampler)
        reader = session.random_access_reader(source, "keys")
        songs = accompaniment.given_tracks(reader, sampler, number, self.seconds, session.skip)
        with session.writer(*self.output, sampler.header) as writer:
            for song in songs:
                asked = replace(request, kept=song.kept, beat=request.beat or song.beat)
                sampler.check(asked, scored=False)
                piece = sampler.piece(self.seed, writer.items + 1, song.kept.shape[-1], request=asked)
                item, names, made = items.as_item(piece, sampler, self.seed, self.name)
                title = f"{song.title}, to its {track}"
                writer.add(item, names, replace(made, title=title, source=f"{self.name}, {title}"))
            if not writer.items:
                raise StoreError(f"{reader.source} holds no song with {track}")
        session.summary(f"{writer.items} pieces of at most {self.seconds:g} s to the {track} of their songs")

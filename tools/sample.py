"""sample: a trained checkpoint in, new music as piano keys out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from musigan_tools import _cli

if TYPE_CHECKING:
    from collections.abc import Iterable

    from musigan.priming import Prime
    from musigan.sampling import Sampler, Wish

MAX_TEMPERATURE = 10.0


@_cli.tool
def main(
    session: _cli.Session,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint of pretrain or train-gan.")],
    output: _cli.Output = "-",
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="How many pieces; 4, or 1 of each --prime.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of each piece; any length.")] = 30.0,
    seed: _cli.Seed = 1,
    best: Annotated[int, typer.Option(min=0, help="Keep so many, the best by the critic, best first.")] = 0,
    of: Annotated[int, typer.Option(min=0, help="How many --best chooses among; 25 for each by default.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(help="For models that learn by likelihood: below 1 plays it safe, above 1 takes chances."),
    ] = None,
    morph: Annotated[
        str,
        typer.Option(
            metavar="KEYS", help="Pieces that lead from each song of this store to the next (of 100 at most)."
        ),
    ] = "",
    prime: Annotated[
        str, typer.Option(metavar="SONG", help="Go on from this audio file, or from each song of this keys store.")
    ] = "",
    prime_from: Annotated[
        float | None, typer.Option(min=0, help="Second of the song to begin at; its last 10 s if not given.")
    ] = None,
    style: Annotated[
        str, typer.Option(help="A genre or folder that was learned from.  [default: one drawn for each piece]")
    ] = "",
    tempo: Annotated[
        float | None, typer.Option(min=20, max=400, help="Beats a minute.  [default: the usual one of the music]")
    ] = None,
    keep: Annotated[str, typer.Option(metavar="TRACK", help="Make the other tracks to this one of --with.")] = "",
    songs: Annotated[str, typer.Option("--with", metavar="KEYS", help="A store whose songs --keep takes.")] = "",
    device: _cli.Device = "auto",
    force: _cli.Force = False,
) -> None:
    """Draw new music from a trained network.

    The same checkpoint and seed give the same music, piece by piece, however many are drawn. --prime begins with 10 s
    of a song and goes on from there for --seconds, with models that can (musigan models says which). --morph draws
    nothing: it leads from each song of a keys store to the next, and gives a single song as the network hears it.
    --style, --tempo and --keep are for models that go by them (musegan).

    Example: sample ckpt.pt --best 4 --of 100 --seconds 60 | keys-to-mp3 out.mp3
    """
    from dataclasses import replace
    from pathlib import Path

    from musigan import priming, sampling
    from musigan.beats import Beat
    from musigan.devices import resolve_device
    from musigan.errors import UsageError
    from musigan.training.runs import prepare_torch

    if of and not best:
        raise UsageError("--of says how many --best chooses among: add --best")
    if best and count:
        raise UsageError(f"-n {count} and --best {best} both say how many pieces: --best {best} --of MANY chooses")
    if best and of and of < best:
        raise UsageError(f"--best {best} --of {of}: cannot choose {best} among {of}")
    if bool(keep) != bool(songs):
        raise UsageError("--keep names a track of the songs of --with: give both")
    if keep and (best or count or morph or prime):
        raise UsageError("--keep makes a piece to each song of --with: leave -n, --best, --morph and --prime out")
    if morph and (style or tempo):
        raise UsageError("--morph draws nothing: leave --style and --tempo out")
    if morph and (best or count):
        raise UsageError("--morph makes as many pieces as the store has songs to go between: leave -n and --best out")
    if temperature is not None and not 0 < temperature <= MAX_TEMPERATURE:
        raise UsageError(
            f"--temperature {temperature:g}: expected above 0 and up to {MAX_TEMPERATURE:g}; 1 is as learned"
        )
    if morph and temperature is not None:
        raise UsageError("--morph draws nothing that --temperature could change: leave one of them out")
    if morph and prime:
        raise UsageError("--morph leads from song to song, --prime goes on from one: give one of them")
    if prime_from is not None and not prime:
        raise UsageError(f"--prime-from {prime_from:g} says where in a song to begin: add --prime SONG")
    session.check_output(output, force)
    place = resolve_device(device)
    prepare_torch(place)
    sampler = sampling.Sampler.load(checkpoint, place)
    frames = sampler.frames(seconds)
    wish = sampling.Wish(temperature, style=style or None, beat=None if tempo is None else Beat(tempo))
    sampler.check(wish, bool(best))
    if keep:
        _accompany(session, sampler, (keep, songs), wish, (seed, seconds), (output, force), Path(checkpoint).stem)
        return
    if morph:
        _morph(session, sampler, morph, seconds, (output, force), Path(checkpoint).stem)
        return
    many, name = count or (1 if prime else 4), Path(checkpoint).stem
    primes = _primes(session, sampler, prime, prime_from) if prime else [None]
    progress = session.progress(None if prime else best or many, "pieces")
    with session.writer(output, force, "keys", sampler.attributes()) as writer:
        for given in primes:
            asked = replace(wish, past=given.past if given else None)
            sampler.check(asked, scored=bool(best))
            numbers = range(1, many + 1)
            for number in _best(session, sampler, best, of, frames, seed, asked) if best else numbers:
                piece = sampler.piece(seed, number, frames, scored=bool(best), wish=asked)
                if given is None:
                    writer.add(*sampling.as_item(piece, sampler, seed, name))
                else:
                    writer.add(*priming.as_item(piece, given, sampler, seed, name))
                progress.step()
    began = f", each after {sampler.past_seconds:g} s that were given" if prime else ""
    session.summary(f"{writer.items} pieces of {frames * sampler.store['frame_seconds']:g} s{began}")


def _best(session: _cli.Session, sampler: Sampler, best: int, of: int, frames: int, seed: int, wish: Wish) -> list[int]:
    """The numbers of the pieces that the critic likes best, best first."""
    from musigan import sampling

    among, scored = of or 25 * best, {}
    ranking = session.progress(among, "pieces judged")
    for number, score in sampler.scores(among, frames, seed, wish):
        scored[number] = score
        ranking.step()
    return sampling.best(scored, best)


def _primes(session: _cli.Session, sampler: Sampler, source: str, from_seconds: float | None) -> Iterable[Prime | None]:
    """What each piece begins with: one stretch of an audio file, or one of each item of a keys store."""
    from musigan import priming

    sampler.check_extends()
    if priming.is_recording(source):
        return [priming.of_recording(source, sampler, from_seconds)]
    return priming.of_items(session.reader(source, "keys"), sampler, from_seconds, session.skip)


def _morph(
    session: _cli.Session, sampler: Sampler, source: str, seconds: float, output: tuple[str, bool], name: str
) -> None:
    """From each of the first songs of the keys store `source` to the next; a single one to itself."""
    from musigan import sampling
    from musigan.errors import StoreError
    from musigan.excerpts import MAX_ITEMS, Window, excerpts

    reader = session.reader(source, "keys")
    sampling.check_made_alike(reader, sampler)
    found = excerpts(reader, range(1, MAX_ITEMS + 1), Window(0.0, seconds), session.skip)
    before = next(found, None)
    if before is None:
        raise StoreError(f"{reader.source} holds no song to begin with")
    with session.writer(*output, "keys", sampler.attributes()) as writer:
        while before is not None:
            after = next(found, None)
            if after is None and writer.items:
                break
            piece = sampler.morph(before.roll, (after or before).roll, writer.items + 1)
            item, names, attributes = sampling.as_item(piece, sampler, 0, name)
            del attributes["seed"]
            title = before.title if after is None else f"{before.title} -> {after.title}"
            writer.add(item, names, {**attributes, "title": title, "source": f"{name}, {title}"})
            before = after
    session.summary(f"{writer.items} pieces of at most {seconds:g} s")


def _accompany(
    session: _cli.Session,
    sampler: Sampler,
    given: tuple[str, str],
    wish: Wish,
    drawn: tuple[int, float],
    output: tuple[str, bool],
    name: str,
) -> None:
    """The other tracks to one of each song: `given` names track and store, `drawn` is seed and longest seconds."""
    from dataclasses import replace

    from musigan import accompaniment, sampling
    from musigan.errors import StoreError

    track = accompaniment.track_number(given[0], sampler)
    reader = session.random_access_reader(given[1], "keys")
    songs = accompaniment.given_tracks(reader, sampler, track, drawn[1], session.skip)
    with session.writer(*output, "keys", sampler.attributes()) as writer:
        for song in songs:
            asked = replace(wish, kept=song.kept, beat=wish.beat or song.beat)
            sampler.check(asked, scored=False)
            piece = sampler.piece(drawn[0], writer.items + 1, song.kept.shape[-1], wish=asked)
            item, names, attributes = sampling.as_item(piece, sampler, drawn[0], name)
            title = f"{song.title}, to its {given[0]}"
            writer.add(item, names, {**attributes, "title": title, "source": f"{name}, {title}"})
        if not writer.items:
            raise StoreError(f"{reader.source} holds no song with {given[0]}")
    session.summary(f"{writer.items} pieces of at most {drawn[1]:g} s to the {given[0]} of their songs")

"""sample: a trained checkpoint in, new music as piano keys out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli

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
        str, typer.Option(help="A genre or folder that was learned from.  [default: a song's, drawn for each piece]")
    ] = "",
    tempo: Annotated[
        float | None, typer.Option(min=20, max=400, help="Beats a minute.  [default: a song's, drawn for each piece]")
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
    from pathlib import Path

    from musigan_tools._drawing import Drawing

    from musigan.errors import UsageError
    from musigan.machine.devices import resolve_device
    from musigan.rolls.beats import Beat
    from musigan.sampling.sampler import Request, Sampler
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
    sampler = Sampler.load(checkpoint, place)
    sampler.frames(seconds)
    request = Request(temperature, style=style or None, beat=None if tempo is None else Beat(tempo))
    sampler.check(request, scored=bool(best))
    drawing = Drawing(session, sampler, seed, seconds, (output, force), Path(checkpoint).stem)
    if keep:
        drawing.accompany(keep, songs, request)
    elif morph:
        drawing.morph(morph)
    else:
        primes = drawing.primes(prime, prime_from) if prime else [None]
        drawing.pieces(request, count or (1 if prime else 4), best, of, primes)

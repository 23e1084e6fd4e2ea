"""musigan continue: a song in, music that goes on from it out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan continue"


@_cli.tool
def main(
    session: Session,
    song: Annotated[str, typer.Argument(metavar="SONG", help="An audio file.")],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="mp3, wav, flac, ogg, ... by its ending; - for a pipe.")
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many: OUT-001.mp3, OUT-002.mp3, ...")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of the new music.")] = 30.0,
    new_only: Annotated[bool, typer.Option("--new-only", help="Without the song's own last 10 s before it.")] = False,
    midi: Annotated[str, typer.Option(metavar="OUT.mid", help="Write the notes down, too.")] = "",
    from_: Annotated[
        float | None,
        typer.Option("--from", min=0, help="Second of the song at which new music begins. [default: its end]"),
    ] = None,
    checkpoint: Annotated[str, typer.Option(metavar="CKPT", help="Of train-gan.  [default: the base]")] = "",
    style: Annotated[str, typer.Option(help="One that was learned from.  [default: by the song's tag, or alike]")] = "",
    tempo: Annotated[float | None, typer.Option(min=20, max=400, help="Beats a minute.  [default: the song's]")] = None,
    seed: _cli.Seed = 1,
    device: _cli.Device = "auto",
    force: _cli.Force = False,
) -> None:
    """Go on from a song of yours: its last 10 s, then new music on its beat, in its key, with its sound.

    Example: musigan continue song.mp3 -o more.mp3 -n 4
    """
    from musigan.errors import UsageError
    from musigan.files.targets import Target
    from musigan.midi.transcription import MidiTarget
    from musigan.sampling.continuing import Continuation, ContinueRequest
    from musigan.sampling.loading import load_base, load_sampler
    from musigan.sound.encoding import check_format

    if midi == "-":
        raise UsageError("--midi -: notes go to a file, such as more.mid")
    request = ContinueRequest(seconds, count, seed, style, tempo, from_, new_only)
    target = Target(output, split=count > 1, force=force)
    notes = MidiTarget(midi, split=count > 1, force=force) if midi else None
    for each in (target, notes) if notes else (target,):
        each.check(session.stdout if output == "-" else None)
    check_format(target.format)
    session.status(f"listening to {song}")
    sampler = load_sampler(checkpoint, device) if checkpoint else load_base(device)
    continuation = Continuation(request, sampler, checkpoint or "the base", song)
    stream = session.stdout("sound") if output == "-" else None
    session.summary(continuation.write(target, notes, stream, session.progress(count, "pieces")))

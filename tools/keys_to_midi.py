"""keys-to-midi: piano keys in, a MIDI file out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    out: Annotated[str, typer.Argument(metavar="OUT", help="A name that ends in .mid; - for a pipe.")],
    source: _cli.Source = "-",
    tempo: Annotated[
        float, typer.Option(min=0, max=1000, help="Beats a minute; 0: the piece's own, or an estimate.")
    ] = 0.0,
    quantise: Annotated[
        str, typer.Option(metavar="VALUE", help="Notes on a grid of this note value: 1/16; 1/12 for triplets.")
    ] = "",
    min_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Leave shorter notes out.  [default: 0.06 of recordings; 0 of rolls from MIDI]"),
    ] = None,
    keep_ghosts: Annotated[
        bool, typer.Option("--keep-ghosts", help="Leave notes in that seem to be overtones of a recording's notes.")
    ] = False,
    split: Annotated[bool, typer.Option("--split", help="One file a piece: out-001.mid, out-002.mid, ...")] = False,
    force: _cli.Force = False,
) -> None:
    """Write keys down as MIDI notes.

    Each track of the store becomes a track of the file, drums on channel 10; the two sides of a recording become one,
    for the piano. Velocity is loudness. Pieces follow each other.

    Example: sample ckpt.pt | keys-to-midi out.mid
    """
    from musigan.midi import transcription
    from musigan.midi.tempo import parse_grid, tempo_of_file

    file_tempo = tempo_of_file(tempo)
    target = transcription.MidiTarget(out, split=split, force=force)
    target.check(session.stdout if out == "-" else None)
    grid = parse_grid(quantise) if quantise else None
    reader = session.reader(source, "keys")
    transcriber = transcription.Transcriber.of_store(
        reader.header, min_seconds=min_seconds, tempo=file_tempo, grid_beats=grid, keep_ghosts=keep_ghosts
    )
    stream = session.stdout(target.what) if out == "-" else None
    session.summary(transcription.write_store(reader, transcriber, target, stream, session))

"""midi-to-keys: MIDI files and folders in, the piano keys of each group of instruments out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="MIDI files, folders of them, or - for a file from a pipe.")
    ],
    output: _cli.Output = "-",
    tracks: Annotated[
        str, typer.Option(metavar="NAMES", help="Some of drums,piano,guitar,bass,strings; all: all five.")
    ] = "all",
    merge: Annotated[bool, typer.Option("--merge", help="One track of all that has a pitch, without drums.")] = False,
    keys: Annotated[str, typer.Option(metavar="LOW:HIGH", help="Piano keys, 49 is A4.")] = "1:88",
    frame_seconds: _cli.FrameSeconds = 0.02,
    chunk_seconds: _cli.ChunkSeconds = 10.0,
    overlap: _cli.Overlap = 0.0,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Chunks without pairing; the last is filled up with silence.")
    ] = False,
    validation: _cli.Validation = 0.1,
    ends: _cli.Ends = False,
    genre: Annotated[str, typer.Option(help="Genre of all songs.  [default: the name of a song's folder]")] = "",
    compress: _cli.Compress = None,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Read MIDI files as piano keys, a track for each group of instruments.

    Folders are searched to their depths, in a stable order. Instruments are grouped by their General MIDI family;
    velocity becomes loudness. Tempo, time signature and key go along. A song that comes twice is kept once.

    Example: midi-to-keys ~/MIDI > keys.zarr
    """
    from musigan.errors import UsageError
    from musigan.files.finding import MIDI_SUFFIXES, find_files
    from musigan.midi.rolls import CutSettings
    from musigan.midi.stores import MidiRequest

    if "" in paths:
        raise UsageError('the name of a file or folder is empty (""): an unset variable?')
    cutting = CutSettings(chunk_seconds, overlap, validation, not unpaired, ends)
    request = MidiRequest.parse(tracks, merge, keys, frame_seconds, cutting, genre)
    session.check_output(output, force)
    found = list(find_files([path for path in paths if path != "-"], MIDI_SUFFIXES, session.skip))
    songs = [*([None] if "-" in paths else []), *found]
    with session.writer(output, force, request.header(len(songs)), compress) as writer:
        made = request.write(songs, session.stdin, writer, session)
    session.summary(made)

"""midi-to-keys: MIDI files and folders in, the piano keys of each group of instruments out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _session
from musigan_tools._session import Session

SAMPLE_RATE = 12000  # Hz, at which the chain makes rolls into sound: MIDI has none


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
    frame_seconds: Annotated[float, typer.Option(min=0.001, max=1, help="Length of a frame.")] = 0.02,
    chunk_seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Length of a chunk.")] = 10.0,
    overlap: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of a pair that the next one repeats: 0.5 doubles the pairs.")
    ] = 0.0,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Chunks without pairing; the last is filled up with silence.")
    ] = False,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of songs held back, whole songs only.")] = 0.1,
    genre: Annotated[str, typer.Option(help="Genre of all songs.  [default: the name of a song's folder]")] = "",
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Read MIDI files as piano keys, a track for each group of instruments.

    Folders are searched to their depths, in a stable order. Instruments are grouped by their General MIDI family;
    velocity becomes loudness. Tempo, time signature and key go along. A song that comes twice is kept once.

    Example: midi-to-keys ~/MIDI > keys.zarr
    """
    from musigan.errors import MidiError, UsageError
    from musigan.files.finding import MIDI_SUFFIXES, MediaFile, failure_reason, find_files
    from musigan.midi import reading, rolls
    from musigan.rolls.keyboard import KeyRange
    from musigan.rolls.keysettings import KeySettings
    from musigan.store.chunks import chunk_frames

    if "" in paths:
        raise UsageError('the name of a file or folder is empty (""): an unset variable?')
    if unpaired and overlap:
        raise UsageError("--overlap is of pairs: leave it or --unpaired out")
    arrangement = rolls.Arrangement(rolls.parse_tracks(tracks), merge)
    settings = KeySettings("midi", KeyRange.parse(keys), frame_seconds)
    settings.frame_samples(SAMPLE_RATE)
    chunk_frames(chunk_seconds, settings)
    cutting = rolls.CutSettings(chunk_seconds, overlap, validation, not unpaired)
    session.check_output(output, force)
    found: list[MediaFile | None] = [None] if "-" in paths else []  # None: standard input
    found += find_files([path for path in paths if path != "-"], MIDI_SUFFIXES, session.skip)
    attributes = {
        "sample_rate": SAMPLE_RATE, **settings.to_attributes(), "chunk_seconds": chunk_seconds, "overlap": overlap,
        "validation": validation, "tracks": list(arrangement.tracks), "expected": len(found),
    }  # fmt: skip
    originals: dict[str, str] = {}
    duplicates, tally = 0, rolls.Tally()
    progress = session.progress(len(found), "songs")
    with session.writer(output, force, "keys", attributes) as writer:
        for one in found:
            source = one.source if one else _session.STDIN
            try:
                with one.path.open("rb") if one else session.stdin() as file:
                    score = reading.read_score(file.read(reading.MAX_BYTES + 1))
                named = rolls.attributes_from_path(one.source if one else "", score, genre)
                item = rolls.to_item(score, arrangement, settings, cutting, named)
            except (MidiError, OSError) as error:
                reason = failure_reason(error) if isinstance(error, OSError) else str(error)
                session.skip(source, reason, reason.split(":")[0])
                continue
            content = item.attributes["content"]
            if content in originals:
                session.detail(f"{source}: the same notes as {originals[content]}, kept once")
                duplicates += 1
                continue
            originals[content] = source
            if score.cut:
                session.say(f"{source}: longer than {reading.MAX_SECONDS / 60:.0f} minutes: the rest is left out")
            if item.outside_keys:
                session.detail(f"{source}: {item.outside_keys} notes are not on keys {settings.keys}")
            writer.add(item.array, item.dimension_names, item.attributes)
            tally = tally.counting(item)
            progress.step(source)
    left = f", {tally.silent} silent pairs dropped" if tally.silent else ""
    left += f", {duplicates} duplicates left out" if duplicates else ""
    what = f"{tally.pieces} {'chunks' if unpaired else 'pairs'} of {writer.items} songs"
    session.summary(f"{what}, {tally.held_back} of them held back for validation{left}")

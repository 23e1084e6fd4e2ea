"""keys-to-mp3: piano keys in, an audio file out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    out: Annotated[str, typer.Argument(metavar="OUT", help="mp3, wav, flac, ogg, ... by its ending; - for a pipe.")],
    source: _cli.Source = "-",
    timbre: Annotated[
        str,
        typer.Option(
            help="own: as the songs sound, own:SONG.mp3: as one does; sine, harmonic, piano, organ, strings, flute, "
            "reed, plucked, bass.  [default: own where pieces have it, else sine; tracks have theirs]"
        ),
    ] = "",
    soundfont: _cli.Soundfont = "",
    program: _cli.Program = "",
    room: _cli.Room = 0.0,
    lufs: _cli.Lufs = "-14",
    gain: _cli.Gain = 0.0,
    fade: Annotated[float, typer.Option(min=0, max=600, help="Fade at both ends.")] = 0.02,
    crossfade: Annotated[float, typer.Option(min=0, max=600, help="By how much pieces overlap.")] = 0.5,
    bitrate: Annotated[str, typer.Option(help="192k, or for MP3 V0 to V9: variable.  [default: V2]")] = "",
    title: Annotated[str, typer.Option(help="Title tag. [default: the pieces' own]")] = "",
    split: Annotated[bool, typer.Option("--split", help="One file a piece: out-001.mp3, out-002.mp3, ...")] = False,
    sample_rate: Annotated[int, typer.Option(min=0, max=192000, help="Hz; 0: what the timbre needs.")] = 0,
    jobs: _cli.Jobs = 0,
    force: _cli.Force = False,
) -> None:
    """Turn keys back into sound.

    Pieces follow each other with a short crossfade; the chunks of one song join without a seam. MP3, WAV, FLAC,
    OGG and Opus need nothing else; other endings need ffmpeg. Tracks of instruments play together, drums as drums.

    Example: sample ckpt.pt | keys-to-mp3 out.mp3
    """
    from musigan.files import targets
    from musigan.machine.cores import usable_cores
    from musigan.machine.reporting import counted, duration
    from musigan.synthesis import rendering

    target = targets.Target(out, bitrate or None, split, force)
    target.check(session.stdout if out == "-" else None)
    reader = session.reader(source, "keys")
    sound = rendering.SoundSettings.of_store(
        reader.header, timbre, sample_rate, gain, fade, crossfade, lufs, soundfont, program, room
    )
    progress = session.progress(reader.header.expected, "pieces")
    pieces = sound.pieces(reader, jobs or usable_cores(), progress.step, session.skip)
    stream = session.stdout("sound") if out == "-" else None
    files = rendering.write(pieces, sound, target, title, stream)
    session.summary(f"{counted(sound.rendered, 'pieces')}, {duration(sound.seconds)} of sound in {', '.join(files)}")

"""npy-to-keys: sound in, the loudness of every piano key in every frame out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    source: _cli.Source = "-",
    output: _cli.Output = "-",
    band: Annotated[
        str, typer.Option(help="variable: bands that fit music; fixed: 12.5 Hz wide, as the original.")
    ] = "variable",
    keys: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Piano keys, 49 is A4. [default: 1:88; 27:59 for fixed bands]")
    ] = "",
    frame_seconds: _cli.FrameSeconds = 0.02,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Share of the song's level below which a key is silent. [default: 0.02; 0.025 for fixed bands]"
        ),
    ] = None,
    chunk_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Length of a chunk, for waveforms; pairs have theirs.")
    ] = 10.0,
    beats: Annotated[
        str, typer.Option(metavar="none|FILE", help="Beats: found, none, or a text file's (one song). [default: found]")
    ] = "find",
    drums: Annotated[bool, typer.Option("--drums/--no-drums", help="Drums as a channel of their own.")] = True,
    compress: _cli.Compress = None,
    device: _cli.Device = "auto",
    jobs: _cli.Jobs = 0,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Translate sound into piano keys.

    Takes pairs, or waveforms: then whole songs are cut into chunks without pairing.

    Example: mp3-to-npy song.mp3 | npy-to-keys | keys-to-mp3 song-as-keys.mp3
    """
    from musigan.analysis.stores import AnalysisRequest
    from musigan.machine.cores import usable_cores
    from musigan.machine.devices import resolve_device
    from musigan.machine.reporting import counted

    request = AnalysisRequest(band, keys, frame_seconds, threshold, chunk_seconds, beats, drums)
    session.check_output(output, force)
    device = resolve_device(device)
    analysis = request.begin(session.reader(source, "pairs", "waveform"))
    with session.writer(output, force, analysis.header, compress) as writer:
        analysis.write(device, jobs or usable_cores(), writer, session)
    session.summary(f"keys of {counted(writer.items, 'songs')}")

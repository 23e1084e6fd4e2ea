"""mp3-to-npy: audio files and folders in, a store of waveforms out."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

Channels = Annotated[Literal["stereo", "mono", "keep"], typer.Option(help="stereo doubles mono; keep: as it is.")]
Dtype = Annotated[Literal["float16", "int16"], typer.Option(help="The samples' type in the store.")]


@_cli.tool
def main(
    session: Session,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Audio files, and folders of them.")],
    output: _cli.Output = "-",
    sample_rate: Annotated[int, typer.Option(min=1000, max=192000, help="Samples a second, in Hz.")] = 12000,
    start: Annotated[float, typer.Option(min=0, help="Second of the song to begin at.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.01, help="How much of each song to keep.")] = 120.0,
    whole: Annotated[bool, typer.Option("--all", help="Keep songs to their end.")] = False,
    min_seconds: Annotated[float, typer.Option(min=0, help="Skip shorter songs; 20 s is a pair of chunks.")] = 20.0,
    channels: Channels = "stereo",
    dtype: Dtype = "float16",
    shard: Annotated[str, typer.Option(metavar="K/N", help="Part K of N of the files; musigan merge joins them.")] = "",
    jobs: _cli.Jobs = 0,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Decode songs into waveforms.

    Folders are searched to their depths, in a stable order. mp3, flac, ogg, opus, wav and aiff need nothing else;
    m4a, aac, wma and the rest need ffmpeg (pip install "musigan[ffmpeg]"). A recording that comes twice is kept once.

    Example: mp3-to-npy ~/Music | pair-chunks | npy-to-keys > keys.zarr
    """
    from musigan.analysis.stores import DecodingRequest
    from musigan.errors import UsageError
    from musigan.files.finding import AUDIO_SUFFIXES, Shard, find_shard
    from musigan.machine.cores import usable_cores
    from musigan.machine.reporting import counted

    if "" in paths:
        raise UsageError('the name of a file or folder is empty (""): an unset variable?')
    request = DecodingRequest(sample_rate, start, None if whole else seconds, min_seconds, channels, dtype)
    part = Shard.parse(shard)
    session.check_output(output, force)
    found = find_shard(paths, AUDIO_SUFFIXES, part, session.skip)
    with session.writer(output, force, request.header(len(found))) as writer:
        duplicates = request.write(found, jobs or usable_cores(), writer, session)
    left_out = f", {counted(duplicates, 'duplicates')} left out" if duplicates else ""
    session.summary(counted(writer.items, "songs") + left_out)

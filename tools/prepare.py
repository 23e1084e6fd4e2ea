"""musigan prepare: music in, a store of keys out, on many cores or machines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan prepare"


@_cli.tool
def main(
    session: Session,
    music: Annotated[list[str], typer.Argument(metavar="MUSIC...", help="Files, folders, URLs, and lists (.txt).")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="STORE", help="A folder (.zarr) or a URL.")] = "",
    scheduler: Annotated[str, typer.Option(metavar="tcp://...", help="A Dask scheduler and its workers.")] = "",
    workers: Annotated[int, typer.Option(min=0, help="Else: processes on this machine; 0: as many as cores.")] = 0,
    sample_rate: Annotated[int, typer.Option(min=1000, max=192000, help="Samples a second, in Hz.")] = 12000,
    start: Annotated[float, typer.Option(min=0, help="Second of the song to begin at.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.01, help="How much of each song to keep.")] = 120.0,
    whole: Annotated[bool, typer.Option("--all", help="Keep songs to their end.")] = False,
    min_seconds: Annotated[float, typer.Option(min=0, help="Skip shorter songs.")] = 20.0,
    channels: Annotated[Literal["stereo", "mono"], typer.Option(help="stereo doubles mono.")] = "stereo",
    chunk_seconds: _cli.ChunkSeconds = 10.0,
    overlap: _cli.Overlap = 0.0,
    validation: _cli.Validation = 0.1,
    band: Annotated[str, typer.Option(help="variable, or fixed.")] = "variable",
    keys: Annotated[str, typer.Option(metavar="LOW:HIGH", help="Piano keys.  [default: 1:88; 27:59 for fixed]")] = "",
    frame_seconds: _cli.FrameSeconds = 0.02,
    beats: Annotated[Literal["find", "none"], typer.Option(help="Whether beats are found.")] = "find",
    drums: Annotated[bool, typer.Option("--drums/--no-drums", help="Drums as a channel of their own.")] = True,
    device: _cli.Device = "auto",
    strict: _cli.Strict = False,
) -> None:
    """Prepare a large collection: mp3-to-npy | pair-chunks | npy-to-keys, a song at a time wherever there is a core.

    Needs Dask (pip install "musigan[dask]"). Songs that the store has are not done again: run the same line once more
    after a failure, or when music was added. STORE.jsonl says of each file what became of it.

    Example: musigan prepare ~/Music -o keys.zarr --workers 4
    """
    from musigan.analysis import cluster
    from musigan.analysis.chain import ChainRequest
    from musigan.analysis.stores import AnalysisRequest, DecodingRequest, PairingRequest
    from musigan.files.finding import AUDIO_SUFFIXES, find_files, with_lists

    request = ChainRequest(
        DecodingRequest(sample_rate, start, None if whole else seconds, min_seconds, channels),
        PairingRequest(chunk_seconds, overlap, validation),
        AnalysisRequest(band, keys, frame_seconds, chunk_seconds=chunk_seconds, beats=beats, drums=drums),
    )
    target = cluster.target_of(output)
    found = list(find_files(with_lists(music, session.skip), AUDIO_SUFFIXES, session.skip))
    with cluster.open_client(scheduler, workers) as client:
        done = cluster.prepare(request, found, target, client, session, device)
    session.summary(done)

"""pair-chunks: waveforms in, pairs of a chunk and its continuation out."""

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
    chunk_seconds: _cli.ChunkSeconds = 10.0,
    overlap: _cli.Overlap = 0.0,
    validation: _cli.Validation = 0.1,
    ends: _cli.Ends = False,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Pairs of a song in a random order.")] = False,
    seed: _cli.Seed = 0,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Cut each song into chunks and pair each with its continuation.

    Whether a song is for training or for validation is decided by its content alone: no song is on both sides,
    and adding songs moves none. Pairs with a silent chunk are dropped and counted.

    Example: mp3-to-npy ~/Music | pair-chunks | npy-to-keys > keys.zarr
    """
    from musigan.analysis.stores import PairingRequest

    request = PairingRequest(chunk_seconds, overlap, validation, seed if shuffle else None, ends)
    reader = session.reader(source, "waveform")
    with session.writer(output, force, request.header(reader.header)) as writer:
        made = request.write(reader, writer, session)
    session.summary(made)

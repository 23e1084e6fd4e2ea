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
    chunk_seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Length of a chunk.")] = 10.0,
    overlap: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of a pair that the next one repeats: 0.5 doubles the pairs.")
    ] = 0.0,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of songs held back, whole songs only.")] = 0.1,
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
    from musigan.analysis import preparing
    from musigan.store import chunks

    reader = session.reader(source, "waveform")
    chunks.chunk_samples(reader.attributes["sample_rate"], chunk_seconds)
    attributes = {**reader.attributes, "chunk_seconds": chunk_seconds, "overlap": overlap, "validation": validation}
    pairs = silent = held_back = 0
    progress = session.progress(reader.attributes.get("expected"), "songs")
    with session.writer(output, force, "pairs", attributes) as writer:
        for item in reader:
            cut, item_attributes = preparing.to_pairs(item, reader.attributes, chunk_seconds, overlap, validation)
            title = item.attributes.get("source", item.name)
            silent += cut.silent
            if not cut.starts:
                if cut.silent:
                    session.skip(title, "silent from end to end", "silent")
                else:
                    seconds = item.array.shape[-1] / reader.attributes["sample_rate"]
                    session.skip(title, f"{seconds:.1f} s long, a pair takes {2 * chunk_seconds:g} s", "too short")
                continue
            if shuffle:
                cut = preparing.shuffle_pairs(cut, item_attributes["content"], seed)
                item_attributes["starts"] = list(cut.starts)
            writer.add(cut.pairs, preparing.PAIRS, item_attributes)
            pairs += len(cut.starts)
            held_back += item_attributes["split"] == "validation"
            progress.step(title)
    dropped = f", {silent} silent pairs dropped" if silent else ""
    session.summary(f"{pairs} pairs of {writer.items} songs, {held_back} of them held back for validation{dropped}")

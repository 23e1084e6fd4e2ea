"""npy-to-keys: sound in, the loudness of every piano key in every frame out."""

from __future__ import annotations

from typing import Annotated, Any

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
        str, typer.Option(metavar="LOW:HIGH", help="Piano keys, 49 is A4; 1:88, or 27:59 for fixed bands.")
    ] = "",
    frame_seconds: Annotated[float, typer.Option(min=0.001, max=1, help="Length of a frame.")] = 0.02,
    threshold: Annotated[
        float | None, typer.Option(help="Share of the song's level below which a key is silent.")
    ] = None,
    chunk_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Length of a chunk, for waveforms; pairs have theirs.")
    ] = 10.0,
    device: _cli.Device = "auto",
    jobs: _cli.Jobs = 0,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Translate sound into piano keys.

    Takes pairs, or waveforms: then whole songs are cut into chunks without pairing.

    Example: mp3-to-npy song.mp3 | npy-to-keys | keys-to-mp3 song-as-keys.mp3
    """
    from musigan.analysis import preparing
    from musigan.errors import MusiganError, UsageError
    from musigan.machine.cores import usable_cores
    from musigan.machine.devices import resolve_device
    from musigan.machine.parallel import ordered_map
    from musigan.rolls.keyboard import KeyRange
    from musigan.rolls.keysettings import MEASURED_BANDS, KeySettings
    from musigan.store import Item, chunks

    if band not in MEASURED_BANDS:
        raise UsageError(f"--band {band} is unknown: choose one of {', '.join(MEASURED_BANDS)}")
    # None: the band's own.
    chosen: dict[str, Any] = {"keys": KeyRange.parse(keys) if keys else None, "threshold": threshold}
    settings = KeySettings(band, frame_seconds=frame_seconds, **chosen)
    reader = session.reader(source, "pairs", "waveform")
    if reader.kind == "pairs":
        chunk_seconds = reader.attributes["chunk_seconds"]
    settings.frame_samples(reader.attributes["sample_rate"])
    chunks.chunk_frames(chunk_seconds, settings)
    device = resolve_device(device)
    attributes = {**reader.attributes, **settings.to_attributes(), "chunk_seconds": chunk_seconds}

    def work(item: Item) -> tuple[Item, preparing.KeysItem | MusiganError]:
        try:
            return item, preparing.to_keys(item, reader.attributes, settings, chunk_seconds, device)
        except MusiganError as error:
            return item, error

    progress = session.progress(reader.attributes.get("expected"), "songs")
    with session.writer(output, force, "keys", attributes) as writer:
        for item, result in ordered_map(work, reader, jobs or usable_cores()):
            title = item.attributes.get("source", item.name)
            if isinstance(result, MusiganError):
                session.skip(title, str(result), "that could not be analysed")
                continue
            writer.add(*result)
            progress.step(title)
    session.summary(f"keys of {writer.items} songs")

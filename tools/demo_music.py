"""musigan demo-music: a small folder of public-domain tunes, rendered from notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan demo-music"


@_cli.tool
def main(
    session: Session,
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Made if it is not there.")] = None,
    tune: Annotated[list[str] | None, typer.Option(help="Only this tune; may be given several times.")] = None,
    format: Annotated[str, typer.Option(metavar="ENDING", help="mp3, flac, ogg, wav, ...")] = "mp3",
    show: Annotated[bool, typer.Option("--list", help="List the tunes and stop.")] = False,
    jobs: _cli.Jobs = 0,
    force: _cli.Force = False,
) -> None:
    """Render the tunes that musigan carries as notes: music to try the tools with.

    Each tune lasts 60 to 95 seconds. Files that exist are kept.

    Example: musigan demo-music tunes && mp3-to-npy tunes | npy-to-keys > keys.zarr
    """
    from musigan import tunes
    from musigan.errors import UsageError
    from musigan.machine.cores import usable_cores
    from musigan.machine.parallel import ordered_map
    from musigan.machine.reporting import counted
    from musigan.synthesis import demo

    if show:
        for name in tunes.names():
            loaded = tunes.load(name)
            session.print(f"{name:<20} {loaded.title}, {loaded.composer}")
        return
    if folder is None:
        raise UsageError("no folder named: musigan demo-music FOLDER")
    chosen = list(dict.fromkeys(tune or tunes.names()))
    for name in chosen:
        tunes.load(name)
    folder.mkdir(parents=True, exist_ok=True)
    progress = session.progress(len(chosen), "tunes")
    written = 0

    def write(name: str) -> Path | None:
        return demo.write_tune(name, folder, format, force)

    for path in ordered_map(write, chosen, jobs or usable_cores()):
        written += path is not None
        progress.step(path.name if path else "")
    kept = f", kept {len(chosen) - written} that existed" if written < len(chosen) else ""
    session.say(f"wrote {counted(written, 'tunes')} to {folder}{kept}")

"""musigan export: a checkpoint as a file for others, without what only its own training needs."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _files
from musigan_tools._session import Session

NAME = "musigan export"


@_cli.tool
def main(
    session: Session,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint, .pt or .safetensors.")],
    output: Annotated[
        str,
        typer.Argument(metavar="[OUT]", help="A .safetensors file, or a .pt for torch; without it the card is shown."),
    ] = "",
    half: Annotated[bool, typer.Option("--half", help="Weights in 16 bits: half the size, of .safetensors.")] = False,
    card: Annotated[
        str, typer.Option(metavar="FILE", help="Your own model card in Markdown, instead of one made.")
    ] = "",
    force: _cli.Force = False,
) -> None:
    """Write a checkpoint for others: averaged weights, critic, settings, and a card that says what it is.

    A .safetensors file is read without running anything, by other programs too, and goes wherever checkpoints go:
    sample, evaluate, report, train-gan --init and --start. Only --resume needs the run's own checkpoint.

    Example: musigan export ckpt.pt ours.safetensors --half
    """
    from pathlib import Path

    from musigan.checkpoints import exporting

    request = exporting.ExportRequest(output, half, card)
    if output:
        _files.check(session, output, force, "the checkpoint")

    from musigan.checkpoints import checkpoint as checkpoints
    from musigan.report.card import card as card_of

    saved = checkpoints.load(checkpoint)
    text = request.own_card() or card_of(saved, Path(output or checkpoint).stem)
    if not output:
        for line in text.splitlines():
            session.print(line)
        return
    size = request.write(saved, text)
    session.summary(f"{output}: {size / 1e6:.1f} MB; hear it: {saved.store.usage(output)} | keys-to-mp3 out.mp3")

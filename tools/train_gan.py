"""train-gan: piano keys of your music in, a network that makes new music out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _training


@_cli.tool
def main(
    session: _cli.Session,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEYS]...", help="A keys store, or - for standard input; two for --model cyclegan."),
    ] = None,
    output: _training.Checkpoint_ = "",
    epochs: _training.Epochs = None,
    batch_size: _training.BatchSize = None,
    accumulate: _training.Accumulate = None,
    pretrain_epochs: Annotated[
        int | None, typer.Option(min=0, help="Of the epochs, how many come before the game.")
    ] = None,
    critic_epochs: _training.CriticEpochs = None,
    seed: _training.SeedGiven = None,
    device: _cli.Device = "auto",
    preset: _training.Preset = "",
    model: _training.Model = None,
    config: _training.Config = "",
    assignments: _training.Assignments = None,
    resume: _training.Resume = "",
    start: Annotated[
        str,
        typer.Option(
            metavar="CKPT", help="Only the game, from the networks of a pretrained checkpoint, sizes and all."
        ),
    ] = "",
    init: _training.Init = "",
    keep_last: _training.KeepLast = None,
    sample_every: _training.SampleEvery = None,
    evaluate_every: _training.EvaluateEvery = None,
    steps_limit: _training.StepsLimit = None,
    print_config: _training.PrintConfig = False,
    force: _cli.Force = False,
) -> None:
    """Train a GAN on the keys of your music.

    From nothing, the networks first learn to write rolls as latents and back, and the transformer which latents music
    has (pretrain does just that); then generator and critic play. The checkpoint, ckpt.pt unless -o says otherwise,
    holds all that sample needs; figures, pictures and sounds of samples appear in a folder beside it (ckpt.run).

    Example: train-gan keys.zarr --epochs 200 && sample ckpt.pt | keys-to-mp3 out.mp3
    """
    flags = {
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "pretrain_epochs": pretrain_epochs,
        "critic_epochs": critic_epochs,
        "seed": seed,
        "model": model,
        "keep_last": keep_last,
        "sample_every": sample_every,
        "evaluate_every": evaluate_every,
    }
    _training.train(
        session, sources or ["-"], output, adversarial=True, resume=resume, start=start, init=init, force=force,
        preset=preset, config=config, assignments=assignments, device=device, steps_limit=steps_limit,
        print_config=print_config, flags=flags,
    )  # fmt: skip

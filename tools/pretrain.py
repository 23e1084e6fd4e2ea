"""pretrain: the stages before the game: rolls to latents and back, then the critic."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _training
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[KEYS]...", help="Keys stores, or - for a pipe.")
    ] = None,
    output: _training.Checkpoint_ = "",
    epochs: _training.Epochs = None,
    minutes: _training.Minutes = None,
    batch_size: _training.BatchSize = None,
    accumulate: _training.Accumulate = None,
    critic_epochs: _training.CriticEpochs = None,
    seed: _training.SeedGiven = None,
    device: _cli.Device = "auto",
    preset: _training.Preset = "",
    model: _training.Model = None,
    config: _training.Config = "",
    assignments: _training.Assignments = None,
    resume: _training.Resume = "",
    init: _training.Init = "",
    keep_last: _training.KeepLast = None,
    sample_every: _training.SampleEvery = None,
    log: _training.Log = "",
    steps_limit: _training.StepsLimit = None,
    print_config: _training.PrintConfig = False,
    force: _cli.Force = False,
) -> None:
    """Train the stages of a model that come before the adversarial one.

    The variational encoder and decoder learn to write real rolls as latents and back, the transformer learns which
    latents music has, then the critic learns to tell real from drawn. train-gan does this itself when it starts from
    nothing; done apart, several games can start from one checkpoint.

    Example: pretrain keys.zarr --epochs 90 -o pre.pt && train-gan keys.zarr --start pre.pt --epochs 110
    """
    from musigan.training.requests import TrainingRequest

    flags = {
        "epochs": epochs, "batch_size": batch_size, "accumulate": accumulate, "critic_epochs": critic_epochs,
        "seed": seed, "model": model, "keep_last": keep_last, "sample_every": sample_every,
    }  # fmt: skip
    given = (preset, config, tuple(assignments or ()))
    more = (*given, steps_limit, minutes, flags, log)
    request = TrainingRequest(tuple(sources or ["-"]), output, False, resume, "", init, force, *more)
    _training.train(session, request, device, print_config)

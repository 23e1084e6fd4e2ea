"""train-gan: piano keys of your music in, a network that makes new music out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _training
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEYS]...", help="Keys stores, or - for a pipe; for cyclegan one of each kind."),
    ] = None,
    output: _training.Checkpoint_ = "",
    epochs: _training.Epochs = None,
    minutes: _training.Minutes = None,
    batch_size: _training.BatchSize = None,
    accumulate: _training.Accumulate = None,
    pretrain_epochs: _training.PretrainEpochs = None,
    critic_epochs: _training.CriticEpochs = None,
    seed: _training.SeedGiven = None,
    device: _cli.Device = "auto",
    preset: _training.Preset = "",
    model: _training.Model = None,
    config: _training.Config = "",
    assignments: _training.Assignments = None,
    resume: _training.Resume = "",
    start: _training.Start = "",
    init: _training.Init = "",
    keep_last: _training.KeepLast = None,
    sample_every: _training.SampleEvery = None,
    evaluate_every: _training.EvaluateEvery = None,
    log: _training.Log = "",
    steps_limit: _training.StepsLimit = None,
    print_config: _training.PrintConfig = False,
    force: _cli.Force = False,
) -> None:
    """Train a GAN on the keys of your music.

    From nothing, the networks first learn to write bars as latents and back, and the composer which beat follows
    all before it (pretrain does just that); then generator and critic play. The checkpoint, ckpt.pt unless -o says
    otherwise, holds all that sample needs; figures, pictures and sounds of samples appear beside it, in ckpt.run.

    Example: train-gan keys.zarr --epochs 200 && sample ckpt.pt | keys-to-mp3 out.mp3
    """
    from musigan.training.requests import TrainingRequest

    flags = {
        "epochs": epochs, "batch_size": batch_size, "accumulate": accumulate, "pretrain_epochs": pretrain_epochs,
        "critic_epochs": critic_epochs, "seed": seed, "model": model, "keep_last": keep_last,
        "sample_every": sample_every, "evaluate_every": evaluate_every,
    }  # fmt: skip
    given = (resume, start, init, force, preset, config, tuple(assignments or ()), steps_limit, minutes, flags, log)
    request = TrainingRequest(tuple(sources or ["-"]), output, True, *given)
    _training.train(session, request, device, print_config)

"""What the two training tools share: their options, and training or printing what would be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from musigan_tools._session import Session

if TYPE_CHECKING:
    from musigan.training.requests import TrainingRequest

Checkpoint_ = Annotated[
    str, typer.Option("-o", "--output", metavar="CKPT", help="The checkpoint to write. [default: ckpt.pt]")
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Passes over the music, all stages together. [default: the preset's, 200]"),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0.1, help="How long it should take, about, instead of --epochs: the pace is measured first."
    ),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Rolls in a batch. [default: the preset's; small: 2]")
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate", min=1, help="Batches in a step: what a larger batch learns, in the memory of one. [default: 1]"
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset", help="small (CPU), medium (a GPU), large (a big one) or original. [default: by the device]"
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Model family; musigan models lists them. [default: bars]")]
Config = Annotated[str, typer.Option("--config", metavar="YAML", help="Settings from a file; flags go above it.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="One setting, above --config, as in adversarial.penalty=exact; repeatable."
    ),
]
Resume = Annotated[str, typer.Option("--resume", metavar="CKPT", help="Go on exactly where a stopped run was saved.")]
Start = Annotated[
    str,
    typer.Option(
        "--start", metavar="CKPT", help="Only the game, from the networks of a pretrained checkpoint, sizes and all."
    ),
]
Init = Annotated[
    str,
    typer.Option(
        "--init", metavar="CKPT", help="Begin with what fits of another checkpoint; none: with nothing. [default: base]"
    ),
]
SeedGiven = Annotated[
    int | None, typer.Option("--seed", min=0, help="Same music, settings and seed: same weights. [default: 1]")
]
PretrainEpochs = Annotated[
    int | None,
    typer.Option(
        "--pretrain-epochs", min=0, help="Of the epochs, how many come before the game. [default: all but a hundredth]"
    ),
]
CriticEpochs = Annotated[
    int | None,
    typer.Option(
        "--critic-epochs", min=0, help="Of the epochs, how many teach the critic alone. [default: the model's share]"
    ),
]
KeepLast = Annotated[
    int | None,
    typer.Option("--keep-last", min=0, help="Keep so many of the last checkpoints as numbered files. [default: 0]"),
]
SampleEvery = Annotated[
    int | None,
    typer.Option(
        "--sample-every",
        min=0,
        help="Epochs between sample pictures and MP3s; 0: none. [default: the preset's; small: 50]",
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        "--evaluate-every",
        min=0,
        help="Epochs between evaluations on songs held back; 0: none. [default: the preset's; small: 50]",
    ),
]
Log = Annotated[
    str, typer.Option("--log", metavar="wandb", help="Show the run in Weights & Biases, too (musigan[wandb]).")
]
StepsLimit = Annotated[
    int | None, typer.Option("--steps-limit", min=1, help="Save and stop after so many steps of this sitting.")
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")]


def train(session: Session, request: TrainingRequest, device: str, print_config: bool) -> None:
    """Train, or print what would be trained."""
    from musigan.machine.devices import let_threads_sleep, resolve_device
    from musigan.machine.ranks import Ranks

    let_threads_sleep()
    ranks = Ranks.of_environment()
    if not ranks.is_first:
        session.say_errors_only()
    with ranks.joined(session.hush):
        device = ranks.device(resolve_device(device))  # before anything else imports torch

        from musigan.settings import write_yaml
        from musigan.training import starting

        start = starting.Start.of(request, device, session, ranks)
        if not print_config:
            if trained := start.train(session):
                session.summary(trained)
        elif ranks.is_first:
            for line in write_yaml(start.settings).splitlines():
                session.print(line)

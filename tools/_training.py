"""What the two training tools share: options, settings from preset, file and flags, words about how it goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from musigan_tools import _cli

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.checkpoints.settings import TrainingSettings
    from musigan.datasets.rolls import RollDataset
    from musigan.training.loop import Progress

Checkpoint_ = Annotated[str, typer.Option("-o", "--output", metavar="CKPT", help="The checkpoint to write.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the music, all stages together.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="Rolls in a batch.")]
Accumulate = Annotated[
    int | None,
    typer.Option("--accumulate", min=1, help="Batches in a step: what a larger batch learns, in the memory of one."),
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset", help="small (CPU), medium (a GPU), large (a big one) or original; by default by the device."
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="Model family; `musigan models` lists them.")]
Config = Annotated[str, typer.Option("--config", metavar="YAML", help="Settings from a file; flags go above it.")]
Resume = Annotated[str, typer.Option("--resume", metavar="CKPT", help="Go on exactly where a stopped run was saved.")]
Init = Annotated[
    str,
    typer.Option(
        "--init", metavar="CKPT", help="Begin all stages with what fits of another checkpoint, whatever its sizes."
    ),
]
SeedGiven = Annotated[int | None, typer.Option("--seed", min=0, help="Same music, settings and seed: same weights.")]
CriticEpochs = Annotated[
    int | None, typer.Option("--critic-epochs", min=0, help="Of the epochs, how many teach the critic alone.")
]
KeepLast = Annotated[
    int | None, typer.Option("--keep-last", min=0, help="Keep so many of the last checkpoints as numbered files.")
]
SampleEvery = Annotated[
    int | None, typer.Option("--sample-every", min=0, help="Epochs between sample pictures and MP3s; 0: none.")
]
EvaluateEvery = Annotated[
    int | None, typer.Option("--evaluate-every", min=0, help="Epochs between evaluations on songs held back; 0: none.")
]
StepsLimit = Annotated[
    int | None, typer.Option("--steps-limit", min=1, help="Save and stop after so many steps of this sitting.")
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")]


class SessionReporter:
    """Tells a session how training goes: one line, rewritten on a terminal, and an estimate early on."""

    def __init__(self, session: _cli.Session) -> None:
        self._session, self._estimated, self._since = session, False, time.monotonic()

    def note(self, text: str) -> None:
        """A line of its own."""
        self._session.say(text)

    def progress(self, progress: Progress) -> None:
        """Where training stands."""
        if not self._estimated and time.monotonic() - self._since > 20:
            self._estimated = True
            self.note(
                f"{progress.rolls_per_second:.0f} rolls/s: about {_cli.duration(progress.seconds_left)} to go; "
                "Ctrl-C saves and stops, --resume goes on"
            )
        losses = " ".join(f"{name} {value:.3g}" for name, value in progress.losses.items())
        self._session.status(
            f"{progress.stage} epoch {progress.epoch}/{progress.epochs} step {progress.step}/{progress.steps}, "
            f"{progress.rolls_per_second:.0f} rolls/s, {_cli.duration(progress.seconds_left)} left  {losses}"
        )


def settings_of(session: _cli.Session, preset: str, config: str, flags: Mapping[str, Any], device: str) -> Any:
    """Settings of a run from nothing; without a preset, model and device decide, and the session says so."""
    from musigan import models, settings
    from musigan.checkpoints.settings import configure, preset_for

    given = settings.read_yaml(config) if config else {}
    model = str(flags.get("model") or given.get("model") or "musigan")
    models.family(model)  # an unknown one is the model's fault, not the preset's
    name = str(preset or given.get("preset") or preset_for(device, model))
    if not (preset or given.get("preset")):
        if model == "musigan":
            session.say(f"preset {name}, which suits this machine ({device}); --preset small, medium or large chooses")
        else:
            session.say(f"the settings of the model {model}; --print-config shows them, --config FILE changes them")
    return configure(name, {key: value for key, value in given.items() if key != "preset"}, flags)


def train(
    session: _cli.Session,
    sources: Sequence[str],
    output: str,
    *,
    adversarial: bool,
    resume: str,
    start: str,
    init: str,
    force: bool,
    preset: str,
    config: str,
    device: str,
    steps_limit: int | None,
    print_config: bool,
    flags: Mapping[str, Any],
) -> None:
    """Train, or print what would be trained."""
    from musigan.errors import MusiganError, UsageError
    from musigan.machine.devices import resolve_device

    if sum(map(bool, (resume, start, init))) > 1:
        raise UsageError(
            "--resume goes on with a run, --start begins a game from pretrained networks, --init begins all stages "
            "with what fits of a checkpoint: give one of them"
        )
    device = resolve_device(device)
    saved = _saved(resume or start)
    if saved is not None:
        if resume:
            _refuse_other_tool(saved, resume, adversarial)
        settings = _settings_over(saved, bool(start), preset, config, flags)
    else:
        settings = settings_of(session, preset, config, flags, device)
    _check_stages(settings, adversarial, bool(start))
    if print_config:
        from musigan.settings import write_yaml

        for line in write_yaml(settings).splitlines():
            session.print(line)
        return
    target = Path(output or resume or "ckpt.pt")
    if target.exists() and not force and not (resume and target.resolve() == Path(resume).resolve()):
        raise MusiganError(f"{target} exists: --resume {target} goes on with it, --force replaces it, -o names another")
    other = _saved(init)
    _train(session, sources, target, settings, saved, bool(resume), other, adversarial, device, steps_limit)


def _saved(path: str) -> Checkpoint | None:
    from musigan.checkpoints import checkpoint

    return checkpoint.load(path) if path else None


def _refuse_other_tool(saved: Checkpoint, resume: str, adversarial: bool) -> None:
    """A pretraining is resumed by pretrain, a run with a game by train-gan; what never has a game by either."""
    from musigan.checkpoints.settings import ADVERSARIAL_STAGES
    from musigan.errors import UsageError

    if not saved.training_settings().has_adversarial_stage:
        return
    has_adversarial_stage = any(stage in ADVERSARIAL_STAGES for stage, _ in saved.plan)
    if adversarial and not has_adversarial_stage:
        raise UsageError(
            f"{resume} is a pretraining without a game: --start {resume} begins the game from it "
            f"(pretrain --resume {resume} goes on with the pretraining)"
        )
    if has_adversarial_stage and not adversarial:
        raise UsageError(f"{resume} is a run of train-gan: train-gan --resume {resume} goes on with it")


def _check_stages(settings: TrainingSettings, adversarial: bool, starting: bool) -> None:
    """Refuse to begin what the model does not have: a game, or anything before it."""
    from musigan import models
    from musigan.errors import UsageError

    if starting and not settings.has_adversarial_stage:
        raise UsageError(f"--start begins a game, and {settings.model} has none: --resume goes on with its training")
    if not adversarial and settings.has_adversarial_stage and len(models.family(settings.model).stages) == 1:
        raise UsageError(f"{settings.model} learns nothing before its game: train-gan trains it")
    if settings.pretrain_epochs and len(models.family(settings.model).stages) == 1:
        raise UsageError(f"--pretrain-epochs: {settings.model} learns in one stage; leave it out")


def _settings_over(
    saved: Checkpoint, starting: bool, preset: str, config: str, flags: Mapping[str, Any]
) -> TrainingSettings:
    """A checkpoint's settings under those given now; how long it was pretrained says nothing about a game it starts."""
    from musigan.checkpoints.settings import TrainingSettings, settings_to_start
    from musigan.errors import SettingsError
    from musigan.settings import build, merge, read_yaml

    given = {key: value for key, value in flags.items() if value is not None}
    file = read_yaml(config) if config else {}
    preset = preset or str(file.get("preset") or "")
    if preset and preset != saved.settings.get("preset"):
        raise SettingsError(
            f"--preset {preset}: the checkpoint was made with {saved.settings.get('preset')}, and a trained network "
            "keeps its sizes: leave --preset out, or train from nothing"
        )
    saved.training_settings()
    base = settings_to_start(saved.settings) if starting else saved.settings
    settings = build(TrainingSettings, merge(merge(base, file), given))
    if starting and settings.pretrain_epochs is not None:
        raise SettingsError("--pretrain-epochs together with --start: the pretraining is done; leave it out")
    return settings


def _train(
    session: _cli.Session,
    sources: Sequence[str],
    target: Path,
    settings: TrainingSettings,
    saved: Checkpoint | None,
    resuming: bool,
    init: Checkpoint | None,
    adversarial: bool,
    device: str,
    steps_limit: int | None,
) -> None:
    """Train on the stores `sources` into `target`."""
    from musigan.checkpoints import checkpoint
    from musigan.checkpoints.settings import ADVERSARIAL_STAGES
    from musigan.training import loop, runs, warmstart
    from musigan.training.journal import Journal

    checkpoint.check_writable(target)
    place = runs.prepare_torch(device)
    dataset, validation = _rolls(session, sources, settings, saved)
    session.say(
        f"{dataset.songs} songs to learn from, {validation.songs} held back; {len(dataset)} rolls of "
        f"{dataset.shape.channels} x {dataset.shape.keys} keys x {dataset.shape.frames} frames"
    )
    if not validation.songs:
        session.say("no songs are held back for validation (pair-chunks --validation); training goes on without")
    if saved is not None and resuming:
        run = runs.resume(saved, settings, dataset, place)
    else:
        plan = settings.stage_epochs(adversarial) if saved is None else settings.adversarial_epochs()
        if adversarial and not settings.has_adversarial_stage:
            session.say(f"{settings.model} has no game: all it learns it learns by likelihood")
        elif adversarial and not any(plan.get(game) for game in ADVERSARIAL_STAGES):
            session.say(f"no game: all {settings.epochs} epochs come before it; more --epochs would bring one")
        run = runs.begin(settings, dataset, dataset.store_attributes(), plan, place, saved)
    if init is not None:
        for match in warmstart.warm_start(run, init):
            session.say(f"--init: {match}")
    journal = Journal(target, run.history, session.say)
    try:
        finished = loop.train(run, dataset, target, SessionReporter(session), journal, validation, steps_limit)
    finally:
        journal.close()
    if finished:
        kinds = run.store.get("domains")
        tool = f"transfer {target} --to {kinds[1]} song.zarr" if kinds else f"sample {target}"
        session.summary(f"{target} is trained; hear it: {tool} | keys-to-mp3 out.mp3")


def _rolls(
    session: _cli.Session, sources: Sequence[str], settings: TrainingSettings, saved: Checkpoint | None
) -> tuple[RollDataset, RollDataset]:
    """Rolls to learn from and rolls held back, of as many stores as the model takes."""
    from musigan import models
    from musigan.datasets.domains import Domains, domain_names
    from musigan.datasets.rolls import NO_AUGMENT, RollDataset
    from musigan.errors import UsageError
    from musigan.rolls.keysettings import KeySettings

    family = models.family(settings.model)
    if len(sources) != family.stores:
        wanted = {1: "one", 2: "two, one for each kind of music"}[family.stores]
        raise UsageError(f"keys stores given: {len(sources)}; the model {family.name} learns from {wanted}")
    names = domain_names(sources) if family.stores > 1 else ()
    readers = [session.random_access_reader(source, "keys") for source in sources]
    for reader in readers:
        KeySettings.from_attributes(reader.attributes).frame_samples(int(reader.attributes["sample_rate"]))
    common = (settings.compression, settings.seed)
    if names:
        held = Domains(readers, names, "validation", NO_AUGMENT, *common)
        return Domains(readers, names, "train", settings.augment, *common), held
    styles = None if saved is None else saved.store.get("styles")  # a trained network knows them by their numbers
    made = (*common, family.needs, styles)
    held_back = RollDataset(readers[0], "validation", NO_AUGMENT, *made)
    return RollDataset(readers[0], "train", settings.augment, *made), held_back

"""Starting of training runs: settings from preset, file and flags; checkpoints to go on from; stores to learn from."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musigan import models
from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints.settings import (
    ADVERSARIAL_STAGES,
    TrainingSettings,
    configure,
    preset_for,
    settings_to_start,
)
from musigan.errors import FieldError, UsageError
from musigan.files.locks import only_run
from musigan.machine.ranks import ALONE, Ranks
from musigan.machine.reporting import counted, duration
from musigan.models.stages import STAGES
from musigan.settings import as_mapping, build, merge
from musigan.training.requests import BASE

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.datasets.rolls import RollDataset
    from musigan.machine.reporting import Reporter
    from musigan.store.opening import ToolSession
    from musigan.training.loop import Progress
    from musigan.training.origin import Origin
    from musigan.training.requests import TrainingRequest
    from musigan.training.runs import Run

EPOCH_SECONDS = 5.0  # between the lines that epochs leave, at least
ESTIMATE_SECONDS = 20  # after which the first estimate of the whole training is worth a line


@dataclass(frozen=True)
class Start:
    """What a requested run starts with: its settings, and the checkpoint that it goes on from, if any."""

    request: TrainingRequest
    settings: TrainingSettings
    saved: Checkpoint | None
    device: str
    ranks: Ranks = ALONE

    @classmethod
    def of(cls, request: TrainingRequest, device: str, reporter: Reporter, ranks: Ranks = ALONE) -> Start:
        """Load the checkpoint and put the settings together, for a device that was resolved.

        Raises UsageError for what the model does not have or the checkpoint's settings rule out, CheckpointError.
        """
        path = request.resume or request.start
        saved = checkpoints.load(path) if path else None
        if saved is None:
            settings = _settings_from_nothing(request, device, reporter)
        else:
            if request.resume:
                _refuse_exported(saved, request)
                _refuse_other_tool(saved, request)
            settings = _settings_over(saved, request)
        _check_stages(settings, request)
        return cls(request, settings, saved, device, ranks)

    def train(self, session: ToolSession) -> str:
        """Train; return in words what was made, or "" where the run was stopped before its end.

        Raises MusiganError where another run trains the same checkpoint.
        """
        if not self.ranks.is_first:
            return self._train(session)
        checkpoints.check_writable(self.request.target)
        with only_run(self.request.target):
            return self._train(session)

    def _train(self, session: ToolSession) -> str:
        from musigan.machine.devices import prepare_torch
        from musigan.training import logs, loop, warmstart
        from musigan.training.journal import Journal
        from musigan.training.origin import Origin, named_origin, origin_of

        began = time.monotonic()
        request, target = self.request, self.request.target
        if self.request.log and self.ranks.is_first:
            logs.import_wandb()  # that it is missing is said before the music is read
        named = named_origin(request)  # that it cannot be read is said before the music is read
        place = prepare_torch(self.device)
        dataset, validation = self._datasets(session)
        session.say(
            f"{counted(dataset.songs, 'songs')} to learn from, {validation.songs} held back; "
            f"{counted(len(dataset), 'rolls')} of {dataset.shape.channels} x {dataset.shape.keys} keys x "
            f"{dataset.shape.frames} frames"
        )
        if said := self._words_on_held_out(dataset, validation):
            session.say(said)
        origin = named
        if origin is None:
            origin = Origin() if self.saved is not None else origin_of(request, self.settings, dataset, session)
        run = self._run((dataset, validation), place, session, origin, began)
        if origin.saved is not None:
            matches = warmstart.warm_start(run, origin.saved)
            for match in () if origin.is_base else matches:
                session.say(f"--init: {match}")
        if self.ranks.size > 1:
            session.say(f"{self.ranks.size} processes train together: steps of {run.step_size} examples in all")
        journal = Journal(target, run.history, session.say) if self.ranks.is_first else None
        try:
            if self.request.log and journal is not None:
                journal.logs.append(logs.WandbLog(journal.folder, target.stem, as_mapping(self.settings)))
            finished = loop.train(
                run, dataset, target, ProgressLines(session), journal, validation, request.steps_limit
            )
        finally:
            if journal is not None:
                journal.close()
        if not finished:
            return ""
        return f"{target} is trained; hear it: {run.store.usage(str(target))} | keys-to-mp3 out.mp3"

    @staticmethod
    def _words_on_held_out(dataset: RollDataset, validation: RollDataset) -> str:
        """Return what is worth saying about the songs held back; "" where the store says which."""
        from musigan.store.splits import ENOUGH_SONGS, HELD_BACK

        if HELD_BACK in dataset.fingerprint():
            titles = [info.title for info in dataset.reader.infos() if info.name in dataset.held_out]
            return f"held back here and by evaluate, as the store holds back fewer than two: {', '.join(titles)}"
        if not validation.songs and dataset.songs < ENOUGH_SONGS:
            songs = counted(dataset.songs, "songs")
            return f"{songs}: too few to hold any back (pair-chunks --ends holds back the end of each)"
        if not validation.songs:
            return "no songs are held back for validation (pair-chunks --validation); training goes on without"
        return ""

    def _datasets(self, session: ToolSession) -> tuple[RollDataset, RollDataset]:
        """Return rolls to learn from and held-out rolls: of a store for each kind of music, or of all stores as one."""
        from musigan.datasets.bars import BarDataset
        from musigan.datasets.domains import Domains, domain_names
        from musigan.datasets.rolls import NO_AUGMENT, RollDataset
        from musigan.store.chaining import ChainedReader
        from musigan.store.splits import names_held_by

        settings, sources = self.settings, self.request.sources
        family = models.family(settings.model)
        for source in sources if self.ranks.size > 1 else ():
            if source == "-" or Path(source).is_fifo():
                raise UsageError(
                    f"{self.ranks.size} processes cannot all read a pipe: write the store to a file, and name that"
                )
        if family.stores > 1 and len(sources) != family.stores:
            wanted = "two, one for each kind of music"
            raise UsageError(f"keys stores given: {len(sources)}; the model {family.name} learns from {wanted}")
        names = domain_names(sources) if family.stores > 1 else ()
        readers = [session.random_access_reader(source, "keys") for source in sources]
        for reader in readers:
            reader.header.key_settings.frame_samples(int(reader.header.sample_rate))
        common = (settings.compression, settings.seed)
        if names:
            of_both = Domains(readers, names, "validation", NO_AUGMENT, *common)
            return Domains(readers, names, "train", settings.augment, *common), of_both
        reader = readers[0]
        if len(readers) > 1:
            reader = ChainedReader(readers)
            copies = f", songs that came twice once ({reader.left_out})" if reader.left_out else ""
            session.say(f"learns from {len(readers)} stores as one{copies}; --model cyclegan tells two kinds apart")
        styles = None if self.saved is None else self.saved.store.styles  # known to the network by their numbers
        held_out = names_held_by({} if self.saved is None else self.saved.data, reader)
        conditions = (*common, family.conditions, styles, held_out)
        kind = BarDataset if family.on_beats else RollDataset
        held_back = kind(reader, "validation", NO_AUGMENT, *conditions)
        return kind(reader, "train", settings.augment, *conditions), held_back

    def _run(
        self, datasets: tuple[RollDataset, RollDataset], place: Any, reporter: Reporter, origin: Origin, began: float
    ) -> Run:
        """Return the run: resumed, begun from pretrained networks, or from its origin; planned by time from `began`."""
        from musigan.training import runs

        request, dataset = self.request, datasets[0]
        settings = origin.settings(self.settings, request.given)
        if request.minutes is not None:
            return self._timed(datasets, place, reporter, origin, began + 60 * request.minutes)
        if self.saved is not None and request.resume:
            run = runs.resume(self.saved, settings, dataset, place, self.ranks)
            if self.saved.ranks != self.ranks.size:
                reporter.say(
                    f"{request.resume} was trained on {counted(self.saved.ranks, 'devices')} and goes on with "
                    f"{self.ranks.size}: the same rolls and noise in each step, but not to the last bit"
                )
            return run
        plan = self._plan(settings, origin)
        if request.adversarial and not settings.has_adversarial_stage:
            reporter.say(f"{settings.model} has no game: all it learns it learns by likelihood")
        elif request.adversarial and not any(plan.get(stage) for stage in ADVERSARIAL_STAGES):
            fewest = sum(stage not in ("critic", *origin.known_stages) for stage in plan)
            more = f"--epochs {fewest} or more" if settings.pretrain_epochs is None else "more --epochs"
            reporter.say(f"no game: {_all_of(settings.epochs)} before it; {more} would bring one")
        if self.saved is None and settings.pretrain_epochs is None and (left_out := _left_out(plan, origin)):
            reporter.say(f"left out: {', '.join(left_out)}; each stage before the game needs an epoch")
        return runs.begin(settings, dataset, dataset.record(), plan, place, self.saved, self.ranks)

    def _plan(self, settings: TrainingSettings, origin: Origin) -> dict[str, int]:
        """Return the epochs of the stages of a new run."""
        if self.saved is not None:
            return settings.adversarial_epochs()
        return settings.stage_epochs(self.request.adversarial, origin.known_stages)

    def _timed(
        self, datasets: tuple[RollDataset, RollDataset], place: Any, reporter: Reporter, origin: Origin, deadline: float
    ) -> Run:
        """Return a new run whose epochs follow from the time until `deadline`."""
        from musigan.training import runs, timing

        record, asked = datasets[0].record(), {*self.request.given, *_not_none(self.request.flags)}
        settings = origin.settings(self.settings, self.request.given)
        many = build(TrainingSettings, merge(as_mapping(settings), {"epochs": timing.SHARED_EPOCHS}))
        begins = timing.Beginning(self.saved, origin.saved)
        plan = self._plan(many, origin)
        table = timing.timetable(settings, datasets, record, plan, begins, place, deadline, self.ranks)
        settings = table.over(settings)
        ends_only = {"sample_every": settings.epochs if settings.sample_every else 0, "evaluate_every": 0}
        ends_only = {name: value for name, value in ends_only.items() if name not in asked}
        settings = build(TrainingSettings, merge(as_mapping(settings), ends_only))
        reporter.say(f"planned for about {duration(60 * (self.request.minutes or 0))}: {table}")
        run = runs.begin(settings, datasets[0], record, table.epochs(), place, self.saved, self.ranks)
        run.timetable = table
        return run


class ProgressLines:
    """Progress of training in words: a line that is rewritten, one that each epoch leaves, an estimate early on.

    The line is for terminals of 80 columns: what tells most of a stage comes first.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._estimated, self._since = reporter, False, time.monotonic()
        self._left = -math.inf  # when an epoch left its line

    def note(self, text: str) -> None:
        """Show a message on a line of its own."""
        self._reporter.say(text)

    def progress(self, progress: Progress) -> None:
        """Show where training stands."""
        nearly_done = progress.seconds_left < 1
        if not self._estimated and not nearly_done and time.monotonic() - self._since > ESTIMATE_SECONDS:
            self._estimated = True
            self.note(
                f"{progress.rolls_per_second:.3g} rolls/s: about {duration(progress.seconds_left)} to go; "
                "Ctrl-C saves and stops, --resume goes on"
            )
        share = int(100 * progress.step / progress.steps)
        left = ", nearly done" if nearly_done else f", {duration(progress.seconds_left)} left"
        self._reporter.status(
            f"{progress.stage} {progress.epoch}/{progress.epochs} {share}%{left}: "
            f"{_figures(progress.stage, progress.losses)}"
        )

    def epoch(self, figures: Mapping[str, Any], epochs: int) -> None:
        """Leave a line about an epoch that is over; where epochs take less than EPOCH_SECONDS, about some of them."""
        now, is_last = time.monotonic(), figures["epoch"] >= epochs
        if now - self._left < EPOCH_SECONDS and not is_last:
            return
        self._left = now
        numbers = {name: value for name, value in figures.items() if isinstance(value, float) and name != "seconds"}
        stage = figures["stage"]
        self.note(
            f"{stage} epoch {figures['epoch']} of {epochs}, after {duration(figures['seconds'])}: "
            f"{_figures(stage, numbers)}"
        )


def _all_of(epochs: int) -> str:
    return "the only epoch comes" if epochs == 1 else f"all {epochs} epochs come"


def _figures(stage: str, figures: Mapping[str, float]) -> str:
    """Return losses and figures in words, those that tell most of the stage first, with held-out songs' own."""
    first = [name for name in STAGES[stage].figures if name in figures]
    held_out = [f"validation_{name}" for name in first if f"validation_{name}" in figures]
    rest = [name for name in figures if name not in (*first, *held_out)]
    return " ".join(f"{name} {figures[name]:.3g}" for name in (*first, *held_out, *rest))


def _settings_from_nothing(request: TrainingRequest, device: str, reporter: Reporter) -> TrainingSettings:
    """Return the settings of a run from nothing; without a preset, model and device decide, which is reported."""
    given = request.given
    model = str(request.flags.get("model") or given.get("model") or "bars")
    models.family(model)  # an unknown one is the model's fault, not the preset's
    preset = request.preset or given.get("preset")
    name = str(preset or preset_for(device, model, from_nothing=request.init not in ("", BASE)))
    if not preset and model == "bars":
        reporter.say(f"preset {name}; --preset small, medium or large chooses")
    elif not preset:
        reporter.say(f"the settings of the model {model}; --print-config shows them, --config FILE changes them")
    return configure(name, {key: value for key, value in given.items() if key != "preset"}, request.flags)


def _settings_over(saved: Checkpoint, request: TrainingRequest) -> TrainingSettings:
    """Return a checkpoint's settings under those of the request.

    How long it was pretrained says nothing about a game that it starts. Raises FieldError for another preset.
    """
    flags, given = _not_none(request.flags), request.given
    model, own_model = flags.get("model") or given.get("model"), saved.settings.get("model", "bars")
    if model and model != own_model:
        raise FieldError(
            "{model} {0}: the checkpoint is of the model {1}, and a trained network stays what it is: leave {model} "
            "out, or train from nothing",
            model,
            own_model,
        )
    preset = request.preset or str(given.get("preset") or "")
    if preset and preset != saved.settings.get("preset"):
        raise FieldError(
            "{preset} {0}: the checkpoint was made with {1}, and a trained network keeps its sizes: leave {preset} "
            "out, or train from nothing",
            preset,
            saved.settings.get("preset"),
        )
    saved.training_settings()
    base = settings_to_start(saved.settings) if request.start else saved.settings
    settings = build(TrainingSettings, merge(merge(base, given), flags))
    if request.start and settings.pretrain_epochs is not None:
        raise FieldError("{pretrain_epochs} together with {start}: the pretraining is done; leave it out")
    return settings


def _refuse_exported(saved: Checkpoint, request: TrainingRequest) -> None:
    """Raise FieldError where a checkpoint without optimisers and random state would be resumed."""
    if not saved.is_resumable:
        raise FieldError(
            "{resume} {0}: an exported checkpoint holds what draws, not what goes on exactly: {init} {0} begins a new "
            "run with its weights, {start} {0} the game alone",
            request.resume,
        )


def _left_out(plan: Mapping[str, int], origin: Origin) -> list[str]:
    """Return what the stages before the game are called that have no epochs, though nothing was learned of them yet."""
    not_learned = {"critic", *ADVERSARIAL_STAGES, *origin.known_stages}
    return [f"{STAGES[stage].title} ({stage})" for stage in plan if stage not in not_learned and not plan[stage]]


def _not_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refuse_other_tool(saved: Checkpoint, request: TrainingRequest) -> None:
    """Raise FieldError where a pretraining would be resumed as a run with a game, or such a run as a pretraining.

    What never has a game is resumed as either.
    """
    if not saved.training_settings().has_adversarial_stage:
        return
    has_adversarial_stage = any(stage in ADVERSARIAL_STAGES for stage, _ in saved.plan)
    if request.adversarial and not has_adversarial_stage:
        raise FieldError(
            "{0} is a pretraining without a game: {start} {0} begins the game from it (pretrain {resume} {0} goes on "
            "with the pretraining)",
            request.resume,
        )
    if has_adversarial_stage and not request.adversarial:
        raise FieldError("{0} is a run of train-gan: train-gan {resume} {0} goes on with it", request.resume)


def _check_stages(settings: TrainingSettings, request: TrainingRequest) -> None:
    """Raise UsageError where the run would begin what the model does not have: a game, or anything before it."""
    for name in ("pretrain_epochs", "critic_epochs"):
        if request.minutes is not None and getattr(settings, name) is not None:
            raise FieldError("{minutes} plans the epochs of all stages: leave the setting {0} out", name)
    model, is_single_stage = settings.model, len(models.family(settings.model).stages) == 1
    if request.start and not settings.has_adversarial_stage:
        raise FieldError("{start} begins a game, and {0} has none: {resume} goes on with its training", model)
    if not request.adversarial and settings.has_adversarial_stage and is_single_stage:
        raise UsageError(f"{model} learns nothing before its game: train-gan trains it")
    if settings.pretrain_epochs and is_single_stage:
        raise FieldError("{pretrain_epochs}: {0} learns in one stage; leave it out", model)

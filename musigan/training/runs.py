"""Training runs in memory: begun from nothing, from pretrained networks, or resumed where they stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from musigan import models
from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints.checkpoint import Checkpoint, Position
from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.batches import Examples
from musigan.datasets.record import MusicRecord
from musigan.datasets.rolls import RollDataset
from musigan.errors import CheckpointError, MusiganError
from musigan.machine.ranks import ALONE, Ranks
from musigan.models.augmentation import Augmentation
from musigan.models.stages import STAGES
from musigan.rolls import shape
from musigan.settings import as_mapping, build, differences
from musigan.training.acceleration import accelerate
from musigan.training.ema import Average
from musigan.training.objectives import OBJECTIVES, Adversarial, Objective
from musigan.training.timetable import Timetable

STRUCTURAL = ("model", "network", "compression")


@dataclass
class Run:
    """A training run in memory: the live form of all that a checkpoint holds."""

    settings: TrainingSettings
    shape: shape.RollShape
    store: MusicRecord
    data: dict[str, Any]
    plan: list[tuple[str, int]]
    networks: nn.ModuleDict
    accelerated: nn.ModuleDict  # the same networks as objectives call them
    average: Average
    device: torch.device
    ranks: Ranks = ALONE  # this process among those that train together
    position: Position = field(default_factory=Position)
    optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    examples: tuple[int, Examples] | None = None  # what a stage learns from, and its number in the plan
    held_out: tuple[int, RollDataset, Examples] | None = None  # the same of songs held back, and those
    timetable: Timetable | None = None  # of a run that was planned by time in this sitting
    saved: bool = False  # whether a checkpoint of it exists, from this sitting or an earlier one

    def snapshot(self) -> Checkpoint:
        """Return the run as a checkpoint."""
        return Checkpoint(
            settings=as_mapping(self.settings),
            shape=self.shape,
            store=self.store,
            data=self.data,
            plan=[list(stage) for stage in self.plan],
            position=self.position,
            networks={name: network.state_dict() for name, network in self.networks.items()},
            average={"generator": self.average.network.state_dict()},
            optimisers={name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            rng=torch.get_rng_state(),
            history=self.history,
            ranks=self.ranks.size,
        )

    @property
    def step_size(self) -> int:
        """Number of examples in a step: of the batches of all ranks."""
        return self.settings.rolls_per_step * self.ranks.size

    def state(self) -> list[torch.Tensor]:
        """Return all parameters and buffers, of the averaged generator, too."""
        modules = (self.networks, self.average.network)
        return [value for module in modules for value in (*module.parameters(), *module.buffers())]

    @property
    def is_shown_at_end(self) -> bool:
        """Whether the current stage ends with calibration and samples: it has learned to draw, and there is time."""
        stage, *later = (STAGES[name] for name, _ in self.plan[self.position.stage :])
        is_hurried = self.timetable is not None and self.timetable.is_hurried
        return stage.draws_anew and not (is_hurried and any(each.draws_anew for each in later))

    @property
    def finished(self) -> bool:
        """Whether every stage of the plan is done."""
        return self.position.stage >= len(self.plan)


def begin(
    settings: TrainingSettings,
    dataset: RollDataset,
    store: MusicRecord,
    plan: Mapping[str, int],
    device: torch.device,
    start: Checkpoint | None = None,
    ranks: Ranks = ALONE,
) -> Run:
    """Begin a run from nothing, or from the networks of a pretrained checkpoint `start`.

    Raises CheckpointError where `start` does not fit, MusiganError where every stage has 0 epochs.
    """
    shape = dataset.shape
    if start is not None:
        _compatible(start, settings, dataset, same_data=False)
        networks = checkpoints.build_networks(start, averaged=True)
    else:
        torch.manual_seed(settings.seed)
        networks = models.build(settings.model, settings.network, shape)
    stages = [(name, epochs) for name, epochs in plan.items() if epochs > 0]
    if not stages:
        raise MusiganError("nothing to do: every stage has 0 epochs; raise --epochs")
    _add_augmentation(networks, settings, stages, store)
    networks.to(device)
    average = Average(networks["generator"], settings.ema_half_life)
    accelerated = accelerate(networks, settings.precision, settings.compile, device)
    return Run(settings, shape, store, dataset.fingerprint(), stages, networks, accelerated, average, device, ranks)


def _add_augmentation(
    networks: nn.ModuleDict, settings: TrainingSettings, plan: Sequence[tuple[str, int]], store: MusicRecord
) -> None:
    """Add the augmentation of the critic's rolls, where the settings want one for a stage of the plan."""
    is_adversarial = any(issubclass(OBJECTIVES[stage], Adversarial) for stage, _ in plan)
    if settings.adversarial.adaptive and is_adversarial and "augmentation" not in networks:
        networks["augmentation"] = Augmentation(store.header.tracks)


def resume(
    saved: Checkpoint, settings: TrainingSettings, dataset: RollDataset, device: torch.device, ranks: Ranks = ALONE
) -> Run:
    """Resume the run of a checkpoint exactly; CheckpointError where data or structure have changed.

    Another number of ranks than before shares the same batches, and is as exact as the order of sums lets it be.
    """
    _compatible(saved, settings, dataset, same_data=True)
    networks = checkpoints.build_networks(saved)
    average = Average(networks["generator"].to(device), settings.ema_half_life)
    checkpoints.load_weights(average.network, saved.average.get("generator"), "averaged generator")
    try:
        plan = [(str(name), int(epochs)) for name, epochs in saved.plan]
        torch.set_rng_state(saved.rng)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's plan or random state is damaged ({error})") from error
    if any(name not in OBJECTIVES for name, _ in plan):
        raise CheckpointError(f"the checkpoint's plan {plan} names a stage that this version does not know")
    _add_augmentation(networks, settings, plan, saved.store)
    networks.to(device)
    accelerated = accelerate(networks, settings.precision, settings.compile, device)
    run = Run(settings, saved.shape, saved.store, saved.data, plan, networks, accelerated, average, device, ranks)
    run.position, run.history, run.saved = saved.position, list(saved.history), True
    _extend(run, saved)
    run.settings = _shared_out(run.settings, saved.ranks, ranks.size)
    if not run.finished:
        objective = objective_of(run)
        run.optimisers = optimisers_of(objective)
        for name, optimiser in run.optimisers.items():
            if name in saved.optimisers:  # there is none yet at the very start of a stage
                _load_optimiser(optimiser, saved.optimisers[name], name)
    return run


def _shared_out(settings: TrainingSettings, before: int, now: int) -> TrainingSettings:
    """Return the settings with which `now` ranks take the batches of a step that `before` ranks took.

    Raises CheckpointError where they do not divide among them.
    """
    if before == now:
        return settings
    batches = settings.accumulate * before
    if batches % now:
        able = [str(count) for count in range(1, batches + 1) if batches % count == 0]
        raise CheckpointError(
            f"the checkpoint's run has {batches} batches in a step, which {now} processes cannot share equally: resume "
            f"it with {' or '.join(able)}"
        )
    return build(TrainingSettings, {**as_mapping(settings), "accumulate": batches // now})


def _load_optimiser(optimiser: torch.optim.Optimizer, saved: Any, name: str) -> None:
    """Load Adam's state from the checkpoint; rates and betas stay those of the settings, which may have changed."""
    group_settings = [{key: group[key] for key in ("lr", "initial_lr", "betas")} for group in optimiser.param_groups]
    try:
        optimiser.load_state_dict(saved)
    # A state dict of another form: torch checks only the sizes of groups, the rest raises any of these.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"the checkpoint's optimiser '{name}' does not fit the networks of this version ({reason}); begin a new "
            "run with its weights by --init"
        ) from error
    for group, values in zip(optimiser.param_groups, group_settings, strict=True):
        group.update(values)


def _extend(run: Run, saved: Checkpoint) -> None:
    """Lengthen or shorten the last stage by the change of --epochs since the run was planned."""
    old, new = saved.training_settings(), run.settings
    for name in ("pretrain_epochs", "critic_epochs", "batch_size", "accumulate", "seed"):
        if getattr(old, name) != getattr(new, name):
            flag = name.replace("_", "-")
            raise CheckpointError(
                f"the checkpoint's run has --{flag} {getattr(old, name)}, now it is {getattr(new, name)}; a resumed "
                "run keeps it: leave it out"
            )
    if old.epoch_rolls != new.epoch_rolls:
        raise CheckpointError(
            f"the checkpoint's run has epoch_rolls {old.epoch_rolls}, now it is {new.epoch_rolls}; a resumed run keeps "
            "it: leave it out"
        )
    extra_epochs = new.epochs - old.epochs
    if not extra_epochs:
        return
    name, epochs = run.plan[-1]
    if run.finished and extra_epochs > 0:
        steps_before = [entry["step"] for entry in run.history if entry["stage"] != name]
        run.position.stage, run.position.epoch = len(run.plan) - 1, epochs
        run.position.step = run.position.total_steps - max(steps_before, default=0)
    is_last_stage = run.position.stage >= len(run.plan) - 1
    if (
        epochs + extra_epochs < (run.position.epoch + bool(run.position.step_in_epoch) if is_last_stage else 1)
        or run.finished
    ):
        raise CheckpointError(
            f"--epochs {new.epochs}: the checkpoint's run has done {len(run.history)} of {old.epochs}; ask for more"
        )
    run.plan[-1] = (name, epochs + extra_epochs)


def _compatible(saved: Checkpoint, settings: TrainingSettings, dataset: RollDataset, same_data: bool) -> None:
    """Raise CheckpointError, with both values, for another structure or, if `same_data`, other data."""
    for path, old, new in differences(as_mapping(saved.training_settings()), as_mapping(settings)):
        if path.split(".")[0] in STRUCTURAL:
            raise CheckpointError(
                f"the checkpoint has {path} = {old}, the settings ask for {new}; a trained network keeps its "
                "structure: leave the setting out, or train from nothing"
            )
    if saved.shape != dataset.shape:
        raise CheckpointError(
            f"the checkpoint was trained on rolls of {_shape(saved.shape)}, the keys store holds "
            f"{_shape(dataset.shape)}"
        )
    if same_data:
        for path, old, new in differences(saved.data, dataset.fingerprint()):
            raise CheckpointError(
                f"another keys store than the checkpoint's: {path} was {old}, is {new}; resume with the store it was "
                "trained on, or start from its networks with --start"
            )


def _shape(shape: shape.RollShape) -> str:
    return f"{shape.channels} channels x {shape.keys} keys x {shape.frames} frames"


def objective_of(run: Run) -> Objective:
    """Build the objective of the current stage and put the networks into training mode."""
    run.networks.train()
    return OBJECTIVES[run.plan[run.position.stage][0]](run.accelerated, run.settings, run.shape.pitched)


def optimisers_of(objective: Objective) -> dict[str, torch.optim.Optimizer]:
    """Build an Adam optimiser for every side of the objective, by the side's name."""
    optimisers: dict[str, torch.optim.Optimizer] = {}
    for side, groups in objective.groups().items():
        optimisers[side] = torch.optim.Adam(groups, betas=objective.betas, foreach=True)
        for group in optimisers[side].param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers

"""What a new run begins from: nothing, a checkpoint that was named, or the base where it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from musigan import models
from musigan.checkpoints import base
from musigan.checkpoints import checkpoint as checkpoints
from musigan.errors import CheckpointError
from musigan.models.bars import adapting
from musigan.rolls.tracks import is_recording
from musigan.settings import as_mapping
from musigan.training.requests import BASE, NOTHING

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.checkpoints.settings import TrainingSettings
    from musigan.datasets.rolls import RollDataset
    from musigan.machine.reporting import Reporter
    from musigan.training.requests import TrainingRequest

KNOWN_STAGES = ("codec",)  # what the base has learned for all music
RATE = 0.3  # of the learning rate from nothing: what is known is not to be forgotten in the first steps
SIZELESS = ("guidance", "flow_steps", "composer_dropout")  # settings of a network that change none of its sizes


@dataclass(frozen=True)
class Origin:
    """A checkpoint that a run takes its first weights from, None for nothing, and what it need not learn again."""

    saved: Checkpoint | None = None
    is_base: bool = False

    @property
    def known_stages(self) -> tuple[str, ...]:
        """The stages that are left out, unless epochs are asked for."""
        return KNOWN_STAGES if self.is_base else ()

    def settings(self, settings: TrainingSettings, given: Mapping[str, Any]) -> TrainingSettings:
        """Return the settings of a run that begins here; `given` are those that someone chose."""
        if not self.is_base or "learning_rate" in (given.get("prior") or {}):
            return settings
        return replace(settings, prior=replace(settings.prior, learning_rate=RATE * settings.prior.learning_rate))


def named_origin(request: TrainingRequest) -> Origin | None:
    """Return the origin that a request names: a checkpoint, or nothing; None where it may be the base.

    Raises CheckpointError for a checkpoint that cannot be read.
    """
    if request.init == NOTHING:
        return Origin()
    return None if request.init in ("", BASE) else Origin(checkpoints.load(request.init))


def origin_of(request: TrainingRequest, settings: TrainingSettings, dataset: RollDataset, reporter: Reporter) -> Origin:
    """Return what a new run begins from that names no checkpoint: the base, or nothing where it does not fit.

    Raises CheckpointError for a base that was asked for and does not fit.
    """
    if not request.init and models.family(settings.model).adapt is None:
        return Origin()
    try:
        saved = base.load()
        obstacle = _obstacle(saved, settings, dataset)
    except CheckpointError as error:
        obstacle = str(error)
    if not obstacle:
        reporter.say("begins with what the base knows of free music; --init none begins from nothing")
        return Origin(saved, True)
    if request.init:
        raise CheckpointError(f"--init {BASE}: {obstacle}; leave it out to begin from nothing")
    reporter.say(f"begins from nothing: {obstacle}")
    return Origin()


def _obstacle(saved: Checkpoint, settings: TrainingSettings, dataset: RollDataset) -> str:
    """Return why a run cannot begin with the base; "" where it can."""
    header, wanted, known = dataset.reader.header, saved.store.header, saved.training_settings()
    if settings.model != known.model:
        return f"the base is of the model {known.model}"
    sizes = [
        {name: value for name, value in as_mapping(each).items() if name not in SIZELESS}
        for each in (known.network, settings.network)
    ]
    if sizes[0] != sizes[1]:
        return f"the base has networks of other sizes, those of --preset {known.preset}"
    if settings.compression != known.compression:
        return f"the base is of {known.compression} loudness"
    if not is_recording(header.tracks):
        return f"the base is of recordings, and the store has the tracks {', '.join(header.tracks)}"
    if (header.low_key, header.high_key) != (wanted.low_key, wanted.high_key):
        return f"the base is of keys {wanted.low_key}-{wanted.high_key}"
    return "" if adapting.fits(saved.shape, dataset.shape) else "the base is of other drums"

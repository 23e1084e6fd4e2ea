"""Requests for training, which check that their fields go together; torch is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from musigan.errors import FieldError, MusiganError
from musigan.settings import read_given

NOTHING, BASE = "none", "base"  # what --init calls a beginning from nothing, and one with the package's weights
LOGS = ("wandb",)


@dataclass(frozen=True)
class TrainingRequest:
    """Request for training. Raises FieldError where its fields do not go together."""

    sources: tuple[str, ...]  # keys stores
    output: str = ""  # checkpoint; "": the resumed one, or ckpt.pt
    adversarial: bool = True  # with the adversarial stage, or only what comes before
    resume: str = ""  # checkpoints
    start: str = ""
    init: str = ""
    force: bool = False  # replaces a checkpoint that exists
    preset: str = ""
    config: str = ""  # YAML file
    assignments: tuple[str, ...] = ()  # "section.name=value" each, above the file
    steps_limit: int | None = None
    minutes: float | None = None  # how long the run should take; None: the epochs decide
    flags: Mapping[str, Any] = field(default_factory=dict)  # settings by name; None: not given
    log: str = ""  # where else the run is shown: one of LOGS

    def __post_init__(self) -> None:
        if self.log and self.log not in LOGS:
            raise FieldError("{log} {0}: expected {1}", self.log, " or ".join(LOGS))
        if sum(map(bool, (self.resume, self.start, self.init))) > 1:
            raise FieldError(
                "{resume} goes on with a run, {start} begins a game from pretrained networks, {init} begins all stages "
                "with what fits of a checkpoint: give one of them"
            )

        if self.minutes is not None and self.resume:
            raise FieldError(
                "{minutes} plans a new run, and {resume} keeps its plan: leave {minutes} out; {epochs} can lengthen it"
            )
        for name in ("epochs", "pretrain_epochs", "critic_epochs"):
            if self.minutes is not None and self.flags.get(name) is not None:
                raise FieldError("{minutes} plans the epochs of all stages: leave one of the two out, {" + name + "}")

    @cached_property
    def given(self) -> dict[str, Any]:
        """Settings of the file, and above them those assigned. Raises SettingsError for what is neither."""
        return read_given(self.config, self.assignments)

    @property
    def target(self) -> Path:
        """The checkpoint to write. Raises MusiganError where it exists and is neither resumed nor to be replaced."""
        target = Path(self.output or self.resume or "ckpt.pt")
        is_resumed = bool(self.resume) and target.resolve() == Path(self.resume).resolve()
        if target.exists() and not self.force and not is_resumed:
            raise MusiganError(
                f"{target} exists: --resume {target} goes on with it, --force replaces it, -o names another"
            )
        return target

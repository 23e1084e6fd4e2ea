"""The last few checkpoints of a run, numbered by epoch, beside the one that is always replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musigan.errors import CheckpointError
from musigan.training import checkpoint as checkpoints
from musigan.training.checkpoint import Checkpoint

NAME = re.compile(r"epoch-(\d{6,})\.pt")


class Numbered:
    """Writes `epoch-000020.pt` and on into `folder`, and removes the run's own older ones.

    Only files that this run wrote are ever removed: in this sitting, or in an earlier one, which shows in the history
    that they hold.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[Path] | None = None  # oldest first; None until the folder was looked through

    def keep(self, checkpoint: Checkpoint, epoch: int, last: int) -> None:
        """Save `checkpoint` as that of `epoch`, and of all the run has written keep the `last` ones."""
        if self._written is None:
            self._written = self._of_earlier_sittings(checkpoint.history[:-1])
        path = self.folder / f"epoch-{epoch:06d}.pt"
        checkpoints.save(path, checkpoint)
        self._written = [*(each for each in self._written if each != path), path]
        for old in self._written[:-last]:
            old.unlink(missing_ok=True)
        self._written = self._written[-last:]

    def _of_earlier_sittings(self, history: Sequence[Mapping[str, Any]]) -> list[Path]:
        """The numbered checkpoints in the folder that hold a beginning of `history`, oldest first."""
        numbered = [(int(found[1]), path) for path in self.folder.iterdir() if (found := NAME.fullmatch(path.name))]
        return [path for _, path in sorted(numbered) if history and _holds_beginning(path, history)]


def _holds_beginning(path: Path, history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a file is a checkpoint of the run of `history`: no other has its losses and its seconds."""
    try:
        behind = checkpoints.load(path).history
    except CheckpointError:
        return False
    return bool(behind) and behind == list(history[: len(behind)])

"""Numbered checkpoints: the last few of a run, by epoch, beside the one that is always replaced."""

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
    """Writer of `epoch-000020.pt` and so on into `folder`, which removes the run's own older ones.

    It removes only files that this run wrote, in this sitting or in an earlier one. Those of an earlier sitting are
    recognised by the history in them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[Path] | None = None  # oldest first; None until the folder was searched

    def keep(self, checkpoint: Checkpoint, epoch: int, last: int) -> None:
        """Save `checkpoint` as that of `epoch`, then remove all but the `last` ones that the run has written."""
        if self._written is None:
            self._written = self._of_earlier_sittings(checkpoint.history[:-1])
        path = self.folder / f"epoch-{epoch:06d}.pt"
        checkpoints.save(path, checkpoint)
        self._written = [*(each for each in self._written if each != path), path]
        for old in self._written[:-last]:
            old.unlink(missing_ok=True)
        self._written = self._written[-last:]

    def _of_earlier_sittings(self, history: Sequence[Mapping[str, Any]]) -> list[Path]:
        """Return the numbered checkpoints in the folder whose history is a beginning of `history`, oldest first."""
        numbered = [(int(match[1]), path) for path in self.folder.iterdir() if (match := NAME.fullmatch(path.name))]
        return [path for _, path in sorted(numbered) if history and _holds_beginning(path, history)]


def _holds_beginning(path: Path, history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a file is a checkpoint of the run of `history`; no other run has the same losses and times."""
    try:
        other_history = checkpoints.load(path).history
    except CheckpointError:
        return False
    return bool(other_history) and other_history == list(history[: len(other_history)])

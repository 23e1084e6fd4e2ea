"""The base: what the default model knows when it is installed, learned from free music (CARD.md)."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from musigan.errors import CheckpointError

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint

FILE = "base.safetensors"


def load() -> Checkpoint:
    """Read the base. Raises CheckpointError where the package lacks it."""
    from musigan.checkpoints import checkpoint

    with resources.as_file(resources.files(__name__) / FILE) as path:
        if not path.is_file():
            raise CheckpointError("the package lacks its base weights; install musigan anew")
        return checkpoint.load(path)

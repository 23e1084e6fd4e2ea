"""Loading of checkpoints to draw or translate with, on a device that is made ready first."""

from __future__ import annotations

from pathlib import Path

from musigan.checkpoints import base
from musigan.machine.devices import ready_device
from musigan.sampling.sampler import Sampler
from musigan.sampling.transfer import Transfer


def load_sampler(checkpoint: str | Path, device: str = "auto") -> Sampler:
    """Load who draws from a checkpoint. Raises SettingsError for an unknown device, CheckpointError."""
    return Sampler.load(checkpoint, ready_device(device))


def load_base(device: str = "auto") -> Sampler:
    """Load who draws from the base. Raises SettingsError for an unknown device, CheckpointError where there is none."""
    return Sampler.from_checkpoint(base.load(), ready_device(device))


def load_transfer(checkpoint: str | Path, device: str = "auto") -> Transfer:
    """Load who translates songs from a checkpoint. Raises SettingsError for an unknown device, CheckpointError."""
    return Transfer.load(checkpoint, ready_device(device))

"""The device (CPU or GPU) to compute on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from musigan.errors import SettingsError
from musigan.machine.cores import usable_cores

if TYPE_CHECKING:
    import torch

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, Windows' Linux, AMD


def resolve_device(name: str) -> str:
    """Return torch's name of the device `name`; "auto" is the best available: CUDA, Apple's Metal, else the CPU.

    torch takes seconds to import, so it is imported only where a GPU is likely or named. Call this before torch is
    imported: it makes threads that wait for each other sleep instead of spin. That costs a tenth on an idle machine,
    but makes training 2.5 times as fast beside one other busy process on two cores.
    Raises SettingsError for a device that this machine does not have.
    """
    let_threads_sleep()
    if name == "cpu" or (name == "auto" and not _gpu_likely()):
        return "cpu"
    import torch

    try:
        kind = "auto" if name == "auto" else torch.device(name).type
    except RuntimeError:
        raise SettingsError(f"--device {name} is unknown: expected auto, cpu, cuda, cuda:1 or mps") from None
    if kind in ("auto", "cuda") and torch.cuda.is_available():
        index = 0 if name == "auto" else torch.device(name).index or 0
        if index < torch.cuda.device_count():
            return "cuda" if name == "auto" else name
    if kind in ("auto", "mps") and torch.backends.mps.is_available():
        return "mps"
    if kind == "auto":
        return "cpu"
    raise SettingsError(f"--device {name}: this machine has none that torch can use (musigan doctor says more)")


def let_threads_sleep() -> None:
    """Make threads of torch, which is to be imported later, sleep while they wait for each other."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def prepare_torch(device: str) -> torch.device:
    """Set one thread per usable core unless OMP_NUM_THREADS is set, TF32 on GPUs; return the torch device."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    return torch.device(device)


def ready_device(name: str) -> str:
    """Return torch's name of the device `name` after making torch ready for it; raise SettingsError as above."""
    device = resolve_device(name)
    prepare_torch(device)
    return device


def _gpu_likely() -> bool:
    return sys.platform == "darwin" or any(os.path.exists(path) for path in _GPU_FILES)

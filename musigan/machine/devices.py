"""The device (CPU or GPU) to compute on."""

from __future__ import annotations

import os
import sys

from musigan.errors import SettingsError

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, Windows' Linux, AMD


def resolve_device(name: str) -> str:
    """Return torch's name of the device `name`; "auto" is the best available: CUDA, Apple's Metal, else the CPU.

    torch takes seconds to import, so it is imported only where a GPU is likely or named. Call this before torch is
    imported: it makes threads that wait for each other sleep instead of spin. That costs a tenth on an idle machine,
    but makes training 2.5 times as fast beside one other busy process on two cores.
    Raises SettingsError for a device that this machine does not have.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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


def _gpu_likely() -> bool:
    return sys.platform == "darwin" or any(os.path.exists(path) for path in _GPU_FILES)

"""Networks made faster for training: half the bits where there is hardware for it, and compiled code.

Both go around the heavy functions of a live network and leave its parameters alone: a state dict has the names it
always had, and the average, which is sampled and scored, stays in float32 and uncompiled. Latents, losses, gradients
and optimisers are float32 in any case, so bfloat16 needs no scaling of losses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from musigan.errors import SettingsError

Precision = Literal["auto", "float32", "bfloat16"]

HEAVY = {"generator": ("encode", "velocity", "decode", "translate"), "critic": ("forward", "judge")}
BACKEND = "inductor"
# Graphs of one function: a batch or several, with and without gradient, one view or two, each side's turn.
VARIANTS = 32


def chosen_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """What `precision` means on `device`: "auto" is bfloat16 on GPUs that compute with it, else float32."""
    if precision != "auto":
        return precision
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able else "float32"


def accelerate(networks: nn.ModuleDict, precision: Precision, compiled: bool, device: torch.device) -> None:
    """Have the heavy functions of `networks`, on `device`, run in `precision` and, if asked, compiled.

    Raises SettingsError where the compiler's own requirements are not met.
    """
    half = chosen_precision(precision, device) == "bfloat16"
    if compiled:
        _prepare_compiler(device)
    for name, functions in HEAVY.items():
        for function in functions:
            fast = getattr(networks[name], function, None) if name in networks else None
            if fast is None:  # a family without that stage
                continue
            if compiled:
                fast = torch.compile(fast, backend=BACKEND, dynamic=False)
            if half:
                fast = _autocast(fast, device)
            if compiled or half:
                setattr(networks[name], function, fast)


def _prepare_compiler(device: torch.device) -> None:
    """Room for all variants of a function; SettingsError where nothing could be compiled."""
    import shutil

    import torch._dynamo

    if BACKEND == "inductor" and device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise SettingsError(
            "setting 'compile' is true, and there is no C++ compiler here; install g++, or set it false"
        )
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)


def _autocast(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function` under bfloat16 autocast, its results float32.

    Each call has a context of its own: the casts of weights that a context remembers do not outlive the call, so a
    pass without gradients leaves none to one with.
    """

    @functools.wraps(function)
    def fast(*given: Any, **named: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            found = function(*given, **named)
        return _float32(found)

    return fast


def _float32(found: Any) -> Any:
    """Tensors of a result in float32, in dicts, lists and named tuples too."""
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, Mapping):
        return {key: _float32(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_float32(value) for value in found]
    if isinstance(found, tuple):
        values = [_float32(value) for value in found]
        return type(found)(*values) if hasattr(found, "_fields") else tuple(values)
    return found

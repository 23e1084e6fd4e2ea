"""Faster training: bfloat16 autocast where the hardware supports it, and compiled code.

Both wrap a network in training and leave its parameters alone: the names in a state dict do not change, and the
averaged network, which is sampled and scored, stays in float32 and uncompiled. Latents, losses, gradients and
optimisers are float32 in any case, so bfloat16 needs no loss scaling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from musigan.errors import SettingsError

Precision = Literal["auto", "float32", "bfloat16"]

# Functions that take nearly all of a step's time, of the networks that have them.
HEAVY_FUNCTIONS = {"generator": ("encode", "velocity", "decode", "translate"), "critic": ("forward", "judge")}
BACKEND = "inductor"
# Compiled graphs of one function: one batch or several, with and without gradient, one view or two, for each side.
VARIANTS = 32


def chosen_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Return the precision to use on `device`: "auto" is bfloat16 on GPUs that compute with it, else float32."""
    if precision != "auto":
        return precision
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_bfloat16 else "float32"


def accelerate(networks: nn.ModuleDict, precision: Precision, compiled: bool, device: torch.device) -> nn.ModuleDict:
    """Return networks, on `device`, whose heavy functions run in `precision` and, if `compiled`, compiled.

    They share all parameters, buffers and modules with `networks`, which stay as they are. Raises SettingsError where
    the compiler's own requirements are not met.
    """
    is_bfloat16 = chosen_precision(precision, device) == "bfloat16"
    if compiled:
        _prepare_compiler(device)
    if not compiled and not is_bfloat16:
        return networks

    def faster(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` compiled and in bfloat16, as far as the settings ask for it."""
        if compiled:
            function = torch.compile(function, backend=BACKEND, dynamic=False)
        return _autocast(function, device) if is_bfloat16 else function

    return nn.ModuleDict(
        {name: _wrapped(network, HEAVY_FUNCTIONS.get(name, ()), faster) for name, network in networks.items()}
    )


def _wrapped(
    network: nn.Module, names: Sequence[str], faster: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> nn.Module:
    """Return a network of a subclass of `network`'s own that calls its functions `names` by way of `faster`.

    Both have one state: what is set, trained or loaded in one is so in the other.
    """
    kind = type(network)
    functions = {name: staticmethod(faster(getattr(network, name))) for name in names if name in dir(kind)}
    wrapper: nn.Module = object.__new__(type(f"Accelerated{kind.__name__}", (kind,), functions))
    wrapper.__dict__ = network.__dict__
    return wrapper


def _prepare_compiler(device: torch.device) -> None:
    """Raise the limit of graphs per function to VARIANTS; SettingsError where there is no C++ compiler."""
    import shutil

    import torch._dynamo

    if BACKEND == "inductor" and device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise SettingsError(
            "setting 'compile' is true, and there is no C++ compiler here; install g++, or set it false"
        )
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)


def _autocast(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Wrap `function` so that it runs under bfloat16 autocast and returns float32.

    Each call opens its own autocast context. A context caches the weights that it cast, so a shared one would hand
    weights cast without gradients to a pass that needs them.
    """

    @functools.wraps(function)
    def fast(*given: Any, **named: Any) -> Any:
        """Call the function under autocast."""
        with torch.autocast(device.type, torch.bfloat16):
            result = function(*given, **named)
        return _float32(result)

    return fast


def _float32(result: Any) -> Any:
    """Convert the floating point tensors of a result to float32, in mappings, lists and named tuples too."""
    if isinstance(result, Tensor):
        return result.float() if result.is_floating_point() else result
    if isinstance(result, Mapping):
        return {key: _float32(value) for key, value in result.items()}
    if isinstance(result, list):
        return [_float32(value) for value in result]
    if isinstance(result, tuple):  # Posterior, Decoded, Judgement
        return type(result)(*map(_float32, result))
    return result

"""Processes that train one model together, each on a device of its own, as torchrun starts them.

Each is a rank, numbered from 0; the first alone writes files and speaks. torch.distributed joins them: gloo carries
what lies in memory and every agreement between them, NCCL what lies on GPUs. A rank that ends before the others ends
them, too, and the run says why in one line.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from musigan.errors import LostRankError, MusiganError, SettingsError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets beside WORLD_SIZE
JOINING = timedelta(minutes=10)  # within which all have to start
WAITING = timedelta(days=7)  # for the first, which alone evaluates and saves; one that has ended is noticed at once
MOST_RANKS = 1 << 16
_FAILED = "musigan/failed"  # key of the store that all share: how many ranks have failed


class Ranks:
    """A process as rank `number` of `size`; it is number `local` of those on its machine.

    One that is alone has nothing to wait for, and all that is done with others does nothing.
    """

    def __init__(self, number: int = 0, size: int = 1, local: int = 0) -> None:
        self.number, self.size, self.local = number, size, local
        self._group: Any = None  # of all ranks, by gloo
        self._gpus: Any = None  # the same by NCCL, where they compute on GPUs

    @classmethod
    def of_environment(cls, variables: Mapping[str, str] = os.environ) -> Ranks:
        """Return the rank that torchrun's variables give this process; without WORLD_SIZE it is alone.

        Raises UsageError where some of them are missing or make no sense.
        """
        size = _whole(variables, "WORLD_SIZE", 1, MOST_RANKS) if variables.get("WORLD_SIZE") else 1
        if size == 1:
            return cls()
        if missing := [name for name in VARIABLES if not variables.get(name)]:
            raise UsageError(
                f"WORLD_SIZE is {size}, without {', '.join(missing)}: torchrun -m musigan sets them all (torchrun -h "
                "says how); to train in one process, unset WORLD_SIZE"
            )
        return cls(_whole(variables, "RANK", 0, size - 1), size, _whole(variables, "LOCAL_RANK", 0, size - 1))

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and speaks."""
        return self.number == 0

    @contextmanager
    def joined(self, hush: Callable[[], None]) -> Iterator[None]:
        """Join the ranks for the time of the block; `hush` is called where another has said why the run ends.

        Raises MusiganError where they do not find each other.
        """
        if self.size == 1:
            yield
            return
        self._join()
        try:
            yield
        except BaseException as error:
            if isinstance(error, LostRankError):
                with suppress(ValueError):  # not in the main thread
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of torchrun, which has noticed it, too
            if self._is_told():
                hush()
            raise
        _distributed().destroy_process_group()

    def _join(self) -> None:
        distributed = _distributed()
        if not distributed.is_available():
            raise MusiganError(f"{self.size} processes: this build of torch cannot join them; train in one process")
        try:
            distributed.init_process_group("gloo", timeout=JOINING)
            self._group = distributed.new_group(backend="gloo", timeout=WAITING)
        except (RuntimeError, ValueError, OSError) as error:
            place = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise MusiganError(
                f"the {self.size} processes of this run do not find each other at {place} ({reason}): start them all, "
                "by torchrun"
            ) from error

    def _is_told(self) -> bool:
        """Count this rank's failure; return whether another has failed before, and said so."""
        with suppress(Exception):  # the first, which may keep the count, is gone
            store = _distributed().distributed_c10d._get_default_store()
            return int(store.add(_FAILED, 1)) > 1
        return False

    def device(self, name: str) -> str:
        """Return torch's name of this rank's own device, of a resolved one, and make it ready for what ranks share.

        Raises SettingsError where there is none for each.
        """
        kind = name.partition(":")[0]
        if self.size == 1 or kind == "cpu":
            return name
        if kind != "cuda":
            raise SettingsError(f"--device {name}: {self.size} processes train on CPUs or NVIDIA GPUs: --device cpu")
        if name != kind:
            raise SettingsError(
                f"--device {name} is one for all {self.size} processes: --device cuda gives each its own"
            )
        import torch

        count = torch.cuda.device_count()
        if self.any(self.local >= count):
            raise SettingsError(
                f"{self.size} processes, and not a GPU for each (on this machine: {count}): torchrun --nproc-per-node "
                f"{count}, or --device cpu"
            )
        torch.cuda.set_device(self.local)
        self._gpus = _distributed().new_group(backend="nccl", timeout=WAITING)
        return f"cuda:{self.local}"

    def part(self, values: Sequence[T]) -> Sequence[T]:
        """Return this rank's part of values that divide by the number of ranks; all parts in order are the whole."""
        each = len(values) // self.size
        return values[self.number * each : (self.number + 1) * each]

    def any(self, value: bool) -> bool:
        """Return whether `value` is true at any rank."""
        if self.size == 1:
            return value
        import torch

        flag = torch.tensor([int(value)])
        self._reduce(flag, "MAX")
        return bool(flag.item())

    def wait(self) -> None:
        """Wait until all ranks have come here."""
        self.any(False)

    def average(self, parameters: Sequence[Tensor], figures: Tensor) -> None:
        """Replace the gradients of parameters, and float32 `figures` (N), by their means over all ranks.

        A gradient that only some have counts as zeros at the others.
        """
        if self.size == 1:
            return
        import torch

        # Ranks agree first. On GPUs, too: one that waits in memory hears at once of a rank that has ended.
        has_gradient = torch.tensor([int(parameter.grad is not None) for parameter in parameters])
        self._reduce(has_gradient, "MAX")
        values = [figures]
        for parameter, is_there in zip(parameters, has_gradient.tolist(), strict=True):
            if is_there and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if is_there:
                assert parameter.grad is not None
                values.append(parameter.grad)
        self.combine(values, is_mean=True)

    def combine(self, values: Sequence[Tensor], is_mean: bool) -> None:
        """Replace float32 tensors of one device by their means, or sums, over all ranks, the same bits at each."""
        if self.size == 1 or not values:
            return
        import torch

        with torch.no_grad():
            flat = torch.cat([value.reshape(-1) for value in values])
            self._reduce(flat)
            if is_mean:
                flat /= self.size
            _copy_back(flat, values)

    def share(self, values: Sequence[Tensor]) -> None:
        """Overwrite tensors of one device by those of the first rank, bit for bit."""
        if self.size == 1 or not values:
            return
        import torch

        with torch.no_grad():
            flat = torch.cat([value.reshape(-1).view(torch.uint8) for value in values])
            self.wait()
            self._spread(flat)
            _copy_back(flat, values)

    def of_first(self, value: T) -> T:
        """Return the first rank's `value`, which pickle can copy."""
        if self.size == 1:
            return value
        values = [value]
        with self._heard():
            _distributed().broadcast_object_list(values, 0, group=self._group)
        return values[0]

    def _reduce(self, values: Tensor, operation: str = "SUM") -> None:
        distributed = _distributed()
        with self._heard():
            distributed.all_reduce(values, getattr(distributed.ReduceOp, operation), group=self._group_of(values))

    def _spread(self, values: Tensor) -> None:
        with self._heard():
            _distributed().broadcast(values, 0, group=self._group_of(values))

    def _group_of(self, values: Tensor) -> Any:
        return self._gpus if values.is_cuda else self._group

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Raise LostRankError where another rank has ended, which torch says as a RuntimeError."""
        try:
            yield
        except RuntimeError as error:
            if "memory" in str(error):  # there is too little of
                raise
            raise LostRankError(f"another of the {self.size} processes of this run has ended") from error


ALONE = Ranks()


def processes_here(variables: Mapping[str, str] = os.environ) -> int:
    """Return how many processes of a run torchrun has started on this machine, 1 without it."""
    return max(int(text), 1) if (text := variables.get("LOCAL_WORLD_SIZE", "")).isdecimal() else 1


def _whole(variables: Mapping[str, str], name: str, least: int, most: int) -> int:
    """Return the whole number that a variable holds. Raises UsageError where it is none, or out of bounds."""
    text = variables[name]
    if not text.strip().isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{name} is {text}: expected a whole number from {least} to {most}, as torchrun sets it")
    return int(text)


def _copy_back(flat: Tensor, values: Sequence[Tensor]) -> None:
    """Copy to each of `values` its part of `flat`, the same elements or bytes one after another."""
    parts = flat.split([value.numel() * value.element_size() // flat.element_size() for value in values])
    for value, part in zip(values, parts, strict=True):
        own = part if part.dtype == value.dtype else part.clone().view(value.dtype)  # bytes begin anywhere in `flat`
        value.copy_(own.reshape(value.shape))


def _distributed() -> Any:
    """Return torch.distributed, imported when there are ranks to join: torch takes seconds."""
    import torch.distributed

    return torch.distributed

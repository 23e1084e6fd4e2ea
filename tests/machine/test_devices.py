"""The device that a name means, on machines that have one and on those that do not; no GPU is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from musigan.errors import SettingsError
from musigan.machine import devices
from musigan.machine.cores import usable_cores
from musigan.machine.devices import prepare_torch, resolve_device


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """How threads wait, as before once the test is over."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")


def machine(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False, likely: bool = True) -> None:
    """Have torch find `cuda` NVIDIA GPUs, and Apple's if `mps`."""
    monkeypatch.setattr(devices, "_gpu_likely", lambda: likely)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("name", "cuda", "mps", "expected"),
    [
        ("auto", 0, False, "cpu"),
        ("auto", 1, False, "cuda"),
        ("auto", 0, True, "mps"),
        ("auto", 3, True, "cuda"),
        ("cpu", 3, True, "cpu"),
        ("cuda", 1, False, "cuda"),
        ("cuda:2", 3, False, "cuda:2"),
        ("mps", 3, True, "mps"),
    ],
)
def test_what_a_name_means(monkeypatch: pytest.MonkeyPatch, name: str, cuda: int, mps: bool, expected: str) -> None:
    machine(monkeypatch, cuda, mps)
    assert resolve_device(name) == expected


@pytest.mark.parametrize(
    ("name", "cuda", "mps", "message"),
    [
        ("cuda", 0, True, "--device cuda: this machine has none"),
        ("cuda:3", 3, False, "--device cuda:3: this machine has none"),  # they count from 0
        ("mps", 3, False, "--device mps: this machine has none"),
        ("meta", 3, True, "--device meta: this machine has none"),
        ("gpu", 3, True, "--device gpu is unknown: expected auto, cpu, cuda"),
        ("", 3, True, "is unknown"),
    ],
)
def test_a_device_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, name: str, cuda: int, mps: bool, message: str
) -> None:
    machine(monkeypatch, cuda, mps)
    with pytest.raises(SettingsError, match=message):
        resolve_device(name)


def test_auto_believes_the_files_of_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch would find is not looked for where no driver is: that takes seconds."""
    machine(monkeypatch, cuda=1, likely=False)
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cuda") == "cuda"


@pytest.mark.parametrize(
    ("platform", "files", "likely"),
    [("linux", [], False), ("linux", ["/dev/dxg"], True), ("linux", ["/dev/dri"], False), ("darwin", [], True)],
)
def test_where_a_gpu_is_likely(monkeypatch: pytest.MonkeyPatch, platform: str, files: list[str], likely: bool) -> None:
    monkeypatch.setattr(devices, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(os.path, "exists", lambda path: path in files)
    assert devices._gpu_likely() is likely


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    resolve_device("cpu")
    assert os.environ["OMP_WAIT_POLICY"] == after


def test_the_cpu_costs_no_torch() -> None:
    code = (
        "import sys; from musigan.machine.devices import resolve_device as r; print(r('cpu'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "cpu False\n"


@pytest.mark.parametrize("threads", [None, "1"])
def test_a_thread_for_each_core_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, threads: str | None) -> None:
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert prepare_torch("cpu") == torch.device("cpu")
    assert counts == ([usable_cores()] if threads is None else [])


@pytest.mark.parametrize(("device", "precisions"), [("cpu", []), ("mps", []), ("cuda:1", ["high"])])
def test_gpus_of_nvidia_multiply_in_tf32(monkeypatch: pytest.MonkeyPatch, device: str, precisions: list[str]) -> None:
    chosen: list[str] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", chosen.append)
    assert prepare_torch(device) == torch.device(device)
    assert chosen == precisions

"""The device to compute on, and torch made ready for it."""

from __future__ import annotations

import pytest
import torch

from musigan.errors import SettingsError
from musigan.machine.devices import prepare_torch, ready_device, resolve_device


def test_the_processor_is_always_there() -> None:
    assert resolve_device("cpu") == ready_device("cpu") == "cpu"
    assert prepare_torch("cpu") == torch.device("cpu")


def test_a_chosen_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ready_device("cpu")
        assert torch.get_num_threads() == 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        monkeypatch.setattr("musigan.machine.devices.usable_cores", lambda: 2)
        ready_device("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "problem"), [("cuda:99", "this machine has none"), ("gpu?", "is unknown")])
def test_devices_that_are_not_there(name: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        resolve_device(name)

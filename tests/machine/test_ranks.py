"""Reading of torchrun's variables, and what a rank has of its own."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest

from musigan.errors import MusiganError, SettingsError, StoreError, UsageError
from musigan.machine.ranks import ALONE, Ranks

SECOND = {"RANK": "4", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_variables_say_which_rank_this_is() -> None:
    ranks = Ranks.of_environment(SECOND)
    assert (ranks.number, ranks.size, ranks.local, ranks.is_first) == (4, 6, 1, False)


@pytest.mark.parametrize("variables", [{}, {"RANK": "3"}, {"WORLD_SIZE": "1"}, {**SECOND, "WORLD_SIZE": ""}])
def test_without_them_it_is_alone(variables: Mapping[str, str]) -> None:
    ranks = Ranks.of_environment(variables)
    assert (ranks.number, ranks.size, ranks.is_first) == (0, 1, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RANK": ""}, "WORLD_SIZE is 6, without RANK: torchrun"),
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE is 6, without RANK, MASTER_PORT: torchrun"),
        ({"RANK": "6"}, "RANK is 6: expected a whole number from 0 to 5"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is two: expected a whole number from 1 to 65536"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK is -1: expected a whole number from 0 to 5"),
    ],
)
def test_what_is_missing_or_makes_no_sense_is_said(changes: Mapping[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Ranks.of_environment({**SECOND, **changes})


def test_alone_nothing_is_waited_for() -> None:
    with ALONE.joined(pytest.fail):
        assert ALONE.any(True)
        assert not ALONE.any(False)
        assert ALONE.of_first("mine") == "mine"
        assert ALONE.part([1, 2, 3]) == [1, 2, 3]
        assert ALONE.device("cuda:1") == "cuda:1"


def test_parts_in_order_are_the_whole() -> None:
    parts = [Ranks(number, 3).part([4, 0, 5, 1, 2, 3]) for number in range(3)]
    assert parts == [[4, 0], [5, 1], [2, 3]]


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("mps", "2 processes train on CPUs or NVIDIA GPUs"),
        ("cuda:1", "is one for all 2 processes: --device cuda gives"),
    ],
)
def test_a_device_for_each_is_needed(device: str, said: str) -> None:
    assert Ranks(1, 2, 1).device("cpu") == "cpu"
    with pytest.raises(SettingsError, match=said):
        Ranks(1, 2, 1).device(device)


def test_more_processes_than_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(Ranks, "any", lambda ranks, value: value)
    with pytest.raises(SettingsError, match=r"not a GPU for each \(on this machine: 1\): torchrun --nproc-per-node 1,"):
        Ranks(1, 2, 1).device("cuda")


def test_processes_that_do_not_find_each_other_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(MusiganError, match=r"the 2 processes .* at 127\.0\.0\.1:\d+ \(.*\): start them all"):
            Ranks(0, 2).joined(pytest.fail).__enter__()


@pytest.mark.parametrize("is_told", [True, False])
def test_why_a_run_ends_is_said_once(is_told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, hushed = Ranks(1, 2, 1), list[bool]()
    monkeypatch.setattr(ranks, "_join", lambda: None)
    monkeypatch.setattr(ranks, "_is_told", lambda: is_told)
    with pytest.raises(StoreError), ranks.joined(lambda: hushed.append(True)):
        raise StoreError("damaged")
    assert hushed == [True] * is_told

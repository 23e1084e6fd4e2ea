"""Settings and fixtures for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines that run these tests differ in speed; the same code is to give the same verdict everywhere.
settings.register_profile(
    "musigan", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("musigan")


@pytest.fixture(scope="session", autouse=True)
def _signals_as_on_a_terminal() -> Iterator[None]:
    """A shell's background jobs hand an ignored SIGINT down to all their children, tools that tests interrupt too."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture
def one_thread() -> None:
    """Torch with one thread: what is compared bit for bit was computed with as many."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A tiny keys store of three songs, one of them held back."""
    from tests import tiny

    return tiny.write_keys(tmp_path / "keys.zarr.zip")

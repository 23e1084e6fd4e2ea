"""Settings and fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines that run these tests differ in speed; the same code is to give the same verdict everywhere.
settings.register_profile(
    "musigan", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("musigan")


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

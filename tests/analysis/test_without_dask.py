"""musigan prepare where Dask is not installed."""

from __future__ import annotations

import sys

import pytest

from musigan.analysis import cluster
from musigan.errors import MusiganError


def test_without_dask_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MusiganError, match=r'needs Dask: pip install "musigan\[dask\]"'), cluster.open_client():
        pass

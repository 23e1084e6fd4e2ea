"""A store at a URL is fetched once in a run, within bounds."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.errors import SettingsError, StoreError
from musigan.store import caching
from tests.disks import limited_files
from tests.stores import assert_same, fill, songs

URL = "memory://cached/x.zarr"
CONTENT = songs((5, 2, 1, 4, 3), 4)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each key of a store at URL is fetched."""
    import fsspec

    fill(URL, "keys", CONTENT)
    counts: Counter[str] = Counter()
    cat = fsspec.FSMap.__getitem__

    def counted(self: object, key: str, *others: object) -> bytes:
        counts[key] += 1
        return cat(self, key, *others)

    monkeypatch.setattr(fsspec.FSMap, "__getitem__", counted)
    return counts


def read_epochs(epochs: int, cached: bool = True) -> None:
    with store.open_reader(URL, ("keys",), cached=cached) as reader:
        for epoch in range(epochs):
            for index in np.random.default_rng(epoch).permutation(20):
                name, block = f"{index % 4 + 1:06d}", int(index // 4)
                np.testing.assert_array_equal(reader.block(name, block)[0], CONTENT[index % 4][0][block])
        assert_same([store.Item(info, reader.read(info.name)) for info in reader.infos()], CONTENT, "keys")


def test_each_object_is_fetched_once_in_a_run(fetched: Counter[str]) -> None:
    read_epochs(3)
    assert set(fetched.values()) == {1}
    fetched.clear()
    read_epochs(3, cached=False)
    assert fetched.most_common(1)[0][1] == 3 * 5 + 1


def test_the_bound_holds_and_what_came_first_stays(fetched: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with store.open_reader(URL) as reader:
        sizes = [len(reader._fetch(f"{number:06d}/c/0/0/0/0/0")) for number in range(1, 5)]  # type: ignore[attr-defined]
    fetched.clear()
    monkeypatch.setenv(caching.VARIABLE, str((sum(sizes[:2]) + max(sizes) // 2) / 1e9))  # of two
    read_epochs(4)
    counts = sorted(count for key, count in fetched.items() if key != "zarr.json")
    assert counts[:2] == [1, 1]
    assert counts[2] > 4
    monkeypatch.setenv(caching.VARIABLE, "0")
    fetched.clear()
    read_epochs(2)
    assert min(count for key, count in fetched.items() if key != "zarr.json") > 1


def test_nothing_stays_on_the_disk_and_a_full_one_is_no_failure(
    fetched: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with store.open_reader(URL, cached=True) as reader:
        reader.block("000001", 0)
        assert os.listdir(tmp_path) == []  # no name even now
    with limited_files(10):
        read_epochs(2)


def test_a_bound_that_is_no_number_is_one_line(fetched: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caching.VARIABLE, "much")
    with pytest.raises(SettingsError, match="MUSIGAN_CACHE_GB is 'much', expected gigabytes"):
        store.open_reader(URL, cached=True)


def test_processes_of_a_machine_share_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caching.VARIABLE, "0.000004")
    assert caching.most_bytes() == 4000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # as torchrun sets it
    assert caching.most_bytes() == 1000


def test_an_object_that_is_gone_is_an_error_each_time(fetched: Counter[str]) -> None:
    import fsspec

    with store.open_reader(URL, cached=True) as reader:
        fsspec.filesystem("memory").rm("/cached/x.zarr/000002/c", recursive=True)
        for _ in range(2):
            with pytest.raises(StoreError, match="is missing"):
                reader.read("000002")

"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from musigan.errors import AudioError, CheckpointError
from musigan.files.atomic import partial_path, replace_whole


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    with replace_whole(target, AudioError) as aside:
        aside.write_bytes(b"new and longer")
        assert target.read_bytes() == b"old"
        assert aside.parent == tmp_path  # a rename does not cross file systems
        assert aside.name.startswith(".")
    assert target.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_a_block_that_fails_leaves_the_old_file_and_its_own_error(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")

    def fail_half_way() -> None:
        with replace_whole(target, AudioError) as aside:
            aside.write_bytes(b"half")
            raise error("mine")

    with pytest.raises(error, match="mine"):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    partial_path(tmp_path / "x").write_bytes(b"half of something long")
    with replace_whole(tmp_path / "x", AudioError) as aside:
        assert aside.read_bytes() == b""
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(mask: int, tmp_path: Path) -> None:
    former = os.umask(mask)
    try:
        with replace_whole(tmp_path / "x", AudioError) as aside:
            aside.write_bytes(b"1")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def test_long_names_fit(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 125 + ".mp3")  # 254 bytes
    with replace_whole(target, AudioError) as aside:
        aside.write_bytes(b"1")
    assert target.read_bytes() == b"1"


@pytest.mark.parametrize("failure", [AudioError, CheckpointError])
def test_places_that_cannot_be_taken(failure: type[AudioError], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, reason in (("nowhere/x", "No such file"), ("folder", ".*directory")):
        with (
            pytest.raises(failure, match=rf"{name}: cannot be written \({reason}"),
            replace_whole(tmp_path / name, failure),
        ):
            pass
    assert os.listdir(tmp_path) == ["folder"]

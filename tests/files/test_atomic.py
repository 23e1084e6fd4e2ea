"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from musigan.errors import AudioError, CheckpointError, MusiganError
from musigan.files import atomic, locks
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


def leftover(target: Path, process: int = 99) -> Path:
    """What a process of that number left of `target`."""
    return target.with_name(f".{target.name}.partial-{process}")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_killed_runs_left_is_named_and_removed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, other, told = tmp_path / "x", tmp_path / "other", list[str]()
    other.write_bytes(b"nobody's business")
    left = leftover(target)
    if kind == "folder":
        (left / "c").mkdir(parents=True)
    elif kind == "link":
        left.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(left)
    else:
        left.write_bytes(b"half")
    leftover(tmp_path / "xy").write_bytes(b"of another output")
    monkeypatch.setattr(atomic, "said", told.append)
    with replace_whole(target, AudioError) as aside:
        aside.write_bytes(b"new")
    assert sorted(os.listdir(tmp_path)) == [".xy.partial-99", "other", "x"]
    assert told == [f"removed {left}, which a killed run left"]
    assert other.read_bytes() == b"nobody's business"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    partial_path(tmp_path / "x").symlink_to(victim)
    with replace_whole(tmp_path / "x", AudioError) as aside:
        assert not aside.is_symlink()
        aside.write_bytes(b"new")
    assert (victim.read_bytes(), (tmp_path / "x").read_bytes()) == (b"precious", b"new")


def test_of_two_writers_the_second_is_refused(tmp_path: Path) -> None:
    left = leftover(tmp_path / "x")
    left.write_bytes(b"being written")
    with left.open("rb") as file:
        assert locks.lock(file.fileno())  # as another process that lives would
        with (
            pytest.raises(MusiganError, match=r"x: another run is writing it \(process 99\)"),
            replace_whole(tmp_path / "x", AudioError),
        ):
            pass
    assert os.listdir(tmp_path) == [left.name]


@pytest.mark.parametrize("folder", [False, True])
def test_what_another_run_wrote_meanwhile_is_not_replaced(folder: bool, tmp_path: Path) -> None:
    target = tmp_path / "x"
    aside = atomic.Aside(target, folder)
    if folder:
        target.mkdir()
        (target / "theirs").touch()
    else:
        target.write_bytes(b"theirs")
    with pytest.raises(MusiganError, match="x: another run has written it meanwhile"):
        aside.move_into_place()
    aside.discard()
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    target = tmp_path / "x.zarr"
    old = leftover(target).with_name(leftover(target).name + ".old")
    old.mkdir()
    (old / "zarr.json").write_text("{}")
    with pytest.raises(MusiganError, match="put back"):
        atomic.Aside(target, folder=True)
    assert os.listdir(tmp_path) == ["x.zarr"]
    assert os.listdir(target) == ["zarr.json"]


def test_a_lock_says_whose_it_is_and_ends_with_its_holder(tmp_path: Path) -> None:
    target = tmp_path / "ckpt.pt"
    (tmp_path / ".ckpt.pt.lock").write_text("process 99 on a machine that is off")  # left by a run that was killed
    said = rf"ckpt.pt: process {os.getpid()} on .* is training it"
    with locks.only_run(target), pytest.raises(MusiganError, match=said), locks.only_run(target):
        pass
    assert os.listdir(tmp_path) == []

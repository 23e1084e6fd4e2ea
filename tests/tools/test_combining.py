"""Tools that put stores together and take them apart, by their commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from musigan import store
from tests import helpers
from tests.helpers import one_line, run
from tests.stores import items


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files."""
    return helpers.one_store_of_each(tmp_path_factory.mktemp("stores"))


def titles(path: Path) -> list[str]:
    return [item.title for item in items(path)]


def test_stores_come_apart_and_together_again(stores: dict[str, Path], tmp_path: Path) -> None:
    first = run("musigan head", "-n", 1, stores["keys"], "-o", "first.zarr", cwd=tmp_path)
    second = run("musigan filter", stores["keys"], "--title", "*1", "-o", "second", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (0, 0)
    assert (titles(tmp_path / "first.zarr"), titles(tmp_path / "second")) == (["Tune 0"], ["Tune 1"])
    data = (tmp_path / "second").read_bytes()
    merged = run("musigan merge", "first.zarr", "-", "first.zarr", "-o", "both", cwd=tmp_path, data=data)
    assert merged.returncode == 0
    assert "2 songs, 1 that came twice left out" in one_line(merged.stderr)
    for one, other in zip(items(tmp_path / "both"), items(stores["keys"]), strict=True):
        assert one.info == other.info
        assert one.array.tobytes() == other.array.tobytes()
    assert len(items(run("musigan cat", "first.zarr", "both", cwd=tmp_path).stdout)) == 3


def test_parts_are_all_there_or_none(stores: dict[str, Path], tmp_path: Path) -> None:
    line = [stores["keys"], "--shares", "1,1", "-o", tmp_path / "p.zarr"]
    done = run("musigan split", *line)
    assert done.returncode == 0
    written = sorted(tmp_path.iterdir())
    assert sum(len(titles(path)) for path in written) == 2
    assert all(path.name in one_line(done.stderr) for path in written)
    before = written[0].stat()
    again = run("musigan split", *line)
    assert again.returncode == 1
    assert "--force" in one_line(again.stderr)
    assert sorted(tmp_path.iterdir()) == written
    assert written[0].stat() == before
    assert run("musigan split", *line, "--force").returncode == 0


def test_other_settings_are_one_line(stores: dict[str, Path], tmp_path: Path) -> None:
    run("npy-to-keys", stores["pairs"], "--threshold", 0.1, "-o", tmp_path / "other")
    for other in ("other", stores["pairs"]):
        done = run("musigan merge", stores["keys"], other, "-o", "out", cwd=tmp_path)
        assert done.returncode == 1
        assert "same settings" in one_line(done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_an_input_is_not_the_output(stores: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    run("musigan cat", stores["keys"], "-o", path)
    for tool in ("musigan merge", "musigan cat"):
        done = run(tool, stores["keys"], path, "-o", path, "--force")
        assert (done.returncode, "is read" in one_line(done.stderr)) == (2, True)
    url = f"file://{path}"
    for arguments in (("musigan merge", url, stores["keys"]), ("musigan head", url)):
        done = run(*arguments, "-o", url, "--force")
        assert (done.returncode, "is read" in one_line(done.stderr)) == (2, True)
    assert len(titles(path)) == 2


def test_a_filter_that_leaves_nothing_says_so(stores: dict[str, Path], tmp_path: Path) -> None:
    done = run("musigan filter", stores["keys"], "--artist", "nobody", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "none of the 2 songs" in one_line(done.stderr)
    assert not (tmp_path / "out").exists()


def test_head_leaves_a_pipe_that_has_more(stores: dict[str, Path]) -> None:
    cut_short = stores["waveform"].read_bytes()[:-1]
    done = run("musigan head", "-n", 1, data=cut_short)
    assert done.returncode == 0
    assert len(items(done.stdout)) == 1
    with store.open_reader(str(stores["waveform"])) as reader:
        assert items(done.stdout)[0].info == reader.infos()[0]


def test_shards_merged_are_the_one_run(tmp_path: Path) -> None:
    """Byte for byte, a recording that comes twice and a file that is none included."""
    music = tmp_path / "music"
    music.mkdir()
    for number in range(7):
        helpers.write_sound(music / f"{number}.wav", helpers.tune(2 + number / 4, [40 + number, 47], number))
    (music / "4.wav").write_bytes((music / "1.wav").read_bytes())
    (music / "5.mp3").write_text("not music")
    options = ["--min-seconds", 1, "-q"]
    assert run("mp3-to-npy", music, *options, "-o", tmp_path / "whole").returncode == 3
    codes = [
        run("mp3-to-npy", music, *options, "--shard", f"{number}/3", "-o", tmp_path / f"{number}").returncode
        for number in (1, 2, 3)
    ]
    assert codes == [0, 0, 3]
    assert run("musigan merge", *(tmp_path / f"{number}" for number in (1, 2, 3)), "-o", tmp_path / "m").returncode == 0
    assert len(items(tmp_path / "m")) == 6
    assert (tmp_path / "m").read_bytes() == (tmp_path / "whole").read_bytes()
    refused = run("mp3-to-npy", music, "--shard", "9/9", "-o", tmp_path / "no")
    assert (refused.returncode, "9 shards of 8 files" in one_line(refused.stderr)) == (2, True)

"""The contract that every tool keeps: help, usage, bad stores, overwriting, what is said and the exit codes.

Its other halves: test_tools_streams.py (pipes, signals, full disks), test_tools_options.py (what options do).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from musigan import store
from tests import helpers
from tests.helpers import one_line, run, run_each

READERS = {
    "pair-chunks": "waveform",
    "npy-to-keys": "pairs",
    "keys-to-mp3": "keys",
    "keys-to-midi": "keys",
    "train-gan": "keys",
    "pretrain": "keys",
    "plot-keys": "keys",
    "evaluate": "keys",
}
# Tools that pass songs on as they are.
PASSING = {"musigan merge": "keys", "musigan cat": "pairs", "musigan filter": "keys", "musigan head": "waveform"}
FILTERS = {"pair-chunks": "waveform", "npy-to-keys": "pairs", **PASSING}
KINDS = {**READERS, **PASSING, "musigan split": "keys"}
TOOLS = [tool for tool in helpers.MODULES if tool != "musigan"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files."""
    return helpers.one_store_of_each(tmp_path_factory.mktemp("stores"))


def arguments(tool: str, source: object, folder: Path) -> list[object]:
    """A call of a tool that reads `source` and would write into `folder`."""
    if tool == "keys-to-mp3":
        return [folder / "out.wav", source]
    if tool == "keys-to-midi":
        return [folder / "out.mid", source]
    if tool == "plot-keys":
        return [source, "-o", folder / "out.png"]
    if tool == "evaluate":
        return [source]
    if tool == "musigan split":
        return [source, "-o", folder / "out.zarr", "--by", "validation"]
    # Training says what it is going to do before it looks at its input.
    return [source, "-o", folder / "out", *(["-q"] if tool in ("train-gan", "pretrain") else [])]


def left_behind(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not name.endswith(".run")]


@pytest.mark.parametrize("tool", TOOLS)
def test_help_version_and_wrong_usage(tool: str) -> None:
    long, short, version, unknown, valueless = run_each(
        tool, ["--help"], ["-h"], ["--version"], ["--no-such-option"], ["--quiet=1"]
    )
    assert (long.returncode, long.stdout, long.stderr) == (0, short.stdout, b"")
    text = long.stdout.decode()
    assert "--quiet" in text
    assert f"Usage: {tool}" in text
    example = text[text.index("Example:") :]
    assert tool in example
    assert (version.returncode, version.stdout.split()[0]) == (0, b"musigan")
    assert (unknown.returncode, unknown.stdout) == (2, b"")
    assert "--no-such-option" in one_line(unknown.stderr)
    assert valueless.returncode == 2
    one_line(valueless.stderr)


def test_umbrella_lists_every_tool_and_suggests() -> None:
    listing, version, typo, nothing = run_each("musigan", ["--help"], ["--version"], ["trian-gan"], [])
    assert all(tool.removeprefix("musigan ") in listing.stdout.decode() for tool in TOOLS)
    assert version.stdout.split()[0] == b"musigan"
    assert typo.returncode == 2
    assert "train-gan" in one_line(typo.stderr)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (2, b"", listing.stdout)


def test_umbrella_and_tool_do_the_same(stores: dict[str, Path], tmp_path: Path) -> None:
    def calls(*lead: str) -> list[list[object]]:
        return [[*lead, stores["waveform"]], [*lead, tmp_path / "missing"], [*lead, "--bad"], [*lead, "-h"]]

    apart = run_each("pair-chunks", *calls())
    within = run_each("musigan", *calls("pair-chunks"))
    assert [done.returncode for done in apart] == [0, 1, 2, 0]
    for one, other in zip(apart, within, strict=True):
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


def test_every_tool_is_a_script_and_a_command() -> None:
    import tomllib

    from musigan_tools._commands import COMMANDS

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for script, target in project["scripts"].items():
        module = target.removeprefix("musigan_tools.").removesuffix(":main")
        assert helpers.MODULES[script] == module
        assert script == "musigan" or COMMANDS[script][0] == module
    assert {f"musigan {command}" if f"musigan {command}" in TOOLS else command for command in COMMANDS} == set(TOOLS)


@pytest.mark.parametrize("tool", KINDS)  # pretrain shares the rest of its road with train-gan
def test_nothing_on_stdin_is_one_line_and_exit_1(tool: str, tmp_path: Path) -> None:
    done = run(tool, *arguments(tool, "-", tmp_path))
    assert done.returncode == 1
    assert "nothing came in" in one_line(done.stderr)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("tool", [tool for tool in READERS if tool != "pretrain"])
def test_a_store_of_another_kind_names_both(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    wrong = "keys" if READERS[tool] != "keys" else "waveform"
    done = run(tool, *arguments(tool, "-", tmp_path), data=stores[wrong].read_bytes())
    assert done.returncode == 1
    message = one_line(done.stderr)
    assert wrong in message
    assert READERS[tool] in message


@pytest.mark.parametrize(
    ("tool", "share"),
    [
        (tool, share)
        for tool in (*FILTERS, "musigan split", "keys-to-mp3", "keys-to-midi", "plot-keys", "evaluate")
        for share in (0.02, 0.6, 0.999)
    ]
    + [("train-gan", 0.999)],
)
def test_a_store_cut_short_is_an_error_and_leaves_no_output(
    tool: str, share: float, stores: dict[str, Path], tmp_path: Path
) -> None:
    data = stores[KINDS[tool]].read_bytes()
    done = run(tool, *arguments(tool, "-", tmp_path), data=data[: int(len(data) * share)])
    assert done.returncode == 1
    assert "cut short" in one_line(done.stderr)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("tool", FILTERS)
def test_file_folder_stdin_and_pipe_give_the_same_bytes(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    source = stores[FILTERS[tool]]
    by_pipe = run(tool, data=source.read_bytes())
    with source.open("rb") as file:
        by_redirection = run(tool, "-", stdin=file)
    by_name, to_file, to_folder = run_each(
        tool, [source], [source, "-o", tmp_path / "out.zip"], [source, "-o", tmp_path / "out.zarr"]
    )
    assert [done.returncode for done in (by_pipe, by_redirection, by_name, to_file, to_folder)] == [0] * 5
    assert by_name.stdout == by_pipe.stdout == by_redirection.stdout == (tmp_path / "out.zip").read_bytes()
    assert to_file.stdout == to_folder.stdout == b""
    with store.open_reader(str(tmp_path / "out.zarr")) as folder, store.open_reader(str(tmp_path / "out.zip")) as file:
        assert all((a.array == b.array).all() for a, b in zip(folder, file, strict=True))


def test_plain_zarr_opens_what_tools_write(stores: dict[str, Path]) -> None:
    import zarr

    group = zarr.open_group(zarr.storage.ZipStore(stores["keys"], mode="r"), mode="r")
    assert sorted(name for name, _ in group.arrays()) == ["000001", "000002"]
    assert {array.shape for _, array in group.arrays()} == {(5, 2, 3, 88, 100)}
    assert "musigan" in group.attrs


@pytest.mark.parametrize("tool", FILTERS)
def test_an_output_is_not_overwritten_without_force(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    source = stores[FILTERS[tool]]
    outputs = [tmp_path / "out.zip", tmp_path / "out.zarr"]
    for output in outputs:
        output.write_text("precious")
    refused = run_each(tool, *[[source, "-o", output] for output in outputs])
    assert [done.returncode for done in refused] == [1, 1]
    assert all("--force" in one_line(done.stderr) for done in refused)
    assert [output.read_text() for output in outputs] == ["precious"] * 2
    done = run_each(tool, *[[source, "-o", output, "--force"] for output in outputs])
    assert [run.returncode for run in done] == [0, 0]
    for output in outputs:
        store.open_reader(str(output)).close()
    assert sorted(os.listdir(tmp_path)) == ["out.zarr", "out.zip"]


def test_an_output_may_replace_the_input(stores: dict[str, Path], tmp_path: Path) -> None:
    """The input is read to its end before the output takes its place; what fails leaves it alone."""
    path = tmp_path / "store.zip"
    path.write_bytes(stores["waveform"].read_bytes())
    again = run("pair-chunks", path, "-o", path, "--force", "--chunk-seconds", 100)
    assert again.returncode == 1
    assert path.read_bytes() == stores["waveform"].read_bytes()
    assert run("pair-chunks", path, "-o", path, "--force", "--chunk-seconds", 2).returncode == 0
    assert path.read_bytes() == stores["pairs"].read_bytes()


def test_where_an_output_cannot_go_is_one_line(stores: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    outputs = [
        ("no/such/folder/out", 2), ("photos", 2), ("file/out", 2), ("x" * 300, 1), ("x" * 300 + ".zarr", 1), ("", 2),
        (".", 2), ("foo://x", 2), ("/dev/full", 1),
    ]  # fmt: skip
    calls = [[stores["waveform"], "--force", "-o", output] for output, _ in outputs]
    for (output, code), done in zip(outputs, run_each("pair-chunks", *calls, cwd=tmp_path), strict=True):
        assert (output, done.returncode) == (output, code), done.stderr
        one_line(done.stderr)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == (tmp_path / "file").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["file", "photos"]


@pytest.mark.parametrize(
    "tool",
    [
        *FILTERS,
        "musigan split",
        "keys-to-mp3",
        "keys-to-midi",
        "plot-keys",
        "evaluate",
        "musigan check",
        "sample",
        "report",
    ],
)
def test_what_is_no_store_is_one_line(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "zarr.json").write_text("{}")
    sources = ["text", "empty", "folder", "folder.zarr", "missing", "", "a\nb\x1b[31m", "foo://x", "/dev/zero"]
    if tool in ("sample", "report"):
        sources = ["missing"]  # damaged checkpoints are in test_checkpoint.py
    output = {
        "keys-to-mp3": [tmp_path / "out.wav"], "keys-to-midi": [tmp_path / "out.mid"],
        "musigan split": ["--by", "genre", "-o", tmp_path / "out.zarr"],
    }.get(tool, [])  # fmt: skip
    for source, done in zip(sources, run_each(tool, *[[*output, s] for s in sources], cwd=tmp_path), strict=True):
        assert done.returncode in (1, 2), source
        assert done.stdout == b""
        one_line(done.stderr)
    assert not list(tmp_path.glob("out.*"))


def test_quiet_says_nothing_but_errors(stores: dict[str, Path], tmp_path: Path) -> None:
    quiet, normal, failing = run_each(
        "pair-chunks", [stores["waveform"], "-q"], [stores["waveform"]], [tmp_path / "missing", "-q"]
    )
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    assert normal.stderr != b""
    assert failing.returncode == 1
    assert "missing" in one_line(failing.stderr)


def test_verbose_shows_where(tmp_path: Path) -> None:
    (tmp_path / "not-a-store").write_text("hello")
    verbose, normal = run_each("pair-chunks", [tmp_path / "not-a-store", "-v"], [tmp_path / "not-a-store"])
    assert b"Traceback" in verbose.stderr
    assert b"store/reading.py" in verbose.stderr
    assert "not-a-store" in one_line(normal.stderr)


def test_colour_settings_of_the_terminal_change_nothing(stores: dict[str, Path]) -> None:
    plain = run_each("pair-chunks", ["-h"], ["--bad"], [stores["waveform"]])
    for name in ("NO_COLOR", "FORCE_COLOR"):
        coloured = run_each("pair-chunks", ["-h"], ["--bad"], [stores["waveform"]], env={**os.environ, name: "1"})
        for one, other in zip(plain, coloured, strict=True):
            assert (one.stdout, one.stderr) == (other.stdout, other.stderr)
            assert b"\x1b" not in other.stderr


def test_skipped_inputs_exit_3_and_strict_stops(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    helpers.write_sound(music / "b.wav", helpers.tune(25, [40, 47]))
    (music / "a.mp3").write_bytes(b"")
    (music / "cover.jpg").write_bytes(b"no music, and no fuss about it")
    done, strict = run_each(
        "mp3-to-npy", [music, "-o", tmp_path / "out.zip"], [music, "-o", tmp_path / "strict.zip", "--strict"]
    )
    assert done.returncode == 3
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert "a.mp3" in lines[0]
    assert "empty" in lines[0]
    assert "skipped 1" in lines[1]
    with store.open_reader(str(tmp_path / "out.zip")) as reader:
        assert [info.song.source for info in reader.infos()] == ["b.wav"]
    assert strict.returncode == 1
    assert "a.mp3" in one_line(strict.stderr)
    assert not (tmp_path / "strict.zip").exists()


def test_nothing_usable_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text("not music")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo.mp3")
    calls = [[tmp_path / name, "-o", tmp_path / "out"] for name in ("a.mp3", "empty", "missing", "fifo.mp3")]
    for done in run_each("mp3-to-npy", *calls):
        assert done.returncode == 1
        assert b"nothing usable" in done.stderr
        assert not (tmp_path / "out").exists()


def test_check_tells_whole_from_damaged(stores: dict[str, Path], tmp_path: Path) -> None:
    damaged = bytearray(stores["keys"].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    whole, mixed = run_each("musigan check", [stores["keys"]], [tmp_path / "damaged", stores["keys"]])
    assert whole.returncode == 0
    assert b"whole, keys" in whole.stdout
    assert mixed.returncode == 1
    assert b"damaged" in mixed.stderr
    assert mixed.stdout == whole.stdout  # one bad store does not hide the others


def test_doctor_reports(tmp_path: Path) -> None:
    done = run("musigan doctor", cwd=tmp_path)
    assert done.returncode == 0
    assert all(word in done.stdout.decode() for word in ("libsndfile", "ffmpeg", "FluidSynth", "GPU", "free in"))


def test_words_of_the_answer_that_cannot_be_written_are_an_error() -> None:
    with open("/dev/full", "wb") as full:
        for tool, option in (("pair-chunks", "--help"), ("musigan", "--help"), ("musigan doctor", "-q")):
            process = helpers.start(tool, option, stdout=full, stderr=subprocess.PIPE)
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "No space left" in one_line(stderr)

"""How tools behave beside each other on a terminal, and what they leave where something went wrong."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from musigan_tools import _session, _words

from musigan import store
from musigan.machine.reporting import counted
from musigan.models.stages import STAGES
from musigan.training.loop import Progress
from musigan.training.starting import ProgressLines
from tests import helpers, midifiles, tiny
from tests.helpers import one_line, run
from tests.sessions import Session


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def lines_on(written: str) -> list[str]:
    """What a terminal shows in the end, line by line."""
    shown = [""]
    for character in written.replace("\r\n", "\n").replace("\x1b[K", "\0"):
        if character == "\n":
            shown.append("")
        elif character == "\r":
            shown[-1] = "\r" + shown[-1].lstrip("\r")  # the next letter overwrites, and an erasure deletes
        elif character == "\0":
            shown[-1] = ""
        else:
            shown[-1] += character
    return [line.lstrip("\r") for line in shown]


def test_windows_is_told_what_to_do() -> None:
    """In a line, though libraries of Unix are missing; a tool's help is there everywhere."""
    code = "import sys; sys.modules['fcntl'] = None; from musigan_tools import _cli, check; _cli.PLATFORM = 'win32'; "
    refused, helped = (
        subprocess.run([sys.executable, "-c", f"{code}check.main()", word], capture_output=True, check=False)
        for word in ("keys.zarr", "--help")
    )
    assert refused.returncode == 1
    assert "WSL" in one_line(refused.stderr)
    assert helped.returncode == 0
    assert helped.stdout.startswith(b"Usage: ")


# -- on the terminal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "unit", "words"),
    [
        (1, "epochs", "1 epoch"),
        (0, "songs", "0 songs"),
        (2, "pieces", "2 pieces"),
        (1, "pieces judged", "1 piece judged"),
    ],
)
def test_one_of_something_is_no_plural(number: int, unit: str, words: str) -> None:
    assert counted(number, unit) == words


def test_a_line_of_another_tool_goes_above_the_status_line() -> None:
    terminal = Terminal()
    last, middle = _words.StatusLine(terminal), _words.StatusLine(terminal, is_shared=True)
    last.show("npy-to-keys: 1 of 3 songs")
    middle.show("pair-chunks: 1 song")  # would overwrite the other's
    middle.line("pair-chunks: skipped b.wav: too short")
    last.show("npy-to-keys: 2 of 3 songs")
    last._last = 0.0
    last.show("npy-to-keys: 3 of 3 songs")
    assert lines_on(terminal.getvalue()) == ["pair-chunks: skipped b.wav: too short", "npy-to-keys: 3 of 3 songs"]


def test_tools_of_a_pipe_share_the_terminal(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    source = helpers.waveform_store(tmp_path / "waveforms", seconds=21.0)
    environment = {**os.environ, "TERM": "xterm"}
    first = subprocess.Popen(
        helpers.command("pair-chunks", source, "--chunk-seconds", 2, "-v"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, env=environment,
    )  # fmt: skip
    second = subprocess.Popen(
        helpers.command("npy-to-keys", "-v", "-o", tmp_path / "out"),
        stdin=first.stdout, stderr=terminal, env=environment,
    )  # fmt: skip
    assert first.stdout is not None
    first.stdout.close()
    os.close(terminal)
    assert (second.wait(60), first.wait(60)) == (0, 0)
    said = os.read(main, 10000).decode()
    os.close(main)
    assert sorted(line.split(":")[0] for line in lines_on(said) if line) == ["npy-to-keys", "pair-chunks"]
    assert "pair-chunks: 1 song " not in said


@pytest.mark.parametrize(
    ("text", "columns", "fits"),
    [("flow 1.23 overlap 0.981", 40, "flow 1.23 overlap 0.981"), ("flow 1.23 overlap 0.981", 20, "flow 1.23 overlap…"),
     ("flow 1.23 overlap 0.981", 22, "flow 1.23 overlap…"), ("abcdefgh", 4, "abc…")],
)  # fmt: skip
def test_a_number_is_shown_whole_or_not_at_all(text: str, columns: int, fits: str) -> None:
    assert _words.fitting(text, columns) == fits


def test_the_last_item_has_no_time_left() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def status(self, text: str) -> None:
            self.lines.append(text)

    recorder = Recorder()
    progress = _session.Progress(recorder, 2, "songs")  # type: ignore[arg-type]
    progress.step("a")
    progress.step("b")
    assert recorder.lines == ["1 of 2 songs, 1 s left  a", "2 of 2 songs  b"]


def test_training_shows_several_figures_on_80_columns_and_leaves_a_line_by_epoch() -> None:
    session = Session()
    lines = ProgressLines(session)
    losses = {"loudness": 0.0123, "sounding": 0.0345, "kl": 12.3, "overlap": 0.98765}
    lines.progress(Progress("codec", 3, 8, 90, 200, losses, 15.0, 800.0))
    lines.progress(Progress("codec", 8, 8, 200, 200, losses, 15.0, 0.2))
    shown = [_words.fitting(f"train-gan: {status}", 79) for status in session.statuses]
    assert shown[0].startswith("train-gan: codec 3/8 45%, 13 min 20 s left: overlap 0.988 loudness 0.0123")
    assert "0 s left" not in session.statuses[1]
    for epoch in (1, 2, 8):  # epochs follow each other too fast for a line of each
        lines.epoch({"stage": "codec", "epoch": epoch, "total_epoch": epoch, "step": 20, "seconds": 65.0, **losses}, 8)
    assert session.lines == [
        f"codec epoch {epoch} of 8, after 1 min 05 s: overlap 0.988 loudness 0.0123 sounding 0.0345 kl 12.3"
        for epoch in (1, 8)
    ]


def test_every_epoch_is_told_of(keys: Path, tmp_path: Path) -> None:
    from musigan.training import loop

    settings = tiny.settings(epochs=2, pretrain_epochs=2, critic_epochs=0)
    (trained, data), reporter = tiny.start(keys, settings, adversarial=False), tiny.Silent()
    assert loop.train(trained, data, tmp_path / "ckpt.pt", reporter)
    assert reporter.epochs == [("variational", 1, 1), ("prior", 1, 1)]
    assert any("1 epoch of" in note for note in reporter.notes)
    assert all(STAGES[stage].figures for stage, _, _ in reporter.epochs)


# -- what is left -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys store of one piece in which nothing sounds."""
    path = tmp_path_factory.mktemp("silence") / "keys.zip"
    with store.write(str(path), tiny.HEADER) as writer:
        roll = np.zeros((3, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float16)
        writer.add(roll, ("chunks", "channels", "keys", "frames"), store.Song(title="Hush"))
    return path


def test_silence_is_no_midi_file(silence: Path, tmp_path: Path) -> None:
    done = run("keys-to-midi", tmp_path / "out.mid", silence)
    assert done.returncode == 1
    skipped, problem = done.stderr.decode().splitlines()
    assert "skipped Hush: nothing in it sounds long enough for a note" in skipped
    assert "no piece with a note" in problem
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("tool", "out"), [("keys-to-mp3", "out.mp3"), ("keys-to-midi", "out.mid")])
@pytest.mark.parametrize("name", ["new.zarr", "new.mp3"])
def test_swapped_names_are_told_from_an_output_that_exists(tool: str, out: str, name: str, tmp_path: Path) -> None:
    tiny.write_keys(tmp_path / name)
    done = run(tool, name, out, cwd=tmp_path)
    assert done.returncode == 2
    assert f"the other way round, {out} {name}" in one_line(done.stderr)
    assert "--force" not in done.stderr.decode()


def run_to(path: Path, tool: str, *arguments: object, mode: str = "wb", parent: str = "exec") -> int:
    """Run a tool whose output the shell sends to a file; another `parent` than exec is a shell that waits."""
    words = " ".join(f"'{word}'" for word in helpers.command(tool, *arguments))
    with path.open(mode) as file:
        line = f"{parent} {words}" if parent == "exec" else f"{words}; code=$?; exit $code"
        done = subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, stdout=file, stderr=-1, check=False)
    return done.returncode


def test_a_failure_takes_back_what_the_shell_made(tmp_path: Path) -> None:
    assert run_to(tmp_path / "rolls.png", "plot-keys", tmp_path / "missing") == 1
    assert run_to(tmp_path / "keys.zarr", "npy-to-keys") == 1  # an upstream that said nothing
    assert os.listdir(tmp_path) == []


def test_a_failure_takes_nothing_back_that_is_not_its_own(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.write_bytes(b"precious")
    assert run_to(before, "plot-keys", tmp_path / "missing", mode="ab") == 1
    assert before.read_bytes() == b"precious"
    shared = tmp_path / "shared"  # a shell may write to it after the failure
    assert run_to(shared, "plot-keys", tmp_path / "missing", parent="wait") == 1
    assert shared.read_bytes() == b""
    answer = tmp_path / "answer"
    good = tiny.write_keys(tmp_path / "good")
    assert run_to(answer, "musigan check", good, tmp_path / "missing") == 1
    assert b"whole" in answer.read_bytes()


# -- songs at URLs ----------------------------------------------------------------------------------------------------


def test_songs_at_urls_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    (folder / "deep").mkdir(parents=True)
    for place, keys in (("a.wav", [40, 47]), ("deep/b.wav", [44, 52]), (".hidden.wav", [41]), ("cover.jpg", [42])):
        helpers.write_sound(folder / place if place.endswith("wav") else folder / "c.wav", helpers.tune(21, keys))
    (folder / "c.wav").unlink()
    by_url = run("mp3-to-npy", f"file://{folder}")
    by_path = run("mp3-to-npy", folder)
    assert (by_url.returncode, by_url.stdout) == (0, by_path.stdout)
    one = run("mp3-to-npy", f"file://{folder}/deep/b.wav", "-o", tmp_path / "one")
    assert one.returncode == 0
    [info] = store.open_reader(str(tmp_path / "one")).infos()
    assert info.song.source == "b.wav"


def test_midi_at_a_url_is_read(tmp_path: Path) -> None:
    path = midifiles.folder(tmp_path / "in", {"a.mid": midifiles.song(1)}) / "a.mid"
    assert run("midi-to-keys", f"file://{path}").stdout == run("midi-to-keys", path).stdout


def test_a_song_at_a_url_that_is_not_there_is_named_as_it_was(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/missing.wav"
    for tool, *arguments in (("musigan continue", url, "-o", tmp_path / "out.wav"), ("mp3-to-npy", url)):
        done = run(tool, *arguments)
        assert done.returncode == 1
        said = done.stderr.decode()
        assert "no such file" in said
        assert "file:/" not in said.replace(url, "")

"""What tools say of themselves: help, man pages and completion are written from one text."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from musigan_tools import _help, _reference
from musigan_tools._commands import COMMANDS

from musigan import doctor, models
from tests import helpers, tiny
from tests.helpers import one_line, run, run_each

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told() -> dict[str, _help.Help]:
    return _reference.helps()


def test_help_says_defaults_in_words_people_read(told: dict[str, _help.Help]) -> None:
    for command, each in told.items():
        text = each.text(80)
        assert max(map(len, text.splitlines()[:-1])) <= 80, command  # the last line is the example's, to be pasted
        assert not re.search(r"[<{]\w+|x>=|int range|\[\[|\.\.\.\]\.\.\.", text), command
        assert text.startswith(f"Usage: {each.name} ")
        assert "TEXT" not in text, command
    usages = {command: each.usage.removeprefix(f"{each.name} ") for command, each in told.items()}
    assert usages["mp3-to-npy"] == "[OPTIONS] PATH..."
    assert usages["train-gan"] == "[OPTIONS] [KEYS]..."
    assert usages["continue"] == "-o OUT [OPTIONS] SONG"
    [seconds] = [option for option in told["mp3-to-npy"].options if "--seconds" in option.names]
    assert (seconds.heading, seconds.default, seconds.limits) == ("--seconds SECONDS", "120", "0.01 or more")
    [channels] = [option for option in told["mp3-to-npy"].options if "--channels" in option.names]
    assert (channels.value, channels.choices) == ("stereo|mono|keep", ("stereo", "mono", "keep"))
    [drums] = [option for option in told["npy-to-keys"].options if "--no-drums" in option.names]
    assert (drums.heading, drums.default) == ("--drums, --no-drums", "--drums")
    [style] = [option for option in told["sample"].options if "--style" in option.names]
    assert style.heading == "--style STYLE"


def test_examples_name_commands_and_options_that_there_are(told: dict[str, _help.Help]) -> None:
    for command, each in told.items():
        lines = re.split(r" \| | && ", re.sub(r" > \S+$", "", each.example))
        words = [shlex.split(line.removeprefix("musigan ")) for line in lines]
        assert command in [name for name, *_ in words], command
        for name, *rest in words:
            known = {flag for option in told[name].options for flag in option.names}
            assert {word for word in rest if re.match(r"--?[a-z]", word)} <= known, each.example


def test_an_option_that_counts_something_says_its_default(told: dict[str, _help.Help]) -> None:
    without = {
        f"{command} {option.names[-1]}"
        for command, each in told.items()
        for option in each.options
        if option.value in ("N", "NUMBER", "SECONDS") and not option.default and not option.is_required
    }
    assert without == {
        "train-gan --minutes", "train-gan --steps-limit", "pretrain --minutes", "pretrain --steps-limit",
        "music --epochs", "filter --min-seconds", "filter --max-seconds",
    }  # fmt: skip


def test_defaults_of_training_are_those_of_its_preset(told: dict[str, _help.Help]) -> None:
    preset = yaml.safe_load((CHECKOUT / "musigan" / "checkpoints" / "presets" / "small.yaml").read_text())
    options = {option.names[-1]: option.default for option in told["train-gan"].options}
    assert str(preset["epochs"]) in options["--epochs"]
    for name in ("batch_size", "sample_every", "evaluate_every"):
        assert options[f"--{name.replace('_', '-')}"] == f"the preset's; small: {preset[name]}"


def test_man_pages_and_completion_are_up_to_date(told: dict[str, _help.Help]) -> None:
    files = _reference.pages(told)
    package = Path(_reference.__file__).parent
    written = {
        f"{path.parent.name}/{path.name}" for folder in ("man", "completion") for path in (package / folder).iterdir()
    }
    assert written == set(files)
    stale = [name for name, text in files.items() if (package / name).read_text(encoding="utf-8") != text]
    assert stale == [], "python -m musigan_tools._reference writes them anew"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_man_pages_are_sound_roff() -> None:
    for path in (Path(_reference.__file__).parent / "man").iterdir():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z", path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), path.name


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = Path(_reference.__file__).parent / "completion" / "musigan.bash"
    line = f". '{script}'; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _musigan; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", line, "bash", *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices() -> None:
    assert completed("musigan", "tr") == ["try", "train-gan", "transfer"]
    assert set(completed("musigan", "sample", "--te")) == {"--temperature", "--tempo"}
    assert set(completed("sample", "--te")) == {"--temperature", "--tempo"}
    assert completed("mp3-to-npy", "--channels", "") == ["stereo", "mono", "keep"]
    assert completed("mp3-to-npy", "song") == []  # then bash completes files


def test_completion_is_printed_for_each_shell() -> None:
    bash, zsh, fish, other = run_each("musigan completion", ["bash"], ["zsh"], ["fish"], ["csh"])
    assert b"complete -o bashdefault" in bash.stdout
    assert zsh.stdout.startswith(b"#compdef musigan mp3-to-npy")
    assert all(f"-a {command} ".encode() in fish.stdout for command in COMMANDS)
    assert b"cuda:1" in fish.stdout
    assert b"--device[cpu, cuda, cuda:1, mps, or auto]:DEVICE:" in zsh.stdout
    assert other.returncode == 2
    assert "bash, zsh, fish" in one_line(other.stderr)


def test_python_m_musigan_is_the_umbrella() -> None:
    done = subprocess.run([sys.executable, "-m", "musigan", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("musigan ")


def test_answers_as_json(tmp_path: Path) -> None:
    good = tiny.write_keys(tmp_path / "keys.zip")
    one, mixed = run_each("musigan check", [good, "--json"], [tmp_path / "missing", good, "--json"])
    [found] = json.loads(one.stdout)
    assert (found["store"], found["whole"], found["songs"], found["pairs"]) == (str(good), True, 3, 6)
    assert found["splits"] == {"validation": 1, "train": 2}
    assert (mixed.returncode, [each["whole"] for each in json.loads(mixed.stdout)]) == (1, [False, True])
    families = json.loads(run("musigan models", "--json").stdout)
    assert [family["name"] for family in families] == list(models.FAMILIES)
    assert families[0]["draws"] is True
    report = json.loads(run("musigan doctor", "--json").stdout)
    assert {"musigan", "ffmpeg", "cores", "commands"} <= set(report)


def test_doctor_tells_of_a_program_that_hides_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class EntryPoint:
        value = "musigan_tools.sample:main"

        def __init__(self, name: str) -> None:
            self.name = name

    monkeypatch.setattr(doctor.metadata, "entry_points", lambda group: [EntryPoint("sample"), EntryPoint("report")])
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, names in ((ours, ("sample", "report")), (theirs, ("sample",))):
        folder.mkdir()
        for name in names:
            text = "from musigan_tools.sample import main" if folder == ours else "another program"
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{ours}{os.pathsep}{theirs}")
    assert "none hidden" in doctor._commands()
    monkeypatch.setenv("PATH", f"{theirs}{os.pathsep}{ours}")
    assert doctor._commands() == f"sample is {theirs / 'sample'}, another program: say musigan sample"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "python -m musigan" in doctor._commands()


def test_music_runs_the_chain_with_our_programs(tmp_path: Path) -> None:
    """The script and its arguments; what it does is in test_shell.py."""
    done = run("musigan music", tmp_path / "missing", "--work", tmp_path / "work")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "name a folder of music" in said or "are not installed" in said
    assert not (tmp_path / "work").exists()


def test_help_of_modules_matches_their_names() -> None:
    assert {f"musigan {command}" for command in COMMANDS} | set(COMMANDS) >= set(helpers.MODULES) - {"musigan"}

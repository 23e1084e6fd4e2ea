"""The set-up scripts, run with stand-ins for Python, pip and the tools: what they call, and when they leave it be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
SCRIPTS = [*sorted((CHECKOUT / "shell").glob("*.sh")), CHECKOUT / ".ci" / "run"]

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts need bash")

FAKE_PYTHON = """#!/usr/bin/env bash
case "$*" in
-) echo "${FAKE_STATE:-ok}" ;;
"-c "*) ;;
"-m venv --clear "*) mkdir -p "$4/bin" && touch "$4/pyvenv.cfg" && cp "$0" "$4/bin/python" ;;
"-m pip "*) echo "$*" >>"$LOG" && exit "${FAKE_PIP:-0}" ;;
*) echo "unexpected: $*" >&2 && exit 99 ;;
esac
"""

# Each tool notes its name and arguments; what it reads and writes is what the next one expects of it.
FAKE_TOOLS = {
    "musigan": """case "$1" in
        demo-music) mkdir -p "$2" && echo la >"$2/la.mp3" ;;
    esac""",
    "mp3-to-npy": 'echo store; exit "${MP3_TO_NPY:-0}"',
    "pair-chunks": 'cat; exit "${PAIR_CHUNKS:-0}"',
    "npy-to-keys": 'cat >"$2"',
    # It notes each epoch: 4 in the minutes that it is given, 9 when it goes on, a first one where it is stopped.
    "train-gan": """echo weights >"$3"; mkdir -p "${3%.pt}.run"; epochs=4
        case "$*" in *--epochs*) epochs="${*: -1}" ;; *--resume*) epochs=9 ;; esac
        [ "${TRAIN_GAN:-0}" = 0 ] || epochs=1
        seq "$epochs" >"${3%.pt}.run/metrics.jsonl"; exit "${TRAIN_GAN:-0}\"""",
    "sample": "echo roll",
    "keys-to-mp3": 'cat >"$1"',
}


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Checkout:
    """A checkout's scripts, alone in a folder with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "check out"
        self.log = folder / "calls"
        self.work = folder / "my work"
        shutil.copytree(CHECKOUT / "shell", self.root / "shell")
        (self.root / "tools").mkdir()
        shutil.copy(CHECKOUT / "tools" / "music.sh", self.root / "tools")
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.root / "constraints.txt").write_text("numpy==2\n")
        (self.root / "setup.py").write_text("")
        self.python = executable(folder / "a python" / "python3", FAKE_PYTHON)
        self.venv = self.root / ".venv"

    def run(self, command: list[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in ("EPOCHS", "MINUTES", "SEED")}
        environment |= {"PYTHON": str(self.python), "LOG": str(self.log), "WORK": str(self.work), **settings}
        return subprocess.run(
            command, env=environment, cwd=self.root.parent, stdin=subprocess.DEVNULL, text=True,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    def make_environment(self, extra: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        script = f'set -euo pipefail; . "{self.root}/shell/_environment.sh"; make_environment {extra}'
        return self.run(["bash", "-c", script], settings)

    def music(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run(["bash", str(self.root / "shell" / "music.sh"), *arguments], settings)

    def calls(self) -> list[str]:
        """What was called since the last time this was asked."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def tools_called(self) -> list[str]:
        """The same, only the names, in alphabetical order: the tools of a pipe start in any."""
        return sorted(line.split()[0] for line in self.calls())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout whose environment is made, with stand-ins for the tools."""
    assert checkout.make_environment().returncode == 0
    for name, body in FAKE_TOOLS.items():
        executable(checkout.venv / "bin" / name, f'#!/usr/bin/env bash\necho "{name} $*" >>"$LOG"\n{body}\n')
    checkout.calls()
    return checkout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    text = script.read_text(encoding="utf-8")
    if not script.name.startswith("_"):
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail" in text
        assert os.access(script, os.X_OK)
    # What bash 3.2, which macOS has, does not know.
    assert not re.search(r"mapfile|readarray|declare -A|local -A|\$\{\w+,,|\$\{\w+\^\^|BASHPID|&>>|\|&", text)


@pytest.mark.parametrize(
    "name", ["constraints.txt", "pyproject.toml", "setup.py", *(f"shell/{s.name}" for s in SCRIPTS[:-1])]
)
def test_packages_come_from_whatever_index_pip_is_set_to(name: str) -> None:
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|trusted-host|://[^ ]*(pypi|pythonhosted|pytorch)", text)


def test_every_dependency_is_pinned_once() -> None:
    import tomllib

    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed_amplitude = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    for version in ("3.11", "3.12", "3.13", "3.14"):
        environment = {**default_environment(), "python_version": version, "python_full_version": f"{version}.1"}
        here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
        names = [pin.name.lower() for pin in here]
        assert len(names) == len(set(names))
        for requirement in map(Requirement, needed_amplitude):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                (pin,) = (pin for pin in here if pin.name.lower() == requirement.name.lower())
                assert requirement.specifier.contains(next(iter(pin.specifier)).version), pin


def test_environment_is_made_once(checkout: Checkout) -> None:
    first = checkout.make_environment("test")
    assert first.returncode == 0, first.stderr
    (call,) = checkout.calls()
    assert "-c constraints.txt -e .[test]" in call
    # Nothing changed: nothing is done, and the package alone is there too.
    assert checkout.make_environment("test").returncode == 0
    assert checkout.make_environment().returncode == 0
    assert checkout.calls() == []
    # Another extra has to be installed.
    checkout.make_environment("ffmpeg")
    assert len(checkout.calls()) == 1


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml", "setup.py"])
def test_environment_is_made_again_after_a_change(checkout: Checkout, name: str) -> None:
    checkout.make_environment()
    checkout.calls()
    with (checkout.root / name).open("a") as file:
        file.write("# changed\n")
    checkout.make_environment()
    (call,) = checkout.calls()
    assert call.endswith("-c constraints.txt -e .")


def test_a_failed_installation_is_tried_again(checkout: Checkout) -> None:
    failed = checkout.make_environment(FAKE_PIP="1")
    assert failed.returncode == 1
    assert "did not finish" in failed.stderr
    assert checkout.make_environment().returncode == 0
    assert len(checkout.calls()) == 2


def test_a_moved_checkout_is_installed_again(checkout: Checkout) -> None:
    checkout.make_environment()
    checkout.calls()
    moved = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.root = moved
    checkout.make_environment()
    assert len(checkout.calls()) == 1


def test_a_folder_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "thesis.txt").write_text("years of work")
    refused = checkout.make_environment()
    assert refused.returncode == 1
    assert "is no environment" in refused.stderr
    assert (checkout.venv / "thesis.txt").read_text() == "years of work"


def test_an_unsuitable_python_is_named(checkout: Checkout) -> None:
    refused = checkout.make_environment(FAKE_STATE="is Python 3.9.1, too old")
    assert refused.returncode == 1
    assert "needs Python 3.11 or newer" in refused.stderr
    assert "is Python 3.9.1, too old" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not checkout.venv.exists()


def test_music_runs_the_chain_and_does_not_repeat_it(ready: Checkout) -> None:
    first = ready.music(MINUTES="1")
    assert first.returncode == 0, first.stderr
    calls = ready.calls()
    assert any(call.startswith("musigan demo-music") for call in calls)
    assert next(call for call in calls if call.startswith("train-gan")).endswith("--minutes 1")
    assert (ready.work / "out.mp3").read_text() == "roll\n"
    assert "--seed 2" in first.stderr

    again = ready.music(MINUTES="1")
    assert again.returncode == 0
    assert "has its 4 epochs already" in again.stderr
    assert ready.tools_called() == ["keys-to-mp3", "musigan", "sample"]
    # More time: a new run, and the old one is kept beside it. Nothing said: what is there will do.
    assert ready.music(MINUTES="3").returncode == 0
    assert any(call.endswith("--minutes 3") for call in ready.calls())
    assert (ready.work / "ckpt-before.pt").exists()
    assert ready.music().returncode == 0
    assert "train-gan" not in ready.tools_called()


def test_music_starts_over_with_other_music(ready: Checkout, tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "a.mp3").write_text("a")
    assert ready.music(str(songs), EPOCHS="7").returncode == 0
    train = [call for call in ready.calls() if call.startswith("train-gan")]
    assert train[0].endswith("--epochs 7")
    (songs / "b.mp3").write_text("b")
    assert ready.music(str(songs), EPOCHS="7").returncode == 0
    assert ready.tools_called() == sorted(set(FAKE_TOOLS) - {"musigan"})
    assert (ready.work / "ckpt-before.pt").exists()


def test_skipped_songs_do_not_stop_it_and_failures_do(ready: Checkout) -> None:
    assert ready.music(MP3_TO_NPY="3", EPOCHS="1").returncode == 0
    shutil.rmtree(ready.work)
    ready.calls()
    failed = ready.music(PAIR_CHUNKS="1", EPOCHS="1")
    assert failed.returncode == 1
    assert "train-gan" not in ready.tools_called()


def test_stopped_training_goes_on(ready: Checkout) -> None:
    stopped = ready.music(TRAIN_GAN="130", EPOCHS="9")
    assert stopped.returncode == 130
    assert "sample" not in ready.tools_called()
    going_on = ready.music(EPOCHS="9")
    assert going_on.returncode == 0
    assert "goes on after 1 epochs" in going_on.stderr
    (train,) = (call for call in ready.calls() if call.startswith("train-gan"))
    assert train.endswith(f"--resume {ready.work}/ckpt.pt")
    # Fewer epochs than it has: nothing to do. More: training goes on as well.
    assert ready.music(EPOCHS="5").returncode == 0
    assert "train-gan" not in ready.tools_called()
    assert ready.music(EPOCHS="12").returncode == 0
    (train,) = (call for call in ready.calls() if call.startswith("train-gan"))
    assert train.endswith(f"--resume {ready.work}/ckpt.pt --epochs 12")
    assert not (ready.work / "ckpt-before.pt").exists()


def test_training_by_time_goes_on_as_it_was_planned(ready: Checkout) -> None:
    assert ready.music(TRAIN_GAN="130", MINUTES="3").returncode == 130
    ready.calls()
    assert ready.music(MINUTES="3").returncode == 0
    (train,) = (call for call in ready.calls() if call.startswith("train-gan"))
    assert train.endswith(f"--resume {ready.work}/ckpt.pt")


def test_training_that_takes_too_long_is_stopped(ready: Checkout) -> None:
    slow = 'echo weights >"$3"; trap "exit 143" TERM; while :; do sleep 0.1; done'
    executable(ready.venv / "bin" / "train-gan", f'#!/usr/bin/env bash\necho "train-gan $*" >>"$LOG"\n{slow}\n')
    finished = ready.music(MINUTES="0")
    assert finished.returncode == 0, finished.stderr
    assert "slower than most" in finished.stderr
    assert (ready.work / "out.mp3").exists()
    # It was not finished: the next time it goes on.
    executable(ready.venv / "bin" / "train-gan", '#!/usr/bin/env bash\necho "train-gan $*" >>"$LOG"\n')
    ready.calls()
    assert ready.music(MINUTES="0").returncode == 0
    (train,) = (call for call in ready.calls() if call.startswith("train-gan"))
    assert train.endswith(f"--resume {ready.work}/ckpt.pt")


def test_music_overwrites_no_file_of_others(ready: Checkout, tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_text("the only copy")
    refused = ready.music("", str(song), EPOCHS="1")
    assert refused.returncode == 1
    assert "choose another name" in refused.stderr
    assert song.read_text() == "the only copy"
    assert ready.calls() == []
    assert ready.music("", str(tmp_path / "new.mp3"), EPOCHS="1").returncode == 0
    assert ready.music("", str(tmp_path / "new.mp3"), EPOCHS="1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (["--fast"], {}, 2, "no option --fast"),
        (["no such folder"], {}, 1, "there is no no such folder"),
        ([], {"MINUTES": "soon"}, 1, "whole numbers, not 'soon'"),
        ([], {"EPOCHS": "-3"}, 1, "whole numbers, not '-3'"),
        (["--help"], {}, 0, ""),
    ],
)
def test_music_is_asked_for_wrongly(
    ready: Checkout, arguments: list[str], settings: dict[str, str], code: int, words: str
) -> None:
    answer = ready.music(*arguments, **settings)
    assert answer.returncode == code
    assert words in answer.stderr
    assert ready.calls() == []
    if arguments == ["--help"]:
        assert "shell/music.sh [FOLDER] [OUT.mp3]" in answer.stdout
        assert "PYTHON" in answer.stdout
        assert "pipefail" not in answer.stdout


FAKE_SBATCH = """#!/usr/bin/env bash
# Runs what is submitted at once: the tasks of an array one after the other.
echo "sbatch $*" >>"$LOG"
array= wrapped="${*: -1}"
while [ $# -gt 0 ]; do [ "$1" != --array ] || array=${2#1-}; shift; done
if [ -n "$array" ]; then
    for task in $(seq "$array"); do SLURM_ARRAY_TASK_ID=$task bash -c "$wrapped" || exit; done
    echo "7;cluster"
else
    bash -c "$wrapped"
fi
"""


def test_slurm_makes_each_shard_once_and_merges_them(ready: Checkout) -> None:
    executable(ready.root.parent / "slurm" / "sbatch", FAKE_SBATCH)
    path = f"{ready.root.parent / 'slurm'}:{os.environ['PATH']}"
    npy_to_keys = ready.venv / "bin" / "npy-to-keys"
    npy_to_keys.write_text(npy_to_keys.read_text().replace('cat >"$2"', 'cat >"${*: -1}"'))
    (ready.root.parent / "my music").mkdir()
    script = ["bash", str(ready.root / "shell" / "slurm.sh")]
    out = ready.root.parent / "my keys.zarr"
    done = ready.run([*script, "my music", str(out), "3", "--time", "1:00"], {"MP3_TO_NPY": "3", "PATH": path})
    assert done.returncode == 0, done.stderr
    calls = ready.calls()
    assert [line for line in calls if line.startswith("mp3")] == [
        f"mp3-to-npy my music --shard {number}/3 -j 0" for number in (1, 2, 3)
    ]
    shards = [f"{out}.shards/{number:06d}.zarr.zip" for number in (1, 2, 3)]
    assert calls[-1] == f"musigan merge {' '.join(shards)} -o {out}"
    assert "--array 1-3 --time 1:00" in calls[0]
    assert "--dependency afterok:7 --time 1:00" in calls[-2]
    Path(shards[1]).unlink()
    assert ready.run([*script, "my music", str(out), "3"], {"PATH": path}).returncode == 0
    assert [line.split()[4] for line in ready.calls() if line.startswith("mp3")] == ["2/3"]
    refused = ready.run([*script, "no music", str(out)], {})
    assert (refused.returncode, refused.stderr) == (1, "slurm.sh: there is no no music\n")

"""Training by several processes, as torchrun starts them and without it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from musigan.checkpoints import checkpoint
from musigan.settings import write_yaml
from tests import tiny
from tests.helpers import one_line, run

RATHER_LONG = 60  # epochs, of which a process is killed after the first


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and settings of tiny networks that save after every epoch."""
    folder = tmp_path_factory.mktemp("ranks")
    tiny.write_keys(folder / "keys", songs=4)
    chosen = {"model": "lstm", "network": tiny.NETWORKS["lstm"], "batch_size": 3, "save_every": 1}
    (folder / "tiny.yaml").write_text(write_yaml(chosen))
    return folder


def line(folder: Path, *more: object) -> list[str]:
    return [str(word) for word in (folder / "keys", *more, "--sample-every", 0, "--device", "cpu")]


def environment(**variables: object) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in variables.items()}}


def pair(*arguments: str) -> list[subprocess.CompletedProcess[bytes]]:
    """Two processes with the variables of torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def at(rank: int) -> subprocess.CompletedProcess[bytes]:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank}
        return run("pretrain", *arguments, env=environment(WORLD_SIZE=2, **place))

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(at, range(2)))


def killed(arguments: list[str], target: Path) -> tuple[int, list[str]]:
    """Exit code and words of a run under torchrun whose first process is killed once there is a checkpoint."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "musigan", "pretrain"]
    with subprocess.Popen([*words, *arguments], stderr=subprocess.PIPE, env=environment(), text=True) as process:
        while not target.exists() and process.poll() is None:
            time.sleep(0.02)
        lock = target.with_name(f".{target.name}.lock").read_text()
        os.kill(int(lock.split()[1]), signal.SIGKILL)
        _, said = process.communicate()
    return process.returncode, [each for each in said.splitlines() if each.startswith("pretrain: ")]


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun kills otherwise there")
def test_a_process_that_ends_ends_the_run_which_goes_on_exactly(folder: Path, tmp_path: Path) -> None:
    arguments = line(folder, "--config", folder / "tiny.yaml", "--epochs", RATHER_LONG)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    code, said = killed([*arguments, "-o", str(parts)], parts)
    assert code == 1
    assert said[-1].startswith("pretrain: another of the 2 processes of this run has ended; ")
    assert said[-1].endswith(f"{parts} holds the last good state: start all with --resume {parts}")
    assert len([each for each in said if "songs to learn from" in each]) == 1
    stopped = checkpoint.load(parts)
    assert 0 < stopped.position.total_steps < 4 * RATHER_LONG
    assert stopped.ranks == 2
    for done in (*pair(*line(folder, "--resume", parts)), *pair(*arguments, "-o", str(whole))):
        assert done.returncode == 0, done.stderr
    tiny.assert_same_weights(parts, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.pt", "parts.run", "whole.pt", "whole.run"]


def test_half_of_the_variables_is_no_run_of_several(folder: Path) -> None:
    done = run("train-gan", *line(folder), env=environment(WORLD_SIZE=2))
    assert done.returncode == 2
    assert "WORLD_SIZE is 2, without RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: torchrun" in one_line(done.stderr)

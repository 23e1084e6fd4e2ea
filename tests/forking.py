"""A process that has imported what the tools need and forks to run each of them: most of a short run is importing.

    python -m tests.forking ADDRESS                 serves, until its standard input ends
    python -IS tests/forking.py ADDRESS MODULE ...  runs the tool of that module with what follows

The second stands for the tool: same streams, folder, environment and exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What several tools import once they are at work.
PRELOADED = (
    "matplotlib.backends.backend_agg", "scipy.ndimage", "scipy.signal", "scipy.stats", "sklearn.cluster",
    "sklearn.ensemble", "soundfile", "soxr", "torch._dynamo", "zarr", "musigan.metrics.evaluation", "musigan.report",
    "musigan.sampling.sampler", "musigan.sound.decoding", "musigan.synthesis", "musigan.training.loop",
)  # fmt: skip


def begin(
    address: str,
    module: str,
    arguments: list[str],
    descriptors: Sequence[int] = (0, 1, 2),
    folder: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> socket.socket:
    """Have the server run a tool, by default as this process would; return the connection that `end` waits at."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [b"\0"], descriptors)
    request = [module, arguments, os.fspath(folder or os.getcwd()), dict(environment or os.environ)]
    connection.sendall(json.dumps(request).encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def end(connection: socket.socket, timeout: float | None = None) -> int:
    """Return the exit code of a tool, negative for a signal; after `timeout` seconds kill it and raise TimeoutError."""
    with connection, connection.makefile() as answers:
        process = int(answers.readline())
        connection.settimeout(timeout)
        try:
            return int(answers.readline())
        except TimeoutError:
            os.kill(process, 9)
            raise


def serve(address: str) -> None:
    """Run what is asked for at the socket `address`, each in a fork, until standard input ends."""
    import gc
    import importlib
    import select
    import signal

    for module in PRELOADED:
        importlib.import_module(module)
    for module in sorted(os.listdir(os.path.dirname(importlib.import_module("musigan_tools").__file__ or ""))):
        if module.endswith(".py"):
            importlib.import_module(f"musigan_tools.{module.removesuffix('.py')}")
    gc.freeze()  # forks share what is not looked through
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # heard, so that it is written to the pipe
    signal.set_wakeup_fd(wake)
    running: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([listener, sys.stdin, ended], [], [])[0]):
            if ended in ready:
                os.read(ended, 4096)
                _answer(running)
            if listener in ready:
                connection, _ = listener.accept()
                _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
                request = json.load(connection.makefile())
                process = os.fork()
                if not process:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for inherited in (listener, connection, *running.values()):
                        inherited.close()
                    for number in (ended, wake):
                        os.close(number)
                    _run(*request, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)  # whoever reads from the tool waits for its end, not for ours
                running[process] = connection
                _tell(connection, process)


def _answer(running: dict[int, socket.socket]) -> None:
    """Send the exit codes of tools that have ended to those who asked for them."""
    for process in list(running):
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            with running.pop(process) as connection:
                _tell(connection, os.waitstatus_to_exitcode(status))


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked may have been killed
        connection.sendall(f"{number}\n".encode())


def _run(module: str, arguments: list[str], folder: str, environment: dict[str, str], descriptors: list[int]) -> None:
    import importlib
    import traceback

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    code: object = 0
    try:
        importlib.import_module(f"musigan_tools.{module}").main()
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        code = end(begin(sys.argv[1], sys.argv[2], sys.argv[3:]))
        if code < 0:
            os.kill(os.getpid(), -code)
        sys.exit(code)

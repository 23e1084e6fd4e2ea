"""A process that has imported what the tools need and forks to run each of them: most of a short run is importing.

    python -m tests.forking ADDRESS                 serves, until its standard input ends
    python -IS tests/forking.py ADDRESS MODULE ...  runs the tool of that module with what follows

The second stands for the tool: same streams, folder, environment and exit code.
"""

from __future__ import annotations

import json
import os
import socket
import sys

# What several tools import once they are at work.
PRELOADED = (
    "matplotlib.backends.backend_agg", "scipy.ndimage", "scipy.signal", "scipy.stats", "sklearn.cluster",
    "sklearn.ensemble", "soundfile", "soxr", "torch._dynamo", "zarr", "musigan.metrics.evaluation", "musigan.report",
    "musigan.sampling.sampler", "musigan.sound.decoding", "musigan.synthesis", "musigan.training.loop",
)  # fmt: skip


def ask(address: str, module: str, arguments: list[str]) -> int:
    """Have the server run a tool with this process's streams; return its exit code, negative for a signal."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        connection.sendall(json.dumps([module, arguments, os.getcwd(), dict(os.environ)]).encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.makefile().read())


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
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _attend(connection)
            connection.close()


def _attend(connection: socket.socket) -> None:
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    module, arguments, folder, environment = json.load(connection.makefile())
    child = os.fork()
    if not child:
        connection.close()
        _run(module, arguments, folder, environment, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)  # whoever reads from the tool waits for its end, not for ours
    connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    os._exit(0)


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
        code = ask(sys.argv[1], sys.argv[2], sys.argv[3:])
        if code < 0:
            os.kill(os.getpid(), -code)
        sys.exit(code)

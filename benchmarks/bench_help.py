"""`--help` of every tool against `python -c "import typer"`: the median ratio of paired runs.

python benchmarks/bench_help.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from musigan_tools._commands import COMMANDS

MODULES = ("musigan", *(module for module, _ in COMMANDS.values()))


def seconds(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for module in MODULES:
        tool = f"from musigan_tools.{module} import main; main()"
        pairs = [(seconds(tool), seconds("import typer")) for _ in range(rounds)]
        ratio = statistics.median(ours / typers for ours, typers in pairs)
        print(f"{module.replace('_', '-'):<12} {ratio:.2f} times importing typer")


if __name__ == "__main__":
    main()

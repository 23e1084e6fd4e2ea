"""The first line of the chain on a folder of music: time against ffmpeg, and the peak memory of every process.

    python benchmarks/bench_chain.py FOLDER [--songs 900]

Baseline: `ffmpeg -t 120 -ar 12000` over the same files, one after another, in the same run. With --songs, the chain
also runs over as many different files made from the folder's (cut at other frames), to show that memory stays.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from musigan.files.finding import find_audio
from musigan.sound.ffmpeg import find_ffmpeg

TOOLS = ("mp3_to_npy", "pair_chunks", "npy_to_keys")
VARIANT_BYTES = 4001


def chain(folder: Path, output: Path) -> tuple[float, dict[str, float]]:
    """Seconds for the whole pipe, and the peak resident MB of each of its processes."""
    begin = time.perf_counter()
    processes: list[subprocess.Popen[bytes]] = []
    with output.open("wb") as sink:
        for module in TOOLS:
            words = [sys.executable, "-c", f"from musigan_tools.{module} import main; main()", "-q"]
            words += [str(folder)] if not processes else []
            processes.append(
                subprocess.Popen(
                    words,
                    stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                    stdout=sink if module == TOOLS[-1] else subprocess.PIPE,
                )
            )
        for process in processes[:-1]:
            assert process.stdout is not None
            process.stdout.close()
        peaks = {}
        for module, process in zip(TOOLS, processes, strict=True):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                sys.exit(f"{module} failed with {process.returncode}")
            peaks[module] = usage.ru_maxrss / 1024
    return time.perf_counter() - begin, peaks


def one_after_another(folder: Path, program: str) -> float:
    """Seconds ffmpeg takes to decode and resample the same songs, in turn, to nowhere."""
    begin = time.perf_counter()
    for found in find_audio([folder]):
        words = [program, "-v", "error", "-nostdin", "-i", str(found.path), "-t", "120", "-ar", "12000"]
        subprocess.run([*words, "-f", "f32le", "-y", os.devnull], check=True)
    return time.perf_counter() - begin


def multiplied(folder: Path, count: int, target: Path) -> None:
    """`count` different MP3s of the folder: each copy lacks bytes at its beginning, so it decodes otherwise."""
    songs = [found.path for found in find_audio([folder])]
    for number in range(count):
        copy, song = divmod(number, len(songs))
        data = songs[song].read_bytes()
        (target / f"{number:04d}.mp3").write_bytes(data[copy * VARIANT_BYTES + 4000 * bool(copy) :])


def report(name: str, seconds: float, peaks: dict[str, float]) -> None:
    memory = ", ".join(f"{module.replace('_', '-')} {peak:.0f} MB" for module, peak in peaks.items())
    print(f"{name}: {seconds:.1f} s; peak memory {memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=0, help="also run over so many files")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-chain-"))
    try:
        seconds, peaks = chain(options.folder, scratch / "keys.zarr")
        report("chain", seconds, peaks)
        program = find_ffmpeg()
        if program is None:
            print("ffmpeg: none here to compare with")
        else:
            baseline = one_after_another(options.folder, program[0])
            print(f"ffmpeg, one after another: {baseline:.1f} s; the chain takes {seconds / baseline:.2f} of that")
        if options.songs:
            (scratch / "many").mkdir()
            multiplied(options.folder, options.songs, scratch / "many")
            report(f"chain over {options.songs} songs", *chain(scratch / "many", scratch / "many.zarr"))
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()

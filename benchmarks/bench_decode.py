"""How fast a folder becomes samples: musigan on all cores against ffmpeg over the same files one after another.

    python benchmarks/bench_decode.py ~/Music

Both keep the first 120 s of every file as float32 stereo at 12 kHz; both run in this process's session, the files are
read once before, so that neither pays for the disk. Printed as a ratio; 1 or more means musigan is no slower.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musigan.files.finding import find_audio
from musigan.machine.nativestderr import quiet_native_stderr
from musigan.sound.audio import decode_many
from musigan.sound.ffmpeg import find_ffmpeg

SAMPLE_RATE = 12000
SECONDS = 120


def run_ffmpeg(program: str, paths: list[Path]) -> float:
    """Seconds of sound that ffmpeg makes of the files, one after another."""
    samples = 0
    for path in paths:
        command = [program, "-nostdin", "-v", "error", "-t", str(SECONDS), "-i", f"file:{path.absolute()}", "-vn"]
        command += ["-ar", str(SAMPLE_RATE), "-ac", "2", "-f", "f32le", "-"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while part := process.stdout.read(1 << 20):
                samples += len(part) // 8
    return samples / SAMPLE_RATE


def run_musigan(paths: list[Path], jobs: int) -> float:
    """Seconds of sound that musigan makes of the files."""
    outcomes = decode_many(find_audio(paths), jobs, SAMPLE_RATE, seconds=SECONDS)
    return sum(outcome.recording.seconds for outcome in outcomes if outcome.recording is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="+")
    parser.add_argument("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of so many counts (default: 3)")
    options = parser.parse_args()
    quiet_native_stderr()
    paths = [found.path for found in find_audio(options.folder, lambda path, reason: print(path, reason))]
    for path in paths:
        path.read_bytes()

    found = find_ffmpeg()
    times: dict[str, list[float]] = {"musigan": [], "one thread": [], "ffmpeg": []}
    sound: dict[str, float] = {}
    for _ in range(options.rounds):
        for name in times:
            if name == "ffmpeg" and found is None:
                continue
            before = time.perf_counter()
            jobs = options.jobs if name == "musigan" else 1
            sound[name] = run_ffmpeg(found[0], paths) if name == "ffmpeg" and found else run_musigan(paths, jobs)
            times[name].append(time.perf_counter() - before)

    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{len(paths)} files, {options.jobs} jobs; peak memory {peak_mb} MB")
    for name, seconds in times.items():
        if seconds:
            label = f"musigan -j {options.jobs}" if name == "musigan" else name
            print(f"{label:14} {min(seconds):7.2f} s  {sound[name] / min(seconds):7.0f} times realtime")
    if times["ffmpeg"]:
        print(f"ratio musigan to ffmpeg: {min(times['ffmpeg']) / min(times['musigan']):.2f} (wanted: at least 1)")
    else:
        print('no ffmpeg to compare with; pip install "musigan[ffmpeg]" brings one')


if __name__ == "__main__":
    main()

"""Speed of the key analysis against its definition done literally, in one process; and the default there and back.

    OMP_NUM_THREADS=1 python benchmarks/bench_keys.py [RECORDING ...]

Without recordings it makes its own sound: two minutes of random chords over noise. The definition: one FFT of the whole
stretch, per key a Gaussian mask and an inverse FFT of full length, then the RMS of every frame. Times are the best of
several runs; the cosine leaves out half a second at each end, where the definition wraps around.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from musigan.analysis.bands import analyse, band_loudness
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.synthesis.oscillators import synthesise

RATE = 12000
END_FRAMES = 25


def literal(signal: np.ndarray, settings: KeySettings) -> np.ndarray:
    """Compute loudness by its definition, in NumPy, (C, S) -> (C, K, T)."""
    samples = settings.frame_samples(RATE)
    frames = signal.shape[1] // samples
    spectrum = np.fft.rfft(signal)
    bins_hz = np.fft.rfftfreq(signal.shape[1], 1 / RATE)
    loudness = np.zeros((signal.shape[0], settings.keys.count, frames))
    for index, (center, deviation) in enumerate(
        zip(settings.keys.frequencies_hz(), settings.deviations_hz(), strict=True)
    ):
        band = np.fft.irfft(spectrum * np.exp(-0.5 * ((bins_hz - center) / deviation) ** 2), signal.shape[1])
        power = band[:, : frames * samples].reshape(-1, frames, samples) ** 2
        loudness[:, index] = np.sqrt(power.mean(axis=2))
    return loudness


def sound(seconds: float) -> np.ndarray:
    """Decaying chords of random keys, each half a second, over faint noise: float32 (2, S)."""
    random = np.random.default_rng(3)
    count = int(seconds * RATE)
    signal = 0.002 * random.standard_normal((2, count))
    frequencies = KeyRange(16, 76).frequencies_hz()
    for start in range(0, count, RATE // 2):
        clock = np.arange(min(RATE, count - start)) / RATE
        for frequency in random.choice(frequencies, 4, replace=False):
            tone = sum(
                0.06 / n * np.sin(2 * np.pi * n * frequency * clock) for n in range(1, 5) if n * frequency < RATE / 2
            )
            signal[:, start : start + clock.size] += random.uniform(0.3, 1, (2, 1)) * tone * np.exp(-3 * clock)
    return signal.astype(np.float32)


def best_seconds(work: Callable[[], Any], runs: int) -> float:
    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return min(once() for _ in range(runs))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        np.sum(a * b, dtype=np.float64) / np.sqrt(np.sum(a * a, dtype=np.float64) * np.sum(b * b, dtype=np.float64))
    )


def against_definition(signal: np.ndarray) -> None:
    settings = KeySettings("fixed")
    analyse(signal, RATE, settings)  # imports and plans
    wanted = literal(signal, settings)
    seconds = signal.shape[1] / RATE
    runs = 15 if seconds < 60 else 5  # the same for both: the best of more runs would flatter whoever has more
    literal_seconds = best_seconds(lambda: literal(signal, settings), runs)
    ours_seconds = best_seconds(lambda: analyse(signal, RATE, settings), runs)
    ours, level = analyse(signal, RATE, settings)
    wanted[wanted < settings.threshold * wanted.max()] = 0
    inner = np.s_[:, :, END_FRAMES:-END_FRAMES]
    print(
        f"fixed bands, {seconds:5.0f} s stereo: definition {literal_seconds:6.3f} s, ours {ours_seconds:7.4f} s, "
        f"{literal_seconds / ours_seconds:5.0f} times as fast, cosine {cosine(ours[inner] * level, wanted[inner]):.5f}"
    )


def there_and_back(signal: np.ndarray, name: str) -> None:
    settings = KeySettings()
    seconds = signal.shape[1] / RATE
    analysis = best_seconds(lambda: analyse(signal, RATE, settings), 5)
    bands = best_seconds(lambda: band_loudness(signal, RATE, settings), 5)
    roll, level = analyse(signal, RATE, settings)
    synthesis = best_seconds(lambda: synthesise(roll, settings, RATE, level=level), 3)
    back, _ = analyse(synthesise(roll, settings, RATE, level=level), RATE, settings)
    print(
        f"{name}: default analysis {seconds / analysis:5.0f} times realtime ({analysis:.3f} s, bands {bands:.3f} s), "
        f"synthesis {seconds / synthesis:5.0f}, roll to sound to roll cosine {cosine(roll, back):.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    options = parser.parse_args()
    signals = {"own sound, 120 s": sound(120)}
    if options.recordings:
        from score_aligned import decoded

        signals = {path.stem: decoded(path, 120.0) for path in options.recordings}
    first = next(iter(signals.values()))
    against_definition(first[:, : 10 * RATE])
    against_definition(first)
    for name, signal in signals.items():
        there_and_back(signal, name)


if __name__ == "__main__":
    main()

"""How well sound made of a roll gives the roll back, on real songs: cosine, and tuning of the strongest partial.

    python benchmarks/score_round_trip.py FOLDER [--seconds 120]

Each song is decoded as mp3-to-npy does, turned into keys, into sound (sine timbre) and into keys again, all with the
defaults. The cosine is between the two rolls. The partial is the highest spectral peak of the sound, by parabolic
interpolation of the log spectrum, against the nearest key.
"""

from __future__ import annotations

import argparse

import numpy as np

from musigan.analysis.bands import analyse
from musigan.files.finding import MediaFile, find_audio
from musigan.machine.cores import usable_cores
from musigan.machine.parallel import ordered_map
from musigan.rolls.keysettings import KeySettings
from musigan.sound.audio import decode
from musigan.synthesis.oscillators import synthesise

RATE = 12000


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two rolls, the shorter one's frames."""
    frames = min(a.shape[-1], b.shape[-1])
    a, b = a[..., :frames], b[..., :frames]
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def cents_off(sound: np.ndarray) -> float:
    """Cents from the strongest partial of (S) to the nearest key."""
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(sound.size))) + 1e-12)
    top = int(spectrum[1:-1].argmax()) + 1
    left, middle, right = spectrum[top - 1 : top + 2]
    hz = (top + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / sound.size
    keys = 12 * np.log2(hz / 440)
    return float(100 * abs(keys - round(keys)))


def there_and_back(signal: np.ndarray) -> tuple[float, float]:
    """Cosine and cents off for a song (C, S)."""
    settings = KeySettings()
    roll, level = analyse(signal, RATE, settings)
    sound = synthesise(roll, settings, RATE, level=level)
    back, _ = analyse(sound, RATE, settings)
    return cosine(roll, back), cents_off(sound.mean(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each song")
    parser.add_argument("-j", "--jobs", type=int, default=usable_cores())
    chosen = parser.parse_args()

    def work(found: MediaFile) -> tuple[float, float]:
        return there_and_back(decode(found.path, RATE, seconds=chosen.seconds).signal)

    figures = []
    for found, figure in zip(
        find_audio([chosen.folder]), ordered_map(work, find_audio([chosen.folder]), chosen.jobs), strict=True
    ):
        figures.append(figure)
        print(f"{figure[0]:.4f}  {figure[1]:5.2f} cents  {found.source}", flush=True)
    cosines, cents = np.array(figures).T
    print(
        f"{len(figures)} songs: cosine mean {cosines.mean():.4f}, least {cosines.min():.4f}; strongest partial at most "
        f"{cents.max():.2f} cents off"
    )


if __name__ == "__main__":
    main()

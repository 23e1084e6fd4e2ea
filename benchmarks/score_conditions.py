"""Does what is drawn go by the style and the tempo that were asked for? On a checkpoint of bars or musegan.

    python benchmarks/score_conditions.py KEYS CKPT [-n 30]

Style: classifiers that learned the genres of KEYS from its training songs say what they take songs held back for, and
pieces drawn in each style. Tempo: that of each piece, found by autocorrelation of its onsets, against the one asked
for, and against one of the others, which is what chance comes to; twice and half as fast count, too, for the second
figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
import torch

from musigan.datasets.conditions import style_of
from musigan.datasets.rolls import RollDataset
from musigan.machine.cores import usable_cores
from musigan.metrics.features import musical_features
from musigan.metrics.twosample import predict
from musigan.rolls import beats
from musigan.rolls.loudness import expand
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from musigan.store import open_reader

CLASSIFIERS = ("logistic", "forest")
TEMPI = (70.0, 95.0, 125.0, 160.0)
NEAR = 0.04  # of the tempo


def points(rolls: Iterable[np.ndarray], frame_seconds: float, low_key: int) -> np.ndarray:
    """Features (N, F) of rolls (C, K, T)."""
    return np.array([list(musical_features(roll, frame_seconds, low_key).values()) for roll in rolls])


def near(tempi: np.ndarray, tempo: float, octaves: tuple[int, ...]) -> float:
    """Share of tempi (N,) that lie within NEAR of `tempo`, or of what it is so many octaves faster."""
    off = np.abs(np.log2(tempi[:, None] / tempo) - np.array(octaves)).min(axis=1)
    return float(np.mean(off < np.log2(1 + NEAR)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoint")
    parser.add_argument("-n", "--count", type=int, default=30, help="pieces for each style and each tempo")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each piece")
    chosen = parser.parse_args()
    torch.set_num_threads(usable_cores())
    sampler = Sampler.load(chosen.checkpoint)
    styles, frames = list(sampler.store.styles or ()), sampler.frames(chosen.seconds)
    frame_seconds, low_key = sampler.store.header.frame_seconds, sampler.store.header.low_key

    def drawn(**request: object) -> list[np.ndarray]:
        """Pieces under a wish."""
        asked = Request(**request)  # type: ignore[arg-type]
        return [sampler.piece(1, number, frames, request=asked).roll for number in range(1, chosen.count + 1)]

    with open_reader(chosen.keys) as reader:
        genres = {info.name: style_of(info.song) for info in reader.infos()}
        known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for split in ("train", "validation"):
            data = RollDataset(reader, split)  # type: ignore[arg-type]
            labels = np.array([styles.index(genres[place.item]) for place in data.places])
            rolls = (expand(data.roll(0, number), data.compression) for number in range(len(data)))
            known[split] = points(rolls, frame_seconds, low_key), labels
    mean, deviation = known["train"][0].mean(0), known["train"][0].std(0) + 1e-6

    def standard(features: np.ndarray) -> np.ndarray:
        return np.asarray((features - mean) / deviation)

    asked = {style: points(drawn(style=style), frame_seconds, low_key) for style in styles}
    for classifier in CLASSIFIERS:

        def said(features: np.ndarray, classifier: str = classifier) -> np.ndarray:
            return predict(classifier, standard(known["train"][0]), known["train"][1], standard(features), 0)

        right = (said(known["validation"][0]) == known["validation"][1]).mean()
        print(f"{classifier}: songs held back are taken for their own style in {right:.0%}")
        print(f"{'drawn as':<14}" + "".join(f"{'taken for ' + style:>22}" for style in styles))
        for style, features in asked.items():
            shares = np.bincount(said(features).astype(int), minlength=len(styles)) / len(features)
            print(f"{style:<14}" + "".join(f"{share:>22.0%}" for share in shares))
    found = {}
    for tempo in TEMPI:
        heard = [beats.estimate(roll, frame_seconds) for roll in drawn(beat=beats.Beat(tempo))]
        found[tempo] = np.array([1.0 if beat is None else beat.tempo for beat in heard])
    print(f"{'tempo':<10}{'found':>8}{'by chance':>12}{'octaves too':>14}{'by chance':>12}")
    for tempo, tempi in found.items():
        others = np.concatenate([found[other] for other in TEMPI if other != tempo])
        shares = [near(each, tempo, octaves) for octaves in ((0,), (-1, 0, 1)) for each in (tempi, others)]
        print(f"{tempo:<10g}{shares[0]:>8.0%}{shares[1]:>12.0%}{shares[2]:>14.0%}{shares[3]:>12.0%}")


if __name__ == "__main__":
    main()

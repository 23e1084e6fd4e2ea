"""Learn the weights of the drum finder anew from a folder of MIDI files and sound fonts (docs/drums.md).

    python benchmarks/learn_drums.py hear MIDI CACHE --fonts A.sf2 B.sf3 [--leave-out RENDERED/truth.json]
    python benchmarks/learn_drums.py train CACHE WEIGHTS.npz [--minutes N]

`hear` plays varied excerpts (drum_sounds.py) of the pieces that learn_beats.py chooses and keeps their loudness in
bands; shards are named by --seed. `train` fits the network and writes plain arrays.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from musigan.analysis.convolving import load_weights
from musigan.analysis.drums import features
from musigan.analysis.drums.network import logits
from musigan.analysis.spectra import compressed, rises
from musigan.rolls.kit import KIT

sys.path.insert(0, str(Path(__file__).parent))
import beat_sounds
import drum_sounds
from learn_beats import chosen_pieces

SHARD = 100  # excerpts a file
DRUM_OF_PITCH = {
    **dict.fromkeys((35, 36), 0), **dict.fromkeys((37, 38, 39, 40), 1), **dict.fromkeys((41, 43, 45, 47, 48, 50), 2),
    **dict.fromkeys((42, 44), 3), **dict.fromkeys((46, 49, 51, 52, 53, 55, 57, 59), 4),
}  # fmt: skip
# Percussion beyond the kit is heard, so that it is not taken for the kit; and whether a kit plays at all around here.
OTHER, PLAYING, OUTPUTS = len(KIT), len(KIT) + 1, len(KIT) + 2
WEIGHTS = (1.0, 1.0, 1.5, 1.0, 1.0, 0.7)  # of the losses of all outputs but the last
TAUGHT = 0.75  # share of what teachers hear in what is to be learned; the rest is what was struck
AROUND = 200  # frames before and after a stroke in which the kit plays
LATE = 0.3  # frames: so much later than it is struck a drum is heard
FRAMES = 1200  # of an example
Excerpt = tuple[np.ndarray, np.ndarray, str]  # loudness (T, BANDS), logarithmic; strokes (N, 3); piece


def hear(options: argparse.Namespace) -> None:
    """Write the shards."""
    options.cache.mkdir(exist_ok=True)
    beat_sounds.EXCERPT_SECONDS = drum_sounds.SECONDS
    player, rows, shard = beat_sounds.Player(options.fonts), [], 0
    jobs = chosen_pieces(options.midi, options.leave_out, options.passes, options.piano_pieces, options.seed)
    for number, entry in enumerate(jobs[: options.limit]):
        random = np.random.default_rng([options.seed, number])
        piece = beat_sounds.read_piece(options.midi / entry["file"], entry["downbeat_rank"] in (0, None))
        try:
            signal, strokes = drum_sounds.make_excerpt(piece, player, random, random.random() < options.own_share)
        except ValueError as error:  # an excerpt without a note
            print(f"{entry['file']}: {error}", file=sys.stderr)
            continue
        if np.abs(signal).max() > 1e-3:
            loudness = compressed(features.band_loudness(signal[None]), features.COMPRESSION).astype(np.float16)
            rows.append((loudness, np.array(strokes, np.float32).reshape(-1, 3), entry["file"]))
        if len(rows) == SHARD:
            write_shard(options.cache / f"s{options.seed}_{shard}.npz", rows)
            rows, shard = [], shard + 1
    if rows:
        write_shard(options.cache / f"s{options.seed}_{shard}.npz", rows)


def write_shard(path: Path, rows: list[Excerpt]) -> None:
    """Write excerpts as arrays."""
    loudness, strokes, pieces = zip(*rows, strict=True)
    counts = np.array([len(each) for each in strokes])
    np.savez(path, x=np.stack(loudness), n=counts, st=np.concatenate(strokes), piece=np.array(pieces))


def read_cache(folder: Path) -> list[Excerpt]:
    """Return the excerpts of a folder of shards."""
    excerpts: list[Excerpt] = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            shard = {name: file[name] for name in file.files}
        ends = np.cumsum(shard["n"])
        excerpts += [
            (shard["x"][i], shard["st"][end - shard["n"][i] : end], str(shard["piece"][i]))
            for i, end in enumerate(ends)
        ]
    return excerpts


def targets(strokes: np.ndarray, frames: int) -> np.ndarray:
    """Return 1 where drums are struck and less beside it, as strokes lie between frames: float32 (T, OUTPUTS)."""
    wanted = np.zeros((frames + 6, OUTPUTS), np.float32)
    for second, pitch, _ in strokes:
        drum, place = DRUM_OF_PITCH.get(int(pitch), OTHER), second / features.FRAME_SECONDS - 0.5 + LATE
        for frame in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            if -3 <= frame < frames + 3:
                value = np.clip(1.5 - abs(frame - place), 0, 1)
                wanted[frame + 3, drum] = max(wanted[frame + 3, drum], value)
        if drum != OTHER:
            wanted[max(int(place) + 3 - AROUND, 0) : int(place) + 3 + AROUND, PLAYING] = 1
    return wanted[3:-3]


def inputs(loudness: np.ndarray) -> np.ndarray:
    """Return the features of logarithmic loudness (T, BANDS), as `drum_features` does."""
    return np.concatenate((loudness - loudness.mean(axis=0), 2 * rises(loudness, features.FLUX_FRAMES)), axis=1)


def changed(loudness: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return loudness (T, BANDS) as if equalised, some bands missing, louder or less loud."""
    if random.random() < 0.5:
        places = np.linspace(0, features.BANDS - 1, 5)
        curve = np.interp(np.arange(features.BANDS), places, random.normal(0, 0.25, 5)).astype(np.float32)
        loudness = loudness + curve * (loudness > 0.05)
    if random.random() < 0.3:
        low = int(random.integers(0, features.BANDS))
        loudness = loudness.copy()
        loudness[:, low : low + int(random.integers(1, 6))] = 0
    return np.maximum(loudness * np.float32(random.uniform(0.8, 1.2)), 0)


class Net(nn.Module):
    """The network of analysis/drums/network.py, with dropout: features (B, T, F) to logits (B, T, OUTPUTS)."""

    def __init__(self, channels: int, blocks: int, taps: int = 5, dropout: float = 0.1) -> None:
        super().__init__()
        size = 2 * features.BANDS
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.input = nn.Conv1d(size, channels, 5, padding=2)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, taps, padding=(taps // 2) << n, dilation=1 << n) for n in range(blocks)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(channels, channels, 1, bias=False) for _ in range(blocks))
        self.song, self.output = nn.Linear(2 * channels, channels), nn.Linear(channels, OUTPUTS)
        self.dropout = nn.Dropout1d(dropout)
        for mix in self.mixes:
            nn.init.normal_(mix.weight, std=0.3 / channels**0.5)
        nn.init.zeros_(self.song.weight)
        nn.init.constant_(self.output.bias, -3.0)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.elu(self.input(((features - self.mean) * self.scale).transpose(1, 2)))
        for convolution, mix in zip(self.convolutions, self.mixes, strict=True):
            hidden = hidden + mix(self.dropout(nn.functional.elu(convolution(hidden))))
        hidden = hidden.transpose(1, 2)
        values = nn.functional.elu(hidden)
        song = self.song(torch.cat((values.mean(dim=1), values.std(dim=1, correction=0)), dim=1))
        return self.output(nn.functional.elu(hidden + song[:, None]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights as network.py reads them, in float16 (mean and scale in float32)."""
        half = lambda tensor: np.ascontiguousarray(tensor.detach().numpy().astype(np.float16))  # noqa: E731
        found = {"mean": self.mean.numpy().copy(), "scale": self.scale.numpy().copy()}
        found |= {"input.weight": half(self.input.weight.permute(2, 1, 0)), "input.bias": half(self.input.bias)}
        for n, (convolution, mix) in enumerate(zip(self.convolutions, self.mixes, strict=True)):
            found |= {f"{n}.weight": half(convolution.weight.permute(2, 1, 0)), f"{n}.bias": half(convolution.bias)}
            found[f"{n}.mix"] = half(mix.weight[:, :, 0].T)
        found |= {"song.weight": half(self.song.weight.T), "song.bias": half(self.song.bias)}
        return found | {"output.weight": half(self.output.weight.T), "output.bias": half(self.output.bias)}


def loss_of(logits: torch.Tensor, wanted: torch.Tensor, playing: float) -> torch.Tensor:
    """Return the mean binary cross-entropy over outputs, each by its weight; `playing` is that of the last."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (losses * torch.tensor((*WEIGHTS, playing))).mean()


def train(options: argparse.Namespace) -> None:
    """Train for so many minutes of processor time, and write the averaged weights after every pass."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    random, excerpts = np.random.default_rng(options.seed), read_cache(options.cache)
    pieces = sorted({excerpt[2] for excerpt in excerpts})
    held = set(np.random.default_rng(5).permutation(pieces)[: int(options.validation * len(pieces))])
    learned, checked = ([e for e in excerpts if (e[2] in held) is is_held] for is_held in (False, True))
    wanted = [targets(excerpt[1], len(excerpt[0])) for excerpt in learned]
    if options.teachers:
        teachers = [load_weights(path) for path in options.teachers]
        for (loudness, _, _), struck in zip(learned, wanted, strict=True):
            heard = np.mean([logits(inputs(loudness.astype(np.float32)), teacher) for teacher in teachers], axis=0)
            heard = 1 / (1 + np.exp(-heard))
            struck[:, : len(KIT)] += TAUGHT * (heard - struck[:, : len(KIT)])
    net = Net(options.channels, options.blocks)
    some = np.concatenate([inputs(excerpt[0].astype(np.float32))[::20] for excerpt in learned[::3]])
    net.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    net.scale.copy_(torch.from_numpy(1 / (some.std(axis=0) + 0.05)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.01)
    average = {name: value.clone() for name, value in net.state_dict().items()}
    began, step, done = time.process_time(), 0, 0.0
    while done < 1:
        net.train()
        order, losses = random.permutation(len(learned)), []
        for first in range(0, len(learned) // options.batch * options.batch, options.batch):
            done = (time.process_time() - began) / 60 / options.minutes
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = options.rate * min(1, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * done))
            chosen, rows = order[first : first + options.batch], []
            for index in chosen:
                heard = inputs(changed(learned[index][0].astype(np.float32), random))
                start = int(random.integers(0, len(heard) - FRAMES))
                rows.append((heard[start : start + FRAMES], wanted[index][start : start + FRAMES]))
            heard, struck = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
            loss = loss_of(net(heard), struck, options.playing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            step += 1
            losses.append(loss.item())
            keep = min(0.995, step / (step + 50))
            for name, value in net.state_dict().items():
                average[name].mul_(keep).add_(value, alpha=1 - keep)
        check = write(net, average, checked, options)
        print(f"{100 * done:.0f} %: loss {np.mean(losses or [np.nan]):.5f}, of other pieces {check:.5f}", flush=True)


@torch.no_grad()
def write(net: Net, average: dict[str, torch.Tensor], excerpts: list[Excerpt], options: argparse.Namespace) -> float:
    """Write the averaged weights, and return their mean loss on excerpts."""
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(average)
    net.eval()
    losses = []
    for loudness, strokes, _ in excerpts:
        heard = torch.from_numpy(inputs(loudness.astype(np.float32)))[None]
        losses.append(
            loss_of(net(heard), torch.from_numpy(targets(strokes, len(loudness)))[None], options.playing).item()
        )
    np.savez_compressed(options.weights, **net.arrays())
    net.load_state_dict(kept)
    return float(np.mean(losses or [np.nan]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    hearing, training = commands.add_parser("hear"), commands.add_parser("train")
    hearing.add_argument("midi", type=Path)
    hearing.add_argument("cache", type=Path)
    hearing.add_argument("--fonts", type=Path, nargs="+", required=True)
    hearing.add_argument("--leave-out", type=Path)
    hearing.add_argument("--passes", type=int, default=6)
    hearing.add_argument("--piano-pieces", type=int, default=250)
    hearing.add_argument("--own-share", type=float, default=0.2, help="share of excerpts in musigan's own sound")
    hearing.add_argument("--limit", type=int, default=1000)
    hearing.add_argument("--seed", type=int, default=1)
    hearing.set_defaults(run=hear)
    training.add_argument("cache", type=Path)
    training.add_argument("weights", type=Path)
    training.add_argument("--minutes", type=float, default=8.0, help="of processor time")
    training.add_argument("--teachers", type=Path, nargs="*", default=[], help="weights whose mean is learned from")
    training.add_argument("--playing", type=float, default=0.0, help="weight of hearing whether a kit plays at all")
    training.add_argument("--channels", type=int, default=32)
    training.add_argument("--blocks", type=int, default=5)
    training.add_argument("--rate", type=float, default=4e-3)
    training.add_argument("--batch", type=int, default=16)
    training.add_argument("--validation", type=float, default=0.06, help="share of the pieces")
    training.add_argument("--seed", type=int, default=1)
    training.set_defaults(run=train)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()

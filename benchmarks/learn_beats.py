"""Learn the weights of the beat tracker anew from a folder of MIDI files and sound fonts (docs/beats.md).

    python benchmarks/learn_beats.py hear MIDI CACHE --fonts A.sf2 B.sf3 [--leave-out RENDERED/truth.json]
    python benchmarks/learn_beats.py train CACHE WEIGHTS.npz [--minutes N] [--epochs N]

`hear` plays varied excerpts (beat_sounds.py; it needs pyfluidsynth) and keeps their features. MIDI holds index.json,
the files and `<name>.beats.txt`. Only pieces with beats, a permissive licence and no recording elsewhere
(`has_beat_annotation`, `permissive`, not `in_music`) are taken, and none of those in truth.json. With --tunes it plays
tunes made at random instead. Shards are named by --seed: give each call its own. `train` fits the network to the
features and writes plain arrays. With --minutes the result depends on the machine's speed; with --epochs alone (and
many minutes) it is the same again on the same machine. docs/beats.md has the commands behind the shipped weights.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from musigan.analysis import convolving
from musigan.analysis.bands import band_loudness
from musigan.analysis.beats import features
from musigan.analysis.spectra import SAMPLE_RATE
from musigan.rolls.keysettings import KeySettings

sys.path.insert(0, str(Path(__file__).parent))
import beat_sounds as sounds
from beat_tunes import random_tune

NO_BARS = {"1/8", "1/4", "13/8", "6/4 (from beat annotation)"}  # time signatures that say nothing of bars
SHARD = 60  # excerpts a file


def chosen_pieces(midi: Path, left_out: Path | None, passes: int, piano_pieces: int, seed: int) -> list[dict[str, Any]]:
    """Return entries of index.json in random order: every piece `passes` times, and some of the POP909 piano pieces."""
    rendered = {piece["source"] for piece in json.loads(left_out.read_text())["pieces"]} if left_out else set()
    entries = [
        entry
        for entry in json.loads((midi / "index.json").read_text())
        if entry["has_beat_annotation"]
        and entry["permissive"]
        and not entry["in_music"]
        and entry["file"] not in rendered
    ]
    entries.sort(key=lambda entry: entry["file"])
    others = [entry for entry in entries if entry["kind"] != "pop909"]
    piano = [entry for entry in entries if entry["kind"] == "pop909" and entry["time_signature"] not in NO_BARS]
    random = np.random.default_rng(seed)
    jobs = others * passes + [piano[i] for i in random.permutation(len(piano))[:piano_pieces]]
    random.shuffle(jobs)  # type: ignore[arg-type]
    return jobs


def write_shard(path: Path, rows: list[tuple[np.ndarray, sounds.Excerpt, str]]) -> None:
    """Write excerpts with their features as arrays."""
    np.savez(
        path,
        x=np.stack([row[0] for row in rows]),
        nb=np.array([len(row[1].beats) for row in rows]),
        beats=np.concatenate([row[1].beats for row in rows]).astype(np.float32),
        numbers=np.concatenate([row[1].numbers for row in rows]).astype(np.int8),
        known=np.array([row[1].downbeats_known for row in rows]),
        free=np.array([row[1].free for row in rows]),
        piece=np.array([row[2] for row in rows]),
    )


def pieces_to_hear(options: argparse.Namespace) -> Iterator[tuple[str, sounds.Piece]]:
    """Yield names and pieces: MIDI files, or tunes made at random."""
    if options.tunes:
        yield from ((f"tune {number}", random_tune(number, options.threes)) for number in range(options.tunes))
        return
    jobs = chosen_pieces(options.midi, options.leave_out, options.passes, options.piano_pieces, options.seed)
    for entry in jobs[: options.limit]:
        known = entry["downbeat_rank"] in (0, None) and entry["time_signature"] not in NO_BARS
        yield entry["file"], sounds.read_piece(options.midi / entry["file"], known)


def hear(options: argparse.Namespace) -> None:
    """Write the shards."""
    options.cache.mkdir(exist_ok=True)
    player, settings = sounds.Player(options.fonts), KeySettings()
    frames = round(sounds.EXCERPT_SECONDS * SAMPLE_RATE / features.HOP)
    rows: list[tuple[np.ndarray, sounds.Excerpt, str]] = []
    shard, drums, swing = 0, 0.15 if options.tunes else 0.5, options.threes and not options.tunes
    for number, (name, piece) in enumerate(pieces_to_hear(options)):
        random = np.random.default_rng([options.seed, number])
        plays_itself = options.own_share > 0 and random.random() < options.own_share
        font = None if plays_itself else player
        excerpt = sounds.make_excerpt(piece, font, random, options.tempi, drums, swing)
        if np.abs(excerpt.signal).max() > 1e-3:
            bands = band_loudness(excerpt.signal[None], SAMPLE_RATE, settings)
            kept = features.beat_features(excerpt.signal[None], bands)[:frames].astype(np.float16)
            rows.append((kept, excerpt, name))
        if len(rows) == SHARD:
            write_shard(options.cache / f"s{options.seed}_{shard}.npz", rows)
            rows, shard = [], shard + 1
    if rows:
        write_shard(options.cache / f"s{options.seed}_{shard}.npz", rows)


FRAME_SECONDS = 0.02
LAST_FRAMES = 2560
STRETCHED = 0.4  # share of examples that are played by up to 12 % faster or slower
TEMPO_BINS = 40  # from 40 to 240 beats a minute, in equal ratios


class Net(nn.Module):
    """The network of analysis/beats/network.py, with dropout: features (B, T, F) to logits (B, T, 2) and (B, N)."""

    def __init__(self, features: int, channels: int, blocks: int, taps: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.input = nn.Conv1d(features, channels, 5, padding=2)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, taps, padding=(taps // 2) << n, dilation=1 << n) for n in range(blocks)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(channels, channels, 1, bias=False) for _ in range(blocks))
        self.output = nn.Linear(channels, 2)
        self.tempo = nn.Linear(2 * channels, TEMPO_BINS)
        self.dropout = nn.Dropout1d(dropout)
        for mix in self.mixes:
            nn.init.normal_(mix.weight, std=0.3 / channels**0.5)
        nn.init.constant_(self.output.bias, -3.0)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = nn.functional.elu(self.input(((features - self.mean) * self.scale).transpose(1, 2)))
        for convolution, mix in zip(self.convolutions, self.mixes, strict=True):
            hidden = hidden + mix(self.dropout(nn.functional.elu(convolution(hidden))))
        last = nn.functional.elu(hidden).transpose(1, 2)
        pooled = torch.cat((last.mean(dim=1), last.std(dim=1)), dim=1)
        return self.output(last), self.tempo(pooled)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights as network.py reads them, in float16 (mean and scale in float32)."""
        half = lambda tensor: np.ascontiguousarray(tensor.detach().numpy().astype(np.float16))  # noqa: E731
        found = {"mean": self.mean.numpy().copy(), "scale": self.scale.numpy().copy()}
        found |= {"input.weight": half(self.input.weight.permute(2, 1, 0)), "input.bias": half(self.input.bias)}
        for n, (convolution, mix) in enumerate(zip(self.convolutions, self.mixes, strict=True)):
            found |= {f"{n}.weight": half(convolution.weight.permute(2, 1, 0)), f"{n}.bias": half(convolution.bias)}
            found[f"{n}.mix"] = half(mix.weight[:, :, 0].T)
        found |= {"tempo.weight": half(self.tempo.weight.T), "tempo.bias": half(self.tempo.bias)}
        return found | {"output.weight": half(self.output.weight.T), "output.bias": half(self.output.bias)}

    def go_on_from(self, path: Path) -> None:
        """Take over the weights of a file that `arrays` was written to."""
        arrays = {name: torch.from_numpy(array).float() for name, array in convolving.load_weights(path).items()}
        state = {name: array for name, array in arrays.items() if name in ("mean", "scale")}
        for name in ("input", *(f"convolutions.{n}" for n in range(len(self.convolutions)))):
            short = name.removeprefix("convolutions.")
            state |= {
                f"{name}.weight": arrays[f"{short}.weight"].permute(2, 1, 0),
                f"{name}.bias": arrays[f"{short}.bias"],
            }
        state |= {f"mixes.{n}.weight": arrays[f"{n}.mix"].T[:, :, None] for n in range(len(self.mixes))}
        for name in ("output", "tempo"):
            state |= {f"{name}.weight": arrays[f"{name}.weight"].T, f"{name}.bias": arrays[f"{name}.bias"]}
        self.load_state_dict(state)


def read_cache(folder: Path) -> list[dict]:
    """Return the excerpts of a folder of shards."""
    excerpts = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            shard = {name: shard[name] for name in shard.files}
        ends = np.cumsum(shard["nb"])
        for i, end in enumerate(ends):
            span = slice(end - shard["nb"][i], end)
            excerpts.append(
                {
                    "x": shard["x"][i],
                    "beats": shard["beats"][span],
                    "numbers": shard["numbers"][span],
                    "known": bool(shard["known"][i]),
                    "free": bool(shard["free"][i]),
                    "piece": str(shard["piece"][i]),
                }
            )
    return excerpts


def targets(seconds: np.ndarray, frames: int) -> np.ndarray:
    """Return 1 at events, .5 beside them, moved between frames as the event lies: float32 (T,)."""
    result = np.zeros(frames + 4, np.float32)
    places = seconds / FRAME_SECONDS - 0.5
    for offset in (-1, 0, 1, 2):
        index = np.floor(places).astype(int) + offset
        value = np.clip(1.5 - np.abs(index - places), 0, 1)
        inside = (index >= -2) & (index < frames + 2)
        np.maximum.at(result, index[inside] + 2, value[inside].astype(np.float32))
    return result[2:-2]


def tempo_target(seconds: np.ndarray) -> np.ndarray:
    """Return how often each tempo occurs between beats, blurred, of sum 1 (or 0 without beats): float32 (N,)."""
    if len(seconds) < 4:
        return np.zeros(TEMPO_BINS, np.float32)
    places = np.log(60 / np.maximum(np.diff(seconds), 1e-3) / 40) / np.log(6) * (TEMPO_BINS - 1)
    spread = np.exp(-0.5 * (np.arange(TEMPO_BINS) - places[:, None]) ** 2).sum(axis=0)
    return (spread / max(spread.sum(), 1e-6)).astype(np.float32)


def example(excerpt: dict, frames: int, random: np.random.Generator | None) -> tuple[np.ndarray, ...]:
    """Return features (T, F), targets (T, 2), weights (T, 2) and tempo of one excerpt, changed a little at random."""
    x, beats, numbers = excerpt["x"], excerpt["beats"], excerpt["numbers"]
    last = len(x) if excerpt["free"] or not len(beats) else min(len(x), int(beats[-1] / FRAME_SECONDS) + 10)
    first, stretch = 0, 1.0
    if random is not None:
        stretch = float(random.uniform(0.9, 1.12)) if random.random() < STRETCHED else 1.0
        room = last - math.ceil(frames / stretch) - 1
        first = int(random.integers(0, room + 1)) if room > 0 else 0
    x = stretched(x[first : first + math.ceil(frames / stretch) + 1].astype(np.float32), stretch)[:frames]
    if len(x) < frames:
        x = np.pad(x, ((0, frames - len(x)), (0, 0)))
    at = (beats - first * FRAME_SECONDS) * stretch
    y = np.stack((targets(at, len(x)), targets(at[numbers == 1], len(x))), axis=1)
    weight = np.ones_like(y)
    weight[max(int((last - first) * stretch), 0) :] = 0
    if not excerpt["known"] and not excerpt["free"]:
        weight[:, 1] = 0
    if random is not None:
        change(x, random)
    inside = (at >= 0) & (at < frames * FRAME_SECONDS)
    return x, y, weight, tempo_target(at[inside])


def stretched(x: np.ndarray, factor: float) -> np.ndarray:
    """Return features (T, F) that last longer by a factor, interpolated between frames."""
    if factor == 1.0:
        return x
    places = np.clip((np.arange(int(len(x) * factor)) + 0.5) / factor - 0.5, 0, len(x) - 1)
    before = np.minimum(places.astype(int), len(x) - 2)
    share = (places - before).astype(np.float32)[:, None]
    return x[before] * (1 - share) + x[before + 1] * share


def change(x: np.ndarray, random: np.random.Generator) -> None:
    """Turn the pitch classes of features (T, F), leave some columns out, and scale the loudness, in place."""
    turn = int(random.integers(12))
    for side in (slice(48, 60), slice(60, 72)):
        x[:, side] = np.roll(x[:, side], turn, axis=1)
    if random.random() < 0.5:
        low = int(random.integers(0, 24))
        wide = int(random.integers(1, 7))
        x[:, low : min(low + wide, 24)] = 0
        x[:, 24 + low : min(24 + low + wide, 48)] = 0
    if random.random() < 0.15:
        x[:, 48:] = 0
    x[:, :48] *= random.uniform(0.8, 1.2)


def batch_of(excerpts: list[dict], frames: int, random: np.random.Generator | None) -> list[torch.Tensor]:
    """Return features, targets and weights of excerpts as tensors (B, T, .), cut to one length."""
    rows = [example(excerpt, frames, random) for excerpt in excerpts]
    return [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]


def loss_of(
    predicted: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor, weight: torch.Tensor, tempo: torch.Tensor
) -> torch.Tensor:
    """Return the mean binary cross-entropy, downbeats twice, and a little of the cross-entropy of the tempo."""
    logits, tempo_logits = predicted
    tempo_loss = -(tempo * tempo_logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none") * weight
    return (loss * torch.tensor([1.0, 2.0])).sum() / weight.sum() + 0.03 * tempo_loss


class Trainer:
    """The network, its optimiser, its averaged weights, and how much of the time is gone."""

    def __init__(self, net: Net, options: argparse.Namespace, steps: int) -> None:
        self.net, self.options, self.steps, self.step = net, options, steps, 0
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.01)
        self.average = {name: value.clone() for name, value in net.state_dict().items()}
        self.random = np.random.default_rng(options.seed)
        self.began = time.process_time()

    def done(self) -> float:
        """Return the share of the steps, or of the minutes, that is over."""
        return max(self.step / self.steps, (time.process_time() - self.began) / 60 / self.options.minutes)

    def train_epoch(self, excerpts: list[dict]) -> float:
        """Take one pass over the excerpts, and return the mean loss."""
        self.net.train()
        losses, order, size = [], self.random.permutation(len(excerpts)), self.options.batch
        for start in range(0, len(excerpts) // size * size, size):
            if self.done() >= 1:
                break
            rate = self.options.rate * min(1, (self.step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * self.done()))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            batch = batch_of([excerpts[i] for i in order[start : start + size]], self.options.frames, self.random)
            loss = loss_of(self.net(batch[0]), *batch[1:])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            losses.append(loss.item())
            keep = min(0.995, self.step / (self.step + 50))
            for name, value in self.net.state_dict().items():
                self.average[name].mul_(keep).add_(value, alpha=1 - keep)
        return float(np.mean(losses or [np.nan]))

    def write(self, excerpts: list[dict], path: Path) -> float:
        """Write the averaged weights, and return their mean loss on excerpts."""
        kept = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        with torch.no_grad():
            batches = (batch_of([excerpt], LAST_FRAMES, None) for excerpt in excerpts)
            losses = [loss_of(self.net(batch[0]), *batch[1:]).item() for batch in batches]
        np.savez_compressed(path, **self.net.arrays())
        self.net.load_state_dict(kept)
        return float(np.mean(losses or [np.nan]))


def train(options: argparse.Namespace) -> None:
    """Train, and write the weights after every epoch."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    excerpts = read_cache(options.cache)
    pieces = sorted({excerpt["piece"] for excerpt in excerpts})
    held = set(np.random.default_rng(5).permutation(pieces)[: int(options.validation * len(pieces))])
    learned = [excerpt for excerpt in excerpts if excerpt["piece"] not in held]
    checked = [excerpt for excerpt in excerpts if excerpt["piece"] in held]
    net = Net(learned[0]["x"].shape[1], options.channels, options.blocks, options.taps, options.dropout)
    some = np.concatenate([excerpt["x"][::20].astype(np.float32) for excerpt in learned[::4]])
    net.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    net.scale.copy_(torch.from_numpy(1 / (some.std(axis=0) + 0.05)))
    if options.start:
        net.go_on_from(options.start)
    trainer = Trainer(net, options, options.epochs * (len(learned) // options.batch))
    for epoch in range(options.epochs):
        loss = trainer.train_epoch(learned)
        check = trainer.write(checked, options.weights)
        print(f"epoch {epoch}: loss {loss:.4f}, of other pieces {check:.4f}", flush=True)
        if trainer.done() >= 1:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    hearing, training = commands.add_parser("hear"), commands.add_parser("train")
    hearing.add_argument("midi", type=Path)
    hearing.add_argument("cache", type=Path)
    hearing.add_argument("--fonts", type=Path, nargs="+", required=True)
    hearing.add_argument("--leave-out", type=Path)
    hearing.add_argument("--passes", type=int, default=2)
    hearing.add_argument("--piano-pieces", type=int, default=250)
    hearing.add_argument("--seed", type=int, default=1)
    hearing.add_argument("--limit", type=int, default=1_000_000)
    hearing.add_argument("--tempi", choices=("near", "wide", "even"), default="wide")
    hearing.add_argument("--own-share", type=float, default=0.0, help="share of excerpts in musigan's own sound")
    hearing.add_argument("--tunes", type=int, default=0, help="hear this many random tunes instead of MIDI")
    hearing.add_argument("--threes", action="store_true", help="tunes in 6/8 and 9/8, MIDI with a swing")
    hearing.set_defaults(run=hear)
    training.add_argument("cache", type=Path)
    training.add_argument("weights", type=Path)
    training.add_argument("--epochs", type=int, default=40)
    training.add_argument(
        "--minutes", type=float, default=5.0, help="of processor time, over which the rate falls to 0"
    )
    training.add_argument("--start", type=Path, help="weights to go on from")
    training.add_argument("--channels", type=int, default=24)
    training.add_argument("--blocks", type=int, default=10)
    training.add_argument("--taps", type=int, default=5)
    training.add_argument("--dropout", type=float, default=0.1)
    training.add_argument("--rate", type=float, default=4e-3)
    training.add_argument("--batch", type=int, default=8)
    training.add_argument("--frames", type=int, default=2000)
    training.add_argument("--validation", type=float, default=0.04, help="share of the pieces")
    training.add_argument("--seed", type=int, default=1)
    training.set_defaults(run=train)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()

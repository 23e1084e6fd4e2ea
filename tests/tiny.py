"""Tiny stores, settings and runs for the tests of training and sampling: seconds, not minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musigan import models, store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import TrainingSettings, configure
from musigan.datasets.bars import BarDataset
from musigan.datasets.rolls import RollDataset
from musigan.rolls.feel import LEVELS as FEEL_LEVELS
from musigan.rolls.feel import PLACES
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.harmony import LEVELS
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.outlines import Outline, context_arrays
from musigan.rolls.parts import FIGURES
from musigan.rolls.scenes import CLASSES, SCENE
from musigan.training import calibration, runs

# The pieces that noise and latents are set by would take longer than runs of a second.
calibration.BEATS, calibration.HALVINGS, calibration.PIECES = 5, 1, 32

CPU = torch.device("cpu")
CHANNELS, KEYS, FRAMES = 2, 11, 24
HEADER = store.StoreHeader("keys", 12000, FRAMES * 0.02).with_keys(KeySettings(keys=KeyRange(30, 40)))
NETWORKS: dict[str, dict[str, Any]] = {
    "bars": {
        "patch_keys": 2, "row_latents": 3, "width": 6, "deep_width": 8, "composer_width": 16, "composer_layers": 2,
        "composer_heads": 2, "head_width": 16, "head_layers": 1, "flow_steps": 3, "critic_width": 6,
        "latent_critic_width": 6, "chroma_critic_width": 4,
    },
    "musigan": {
        "patch_keys": 2, "patch_frames": 4, "width": 6, "deep_width": 8, "latent_dim": 3, "time_dim": 4, "rounds": 3,
        "transformer_width": 8, "transformer_layers": 2, "transformer_heads": 2, "critic_width": 6,
        "latent_critic_width": 6, "chroma_critic_width": 4,
    },
    "mlp": {"latent_dim": 3, "width": 16, "step_frames": 5, "patterns": 8},
    "rnn": {"width": 7, "step_frames": 5, "key_width": 3, "reach_keys": 2, "critic_width": 4, "cell": "gru"},
    "lstm": {"width": 7, "step_frames": 5, "key_width": 3, "reach_keys": 2},
    "original": {
        "width": 6, "latent_steps": 5, "latent_dim": 8, "transformer_heads": 2, "critic_layers": 3, "critic_width": 3,
        "minibatch_projections": 2, "minibatch_width": 3,
    },
    "mdn-rnn": {
        "step_frames": 5, "patch_keys": 2, "width": 6, "deep_width": 8, "latent_dim": 3, "hidden_dim": 7, "mixtures": 4,
    },
    "cyclegan": {
        "patch_keys": 2, "patch_frames": 4, "width": 6, "dilations": [1, 2], "remix": True, "critic_width": 4,
        "critic_layers": 1, "statistics": True, "drum_width": 3, "pool": 5, "teller_width": 3, "beat": True,
    },
    "answer": {
        "patch_keys": 2, "patch_frames": 4, "width": 6, "deep_width": 8, "latent_dim": 3, "time_dim": 4, "rounds": 3,
        "transformer_width": 8, "transformer_layers": 2, "transformer_heads": 2, "critic_width": 6,
        "latent_critic_width": 6,
    },
    "musegan-seconds": {
        "bar_frames": 8, "patch_keys": 2, "patch_frames": 2, "latent_dim": 3, "width": 4, "deep_width": 5, "rounds": 3,
        "temporal_width": 8, "temporal_layers": 1, "temporal_heads": 2, "time_dim": 4, "style_dim": 3, "kept_dim": 3,
        "critic_width": 4,
    },
    "musegan": {
        "patch_keys": 3, "row_latents": 2, "width": 4, "deep_width": 6, "composer_width": 16, "composer_layers": 1,
        "composer_heads": 2, "head_width": 12, "head_layers": 1, "together_width": 6, "flow_steps": 2,
        "critic_width": 4, "latent_critic_width": 4, "chroma_critic_width": 4,
    },
}  # fmt: skip


def write_keys(
    path: Path, songs: int = 3, validation: int = 1, seed: int = 0, paired: bool = True, pairs: int = 2
) -> Path:
    """A keys store of held notes: in every song other keys, left louder than right, some cells exactly 0."""
    rng = np.random.default_rng(seed)
    names = ("pairs", "part", "channels", "keys", "frames") if paired else ("chunks", "channels", "keys", "frames")
    with store.write(str(path), HEADER) as writer:
        for number in range(songs):
            long = np.zeros((CHANNELS, KEYS, pairs * 2 * FRAMES), np.float32)
            for begin in range(0, pairs * 2 * FRAMES, 4 * FRAMES):
                for key in rng.choice(KEYS, 4, replace=False):
                    start = begin + int(rng.integers(0, 3 * FRAMES))
                    long[:, key, start : start + 13] = rng.uniform(0.1, 1.2)
            long[1] *= 0.5
            blocks = long.reshape(CHANNELS, KEYS, pairs, 2, FRAMES).transpose(2, 3, 0, 1, 4)  # (pairs, 2, C, K, T)
            if not paired:
                blocks = blocks.reshape(2 * pairs, CHANNELS, KEYS, FRAMES)
            split = "validation" if number < validation else "train"
            song = store.Song(
                title=f"Song {number}", split=split, level=0.1 + 0.1 * number, genre=("Folk", "Rock")[number % 2],
                tempo=100.0 + 20 * number, first_beat=0.1,
            )  # fmt: skip
            writer.add(np.ascontiguousarray(blocks, np.float16), names, song)
    return path


def write_keys_for(model: str, path: Path) -> Path:
    """A keys store with enough to learn from: for models that think in beats, songs of 11.5 s and two more."""
    return write_keys(path, songs=5, pairs=12) if models.family(model).on_beats else write_keys(path)


def dataset(path: Path, settings: TrainingSettings, split: Any = "train") -> RollDataset:
    """The rolls of a store as `settings` see them."""
    reader = store.open_reader(str(path), ("keys",))
    family = models.family(settings.model)
    conditions, kind = family.conditions, BarDataset if family.on_beats else RollDataset
    return kind(reader, split, settings.augment, settings.compression, settings.seed, conditions)


def settings(model: str = "musigan", **changes: Any) -> TrainingSettings:
    """Settings of a run that takes a second."""
    basis = {
        "epochs": 4, "pretrain_epochs": 3, "critic_epochs": 1, "batch_size": 3, "save_every": 1, "sample_every": 0,
        "network": NETWORKS[model], "adversarial": {"roll_every": 2},
    }  # fmt: skip
    if model == "bars":
        return configure("small", {**basis, "augment": {"transpose_keys": 1}, **changes})
    return configure(model, {**basis, **changes})


def conditions(model: str, roll: torch.Tensor) -> dict[str, torch.Tensor]:
    """Conditions of a model for rolls (B, C, K, T), other ones for each; of the last the first track is given."""
    if models.family(model).on_beats:
        outlines = [outline(roll.shape[-1] // GRID_FRAMES, number) for number in range(len(roll))]
        if "kept" in models.family(model).conditions:
            outlines = [with_parts(each, roll.shape[1]) for each in outlines]
        return context(*outlines)
    batch, _, _, frames = roll.shape
    kept = torch.full_like(roll, -1.0)
    kept[-1, 0] = roll[-1, 0]
    phases = torch.arange(frames) * 0.3 + torch.arange(batch)[:, None]  # (B, T)
    tempo = torch.stack((phases.sin(), phases.cos(), (phases / 4).sin(), (phases / 4).cos()), 1)
    made = {"style": torch.arange(batch) % 3, "tempo": tempo, "kept": kept, "question": roll.roll(1, 0)}
    return {name: made[name] for name in models.family(model).conditions}


def outline(beats: int, number: int = 0, meter: int = 2, **changes: Any) -> Outline:
    """The outline of so many beats, two bars of which are alike; `number` tells it from others."""
    places = np.arange(beats)
    lags = np.where(places >= meter * (1 + number), meter * (1 + number), 0)
    likeness = np.where(lags > 0, 0.5 + 0.1 * number, 0.0)
    scene = np.random.default_rng(number).random((beats, SCENE), np.float32)
    basis = Outline(places % meter + 1, lags, likeness, 90.0 + 20 * number, meter, scene=scene)
    return replace(basis, **changes)


def with_parts(outline: Outline, instruments: int) -> Outline:
    """An outline with the parts of so many instruments, their harmony and their feel."""
    rng = np.random.default_rng(len(outline))
    parts = rng.random((len(outline), instruments * FIGURES), np.float32)
    harmony = (rng.integers(0, LEVELS + 1, (len(outline), CLASSES)) / LEVELS).astype(np.float32)
    feel = (rng.integers(0, FEEL_LEVELS + 1, (len(outline), PLACES)) / FEEL_LEVELS).astype(np.float32)
    return replace(outline, parts=parts, harmony=harmony, feel=feel)


def context(*outlines: Outline) -> dict[str, torch.Tensor]:
    """What a composer is told of outlines of at most N beats, and which are known, (B, ...) each; styles 0, 1, ..."""
    beats = max(map(len, outlines))
    rows = []
    for style, each in enumerate(outlines):
        known = (np.arange(beats) < len(each)).astype(np.float32)
        rows.append({**context_arrays(each, style, beats), "known": known})
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


class Silent:
    """A reporter that remembers what it was told, and can act on it."""

    def __init__(self, act: Any = None) -> None:
        self.notes: list[str] = []
        self.steps: list[Any] = []
        self.epochs: list[tuple[str, int, int]] = []
        self.act = act

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, figures: Any, epochs: int) -> None:
        self.epochs.append((figures["stage"], figures["epoch"], epochs))

    def progress(self, progress: Any) -> None:
        self.steps.append(progress)
        if self.act is not None:
            self.act(progress)


def start(keys: Path, settings: TrainingSettings, adversarial: bool = True) -> tuple[runs.Run, Any]:
    """A run from nothing on the store `keys`, and its data."""
    data = dataset(keys, settings)
    return runs.begin(settings, data, data.record(), settings.stage_epochs(adversarial), CPU), data


def go_on(path: Path, keys: Path, settings: TrainingSettings | None = None) -> tuple[runs.Run, Any]:
    """The run that the checkpoint `path` holds, and its data."""
    saved = checkpoint.load(path)
    settings = settings or saved.training_settings()
    data = dataset(keys, settings)
    return runs.resume(saved, settings, data, CPU), data


def weights(path: Path) -> dict[str, torch.Tensor]:
    """All that a checkpoint has learned, by network, averaged generator included."""
    saved = checkpoint.load(path)
    found = {f"{part}.{k}": v for part, state in saved.networks.items() for k, v in state.items()}
    return found | {f"average.{k}": v for k, v in saved.average["generator"].items()}


def assert_same_weights(one: Path, other: Path) -> None:
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    assert [k for k in left if not torch.equal(left[k], right[k])] == []


def let_it_sound(path: Path) -> None:
    """Have the checkpoint's generator play: so little training teaches it to play nothing, or nothing that lasts."""
    saved = checkpoint.load(path)
    saved.average["generator"]["key_bias"][:, :, 3:5] += 20
    checkpoint.save(path, saved)

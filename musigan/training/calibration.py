"""Calibration of drawn latents: their mean and spread are set to those of real ones.

A flow that takes few steps, or was trained briefly, draws latents that are too much alike: after 20 epochs of its stage
their standard deviation was .79 of the real ones', after 70 still .93. An affine map after the last flow step sets mean
and deviation of each dimension to those of real latents. On 92 songs that took the Frechet distance on random features
from 106 to 24 after 20 epochs (60 epochs in all), and from 16 to 9.6 after 70 (200).
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from musigan.datasets.bars import BarDataset
from musigan.datasets.batches import Batch, stack_examples
from musigan.machine.seeding import seed_of
from musigan.models.bars import generator as bars
from musigan.models.bars.codec import fullness
from musigan.models.protocol import Balanced, FlowGenerator
from musigan.models.stages import STAGES
from musigan.models.windows import decode_in_windows
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.outlines import context_arrays
from musigan.training.objectives.base import sampled

if TYPE_CHECKING:
    from musigan.datasets.rolls import RollDataset
    from musigan.training.runs import Run

PIECES = 96  # pieces drawn, and real rolls encoded
BATCH = 16
SONGS, BEATS = 8, 32  # pieces of so many beats that are drawn to be as dense as real ones
MOST_PLAYERS = 2  # for each of whom there are so many: an instrument rests in a part of the songs
DEVIATIONS = (0.94, 1.18)  # of noise
DEVIATIONS_OF_PLAYERS = (0.72, 1.2)  # of the noise of several players, who are woken where they sleep
HALVINGS = 3  # one more for several players
TRIAL_BEATS = 4  # of which the time of all is reckoned


@torch.no_grad()
def calibrate(run: Run, dataset: RollDataset, stops: bool = False) -> None:
    """Fit the affine map after the averaged generator's last flow step to drawn and real latents.

    Of a generator that composes, fit the deviation of its noise instead (`balance`): at the end of a stage, as it takes
    a while, or where the run `stops` and that was never done. Does nothing where a family has neither, and before it
    has learned to draw.
    """
    generator, (stage, epochs) = run.average.network, run.plan[run.position.stage]
    if isinstance(generator, bars.Generator) and isinstance(dataset, BarDataset):
        is_due = run.is_shown_at_end and run.position.epoch + 1 >= epochs
        is_missing = stops and STAGES[stage].can_sample and bool((generator.noise_deviation == 1).all())
        if is_due or is_missing:
            balance(generator, dataset)
        return
    if not isinstance(generator, FlowGenerator | Balanced) or not STAGES[stage].can_sample:
        return
    rng = torch.Generator().manual_seed(seed_of(run.settings.seed, PIECES))
    if isinstance(generator, Balanced):
        generator.balance(torch.cat([_real(run, dataset, first).roll for first in range(0, PIECES, BATCH)]), rng)
        return
    latents = defaultdict[str, list[tuple[Tensor, Tensor]]](list)  # drawn and real, by calibration
    for first in range(0, PIECES, BATCH):
        batch = _real(run, dataset, first)
        for name, (roll, conditions) in generator.calibration_sets(batch.roll, batch.conditions).items():
            noise = generator.draw(len(roll), run.shape.frames, rng)
            drawn = generator.sample_prior(noise, **conditions)
            latents[name].append((drawn, sampled(generator.encode(roll, **conditions), rng)))
    for name, pairs in latents.items():
        drawn_latents, real_latents = zip(*pairs, strict=True)
        generator.calibrate(torch.cat(drawn_latents), torch.cat(real_latents), name)


def _real(run: Run, dataset: RollDataset, first: int) -> Batch:
    """Return BATCH of PIECES real rolls from number `first` on, spread evenly over the store.

    They are the same each time, cropped as in the first epoch.
    """
    numbers = np.linspace(0, len(dataset) - 1, PIECES).round().astype(int)[first : first + BATCH]
    return stack_examples([dataset.example(0, int(number)) for number in numbers]).to(run.device)


def seconds_of(run: Run, dataset: RollDataset) -> float:
    """Return about how long `calibrate` takes at a stage's end, measured on few songs in `dataset`.

    The averaged generator's calibration is changed.
    """
    run.position.stage = len(run.plan) - 1
    began = time.monotonic()
    generator = run.average.network
    if not (isinstance(generator, bars.Generator) and isinstance(dataset, BarDataset)):
        calibrate(run, dataset)
        return time.monotonic() - began
    balance(generator, dataset, TRIAL_BEATS, 1)
    songs = _songs(generator)
    scale = _halvings(generator) * songs / min(len(dataset.parts), songs)
    longest = min(max(map(len, dataset.outlines)), BEATS)
    return (time.monotonic() - began) * scale * longest / min(longest, TRIAL_BEATS)


@torch.no_grad()
def balance(generator: bars.Generator, dataset: BarDataset, beats: int = 0, halvings: int = 0) -> None:
    """Set the deviation of a composer's noise so that drawn beats are as full as real ones.

    A flow of a few steps, or one that was trained briefly, draws less than there was noise for, and a piece is drawn
    from its own past: a little too little becomes silence, a little too much becomes noise. Found by halving, on the
    outlines of songs spread evenly over the collection, with the same noise each time; of BEATS beats and in HALVINGS
    halvings unless given.
    """
    count = min(beats or BEATS, max(map(len, dataset.outlines)))
    chosen = [number for number, outline in enumerate(dataset.outlines) if len(outline) >= count]
    numbers = np.unique(np.linspace(0, len(chosen) - 1, _songs(generator)).round().astype(int))
    songs = [chosen[number] for number in numbers]
    arrays = [context_arrays(dataset.outlines[song].part(0, count).to_follow(), 0, count) for song in songs]
    device = generator.latent_mean.device
    context = bars.Context.of(
        {name: torch.from_numpy(np.stack([each[name] for each in arrays])).to(device) for name in arrays[0]}
    )
    real = [dataset.composed(dataset.parts[song])[..., : count * GRID_FRAMES] for song in songs]
    wanted = _fullness(generator, torch.from_numpy(np.stack(real)))
    between = DEVIATIONS if generator.players == 1 else DEVIATIONS_OF_PLAYERS
    low, high = (torch.full_like(wanted, each) for each in between)
    for _ in range(halvings or _halvings(generator)):
        middle = (low + high) / 2
        generator.noise_deviation.copy_(middle.reshape(generator.noise_deviation.shape))
        latents = generator.compose(context, torch.Generator().manual_seed(seed_of(dataset.seed, SONGS)))
        is_too_little = _fullness(generator, decode_in_windows(generator, latents, BATCH * BATCH)) < wanted
        low, high = torch.where(is_too_little, middle, low), torch.where(is_too_little, high, middle)
    generator.noise_deviation.copy_(((low + high) / 2).reshape(generator.noise_deviation.shape))


def _songs(generator: bars.Generator) -> int:
    """Return on how many songs the noise of a generator's players is set."""
    return SONGS * min(generator.players, MOST_PLAYERS)


def _halvings(generator: bars.Generator) -> int:
    """Return by how many halvings the noise of a generator's players is set."""
    return HALVINGS if generator.players == 1 else HALVINGS + 1


def _fullness(generator: bars.Generator, rolls: torch.Tensor) -> torch.Tensor:
    """Return how full rolls (B, C, K, T) on the grid are, (P,): the geometric mean of attacks and of what sounds."""
    played = generator.played(rolls.to(generator.latent_mean.device))
    found = fullness(played.flatten(0, 1), rolls.shape[-1] // GRID_FRAMES)
    attacks, sounding = (each.unflatten(0, played.shape[:2]).mean(0) for each in found)
    return (attacks * sounding).sqrt()

"""LSTM frame prediction: learns the next frames by likelihood alone, and samples them at any temperature.

Hochreiter and Schmidhuber 1997, as in Boulanger-Lewandowski et al. (arXiv 1206.6392) and Graves (arXiv 1308.0850).
Departures: a recurrent step takes several frames, which follow Markov chains of their own (frames.py); every
key also sees itself and its neighbours directly, in weights that all keys share; loudness has a density of its own.
"""

from __future__ import annotations

from torch import nn

from musigan.models import Family
from musigan.models.frames import FrameGenerator, FrameSettings
from musigan.rolls.shape import RollShape


def build(settings: FrameSettings, shape: RollShape) -> nn.ModuleDict:
    """Build the network for rolls of `shape`; there is no critic."""
    return nn.ModuleDict({"generator": FrameGenerator(settings, "lstm", shape)})


FAMILY = Family(
    name="lstm",
    summary="LSTM that predicts frames by likelihood: any length, goes on from your own music, temperature; no critic",
    paper="Hochreiter and Schmidhuber 1997; polyphonic frames: arXiv 1206.6392",
    settings=FrameSettings,
    build=build,
    stages=("likelihood",),
    defaults={"epochs": 60, "batch_size": 8, "likelihood": {"learning_rate": 0.002}},
    losses={"frame_nats": 1.0, "loudness_nats": 0.1},
    extends=True,
    takes_temperature=True,
    formerly={"memory_frames": [], "joint_loudness": False, "key_power": 1.0},
)

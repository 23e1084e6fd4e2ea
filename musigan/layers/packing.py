"""Rolls to patches and back, keys to pitch classes, memory layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import PITCH_CLASSES


def channels_last(networks: nn.ModuleDict) -> nn.ModuleDict:
    """Lay out the networks' weights with channels last, in place, which makes convolutions on a CPU faster."""
    for network in networks.values():
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


def pad_roll(roll: Tensor, keys: int, frames: int) -> Tensor:
    """Pad (B, C, K, T) with zeros above the highest key and after the last frame, to (B, C, keys, frames)."""
    return F.pad(roll, (0, frames - roll.shape[-1], 0, keys - roll.shape[-2]))


def pack(roll: Tensor, patch_keys: int, patch_frames: int) -> Tensor:
    """Move patches of keys by frames into channels: (B, C, K, T) -> (B, C*pk*pt, K/pk, T/pt)."""
    batch, channels, keys, frames = roll.shape
    grid = roll.reshape(batch, channels, keys // patch_keys, patch_keys, frames // patch_frames, patch_frames)
    grid = grid.permute(0, 1, 3, 5, 2, 4)  # (B, C, pk, pt, K/pk, T/pt)
    return grid.reshape(batch, -1, keys // patch_keys, frames // patch_frames)


def unpack(grid: Tensor, channels: int, patch_keys: int, patch_frames: int) -> Tensor:
    """Invert `pack`: (B, C*pk*pt, K/pk, T/pt) -> (B, C, K, T)."""
    batch, _, rows, columns = grid.shape
    roll = grid.reshape(batch, channels, patch_keys, patch_frames, rows, columns)
    roll = roll.permute(0, 1, 4, 2, 5, 3)  # (B, C, K/pk, pk, T/pt, pt)
    return roll.reshape(batch, channels, rows * patch_keys, columns * patch_frames)


def chroma(roll: Tensor, frames: int) -> Tensor:
    """Return loudness by pitch class: (B, C, K, T) -> (B, T / frames, C * 12).

    Octaves are summed and `frames` frames averaged. Pitch classes are counted from the lowest key.
    """
    keys = -(-roll.shape[2] // PITCH_CLASSES) * PITCH_CLASSES
    padded = pad_roll(roll, keys, -(-roll.shape[3] // frames) * frames)
    folded = (
        padded.unflatten(2, (-1, PITCH_CLASSES)).unflatten(4, (-1, frames)).mean(5).sum(2)
    )  # (B, C, 12, T / frames)
    return folded.flatten(1, 2).transpose(1, 2)

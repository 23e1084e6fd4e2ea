"""Music longer than what fits into one pass, in overlapping windows that join exactly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from musigan.models.protocol import TimeDecoder


def in_windows(
    process: Callable[[int, int], Tensor], total: int, size: int, receptive_field: int, first: int = 0
) -> Tensor:
    """Join what `process` makes of windows of the steps `first` to `total`: (..., T), as one pass would make it.

    `process(low, high)` returns (..., t) for the steps `low` to `high`, equally many frames for each step. A window is
    `size` steps and as many on either side as a step depends on, `receptive_field`, of which only the former are kept.
    """
    parts = []
    for start in range(first, total, size):
        stop = min(start + size, total)
        low, high = max(start - receptive_field, 0), min(stop + receptive_field, total)
        window = process(low, high)
        frames = window.shape[-1] // (high - low)  # of a step
        parts.append(window[..., (start - low) * frames : (stop - low) * frames])
    return torch.cat(parts, -1)


def decode_in_windows(generator: TimeDecoder, latents: Tensor, size: int, first: int = 0) -> Tensor:
    """Decode latents (B, L, Z) from step `first` on to roll (B, C, K, T), in windows of `size` steps."""

    def decode(low: int, high: int) -> Tensor:
        return generator.decode(latents[:, low:high], (high - low) * generator.token_frames).roll

    return in_windows(decode, latents.shape[1], size, generator.decoder_receptive_field, first)

"""Pieces as items of a keys store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from musigan.sampling.sampler import Piece, Sampler


StoreItem = tuple[np.ndarray, tuple[str, ...], dict[str, Any]]  # array, dimension names, attributes


def as_item(piece: Piece, sampler: Sampler, seed: int, name: str) -> StoreItem:
    """Convert a piece to an item of a keys store: (chunks, C, K, T) float16, dimension names, attributes."""
    length, frames = sampler.shape.frames, piece.roll.shape[-1]
    count = -(-frames // length)
    padded = np.zeros((*piece.roll.shape[:2], count * length), np.float32)
    padded[..., :frames] = piece.roll
    blocks = padded.reshape(*piece.roll.shape[:2], count, length).transpose(2, 0, 1, 3)  # (chunks, C, K, T)
    chunk_seconds = float(sampler.store["chunk_seconds"])
    attributes: dict[str, Any] = {
        "title": f"{name} {piece.number}",
        "artist": "MusiGAN",
        "source": f"{name}, seed {seed}, piece {piece.number}",
        "level": float(sampler.store.get("level", 0.1)),
        "starts": [index * chunk_seconds for index in range(count)],
        "seconds": frames * float(sampler.store["frame_seconds"]),
        "seed": seed,
        **piece.said,
    }
    if piece.score is not None:
        attributes["score"] = piece.score
    channels = "tracks" if sampler.store.get("tracks") else "channels"
    return np.ascontiguousarray(blocks, np.float16), ("chunks", channels, "keys", "frames"), attributes

"""Songs turned into the other kind of music by a checkpoint that knows both: whole songs, whatever their length.

A song is put together from its pairs or chunks, passed through the network and cut again as it was. Where its length
calls for windows they overlap by all that a layer can see (the generator's `halo`), so there are no seams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musigan import chunks
from musigan.cleaning import without_fragments
from musigan.data import compress, expand
from musigan.errors import CheckpointError, MusiganError, StoreError, UsageError
from musigan.keysettings import KeySettings
from musigan.rendering import piece_roll

if TYPE_CHECKING:
    from torch import nn

    from musigan.models import RollShape
    from musigan.store import Attributes, Item
    from musigan.training.checkpoint import Checkpoint

WINDOW_PATCHES = 512  # of the generator's patches in time, translated at once
Float = npt.NDArray[np.float32]


class Transfer:
    """Two generators, ready to turn music of either kind into the other; `domains` says what the kinds are called."""

    def __init__(
        self, networks: nn.ModuleDict, shape: RollShape, store: Mapping[str, Any], compression: Any, device: Any = "cpu"
    ) -> None:
        self.generator: Any = networks["generator"].to(device).eval()
        self.shape, self.store, self.compression, self.device = shape, dict(store), compression, device
        self.domains: tuple[str, ...] = tuple(map(str, store["domains"]))

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Transfer:
        """From a checkpoint file. Raises CheckpointError where its model does not turn one kind into another."""
        from musigan.training import checkpoint as checkpoints

        return cls.from_checkpoint(checkpoints.load(path), device, str(path))

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, device: str = "cpu", name: str = "the checkpoint") -> Transfer:
        """From a checkpoint in memory: the averaged generators."""
        from musigan.training import checkpoint as checkpoints

        if len(saved.store.get("domains") or ()) != 2:
            raise CheckpointError(
                f"{name} draws new music (model {saved.settings.get('model')}): sample is its tool; transfer takes one "
                "of train-gan --model cyclegan"
            )
        networks = checkpoints.build_networks(saved, averaged=True)
        return cls(networks, saved.shape, saved.store, saved.training_settings().compression, device)

    def kind(self, name: str) -> int:
        """Number of the kind of music called `name`. Raises UsageError that names both."""
        if name not in self.domains:
            found = f"--to {name}: unknown" if name else "--to is missing"
            raise UsageError(f"{found}; this checkpoint knows {' and '.join(self.domains)}")
        return self.domains.index(name)

    def kind_of(self, store_name: str) -> int:
        """Number of the kind that songs of a store of this name are. Raises UsageError that names both."""
        if store_name not in self.domains:
            raise UsageError(
                f"the store is called {store_name}; this checkpoint turns songs of {' and '.join(self.domains)}: call "
                "it as that one of them whose kind it holds"
            )
        return self.domains.index(store_name)

    def check(self, header: Attributes, source: str) -> None:
        """Raise StoreError where a keys store's rolls lie on other keys or frames than the checkpoint's."""
        for name in ("frame_seconds", "low_key", "high_key"):
            if header.get(name) != self.store.get(name):
                raise StoreError(
                    f"{source} has {name} {header.get(name)}, the checkpoint {self.store.get(name)}: make the keys "
                    "with the settings that it was trained with"
                )

    def song(self, roll: Float, to: int) -> Float:
        """A song (C, K, T) in linear loudness as kind `to`, cleaned as the stores were: (C, K, T)."""
        loudness = expand(self._translated(compress(roll, self.compression), to), self.compression)
        if self.store["band"].get("cleaned"):
            return without_fragments(loudness, self.store["frame_seconds"])
        return loudness

    def _translated(self, roll: Float, to: int) -> Float:
        """The same in model space, in windows that join exactly."""
        import torch

        frames, step = roll.shape[-1], self.generator.token_frames
        hop, halo = WINDOW_PATCHES * step, self.generator.halo * step
        found = np.empty_like(roll)
        with torch.no_grad():
            for start in range(0, frames, hop):
                low, stop = max(start - halo, 0), min(start + hop, frames)
                window = torch.from_numpy(np.ascontiguousarray(roll[None, ..., low : stop + halo])).to(self.device)
                part = self.generator.translate(window, to)[0, ..., start - low : stop - low]
                found[..., start:stop] = part.cpu().numpy()
        return found

    def item(self, item: Item, to: int) -> tuple[npt.NDArray[np.float16], tuple[str, ...], dict[str, Any]]:
        """A keys item as kind `to`: its array cut as it was, dimension names, attributes with the title marked.

        Raises MusiganError for rolls of other channels or keys, and for values that are no loudness.
        """
        here, there = (self.shape.channels, self.shape.keys), item.array.shape[-3:-1]
        if here != there:
            raise MusiganError(
                f"has {there[0]} channels x {there[1]} keys, the checkpoint {here[0]} x {here[1]}: make its keys with "
                "the settings that it was trained with"
            )
        rate, paired = 1 / float(self.store["frame_seconds"]), item.dimension_names[0] == "pairs"
        length = item.array.shape[-1]
        song = whole_song(item, float(self.store["frame_seconds"]))
        if not np.isfinite(song).all():
            raise MusiganError("holds values that are not finite")
        span = length * (2 if paired else 1) / rate
        starts = tuple(item.attributes.get("starts") or (index * span for index in range(len(item.array))))
        cut = chunks.cut_like(self.song(song, to), starts, rate, length, paired)
        title = str(item.attributes.get("title") or item.attributes.get("source") or item.name)
        attributes = {**item.attributes, "title": f"{title} (to {self.domains[to]})"}
        return np.ascontiguousarray(cut, np.float16), item.dimension_names, attributes

    def items(self, source: Iterable[Item], to: int) -> Iterator[tuple[Item, Any]]:
        """Each item with what `item` makes of it, or the MusiganError that it raised."""
        for item in source:
            try:
                yield item, self.item(item, to)
            except MusiganError as error:
                yield item, error


def whole_song(item: Item, frame_seconds: float) -> Float:
    """An item's roll in one stretch, (C, K, T), to the end of its last chunk."""
    attributes = {name: value for name, value in item.attributes.items() if name != "seconds"}
    whole = replace(item, info=replace(item.info, attributes=attributes))
    return piece_roll(whole, KeySettings(frame_seconds=frame_seconds))

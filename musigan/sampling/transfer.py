"""Transfer of songs to the other kind of music by a checkpoint trained on both: whole songs of any length.

A song is joined from its pairs or chunks, passed through the network and cut again as it was. Where its length
requires windows, these overlap by the generator's receptive field, so there are no seams.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from musigan.errors import CheckpointError, FieldError, MusiganError, UsageError
from musigan.files.finding import failure_reason
from musigan.machine.reporting import working_on
from musigan.rolls.loudness import Compression, compress, expand
from musigan.rolls.runs import remove_fragments
from musigan.rolls.tracks import on_pitched
from musigan.sampling.sampler import made_of_numbers
from musigan.store import chunks
from musigan.store.alike import AXES, TRAINED, require_alike
from musigan.store.songs import usable, whole_song

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.datasets.record import MusicRecord
    from musigan.machine.reporting import Reporter
    from musigan.models.protocol import Translator
    from musigan.rolls.shape import RollShape
    from musigan.store import Item, Reader, Song, StoreHeader, Writer

WINDOW_PATCHES = 512  # patches of the generator in time, translated in one pass
Float = npt.NDArray[np.float32]


class Transfer:
    """Two generators, ready to turn music of either kind into the other; `domains` are the names of the kinds."""

    def __init__(
        self,
        networks: nn.ModuleDict,
        shape: RollShape,
        store: MusicRecord,
        compression: Compression,
        device: str | torch.device = "cpu",
    ) -> None:
        self.generator = cast("Translator", networks["generator"].to(device).eval())
        self.shape, self.store, self.compression, self.device = shape, store, compression, device
        self.domains = store.domains

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Transfer:
        """Load from a checkpoint file; CheckpointError where its model does not translate between kinds."""
        from musigan.checkpoints import checkpoint as checkpoints

        return cls.from_checkpoint(checkpoints.load(path), device, str(path))

    @classmethod
    def from_checkpoint(cls, saved: Checkpoint, device: str = "cpu", name: str = "the checkpoint") -> Transfer:
        """Build from the averaged generators of a checkpoint in memory; CheckpointError as for `load`."""
        from musigan import models
        from musigan.checkpoints import checkpoint as checkpoints

        settings = saved.training_settings()
        if not models.family(settings.model).translates:
            raise CheckpointError(
                f"{name} draws new music (model {settings.model}); use sample for it: transfer takes a checkpoint of "
                "train-gan --model cyclegan"
            )
        networks = checkpoints.build_networks(saved, averaged=True)
        return cls(networks, saved.shape, saved.store, settings.compression, device)

    def kind(self, name: str) -> int:
        """Return the number of the kind of music called `name`; FieldError, naming both kinds, if it is neither."""
        if name not in self.domains:
            problem = "{to} {0}: unknown" if name else "{to} is missing"
            raise FieldError(problem + "; this checkpoint knows {1}", name, " and ".join(self.domains))
        return self.domains.index(name)

    def kind_of(self, store_name: str) -> int:
        """Return the number of the kind of a store's songs, by its name; UsageError, naming both, if it is neither."""
        if store_name not in self.domains:
            raise UsageError(
                f"the store is called {store_name}; this checkpoint turns songs of {' and '.join(self.domains)}: "
                "rename the store to the kind that it holds"
            )
        return self.domains.index(store_name)

    def check(self, header: StoreHeader, source: str) -> None:
        """Raise StoreError where a keys store has other keys or frames than the checkpoint's."""
        require_alike((source, header), ("the checkpoint", self.store.header), TRAINED, AXES)

    def song(self, roll: Float, to: int) -> Float:
        """Translate a song (C, K, T) in linear loudness to kind `to`, cleaned as the stores were: (C, K, T)."""
        loudness = expand(made_of_numbers(self._translated(compress(roll, self.compression), to)), self.compression)
        if self.store.header.key_settings.cleaned:
            seconds, tracks = self.store.header.frame_seconds, self.store.header.tracks
            return on_pitched(loudness, tracks, lambda pitched: remove_fragments(pitched, seconds))
        return loudness

    def _translated(self, roll: Float, to: int) -> Float:
        """Translate roll (C, K, T) in model space to kind `to`, in windows that join exactly."""
        import torch

        from musigan.models.windows import in_windows

        generator, step = self.generator, self.generator.token_frames

        def translate(low: int, high: int) -> Tensor:
            window = torch.from_numpy(np.ascontiguousarray(roll[..., low:high])).to(self.device)
            return generator.translate(window[None], to)[0].cpu()

        with torch.no_grad():
            windows = roll.shape[-1], WINDOW_PATCHES * step, generator.receptive_field * step  # in frames
            return in_windows(translate, *windows).numpy()

    def item(self, item: Item, to: int) -> tuple[npt.NDArray[np.float16], tuple[str, ...], Song]:
        """Translate a keys item to kind `to`: its array cut as it was, dimension names, song with a new title.

        Raises MusiganError for rolls of other channels or keys, and for values that are not finite.
        """
        own_size, item_size = (self.shape.channels, self.shape.keys), item.array.shape[-3:-1]
        if own_size != item_size:
            raise MusiganError(
                f"has {item_size[0]} channels x {item_size[1]} keys, the checkpoint {own_size[0]} x {own_size[1]}: "
                "make its keys with the settings that it was trained with"
            )
        frame_rate, is_paired = 1 / self.store.header.frame_seconds, item.dimension_names[0] == "pairs"
        length = item.array.shape[-1]
        song = whole_song(item, self.store.header.frame_seconds)
        if not np.isfinite(song).all():
            raise MusiganError("holds values that are not finite")
        chunk_seconds = length * (2 if is_paired else 1) / frame_rate
        starts = item.song.start_times(len(item.array), chunk_seconds)
        blocks = chunks.cut_at(self.song(song, to), starts, frame_rate, length, is_paired)
        kind = self.domains[to]
        content = item.song.content and f"{item.song.content} to {kind}"  # other music than the song's own
        turned_song = replace(item.song, title=f"{item.title} (to {kind})", content=content)
        return np.ascontiguousarray(blocks, np.float16), item.dimension_names, turned_song

    def translate_store(self, reader: Reader, to: int, writer: Writer, reporter: Reporter) -> None:
        """Write each song of a keys store as kind `to`; songs that do not fit are skipped."""
        progress = reporter.progress(reader.header.expected, "songs")
        for item in usable(reader, reporter.skip):
            try:
                translated = self.item(item, to)
            except Exception as error:
                reporter.skip(item.title, failure_reason(error), "that do not fit")
                continue
            with working_on(item.title):
                writer.add(*translated)
            progress.step(item.title)

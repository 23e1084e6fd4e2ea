"""What a checkpoint keeps of the music that it learns from: sampling and synthesis need nothing else of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from musigan.errors import CheckpointError, StoreError
from musigan.rolls.outlines import Outline
from musigan.rolls.tone import Tone
from musigan.store import StoreHeader

REQUIRED = ("sample_rate", "chunk_seconds", "frame_seconds", "low_key", "high_key", "band")
TYPICAL_LEVEL = 0.1  # where no song of the store says its factor back to full scale


class SongStatistics(NamedTuple):
    """Style, tempo (beats a minute) and beats in a bar of one training song."""

    style: str
    tempo: float
    beats: int


@dataclass(frozen=True)
class MusicRecord:
    """A store's header and what its songs have in common; None: the model has no use for it."""

    header: StoreHeader
    level: float = TYPICAL_LEVEL  # the songs' typical factor back to full scale
    styles: tuple[str, ...] | None = None  # in the order of their numbers, from 1
    songs: tuple[SongStatistics, ...] | None = None
    domains: tuple[str, ...] = ()  # names of the two kinds of music of a model that translates
    outlines: tuple[Outline, ...] = ()  # of the songs' stretches, for models that think in beats
    tone: Tone | None = None  # how the songs' notes sound on average; None: no song says

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> MusicRecord:
        """Parse the plain values of a checkpoint. Raises CheckpointError where a store's settings are missing."""
        if missing := [name for name in REQUIRED if name not in values]:
            raise CheckpointError(f"the checkpoint lacks its store's {', '.join(missing)}; train it again")
        extras = ("level", "styles", "manners", "domains", "outlines", "timbre")
        try:
            header = StoreHeader.parse({name: value for name, value in values.items() if name not in extras})
            styles, songs = values.get("styles"), values.get("manners")
            return cls(
                header,
                float(values.get("level", TYPICAL_LEVEL)),
                None if styles is None else tuple(map(str, styles)),
                None if songs is None else tuple(SongStatistics(str(s), float(t), int(n)) for s, t, n in songs),
                tuple(map(str, values.get("domains") or ())),
                tuple(map(Outline.parse, values.get("outlines") or ())),
                Tone.parse(values["timbre"]) if values.get("timbre") else None,
            )
        except (StoreError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's store is damaged ({error}); train it again") from error

    def usage(self, checkpoint: str) -> str:
        """Return the command that makes music with a checkpoint of this record."""
        return f"transfer {checkpoint} --to {self.domains[1]} song.zarr" if self.domains else f"sample {checkpoint}"

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        values = self.header.to_attributes()
        if self.styles is not None:
            values["styles"] = list(self.styles)
        if self.songs is not None:
            values["manners"] = [list(song) for song in self.songs]
        if self.outlines:
            values["outlines"] = [outline.to_values() for outline in self.outlines]
        if self.tone is not None:
            values["timbre"] = self.tone.to_values()
        return {**values, "level": self.level} | ({"domains": list(self.domains)} if self.domains else {})

"""Notes as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NoteEvents:
    """Notes as parallel arrays (N,), in the order in which they begin."""

    groups: np.ndarray  # index into the names of groups or tracks
    pitches: np.ndarray  # of MIDI
    starts: np.ndarray  # seconds
    stops: np.ndarray  # seconds
    velocities: np.ndarray  # 1 to 127

    @classmethod
    def of(cls, rows: Iterable[tuple[float, ...]]) -> NoteEvents:
        """Build the arrays from rows of (group, pitch, start, stop, velocity)."""
        table = np.array(sorted(rows, key=lambda row: (row[2], row[0], row[1])), np.float64).reshape(-1, 5)
        integers = table[:, [0, 1, 4]].astype(np.int64)
        return cls(integers[:, 0], integers[:, 1], table[:, 2], table[:, 3], integers[:, 2])

    def where(self, chosen: np.ndarray) -> NoteEvents:
        """Select notes by a mask or a list of numbers."""
        return NoteEvents(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def with_others(self, others: NoteEvents) -> NoteEvents:
        """Return these notes and others, in the order in which they begin."""
        return NoteEvents.of(row for notes in (self, others) for row in zip(*vars(notes).values(), strict=True))

    def __len__(self) -> int:
        return len(self.pitches)

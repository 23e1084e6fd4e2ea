"""What is kept of a set of rolls to judge it by: features of each roll and a small picture, some 20 kB a roll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """What a roll's axes mean."""

    frame_seconds: float
    low_key: int
    tracks: tuple[str, ...] = ()  # names of instruments, where channels are not sides

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Geometry:
        """What a keys store's or a checkpoint's attributes say."""
        tracks = tuple(map(str, attributes.get("tracks") or ()))
        return cls(float(attributes["frame_seconds"]), int(attributes["low_key"]), tracks)


@dataclass(frozen=True)
class Description:
    """N rolls, described. Rows go together."""

    songs: np.ndarray  # (N,) str: which rolls are of one song
    musical: np.ndarray  # (N, F), named by features.musical_features
    random: np.ndarray  # (N, D)
    notes: np.ndarray  # (N, M), named by notemetrics.NAMES; NaN where undefined
    copies: np.ndarray  # (N,) distance to the nearest training song; NaN where that was not asked
    pictures: np.ndarray  # (N, K, T') float16, T' frames of 0.1 s

    def __len__(self) -> int:
        return len(self.songs)

    def take(self, rows: np.ndarray) -> Description:
        """Some of the rolls."""
        return Description(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(first: Description, second: Description) -> Description:
        """Both sets, one after the other."""
        fields = Description.__dataclass_fields__
        return Description(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in fields))

"""The description by which a set of rolls is judged: features and a small picture, some 20 kB a roll."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Description:
    """A description of N rolls; row n of every field belongs to roll n."""

    songs: np.ndarray  # (N,) str, the song of each roll
    musical: np.ndarray  # (N, F), named by features.musical_features
    random: np.ndarray  # (N, D)
    notes: np.ndarray  # (N, M), named by notemetrics.NAMES; NaN where undefined
    copies: np.ndarray  # (N,) distance to the nearest training song; NaN where copies were not searched for
    pictures: np.ndarray  # (N, K, T') float16, T' frames of 0.1 s

    def __len__(self) -> int:
        return len(self.songs)

    def take(self, rows: np.ndarray) -> Description:
        """Return the description of the rolls `rows`."""
        return Description(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(first: Description, second: Description) -> Description:
        """Concatenate two descriptions."""
        fields = Description.__dataclass_fields__
        return Description(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in fields))

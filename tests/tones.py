"""A small tone for tests: a clarinet's partials, and breath that follows the loudness of all notes."""

from __future__ import annotations

from typing import Any

import numpy as np

from musigan.rolls.tone import BANDS, FEATURES, PARTIALS, REGISTERS, Tone


def tone(density: float = 0.01, **changes: Any) -> Tone:
    """Return a tone whose breath has that density against the power of all notes; `changes` are its fields."""
    partials = np.zeros((REGISTERS, PARTIALS))
    partials[:, [0, 2]] = 0.8, 0.6
    breath = np.zeros((BANDS, FEATURES))
    breath[:, 0], breath[:, 1] = np.log(density), 1.0
    fields = {
        "partials": partials, "fades": np.zeros(REGISTERS), "brightness": np.zeros(REGISTERS),
        "attack_seconds": np.full(REGISTERS, 0.05), "decay_seconds": np.full(REGISTERS, 0.5), "breath": breath,
        "likeness": np.ones(BANDS),
    }  # fmt: skip
    return Tone(**(fields | changes))

"""Seeds for random generators: noise that depends only on a seed and on indices, such as the number of a piece."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """Return a seed for a torch generator, from 0 to 2 ** 63 - 1, from a few integers >= 0; their order matters.

    The hash is that of numpy.random.SeedSequence, the same on every machine. It ignores zeros at the end, so (1,) and
    (1, 0) give the same seed: always use the same count of numbers for one purpose.
    """
    high, low = np.random.SeedSequence(numbers).generate_state(2)  # uint32
    return int(high) << 31 | int(low) >> 1

"""Seeds for the parts of a whole: noise that depends on a seed and a place, a piece's number say, and nothing else."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """A seed for a torch generator, from 0 to 2 ** 63 - 1, out of a few whole numbers (0 or more), the order counting.

    The hash is that of numpy.random.SeedSequence, the same on every machine. It does not see zeros at the end: compare
    seeds of equally many numbers only.
    """
    high, low = np.random.SeedSequence(numbers).generate_state(2)  # uint32
    return int(high) << 31 | int(low) >> 1

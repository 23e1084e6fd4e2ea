from __future__ import annotations

import itertools

from musigan.machine.seeding import seed_of


def test_seeds_stay_what_they_are() -> None:
    """Pieces are drawn again by their seed and number, and runs resumed, by later versions too."""
    assert seed_of(2, 3) == 4528016089952121583
    assert seed_of(1, 0, 17, 1) == 3787735185172955922


def test_every_place_has_its_own_seed() -> None:
    seeds = [seed_of(*place) for place in itertools.product(range(3), range(4), range(50), range(2))]
    assert len(set(seeds)) == len(seeds)
    assert 0 <= min(seeds) < 1 << 61
    assert 1 << 62 < max(seeds) < 1 << 63

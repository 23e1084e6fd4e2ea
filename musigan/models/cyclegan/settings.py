"""Settings of the family cyclegan, in a module of their own, as generators and critics are both built from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from musigan.settings import CHECKED, Count, CountOrNone, NotNegative


@dataclass(frozen=True, config=CHECKED)
class CycleGanSettings:
    """Sizes of the networks. Where a checkpoint says nothing, it is from before there was such a part: none."""

    patch_keys: Count = 4  # keys in a patch
    patch_frames: Count = 10  # frames in a patch
    width: Count = 32  # channels of the generators
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 8)  # in time, of the generators' blocks
    remix: bool = False  # generators also move notes by octaves and sides, shape their decay, and strike drums
    beat: bool = False  # a remix also strikes notes on a regular beat, and ties what was struck so
    most_amount: NotNegative = 0.0  # of each change that a remix makes; 0: any
    critic_width: Count = 32  # channels of the critics' finest feature map
    critic_layers: Count = 2  # each halves the feature map
    statistics: bool = False  # whole rolls are also held against the statistics of their kind
    drum_width: CountOrNone = 0  # channels of the critics that hear drums beside onsets; 0: drums go with all else
    teller_width: CountOrNone = 0  # features of what tells the kinds apart by those statistics; 0 leaves it out
    spectral: bool = False  # spectral normalisation of the critics' layers
    pool: CountOrNone = 32  # earlier generated rolls of each kind that the critics are still shown; 0: the latest only

"""Where drawn music joins given music: what sounds there goes on from what it was, not from how the decoder wrote it.

A decoder that goes on from its own reading of the past begins where that reading ends: a note that it read too loud,
missed or heard where there was none would jump, break off or appear at the joint. What it wrote of the past's last
frame tells which notes these are.

B batch, C channels or tracks, K keys, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

FADE_FRAMES = 50  # over which a note that is held comes from the past's loudness to its own
RELEASE_FRAMES = 10  # in which a note that the decoder missed dies away
FAINTEST = 0.02  # in model space, of what goes on sounding


def joined(past: Tensor, written: Tensor) -> Tensor:
    """What follows the roll `past` (B, C, K, P), all in model space: (B, C, K, T).

    written (B, C, K, 1 + T) is the decoder's: the past's last frame and what follows. Of each key, the note that
    sounds over the joint takes the past's loudness and fades to its own; one that the past alone holds dies away;
    one that is only in what the decoder wrote is left out. Notes that begin later are as they were.
    """
    last, read, after = past[..., -1:], written[..., :1], written[..., 1:]
    first = after[..., :1]
    held = (after > 0).cumprod(-1).bool()  # of each key, the note that sounds in the first frame
    frames = torch.arange(after.shape[-1], device=after.device)
    # A key struck anew at the joint is louder than what it was read as, and stays so.
    change = torch.where(read > 0, last - read, last - first)
    faded = (after + change * (1 - frames / FADE_FRAMES).clamp(min=0)).clamp(FAINTEST, 1.0)
    goes_on = torch.where(held & (last > 0), faded, after)
    imagined = held & (last <= 0) & (read > 0)
    dying = (last * (1 - (frames + 1) / RELEASE_FRAMES).clamp(min=0)).expand_as(after)
    missed = (last > 0) & (read <= 0) & (first <= 0) & (after.cumsum(-1) <= 0)
    return torch.where(missed, dying, goes_on.masked_fill(imagined, 0.0))

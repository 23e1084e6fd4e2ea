"""Joint between given and generated music: notes that sound there continue from the given loudness.

A decoder that continues from its own reading of the past begins where that reading ends. A note that it read too loud,
missed, or imagined where there was none would jump, break off or appear at the joint. Its version of the past's last
frame shows which notes these are.

B batch, C channels or tracks, K keys, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

FADE_FRAMES = 50  # over which a held note fades from the past's loudness to its own
RELEASE_FRAMES = 10  # in which a note that the decoder missed dies away
FAINTEST = 0.02  # least loudness, in model space, of a note that goes on


def joined(past: Tensor, written: Tensor) -> Tensor:
    """Join decoded music to the roll `past` (B, C, K, P), all in model space; return what follows it, (B, C, K, T).

    written (B, C, K, 1 + T) is the decoder's: the past's last frame and what follows. For each key, the note that
    sounds over the joint starts at the past's loudness and fades to its own. A note that only the past holds dies away.
    A note that only the decoder wrote is left out. Notes that begin later stay as they are.
    """
    last, last_decoded, after = past[..., -1:], written[..., :1], written[..., 1:]
    first = after[..., :1]
    joint_notes = (after > 0).cumprod(-1).bool()  # of each key, the note that sounds in the first frame
    frames = torch.arange(after.shape[-1], device=after.device)
    # The change is measured before the joint: a key struck anew there, louder than it was read, stays louder.
    change = torch.where(last_decoded > 0, last - last_decoded, last - first)
    fade = (after + change * (1 - frames / FADE_FRAMES).clamp(min=0)).clamp(FAINTEST, 1.0)
    goes_on = torch.where(joint_notes & (last > 0), fade, after)
    is_imagined = joint_notes & (last <= 0) & (last_decoded > 0)
    release = (last * (1 - (frames + 1) / RELEASE_FRAMES).clamp(min=0)).expand_as(after)
    is_missed = (last > 0) & (last_decoded <= 0) & (first <= 0) & (after.cumsum(-1) <= 0)
    return torch.where(is_missed, release, goes_on.masked_fill(is_imagined, 0.0))

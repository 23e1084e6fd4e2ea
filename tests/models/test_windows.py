"""Windows of a long piece: which are passed on, what is kept of each, and that it is what one pass gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from musigan.models.protocol import Decoded
from musigan.models.windows import decode_in_windows, in_windows


def test_windows_by_hand() -> None:
    """Seven steps of two frames from the second on, three at a time, with one on either side."""
    seen = []

    def frames(low: int, high: int) -> Tensor:
        seen.append((low, high))
        return torch.arange(2.0 * low, 2.0 * high)[None]

    assert in_windows(frames, 7, size=3, receptive_field=1, first=1).tolist() == [list(map(float, range(2, 14)))]
    assert seen == [(0, 5), (3, 7)]


class Smoother:
    """A decoder of tokens of five frames, each the mean of a latent and its neighbours, two on either side."""

    token_frames, decoder_receptive_field = 5, 2

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """(1, L, 1) -> (1, 1, 1, 5 L)."""
        assert frames == 5 * latents.shape[1]
        padded = torch.nn.functional.pad(latents.transpose(1, 2), (2, 2))
        means = torch.nn.functional.avg_pool1d(padded, 5, 1).repeat_interleave(5, 2)
        return Decoded(means[:, None], means[:, None])


@pytest.mark.parametrize("first", [0, 4, 12])
@pytest.mark.parametrize("size", [1, 3, 13, 20])
def test_decoding_in_windows_has_no_seam(first: int, size: int) -> None:
    latents, smoother = torch.randn(1, 13, 1, generator=torch.Generator().manual_seed(1)), Smoother()
    whole = smoother.decode(latents, 65).roll[..., 5 * first :]
    torch.testing.assert_close(decode_in_windows(smoother, latents, size, first), whole)


def test_too_small_a_receptive_field_leaves_seams() -> None:
    latents, smoother = torch.randn(1, 13, 1, generator=torch.Generator().manual_seed(1)), Smoother()
    narrow: Any = Smoother()
    narrow.decoder_receptive_field = 1
    assert (decode_in_windows(narrow, latents, 3) - smoother.decode(latents, 65).roll).abs().max() > 0.01

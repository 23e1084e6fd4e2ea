"""What critics share: minibatch statistics and extra heads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def minibatch_deviation(features: Tensor, group: int = 4) -> Tensor:
    """Return the standard deviation over a group of samples, averaged over features: (B, D) -> (B, 1).

    A critic that sees it can distinguish a batch of lookalikes from real variety (arXiv 1710.10196, section 3). Groups
    are neighbours in the batch; a batch that does not divide into groups is one group.
    """
    batch = features.shape[0]
    size = group if batch % group == 0 else batch
    grouped = features.reshape(batch // size, size, -1)  # (groups, size, D)
    deviation = (grouped.var(1, unbiased=False) + 1e-8).sqrt().mean(1)  # (groups)
    return deviation.repeat_interleave(size)[:, None]


class MinibatchDiscrimination(nn.Module):
    """Closeness of each sample to the others in learned projections: (B, D) -> (B, D + projections).

    arXiv 1606.03498, section 3.2. The sum over the others is a mean here, so that batch size does not scale it.
    """

    def __init__(self, features: int, projections: int, width: int) -> None:
        super().__init__()
        self.projections = projections
        self.project = nn.Linear(features, projections * width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Append each sample's closeness to the others to its features (B, D)."""
        batch = features.shape[0]
        projected = self.project(features).reshape(batch, self.projections, -1)  # (B, P, W)
        distance = (projected[None] - projected[:, None]).abs().sum(-1)  # (B, B, P)
        closeness = (torch.exp(-distance).sum(0) - 1) / max(batch - 1, 1)  # (B, P), without the sample itself
        return torch.cat((features, closeness), 1)


class Heads(nn.ModuleDict):
    """Linear heads for what a critic predicts besides real or fake: features (B, D) -> {name: (B, 1)}."""

    def __init__(self, features: int, names: Iterable[str]) -> None:
        super().__init__({name: nn.Linear(features, 1) for name in names})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Predict every head's value from features (B, D)."""
        return {name: head(features) for name, head in self.items()}

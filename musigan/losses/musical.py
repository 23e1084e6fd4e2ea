"""Musical helper losses: how generated rolls (B, C, K, T) in model space differ from real ones in plain statistics.

Each is 0 when fake and real agree, rises with the fault it names, and is differentiable in `fake`. The batch is a
sample of songs: statistics are taken per song first, then their averages compared, so no song is held to another.
"""

from __future__ import annotations

from torch import Tensor


def no_silence(fake: Tensor, real: Tensor, frames: int = 25) -> Tensor:
    """How much quieter the quietest stretches of fake songs are than those of real ones, in units of real loudness.

    A song's quietest stretch: the lowest mean loudness over any `frames` frames in a row (0.5 s at 20 ms), channels
    and keys averaged. max(0, E quietest(real) - E quietest(fake)) / E loudness(real).
    """

    def quietest(roll: Tensor) -> Tensor:
        """(B, C, K, T) -> scalar: mean over songs of the quietest stretch's loudness."""
        loudness = roll.mean((1, 2))  # (B, T)
        stretches = loudness.unfold(1, min(frames, loudness.shape[1]), 1).mean(-1)  # (B, T - frames + 1)
        return stretches.min(1).values.mean()

    return (quietest(real) - quietest(fake)).clamp(min=0) / (real.mean() + 1e-6)


def density(fake: Tensor, real: Tensor) -> Tensor:
    """Per key and channel, |E loudness(fake) - E loudness(real)| over frames and songs, over real's mean loudness.

    Which keys are used how much: a missing octave or a stuck key both show.
    """
    return (fake.mean((0, 3)) - real.mean((0, 3))).abs().mean() / (real.mean() + 1e-6)


def deviation(fake: Tensor, real: Tensor) -> Tensor:
    """|E std(fake) - E std(real)| over frames, per key, over real's mean std: too flat or too jumpy both show."""
    fake_std = (fake.var(3, unbiased=False) + 1e-6).sqrt().mean((0, 1))  # (K)
    real_std = (real.var(3, unbiased=False) + 1e-6).sqrt().mean((0, 1))
    return (fake_std - real_std).abs().mean() / real_std.mean()


def motion(fake: Tensor, real: Tensor) -> Tensor:
    """|E change(fake) - E change(real)| of loudness from frame to frame, over real's: held notes against flicker."""
    fake_change = fake.diff(dim=3).abs().mean() / (fake.mean() + 1e-3)
    real_change = real.diff(dim=3).abs().mean() / (real.mean() + 1e-3)
    return (fake_change - real_change).abs() / (real_change + 1e-3)


MUSICAL = {"no_silence": no_silence, "density": density, "deviation": deviation, "motion": motion}

"""Musical helper losses: how generated rolls (B, C, K, T) in model space differ from real ones in plain statistics.

Each is 0 when fake and real agree, rises with the fault it names to about 1, and is differentiable in `fake`. The
batch is a sample of songs: statistics are taken per song first, then their averages compared, so no song is held to
another. Stretches of time are counted in frames and named for frames of 20 ms.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FAINT = 0.1  # loudness in model space: a key this loud is heard two times in three
MELODY_LAGS = (10, 25, 50)  # frames from one look at the melody to the next: 0.2, 0.5 and 1 s


def heard(roll: Tensor) -> Tensor:
    """Soft skyline: the probability that key k or a higher one is heard, (B, C, K, T) -> (B, K, T).

    A key is heard with probability 1 - exp(-loudness / FAINT), the loudest channel counting, each key by itself;
    so one at or above k is with 1 - exp(-sum of loudness from k up / FAINT), and what this loses from k to k + 1 is
    the probability that k is the melody: the highest note that sounds (Uitdenbogerd and Zobel, ACM Multimedia 1998).
    """
    loudness = roll.amax(1)  # (B, K, T)
    return 1.0 - torch.exp(-loudness.flip(1).cumsum(1).flip(1) / FAINT)


def silence(roll: Tensor) -> Tensor:
    """Share of frames in which no key is heard, per song: (B, C, K, T) -> (B)."""
    return 1.0 - heard(roll)[:, 0].mean(1)


def melodic_motion(roll: Tensor) -> Tensor:
    """How far the melody is from where it was MELODY_LAGS earlier, in keys, per song: (B, C, K, T) -> (B, lags).

    E |X - Y| over pairs of frames in which something is heard, X and Y their highest keys heard, drawn by `heard`:
    sum over k of P(X >= k > Y) + P(Y >= k > X). Even a melody that stands still is told by this how to move.
    """
    above, frames = heard(roll), roll.shape[3]
    motions = []
    for lag in MELODY_LAGS:
        lag = min(lag, frames - 1)
        before, after = above[..., : frames - lag], above[..., lag:]  # (B, K, T - lag)
        moved = before * (after[:, :1] - after) + after * (before[:, :1] - before)
        pairs = (before[:, 0] * after[:, 0]).sum(1)
        motions.append(moved.sum((1, 2)) / (pairs + 1.0))  # one pair more, for songs that are silent
    return torch.stack(motions, 1)


def melody(fake: Tensor, real: Tensor) -> Tensor:
    """|E motion(fake) - E motion(real)| of the melody over real's own and a key, averaged over MELODY_LAGS.

    A line that stands still and one that jumps about both show; how loud it is, and what is under it, does not.
    """
    fake_motion, real_motion = melodic_motion(fake).mean(0), melodic_motion(real).mean(0)  # (lags)
    return ((fake_motion - real_motion).abs() / (real_motion + 1.0)).mean()


def no_seconds(fake: Tensor, real: Tensor, frames: int = 50) -> Tensor:
    """How many more of fake songs' whole seconds are as good as empty than of real ones', as a share.

    A second (any `frames` frames in a row) of mean loudness l, channels and keys averaged, is empty by exp(-l / s),
    s a tenth of the mean loudness of real songs: max(0, E empty(fake) - E empty(real)). `no_silence` asks how deep a
    song's worst gap is, this how much of the song is missing.
    """
    scale = 0.1 * real.mean() + 1e-4

    def empty(roll: Tensor) -> Tensor:
        """(B, C, K, T) -> scalar: mean over songs of the share of empty seconds."""
        loudness = roll.mean((1, 2))  # (B, T)
        seconds = loudness.unfold(1, min(frames, loudness.shape[1]), 1).mean(-1)  # (B, T - frames + 1)
        return torch.exp(-seconds / scale).mean()

    return (empty(fake) - empty(real)).clamp(min=0)


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


def statistics(fake: Tensor, real: Tensor) -> Tensor:
    """Minimum, maximum and mean over frames, per song, channel and key: |E of fake's - E of real's|, E over songs.

    A key that never falls silent, one never struck as hard, one that sounds too long. Minimum and mean are taken over
    real's mean loudness, the maximum over real's mean maximum; the average of the three, over keys and channels.
    """
    loudness, peak = real.mean() + 1e-3, real.amax(3).mean() + 1e-3
    gaps = [
        (fake.amin(3).mean(0) - real.amin(3).mean(0)).abs().mean() / loudness,
        (fake.amax(3).mean(0) - real.amax(3).mean(0)).abs().mean() / peak,
        (fake.mean((0, 3)) - real.mean((0, 3))).abs().mean() / loudness,
    ]
    return torch.stack(gaps).mean()


def song_divergence(fake: Tensor, real: Tensor) -> Tensor:
    """How much less, or more, fake songs differ from each other in the keys they use than real songs do.

    A song's use of keys: p, its loudness by key over channels and frames, as shares of the whole, a twentieth of a
    real key's mean loudness added to each. D: the mean over ordered pairs of songs of KL(p_i || p_j), in nats.
    |D(fake) - D(real)| / D(real). Songs that are nearly alike, as in a collapse, show and are driven apart; those
    that are the same to the last bit have no side to go to, and a batch of one song says nothing.
    """
    floor = 0.05 * real.mean() + 1e-4

    def divergence(roll: Tensor) -> Tensor:
        """(B, C, K, T) -> scalar, in nats."""
        use = roll.mean((1, 3)) + floor  # (B, K)
        share = use / use.sum(1, keepdim=True)
        songs = len(share)
        entropies = (share * share.log()).sum()  # of all songs, negative
        total = songs * entropies - (share @ share.log().T).sum()  # of all pairs; a song's own with itself is 0
        return total / max(songs * (songs - 1), 1)

    distance = divergence(real)
    return (divergence(fake) - distance).abs() / (distance + 0.01)


MUSICAL = {
    "no_seconds": no_seconds,
    "no_silence": no_silence,
    "melody": melody,
    "density": density,
    "deviation": deviation,
    "statistics": statistics,
    "motion": motion,
    "song_divergence": song_divergence,
}


def told_silence(told: Tensor, roll: Tensor) -> Tensor:
    """Huber error of what a critic's head (B, 1) says of the share of silent frames in rolls (B, C, K, T)."""
    return F.smooth_l1_loss(told[:, 0], silence(roll), beta=0.1)


def told_melody(told: Tensor, roll: Tensor) -> Tensor:
    """The same of the melody's motion in octaves, averaged over MELODY_LAGS."""
    return F.smooth_l1_loss(told[:, 0], melodic_motion(roll).mean(1) / 12.0, beta=0.1)


# What a critic with heads must tell of real and fake rolls alike, so that it cannot overlook it. By the head's name.
TOLD = {"silence": told_silence, "melody": told_melody}

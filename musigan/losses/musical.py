"""Musical helper losses: differences in plain statistics of generated and real rolls (B, C, K, T), in model space.

Each is 0 when fake and real agree, rises to about 1 with the fault it names, and is differentiable in `fake`. The
batch is a sample of songs: statistics are taken per song first and their averages compared, so that no song is
compared with one other song. Stretches of time are counted in frames; comments assume frames of 20 ms. The drums of
recordings are not among the channels: the caller leaves them out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FAINT = 0.1  # loudness in model space: a key this loud is heard with probability 2/3
MELODY_LAGS = (10, 25, 50)  # frames between the two melody positions compared: 0.2, 0.5 and 1 s


def highest_key_probability(roll: Tensor) -> Tensor:
    """Return the probability that key k or a higher one is heard, (B, C, K, T) -> (B, K, T): a soft skyline.

    A key is heard with probability 1 - exp(-loudness / FAINT), taking its loudest channel, independently of other keys.
    So one at or above k is heard with 1 - exp(-sum of loudness from k up / FAINT). The decrease from k to k + 1 is
    the probability that k is the melody: the highest note that sounds (Uitdenbogerd and Zobel, ACM Multimedia 1998).
    """
    loudness = roll.amax(1)  # (B, K, T)
    return 1.0 - torch.exp(-loudness.flip(1).cumsum(1).flip(1) / FAINT)


def silence(roll: Tensor) -> Tensor:
    """Return the share of frames in which no key is heard, per song: (B, C, K, T) -> (B)."""
    return 1.0 - highest_key_probability(roll)[:, 0].mean(1)


def melodic_motion(roll: Tensor) -> Tensor:
    """Return how far the melody is from where it was MELODY_LAGS earlier, in keys, per song: (B, C, K, T) -> (B, lags).

    E |X - Y| over pairs of sounding frames, X and Y their highest keys, distributed as in `highest_key_probability`:
    sum over k of P(X >= k > Y) + P(Y >= k > X). It has a gradient even for a melody that stands still.
    """
    above, frames = highest_key_probability(roll), roll.shape[3]
    motions = []
    for lag in MELODY_LAGS:
        lag = min(lag, frames - 1)
        before, after = above[..., : frames - lag], above[..., lag:]  # (B, K, T - lag)
        moved = before * (after[:, :1] - after) + after * (before[:, :1] - before)
        pairs = (before[:, 0] * after[:, 0]).sum(1)
        motions.append(moved.sum((1, 2)) / (pairs + 1.0))  # one extra pair avoids dividing by 0 for silent songs
    return torch.stack(motions, 1)


def melody(fake: Tensor, real: Tensor) -> Tensor:
    """Return |E motion(fake) - E motion(real)| of the melody over real's and a key, averaged over MELODY_LAGS.

    It rises for a line that stands still and for one that jumps about. Loudness and accompaniment do not count.
    """
    fake_motion, real_motion = melodic_motion(fake).mean(0), melodic_motion(real).mean(0)  # (lags)
    return ((fake_motion - real_motion).abs() / (real_motion + 1.0)).mean()


def no_seconds(fake: Tensor, real: Tensor, frames: int = 50) -> Tensor:
    """Return how much larger the share of nearly empty seconds is in fake songs than in real ones.

    A second (any `frames` frames in a row) of mean loudness l, channels and keys averaged, is empty by exp(-l / s), s a
    tenth of the mean loudness of real songs: max(0, E empty(fake) - E empty(real)). `no_silence` measures how deep a
    song's worst gap is; this loss measures how much of the song is missing.
    """
    scale = 0.1 * real.mean() + 1e-4

    def empty(roll: Tensor) -> Tensor:
        """Return the share of empty seconds, averaged over songs: (B, C, K, T) -> scalar."""
        loudness = roll.mean((1, 2))  # (B, T)
        seconds = loudness.unfold(1, min(frames, loudness.shape[1]), 1).mean(-1)  # (B, T - frames + 1)
        return torch.exp(-seconds / scale).mean()

    return (empty(fake) - empty(real)).clamp(min=0)


def no_silence(fake: Tensor, real: Tensor, frames: int = 25) -> Tensor:
    """Return how much quieter the quietest stretches of fake songs are than real ones', in units of real loudness.

    A song's quietest stretch: the lowest mean loudness over any `frames` frames in a row (0.5 s at 20 ms), channels
    and keys averaged. max(0, E quietest(real) - E quietest(fake)) / E loudness(real).
    """

    def quietest(roll: Tensor) -> Tensor:
        """Return the quietest stretch's loudness, averaged over songs: (B, C, K, T) -> scalar."""
        loudness = roll.mean((1, 2))  # (B, T)
        stretches = loudness.unfold(1, min(frames, loudness.shape[1]), 1).mean(-1)  # (B, T - frames + 1)
        return stretches.min(1).values.mean()

    return (quietest(real) - quietest(fake)).clamp(min=0) / (real.mean() + 1e-6)


def density(fake: Tensor, real: Tensor) -> Tensor:
    """Return |E loudness(fake) - E loudness(real)| per key and channel, over real's mean loudness.

    E is over frames and songs. It compares how much each key is used: it rises for a missing octave and for a stuck
    key.
    """
    return (fake.mean((0, 3)) - real.mean((0, 3))).abs().mean() / (real.mean() + 1e-6)


def deviation(fake: Tensor, real: Tensor) -> Tensor:
    """Return |E std(fake) - E std(real)| over frames, per key, over real's mean std.

    It rises for music that is too flat and for music that is too jumpy.
    """
    fake_std = (fake.var(3, unbiased=False) + 1e-6).sqrt().mean((0, 1))  # (K)
    real_std = (real.var(3, unbiased=False) + 1e-6).sqrt().mean((0, 1))
    return (fake_std - real_std).abs().mean() / real_std.mean()


def motion(fake: Tensor, real: Tensor) -> Tensor:
    """Return |E change(fake) - E change(real)| of loudness from frame to frame, over real's.

    It separates held notes from flicker.
    """
    fake_change = fake.diff(dim=3).abs().mean() / (fake.mean() + 1e-3)
    real_change = real.diff(dim=3).abs().mean() / (real.mean() + 1e-3)
    return (fake_change - real_change).abs() / (real_change + 1e-3)


def statistics(fake: Tensor, real: Tensor) -> Tensor:
    """Compare minimum, maximum and mean over frames, per song, channel and key: |E of fake's - E of real's|.

    E is over songs. It rises for a key that never falls silent, is never struck as hard, or sounds too long. Minimum
    and mean are divided by real's mean loudness, the maximum by real's mean maximum; the average of the three, over
    keys and channels.
    """
    loudness, peak = real.mean() + 1e-3, real.amax(3).mean() + 1e-3
    gaps = [
        (fake.amin(3).mean(0) - real.amin(3).mean(0)).abs().mean() / loudness,
        (fake.amax(3).mean(0) - real.amax(3).mean(0)).abs().mean() / peak,
        (fake.mean((0, 3)) - real.mean((0, 3))).abs().mean() / loudness,
    ]
    return torch.stack(gaps).mean()


def song_divergence(fake: Tensor, real: Tensor) -> Tensor:
    """Compare how much fake songs differ from each other in the keys they use with how much real songs do.

    A song's use of keys: p, its loudness by key over channels and frames, as shares of the total, a twentieth of a real
    key's mean loudness added to each. D: the mean over ordered pairs of songs of KL(p_i || p_j), in nats. |D(fake) -
    D(real)| / D(real). Nearly identical songs, as in a collapse, raise it and are driven apart. Bit-identical songs
    have no gradient that separates them, and a batch of one song gives no information.
    """
    floor = 0.05 * real.mean() + 1e-4

    def divergence(roll: Tensor) -> Tensor:
        """Return D in nats: (B, C, K, T) -> scalar."""
        key_usage = roll.mean((1, 3)) + floor  # (B, K)
        share = key_usage / key_usage.sum(1, keepdim=True)
        songs = len(share)
        entropies = (share * share.log()).sum()  # summed over songs, negative
        total = (
            songs * entropies - (share @ share.log().T).sum()
        )  # summed over pairs; a song paired with itself gives 0
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


def silence_head_loss(predictions: Tensor, roll: Tensor) -> Tensor:
    """Return the Huber error of a critic head's prediction (B, 1) of the share of silent frames in (B, C, K, T)."""
    return F.smooth_l1_loss(predictions[:, 0], silence(roll), beta=0.1)


def melody_head_loss(predictions: Tensor, roll: Tensor) -> Tensor:
    """Return the Huber error of a head's prediction (B, 1) of melodic motion in octaves, averaged over MELODY_LAGS."""
    return F.smooth_l1_loss(predictions[:, 0], melodic_motion(roll).mean(1) / 12.0, beta=0.1)


# Statistics that a critic's heads predict for real and fake rolls, so that the critic cannot ignore them; by head name.
HEAD_LOSSES = {"silence": silence_head_loss, "melody": melody_head_loss}

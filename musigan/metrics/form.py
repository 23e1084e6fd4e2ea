"""Metrics of form: does music come back, when does something new begin, and how does it begin and end.

Conventions. Loudness (K, T) is compressed, the mean of a roll's channels without drums. Bars are given by their edges
in frames, (bars + 1,), not necessarily whole. A bar is described by the loudness of each key in each 16th of it, as a
unit vector; the likeness of two bars is the cosine. Undefined is NaN.

    repetition       the highest mean likeness of quarter-second key profiles, each key's mean taken off, at any lag of
                     2 to 15 s
    likeness n       the mean likeness of bars n bars apart, less the likeness with bars of other songs
    novelty          peaks a minute of the novelty of bars (Foote 2000: a checkerboard kernel on their likeness)
    coming back      the share of phrases of two bars that are much like one at least four bars away
    beginning        the loudness of the first two bars over that of the middle half of the piece, compressed
    ending           the same of the last two bars
"""

from __future__ import annotations

import numpy as np

PROFILE_SECONDS = 0.25
REPEAT_SECONDS = (2.0, 15.0)
STEPS = 16  # a bar
LAGS = (1, 2, 4, 8, 16)  # bars
NOVELTY_BARS = 4  # on either side of a boundary
LEAST_NOVELTY = 0.05  # of the likeness's range
RETURN_BARS = 4  # the least lag of bars that come back
RETURN_LIKENESS = 0.6  # of the way from the mean likeness to 1: more than one bar of a phrase alone can give
SAME_LIKENESS = 0.95  # at which music has come back however alike the whole piece is
PHRASE_BARS = 2  # that come back together
EDGE_BARS = 2
TINY = 1e-6  # the norm of what differs from nothing by rounding alone


def repetition(loudness: np.ndarray, frame_seconds: float) -> float:
    """Return the highest mean likeness of quarter-second key profiles of (K, T) at any lag of 2 to 15 s.

    Each key's mean over the piece is taken off, so that keys that always sound count for nothing.
    """
    count = int(loudness.shape[1] * frame_seconds / PROFILE_SECONDS + 1e-6)
    profiles = mean_between(loudness, np.rint(np.arange(count + 1) * PROFILE_SECONDS / frame_seconds))
    units = _units((profiles - profiles.mean(axis=1, keepdims=True)).T) if count else np.zeros((0, 1))
    low, high = (round(seconds / PROFILE_SECONDS) for seconds in REPEAT_SECONDS)
    if count <= low or not units.any():
        return np.nan
    return max(float((units[lag:] * units[:-lag]).sum(axis=1).mean()) for lag in range(low, min(high + 1, count)))


def mean_between(loudness: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean of (K, T) from each of the rising edges (N + 1,), in frames, to the next, (K, N)."""
    sums = np.concatenate((np.zeros((len(loudness), 1)), np.cumsum(loudness, axis=1, dtype=np.float64)), axis=1)
    whole = np.minimum(edges.astype(int), loudness.shape[1] - 1)
    at_edges = sums[:, whole] + (edges - whole) * loudness[:, whole]
    return np.asarray(np.diff(at_edges, axis=1) / np.maximum(np.diff(edges), 1e-9))


def _units(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > TINY, norms, np.inf))


def bar_vectors(loudness: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return each bar of (K, T) as a unit vector, (bars, K * 16); a silent bar is zero."""
    count = max(len(edges) - 1, 0)
    if not count:
        return np.zeros((0, len(loudness) * STEPS))
    steps = np.interp(np.arange(count * STEPS + 1) / STEPS, np.arange(count + 1), edges)
    cells = mean_between(loudness, steps).reshape(len(loudness), count, STEPS)
    return _units(cells.transpose(1, 0, 2).reshape(count, -1))


def likeness_at(bars: np.ndarray, lag: int) -> float:
    """Return the mean likeness of bars (N, D) `lag` bars apart; NaN where there are none."""
    return float((bars[lag:] * bars[:-lag]).sum(axis=1).mean()) if len(bars) > lag else np.nan


def novelty(bars: np.ndarray) -> np.ndarray:
    """Return how new the music is at each edge between bars (N, D), (N - 1,), 0 at most where nothing changes.

    The likeness within the four bars before and within the four after, less that between them, over 2: the
    checkerboard kernel with a Gaussian taper.
    """
    likeness = bars @ bars.T
    values = np.zeros(max(len(bars) - 1, 0))
    for edge in range(1, len(bars)):
        low, high = max(edge - NOVELTY_BARS, 0), min(edge + NOVELTY_BARS, len(bars))
        offsets = np.arange(low, high) - edge + 0.5
        taper = np.exp(-0.5 * (offsets / (NOVELTY_BARS / 2)) ** 2)
        weights, is_after = np.outer(taper, taper), offsets > 0
        is_same_side = is_after[:, None] == is_after
        block = likeness[low:high, low:high]
        off_diagonal = weights * (1 - np.eye(high - low))  # a bar is always like itself
        within = (block * off_diagonal)[is_same_side].sum() / max(off_diagonal[is_same_side].sum(), 1e-9)
        between = (block * weights)[~is_same_side].sum() / weights[~is_same_side].sum()
        values[edge - 1] = (within - between) / 2
    return values


def novelty_peaks(bars: np.ndarray, minutes: float) -> float:
    """Return the count of novelty's peaks a minute; NaN for fewer bars than the kernel sees."""
    if len(bars) < 2 * NOVELTY_BARS:
        return np.nan
    values = novelty(bars)
    # The kernel is cut short at the ends.
    inner = range(NOVELTY_BARS - 1, len(values) - NOVELTY_BARS + 1)
    peaks = [
        edge
        for edge in inner
        if values[edge] >= LEAST_NOVELTY and values[edge] == values[max(edge - 2, 0) : edge + 3].max()
    ]
    return len(peaks) / minutes


def share_coming_back(bars: np.ndarray) -> float:
    """Return the share of phrases of two of the bars (N, D) that are much like one at least four bars away.

    Single bars would not do: in any order of a song's bars each finds one like it. NaN for fewer than eight bars.
    """
    if len(bars) < 2 * RETURN_BARS or not bars.any():
        return np.nan
    likeness = bars @ bars.T
    count = len(bars) - PHRASE_BARS + 1
    phrases = sum(likeness[bar : bar + count, bar : bar + count] for bar in range(PHRASE_BARS)) / PHRASE_BARS
    is_far = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) >= RETURN_BARS
    usual = float(phrases[is_far].mean())
    best = np.where(is_far, phrases, -1.0).max(axis=1)
    return float((best >= min(usual + RETURN_LIKENESS * (1 - usual), SAME_LIKENESS)).mean())


def edge_loudness(loudness: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """Return the loudness of the first and of the last two bars of (K, T) over that of the middle half."""
    if len(edges) - 1 < 4 * EDGE_BARS:
        return np.nan, np.nan
    frame_loudness = loudness.sum(axis=0)
    frames = len(frame_loudness)
    middle = frame_loudness[frames // 4 : frames - frames // 4].mean()
    if middle <= 0:
        return np.nan, np.nan
    first = frame_loudness[: round(edges[EDGE_BARS])].mean()
    last = frame_loudness[round(edges[-1 - EDGE_BARS]) :].mean()
    return float(first / middle), float(last / middle)


def form_values(
    loudness: np.ndarray, bars: np.ndarray, edges: np.ndarray, frame_seconds: float, whole: tuple[bool, bool]
) -> dict[str, float]:
    """Return the metrics by name of (K, T) with these bars (N, D) and their edges in frames.

    The likeness at a lag is that of the bars alone: what they have in common with other songs' is for the caller to
    take off. whole: whether the piece has the beginning, and the ending, of its song.
    """
    beginning, ending = edge_loudness(loudness, edges)
    return {
        "repetition": repetition(loudness, frame_seconds),
        **{f"likeness {lag}": likeness_at(bars, lag) for lag in LAGS},
        "novelty": novelty_peaks(bars, loudness.shape[1] * frame_seconds / 60),
        "coming back": share_coming_back(bars),
        "beginning": beginning if whole[0] else np.nan,
        "ending": ending if whole[1] else np.nan,
    }

"""Is it learning? One plain line from the figures of the evaluations so far, with what to try.

An evaluation holds, by metric, the value of the samples, of the floor (training songs), and of baselines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Metrics = Mapping[str, Mapping[str, float | None]]  # metric -> row -> value

SAMPLES, FLOOR, HELD_OUT = "samples", "floor", "held-out"
DISTANCES = ("Frechet, musical", "Frechet, random net")
FEW_KINDS = 0.4  # diversity of samples against real rolls, under which they are too much alike
MANY_COPIES = 0.1  # share of samples that are pieces of training songs
MANY_EMPTY = 0.5  # share of bars without a note
NEAR = 1.3  # times the floor's distance
BETTER = 0.97  # of the smallest distance so far counts as progress
PATIENCE = 3  # evaluations without progress


def distance(metrics: Metrics) -> float:
    """Distance of the samples to held-out songs, in units of the floor's: the mean over DISTANCES; NaN if unknown."""
    shares = []
    for name in DISTANCES:
        found = metrics.get(name, {})
        sample, floor = found.get(SAMPLES), found.get(FLOOR)
        if sample is not None and floor is not None and floor > 0:
            shares.append(sample / floor)
    return sum(shares) / len(shares) if len(shares) == len(DISTANCES) else math.nan


def verdict(evaluations: Sequence[Metrics]) -> str:
    """What the last of the evaluations says, after those before it: a word, the reason, and what to try."""
    latest = evaluations[-1]
    now, before = distance(latest), [distance(one) for one in evaluations[:-1]]
    copies, kinds, empty = (latest.get(name, {}).get(SAMPLES) for name in ("copies", "diversity", "empty bars"))
    if copies is not None and copies > MANY_COPIES and copies > 3 * (latest["copies"].get(FLOOR) or 0):
        return (
            f"memorising: {copies:.0%} of the samples are pieces of training songs; try more songs, "
            "a larger augment.transpose_keys, or fewer epochs"
        )
    if empty is not None and empty > MANY_EMPTY:
        return f"silent: {empty:.0%} of the samples' bars are empty; train longer, or raise loss_weights.no_silence"
    if kinds is not None and kinds < FEW_KINDS:
        return (
            f"collapsed: samples differ from each other {kinds:.2g} times as much as real rolls do; "
            "wait while the transformer is taught; in the game, go on from best.pt with a lower "
            "adversarial.learning_rate"
        )
    if math.isnan(now):
        return "unknown: the distance to held-out songs could not be measured"
    reached = f"{now:.2g} times as far from held-out songs as the training songs are"
    known = [value for value in before if not math.isnan(value)]
    if now <= NEAR:
        return f"close: {reached}; listen, and compare with evaluate"
    if not known:
        return f"begun: {reached}"
    best, stale = _progress([*known, now])
    if not stale:
        return f"learning: {reached}, {best:.2g} before"
    if stale >= PATIENCE:
        better = "best.pt is the better one; " if now > min(known) else ""
        return (
            f"stuck: {reached}, hardly better than {best:.2g} for {stale} evaluations; {better}"
            "try more songs, or --preset medium on a GPU"
        )
    return f"wavering: {reached}, {best:.2g} before; {PATIENCE - stale} more evaluations without progress mean stuck"


def _progress(distances: Sequence[float]) -> tuple[float, int]:
    """The mark that the last of two or more distances had to beat, and how many in a row did not beat theirs.

    A mark moves only by progress that counts, so many small steps ahead are progress once they add up.
    """
    mark, beaten, stale = distances[0], distances[0], 0
    for value in distances[1:]:
        beaten = mark
        mark, stale = (value, 0) if value < BETTER * mark else (mark, stale + 1)
    return beaten, stale

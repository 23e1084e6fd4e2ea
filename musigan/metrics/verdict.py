"""The verdict on samples in words, from their metrics and those of songs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Metrics = Mapping[str, Mapping[str, float | None]]  # metric -> row -> value

SAMPLES, FLOOR, HELD_OUT = "samples", "floor", "held-out"
DISTANCES = ("Frechet, musical", "Frechet, random net")
FEW_KINDS = 0.4  # diversity relative to real rolls, below which samples are too much alike
MANY_COPIES = 0.1  # share of samples copied from training songs
MANY_EMPTY = 0.5  # share of bars without a note
NEAR = 1.3  # times the floor's distance counts as close
BETTER = 0.97  # times the smallest distance so far counts as progress
PATIENCE = 3  # evaluations without progress that mean stuck


def distance(metrics: Metrics) -> float:
    """Return the samples' distance to held-out songs relative to the floor's, mean over DISTANCES; NaN if unknown."""
    ratios = []
    for name in DISTANCES:
        values = metrics.get(name, {})
        sample, floor = values.get(SAMPLES), values.get(FLOOR)
        if sample is not None and floor is not None and floor > 0:
            ratios.append(sample / floor)
    return sum(ratios) / len(ratios) if len(ratios) == len(DISTANCES) else math.nan


def verdict(evaluations: Sequence[Metrics]) -> str:
    """Return the verdict on the last evaluation of a training, given those before: a word, the reason, what to try."""
    latest = evaluations[-1]
    last_distance, earlier_distances = distance(latest), [distance(one) for one in evaluations[:-1]]
    found = _fault_or_success(latest)
    if found:
        return found
    distance_text = _distance_text(last_distance)
    known_distances = [value for value in earlier_distances if not math.isnan(value)]
    if not known_distances:
        return f"begun: {distance_text}"
    best, stale = _progress([*known_distances, last_distance])
    if not stale:
        return f"learning: {distance_text}, {best:.2g} before"
    if stale >= PATIENCE:
        better = "best.pt is the better one; " if last_distance > min(known_distances) else ""
        return (
            f"stuck: {distance_text}, hardly better than {best:.2g} for {stale} evaluations; {better}"
            "try more songs, or --preset medium on a GPU"
        )
    return (
        f"wavering: {distance_text}, {best:.2g} before; {PATIENCE - stale} more evaluations without progress mean stuck"
    )


def verdict_once(metrics: Metrics) -> str:
    """Return the verdict on samples by themselves, whatever was before them."""
    return _fault_or_success(metrics) or f"far: {_distance_text(distance(metrics))}"


def _distance_text(value: float) -> str:
    return f"{value:.2g} times as far from held-out songs as the training songs are"


def _fault_or_success(metrics: Metrics) -> str:
    """Return what there is to say of one evaluation alone; "" where samples are merely far from music."""
    copies, diversity, empty_bars = (
        metrics.get(name, {}).get(SAMPLES) for name in ("copies", "diversity", "empty bars")
    )
    if copies is not None and copies > MANY_COPIES and copies > 3 * (metrics["copies"].get(FLOOR) or 0):
        return (
            f"memorising: {copies:.0%} of the samples are pieces of training songs; try more songs, "
            "a larger augment.transpose_keys, or fewer epochs"
        )
    if empty_bars is not None and empty_bars > MANY_EMPTY:
        return (
            f"silent: {empty_bars:.0%} of the samples' bars are empty; train longer, or raise loss_weights.no_silence"
        )
    if diversity is not None and diversity < FEW_KINDS:
        return (
            f"collapsed: samples differ from each other {diversity:.2g} times as much as real rolls do; "
            "wait while the transformer is trained; in the adversarial stage, go on from best.pt with a lower "
            "adversarial.learning_rate"
        )
    if math.isnan(distance(metrics)):
        return "unknown: the distance to held-out songs could not be measured"
    if distance(metrics) <= NEAR:
        return f"close: {_distance_text(distance(metrics))}; listen to it"
    return ""


def _progress(distances: Sequence[float]) -> tuple[float, int]:
    """Return the distance that the last of two or more had to beat, and how many in a row made no progress.

    The distance to beat changes only with progress that counts (BETTER), so many small gains count once they add up.
    """
    best, to_beat, stale = distances[0], distances[0], 0
    for value in distances[1:]:
        to_beat = best
        best, stale = (value, 0) if value < BETTER * best else (best, stale + 1)
    return to_beat, stale

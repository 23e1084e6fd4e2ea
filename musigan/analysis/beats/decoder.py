"""From activations to beats: dynamic programming over tempo, then over bars.

Conventions: activations (T, 2) are logits that a beat, and that a downbeat, falls in each frame; a time in seconds is
that of a frame's middle, moved to the peak between frames; an interval is the time from one beat to the next.

Beats are the path through (frame, interval) of the highest total logit, less what changes of tempo cost, as in the bar
pointer model (Krebs, Böck and Widmer, ISMIR 2015) but with one state for each beat instead of each frame, which NumPy
handles a dozen frames at a time. Bars are the path through (meter, place in the bar) over these beats.
"""

from __future__ import annotations

import numpy as np

from musigan.rolls.beats import TEMPI, Beats

FRAME_SECONDS = 0.02
TEMPO_STEP = 0.045  # between two intervals, as a share
TEMPO_COST = 60.0  # for a change of tempo by a factor e
LARGEST_CHANGE = 1  # steps from one beat to the next
BEAT_LIMIT = 4.0  # logits beyond this count as this
BEAT_BIAS = 0.5  # added to each beat's logit
TEMPO_WEIGHT = 2.0  # of the logarithm of a tempo's probability, a second
TEMPO_LIMIT = 3.0  # below which a tempo's logarithm does not count
METERS = {2: -24.0, 3: -2.0, 4: 0.0, 5: -4.0, 6: -4.0, 7: -6.0}  # beats in a bar, and their prior
METER_COST = 8.0  # for another meter
DOWNBEAT_LIMIT = 4.0
DOWNBEAT_BIAS = 0.5  # added to each beat's
EVEN_ACTIVATION, CONFIDENCE_SLOPE = 0.4, 12.0  # of the logistic function of the confidence


def decode(activations: np.ndarray, tempo_logits: np.ndarray) -> Beats:
    """Return the beats that the logits (T, 2) of a song, and those (N,) of its tempo, suggest."""
    frames = track_beats(activations[:, 0], tempo_scores(tempo_logits))
    if len(frames) < 2:
        return Beats.none()
    numbers = number_beats(downbeat_scores(activations, frames))
    return Beats(refine(activations[:, 0], frames), numbers, confidence(activations[:, 0], frames))


def intervals() -> np.ndarray:
    """Return the intervals looked for, in frames, rising in equal ratios."""
    shortest, longest = 60 / TEMPI[1] / FRAME_SECONDS, 60 / TEMPI[0] / FRAME_SECONDS
    return np.geomspace(shortest, longest, 1 + round(np.log(longest / shortest) / TEMPO_STEP))


def tempo_scores(tempo_logits: np.ndarray) -> np.ndarray:
    """Return the score of a beat after each interval, for logits (N,) of tempi in equal ratios from TEMPI[0] to [1].

    The longer a beat, the more it counts, so that the score is one of seconds.
    """
    spans = intervals()
    logs = tempo_logits - np.log(np.exp(tempo_logits - tempo_logits.max()).sum()) - tempo_logits.max()
    places = np.log(60 / (spans * FRAME_SECONDS) / TEMPI[0]) / np.log(TEMPI[1] / TEMPI[0]) * (len(logs) - 1)
    likely = np.maximum(np.interp(places, np.arange(len(logs)), logs), -TEMPO_LIMIT)
    return TEMPO_WEIGHT * likely * spans * FRAME_SECONDS


def track_beats(logits: np.ndarray, tempi: np.ndarray) -> np.ndarray:
    """Return the frames of beats on the best path through logits (T,), given the score of each interval."""
    spans = intervals()
    frames, states = len(logits), len(spans)
    lower, longest = np.floor(spans).astype(int), int(np.ceil(spans[-1]))
    if frames <= longest:
        return np.zeros(0, int)
    gain = np.clip(logits, -BEAT_LIMIT, BEAT_LIMIT).astype(np.float32) + np.float32(BEAT_BIAS)
    gain = gain[:, None] + tempi.astype(np.float32)  # (T, I)
    # Rows before `longest` stand for a beat before the song, which costs nothing.
    best = np.zeros((longest + frames, states), np.float32)
    left = np.zeros((longest + frames, states), np.float32)  # best score of a path that goes on with this interval
    flat, block = left.reshape(-1), int(lower[0])
    back = ((np.arange(block)[:, None] + longest - lower) * states + np.arange(states)).reshape(-1)
    for first in range(0, frames, block):
        stop = min(first + block, frames)
        origin = back[: (stop - first) * states] + first * states
        came = np.maximum(flat.take(origin), flat.take(origin - states)).reshape(-1, states)
        came += gain[first:stop]
        best[longest + first : longest + stop] = came
        spread(came, left[longest + first : longest + stop])
    return trace(best, left, lower, longest)


def spread(scores: np.ndarray, result: np.ndarray) -> None:
    """Write for each interval (N, I) the best score of a neighbour less the cost of the change."""
    result[:] = scores
    for step in range(1, LARGEST_CHANGE + 1):
        less = scores - np.float32(TEMPO_COST * TEMPO_STEP * step)
        np.maximum(result[:, step:], less[:, :-step], out=result[:, step:])
        np.maximum(result[:, :-step], less[:, step:], out=result[:, :-step])


def trace(best: np.ndarray, left: np.ndarray, lower: np.ndarray, longest: int) -> np.ndarray:
    """Return the frames of the best path's beats, which ends less than an interval before the end."""
    rows = np.arange(len(best) - longest, len(best))
    late = len(best) - rows[:, None] > lower[None] + 1  # another beat would have fitted
    ends = np.where(late, -np.inf, best[rows])
    last, state = divmod(int(ends.argmax()), ends.shape[1])
    row = int(rows[last])
    places = np.arange(best.shape[1])
    path = []
    while row >= longest:
        path.append(row - longest)
        back = row - int(lower[state])
        row = back if left[back, state] >= left[back - 1, state] else back - 1
        change = np.abs(places - state)
        scores = np.where(change <= LARGEST_CHANGE, best[row] - TEMPO_COST * TEMPO_STEP * change, -np.inf)
        state = int(scores.argmax())
    return np.array(path[::-1], int)


def refine(logits: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the seconds of beats, at the centre of the activation around each frame."""
    strength = np.pad(1 / (1 + np.exp(-logits)), 2)
    near = np.stack([strength[frames + 2 + offset] for offset in (-1, 0, 1)])
    shift = (near[2] - near[0]) / (near.sum(axis=0) + 0.05)
    return np.asarray(np.maximum(frames + 0.5 + np.clip(shift, -1, 1), 0.0) * FRAME_SECONDS)


def downbeat_scores(activations: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the logarithm of the odds that each beat, being one, is a downbeat, (N,)."""
    strength = np.pad(1 / (1 + np.exp(-activations)), ((2, 2), (0, 0)))
    beat, downbeat = np.max([strength[frames + 2 + offset] for offset in (-1, 0, 1)], axis=0).T
    odds = (downbeat + 0.01) / (np.maximum(beat - downbeat, 0) + 0.01)
    return np.clip(np.log(odds), -DOWNBEAT_LIMIT, DOWNBEAT_LIMIT) + DOWNBEAT_BIAS


def number_beats(scores: np.ndarray) -> np.ndarray:
    """Return each beat's number in its bar on the best path from bar to bar, for downbeat scores (N,)."""
    meters, prior = np.array(list(METERS)), np.array(list(METERS.values()))
    beats, longest, columns = len(scores), int(max(METERS)), np.arange(len(METERS))
    # starts[i + longest, m]: best score of bars up to one of meter m that starts at beat i, perhaps before the song.
    starts = np.tile(prior, (longest + beats, 1))
    origins = np.zeros((longest + beats, len(meters)), int)
    for row in range(longest, longest + beats):
        ends = starts[row - meters, columns]
        change = ends.max() - METER_COST + prior
        origins[row] = np.where(change > ends, ends.argmax(), columns)
        starts[row] = np.maximum(ends, change) + scores[row - longest]
    rows = np.arange(longest + beats)[:, None]
    row, column = divmod(int(np.where(rows + meters >= longest + beats, starts, -np.inf).argmax()), len(meters))
    numbers = np.ones(longest + beats + longest, int)
    while True:
        numbers[row : row + meters[column]] = np.arange(1, meters[column] + 1)
        if row <= longest:
            return numbers[longest : longest + beats]
        column = int(origins[row, column])
        row -= int(meters[column])


def confidence(logits: np.ndarray, frames: np.ndarray) -> float:
    """Return how much to trust beats, 0 to 1: a logistic function of the mean activation on them.

    Measured: .44 and more on recordings with a beat, .24 and less on notes scattered at random (docs/beats.md).
    """
    strength = np.pad(1 / (1 + np.exp(-logits)), 1)
    on_beats = np.max([strength[frames + 1 + offset] for offset in (-1, 0, 1)], axis=0).mean()
    return float(1 / (1 + np.exp(-CONFIDENCE_SLOPE * (on_beats - EVEN_ACTIVATION))))

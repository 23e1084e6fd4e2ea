"""The evaluation of pieces: rhythm and form of half a minute and more, where rolls of 10 s show neither.

`measure_pieces` gives each metric's value for each piece of a set; `compare_pieces` holds a set against a reference, as
estimates with intervals; `evaluate_pieces` makes the rows of a table: held-out songs, other songs (the floor),
samples, and baselines that a judge must catch. See rhythm.py and form.py for the metrics and bars.py for pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from musigan.errors import MusiganError
from musigan.machine.parallel import ordered_map
from musigan.machine.reporting import counted
from musigan.metrics.bars import Piece, bar_edges, beats_of
from musigan.metrics.describing import as_sides
from musigan.metrics.drawing import evenly
from musigan.metrics.estimates import UNDEFINED, Estimate, Metric, Resampler, deviation_of, is_told_apart, mean_of
from musigan.metrics.form import LAGS, bar_vectors, form_values
from musigan.metrics.piecebaselines import PIECE_BASELINES
from musigan.metrics.piecewords import rhythm_and_form
from musigan.metrics.rhythm import jensen_shannon, pulse, rhythm_values
from musigan.rolls.beats import onset_strength
from musigan.rolls.loudness import compress
from musigan.rolls.notes import find_notes
from musigan.rolls.shape import Geometry
from musigan.rolls.tracks import is_recording, mix_channels, mix_pitched, sides_or_tracks

RHYTHM = (
    Metric("pulse", "rhythm", "reference", -1, 1, "How regularly onsets come back, .25 to 2 s later. .25 is no beat."),
    Metric("pulse with drums", "rhythm", "reference", -1, 1, "The same of a recording and its drums together."),
    Metric("grid", "rhythm", "reference", 0, 1, "How well notes meet the best steady eighths. .17 is chance."),
    Metric(
        "grid share", "rhythm", "reference", -1, 1, "How many notes meet an eighth of the found beats. 0 is chance."
    ),
    Metric("tempo steadiness", "rhythm", "reference", -1, 1, "How much the pulse stays the same. 1 is one tempo."),
    Metric("onset places", "rhythm", "low", 0, 1, "How unlike the songs' are places in the bar. Lower is better."),
    Metric("accents", "rhythm", "reference", 0, 1, "How unequal the places of a bar are. 0 is all alike."),
    Metric(
        "swing", "rhythm", "reference", meaning="A beat's first eighth over its second. 1 is straight, 2 a shuffle."
    ),
    Metric(
        "sharpness", "rhythm", "reference", 0, 1, "How much begins in the strongest 5 % of frames. .05 is no attack."
    ),
    Metric(
        "groove consistency", "rhythm", "reference", 0, 1, "How alike onsets of successive bars are. 1 is the same."
    ),
)
FORM = (
    Metric("repetition", "form", "reference", -1, 1, "How alike the music is to itself at the best lag of 2 to 15 s."),
    *(
        Metric(
            f"likeness {lag}", "form", "reference", -1, 1,
            f"How alike bars are that are {lag} apart, over bars of different songs.",
        )
        for lag in LAGS
    ),
    Metric("novelty", "form", "reference", meaning="How often a minute something new begins."),
    Metric("coming back", "form", "reference", 0, 1, "How much of a piece comes back, four bars later or more."),
    Metric("beginning", "form", "reference", meaning="How loud a song begins. 1 is as loud as its middle."),
    Metric("ending", "form", "reference", meaning="How loud a song ends. 1 is as loud as its middle."),
)  # fmt: skip
METRICS = (*RHYTHM, *FORM)
MEANINGS = {metric.name: metric.meaning for metric in METRICS}
OF_DRUMS = ("pulse with drums",)  # only of recordings whose drums were looked for
LOGGED = ("pulse", "grid", "sharpness", "repetition")  # during training: they need no beats
LIKENESSES = tuple(f"likeness {lag}" for lag in LAGS)
REFERENCE, FLOOR, SAMPLES = "held-out", "floor", "samples"
FEWEST_PIECES = 4


@dataclass(frozen=True)
class PieceOptions:
    """The size and thoroughness of an evaluation of pieces."""

    count: int = 96  # pieces a set, at most; half a minute of stereo is 1 MB
    seed: int = 1
    bootstraps: int = 100
    baselines: tuple[str, ...] = tuple(PIECE_BASELINES)
    jobs: int = 1


@dataclass(frozen=True)
class MeasuredPieces:
    """A set of N pieces measured; row n of every array belongs to piece n."""

    songs: np.ndarray  # (N,) str
    values: Mapping[str, np.ndarray]  # by name of METRICS: (N,), onset places (N, 16); NaN where undefined
    mean_bars: np.ndarray  # (N, D), the mean of the piece's bars as unit vectors

    def __len__(self) -> int:
        return len(self.songs)


def measure_pieces(
    pieces: Iterable[Piece], geometry: Geometry, reference: MeasuredPieces | None = None, jobs: int = 1
) -> MeasuredPieces:
    """Measure pieces by all metrics, in `jobs` parallel threads.

    What bars of different songs have in common, which the likeness of bars is counted over, are the bars of the
    reference's other songs; without a reference the set is its own.
    """

    def work(piece: Piece) -> tuple[str, dict[str, float | np.ndarray], np.ndarray]:
        """Return one piece's song, values and mean bar."""
        roll, frame_seconds = np.asarray(piece.roll, np.float32), geometry.frame_seconds
        # A recording's drums are not listened to, so that figures mean the same whether they were looked for or not.
        heard = sides_or_tracks(roll, geometry.tracks)
        grid = beats_of(replace(piece, roll=heard), frame_seconds)
        mix = mix_pitched if is_recording(geometry.tracks) else mix_channels
        notes = find_notes(mix(roll, geometry.tracks))
        edges = bar_edges(grid, roll.shape[-1], frame_seconds)
        loudness = compress(as_sides(roll, geometry.tracks)).mean(axis=0)
        bars = bar_vectors(loudness, edges)
        whole = piece.has_beginning, piece.has_ending
        values = rhythm_values(heard, notes, grid, frame_seconds)
        values["pulse with drums"] = np.nan if heard is roll else pulse(onset_strength(roll), frame_seconds)
        return piece.song, values | form_values(loudness, bars, edges, frame_seconds, whole), bars.mean(axis=0)

    songs, values, mean_bars = zip(*ordered_map(work, pieces, jobs), strict=True)
    columns = {metric.name: np.array([of_piece[metric.name] for of_piece in values], float) for metric in METRICS}
    measured = MeasuredPieces(np.array(songs), columns, np.stack(mean_bars))
    common = _common_likeness(measured, reference or measured)
    return replace(measured, values=columns | {name: columns[name] - common for name in LIKENESSES})


def _common_likeness(measured: MeasuredPieces, reference: MeasuredPieces) -> np.ndarray:
    """Return the mean likeness of each piece's bars with those of the reference's other songs, (N,)."""
    likeness = measured.mean_bars @ reference.mean_bars.T
    is_other = measured.songs[:, None] != reference.songs
    return np.asarray(
        np.where(is_other.any(axis=1), (likeness * is_other).sum(axis=1) / np.maximum(is_other.sum(axis=1), 1), np.nan)
    )


def compare_pieces(
    reference: MeasuredPieces, measured: MeasuredPieces, seed: int = 0, bootstraps: int = 100
) -> dict[str, Estimate]:
    """Return each metric's mean over the pieces where it is defined, with a 95 % interval from a bootstrap over songs.

    Onset places are the Jensen-Shannon distance of the set's mean from the reference's.
    """
    generator = np.random.default_rng(seed)
    draws = Resampler(measured.songs, generator), Resampler(reference.songs, generator)
    resamples = [(draws[0](), draws[1]()) for _ in range(bootstraps)]
    estimates = {}
    for metric in METRICS:
        values, held_out = measured.values[metric.name], reference.values[metric.name]
        if metric.name in OF_DRUMS and not np.isfinite(held_out).any():
            continue
        value = _statistic(values, held_out)
        deviation = deviation_of([_statistic(values[rows], held_out[others]) for rows, others in resamples])
        estimates[metric.name] = Estimate.of(value, deviation).within(metric) if np.isfinite(value) else UNDEFINED
    return estimates


def _statistic(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean of values (N,); of distributions (N, D) the distance of their mean from the reference's."""
    if values.ndim == 1:
        return mean_of(values)
    means = [rows[np.isfinite(rows).all(axis=1)] for rows in (values, reference)]
    return jensen_shannon(*(rows.mean(axis=0) for rows in means)) if all(map(len, means)) else np.nan


@dataclass
class PieceTable:
    """Estimates by row and metric; the first row is the reference itself."""

    pieces: int  # in every set of songs
    seconds: float  # of each
    rows: dict[str, dict[str, Estimate]]
    songs: dict[str, int]  # by row
    samples: int = 0  # pieces of samples

    def words(self) -> str:
        """Return what the samples' rhythm and form are like beside the held-out songs'; "" without samples."""
        if SAMPLES not in self.rows:
            return ""
        samples, songs = ({name: e.value for name, e in self.rows[row].items()} for row in (SAMPLES, REFERENCE))
        return rhythm_and_form(samples, songs)

    def caught(self) -> dict[str, list[str]]:
        """Return, for the samples and each baseline, the metrics that tell it from the floor."""
        floor = self.rows[FLOOR]
        return {
            row: [
                metric.name
                for metric in METRICS
                if metric.name in floor and is_told_apart(metric, estimates[metric.name], [floor[metric.name]])
            ]
            for row, estimates in self.rows.items()
            if row not in (REFERENCE, FLOOR)
        }


def evaluate_pieces(
    held_out: Sequence[Piece],
    training: Sequence[Piece],
    samples: Sequence[Piece] | None,
    geometry: Geometry,
    options: PieceOptions = PieceOptions(),
    step: Callable[[str], None] = lambda row: None,
) -> PieceTable:
    """Return the table of pieces of equal length: held-out songs', the floor, samples (None: none), and baselines.

    All sets are of one size but for the samples, which may be fewer: values are means, whatever the number.
    Baselines are made of the training pieces. `step` is called with each row's name before the row is measured. Raises
    MusiganError where a set has too few pieces.
    """
    sets = [pieces for pieces in (held_out, training, samples) if pieces is not None]
    count = min(options.count, len(held_out), len(training))
    fewest = min(map(len, sets))
    if fewest < FEWEST_PIECES:
        raise MusiganError(
            f"sets of {counted(fewest, 'pieces')} are too small to judge by; at least {FEWEST_PIECES} are needed"
        )
    generator = np.random.default_rng(options.seed)

    def compared(row: str, pieces: Iterable[Piece]) -> dict[str, Estimate]:
        """Measure one row."""
        step(row)
        measured = measure_pieces(pieces, geometry, reference, options.jobs)
        songs[row] = _songs(measured)
        return compare_pieces(reference, measured, options.seed, options.bootstraps)

    step(REFERENCE)
    chosen = [_drawn(pieces, count, generator) for pieces in sets]
    reference = measure_pieces(chosen[0], geometry, jobs=options.jobs)
    songs = {REFERENCE: _songs(reference)}
    rows = {REFERENCE: compare_pieces(reference, reference, options.seed, options.bootstraps)}
    if samples is not None:
        rows[SAMPLES] = compared(SAMPLES, chosen[2])
    rows[FLOOR] = compared(FLOOR, chosen[1])
    for name in options.baselines:
        rows[name] = compared(name, PIECE_BASELINES[name](chosen[1], geometry, np.random.default_rng(options.seed)))
    frames = held_out[0].roll.shape[-1]
    return PieceTable(count, frames * geometry.frame_seconds, rows, songs, min(count, len(samples or ())))


def _songs(measured: MeasuredPieces) -> int:
    return len(np.unique(measured.songs))


def _drawn(pieces: Sequence[Piece], count: int, generator: np.random.Generator) -> list[Piece]:
    """Draw at most `count` of the pieces, evenly among the songs."""
    songs = np.array([piece.song for piece in pieces])
    return [pieces[number] for number in evenly(songs, count, generator)]

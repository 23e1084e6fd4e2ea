"""Outlines: all that is known of a stretch of music besides its notes, beat for beat.

They are conditions of models that think in beats. In training they are read from songs; a drawn piece follows the
outline of a song that was learned from, or parts of it that were asked for. The plan says which earlier bar each bar is
like, and how much, and the scenes what the music there is like: it is what songs' form is drawn from. Notes are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from musigan.errors import CheckpointError
from musigan.rolls.feel import LEVELS as FEEL_LEVELS
from musigan.rolls.feel import PLACES, feel_of
from musigan.rolls.grid import GRID_FRAMES, MAX_METER, USUAL_METER, Grid
from musigan.rolls.harmony import LEVELS, harmony_of
from musigan.rolls.parts import parts_of
from musigan.rolls.scenes import BLOCK_BEATS, CLASSES, SCENE, SCENES_WITHOUT_DRUMS, STEPS, scene_of, transposed
from musigan.rolls.tracks import is_recording, pitched_channels

LEAST_GAIN = 0.02  # by how much a farther bar must be more alike than a nearer one
QUARTERS = 4  # profiles of keys in a beat, by which bars are compared
COUNTERS = 8  # sines and cosines of the place: periods of 2 to 2^8 beats
NEARNESS = (4.0, 16.0)  # beats over which a beginning or an ending is felt
FEATURES = 2 * MAX_METER + 2 * COUNTERS + 3 + 2 * len(NEARNESS)
USUAL_TEMPO = 120.0
EMPHASIS = 0.25  # power of the likeness that drawn pieces follow
REPLAYED_BEATS = 32  # of a song's end, that it goes on as


@dataclass(frozen=True)
class Outline:
    """Numbers in the bar, plan and circumstances of N beats."""

    numbers: np.ndarray  # (N,), 1 a downbeat
    lags: np.ndarray  # (N,) beats back to the like bar, 0 where none is
    likeness: np.ndarray  # (N,) of the bar and the one `lags` before, 0 to 1
    tempo: float = USUAL_TEMPO  # beats a minute
    meter: int = USUAL_METER
    is_free: bool = False  # of beat
    style: str = ""
    begins: bool = True  # where its song does
    ends: bool = False  # where its song does
    scene: np.ndarray = field(default_factory=lambda: np.zeros((0, SCENE), np.float32))  # (N, SCENE)
    parts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (N, C * FIGURES) of instruments
    harmony: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (N, CLASSES) of instruments
    feel: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (N, PLACES) of instruments

    def __post_init__(self) -> None:
        for name in ("parts", "harmony", "feel"):  # of recordings, and in checkpoints of before there were any
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.zeros((len(self.numbers), 0), np.float32))
        if not len(self.scene):  # in checkpoints of before there were scenes
            object.__setattr__(self, "scene", np.zeros((len(self.numbers), SCENE), np.float32))
        if len(self.scene) != len(self.numbers):
            raise ValueError(f"scenes of {len(self.scene)} beats, and {len(self.numbers)} beats")

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, first: int, count: int) -> Outline:
        """Return `count` beats from `first` on; plans that lead back to before it are none."""
        chosen = slice(first, first + count)
        stop = min(first + count, len(self))
        lags = self.lags[chosen]
        is_inside = (lags > 0) & (lags <= np.arange(len(lags)))
        return replace(
            self, numbers=self.numbers[chosen], lags=np.where(is_inside, lags, 0),
            likeness=np.where(is_inside, self.likeness[chosen], 0.0), begins=self.begins and first == 0,
            ends=self.ends and stop == len(self), **self._around(chosen),
        )  # fmt: skip

    def lasting(self, count: int) -> Outline:
        """Return an outline of `count` beats: cut, or going on as its second half does, again and again."""
        if count <= len(self):
            return replace(self.part(0, count), ends=self.ends)
        half = self._downbeat(len(self) // 2)
        places = np.arange(count)
        places[len(self) :] = half + (places[len(self) :] - len(self)) % max(len(self) - half, 1)
        lags = self.lags[places]
        numbers = self.numbers.copy()
        numbers = np.concatenate((numbers, (numbers[-1] + np.arange(count - len(self))) % self.meter + 1))
        return replace(self, numbers=numbers, lags=np.where(lags <= np.arange(count), lags, 0),
                       likeness=self.likeness[places], **self._around(places))  # fmt: skip

    def going_on(self, count: int) -> Outline:
        """Return an outline of `count` beats more, that go on as the last whole bars do, REPLAYED_BEATS at most.

        Their scenes come again and again, and their plans, which lead back to where the music was.
        """
        known = len(self)
        period = max(min(REPLAYED_BEATS, known) // self.meter * self.meter, min(self.meter, known))
        places = np.concatenate((np.arange(known), known - period + np.arange(count) % period))
        numbers = (self.numbers[-1] + np.arange(count)) % self.meter + 1
        return replace(
            self, numbers=np.concatenate((self.numbers, numbers)), lags=self.lags[places],
            likeness=self.likeness[places], **self._around(places),
        )  # fmt: skip

    def from_downbeat(self) -> Outline:
        """Return the outline without the beats before its first downbeat, beginning where it did."""
        first = int(np.argmax(self.numbers == 1))
        return replace(self.part(first, len(self) - first), begins=self.begins)

    def transposed(self, keys: int) -> Outline:
        """Return the outline of the same music `keys` semitones higher."""
        return replace(self, scene=transposed(self.scene, keys), harmony=np.roll(self.harmony, keys, axis=1))

    def to_follow(self) -> Outline:
        """Return the outline as a drawn piece follows it: its bars more alike than they shall become.

        What is drawn is less like than it was told. Likeness to the power of .25 took repetition from .26 to .31, as in
        the songs that were learned from, and onsets a little nearer to the beat.
        """
        return replace(self, likeness=self.likeness**EMPHASIS)

    def _around(self, places: Any) -> dict[str, Any]:
        """Return what is known around the beats at `places`, by name."""
        return {name: getattr(self, name)[places] for name in ("scene", "parts", "harmony", "feel")}

    def _downbeat(self, place: int) -> int:
        """Return the last downbeat before or at `place`; the first beat where there is none."""
        downbeats = np.flatnonzero(self.numbers[: place + 1] == 1)
        return int(downbeats[-1]) if downbeats.size else 0

    def features(self) -> np.ndarray:
        """Return what a network is told of each beat, (N, FEATURES) float32."""
        count, places = len(self), np.arange(len(self))
        rows = np.zeros((count, FEATURES), np.float32)
        rows[places, np.clip(self.numbers, 1, MAX_METER) - 1] = 1
        rows[:, MAX_METER + min(self.meter, MAX_METER) - 1] = 1
        angles = 2 * np.pi * places[:, None] / 2.0 ** np.arange(1, COUNTERS + 1)
        column = 2 * MAX_METER
        rows[:, column : column + COUNTERS] = np.sin(angles)
        rows[:, column + COUNTERS : column + 2 * COUNTERS] = np.cos(angles)
        column += 2 * COUNTERS
        rows[:, column] = np.log2(self.tempo / USUAL_TEMPO)
        rows[:, column + 1] = self.is_free
        rows[:, column + 2] = self.likeness
        for number, reach in enumerate(NEARNESS):
            rows[:, column + 3 + 2 * number] = np.exp(-places / reach) * self.begins
            rows[:, column + 4 + 2 * number] = np.exp(-(count - 1 - places) / reach) * self.ends
        return rows

    def to_values(self) -> dict[str, Any]:
        """Return the outline as plain values; likeness to the hundredth."""
        return {
            "numbers": self.numbers.tolist(), "lags": self.lags.tolist(),
            "likeness": [round(float(value), 2) for value in self.likeness], "tempo": round(self.tempo, 3),
            "meter": self.meter, "free": self.is_free, "style": self.style, "begins": self.begins, "ends": self.ends,
            "scenes": np.rint(self.scene[::BLOCK_BEATS] * STEPS).astype(int).tolist(),
            **({"parts": np.rint(self.parts * STEPS).astype(int).tolist()} if self.parts.size else {}),
            **({"harmony": np.rint(self.harmony * LEVELS).astype(int).tolist()} if self.harmony.size else {}),
            **({"feel": np.rint(self.feel * FEEL_LEVELS).astype(int).tolist()} if self.feel.size else {}),
        }  # fmt: skip

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Outline:
        """Parse plain values. Raises CheckpointError where they are none of an outline."""
        try:
            numbers, lags = np.array(values["numbers"], int), np.array(values["lags"], int)
            scenes = _scenes(values.get("scenes", ()))
            outline = cls(
                numbers, lags, np.array(values["likeness"], float), float(values["tempo"]), int(values["meter"]),
                bool(values["free"]), str(values["style"]), bool(values["begins"]), bool(values["ends"]),
                np.repeat(scenes, BLOCK_BEATS, axis=0)[: len(numbers)],
                np.array(values.get("parts", ()), np.float32).reshape(len(numbers), -1) / STEPS,
                np.array(values.get("harmony", ()), np.float32).reshape(len(numbers), -1) / LEVELS,
                np.array(values.get("feel", ()), np.float32).reshape(len(numbers), -1) / FEEL_LEVELS,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint's outlines of songs are damaged ({error}); train it again"
            ) from error
        same_length = numbers.shape == lags.shape == outline.likeness.shape == (numbers.size,) and numbers.size > 0
        same_length = same_length and outline.harmony.shape[1] in (0, CLASSES)
        same_length = same_length and outline.feel.shape[1] in (0, PLACES)
        if not same_length or not 1 <= outline.meter <= MAX_METER or not 1 <= outline.tempo <= 1000:
            raise CheckpointError("the checkpoint's outlines of songs are damaged; train it again")
        return outline


def _scenes(values: Any) -> np.ndarray:
    """Return scenes (N, SCENE) from plain values; those of before there were drums are without."""
    table = np.array(values, np.float32)
    if table.ndim == 2 and table.shape[1] == SCENES_WITHOUT_DRUMS:
        table = np.pad(table, ((0, 0), (0, SCENE - SCENES_WITHOUT_DRUMS)))
    return np.asarray(table.reshape(-1, SCENE) / STEPS)


def outline_of(
    roll: np.ndarray, grid: Grid, style: str = "", begins: bool = True, ends: bool = False,
    kit: np.ndarray | None = None, tracks: tuple[str, ...] = (), players: np.ndarray | None = None,
) -> Outline:  # fmt: skip
    """Return the outline of what has a pitch in a roll, (C, K, N * GRID_FRAMES), and of its kit (D, the same).

    Of instruments, which `tracks` names, the roll is that of all, drums too. The outline has the parts of `players`,
    (C', K, the same), and the harmony and the feel of all, if they are given.
    """
    lags, likeness = plan_of(roll, grid)
    around = around_of(roll, grid.numbers, kit, tracks, players)
    return Outline(grid.numbers, lags, likeness, grid.tempo, grid.meter, grid.is_free, style, begins, ends, **around)


def around_of(
    roll: np.ndarray, numbers: np.ndarray, kit: np.ndarray | None, tracks: tuple[str, ...], players: np.ndarray | None
) -> dict[str, Any]:
    """Return scene, (N, SCENE), parts, (N, P), harmony, (N, CLASSES), and feel, (N, PLACES), of each beat, by name.

    `numbers` (N,) are those of the beats in their bars; roll, kit, tracks and players those of `outline_of`. Without
    players there is the scene alone.
    """
    pitched = None if is_recording(tracks) else pitched_channels(roll, tracks)
    around: dict[str, Any] = {"scene": scene_of(roll, kit, pitched)}
    if players is not None:
        around["parts"] = parts_of(players, numbers)
        around["harmony"] = harmony_of(roll if pitched is None else pitched, numbers)
        around["feel"] = feel_of(players)
    return around


def plan_of(roll: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return for each beat of a roll on the grid how many beats back the like bar is, and how alike; (N,) each.

    Likeness is the cosine of two bars' key profiles, a profile a quarter of a beat, without the song's mean profile.
    Of bars that are equally alike the nearest counts. Lags are whole bars of the usual meter.
    """
    count = len(grid)
    profiles = np.asarray(roll, np.float32).mean(0).reshape(-1, count * QUARTERS, GRID_FRAMES // QUARTERS).mean(-1)
    profiles -= profiles.mean(1, keepdims=True)
    beats = profiles.reshape(len(profiles), count, QUARTERS).transpose(1, 0, 2).reshape(count, -1)  # (N, K * 4)
    products = beats @ beats.T
    starts = np.flatnonzero(grid.numbers == 1)
    edges = np.concatenate(([0], starts[starts > 0], [count]))
    lags, likeness = np.zeros(count, int), np.zeros(count)
    for low, high in pairwise(edges):
        bar = np.arange(low, high)
        norm = np.sqrt(products[bar, bar].sum()) + 1e-6
        for lag in range(grid.meter, low + 1, grid.meter):
            earlier = bar - lag
            cosine = products[bar, earlier].sum() / (norm * (np.sqrt(products[earlier, earlier].sum()) + 1e-6))
            if cosine > likeness[low] + LEAST_GAIN:
                lags[bar], likeness[bar] = lag, min(float(cosine), 1.0)
    return lags, likeness


def context_arrays(outline: Outline, style: int, count: int) -> Mapping[str, np.ndarray]:
    """Return what a composer is told of an outline, by name, filled up to `count` beats."""
    missing = count - len(outline)
    return {
        "features": np.pad(outline.features(), ((0, missing), (0, 0))),
        "lags": np.pad(outline.lags.astype(np.int64), (0, missing)),
        "scene": np.pad(outline.scene, ((0, missing), (0, 0))),
        "parts": np.pad(outline.parts, ((0, missing), (0, 0))),
        "harmony": np.pad(outline.harmony, ((0, missing), (0, 0))),
        "feel": np.pad(outline.feel, ((0, missing), (0, 0))),
        "meter": np.asarray(outline.meter, np.int64),
        "style": np.asarray(style, np.int64),
    }

"""The whole judge on small made-up music: what it must not tell apart, what it must, and how its table reads."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.errors import MusiganError
from musigan.metrics import evaluation, sets, table, twosample
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import (
    FLOOR,
    METRICS,
    REFERENCE,
    SAME_SONGS,
    SAMPLES,
    SPLITS,
    Evaluation,
    Options,
    Table,
    evaluate,
)
from musigan.metrics.sets import Collection, RollSet, collection_of, store_set
from musigan.rolls.shape import Geometry
from tests import musicstores
from tests.musicstores import song, write_music, write_songs

FAST = Options(bootstraps=20, splits=4, forest=False)
BARE = dataclasses.replace(FAST, bootstraps=0, splits=0, baselines=(), copies=False)


def music_of(path: Path) -> Collection:
    return collection_of(store.open_reader(str(path), ("keys",)))


def samples_of(path: Path, like: Collection) -> RollSet:
    return store_set(store.open_reader(str(path), ("keys",)), like)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 14 songs `real`, 6 of them held back, and one of 14 others of the same kind, `samples`."""
    folder = tmp_path_factory.mktemp("music")
    write_music(folder / "real")
    write_music(folder / "samples", first_seed=100)
    return folder


@pytest.fixture(scope="module")
def music(folder: Path) -> Collection:
    return music_of(folder / "real")


@pytest.fixture(scope="module")
def full(folder: Path, music: Collection) -> Table:
    return evaluate(music, samples_of(folder / "samples", music), FAST)


def small(tmp_path: Path, **changes: Any) -> Collection:
    """Music of short rolls in no time: 9 songs of 2 x 11 keys x 25 frames, 4 held back."""
    size: dict[str, int] = {"train": 5, "held": 4, "rolls": 8, "keys": 11, "frames": 25, **changes}
    return music_of(write_music(tmp_path / "keys", **size))


def values(row: dict[str, Estimate]) -> dict[str, tuple[float, ...]]:
    """With None for NaN, so that they can be compared."""
    return {name: tuple(None if math.isnan(v) else v for v in dataclasses.astuple(e)) for name, e in row.items()}


# -- sets -------------------------------------------------------------------------------------------------------------


def test_songs_are_on_one_side_only(music: Collection) -> None:
    training, held_out = set(music.training.songs), set(music.held_out.songs)
    assert (len(training), len(held_out)) == (8, 6)
    assert not training & held_out
    assert (len(music.training), len(music.held_out)) == (48, 36)
    assert {name for name, _ in music.training_songs()} == training
    assert music.split == "as the store says"


def test_rolls_are_those_of_the_store(folder: Path, music: Collection) -> None:
    reader = store.open_reader(str(folder / "real"), ("keys",))
    names = [info.name for info in reader.infos() if info.song.split == "validation"]
    rolls = np.concatenate([reader.read(name) for name in names])
    for number, roll in enumerate(music.held_out.rolls()):
        np.testing.assert_allclose(roll, rolls[number], atol=1e-3)


def test_a_store_that_holds_none_back_is_halved_by_content(tmp_path: Path) -> None:
    songs = [song(number, 3, keys=11, frames=25) for number in range(12)]
    assert music_of(write_songs(tmp_path / "many", songs, [None] * 12)).split.startswith("as training divides")
    for name, split, count in (("none", None, 9), ("all", "validation", 12)):
        found = music_of(write_songs(tmp_path / name, songs[:count], [split] * count))
        assert found.split == f"in halves, for the store holds {name} back"
        again = music_of(write_songs(tmp_path / f"{name} again", songs[: count - 1], [split] * (count - 1)))
        assert 1 < len(set(found.held_out.songs)) < count - 1
        # One song fewer moves no other.
        assert set(again.held_out.songs) == set(found.held_out.songs) - {f"{count:06}"}


def test_one_song_is_not_enough(tmp_path: Path) -> None:
    write_songs(tmp_path / "one", [song(1, 20, keys=11, frames=25)], ["train"])
    with pytest.raises(MusiganError, match=r"1 song cannot be divided.*more songs") as caught:
        music_of(tmp_path / "one")
    assert "\n" not in str(caught.value)


def test_songs_of_an_unknown_split_are_refused(tmp_path: Path) -> None:
    songs = [song(number, 3, keys=11, frames=25) for number in range(3)]
    write_songs(tmp_path / "odd", songs, ["train", "validation", "test"])
    with pytest.raises(MusiganError, match=r"test.*expected train or validation"):
        music_of(tmp_path / "odd")


def test_too_few_rolls_are_refused(tmp_path: Path) -> None:
    few = small(tmp_path, rolls=1)
    with pytest.raises(MusiganError, match=r"sets of 2 rolls are too small.*at least 8") as caught:
        evaluate(few, None, BARE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "frame_seconds", "what"),
    [
        ({"keys": 12}, 0.02, "channels, keys and frames"),
        ({"frames": 20}, 0.02, "channels, keys and frames"),
        ({"channels": 1}, 0.02, "channels, keys and frames"),
        ({}, 0.04, "frame length"),
    ],
)
def test_samples_of_another_form_are_refused(
    size: dict[str, int], frame_seconds: float, what: str, tmp_path: Path
) -> None:
    real = small(tmp_path)
    rolls = song(5, 10, **{"keys": 11, "frames": 25, **size})
    header = musicstores.header(rolls.shape[2], rolls.shape[3], frame_seconds)
    write_songs(tmp_path / "other", [rolls], [None], header)
    with pytest.raises(MusiganError, match=f"other: its {what}.*both must be alike") as caught:
        samples_of(tmp_path / "other", real)
    assert "\n" not in str(caught.value)


def test_samples_are_of_no_song_of_the_same_number(folder: Path, music: Collection) -> None:
    samples = samples_of(folder / "samples", music)
    assert len(set(samples.songs)) == 14
    assert not set(samples.songs) & {*music.training.songs, *music.held_out.songs}


def test_rolls_are_drawn_evenly_among_songs() -> None:
    numbers = RollSet(np.repeat(["a", "b", "c"], (1, 5, 30)), lambda number: np.array(number))
    drawn = numbers.drawn(11, seed=3)
    assert {name: int((drawn.songs == name).sum()) for name in "abc"} == {"a": 1, "b": 5, "c": 5}
    assert len({int(roll) for roll in drawn.rolls()}) == 11
    assert [int(roll) for roll in drawn.rolls()] != [int(roll) for roll in numbers.drawn(11, seed=4).rolls()]


@pytest.mark.parametrize("seed", range(5))
def test_one_long_recording_is_not_all_there_is(seed: int) -> None:
    songs = np.repeat([f"{number:02}" for number in range(12)], [700] + [8] * 11)
    rolls = RollSet(songs, lambda number: np.array(number))
    whole = rolls.whole_songs(100, seed)
    assert len(whole) == 100
    assert len(set(whole.songs)) >= 10
    assert (whole.songs == "00").sum() <= 100 - 8 * (len(set(whole.songs)) - 1)
    few = rolls.chosen(np.flatnonzero(songs != "00")).whole_songs(200, seed)
    assert len(few) == 88
    assert len({int(roll) for roll in few.rolls()}) == 88


# -- what is told apart -----------------------------------------------------------------------------------------------


def test_rows_are_in_order_and_of_equal_size(full: Table, folder: Path, music: Collection) -> None:
    assert list(full.rows) == [REFERENCE, SAMPLES, FLOOR, SPLITS, SAME_SONGS, *BASELINES]
    assert full.rolls == 24  # half of the training rolls
    assert full.songs == {REFERENCE: 6, SAMPLES: 14, FLOOR: 8, SPLITS: 6, SAME_SONGS: 8} | dict.fromkeys(BASELINES, 8)
    told: list[str] = []
    bare = evaluate(music, samples_of(folder / "samples", music), BARE, told.append)
    assert list(bare.rows) == [REFERENCE, SAMPLES, FLOOR, SAME_SONGS] == told
    for row in (SAMPLES, FLOOR):
        assert {name: e.value for name, e in bare.rows[row].items() if "cop" not in name and name != "C_T"} == {
            name: e.value for name, e in full.rows[row].items() if "cop" not in name and name != "C_T"
        }


@pytest.mark.parametrize("most", [10, 17])
def test_every_set_has_as_many_rolls(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    measure = evaluation.measure

    def noted(judge: Any, real: Any, fake: Any) -> dict[str, Estimate]:
        sizes.append((len(real), len(fake)))
        return measure(judge, real, fake)

    monkeypatch.setattr(evaluation, "measure", noted)
    lengths = (3, 40, 3, 5, 3, 3, 7, 3, 3, 3)
    splits = ["validation" if number % 2 else "train" for number in range(10)]
    songs = [song(number, length, keys=11, frames=25) for number, length in enumerate(lengths)]
    lopsided = music_of(write_songs(tmp_path / "lopsided", songs, splits))
    fake = samples_of(write_music(tmp_path / "fake", train=5, held=0, keys=11, frames=25), lopsided)
    options = dataclasses.replace(FAST, count=most, splits=12, baselines=("silence",))
    found = evaluate(lopsided, fake, options)
    expected = min(most, 19 // 2)
    assert found.rolls == expected
    assert set(sizes) == {(expected, expected)}
    assert evaluate(lopsided, fake.chosen(np.arange(8)), options).rolls == 8


def test_floor_and_other_songs_are_not_told_apart(full: Table) -> None:
    assert "floor" not in full.caught()
    assert full.caught()[SAMPLES] == []
    for row in (SAMPLES, FLOOR, SPLITS, SAME_SONGS):
        assert full.rows[row]["told apart, logistic"].value < 0.65, row
        assert full.rows[row]["copies"].value == 0, row


@pytest.mark.parametrize(
    ("baseline", "by"),
    [
        ("silence", {"Frechet, musical", "Frechet, random net", "MMD x 1000", "precision", "recall", "coverage",
                     "told apart, logistic", "empty bars", "polyphony", "diversity"}),
        ("mean + noise", {"Frechet, musical", "recall", "told apart, logistic", "used pitch classes", "diversity"}),
        ("shuffled", {"Frechet, musical", "told apart, logistic", "qualified notes", "scale consistency"}),
        ("reversed", {"Frechet, musical", "told apart, logistic"}),
        ("tritone", {"told apart, logistic", "copies"}),
        ("copies", {"copies", "C_T", "copy distance"}),
        ("Markov", {"Frechet, musical", "told apart, logistic", "used pitch classes", "scale consistency"}),
    ],
)  # fmt: skip
def test_baselines_are_caught_by_what_should_catch_them(baseline: str, by: set[str], full: Table) -> None:
    assert by <= set(full.caught()[baseline])


def test_only_copies_are_taken_for_copies(full: Table) -> None:
    assert {row for row, names in full.caught().items() if "copies" in names} == {"copies", "tritone"}
    assert full.rows["copies"]["copies"].value > 0.9


def test_silence_is_undefined_where_notes_are_needed(full: Table) -> None:
    undefined = {name for name, e in full.rows["silence"].items() if math.isnan(e.value)}
    assert undefined == {
        "used pitch classes", "qualified notes", "polyphony", "scale consistency", "tonal distance",
    }  # fmt: skip


def test_a_metric_catches_by_intervals_on_its_bad_side() -> None:
    def caught(floor: Estimate, found: Estimate, splits: Estimate | None = None) -> set[str]:
        rows = {name: {metric.name: e for metric in METRICS} for name, e in ((FLOOR, floor), ("some", found))}
        if splits:
            rows[SPLITS] = {metric.name: splits for metric in METRICS}
        directions = {metric.name: metric.good for metric in METRICS}
        return {directions[name] for name in Table(9, {}, "", rows).caught()["some"]}

    floor = Estimate(2, 1, 3)
    assert caught(floor, Estimate(5, 3.1, 7)) == {"low", "reference"}
    assert caught(floor, Estimate(0.5, 0.1, 0.9)) == {"high", "reference"}
    assert caught(floor, Estimate(5, 2.9, 7)) == set()
    assert caught(floor, Estimate(5, 3.1, 7), Estimate(4, 2, 6)) == set()
    assert caught(floor, Estimate(np.nan, np.nan, np.nan)) == {"low", "high", "reference"}
    assert caught(Estimate(np.nan, np.nan, np.nan), Estimate(5, 4, 6)) == set()
    assert caught(floor, Estimate(5, 3.1, 7), Estimate(np.nan, np.nan, np.nan)) == {"low", "reference"}


def test_the_seed_decides(tmp_path: Path) -> None:
    real = small(tmp_path)
    options = dataclasses.replace(FAST, bootstraps=10, splits=2, baselines=("Markov",))
    one, same, other = (
        evaluate(real, None, dataclasses.replace(options, seed=seed, jobs=jobs))
        for seed, jobs in ((1, 1), (1, 2), (2, 1))
    )
    assert list(one.rows) == [REFERENCE, FLOOR, SPLITS, SAME_SONGS, "Markov"]
    for row in one.rows:
        assert values(one.rows[row]) == values(same.rows[row])
    assert values(one.rows[FLOOR]) != values(other.rows[FLOOR])


def test_options_choose_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twosample, "EPOCHS", 1)
    # A network of strides needs more than these rolls of 11 keys and half a second have: silence is put around.
    real = small(tmp_path, train=6, held=5)
    options = dataclasses.replace(BARE, count=10, network=True, forest=True)
    found = evaluate(real, None, options).rows[FLOOR]
    assert {"told apart, network", "told apart, forest"} <= set(found)
    assert 0 <= found["told apart, network"].value <= 1
    assert math.isnan(found["copy distance"].value)
    assert math.isnan(found["copies"].value)
    without = evaluate(real, None, BARE).rows[FLOOR]
    assert not {"told apart, network", "told apart, forest"} & set(without)


@pytest.mark.parametrize(
    ("size", "frame_seconds"),
    [
        ({"keys": 1, "channels": 1, "frames": 30}, 0.02),
        ({"keys": 52, "frames": 5}, 0.02),  # 0.1 s: a picture of one frame
        ({"frames": 1}, 0.02),
        ({"frames": 248}, 0.02),  # no whole number of a picture's frames
        ({"frames": 50}, 0.06),  # a picture's frames are longer
        ({"frames": 10}, 1.0),
    ],
)  # fmt: skip
def test_odd_sizes_are_judged(
    size: dict[str, int], frame_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twosample, "EPOCHS", 1)
    size = {"keys": 11, "frames": 25, **size}
    songs = [song(number, 5, **size) for number in range(10)]
    header = musicstores.header(size["keys"], size["frames"], frame_seconds)
    splits = ["validation" if number % 2 else "train" for number in range(10)]
    real = music_of(write_songs(tmp_path / "keys", songs, splits, header))
    assert real.geometry == Geometry(frame_seconds, musicstores.LOW_KEY)
    found = evaluate(real, None, dataclasses.replace(FAST, splits=1, bootstraps=2, network=True))
    assert np.isfinite(found.rows["reversed"]["Frechet, musical"].value)
    assert found.rows["copies"]["copy distance"].value <= found.rows[FLOOR]["copy distance"].value + 1e-6
    list(table.lines(found))


def test_songs_of_one_roll_have_no_other_half(tmp_path: Path) -> None:
    real = small(tmp_path, train=20, held=9, rolls=1)
    found = evaluate(real, None, dataclasses.replace(BARE, splits=2))
    assert found.rows[SAME_SONGS] == {}
    assert np.isfinite(found.rows[FLOOR]["told apart, logistic"].value)
    assert all(len(line) < 131 for line in table.lines(found))
    json.loads(table.to_json(found))


def test_silent_music_and_samples_that_are_no_numbers(tmp_path: Path) -> None:
    songs = [np.zeros((6, 2, 11, 25), np.float32)] * 10
    silent = music_of(write_songs(tmp_path / "silent", songs, ["train", "validation"] * 5))
    found = evaluate(silent, None, dataclasses.replace(FAST, splits=2))
    assert all(np.isfinite(e.value) for name, e in found.rows[FLOOR].items() if name.startswith("Frechet"))
    table.to_json(found)
    broken = song(1, 10, keys=11, frames=25)
    broken[3, 1, 4, 7] = np.nan
    fake = samples_of(write_songs(tmp_path / "broken", [broken], [None]), silent)
    with pytest.raises(MusiganError, match="not numbers"):
        evaluate(silent, fake, BARE)


def test_a_training_roll_does_not_count_as_a_copy_of_itself(music: Collection) -> None:
    work = Evaluation(music, BARE)
    assert np.isnan(work._held_out.copies).all()
    work = Evaluation(music, dataclasses.replace(BARE, copies=True))
    assert work._training.copies.min() > 0.2


# -- how it reads -----------------------------------------------------------------------------------------------------


def test_json_is_null_where_undefined_and_keeps_every_figure(full: Table) -> None:
    content = json.loads(table.to_json(full), parse_constant=lambda name: pytest.fail(name))
    assert (content["rolls"], content["split"]) == (24, "as the store says")
    assert list(content["rows"]) == list(full.rows)
    assert content["rows"]["silence"]["metrics"]["polyphony"] == {"value": None, "low": None, "high": None}
    for row, found in full.rows.items():
        assert content["rows"][row]["songs"] == full.songs[row]
        for name, estimate in found.items():
            assert content["metrics"][name]["good"] in ("low", "high", "reference")
            read = tuple(content["rows"][row]["metrics"][name][key] for key in ("value", "low", "high"))
            assert read == values({name: estimate})[name]
    assert content["told from the floor"] == full.caught()


def test_csv_has_a_line_for_each_row_and_metric(full: Table) -> None:
    found = list(csv.DictReader(io.StringIO(table.to_csv(full))))
    assert [(line["row"], line["metric"]) for line in found] == [
        (row, metric.name) for row, estimates in full.rows.items() for metric in METRICS if metric.name in estimates
    ]
    for line in found:
        estimate = full.rows[line["row"]][line["metric"]]
        assert float(line["value"] or "nan") == pytest.approx(estimate.value, rel=0, abs=0, nan_ok=True)
        assert int(line["told_from_floor"]) == (line["metric"] in full.caught().get(line["row"], []))
    assert any(line["value"] == "" for line in found)


def test_text_is_narrow_and_names_every_row_in_every_block(full: Table) -> None:
    lines = list(table.lines(full))
    assert max(map(len, lines[1:])) <= 130  # the verdict is one line, however long
    blocks = "\n".join(lines).split("\n\n")
    assert blocks[0] == full.verdict()
    for block in blocks[2:-1]:
        *_, folded = ["", *(line for line in block.splitlines() if line.startswith("without a value: "))]
        shown = [line[:14].strip() for line in block.splitlines()[1:] if line != folded]
        assert [row for row in full.rows if row in shown or row in folded] == list(full.rows)
        assert [row for row in full.rows if row in shown] == shown
    assert [word for word in full.caught() if word not in blocks[-1].splitlines()[0]] == []
    for metric in METRICS:
        assert ("\n".join(lines).count(metric.name + " ") >= 2) == any(metric.name in row for row in full.rows.values())
    assert "undefined*" in "\n".join(lines)
    assert "nan" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (0.0001, "0"), (0.00629, "0.006"), (-0.0512, "-0.051"), (0.1234, "0.123"),
        (12.345, "12.3"), (99.96, "100"), (521.4, "521"), (-5216.7, "-5217"), (99998.0, "99998"), (521623.0, "5e5"),
        (3.2e12, "3e12"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    row = {"C_T": Estimate(value, value, value)}
    (line,) = [
        line
        for line in table.lines(Table(9, {"some": 1, FLOOR: 1}, "", {FLOOR: row, "some": row}))
        if line[:4] == "some"
    ]
    assert line.split() == ["some", text, f"[{text},", f"{text}]"]


def test_rolls_are_read_only_when_asked_for(music: Collection) -> None:
    asked: list[int] = []
    rolls = sets.RollSet(np.array(["a", "b"] * 10), lambda number: np.array(asked.append(number)))
    list(rolls.drawn(3, 1).chosen(np.array([2])).rolls())
    assert len(asked) == 1


def test_padding_at_the_end_of_a_piece_is_not_judged(tmp_path: Path, music: Collection) -> None:
    seconds = musicstores.FRAMES * 0.02
    with store.write(str(tmp_path / "pieces"), musicstores.header()) as writer:
        for number, length in enumerate((2 * seconds, 1.6 * seconds, None)):
            rolls = np.ascontiguousarray(song(number, 2), np.float16)
            writer.add(rolls, ("chunks", "channels", "keys", "frames"), store.Song(level=0.1, seconds=length))
    assert samples_of(tmp_path / "pieces", music).songs.tolist() == [
        *["sample 000001"] * 2, "sample 000002", *["sample 000003"] * 2,
    ]  # fmt: skip

"""The report: what is gathered of a run, how the page is put together, and how it behaves in a browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musigan import report, store
from musigan.errors import CheckpointError, MusiganError, StoreError, UsageError
from musigan.midi.transcription import Transcriber
from musigan.pictures import png
from musigan.report import history, listening, summary
from musigan.rolls.beats import Beats
from musigan.rolls.tracks import layers_of
from tests import tiny
from tests.helpers import one_line, run_each
from tests.reports import CHOICES, NASTY, SECONDS, Counter, gather, write_run, write_songs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    return gather(folder)


def decoded(piece: dict[str, Any]) -> tuple[np.ndarray, int]:
    signal, rate = soundfile.read(io.BytesIO(base64.b64decode(piece["sound"])), always_2d=True)
    return signal.T, rate


# -- history ------------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_checkpoint_or_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_file, by_folder = report.Run.of(folder / "ckpt.pt"), report.Run.of(f"{folder}/ckpt.run/")
    assert by_file == by_folder
    assert by_file.name == "ckpt"
    monkeypatch.chdir(folder / "ckpt.run")
    assert report.Run.of(".").checkpoint == (folder / "ckpt.pt").resolve()
    (tmp_path / "alone.run").mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoint .*alone\.pt"):
        report.Run.of(tmp_path / "alone.run")
    with pytest.raises(CheckpointError, match="no such file"):
        report.gather(report.Run.of(tmp_path / "missing.pt"), CHOICES, None, "cpu", 1, Counter)


def test_history_comes_from_the_folder_or_the_checkpoint(tmp_path: Path) -> None:
    run = report.Run(tmp_path / "a.pt", tmp_path / "a.run")
    saved = [{"stage": "prior", "total_epoch": 1, "flow": 2.0}]
    assert run.history(saved) == saved
    run.folder.mkdir()
    (run.folder / "metrics.jsonl").write_text('{"flow": 1.5}\n{"flow": NaN}\n{"fl')
    assert [entry["flow"] for entry in run.history(saved)] == pytest.approx([1.5, np.nan], nan_ok=True)
    (run.folder / "metrics.jsonl").write_text('{"flow": 1.5}\nflow\n{"flow": 2}\n')
    with pytest.raises(CheckpointError, match="line 2 is damaged"):
        run.history(saved)


def test_curves_by_name_stage_and_kind() -> None:
    time: dict[str, Any] = {"epoch": 1, "step": 9, "seconds": 1.5}
    entries = [
        {**time, "stage": "prior", "total_epoch": 4, "flow": 0.123456789},
        {**time, "stage": "prior", "total_epoch": 5, "flow": float("inf"), "validation_flow": 3},
        {**time, "stage": "game", "total_epoch": 6, "accuracy_roll": 0.5, "note": "x", "on": True},
    ]
    found = history.curves(entries)
    assert found["stages"] == [{"name": "prior", "first": 4, "last": 5}, {"name": "game", "first": 6, "last": 6}]
    accuracy, flow = found["losses"]
    assert (flow["name"], flow["stage"], accuracy["stage"]) == ("flow", "prior", "game")
    assert flow["series"] == [
        {"name": "training", "points": [[4, 0.12346], [5, None]]},
        {"name": "validation", "points": [[5, 3.0]]},
    ]
    assert "rolls" in accuracy["about"]
    assert (found["metrics"], found["verdict"]) == ([], None)


def test_metrics_have_a_curve_and_the_latest_lines(content: dict[str, Any]) -> None:
    distance, other = content["metrics"]
    assert distance["series"] == [{"name": "samples", "points": [[2, 90.0], [4, None]]}]
    assert distance["lines"] == [{"name": "floor", "value": 2.5}, {"name": "silence", "value": 130.0}]
    assert (other["name"], other["lines"]) == ("<b>", [])
    assert content["verdict"] == "learning: <i>nearer</i>: 9 of 10"


def test_no_history_is_no_error() -> None:
    assert history.curves([]) == {"stages": [], "losses": [], "metrics": [], "verdict": None}
    assert history.curves([{"evaluation": {"metrics": None}}])["metrics"] == []


# -- pictures and sound -------------------------------------------------------------------------------------------


def test_a_picture_is_the_roll_upside_down() -> None:
    from PIL import Image

    plane = np.zeros((5, 7), np.float32)
    plane[1, 2], plane[4, 6], plane[0, 0] = 1.0, 0.5, 1e-6
    picture = np.asarray(Image.open(io.BytesIO(png.roll_png(plane))))
    assert picture.shape == (5, 7)
    assert picture[3, 2] == 255
    assert abs(int(picture[0, 6]) - 128) < 8
    assert 0 < picture[4, 0] < 12  # hardly heard, but seen
    assert np.count_nonzero(picture) == 3


def test_loudness_is_weighted_as_the_standard_says() -> None:
    times = np.arange(48000) / 48000
    for frequency, weight_db in ((100, -19.1), (1000, 0.0), (4000, 1.0), (50, -30.2)):  # IEC 61672-1, table 3
        tone = np.sqrt(2) * np.sin(2 * np.pi * frequency * times)[None]
        assert 20 * np.log10(listening.a_weighted_rms(tone, 48000)) == pytest.approx(weight_db, abs=0.1)
    assert listening.a_weighted_rms(np.zeros((2, 0)), 48000) == 0


def test_different_music_becomes_equally_loud() -> None:
    times = np.arange(12000) / 12000
    low, high = 0.9 * np.sin(2 * np.pi * 110 * times), 0.01 * np.sin(2 * np.pi * 2500 * times)
    signals = [np.stack([low, 0.3 * low]), np.stack([high, high]), np.zeros((2, 12000))]
    loud = listening.match_loudness([signal.astype(np.float32) for signal in signals], 12000)
    levels = [listening.a_weighted_rms(signal, 12000) for signal in loud]
    assert levels[0] == pytest.approx(levels[1], rel=1e-3)
    assert levels[2] == 0
    peak = max(float(np.abs(signal).max()) for signal in loud)
    assert 0.7 < peak < 0.7499  # the lower tone reaches the ceiling of -2.5 dB, nothing passes it


def test_nothing_but_the_music_tells_real_from_drawn(content: dict[str, Any]) -> None:
    """The same sample rate, length, picture size and loudness; no names; either may come first."""
    pieces = [piece for round in content["blind"] for piece in round["pieces"]]
    assert len(pieces) == 4
    heard = [decoded(piece) for piece in pieces]
    assert len({(signal.shape, rate) for signal, rate in heard}) == 1
    assert heard[0][0].shape[1] == pytest.approx(SECONDS * heard[0][1], rel=0.01)
    sizes = {base64.b64decode(png)[16:24] for piece in pieces for png in piece["rolls"]}
    assert len(sizes) == 1
    levels = [listening.a_weighted_rms(signal, rate) for signal, rate in heard]
    assert max(levels) < 1.12 * min(levels)  # 1 dB
    for piece in pieces:
        assert base64.b64decode(piece["sound"])[:3] != b"ID3"
    shown = [*content["music"]["best"], *content["music"]["worst"], *content["music"]["real"]]
    assert not {piece["sound"] for piece in pieces} & {piece["sound"] for piece in shown}


def test_either_of_a_round_may_be_the_real_one(folder: Path) -> None:
    shown = [{"title": str(number)} for number in range(40)]
    rounds = report.gathering._blind_rounds(shown, 1)
    assert {round["real"] for round in rounds} == {0, 1}
    assert all(int(round["pieces"][round["real"]]["title"]) % 2 == 0 for round in rounds)


def test_samples_are_the_critics_best_and_worst(folder: Path, content: dict[str, Any]) -> None:
    from musigan.sampling.sampler import Sampler

    sampler = Sampler.load(folder / "ckpt.pt")
    scores = dict(sampler.scores(CHOICES.of, sampler.frames(SECONDS), CHOICES.seed))
    best, worst = max(scores, key=lambda n: scores[n]), min(scores, key=lambda n: scores[n])
    assert [piece["title"] for piece in content["music"]["best"]] == [f"Piece {best}"]
    assert [piece["title"] for piece in content["music"]["worst"]] == [f"Piece {worst}"]
    assert content["music"]["best"][0]["note"] == f"critic {scores[best]:+.2f}".replace("-", "−")
    assert {piece["title"] for round in content["blind"] for piece in round["pieces"]} >= {"Piece 4", "Piece 5"}


def test_real_music_is_held_out_and_used_once(content: dict[str, Any], folder: Path) -> None:
    titles = [content["music"]["real"][0]["title"], *(r["pieces"][r["real"]]["title"] for r in content["blind"])]
    assert sorted(titles) == sorted(NASTY[1:])
    assert content["music"]["heldOut"]
    assert content["music"]["real"][0]["note"] == 'A "B", from 0:03'
    half = dataclasses.replace(CHOICES, seconds=SECONDS / 2, rounds=20)
    assert len(gather(folder, choices=half)["blind"]) == 3 * 2 - 1  # two halves of three songs, one of them shown


def test_excerpts_that_are_mostly_silent_come_last(folder: Path, tmp_path: Path) -> None:
    from musigan.sampling.sampler import Sampler

    song = np.zeros((4, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float16)
    song[2, :, 3] = 0.5
    song[3, :, 3, : tiny.FRAMES // 2] = 0.5
    with store.write(str(tmp_path / "quiet"), tiny.HEADER) as writer:
        writer.add(song, ("chunks", "channels", "keys", "frames"), store.Song(source="quiet.mp3"))
    sampler = Sampler.load(folder / "ckpt.pt")
    with store.open_reader(str(tmp_path / "quiet"), ("keys",)) as reader:
        for seed in range(6):
            (first,) = listening.excerpts(reader, sampler, tiny.FRAMES, 1, seed, {})
            assert first.roll[:, 3].all()
            assert first.title == "quiet.mp3"


def test_the_same_call_gives_the_same_page(folder: Path, content: dict[str, Any]) -> None:
    assert report.assemble(gather(folder)) == report.assemble(content)


def test_stores_that_do_not_fit_are_refused(folder: Path) -> None:
    write_songs(folder / "mono.zip", channels=1)
    write_songs(folder / "low.zip", replace(tiny.HEADER, low_key=20, high_key=30))
    with pytest.raises(StoreError, match=r"mono\.zip has 1 channels .* the checkpoint 2"):
        gather(folder, "mono.zip")
    with pytest.raises(StoreError, match="keys from 20, the checkpoint keys from 30"):
        gather(folder, "low.zip")
    with pytest.raises(MusiganError, match="fewer --seconds"):
        gather(folder, choices=dataclasses.replace(CHOICES, seconds=3.0))
    with pytest.raises(UsageError, match="cannot choose 5 among 4"):
        report.MusicSelection(count=5, of=4)


def test_each_metric_says_what_it_means_and_which_way_is_better() -> None:
    from musigan.metrics import evaluation, pieces

    for metric in (*evaluation.METRICS, *pieces.METRICS):
        about = history._about(metric.name)
        assert about[0].isupper(), metric.name
        assert re.search(r"is better|Best as in held-out songs", about), metric.name
    assert history._about("unheard of") == ""


@pytest.mark.parametrize(
    ("settings", "stages", "held_out", "reason"),
    [
        ({"evaluate_every": 20}, ["composer"], False, "no songs are held back"),
        ({"evaluate_every": 0}, ["composer"], None, "--evaluate-every is 0"),
        ({"evaluate_every": 20}, [], None, "no epoch is finished"),
        ({"evaluate_every": 20}, ["codec", "codec"], None, "its codec stage comes before"),
        ({"evaluate_every": 20}, ["codec", "composer"], None, "every 20 epochs, and it has done 2"),
        ({"evaluate_every": 2}, ["codec", "composer"], None, "too few, or too short"),
    ],
)
def test_the_page_says_why_nothing_was_measured(
    settings: dict[str, int], stages: list[str], held_out: bool | None, reason: str
) -> None:
    entries = [{"stage": stage, "total_epoch": number} for number, stage in enumerate(stages, 1)]
    assert reason in history.not_measured(settings, entries, held_out)
    assert history.not_measured(settings, [{"evaluation": {}}], held_out) == ""


def test_songs_that_training_held_back_are_not_denied_for_another_store() -> None:
    entries = [{"stage": "composer", "total_epoch": 1, "validation_flow": 1.5}]
    assert "--evaluate-every is 0" in history.not_measured({"evaluate_every": 0}, entries, held_out=False)


def test_the_page_says_how_to_measure() -> None:
    command = report.gathering._measuring_command
    assert command("'my ckpt.pt'", ()) == "evaluate keys.zarr 'my ckpt.pt'"
    assert command("ckpt.pt", ("rock", "folk")) == "transfer ckpt.pt rock.zarr folk.zarr --judge"


def test_a_critic_that_was_not_taught_ranks_nothing(folder: Path) -> None:
    from musigan.checkpoints import checkpoint as checkpoints

    saved = checkpoints.load(folder / "ckpt.pt")
    music = report.gathering._sampled_music(saved, "cpu", None, CHOICES, Counter, is_taught=False)
    assert (music.has_critic, music.is_untaught, music.worse) == (False, True, [])
    assert [(clip.title, clip.note) for clip in music.better] == [("Piece 1", ""), ("Piece 2", "")]
    taught = report.gathering._sampled_music(saved, "cpu", None, CHOICES, Counter, is_taught=True)
    assert (taught.has_critic, taught.is_untaught, len(taught.worse)) == (True, False, 1)


def test_pieces_can_be_saved_but_not_those_of_the_blind_test(content: dict[str, Any]) -> None:
    shown = [*content["music"]["best"], *content["music"]["real"]]
    assert all({"midi", "sound", "beats"} <= set(piece) for piece in shown)
    assert all(set(piece) == {"title", "note", "sound", "rolls"} for r in content["blind"] for piece in r["pieces"])
    assert content["music"]["layers"] == ["notes"]
    roll = np.zeros((2, tiny.KEYS, 60), np.float32)
    roll[:, 4, 10:50] = 0.8
    transcriber = Transcriber.of_store(tiny.HEADER)
    assert base64.b64decode(listening._midi(listening.Clip(roll, "a note"), transcriber))[:4] == b"MThd"
    assert listening._midi(listening.Clip(0 * roll, "no note"), transcriber) == ""


def test_drums_are_a_layer_and_beats_are_lines() -> None:
    beats = Beats(np.array([0.1, 0.6, 1.1, 9.0]), np.array([1, 2, 1, 2]), 1.0)
    assert listening._beat_lines(beats, 2.0) == [[0.1, True], [0.6, False], [1.1, True]]
    assert listening._beat_lines(Beats.none(), 2.0) == []
    roll = np.zeros((3, tiny.KEYS, tiny.FRAMES), np.float32)
    roll[:2, 3], roll[2, 5] = 0.5, 0.5
    names, planes = layers_of(roll, ("left", "right", "drums"))
    assert (names, planes.shape) == (("notes", "drums"), (2, tiny.KEYS, tiny.FRAMES))


def test_the_page_says_when_and_where(content: dict[str, Any], folder: Path) -> None:
    rows = dict(content["run"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", rows["saved"])
    assert "core" in rows["page made on"]


# -- summaries and the page ---------------------------------------------------------------------------------------


def test_the_dataset_is_summed_up(content: dict[str, Any], folder: Path) -> None:
    data = content["data"]
    assert dict(data["rows"])["songs"] == "4: 1 to learn from, 3 held back"
    assert dict(data["rows"])["keys"] == "D3 to C4"
    # Pairs of 0.96 s that begin every 0.96 s overlap by nothing; the store is not the one that was trained on.
    assert (data["given"], data["same"]) == (True, False)
    assert data["genres"] == [[NASTY[0], 3], ["folk", 1]]
    assert [song[4] for song in data["songs"]] == ["0:02"] * 4
    assert gather(folder, "keys.zip", dataclasses.replace(CHOICES, rounds=0))["data"]["same"] is True
    without = gather(folder, "")
    assert (without["data"]["given"], without["music"]["real"], without["blind"]) == (False, [], [])
    assert dict(without["data"]["rows"])["songs"] == "3"


def test_settings_are_rows_by_section() -> None:
    groups = summary.settings_groups({"a": 1, "deep": {"x": 0.001, "on": True}, "b": None, "empty": {}})
    assert groups == [
        {"name": "run", "rows": [["a", "1"], ["b", "default"]]},
        {"name": "deep", "rows": [["x", "0.001"], ["on", "yes"]]},
    ]


class Outline(html.parser.HTMLParser):
    """Elements and the text inside scripts and styles, as a browser would split the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.open = tag
        if tag in ("script", "style"):
            self.inside.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open in ("script", "style"):
            self.inside[-1] += data


def test_no_tag_ends_the_content(content: dict[str, Any]) -> None:
    page = report.assemble({**content, "name": NASTY[0]})
    outline = Outline(page)
    kinds = [attributes.get("type") for tag, attributes in outline.elements if tag == "script"]
    assert kinds == ["application/json", None]
    style, data, script = outline.inside
    assert json.loads(data) == {**json.loads(json.dumps(content)), "name": NASTY[0]}
    assert page.encode().decode() == page
    policy = next(a["content"] for tag, a in outline.elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for text in (style, script):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    attributes = [name for _, found in outline.elements for name in found]
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert ("html", {"lang": "en"}) in outline.elements


# -- the tool -----------------------------------------------------------------------------------------------------


def test_the_tool_writes_a_page_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "page.html", tmp_path / "other.html"
    other.write_text("precious")
    small = ["--count", 1, "--of", 2, "--rounds", 1, "--seconds", 1, "--device", "cpu"]
    done, again, missing, nowhere, seconds, keys, piped = run_each(
        "report",
        [folder / "ckpt.run", "--keys", folder / "songs.zip", *small, "-o", out],
        [folder / "ckpt.pt", *small, "-o", other],
        [tmp_path / "no.pt", *small, "--force", "-o", other],
        [folder / "ckpt.pt", *small, "-o", tmp_path / "no" / "page.html"],
        [folder / "ckpt.pt", *small, "--seconds", 0, "--force", "-o", other],
        [folder / "ckpt.pt", *small, "--keys", tmp_path / "no.zarr", "--force", "-o", other],
        [folder / "ckpt.pt", *small],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"open it in a browser" in done.stderr
    assert out.read_text().startswith("<!doctype html>")
    for refused, word in (
        (again, "--force"),
        (missing, "no.pt"),
        (nowhere, "no folder"),
        (seconds, "--seconds"),
        (keys, "no.zarr"),
    ):
        assert refused.returncode in (1, 2)
        assert word in one_line(refused.stderr)
    assert other.read_text() == "precious"
    assert piped.returncode == 0
    assert piped.stdout.startswith(b"<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.html", "page.html"]

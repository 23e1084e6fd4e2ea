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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from musigan import report, store
from musigan.errors import CheckpointError, MusiganError, StoreError, UsageError
from musigan.report import history, listening, pictures, summary
from musigan.training import loop, runs
from musigan.training.journal import Journal
from tests import chromium, tiny
from tests.helpers import one_line, run_each

NASTY = [
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "<!-- 🎹 \u2028 {{ script }} {{ content }} & 'so on'",
    "caf\udcff",  # a byte that is no Unicode
]
SECONDS = 2 * 2 * tiny.FRAMES * 0.02  # a whole song of the tiny stores
CHOICES = report.Choices(count=2, of=3, rounds=2, seconds=SECONDS, seed=5)
EVALUATIONS: dict[int, dict[str, Any]] = {
    2: {
        "metrics": {"distance": {"samples": 90.0, "floor": 2.0, "silence": 120.0, "odd": None}},
        "verdict": "stuck: no",
    },
    4: {
        "metrics": {"distance": {"samples": float("nan"), "floor": 2.5, "silence": 130.0}, "<b>": {"samples": 0.0}},
        "verdict": "learning: <i>nearer</i>: 9 of 10",
    },
}


class Counter:
    """Stands in for a session's progress."""

    def __init__(self, total: int, what: str) -> None:
        self.left = total

    def step(self) -> None:
        self.left -= 1


def write_songs(path: Path, header: dict[str, Any] | None = None, channels: int = tiny.CHANNELS) -> Path:
    """Four songs of 1.92 s with nasty titles, the first for training; each has keys of its own."""
    rng = np.random.default_rng(7)
    names = ("pairs", "part", "channels", "keys", "frames")
    with store.write(str(path), "keys", header or tiny.HEADER) as writer:
        for number, title in enumerate(NASTY):
            song = np.zeros((2, 2, channels, tiny.KEYS, tiny.FRAMES), np.float16)
            song[:, :, 0, 2 + number : 4 + number] = rng.uniform(0.3, 1.4, (2, 2, 2, tiny.FRAMES))
            song[:, :, -1] *= 0.5
            attributes = {"title": title, "artist": 'A "B"', "genre": NASTY[0] if number else "folk", "level": 0.1,
                          "split": "validation" if number else "train", "starts": [3.0, 3.0 + SECONDS / 2]}  # fmt: skip
            writer.add(song, names, attributes)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run ckpt.pt with its folder, measured twice, and songs.zip to compare with."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("report")
    settings = tiny.settings(epochs=7, pretrain_epochs=5)
    data = tiny.dataset(tiny.write_keys(folder / "keys.zip"), settings)
    run = runs.begin(settings, data, data.store_attributes(), settings.stage_epochs(), torch.device("cpu"))
    journal = Journal(folder / "ckpt.pt", [])
    loop.train(
        run, data, folder / "ckpt.pt", tiny.Silent(), journal, tiny.dataset(folder / "keys.zip", settings, "validation")
    )
    journal.close()
    entries = [json.loads(line) for line in (folder / "ckpt.run" / "metrics.jsonl").read_text().splitlines()]
    for entry in entries:
        if entry["total_epoch"] in EVALUATIONS:
            entry["evaluation"] = EVALUATIONS[entry["total_epoch"]]
    (folder / "ckpt.run" / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    write_songs(folder / "songs.zip")
    return folder


def gather(folder: Path, keys: str = "songs.zip", choices: report.Choices = CHOICES) -> dict[str, Any]:
    run = report.Run.of(folder / "ckpt.pt")
    if not keys:
        return report.gather(run, choices, None, "cpu", 1, Counter)
    with store.open_reader(str(folder / keys), ("keys",)) as reader:
        return report.gather(run, choices, reader, "cpu", 1, Counter)


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    return gather(folder)


def decoded(piece: dict[str, Any]) -> tuple[np.ndarray, int]:
    signal, rate = soundfile.read(io.BytesIO(base64.b64decode(piece["sound"])), always_2d=True)
    return signal.T, rate


# -- history ------------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_checkpoint_or_folder(folder: Path, tmp_path: Path) -> None:
    by_file, by_folder = report.Run.of(folder / "ckpt.pt"), report.Run.of(f"{folder}/ckpt.run/")
    assert by_file == by_folder
    assert by_file.name == "ckpt"
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
    picture = np.asarray(Image.open(io.BytesIO(pictures.roll_png(plane))))
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
    loud = listening.equally_loud([signal.astype(np.float32) for signal in signals], 12000)
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
    sizes = {base64.b64decode(piece["roll"])[16:24] for piece in pieces}
    assert len(sizes) == 1
    levels = [listening.a_weighted_rms(signal, rate) for signal, rate in heard]
    assert max(levels) < 1.12 * min(levels)  # 1 dB
    for piece in pieces:
        assert base64.b64decode(piece["sound"])[:3] != b"ID3"
    shown = [*content["music"]["best"], *content["music"]["worst"], *content["music"]["real"]]
    assert not {piece["sound"] for piece in pieces} & {piece["sound"] for piece in shown}


def test_either_of_a_round_may_be_the_real_one(folder: Path) -> None:
    shown = [{"title": str(number)} for number in range(40)]
    rounds = report.gathering._rounds(shown, 1)
    assert {round["real"] for round in rounds} == {0, 1}
    assert all(int(round["pieces"][round["real"]]["title"]) % 2 == 0 for round in rounds)


def test_samples_are_the_critics_best_and_worst(folder: Path, content: dict[str, Any]) -> None:
    from musigan.sampling import Sampler

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


def test_the_same_call_gives_the_same_page(folder: Path, content: dict[str, Any]) -> None:
    assert report.assemble(gather(folder)) == report.assemble(content)


def test_stores_that_do_not_fit_are_refused(folder: Path) -> None:
    write_songs(folder / "mono.zip", channels=1)
    write_songs(folder / "low.zip", {**tiny.HEADER, "low_key": 20, "high_key": 30})
    with pytest.raises(StoreError, match=r"mono\.zip: has 1 channels .* the checkpoint 2"):
        gather(folder, "mono.zip")
    with pytest.raises(StoreError, match="low_key 20, the checkpoint 30"):
        gather(folder, "low.zip")
    with pytest.raises(MusiganError, match="fewer --seconds"):
        gather(folder, choices=dataclasses.replace(CHOICES, seconds=3.0))
    with pytest.raises(UsageError, match="cannot choose 5 among 4"):
        report.Choices(count=5, of=4)


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
    assert [summary.length(seconds) for seconds in (59.4, 61, 3725)] == ["59 s", "1 min 01 s", "1 h 02 min"]


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
    done, again, missing, seconds, keys, piped = run_each(
        "report",
        [folder / "ckpt.run", "--keys", folder / "songs.zip", *small, "-o", out],
        [folder / "ckpt.pt", *small, "-o", other],
        [tmp_path / "no.pt", *small, "--force", "-o", other],
        [folder / "ckpt.pt", *small, "--seconds", 0, "--force", "-o", other],
        [folder / "ckpt.pt", *small, "--keys", tmp_path / "no.zarr", "--force", "-o", other],
        [folder / "ckpt.pt", *small],
        imports="zarr musigan.report musigan.training.loop musigan.synthesis scipy.special scipy.ndimage soxr",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"open it in a browser" in done.stderr
    assert out.read_text().startswith("<!doctype html>")
    for refused, word in ((again, "--force"), (missing, "no.pt"), (seconds, "--seconds"), (keys, "no.zarr")):
        assert refused.returncode in (1, 2)
        assert word in one_line(refused.stderr)
    assert other.read_text() == "precious"
    assert piped.returncode == 0
    assert piped.stdout.startswith(b"<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.html", "page.html"]


# -- in a browser -------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium on the PATH")


@pytest.fixture(scope="module")
def browser(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """The page of the tiny run, offline."""
    folder = tmp_path_factory.mktemp("browser")
    report.write(report.assemble(content), str(folder / "page.html"))
    with chromium.Browser(folder) as browser:
        browser.send(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        browser.open((folder / "page.html").as_uri())
        yield browser
        assert_quiet(browser)


def assert_quiet(browser: chromium.Browser) -> None:
    """Nothing was asked for but the page itself, and the console has heard nothing."""
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert [url.partition(":")[0] for url in asked] == ["file"]
    assert browser.complaints() == []


FIRST = "#listen .columns > div:last-child .player"  # the real one, which is sure to sound
SOUND = f"document.querySelector('{FIRST} audio')"


def cursor(browser: chromium.Browser) -> float:
    """Where the cursor stands, in pixels from the roll's left edge."""
    place = f"document.querySelector('{FIRST} %s').getBoundingClientRect().left"
    return float(browser.run(f"{place % '.cursor'} - {place % '.roll'}"))


@needs_browser
def test_a_player_plays_and_its_cursor_moves(browser: chromium.Browser) -> None:
    begin = cursor(browser)
    browser.click(f"{FIRST} .play")
    browser.wait(f"{SOUND}.currentTime > 0.3")
    assert cursor(browser) > begin + 10
    assert browser.run(f"document.querySelector('{FIRST} .play').getAttribute('aria-label')").startswith("Pause ")
    browser.wait(f"{SOUND}.ended")
    assert browser.run(f"Math.abs({SOUND}.duration - {SECONDS}) < 0.15")
    end = cursor(browser)
    browser.click(f"{FIRST} .roll", across=0.6)
    browser.wait(f"!{SOUND}.seeking && {SOUND}.currentTime < 1.5")
    assert begin + 50 < cursor(browser) < end - 50
    browser.click("#listen .player .play")
    browser.click(f"{FIRST} .play")
    browser.wait("[...document.querySelectorAll('audio')].filter((sound) => !sound.paused).length === 1")
    browser.run(f"{SOUND}.pause()")


@needs_browser
def test_a_player_works_by_keyboard(browser: chromium.Browser) -> None:
    browser.run(f"document.querySelector('{FIRST} .roll').focus()")
    browser.press("Home")
    browser.wait(f"{SOUND}.currentTime === 0")
    browser.press("ArrowRight")
    browser.wait(f"Math.abs({SOUND}.currentTime - 1) < 0.01")
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')").startswith("1.0 of ")
    browser.press("ArrowLeft")
    browser.press(" ")
    browser.wait(f"!{SOUND}.paused && {SOUND}.currentTime > 0.1")
    browser.press("Tab")
    assert browser.run(f"document.activeElement === document.querySelector('{FIRST} .play')")
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(" ")  # the button's own
    browser.wait(f"{SOUND}.paused")


@needs_browser
def test_rolls_are_drawn_in_both_themes(browser: chromium.Browser) -> None:
    """Many colours inside the roll, others in the dark than in the light."""
    script = f"""(() => {{
        const canvas = document.querySelector('{FIRST} canvas'), copy = document.createElement('canvas');
        [copy.width, copy.height] = [canvas.width - 44, canvas.height - 20];
        const context = copy.getContext('2d');
        context.drawImage(canvas, -44, 0);
        const {{ data }} = context.getImageData(0, 0, copy.width, copy.height);
        const seen = new Map();
        for (let i = 0; i < data.length; i += 4) {{
            const colour = data.slice(i, i + 3).join();
            seen.set(colour, (seen.get(colour) ?? 0) + 1);
        }}
        return [seen.size, [...seen].sort((a, b) => b[1] - a[1])[0][0]];
    }})()"""
    found = []
    for theme in ("light", "dark"):
        browser.theme(theme)
        browser.wait("document.querySelector('canvas').width > 0")
        found.append(browser.run(script))
    assert all(colours > 8 for colours, _ in found)
    assert found[0][1] != found[1][1]


@needs_browser
def test_blind_mode_counts(browser: chromium.Browser, content: dict[str, Any]) -> None:
    hidden = {r["pieces"][r["real"]]["sound"] for r in content["blind"]}
    tally = "document.querySelector('#blind .tally').textContent"
    truth = "[...document.querySelectorAll('#blind audio')].map((sound) => sound.src.split(',')[1])"
    assert browser.run(tally) == "No answer yet."
    assert browser.run("[...document.querySelectorAll('#blind .title')].map((e) => e.textContent)") == ["A", "B"]
    markup = browser.run("document.querySelector('#blind .pair').outerHTML.replace(/base64,[^\"]*/g, '')")
    assert not [word for word in ("Piece", "hacked", "A &quot;", "critic", "drawn") if word in markup]
    right = browser.run(truth)[0] not in hidden  # of two one is real: this is B's number
    browser.click(f"#blind .pair > div:nth-child({1 + right}) > button")
    assert browser.run(tally).startswith(f"Right: {'AB'[right]} is real. 1 of 1 right. Who only guesses")
    assert "50 of 100" in browser.run(tally)
    assert browser.run("document.activeElement.textContent") == "Next round"
    browser.press("Enter")
    right = browser.run(truth)[0] not in hidden
    browser.run(f"document.querySelectorAll('#blind .pair > div > button')[{int(not right)}].focus()")
    browser.press(" ")
    assert browser.run(tally).startswith(f"Wrong: {'AB'[right]} is real. 1 of 2 right.")
    assert "75 of 100" in browser.run(tally)
    browser.press("Enter")
    assert browser.run("document.querySelector('#blind h3').textContent") == "Round 1 of 2"
    assert browser.run(tally) == "No answer yet."


@needs_browser
def test_charts_are_read_by_keyboard_and_as_tables(browser: chromium.Browser) -> None:
    chart = "#losses .chart"
    assert browser.run(f"document.querySelectorAll('{chart}').length") > 5
    browser.run(f"document.querySelector('{chart} svg').focus()")
    text = "document.activeElement.getAttribute('aria-valuetext')"
    last = browser.run(text)
    browser.press("ArrowLeft")
    assert browser.run(text) != last
    assert "training" in last
    assert "validation" in last
    browser.click(f"{chart} summary")
    browser.wait(f"document.querySelectorAll('{chart} tbody tr').length > 1")
    labels = "[...document.querySelectorAll('#metrics text.level')].map((e) => e.textContent)"
    assert browser.run(labels) == ["silence", "floor"]  # from top to bottom
    assert browser.run("document.querySelector('#metrics .tag').textContent") == "log scale"
    assert browser.run("document.getElementById('verdict').textContent") == "learning: <i>nearer</i>: 9 of 10"


@needs_browser
def test_tags_stay_text_and_nothing_scrolls_sideways(browser: chromium.Browser) -> None:
    assert browser.run("window.hacked === undefined")
    titles = browser.run(f"document.querySelector('{FIRST} .title').textContent")
    assert titles in [title.encode("utf-8", "replace").decode() for title in NASTY]
    for width, height in ((390, 844), (1280, 900), (320, 700)):
        browser.resize(width, height, mobile=width < 500)
        assert browser.run("document.documentElement.scrollWidth") <= width
    unnamed = browser.run(
        "[...document.querySelectorAll('button, [role=slider], [role=region], input')].filter((e) => "
        "!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
    )
    assert unnamed == 0


@needs_browser
def test_nothing_could_leave_the_page(browser: chromium.Browser) -> None:
    """That nothing did leave is looked at when the browser is closed."""
    assert_quiet(browser)
    before = len(browser.events)
    refused = browser.run("fetch('https://example.invalid/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert any("Content Security Policy" in line for line in browser.complaints())
    del browser.events[before:]

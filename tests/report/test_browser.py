"""The report in a browser: it plays, draws, counts, works by keyboard, asks for nothing. Skipped without Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from musigan import report
from tests import chromium
from tests.reports import NASTY, SECONDS, gather, write_run

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium on the PATH")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return gather(write_run(tmp_path_factory.mktemp("report")))


@pytest.fixture(scope="module")
def browser(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """The page of the tiny run, offline."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "page.html").write_text(report.assemble(content), encoding="utf-8")
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
    one = "document.querySelector('#listen .player %s')"
    both = f"{one % '.play'}.click(); document.querySelector('{FIRST} .play').click();"
    assert browser.run(f"(() => {{ {both} return [{one % 'audio'}.paused, {SOUND}.paused]; }})()") == [True, False]
    browser.run(f"{SOUND}.pause()")


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
    for byte in (0, 255):  # the coin that turns a round round falls on either side
        browser.run(f"crypto.getRandomValues = (bytes) => bytes.fill({byte})")
        browser.press("Enter")
        assert browser.run("document.querySelector('#blind h3').textContent") == "Round 1 of 2"
        assert browser.run(tally) == "No answer yet."
        for count in (1, 2):
            right = browser.run(truth)[0] not in hidden
            browser.click(f"#blind .pair > div:nth-child({1 + right}) > button")
            assert browser.run(tally).startswith(f"Right: {'AB'[right]} is real. {count} of {count} right.")
            if count == 1:
                browser.press("Enter")


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
    labels = "[...document.querySelectorAll('#metrics text.level')].map((e) => e.firstChild.data)"
    assert browser.run(labels) == ["silence", "floor"]  # from top to bottom
    assert browser.run("document.querySelector('#metrics .tag').textContent") == "log scale"
    assert browser.run("document.getElementById('verdict').textContent") == "learning: <i>nearer</i>: 9 of 10"


def test_ticks_of_an_axis_are_told_apart(browser: chromium.Browser) -> None:
    assert browser.run("labels([1.3, 1.32, 1.34, 1.36])") == ["1.3", "1.32", "1.34", "1.36"]
    assert browser.run("labels([0.77, 0.775, -0.005])") == ["0.77", "0.775", "−0.005"]
    assert browser.run("labels([0, 20000, 25000])") == ["0", "20K", "25K"]
    assert browser.run("labels([2])") == ["2"]
    assert browser.run("rowTicks(0.12, 0.98)") == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert browser.run("rowTicks(0, 4)") == [0, 1, 2, 3, 4]


def test_a_metric_that_was_never_known_has_no_empty_chart(browser: chromium.Browser) -> None:
    said = browser.run("""(() => {
        const place = document.getElementById("metrics"), nodes = [...place.childNodes], all = content.metrics;
        content.metrics = [{ name: "odd", about: "", lines: [], series: [{ name: "samples", points: [[1, null]] }] }];
        place.replaceChildren();
        metrics();
        const found = [place.textContent, place.querySelectorAll(".chart").length];
        content.metrics = all;
        place.replaceChildren(...nodes);
        return found;
    })()""")
    assert "Not known of so few samples: odd." in said[0]
    assert said[1] == 0


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


def test_nothing_could_leave_the_page(browser: chromium.Browser) -> None:
    """That nothing did leave is looked at when the browser is closed."""
    assert_quiet(browser)
    before = len(browser.events)
    refused = browser.run("fetch('https://example.invalid/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert any("Content Security Policy" in line for line in browser.complaints())
    del browser.events[before:]

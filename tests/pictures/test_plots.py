"""Pictures of rolls: what is painted where, and that nothing but the rolls decides it."""

from __future__ import annotations

import io
import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from musigan.errors import UsageError
from musigan.pictures import plots
from musigan.pictures.layout import Layout
from musigan.pictures.plots import Panel
from musigan.rolls import keyboard
from musigan.rolls.beats import Beats


def pixels(png: bytes) -> np.ndarray:
    """A PNG as (rows, columns, 3), 0 to 255."""
    from matplotlib.image import imread

    return np.rint(imread(io.BytesIO(png), "png")[..., :3] * 255).astype(int)


def lightness(colours: np.ndarray) -> np.ndarray:
    """What a black-and-white printer makes of colours (..., 3): Rec. 601 luma."""
    return np.asarray(colours.astype(float) @ [0.299, 0.587, 0.114])


def test_key_names() -> None:
    assert [keyboard.key_name(key) for key in (1, 4, 40, 49, 51, 52, 88)] == ["A0", "C1", "C4", "A4", "B4", "C5", "C8"]


def test_black_keys_of_the_middle_octave() -> None:
    assert [key for key in range(40, 53) if keyboard.is_black(key)] == [41, 43, 46, 48, 50]
    assert sum(keyboard.is_black(key) for key in range(1, 89)) == 36


def test_plane_is_the_mean_of_channels_or_one_of_them() -> None:
    roll = np.zeros((3, 2, 4), np.float16)
    roll[0, 1, 2], roll[2, 0, 3], roll[1, 1, 0] = 0.75, 9.0, -1.0
    np.testing.assert_allclose(plots.plane_of(roll), [[0, 0, 0, 1], [0, 0, 0.5, 0]])
    np.testing.assert_allclose(plots.plane_of(roll, 1, "linear"), [[0, 0, 0, 0], [0, 0, 0.75, 0]])
    np.testing.assert_allclose(plots.plane_of(roll, 3, "log"), [[0, 0, 0, 1], [0, 0, 0, 0]])
    for channel in (0, 4):
        with pytest.raises(UsageError, match=f"--channel {channel}: expected 1 to 3"):
            plots.plane_of(roll, channel)
    with pytest.raises(UsageError, match="--scale cube"):
        plots.plane_of(roll, 1, "cube")


def test_pooling_takes_the_mean_of_whole_frames() -> None:
    plane = np.array([[1, 0, 0, 2, 4], [0, 0, 9, 0, 0]], np.float32)
    np.testing.assert_allclose(plots.pooled(plane, 2), [[0.5, 2], [0, 3]])
    assert plots.pooled(plane, 5) is plane
    assert plots.pooled(plane, 1).shape == (2, 1)


def test_agreement_by_hand() -> None:
    one, other = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), np.array([[4.0, 0.0], [3.0, 0.0]], np.float32)
    cosine, difference = plots.agreement(one, other)
    assert cosine == pytest.approx(12 / 25)
    assert difference == pytest.approx((1 + 3 + 4) / 4)
    assert math.isnan(plots.agreement(one, np.zeros_like(one))[0])
    assert plots.agreement(one, one)[1] == 0


def test_louder_is_darker_and_silence_is_paper() -> None:
    """In print, and to eyes without one kind of cone, lightness is what is left of a colour."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    cells = plots.colour_cells(Panel(np.stack([ramp, ramp])), 40)  # C4, white, and C#4, black
    assert cells.shape == (2, 256, 3)
    assert cells[0, 0].tolist() == [255] * 3
    assert (cells[1, 0] < 255).all()
    assert (cells[0, 1:] == cells[1, 1:]).all()
    assert (np.diff(lightness(cells[0])) < 0.5).all()  # colours are rounded to 8 bits
    assert lightness(cells[0, -1]) < 10
    assert lightness(cells[1, 0]) - lightness(cells[1, 1]) > 10  # the quietest note stands out from an empty row


def test_differences_are_red_where_more_and_blue_where_less() -> None:
    cells = plots.colour_cells(Panel(np.array([[0.5, -0.5, 0, 0.25, 2]], np.float32), signed=True), 40, limit=0.5)
    more, less, same, half, beyond = cells[0].astype(int)
    assert more[0] > more[2] + 50
    assert less[2] > less[0] + 50
    assert same.tolist() == [255] * 3
    assert lightness(more) < lightness(half) < 250
    assert (beyond == more).all()


def test_one_loud_cell_does_not_hide_all_other_differences() -> None:
    differences = np.full((10, 100), 0.1, np.float32)
    differences[:5] = 0
    differences[7, 3] = -1
    assert plots.difference_limit([differences]) == pytest.approx(0.1)
    assert plots.difference_limit([np.zeros((2, 2), np.float32)]) == plots.difference_limit([]) == 1.0


def test_a_note_is_where_time_and_key_say() -> None:
    """One cell of an asymmetric roll, found again in the picture by its place, in both orders of magnitude of T."""
    for frames, column in ((40, 31), (4000, 3100)):
        plane = np.zeros((33, frames), np.float32)
        plane[5, column : column + frames // 40] = 1
        layout = Layout(1, 33, 1)
        image = pixels(plots.picture([Panel.of(plane, 0.02, layout.roll_width)], 27, 1))
        assert image.shape[:2] == layout.size[::-1]
        left, top, width, height = layout.roll(0)
        dark = lightness(image[top + 2 : top + height - 2, left + 2 : left + width - 2]) < 20
        rows, columns = np.nonzero(dark)
        assert {int(row + 2) // layout.row_height for row in rows} == {33 - 1 - 5}
        assert (columns.min() + 2) / width == pytest.approx(31 / 40, abs=2 / width)
        assert (columns.max() + 3) / width == pytest.approx(32 / 40, abs=2 / width)


def test_the_keyboard_has_its_black_keys_at_their_rows() -> None:
    layout = Layout(1, 12, 1)
    image = pixels(plots.picture([Panel(np.zeros((12, 4), np.float32))], 40, 1))
    left, top, width, height = layout.keyboard(0)
    centres = [top + height - layout.row_height // 2 - layout.row_height * row for row in range(12)]
    dark = [bool(lightness(image[y, left + width // 4]) < 60) for y in centres]
    assert [40 + row for row in range(12) if dark[row]] == [41, 43, 46, 48, 50]
    assert all(lightness(image[y, left + width * 3 // 4]) > 100 for y in centres)


@pytest.mark.parametrize("keys", [1, 2, 5, 33, 88, 128])
def test_names_of_keys_never_touch(keys: int) -> None:
    for low_key in range(1, 14):
        layout = Layout(1, keys, 1)
        row_points = 72 * layout.row_height / layout.dpi
        named = plots.labelled_key_numbers(low_key, keys, row_points)
        assert named
        assert set(named) <= set(range(low_key, low_key + keys))
        assert all((b - a) * row_points >= 8 for a, b in itertools.pairwise(named))
    assert keys < 40 or all(keyboard.key_name(key).startswith("C") for key in named)


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (3, 2), (7, 3), (6, 6)])
def test_nothing_of_a_layout_overlaps_or_leaves_the_page(panels: int, columns: int) -> None:
    layout = Layout(panels, 88, columns)
    across, down = layout.size
    taken = np.zeros((down, across), int)
    places = [place for number in range(panels) for place in (layout.roll(number), layout.keyboard(number))]
    for left, top, width, height in [*places, layout.legend(0)]:
        assert left >= 0
        assert left + width <= across
        assert top + height <= down
        taken[top : top + height, left : left + width] += 1
    assert taken.max() == 1


@pytest.mark.parametrize("format", plots.FORMATS)
def test_the_same_rolls_give_the_same_bytes_on_any_day(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    def draw() -> bytes:
        values = np.random.default_rng(0).random((13, 50)).astype(np.float32)
        panels = [Panel(values, "one"), Panel(values - 0.5, "two", signed=True)]
        return plots.picture(panels, 30, format=format)

    first = draw()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "green", "svg.fonttype": "none"}):
        assert draw() == first  # nor does the user's style change a thing
        assert matplotlib.rcParams["font.size"] == 30
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format])


@pytest.mark.parametrize("format", plots.FORMATS)
def test_titles_are_plain_text_in_any_script(
    format: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    titles = [
        r"$\frac{1}$ a_b^c $$",
        r"$\nonsense{ $5",
        "日本語 Привет עברית ไทย 🎹",
        "a\nb\x1b[31m\ud800\x00",
        "x" * 5000,
        "",
    ]
    panels = [Panel(np.ones((3, 4), np.float32), title) for title in titles]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert len(plots.picture(panels, 40, format=format)) > 1000
    assert not warned
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_long_titles_end_where_their_roll_ends() -> None:
    layout = Layout(2, 4, 2)
    image = pixels(
        plots.picture([Panel(np.ones((4, 4), np.float32), "W" * 300), Panel(np.ones((4, 4), np.float32))], 40)
    )
    left, top, width, _ = layout.roll(0)
    ink = np.nonzero((lightness(image[: top - 3]) < 128).any(0))[0]
    assert left <= ink.min()
    assert left + 0.9 * width < ink.max() <= left + width


def test_what_cannot_be_drawn_is_said() -> None:
    panel = Panel(np.ones((88, 4), np.float32))
    with pytest.raises(UsageError, match="--format gif"):
        plots.picture([panel], 1, format="gif")
    with pytest.raises(UsageError, match="pixels: draw fewer"):
        plots.picture([panel] * 100, 1, dpi=600)
    assert plots.format_of("a/b.SVG") == "svg"
    for name in ("rolls", "rolls.jpg"):
        with pytest.raises(UsageError, match=r"pictures are .png, .svg, .pdf"):
            plots.format_of(name)


def test_rolls_of_samples_are_drawn_to_a_file(tmp_path: Path) -> None:
    """As training leaves them beside its checkpoint: model space as it is, channels averaged."""
    roll = np.zeros((2, 11, 30), np.float32)
    roll[0, 2, 10:20] = 1
    path = tmp_path / "rolls.png"
    plots.plot_rolls([roll] * 3, path, 0.02, 30, ["one", "two"])
    layout = Layout(3, 11, 2)
    image = pixels(path.read_bytes())
    assert image.shape[:2] == layout.size[::-1]
    left, top, width, height = layout.roll(2)
    middle = image[top + height - int(2.5 * layout.row_height), left + width // 2]
    expected = plots.colour_cells(Panel(np.array([[0.5]], np.float32)), 30)[0, 0]
    assert middle.tolist() == expected.tolist()


def test_beats_are_lines_and_downbeats_stronger_ones() -> None:
    beats = Beats(np.array([1.0, 5.0, 7.5, 22.0]), np.array([2, 1, 2, 1]), 1.0)
    layout = Layout(1, 13, 1)
    left, top, width, height = layout.roll(0)

    def row(lines: Beats) -> np.ndarray:
        panel = Panel(np.zeros((13, 40), np.float32), start_seconds=4.0, seconds=10.0, beats=lines)
        image = pixels(plots.picture([panel], 40, 1))
        return lightness(image[top + height - layout.row_height // 2, left + 3 : left + width - 3])

    darkened = row(Beats.none()) - row(beats)
    found = np.flatnonzero(darkened > 5) + 3
    assert {round(10 * x / width, 1) for x in found} <= {1.0, 3.5}
    strong, thin = (darkened[round(x * width / 10) - 8 : round(x * width / 10) + 3].max() for x in (1.0, 3.5))
    assert strong > 1.5 * thin > 15

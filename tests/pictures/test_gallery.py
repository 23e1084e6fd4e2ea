"""Pictures of stores: where beats are drawn."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from musigan import store
from musigan.pictures import gallery, plots
from musigan.pictures.gallery import PictureStyle
from musigan.rolls.beats import Beats
from musigan.rolls.tracks import layers_of
from musigan.store.excerpts import Excerpt


def test_beats_are_drawn_where_asked_for_and_where_there_is_a_beat() -> None:
    def excerpt(confidence: float) -> Excerpt:
        beats = Beats(np.array([0.5, 1.0, 1.5]), np.array([1, 2, 3]), confidence)
        return Excerpt(1, "T", np.zeros((1, 3, 90), np.float32), 0.0, beats)

    assert PictureStyle(beats=True).lines(excerpt(0.7)).seconds.tolist() == [0.5, 1.0, 1.5]
    assert len(PictureStyle(beats=True).lines(excerpt(0.3))) == 0
    assert len(PictureStyle().lines(excerpt(0.7))) == 0


def test_a_title_says_what_is_known_of_a_piece() -> None:
    header = SimpleNamespace(low_key=28, tracks=())
    song = store.Song(title="ckpt 3", genre="folk", tempo=96.4, key="Am", score=1.234)
    excerpt = Excerpt(3, "ckpt 3", np.zeros((2, 5, 9), np.float32), 0.0, song=song)
    reader = SimpleNamespace(header=header)
    assert gallery._described(excerpt, reader) == "3: ckpt 3, folk, 96 bpm, Am, critic +1.23"  # type: ignore[arg-type]
    assert gallery._described(replace(excerpt, song=store.Song()), reader) == "3: ckpt 3"  # type: ignore[arg-type]


def test_drums_and_instruments_have_colours_of_their_own() -> None:
    roll = np.zeros((3, 5, 9), np.float32)
    roll[:2, 1, 2], roll[2, 3, 4] = 0.5, 0.5
    panel = plots.Panel.of_layers(layers_of(roll, ("left", "right", "drums")), 0.02, 100)
    cells = plots.colour_cells(panel, 28)
    assert panel.layers == ("notes", "drums")
    assert (panel.values[1, 2], panel.values[3, 4]) == (0.5, 0.5)
    assert tuple(cells[1, 2]) != tuple(cells[3, 4])
    mono = plots.Panel.of(roll[0], 0.02, 100)
    np.testing.assert_array_equal(plots.colour_cells(mono, 28)[1, 2], cells[1, 2])  # notes look as they did
    assert plots.Panel.of_layers(layers_of(roll[:2], ()), 0.02, 100).layers == ()
    many = plots.Panel.of_layers(layers_of(roll, ("piano", "bass", "drums")), 0.02, 100)
    assert len({tuple(cell) for cell in plots.colour_cells(many, 28).reshape(-1, 3)}) == 4  # two layers, two papers

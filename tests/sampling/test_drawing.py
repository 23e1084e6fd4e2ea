"""Requests drawn into stores: how many pieces, what they are called, what they begin with."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.errors import FieldError, MusiganError, StoreError
from musigan.metrics.evaluation import Options
from musigan.sampling.drawing import Drawing
from musigan.sampling.evaluation import SampleEvaluation
from musigan.sampling.loading import load_sampler, load_transfer
from musigan.sampling.requests import DrawingRequest
from musigan.sampling.sampler import Sampler
from musigan.training import loop
from tests import tiny
from tests.sessions import Session, writer
from tests.stores import items


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys and ckpt.pt, trained on it for a step or two."""
    folder = tmp_path_factory.mktemp("drawing")
    run, data = tiny.start(tiny.write_keys(folder / "keys"), tiny.settings())
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent())
    tiny.let_it_sound(folder / "ckpt.pt")
    return folder


@pytest.fixture(scope="module")
def sampler(folder: Path) -> Sampler:
    return load_sampler(folder / "ckpt.pt", "cpu")


def draw(sampler: Sampler, out: Path, **fields: Any) -> tuple[str, list[store.Item], Session]:
    """What was said, the items, and what the session heard."""
    session = Session()

    def open_writer(header: store.Attributes) -> AbstractContextManager[store.Writer]:
        return writer(out, header)

    said = Drawing(DrawingRequest(**fields), sampler, "net", session, open_writer).draw()
    return said, items(out), session


def test_pieces_are_numbered(sampler: Sampler, tmp_path: Path) -> None:
    said, found, session = draw(sampler, tmp_path / "out", seconds=0.6, seed=7, count=3)
    assert said == "3 pieces of 0.6 s"
    assert [item.song.title for item in found] == ["net 1", "net 2", "net 3"]
    assert found[1].song.source == "net, seed 7, piece 2"
    np.testing.assert_array_equal(
        np.concatenate(tuple(found[2].array), -1)[..., :30], np.float16(sampler.piece(7, 3, 30).roll)
    )
    assert (session.counts[0].total, len(session.counts[0].notes)) == (3, 3)


def test_the_best_come_first(sampler: Sampler, tmp_path: Path) -> None:
    said, found, session = draw(sampler, tmp_path / "out", seconds=0.6, best=2, of=5)
    scores = dict(sampler.scores(5, 30, 1))
    assert [item.song.score for item in found] == sorted(scores.values(), reverse=True)[:2]
    assert [(count.total, count.unit) for count in session.counts] == [(2, "pieces"), (5, "pieces judged")]
    assert said.startswith("2 pieces")


def test_from_song_to_song(folder: Path, sampler: Sampler, tmp_path: Path) -> None:
    said, found, _ = draw(sampler, tmp_path / "out", seconds=0.4, morph=str(folder / "keys"))
    songs = [item.song.title for item in items(folder / "keys")]
    titles = [f"{one} -> {other}" for one, other in itertools.pairwise(songs)]
    assert [item.song.title for item in found] == titles
    assert found[0].song.source == f"net, {titles[0]}"
    assert found[0].song.seed is None
    assert said == f"{len(titles)} pieces of at most 0.4 s"


def test_nothing_is_opened_for_what_cannot_be_drawn(folder: Path, sampler: Sampler, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with writer(empty, store.open_reader(str(folder / "keys"), ("keys",)).header):
        pass
    for fields, error, message in (
        ({"temperature": 1.0}, FieldError, "temperature: "),
        ({"keep": "left", "songs": "keys"}, FieldError, "keep: "),
        ({"style": "folk", "prime": "song.mp3"}, FieldError, "style: "),
        ({"seconds": 0.001}, FieldError, "seconds 0.001: "),
        ({"morph": str(empty)}, StoreError, "holds no song to begin with"),
    ):
        with pytest.raises(error, match=message):
            draw(sampler, tmp_path / "out", **fields)
        assert not (tmp_path / "out").exists()


def test_loading_says_what_a_checkpoint_is_not(folder: Path) -> None:
    with pytest.raises(MusiganError, match="use sample for it"):
        load_transfer(folder / "ckpt.pt", "cpu")


def test_samples_of_a_checkpoint_are_evaluated_against_a_store(folder: Path, tmp_path: Path) -> None:
    keys = tiny.write_keys(tmp_path / "keys", songs=9, validation=4)
    session = Session()
    options = Options(8, bootstraps=2, splits=0, baselines=(), forest=False)
    table = SampleEvaluation(options, 0, False, "cpu", session).table(str(keys), str(folder / "ckpt.pt"))
    assert list(table.rows) == ["held-out", "samples", "floor", "same songs"]
    assert session.statuses == [f"judging: {row}" for row in (*table.rows, "answers")]
    assert bool(table.answers) != bool(session.lines)  # too few songs are a reason to say so
    alone = SampleEvaluation(options, 0, False, "cpu", session).table(str(keys), "")
    assert "samples" not in alone.rows

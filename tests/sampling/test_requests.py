"""Requests: what goes with what, and what a checkpoint's model can do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from musigan.errors import FieldError, StoreError
from musigan.rolls.beats import Beat
from musigan.sampling.requests import Capabilities, DrawingRequest, Request

ABLE = Capabilities(3, 7, extends=True, has_critic=True, takes_temperature=True,
                    conditions=("style", "tempo", "kept"), styles=("folk", "rock"))  # fmt: skip
UNABLE = Capabilities(3, 7)


def test_a_message_names_fields_as_whoever_shows_it_does() -> None:
    error = FieldError("{of} {0:.1f} is without {best}, not {1}", 2.25, "{best} of all")
    assert str(error) == "of 2.2 is without best, not {best} of all"
    assert error.naming(lambda field: f"--{field}") == "--of 2.2 is without --best, not {best} of all"
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": 3}, "of says how many best chooses among: add best"),
        ({"count": 5, "best": 2}, "count 5 and best 2 both say how many pieces: best 2 of MANY chooses"),
        ({"best": 5, "of": 4}, "best 5 of 4: cannot choose 5 among 4"),
        ({"keep": "bass"}, "keep names a track of the songs of songs: give both"),
        ({"songs": "keys"}, "give both"),
        ({"keep": "bass", "songs": "keys", "count": 1}, "keep makes a piece to each song of songs"),
        ({"morph": "keys", "style": "folk"}, "morph draws nothing: leave style and tempo out"),
        ({"morph": "keys", "best": 1}, "morph makes as many pieces as the store has songs"),
        ({"temperature": 0.0}, "temperature 0: expected above 0 and up to 10; 1 is as learned"),
        ({"temperature": 10.5}, "temperature 10.5: expected"),
        ({"morph": "keys", "temperature": 1.0}, "morph draws nothing that temperature could change"),
        ({"morph": "keys", "prime": "song"}, "give one of them"),
        ({"prime_from": 2.5}, "prime_from 2.5 says where in a song to begin: add prime SONG"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        DrawingRequest(**fields)


def test_how_many_pieces() -> None:
    for fields, count in (({}, 4), ({"prime": "a"}, 1), ({"prime": "a", "count": 3}, 3), ({"best": 2, "of": 9}, 2)):
        assert DrawingRequest(**fields).pieces == count


def test_the_request_of_each_piece() -> None:
    assert DrawingRequest().piece == Request()
    piece = DrawingRequest(temperature=0.5, style="Folk", tempo=90.0).piece
    assert (piece.temperature, piece.style, piece.beat) == (0.5, "Folk", Beat(90.0))


def test_what_a_model_can_do() -> None:
    roll = np.zeros((3, 7, 11), np.float32)
    Request(0.5, roll, style="ROCK", beat=Beat(90.0), kept=roll).check(ABLE, scored=True)
    Request().check(UNABLE)
    for request, scored, message in (
        (Request(), True, r"best: .* no critic to choose by; draw with count"),
        (Request(temperature=1.0), False, "temperature: .* noise alone"),
        (Request(style="folk"), False, "style: this checkpoint's model does not use it"),
        (Request(beat=Beat(90.0)), False, "tempo: this checkpoint's model does not use it"),
        (Request(kept=roll), False, "keep: this checkpoint's model does not use it"),
        (Request(past=roll), False, "prime: this model cannot go on"),
    ):
        with pytest.raises(FieldError, match=message):
            request.check(UNABLE, scored)


def test_what_a_model_does_not_know() -> None:
    with pytest.raises(FieldError, match=r"style jazz: .* it knows folk, rock"):
        Request(style="jazz").check(ABLE)
    with pytest.raises(FieldError, match="none: no song had a genre"):
        Request(style="jazz").check(Capabilities(3, 7, conditions=("style",)))
    for request, what in (
        (Request(kept=np.zeros((2, 7, 5))), "the given track has 2 channels x 7 keys, the checkpoint 3 x 7"),
        (Request(past=np.zeros((3, 8, 5))), "the music to go on from has 3 channels x 8 keys"),
    ):
        with pytest.raises(StoreError, match=what):
            request.check(ABLE)

"""Words about long work."""

from __future__ import annotations

import pytest
from musigan_tools._cli import _explained

from musigan.machine.reporting import duration, working_on


def test_seconds_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (59.4, 61, 3725)] == ["59 s", "1 min 01 s", "1 h 02 min"]


def test_an_error_of_the_program_names_the_input_it_was_at() -> None:
    with pytest.raises(KeyError) as caught, working_on("a.mid"):
        raise KeyError(7)
    assert _explained(caught.value) == ("internal error at a.mid: KeyError: 7 (-v shows where)", 1)

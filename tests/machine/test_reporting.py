"""Words about long work."""

from __future__ import annotations

from musigan.machine.reporting import duration


def test_seconds_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (59.4, 61, 3725)] == ["59 s", "1 min 01 s", "1 h 02 min"]

"""General MIDI: programs by their names."""

from __future__ import annotations

import pytest

from musigan.errors import SettingsError
from musigan.midi.instruments import NAMES, PROGRAMS, group_of, program_named


def test_there_are_as_many_names_as_programs() -> None:
    assert len(NAMES) == len(set(NAMES)) == 128
    assert [NAMES[program] for program in (0, 24, 40, 73, 127)] == [
        "acoustic grand piano", "acoustic guitar (nylon)", "violin", "flute", "gunshot",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("0", 0), ("127", 127), (" Violin ", 40), ("church  ORGAN", 19), ("flute", 73), ("organ", 16),
        ("piano", 0), ("strings", 48), ("bass", 33), ("guitar", 24), ("sax", 64), ("honky-tonk", 3),
    ],
)  # fmt: skip
def test_a_program_by_number_name_group_or_part_of_a_name(text: str, program: int) -> None:
    assert program_named(text) == program


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("violn", "--program violn is no instrument: did you mean violin"),
        ("128", "--program 128 is no instrument: expected 0 to 127, or a name such as violin"),
        ("-1", "expected 0 to 127"),
        (" ", "expected 0 to 127"),
    ],
)
def test_what_is_no_instrument_is_answered_with_the_nearest(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        program_named(text)


def test_groups_are_played_by_one_of_theirs() -> None:
    assert {group_of(program): group for group, program in PROGRAMS.items()} == {group: group for group in PROGRAMS}

"""How long notes sound: keys, pedals and the messages that end notes."""

from __future__ import annotations

import pytest

from musigan.midi.parsing import CONTROL, NOTE_OFF, NOTE_ON, Message
from musigan.midi.sounding import UNENDED, sounding_notes

Event = tuple[int, str, int]


def stops(*events: Event | tuple[int, str, int, int], channel: int = 0) -> list[tuple[int, int, int]]:
    """Return (pitch, start, stop) for events (tick, "on" or "off" or "CONTROLLER", pitch or value, track)."""
    kinds = {"on": NOTE_ON, "off": NOTE_OFF}
    messages = []
    for tick, what, value, *track in events:
        data = bytes([value, 64]) if what in kinds else bytes([int(what), value])
        messages.append(Message(tick, track[0] if track else 0, kinds.get(what, CONTROL) | channel, data))
    return [tuple(row) for row in sounding_notes(messages)[:, 1:4].tolist()]


def test_a_lost_release_spoils_its_own_note_alone() -> None:
    events: list[Event] = [(0, "on", 60), (10, "off", 60), (40, "on", 60), (80, "on", 60), (90, "off", 60)]
    assert stops(*events, (120, "on", 60), (130, "off", 60)) == [
        (60, 0, 10),
        (60, 40, 80),
        (60, 80, 90),
        (60, 120, 130),
    ]


def test_a_key_belongs_to_its_channel_and_not_to_a_track() -> None:
    assert stops((0, "on", 60, 0), (15, "off", 60, 1), (20, "on", 64, 2)) == [(60, 0, 15), (64, 20, UNENDED)]
    assert stops((0, "on", 60, 0), (15, "on", 60, 1), (30, "off", 60, 0)) == [(60, 0, 15), (60, 15, 30)]


def test_a_release_at_the_tick_of_the_next_stroke_is_the_one_befores() -> None:
    assert stops((0, "on", 60), (10, "on", 60), (10, "off", 60), (25, "off", 60)) == [(60, 0, 10), (60, 10, 25)]
    assert stops((0, "on", 60), (0, "off", 60)) == [(60, 0, 0)]


def test_a_unison_sounds_together_and_each_release_ends_one() -> None:
    assert stops((0, "on", 60, 0), (0, "on", 60, 1), (10, "off", 60), (30, "off", 60)) == [(60, 0, 10), (60, 0, 30)]


@pytest.mark.parametrize(("value", "stop"), [(64, 50), (63, 10)])
def test_the_damper_pedal_sustains(value: int, stop: int) -> None:
    assert stops((0, "64", value), (0, "on", 60), (10, "off", 60), (50, "64", 0)) == [(60, 0, stop)]


def test_a_key_struck_again_ends_what_the_pedal_holds() -> None:
    events: list[Event] = [(0, "64", 127), (0, "on", 60), (10, "off", 60), (30, "on", 60), (40, "off", 60)]
    assert stops(*events, (50, "64", 0)) == [(60, 0, 30), (60, 30, 50)]


def test_the_sostenuto_holds_what_was_down() -> None:
    events: list[Event] = [(0, "on", 60), (5, "66", 127), (6, "on", 64), (10, "off", 60), (20, "off", 64)]
    assert stops(*events, (50, "66", 0)) == [(60, 0, 50), (64, 6, 20)]
    # The damper goes up before the sostenuto does.
    both: list[Event] = [(7, "64", 127), (10, "off", 60), (20, "off", 64), (30, "64", 0), (50, "66", 0)]
    assert stops(*events[:3], *both) == [(60, 0, 50), (64, 6, 30)]


@pytest.mark.parametrize("controller", ["65", "67", "1", "122"])
def test_other_controllers_end_and_hold_nothing(controller: str) -> None:
    assert stops((0, controller, 127), (0, "on", 60), (5, controller, 0), (10, "off", 60)) == [(60, 0, 10)]


@pytest.mark.parametrize(
    ("controller", "held", "down"),
    [("120", 20, 20), ("121", 20, 60), *((mode, 50, 50) for mode in ("123", "124", "125", "126", "127"))],
)
def test_messages_that_end_notes(controller: str, held: int, down: int) -> None:
    """One note was released and is held by the pedal, which goes up at 50; the other is down until 60."""
    events: list[Event] = [(0, "64", 127), (0, "on", 60), (0, "on", 64), (10, "off", 60), (20, controller, 0)]
    assert stops(*events, (50, "64", 0), (60, "off", 64)) == [(60, 0, held), (64, 0, down)]


@pytest.mark.parametrize("controller", ["120", "123", "124", "125", "126", "127"])
def test_without_a_pedal_they_end_all_that_is_down(controller: str) -> None:
    assert stops((0, "on", 60), (5, "on", 64), (20, controller, 0)) == [(60, 0, 20), (64, 5, 20)]


def test_other_channels_sound_on() -> None:
    one, other = [
        Message(tick, 0, kind | channel, data)
        for tick, kind, channel, data in ((0, NOTE_ON, 1, b"\x3c\x40"), (0, NOTE_ON, 2, b"\x3c\x40"))
    ]
    silence = Message(9, 0, CONTROL | 1, bytes([120, 0]))
    assert sounding_notes([one, other, silence])[:, 3].tolist() == [9, UNENDED]

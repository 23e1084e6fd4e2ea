from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan.errors import MidiError
from musigan.midi import reading
from musigan.midi.events import NoteEvents
from musigan.midi.instruments import GROUPS, group_of
from musigan.midi.reading import read_score
from musigan.midi.writing import Part, write_score
from tests.midifiles import Row, note, program, song, tempo
from tests.midifiles import midi as midi_file


def rows(notes: NoteEvents, names: tuple[str, ...] = GROUPS) -> list[tuple[str, int, float, float, int]]:
    return [
        (names[group], int(pitch), round(float(start), 4), round(float(stop), 4), int(velocity))
        for group, pitch, start, stop, velocity in zip(*vars(notes).values(), strict=True)
    ]


def test_times_follow_every_change_of_tempo() -> None:
    head = [tempo(100), tempo(50, 960), tempo(200, 1200)]
    found = read_score(midi_file(head, [*note(480, 1200, 60, 70), *note(1440, 1680, 64, 33)]))
    # 100: .6 s a beat; a half beat of 1.2 s; .3 s a beat.
    assert rows(found.notes) == [("piano", 60, 0.6, 1.8, 70), ("piano", 64, 1.95, 2.1, 33)]


def test_the_tempo_that_holds_longest_and_the_first_bar_in_it() -> None:
    head: list[Row] = [
        tempo(60),
        tempo(90, 5 * 480),
        tempo(60, 45 * 480),
        (0, "time_signature", {"numerator": 3, "denominator": 4}),
        (9 * 480, "time_signature", {"numerator": 5, "denominator": 8}),
        (480, "key_signature", {"key": "F#m"}),
        (960, "key_signature", {"key": "C"}),
    ]
    found = read_score(midi_file(head, note(0, 60 * 480, 60)))
    # 40 beats of 2/3 s against 20 of a second. 3/4 bars begin at beats 0, 3 and 6: one beat after the fifth.
    assert (found.tempo, found.time_signature, found.key) == (90.0, (5, 8), "F#m")
    assert found.first_beat == pytest.approx(5 + 2 / 3)


def test_smpte_time_needs_no_tempo() -> None:
    data = bytearray(midi_file([tempo(50)], note(100, 350, 60, 80), ticks_per_beat=480))
    data[12:14] = struct.pack(">bB", -25, 40)  # 25 frames of 40 ticks: a thousand a second
    found = read_score(bytes(data))
    assert rows(found.notes) == [("piano", 60, 0.1, 0.35, 80)]
    assert (found.tempo, found.first_beat) == (None, None)
    data[12:14] = struct.pack(">bB", -29, 100)
    assert read_score(bytes(data)).notes.starts[0] == pytest.approx(100 / (100 * 30000 / 1001))


def test_groups_are_families_of_general_midi_and_channel_10_is_drums() -> None:
    tracks = [
        [program(number, channel), *note(480 * channel, 480 * channel + 100, 50 + channel, 90, channel)]
        for channel, number in enumerate([0, 14, 19, 25, 37, 48, 62, 73, 105])
    ]
    tracks.append([program(0, 9), *note(0, 10, 38, 90, 9)])
    tracks.append([program(122, 10), *note(0, 10, 60, 90, 10)])  # seashore
    found = read_score(midi_file([tempo(120)], *tracks)).notes
    named = {int(pitch): GROUPS[group] for pitch, group in zip(found.pitches, found.groups, strict=True)}
    expected = ["piano"] * 3 + ["guitar", "bass", "strings", "strings", "strings", "guitar"]
    assert named == {**{50 + channel: name for channel, name in enumerate(expected)}, 38: "drums"}
    assert {group_of(number) for number in range(128)} == {*GROUPS, None} - {"drums"}


def test_tracks_that_share_a_channel_keep_their_own_instruments() -> None:
    one, two = [program(33), *note(0, 400, 40)], [program(48), *note(240, 700, 70)]
    later = note(480, 900, 55)  # says nothing of its own: what the channel last heard
    assert [row[:2] for row in rows(read_score(midi_file([tempo(120)], one, two, later)).notes)] == [
        ("bass", 40), ("strings", 70), ("strings", 55),
    ]  # fmt: skip


def test_the_pedal_holds_notes_until_it_is_up_or_the_key_is_struck_again() -> None:
    pedal: list[Row] = [
        (100, "control_change", {"control": 64, "value": 127, "channel": 0}),
        (2000, "control_change", {"control": 64, "value": 10, "channel": 0}),
    ]
    notes = [*note(0, 480, 60), *note(480, 720, 64), *note(960, 1200, 60), *note(2000, 2400, 62)]
    found = read_score(midi_file([tempo(125)], [*notes, *pedal])).notes  # a millisecond a tick
    assert [row[1:4] for row in rows(found)] == [(60, 0.0, 0.96), (64, 0.48, 2.0), (60, 0.96, 2.0), (62, 2.0, 2.4)]


def test_notes_without_an_end_end() -> None:
    hanging: list[Row] = [(0, "note_on", {"note": 60, "velocity": 80}), (9600, "note_on", {"note": 62, "velocity": 0})]
    silenced: list[Row] = [
        (0, "note_on", {"note": 64, "velocity": 80, "channel": 2}),
        (480, "control_change", {"control": 123, "value": 0, "channel": 2}),
    ]
    found = read_score(midi_file([tempo(120)], hanging, silenced)).notes
    assert [row[1:4] for row in rows(found)] == [(60, 0.0, 2.0), (64, 0.0, 0.5)]


@pytest.mark.parametrize(
    ("name", "title"),
    [("Greensleeves", "Greensleeves"), ("Dvo\xc5\x99\xc3\xa1k", "Dvořák"), ("untitled", None), ("", None)],
)
def test_the_title_is_the_first_tracks_name_where_it_is_one(name: str, title: str | None) -> None:
    assert read_score(song(title=name)).title == title
    alone = midi_file([(0, "track_name", {"name": "right hand"}), *note(0, 480, 60)])
    assert read_score(alone).title is None


@pytest.mark.parametrize(
    ("raw", "title"), [("桜の歌".encode("shift_jis"), "桜の歌"), (b"Caf\xe9", "Café"), ("月亮".encode("gbk"), None)]
)
def test_a_title_in_another_encoding_is_decoded_or_left_out(raw: bytes, title: str | None) -> None:
    named = midi_file([(0, "track_name", {"name": raw.decode("latin-1")})], note(0, 480, 60))
    assert read_score(named).title == title


def test_what_is_no_song_says_why_in_words() -> None:
    whole = song()
    for data, reason in (
        (b"", "empty"),
        (b"RIFF....RMIDdata....", "no MThd"),
        (whole[:30], "cannot be followed"),
        (whole[:12] + b"\0\0" + whole[14:], "unit of time"),
        (whole[:22] + b"\xff" * 30000, "cannot be followed"),
        (midi_file(note(0, 480, 60), type=2), "type 2"),
        (midi_file([tempo(120)]), "no notes"),
        (midi_file([program(124), *note(0, 480, 60)]), "no notes"),
        (whole + b"\0" * reading.MAX_BYTES, "MiB"),
    ):
        with pytest.raises(MidiError, match=reason):
            read_score(data)


def test_a_wrapper_around_the_file_is_passed_over() -> None:
    whole = song(3)
    wrapped = b"RIFF" + struct.pack("<I", len(whole) + 12) + b"RMIDdata" + struct.pack("<I", len(whole)) + whole
    assert rows(read_score(wrapped).notes) == rows(read_score(whole).notes)


def test_an_hour_is_enough() -> None:
    found = read_score(midi_file([tempo(60)], note(480, 960, 60) + note(3700 * 480, 3701 * 480, 62)))
    assert found.warnings == ("longer than 60 minutes: the rest is left out",)
    assert list(found.notes.pitches) == [60]
    assert read_score(song()).warnings == ()


def test_no_note_and_no_pedal_lasts_longer_than_an_hour() -> None:
    late = read_score(midi_file([tempo(60)], note(0, 10_000 * 480, 60)))
    assert (late.notes.stops.max(), len(late.warnings)) == (3600.0, 1)
    pedal: list[Row] = [(0, "control_change", {"control": 64, "value": 127}), program(3, 0, 480 * 9000)]
    held = read_score(midi_file([tempo(60)], [*pedal, *note(0, 480, 60), *note(480, 960, 62)]))
    assert held.notes.stops.tolist() == [2.0, 2.0]
    assert held.warnings == ()


@settings(max_examples=60)
@given(
    st.lists(
        # group, pitch, ticks since the key's last note, length in ticks, velocity
        st.tuples(*[st.integers(*range_) for range_ in ((0, 4), (0, 127), (0, 999), (1, 3000), (1, 127))]),
        min_size=1, max_size=12,
    ),
    st.sampled_from([120.0, 75.0, 199.5]),
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20),
)  # fmt: skip
def test_any_score_is_read_as_it_was_written(
    notes: list[tuple[int, int, int, int, int]], beats_a_minute: float, title: str
) -> None:
    free: dict[tuple[int, int], int] = {}  # from which tick on a key can be struck
    placed = []
    for group, pitch, gap, length, velocity in notes:
        begin = free.get((group, pitch), 0) + gap
        free[group, pitch] = begin + length
        placed.append((group, pitch, begin, begin + length, velocity))
    seconds = 60 / beats_a_minute / reading.TICKS_PER_BEAT
    written = NoteEvents.of((g, p, start * seconds, stop * seconds, v) for g, p, start, stop, v in placed)
    found = read_score(write_score([Part(written, 1.0, beats_a_minute, f"A {title}")], GROUPS))
    assert (found.title, found.warnings) == (f"A {title}", ())
    for one, other in zip(sorted(rows(found.notes)), sorted(rows(written)), strict=True):
        assert one[:2] == other[:2]
        assert one[2:] == pytest.approx(other[2:], abs=1e-3)


def test_parts_follow_each_other_with_their_own_tempo_and_tracks() -> None:
    first = NoteEvents.of([(0, 36, 0.0, 0.1, 110), (1, 61, 0.5, 1.25, 90), (2, 40, 0.25, 0.5, 70)])
    second = NoteEvents.of([(1, 72, 0.125, 2.0, 45)])
    data = write_score(
        [Part(first, 2.0, 75.0, "One", (3, 4), "Dm"), Part(second, 3.0, 150.0, "Two")], ("drums", "strings", "bass")
    )
    found = read_score(data)
    assert rows(found.notes) == [
        ("drums", 36, 0.0, 0.1, 110), ("bass", 40, 0.25, 0.5, 70), ("strings", 61, 0.5, 1.25, 90),
        ("strings", 72, 2.125, 4.0, 45),
    ]  # fmt: skip
    assert (found.title, found.key, found.time_signature) == ("One", "Dm", (3, 4))
    assert found.tempo == 75.0  # 2 s of it, 2 of the other until the last note ends


def test_every_key_that_is_named_can_be_written() -> None:
    notes = NoteEvents.of([(0, 60, 0.0, 1.0, 64)])
    for key in reading.KEYS:
        assert read_score(write_score([Part(notes, 1.0, key=key)], ("piano",))).key == key


def test_beats_follow_tempo_and_meter() -> None:
    """Two bars of 3/4 at 120, the second at 60; then 6/8 (dotted quarters), then one bar of 5/8."""
    head: list[Row] = [
        tempo(120),
        tempo(60, 3 * 480),
        (0, "time_signature", {"numerator": 3, "denominator": 4}),
        (6 * 480, "time_signature", {"numerator": 6, "denominator": 8}),
        (12 * 480, "time_signature", {"numerator": 5, "denominator": 8}),
    ]
    found = read_score(midi_file(head, note(240, 12 * 480 + 600, 60))).beats
    assert found is not None
    expected = [0, 0.5, 1, 1.5, 2.5, 3.5, 4.5, 6, 7.5, 9, 10.5, 11, 11.5]
    assert found.seconds.tolist() == pytest.approx(expected)
    assert found.numbers.tolist() == [1, 2, 3, 1, 2, 3, 1, 2, 1, 2, 1, 2, 3]
    assert found.confidence == 1.0


def test_beats_that_nobody_could_count_are_left_out() -> None:
    racing: list[Row] = [(0, "set_tempo", {"tempo": 1})]
    score = read_score(midi_file(racing, note(0, 480 * (reading.MAX_BEATS + 9), 60)))
    assert score.beats is None
    data = bytearray(midi_file([tempo(50)], note(100, 350, 60, 80), ticks_per_beat=480))
    data[12:14] = struct.pack(">bB", -25, 40)
    assert read_score(bytes(data)).beats is None

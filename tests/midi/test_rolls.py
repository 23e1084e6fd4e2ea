"""MIDI notes as rolls and back: musigan/midi/rolls.py, musigan/midi/transcription.py and musigan/midi/tempo.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from musigan.errors import FieldError, MidiError, SettingsError, UsageError
from musigan.midi.events import NoteEvents
from musigan.midi.reading import read_score
from musigan.midi.rolls import Arrangement, CutSettings, notes_to_roll, parse_tracks, to_item
from musigan.midi.tempo import estimate_tempo, first_beat, parse_grid, quantise, tempo_of_file
from musigan.midi.transcription import MidiTarget, Transcriber, remove_ghosts, roll_to_notes
from musigan.midi.writing import Part, write_score
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.store import Item, ItemInfo, Song
from tests.midifiles import midi as midi_file
from tests.midifiles import note, song, tempo

MIDI = KeySettings("midi")
FRAME = 0.02


def runs(row: np.ndarray) -> list[tuple[int, int, int]]:
    """First frame, frame after the last and velocity of each stretch of one loudness."""
    edges = np.flatnonzero(np.diff(row, prepend=-1.0, append=-1.0))
    return [(int(a), int(b), round(127 * float(row[a]))) for a, b in pairwise(edges) if row[a]]


def test_a_roll_of_notes_worked_by_hand() -> None:
    notes = NoteEvents.of(
        [
            (1, 69, 0.109, 0.331, 100),  # frames' centres are at .01, .03, ...: from frame 5 to 16
            (1, 69, 0.35, 0.351, 60),  # a blink lasts three frames
            (1, 70, 0.0, 1.0, 80), (1, 70, 0.5, 0.6, 127),  # struck again while it sounds: both are released at 1 s
            (1, 71, 0.2, 0.4, 3),  # too soft to be found
            (0, 38, 0.2, 5.0, 90), (0, 38, 0.24, 0.25, 50),  # drums ring .1 s, or until the next stroke
            (1, 20, 0.0, 9.0, 90),  # below the piano
        ]
    )  # fmt: skip
    roll, outside_keys = notes_to_roll(notes, ("drums", "piano"), MIDI)
    assert (roll.shape[:2], outside_keys) == ((2, 88), 1)
    a4 = 48
    assert runs(roll[1, a4]) == [(5, 16, 100), (17, 20, 60)]
    assert runs(roll[1, a4 + 1]) == [(0, 24, 80), (25, 50, 127)]
    assert runs(roll[1, a4 + 2]) == [(10, 20, 7)]
    assert runs(roll[0, 38 - 21]) == [(10, 11, 90), (12, 17, 50)]


def test_what_cannot_be_told_apart_is_one_note_as_loud_as_the_louder() -> None:
    notes = NoteEvents.of([(0, 60, 0.1, 0.5, 40), (0, 60, 0.1, 0.3, 90), (0, 60, 0.12, 0.8, 70)])
    roll, _ = notes_to_roll(notes, ("piano",), MIDI)
    assert runs(roll[0, 60 - 21]) == [(5, 40, 90)]


@st.composite
def playing(draw: Any) -> list[tuple[float, ...]]:
    """Rows of notes; a key is struck again after 40 ms at the earliest, or within a millisecond, by two in unison."""
    rows = []
    for group, pitch in draw(st.sets(st.tuples(st.integers(0, 2), st.integers(21, 108)), min_size=1, max_size=12)):
        at = draw(st.floats(0, 3))
        for _ in range(draw(st.integers(1, 8))):
            rows.append((group, pitch, at, at + draw(st.floats(0, 2)), draw(st.integers(1, 127))))
            at += draw(st.sampled_from([0.04, 0.0437, 0.1, 0.5])) + draw(st.floats(0, 0.3))
    return rows


@hypothesis_settings(max_examples=60, deadline=None)
@given(playing(), st.floats(20, 300))
def test_every_note_comes_back_within_a_frame_through_keys_and_a_file(
    rows: list[tuple[float, ...]], bpm: float
) -> None:
    tracks = ("drums", "guitar", "strings")
    notes = NoteEvents.of(rows)
    roll, _ = notes_to_roll(notes, tracks, MIDI)
    stored = roll.astype(np.float16).astype(np.float32)
    found = Transcriber(MIDI, tracks).notes(stored)
    again = read_score(write_score([Part(found, stored.shape[-1] * FRAME, bpm)], tracks)).notes
    assert len(again) == len(notes)
    order = np.lexsort((notes.starts, notes.pitches, notes.groups))
    order_again = np.lexsort((again.starts, again.pitches, again.groups))
    np.testing.assert_array_equal(again.pitches[order_again], notes.pitches[order])
    # Half a frame, and a tick of a slow tempo.
    assert np.abs(again.starts[order_again] - notes.starts[order]).max() <= FRAME / 2 + 60 / 20 / 960
    velocities = np.maximum(notes.velocities[order], 7)
    np.testing.assert_array_equal(again.velocities[order_again], velocities)


def item_of(array: np.ndarray, names: tuple[str, ...], about: Song) -> Item:
    return Item(ItemInfo("000001", array.shape, "float16", array.shape, names, about), array)


@pytest.mark.parametrize("paired", [True, False])
def test_a_song_as_an_item_and_back(paired: bool) -> None:
    score = read_score(song(5, beats_a_minute=96.0))
    arrangement = Arrangement()
    made = to_item(score, arrangement, MIDI, CutSettings(5.0, paired=paired, validation=0.0), Song(title="A"))
    assert made.dimension_names == (("pairs", "part") if paired else ("chunks",)) + ("tracks", "keys", "frames")
    assert made.array.shape[-3:] == (5, 88, 250)
    about = made.song
    assert (about.tempo, about.first_beat, about.time_signature, about.key) == (96.0, 0.0, (3, 4), "Gm")
    assert (about.title, about.split, about.starts[1]) == ("A", "train", 10.0 if paired else 5.0)
    part = Transcriber(MIDI, arrangement.tracks).part(item_of(made.array, made.dimension_names, about))
    # 100 beats of .625 s; pairs leave what is less than 10 s out, chunks nothing.
    wanted = arrangement.of(score.notes)
    kept = wanted.starts < (60.0 if paired else 99.0)
    assert len(part.notes) == kept.sum()
    assert np.abs(np.sort(part.notes.starts) - np.sort(wanted.starts[kept])).max() <= 0.0101
    assert (part.tempo, part.time_signature, part.key, part.title) == (96.0, (3, 4), "Gm", "A")
    if not paired:
        assert part.seconds == pytest.approx(about.seconds)
        assert about.seconds == pytest.approx(63.44)


def test_songs_that_are_too_short_or_empty_are_refused_in_words() -> None:
    score = read_score(song(1, beats=30))  # 15 s
    for arrangement, keys, reason in (
        (Arrangement(), KeyRange(), "15.0 s long, a pair takes 20 s"),
        (Arrangement(("strings",)), KeyRange(), "no notes for strings"),
        (Arrangement(("bass",)), KeyRange(70, 88), "no notes on keys 70:88"),
    ):
        with pytest.raises(MidiError, match=reason):
            to_item(score, arrangement, KeySettings("midi", keys), CutSettings(), Song())


def test_tracks_are_chosen_in_one_order_and_merged_without_drums() -> None:
    assert parse_tracks("bass, drums") == ("drums", "bass")
    assert parse_tracks("all") == ("drums", "piano", "guitar", "bass", "strings")
    with pytest.raises(SettingsError, match="'flute' is unknown"):
        parse_tracks("piano,flute")
    notes = NoteEvents.of([(0, 36, 0, 1, 1), (1, 60, 0, 1, 2), (3, 40, 0, 1, 3), (4, 72, 0, 1, 4)])
    merged = Arrangement(("drums", "piano", "strings"), merged=True)
    assert merged.tracks == ("piano",)
    assert sorted(merged.of(notes).pitches) == [60, 72]
    assert set(merged.of(notes).groups) == {0}
    assert list(Arrangement(("drums", "bass")).of(notes).groups) == [0, 1]
    with pytest.raises(SettingsError, match="--merge"):
        Arrangement(("drums",), merged=True)


def test_the_sides_of_a_recording_are_one_track_for_the_piano() -> None:
    roll = np.zeros((2, 88, 60), np.float16)
    roll[0, 48, 10:40] = 0.5
    roll[1, 48, 10:40] = 0.14  # .32 together
    roll[1, 60, 20:22] = 0.9  # shorter than a note of a recording
    part = Transcriber(KeySettings()).part(item_of(roll[None], ("chunks", "channels", "keys", "frames"), Song()))
    assert [tuple(map(float, row)) for row in zip(*vars(part.notes).values(), strict=True)] == [
        (0.0, 69.0, 0.2, 0.8, round(127 * np.sqrt(0.32)))
    ]
    assert len(Transcriber(KeySettings(), min_seconds=0.0).notes(roll.astype(np.float32))) == 2


def test_a_recordings_key_that_is_struck_again_is_another_note() -> None:
    roll = np.zeros((1, 88, 100), np.float32)
    fall = 0.8 * np.exp(-np.arange(30) / 10).astype(np.float32)
    roll[0, 30, 5:35], roll[0, 30, 35:65] = fall, 0.6 * fall  # from .04 to .48
    roll[0, 40, 5:35], roll[0, 40, 35:65] = fall, 0.4 * fall  # less than half of the loudest: an echo
    roll[0, 50, 5:65] = 0.3
    roll[0, 50, 30:32] = 0.5  # louder, but not by as much
    found = Transcriber(KeySettings()).notes(roll)
    assert list(zip(found.pitches, np.rint(found.starts / FRAME), np.rint(found.stops / FRAME), strict=True)) == [
        (51, 5, 35), (61, 5, 63), (71, 5, 65), (51, 35, 65),
    ]  # fmt: skip
    assert found.velocities[3] == round(127 * np.sqrt(0.48))
    assert len(Transcriber(MIDI, ("piano",)).notes(roll)) == 3


def test_softer_notes_over_a_note_that_lasts_as_long_are_its_overtones() -> None:
    rows = [
        (0, 50, 1.0, 2.0, 100),
        (0, 62, 1.04, 1.9, 70), (0, 69, 0.96, 2.1, 60), (0, 74, 1.0, 1.5, 40),  # overtones
        (0, 62, 3.0, 4.0, 70),  # nothing below
        (0, 57, 1.0, 2.0, 40),  # a fifth is no overtone's place
    ]  # fmt: skip
    kept = remove_ghosts(NoteEvents.of(rows))
    assert sorted(zip(kept.pitches, kept.starts, strict=True)) == [(50, 1.0), (57, 1.0), (62, 3.0)]
    # As loud, later, or longer: a note of its own.
    for other in ((0, 62, 1.0, 2.0, 90), (0, 62, 1.1, 2.0, 50), (0, 62, 1.0, 2.4, 50)):
        assert len(remove_ghosts(NoteEvents.of([rows[0], other]))) == 2


def test_ghosts_are_sought_in_recordings_only_and_can_be_kept() -> None:
    roll = np.zeros((1, 88, 60), np.float32)
    roll[0, 30, 5:50], roll[0, 42, 5:50] = 0.8, 0.2
    assert len(Transcriber(KeySettings()).notes(roll)) == 1
    assert len(Transcriber(KeySettings(), keep_ghosts=True).notes(roll)) == 2
    assert len(Transcriber(MIDI, ("piano",)).notes(roll)) == 2


@pytest.mark.parametrize("bpm", [84.0, 97.3, 120.0, 148.0])
def test_the_tempo_of_a_rhythm_is_found(bpm: float) -> None:
    generator = np.random.default_rng(round(bpm))
    grid = np.flatnonzero(generator.random(240) < np.tile([1.0, 0.15, 0.6, 0.15], 60)) / 4 * 60 / bpm
    onsets = np.rint((0.33 + grid) / FRAME) * FRAME
    weights = np.where(np.rint((grid * bpm / 60) % 1 * 4) % 4 == 0, 100.0, 60.0)
    found = estimate_tempo(onsets, weights)
    assert found == pytest.approx(bpm, abs=0.15)
    beat = 60 / bpm
    assert abs((first_beat(onsets, weights, bpm) - 0.33 + beat / 2) % beat - beat / 2) < 0.02


def test_without_a_rhythm_there_is_no_tempo() -> None:
    assert estimate_tempo(np.zeros(0), np.zeros(0)) is None
    assert estimate_tempo(np.array([1.0, 1.0, 1.0, 1.0]), np.ones(4)) is None
    assert estimate_tempo(np.array([0.0, 0.5, 1.0]), np.ones(3)) is None


def test_quantising_worked_by_hand() -> None:
    rows = [
        (0, 60, 0.13, 0.24, 50),  # to .125 and .25
        (0, 60, 0.11, 0.40, 80),  # the same place: one note, as long and as loud as either
        (0, 60, 0.27, 0.30, 40),  # begins at .25, where the other must end, and lasts a step
        (1, 60, 0.62, 0.63, 70),
    ]  # fmt: skip
    found = quantise(NoteEvents.of(rows), 120.0, parse_grid("1/16"))
    assert [tuple(map(float, row)) for row in zip(*vars(found).values(), strict=True)] == [
        (0, 60, 0.125, 0.25, 80), (0, 60, 0.25, 0.375, 40), (1, 60, 0.625, 0.75, 70),
    ]  # fmt: skip
    assert parse_grid("1/12") == pytest.approx(1 / 3)
    for text in ("16", "2/16", "1/0", "1/x", "1/1000"):
        with pytest.raises(SettingsError, match="--quantise"):
            parse_grid(text)


def test_quantised_notes_lie_on_the_files_beats_and_bars() -> None:
    """The first bar begins at .7 s; a bar of 3/4 at 100 lasts 1.8 s, so the piece begins 1.1 s into a bar."""
    roll = np.zeros((1, 1, 88, 500), np.float16)
    roll[0, 0, 40, 36:50], roll[0, 0, 41, 124:135] = 0.9, 0.9  # .72 s and 2.48 s: a bar apart, but for two frames
    about = Song(tempo=100.0, first_beat=0.7, time_signature=(3, 4))
    part = Transcriber(MIDI, ("piano",), grid_beats=0.25).part(
        item_of(roll, ("chunks", "tracks", "keys", "frames"), about)
    )
    np.testing.assert_allclose(part.notes.starts, [1.8, 3.6])
    assert part.seconds == pytest.approx(11.1)


@pytest.mark.parametrize(
    "said",
    [{"tempo": "fast"}, {"tempo": 0}, {"tempo": True}, {"time_signature": [0, 3]}, {"time_signature": 7}, {"key": 5}],
)
def test_attributes_that_make_no_sense_are_passed_over(said: dict[str, Any]) -> None:
    array = np.zeros((1, 1, 88, 50), np.float16)
    array[0, 0, 30, 5:20] = 0.5
    part = Transcriber(MIDI, ("piano",)).part(
        item_of(array, ("chunks", "tracks", "keys", "frames"), Song.parse(said, "a", 1, "keys"))
    )
    assert read_score(write_score([part], ("piano",))).tempo == 120.0


def test_notes_are_found_by_hysteresis_on_the_keys_of_the_settings() -> None:
    roll = np.zeros((1, 11, 40), np.float32)
    roll[0, 3, 4:9], roll[0, 3, 9:20] = 0.3, 0.03  # goes on until it falls under .02
    found = roll_to_notes(roll, KeySettings("midi", KeyRange(30, 40)))
    assert (list(found.pitches), list(found.starts), list(found.stops)) == ([53], [0.08], [0.4])


def test_a_midi_files_name_says_so(tmp_path: Any) -> None:
    for name in ("out.mp3", "out"):
        with pytest.raises(UsageError, match=r"\.mid"):
            MidiTarget(str(tmp_path / name)).check(None)
    MidiTarget(str(tmp_path / "out.MID")).check(None)


def test_tempi_that_a_file_can_have() -> None:
    assert (tempo_of_file(0.0), tempo_of_file(4.0)) == (None, 4.0)
    with pytest.raises(FieldError, match=r"tempo 3\.5: a MIDI file has 4 beats a minute or more"):
        tempo_of_file(3.5)


def test_a_song_has_its_beats_and_the_files_own_tempo() -> None:
    """In 6/8 at 90 quarters a minute a dotted quarter lasts a second."""
    head = [tempo(90), (0, "time_signature", {"numerator": 6, "denominator": 8})]
    score = read_score(midi_file(head, note(0, 5 * 480, 60)))
    item = to_item(score, Arrangement(), KeySettings("midi"), CutSettings(2.0, paired=False), Song())
    song = item.song
    assert (song.beats, song.beat_numbers, song.beat_confidence) == ((0, 1, 2, 3), (1, 2, 1, 2), 1)
    assert (song.tempo, song.first_beat, song.time_signature) == (90.0, 0.0, (6, 8))


def test_a_song_too_large_for_memory_is_refused_before_it_is_made() -> None:
    score = read_score(midi_file(note(0, 480 * 7000, 60)))  # 3500 s
    cutting = CutSettings(1.0)
    coarse = KeySettings("midi", frame_seconds=0.2)
    assert to_item(score, Arrangement(), coarse, CutSettings(paired=False), Song()).array.shape[0] == 350
    for settings, cut in ((KeySettings("midi", frame_seconds=0.001), cutting), (MIDI, CutSettings(overlap=0.99))):
        with pytest.raises(MidiError, match="MiB"):
            to_item(score, Arrangement(), settings, cut, Song())

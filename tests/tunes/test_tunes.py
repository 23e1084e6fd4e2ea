"""The tunes: the notation is read as written, bars add up, and what is played is what was written."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from musigan import tunes
from musigan.errors import UsageError
from musigan.tunes import TuneError, parse_abc
from musigan.tunes.arrange import GRIDS, SUSTAINED_STYLES, count_passes

HEADER = "T:Test\nC:Nobody\nR:song\nM:3/4\nL:1/8\nQ:1/4=90\nK:{key}\n"

# The first notes as any songbook has them, in solfège degrees written as MIDI note numbers.
OPENINGS = {
    "ode-to-joy": [66, 66, 67, 69, 69, 67, 66, 64],
    "greensleeves": [69, 72, 74, 76, 78, 76, 74, 71],  # Dorian: F sharp
    "amazing-grace": [62, 67, 71, 67, 71, 69, 67, 64, 62],
    "auld-lang-syne": [60, 65, 65, 65, 69, 67, 65, 67],
    "minuet-in-g": [74, 67, 69, 71, 72, 74, 67, 67],
    "canon-in-d": [78, 76, 74, 73, 71, 69, 71, 73],
    "korobeiniki": [76, 71, 72, 74, 72, 71, 69, 69, 72, 76],
    "frere-jacques": [65, 67, 69, 65, 65, 67, 69, 65, 69, 70, 72],  # F major: B flat
    "fur-elise": [76, 75, 76, 75, 76, 71, 74, 72, 69],
    "jesu-joy": [67, 69, 71, 74, 72, 72, 76, 74],
    "silent-night": [67, 69, 67, 64, 67, 69, 67, 64, 74],
}


def parse(body: str, key: str = "C") -> tunes.Tune:
    return parse_abc(HEADER.format(key=key) + body)


def notes(body: str, key: str = "C") -> list[tuple[Fraction, Fraction, int]]:
    return [(note.onset, note.duration, note.pitch) for note in parse(body, key).melody]


def test_a_bar_read_by_hand() -> None:
    half = Fraction(1, 2)
    assert notes("C, ^c2 z c c' |]") == [
        (Fraction(0), half, 48),
        (half, Fraction(1), 73),
        (Fraction(2), half, 73),  # the sharp holds to the bar line ...
        (Fraction(5, 2), half, 84),  # ... in its own octave
    ]


@pytest.mark.parametrize(
    ("written", "durations"),
    [
        ("A6", [6]),
        ("A3/2 A9/2", [1.5, 4.5]),
        ("A/ A// A1/4 A5", [0.5, 0.25, 0.25, 5]),
        ("A>B A2<B2", [1.5, 0.5, 1, 3]),
        ("A4- A2", [6]),
        ("A2- A-A-A2", [6]),
    ],
)
def test_lengths(written: str, durations: list[float]) -> None:
    assert [float(duration) * 2 for _, duration, _ in notes(written + " |]")] == durations


def test_a_tie_joins_across_a_bar_line_but_not_two_pitches() -> None:
    assert [(float(d), p) for _, d, p in notes("A4 A2- | A2 c4 |]")] == [(2, 69), (2, 69), (2, 72)]
    assert [(float(d), p) for _, d, p in notes("A4 A2- | c2 c4 |]")] == [(2, 69), (1, 69), (1, 72), (2, 72)]


@pytest.mark.parametrize(
    ("key", "altered"),
    [
        ("C", {}),
        ("D", {"F": 1, "C": 1}),
        ("Bb", {"B": -1, "E": -1}),
        ("Ddor", {}),
        ("Edor", {"F": 1, "C": 1}),
        ("Fm", {"B": -1, "E": -1, "A": -1, "D": -1}),
        ("F#", {"F": 1, "C": 1, "G": 1, "D": 1, "A": 1, "E": 1}),
    ],
)
def test_key_signatures(key: str, altered: dict[str, int]) -> None:
    natural = {"C": 60, "D": 62, "E": 64, "F": 65, "G": 67, "A": 69, "B": 71}
    read = [pitch for _, _, pitch in notes("C D E F G A | B6 |]", key)]
    assert read == [pitch + altered.get(letter, 0) for letter, pitch in natural.items()]


def test_repeats_are_written_out() -> None:
    assert [pitch for _, _, pitch in notes("|: C6 | D6 :| E6 |: F6 :|")] == [60, 62, 60, 62, 64, 65, 65]


def test_chords_last_until_the_next() -> None:
    chords = parse('"Am"C2 "F#7"D4 | E2 "NC"F2 "Bb"G2 |]').chords
    assert [(float(chord.onset), float(chord.duration), chord.root) for chord in chords] == [
        (0, 1, 9),
        (1, 3, 6),
        (5, 1, 10),
    ]
    assert chords[0].intervals == (0, 3, 7)
    assert chords[1].intervals == (0, 4, 7, 10)


def test_pickup_and_last_bar_make_one_bar() -> None:
    tune = parse("G2 | C6 | D4 |]")
    assert tune.pickup == 1
    assert tune.length == 6


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("C6 | D7 | E6 |]", "bar 2: 7/2 beats, expected 3"),
        ("C6 | D5 | E6 |]", "bar 2: 5/2 beats, expected 3"),
        ("C6 | D2 | D4 | E6 |]", "bar 2: 1 beats, expected 3"),
        ("G2 | C6 | D6 |]", "not one whole bar"),
        ("G2 | C6 | D3 |]", "not one whole bar"),
        ("C6 | D6", "no bar line"),
        ("C6 | {g}D6 |]", "bar 2: cannot read"),
        ('"H7"C6 |]', "chord 'H7'"),
        ("", "no notes"),
    ],
)
def test_what_is_refused(body: str, words: str) -> None:
    with pytest.raises(TuneError, match=words):
        parse(body)


@pytest.mark.parametrize(("field", "replacement"), [("K:C\n", "K:Hmaj\n"), ("Q:1/4=90", "Q:fast"), ("M:3/4", "M:C")])
def test_bad_fields_are_refused(field: str, replacement: str) -> None:
    with pytest.raises(TuneError, match=replacement[0]):
        parse_abc((HEADER.format(key="C") + "C6 |]").replace(field, replacement))


def test_unknown_tune() -> None:
    with pytest.raises(UsageError, match="ode-to-joy"):
        tunes.load("ode-to-gloom")


@pytest.mark.parametrize("name", tunes.names())
def test_every_tune_is_whole_and_playable(name: str) -> None:
    tune = tunes.load(name)
    assert tune.length % tune.bar_length == 0
    assert all(55 <= note.pitch <= 88 for note in tune.melody), "beyond what people sing and pipes play"
    seconds = float(tune.length) * 60 / tune.beats_per_minute
    assert 60 <= count_passes(tune) * seconds <= 90
    metre = f"{tune.metre[0]}/{tune.metre[1]}"
    assert set(tune.options) <= {"lead", "backing", "chords", "bass", "round"}
    for style in tune.options["backing"].split(","):
        assert style in SUSTAINED_STYLES or metre in GRIDS[style]


@pytest.mark.parametrize("name", tunes.names())
def test_chords_fit_the_melody(name: str) -> None:
    """Most of the time the melody sings a tone of its chord: a symbol in the wrong place would clash."""
    tune = tunes.load(name)
    fitting = sounding = Fraction(0)
    for chord in tune.chords:
        tones = {(chord.root + interval) % 12 for interval in chord.intervals}
        for note in tune.melody:
            shared = min(note.onset + note.duration, chord.onset + chord.duration) - max(note.onset, chord.onset)
            if shared > 0:
                sounding += shared
                fitting += shared * (note.pitch % 12 in tones)
    assert fitting / sounding > Fraction(1, 2)


@pytest.mark.parametrize("name", OPENINGS)
def test_openings(name: str) -> None:
    opening = OPENINGS[name]
    assert [note.pitch for note in tunes.load(name).melody[: len(opening)]] == opening


def test_arrangement_follows_the_tune() -> None:
    tune = tunes.load("when-the-saints")
    played = tunes.arrange(tune)
    melody = [note for note in played if note.part == "melody"]
    assert len(melody) == count_passes(tune) * len(tune.melody)
    assert [note.key for note in melody[:4]] == [45, 49, 50, 52]  # F A Bb C
    # The pickup is three of four beats; the bass enters with the first bar, on the root.
    first_bass = next(note for note in played if note.part == "bass")
    assert first_bass.key % 12 == 45 % 12
    assert first_bass.onset_seconds == pytest.approx(3 * 60 / 160, abs=0.05)
    assert all(0 < note.velocity <= 1 and note.duration_seconds > 0 for note in played)
    assert played == tunes.arrange(tune)
    assert played != tunes.arrange(tune, seed=5)


def test_round_enters_two_bars_apart() -> None:
    played = tunes.arrange(tunes.load("frere-jacques"))
    entries = [min(note.onset_seconds for note in played if note.part == f"voice {voice}") for voice in (1, 2, 3, 4)]
    assert np.diff(entries) == pytest.approx([4, 4, 4], abs=0.15)


def test_chords_are_struck_again_in_every_bar() -> None:
    """One chord symbol over eight bars, played four times; the bass strikes it once a bar of two seconds."""
    played = tunes.arrange(tunes.load("frere-jacques"))
    bass = [note.onset_seconds for note in played if note.part == "bass"]
    assert len(bass) == 4 * 8
    assert np.diff(bass[:10]) == pytest.approx(2, abs=0.1)


def test_a_tune_that_ends_elsewhere_gets_a_tonic_chord() -> None:
    last = tunes.arrange(tunes.load("canon-in-d"))[-5:]
    assert {(note.key + 20) % 12 for note in last} == {2, 6, 9}  # D F# A


def test_the_clock_is_that_of_the_arrangement() -> None:
    """The first note of a bar begins when the clock says, give or take what players differ by."""
    tune = tunes.load("minuet-in-g")
    seconds_at, melody = tunes.clock(tune), [note for note in tunes.arrange(tune) if note.part == "melody"]
    onsets = np.array([note.onset_seconds for note in melody[: len(tune.melody)]])
    expected = np.array([seconds_at(note.onset) for note in tune.melody])
    assert np.abs(onsets - expected).max() < 0.03
    assert np.diff(expected).min() > 0

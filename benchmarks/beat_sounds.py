"""Sound with known beats, to train a beat tracker on: excerpts of MIDI files, varied and played by sound fonts.

Conventions: an event is (seconds, kind, channel, first, second), kind one of "on", "off", "control", "program",
"bend"; beats are seconds and numbers in the bar (1 is a downbeat). Needs mido, pyfluidsynth and sound fonts; musigan's
own sound (`own_sound`) needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musigan.midi.events import NoteEvents
from musigan.midi.rolls import notes_to_roll
from musigan.rolls.keysettings import KeySettings
from musigan.synthesis.ensemble import perform
from musigan.synthesis.timbre import TIMBRES

PLAY_RATE = 32000  # Hz at which fluidsynth plays
DRUMS = 9  # channel
EXCERPT_SECONDS = 51.2
TEMPI = (60.0, 230.0)  # beats a minute that "even" tempi are spread over
INSTRUMENTS = (  # of musigan, from which program of General MIDI on
    (0, "piano"), (6, "harpsichord"), (9, "bells"), (16, "organ"), (21, "accordion"), (24, "guitar"), (32, "bass"),
    (40, "fiddle"), (46, "harp"), (48, "strings"), (56, "brass"), (64, "clarinet"), (72, "flute"), (80, "organ"),
    (88, "strings"), (105, "banjo"),
)  # fmt: skip
Event = tuple[float, str, int, int, int]


@dataclass
class Piece:
    """One MIDI file: its events, its beats, and whether its downbeats can be trusted."""

    events: list[Event]
    beats: np.ndarray
    numbers: np.ndarray
    downbeats_known: bool = True


@dataclass
class Excerpt:
    """Sound (S,) float32 at 12 kHz with its beats; no beats at all is music without beat."""

    signal: np.ndarray
    beats: np.ndarray
    numbers: np.ndarray
    downbeats_known: bool
    free: bool = False


def read_piece(midi: Path, downbeats_known: bool) -> Piece:
    """Return a MIDI file's events and the beats that lie beside it in `<name>.beats.txt`."""
    table = np.loadtxt(midi.with_suffix(".beats.txt"), ndmin=2)
    return Piece(read_events(midi), table[:, 0], table[:, 1].astype(int), downbeats_known)


def read_events(midi: Path) -> list[Event]:
    """Return a MIDI file's events."""
    import mido

    kinds = {"note_on": "on", "note_off": "off", "control_change": "control", "program_change": "program"}
    events: list[Event] = []
    now = 0.0
    for message in mido.MidiFile(midi, clip=True):
        now += message.time
        kind = kinds.get(message.type)
        if kind in ("on", "off"):
            sounds = kind == "on" and message.velocity > 0
            events.append((now, "on" if sounds else "off", message.channel, message.note, message.velocity))
        elif kind == "control":
            events.append((now, kind, message.channel, message.control, message.value))
        elif kind == "program":
            events.append((now, kind, message.channel, message.program, 0))
        elif message.type == "pitchwheel":
            events.append((now, "bend", message.channel, message.pitch, 0))
    return events


def cut(piece: Piece, start: float, seconds: float) -> Piece:
    """Return the piece between `start` and `start + seconds`, controllers and programs as they stood before it."""
    state: dict[tuple[str, int, int], Event] = {}
    inside: list[Event] = []
    for event in piece.events:
        time, kind, channel, first, second = event
        if time >= start + seconds:
            break
        if time >= start - 1e-6:
            inside.append((max(time - start, 0.0), kind, channel, first, second))
        elif kind in ("control", "program", "bend"):
            state[kind, channel, first if kind == "control" else 0] = (0.0, kind, channel, first, second)
    kept = (piece.beats >= start - 0.02) & (piece.beats < start + seconds)
    return Piece(
        [*state.values(), *inside],
        np.maximum(piece.beats[kept] - start, 0.0),
        piece.numbers[kept],
        piece.downbeats_known,
    )


def tempo_octaves(beats: np.ndarray, random: np.random.Generator, spread: str) -> float:
    """Return by how many octaves to slow down: a little ("near"), "wide", or to one of TEMPI with equal odds ("even").

    The last goes half an octave at most, as a tune that is played much faster is counted at half the tempo.
    """
    if spread == "even" and len(beats) > 4:
        target = np.exp(random.uniform(*np.log(TEMPI)))
        return float(np.clip(np.log2(60 / np.median(np.diff(beats)) / target), -0.5, 0.5))
    if spread == "near":
        return float(np.clip(random.normal(0.0, 0.15), -0.4, 0.4))
    return float(random.uniform(-0.35, 0.35))


def tempo_curve(random: np.random.Generator, seconds: float, octaves: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a rising map from old to new seconds: slower by `octaves`, now and then with a tempo that drifts."""
    old = np.arange(0.0, 2 * seconds + 4, 0.25)
    pace = np.full(old.size, 2.0**octaves)
    kind = random.random()
    if kind < 0.15:  # drifts smoothly
        drift = np.convolve(random.normal(size=old.size + 15), np.hanning(18)[1:-1], "valid")
        pace *= 2.0 ** np.clip(random.uniform(0.02, 0.1) * drift, -0.5, 0.5)
    elif kind < 0.22:  # changes once
        pace[old > random.uniform(0.2, 0.8) * seconds] *= 2.0 ** random.uniform(-0.35, 0.35)
    return old, np.concatenate(([0.0], np.cumsum(pace[:-1]) * 0.25))


def vary(  # noqa: C901
    piece: Piece, random: np.random.Generator, tempi: str, seconds: float = EXCERPT_SECONDS
) -> Piece:
    """Return `seconds` of the piece transposed, at another tempo, with other instruments, levels and timing.

    Some parts are silent.
    """
    shift = int(random.integers(-5, 7))
    channels = sorted({event[2] for event in piece.events if event[1] == "on"})
    old, new = tempo_curve(random, seconds, tempo_octaves(piece.beats, random, tempi))
    pitched = [channel for channel in channels if channel != DRUMS]
    silent = set()
    if DRUMS in channels and pitched and random.random() < 0.2:
        silent.add(DRUMS)
    elif DRUMS in channels and random.random() < 0.05:
        silent |= set(pitched)
    if random.random() < 0.4:
        silent |= {channel for channel in pitched if random.random() < 0.25}
    if set(channels) <= silent:
        silent = set()
    other: dict[int, int] = {}
    if random.random() < 0.6:
        other = {channel: int(random.integers(0, 96)) for channel in pitched if random.random() < 0.7}
    gains = {channel: 2.0 ** random.uniform(-1.0, 0.6) for channel in channels}
    loose = random.choice([0.0, 0.004, 0.01, 0.018], p=[0.45, 0.25, 0.2, 0.1])
    events: list[Event] = [(0.0, "program", channel, program, 0) for channel, program in other.items()]
    late: dict[tuple[int, int], float] = {}
    for time, kind, channel, first, second in piece.events:
        if channel in silent or (kind == "program" and channel in other):
            continue
        at = float(np.interp(time, old, new))
        if kind == "on":
            late[channel, first] = float(random.normal(0.0, loose)) if loose else 0.0
            second = int(np.clip(second * gains[channel], 8, 127))
        if kind in ("on", "off"):
            at = max(at + late.get((channel, first), 0.0), 0.0)
            if channel != DRUMS:
                first = first + shift
                if not 0 <= first <= 127:
                    continue
        events.append((at, kind, channel, first, second))
    return Piece(events, np.interp(piece.beats, old, new), piece.numbers, piece.downbeats_known)


def scatter(piece: Piece, random: np.random.Generator) -> Piece:
    """Return the piece with every note somewhere else, so that no beat is left; drums go."""
    moved: dict[tuple[int, int], float] = {}
    events: list[Event] = []
    slow = random.uniform(1.0, 2.5)
    reach = random.uniform(0.6, 1.5)
    for time, kind, channel, first, second in piece.events:
        if channel == DRUMS and kind in ("on", "off"):
            continue
        if kind == "on":
            moved[channel, first] = float(random.uniform(-reach, reach))
        shift = moved.get((channel, first), 0.0) if kind in ("on", "off") else 0.0
        events.append((max(slow * time + shift, 0.0), kind, channel, first, second))
    return Piece(events, np.zeros(0), np.zeros(0, int))


def swung(piece: Piece) -> Piece:
    """Return the piece with the second half of every beat played at two thirds of it, as in swing and shuffles."""
    beats = piece.beats
    old = np.sort(np.concatenate((beats, (beats[1:] + beats[:-1]) / 2)))
    new = np.sort(np.concatenate((beats, beats[:-1] + np.diff(beats) * 2 / 3)))
    events = [(float(np.interp(at, old, new)) if old[0] < at < old[-1] else at, *rest) for at, *rest in piece.events]
    return Piece(events, beats, piece.numbers, piece.downbeats_known)  # type: ignore[arg-type]


PATTERNS = (  # kick, snare, cymbal in sixteenths of a bar of four beats
    ("x.......x.......", "....x.......x...", "x.x.x.x.x.x.x.x."),
    ("x.....x.x.......", "....x.......x...", "x.x.x.x.x.x.x.x."),
    ("x..x....x.x.....", "....x.......x...", "xxxxxxxxxxxxxxxx"),
    ("x...x...x...x...", "....x.......x...", "..x...x...x...x."),
    ("x...x...x...x...", "............x...", "x.x.x.x.x.x.x.x."),
    ("x.......x.x.....", "........x.......", "x...x...x...x..."),
    ("x.....x...x.....", "....x..x.x..x...", "x.x.x.x.x.x.x.x."),
    ("x...........x...", "....x.......x..x", "x...x...x...x..."),
    ("x.......x.......", "..x...x...x...x.", "x...x...x...x..."),
)


def add_drums(piece: Piece, random: np.random.Generator) -> Piece:
    """Return the piece with a plain drum pattern over every bar of four beats."""
    kick, snare, cymbal = PATTERNS[random.integers(len(PATTERNS))]
    pitches = (36, int(random.choice([38, 40, 37])), int(random.choice([42, 44, 51, 70])))
    loud = [int(random.integers(70, 120)), int(random.integers(70, 120)), int(random.integers(40, 90))]
    begins = float(random.choice([0.0, random.uniform(5, 25)], p=[0.7, 0.3]))
    events = list(piece.events)
    swing = random.choice([0.0, 1 / 3], p=[0.85, 0.15])
    bars = np.flatnonzero(piece.numbers == 1)
    for bar, first in enumerate(bars):
        if first + 4 >= len(piece.beats) or list(piece.numbers[first : first + 4]) != [1, 2, 3, 4]:
            continue
        if piece.beats[first] < begins:
            continue
        if bar % 8 == 0 and random.random() < 0.5:
            events += strokes(piece.beats[first], 49, 100)
        for row, pitch, velocity in zip((kick, snare, cymbal), pitches, loud, strict=True):
            for place in (i for i, mark in enumerate(row) if mark == "x"):
                if random.random() < 0.04:
                    continue
                beats = first + place / 4 + (swing / 4 if place % 4 == 2 else 0.0)
                at = float(np.interp(beats, np.arange(len(piece.beats)), piece.beats))
                events += strokes(at, pitch, int(np.clip(velocity + random.normal(0, 8), 20, 127)))
    return Piece(sorted(events, key=lambda event: event[0]), piece.beats, piece.numbers, piece.downbeats_known)


def strokes(at: float, pitch: int, velocity: int) -> list[Event]:
    """Return the two events of one drum stroke."""
    return [(at, "on", DRUMS, pitch, velocity), (at + 0.1, "off", DRUMS, pitch, 0)]


class Player:
    """Sound fonts that stay loaded."""

    def __init__(self, fonts: list[Path]) -> None:
        import ctypes

        import fluidsynth

        self.synths = []
        for font in fonts:
            synth = fluidsynth.Synth(gain=0.3, samplerate=PLAY_RATE)
            synth.setting("synth.polyphony", 96)
            synth.setting("synth.chorus.active", 0)
            fluidsynth._fl.fluid_synth_set_interp_method(ctypes.c_void_p(synth.synth), -1, 1)  # linear: quicker
            identity = synth.sfload(str(font))
            self.synths.append((synth, identity))

    def play(self, events: list[Event], font: int, seconds: float, reverb: float, kit: int) -> np.ndarray:
        """Return the sound of events, float32 (2, S) at PLAY_RATE."""
        synth, identity = self.synths[font]
        synth.system_reset()
        for channel in range(16):
            synth.program_select(channel, identity, 128 if channel == DRUMS else 0, kit if channel == DRUMS else 0)
        synth.set_reverb(roomsize=0.2 + 0.6 * reverb, damping=0.3, width=0.8, level=reverb)
        parts, done = [], 0
        for time, kind, channel, first, second in sorted(events, key=lambda event: event[0]):
            at = int(min(time, seconds) * PLAY_RATE)
            if at - done >= 32:
                parts.append(synth.get_samples(at - done))
                done = at
            if time >= seconds:
                break
            send(synth, kind, channel, first, second)
        parts.append(synth.get_samples(max(int(seconds * PLAY_RATE) - done, 1)))
        return np.concatenate(parts).reshape(-1, 2).T.astype(np.float32) / 32768


def send(synth: Any, kind: str, channel: int, first: int, second: int) -> None:
    """Pass one event to a synthesiser."""
    if kind == "on":
        synth.noteon(channel, first, second)
    elif kind == "off":
        synth.noteoff(channel, first)
    elif kind == "control":
        synth.cc(channel, first, second)
    elif kind == "bend":
        synth.pitch_bend(channel, first)
    else:
        synth.program_change(channel, first)


def coloured(signal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a signal (S,) as another mastering might have it: tilted, driven, a little noise."""
    from scipy.signal import lfilter

    signal = signal / (np.abs(signal).max() + 1e-9)
    signal = lfilter([1.0, random.uniform(-0.7, 0.5)], [1.0], signal)
    signal /= np.abs(signal).max() + 1e-9
    if random.random() < 0.4:
        drive = random.uniform(1.0, 6.0)
        signal = np.tanh(drive * signal) / np.tanh(drive)
    noise = 10 ** random.uniform(-4.5, -2.3)
    return (signal * 10 ** random.uniform(-1, 0) + noise * random.normal(size=signal.size)).astype(np.float32)


def make_excerpt(
    piece: Piece,
    player: Player | None,
    random: np.random.Generator,
    tempi: str = "wide",
    drums: float = 0.5,
    swing: bool = False,
) -> Excerpt:
    """Return one varied excerpt of a piece, played by a font or, without a player, by musigan's own sound.

    `tempi` are those of `tempo_octaves`; `drums` is how likely a piece without drums gets some.
    """
    import soxr

    free = random.random() < 0.06
    last = max(piece.beats[-1] - EXCERPT_SECONDS, 0.0) if len(piece.beats) else 0.0
    start = 0.0 if random.random() < 0.35 else float(random.uniform(0, last))
    part = cut(piece, start, 1.4 * EXCERPT_SECONDS)
    has_drums = any(event[1] == "on" and event[2] == DRUMS for event in part.events)
    if free:
        part = scatter(part, random)
    else:
        if not has_drums and piece.downbeats_known and random.random() < drums:
            part = add_drums(part, random)
        part = swung(part) if swing and len(part.beats) > 4 else part
        part = vary(part, random, tempi)
    if player is None:
        sound = own_sound(part.events, EXCERPT_SECONDS, random)
    else:
        font = int(random.integers(len(player.synths)))
        kit = int(random.choice([0, 0, 0, 8, 16, 24, 25, 32, 40]))
        reverb = float(random.choice([0.0, random.uniform(0.1, 0.9)], p=[0.4, 0.6]))
        sound = player.play(part.events, font, EXCERPT_SECONDS, reverb, kit)
    mono = soxr.resample(sound.mean(axis=0), PLAY_RATE, 12000)
    return Excerpt(coloured(mono, random), part.beats, part.numbers, part.downbeats_known, free)


def own_sound(events: list[Event], seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return events as musigan plays them, float32 (2, S) at PLAY_RATE: each instrument's timbre, or one for all.

    Some are without the decay of struck and plucked strings, as rolls of recordings and drawn ones are.
    """
    channels, rows = notes_of(events, seconds)
    names = tuple(dict.fromkeys(channels.values()))
    notes = NoteEvents.of((names.index(channels[row[0]]), *row[1:]) for row in rows)
    roll, _ = notes_to_roll(notes, names, KeySettings("midi"))
    settings = KeySettings("midi") if random.random() < 0.75 else KeySettings()
    timbre = str(random.choice(list(TIMBRES))) if random.random() < 0.35 else ""
    frames = round(seconds / settings.frame_seconds)
    roll = np.pad(roll, ((0, 0), (0, 0), (0, max(frames - roll.shape[2], 0))))[:, :, :frames]
    return perform(roll, names, settings, PLAY_RATE, timbre)


def notes_of(events: list[Event], seconds: float) -> tuple[dict[int, str], list[tuple[int, int, float, float, int]]]:
    """Return the instrument of each channel, and the notes (channel, pitch, start, stop, velocity) before `seconds`."""
    channels: dict[int, str] = {}
    rows: list[tuple[int, int, float, float, int]] = []
    sounding: dict[tuple[int, int], tuple[float, int]] = {}
    for time, kind, channel, first, second in sorted(events, key=lambda event: event[0]):
        if time >= seconds:
            break
        if kind == "program":
            channels[channel] = [name for program, name in INSTRUMENTS if program <= first][-1]
        if kind in ("on", "off") and (channel, first) in sounding:
            start, velocity = sounding.pop((channel, first))
            rows.append((channel, first, start, time, velocity))
        if kind == "on":
            channels.setdefault(channel, "piano")
            sounding[channel, first] = (time, second)
    rows += [(channel, pitch, start, seconds, velocity) for (channel, pitch), (start, velocity) in sounding.items()]
    channels[DRUMS] = "drums"
    return channels, rows

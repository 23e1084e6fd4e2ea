"""Rolls played by their notes with the instruments of a sound font, drums on its drum kit.

Conventions: a roll is (C, K, T) with linear loudness. Tracks play the program of their group of General MIDI. The sides
of a recording are transcribed together, and each note sounds from where it was louder.

Where the font lacks a program, the first one of the font plays, and where it lacks a kit, drums are silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from musigan.errors import SettingsError
from musigan.midi.events import NoteEvents
from musigan.midi.instruments import DRUM_CHANNEL, NAMES, PROGRAMS, program_named
from musigan.midi.transcription import Transcriber
from musigan.rolls.keyboard import PITCH_OF_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.streamed import RollParts
from musigan.rolls.tracks import DRUMS, has_own_drums, is_recording, sides_or_tracks
from musigan.sound.fluidsynth import BLOCK_SAMPLES, DRUM_BANK, Events, Font, Strip
from musigan.synthesis.ensemble import PLAYERS
from musigan.synthesis.oscillators import joined

PLACES = 5  # from left to right, at which the notes of a recording sound
CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)


@dataclass(frozen=True)
class SoundFont:
    """A sound font that plays the rolls of a store; `program` is what plays all but the drums, None: each its own."""

    font: Font
    settings: KeySettings
    tracks: tuple[str, ...] = ()  # (): the channels are the sides of a recording
    program: int | None = None
    strips: tuple[Strip, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strips", tuple(self._strips()))

    @classmethod
    def open(
        cls, path: str, sample_rate: int, settings: KeySettings, tracks: tuple[str, ...] = (), program: str = ""
    ) -> SoundFont:
        """Open a font file.

        Raises SettingsError for a program that is unknown or not in the font, or a rate that it cannot be played at;
        MusiganError as `Font` does.
        """
        number = program_named(program) if program else None
        font = Font(path, sample_rate)
        if number is not None and (0, number) not in font.presets:
            raise SettingsError(
                f"--program {program}: {path} has no {NAMES[number]} (program {number}); it has {_words(font)}"
            )
        return cls(font, settings, tracks, number)

    def perform(self, roll: np.ndarray) -> np.ndarray:
        """Play a roll (C, K, T) in stereo, float32 (2, S), S = T * frame_samples; its peak is not limited."""
        return joined(self.perform_parts(RollParts.of(np.asarray(roll, np.float32))), 2)

    def perform_parts(self, roll: RollParts) -> Iterator[np.ndarray]:
        """Yield the sound of a roll as `perform` does, in blocks (2, n). Its notes are found in the whole roll."""
        samples = roll.frames * self.settings.frame_samples(self.font.sample_rate)
        notes, strip_numbers = self._notes(roll.whole())
        channels = np.array([strip.channel for strip in self.strips], int)[strip_numbers]
        yield from self.font.play_parts(self.strips, _events(notes, channels, self.font.sample_rate), samples)

    def _notes(self, roll: np.ndarray) -> tuple[NoteEvents, np.ndarray]:
        """Transcribe a roll to notes and the number of each one's strip, (N,)."""
        transcriber = Transcriber(self.settings, self.tracks)
        notes = transcriber.notes(roll)
        if not is_recording(self.tracks):
            return notes, notes.groups
        places = self._places(sides_or_tracks(roll, self.tracks), notes)
        if not has_own_drums(self.tracks):
            return notes, places
        return notes, np.where(notes.groups == transcriber.track_names.index(DRUMS), len(self.strips) - 1, places)

    def _places(self, sides: np.ndarray, notes: NoteEvents) -> np.ndarray:
        """Return the place of each note, 0 to PLACES - 1, by its loudness in the sides (C, K, T)."""
        if len(sides) == 1:
            return np.full(len(notes), PLACES // 2)
        # Sums up to each frame, so that those of a note are a difference.
        totals = np.pad(sides, ((0, 0), (0, 0), (1, 0))).cumsum(axis=2, dtype=np.float64)
        keys = notes.pitches - PITCH_OF_KEY - self.settings.keys.low
        starts, stops = (
            np.rint(times / self.settings.frame_seconds).astype(int) for times in (notes.starts, notes.stops)
        )
        left, right = totals[:2, keys, stops] - totals[:2, keys, starts]
        # With equal power a tone at place p has the amplitudes cos(a) and sin(a), a = (p + 1) * 45 degrees.
        share = np.arctan2(right, left) / (np.pi / 2)
        return np.clip(np.rint(share * (PLACES - 1)), 0, PLACES - 1).astype(int)

    def _strips(self) -> list[Strip]:
        """Return a strip for each track, or for each place and the drums of a recording."""
        if is_recording(self.tracks):
            program = PROGRAMS["piano"] if self.program is None else self.program
            pans = np.linspace(-1, 1, PLACES).tolist()
            strips = [Strip(CHANNELS[place], *self._pitched(program), pan) for place, pan in enumerate(pans)]
            return [*strips, self._kit()] if DRUMS in self.tracks else strips
        strips, turns = [], iter(range(len(self.tracks)))
        for name in self.tracks:
            if name == DRUMS:
                strips.append(self._kit())
                continue
            program = PROGRAMS.get(name, PROGRAMS["piano"]) if self.program is None else self.program
            pan = PLAYERS.get(name, PLAYERS["piano"]).pan
            strips.append(Strip(CHANNELS[next(turns) % len(CHANNELS)], *self._pitched(program), pan))
        return strips

    def _pitched(self, program: int) -> tuple[int, int]:
        """Return (bank, program) of a program, or of the font's first if it lacks that."""
        pitched = [preset for preset in self.font.presets if preset[0] != DRUM_BANK]
        return (0, program) if (0, program) in pitched else next(iter(pitched), (0, 0))

    def _kit(self) -> Strip:
        """Return the strip of the font's first drum kit."""
        kits = [program for bank, program in self.font.presets if bank == DRUM_BANK]
        return Strip(DRUM_CHANNEL, DRUM_BANK, next(iter(kits), 0))


def _events(notes: NoteEvents, channels: np.ndarray, sample_rate: int) -> Events:
    """Return the beginnings and ends of notes in order; at one time ends come first."""
    begins, ends = (np.rint(times * sample_rate / BLOCK_SAMPLES).astype(int) for times in (notes.starts, notes.stops))
    blocks = np.concatenate((np.maximum(ends, begins + 1), begins))
    velocities = np.concatenate((np.zeros(len(notes), int), notes.velocities))
    order = np.lexsort((np.tile(notes.pitches, 2), np.tile(channels, 2), velocities > 0, blocks))
    return Events(blocks[order], np.tile(channels, 2)[order], np.tile(notes.pitches, 2)[order], velocities[order])


def _words(font: Font) -> str:
    """Return in words which programs a font has."""
    programs = [program for bank, program in font.presets if bank == 0]
    named = [f"{program} ({NAMES[program]})" for program in programs[:4]]
    return ", ".join(named) + (f" and {len(programs) - 4} more" if len(programs) > 4 else "") or "drum kits alone"

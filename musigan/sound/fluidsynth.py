"""The FluidSynth library, which plays notes with the instruments of a sound font (.sf2, .sf3): finding it, using it.

Conventions: time is counted in blocks of BLOCK_SAMPLES samples, the only places at which FluidSynth lets a note begin
or end. Channels are those of MIDI, 0 to 15; channel 9 takes drum kits, which are the presets of bank 128.

A player is made anew for each piece, since one that has played before does not give the same samples bit for bit.
What was read of the font is shared by all of them as long as one is there that uses it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from threading import Lock
from types import TracebackType

import numpy as np

from musigan.errors import AudioError, MusiganError, SettingsError

INSTALL_HINT = 'pip install "musigan[soundfont]"'
BLOCK_SAMPLES = 64  # of FluidSynth: 1.5 ms at 44.1 kHz
PART_BLOCKS = 4096  # rendered at once
LOWEST_RATE, HIGHEST_RATE = 8000, 96000  # Hz, which FluidSynth renders at
DRUM_BANK = 128
PAN = 10  # the controller
_NAMES = ("libfluidsynth.so.3", "libfluidsynth.so.2", "libfluidsynth.3.dylib", "libfluidsynth.dylib")
_FOLDERS = ("", "/opt/homebrew/lib/", "/usr/local/lib/")  # "": wherever the system looks
_WHEELS = ("pygame-ce", "pygame")  # which carry the library for themselves; nothing else of them is loaded
_OLDEST = 2  # version 1 has other functions
_LOG_LEVELS = 5
_SETTINGS: dict[bytes, int | float] = {
    b"synth.reverb.active": 0,  # musigan.sound.room is ours
    b"synth.chorus.active": 0,
    b"synth.dynamic-sample-loading": 1,  # of the instruments that play alone: a font may have hundreds of megabytes
    b"synth.lock-memory": 0,
    b"synth.polyphony": 1024,  # with fewer, dense music would lose notes
    b"synth.threadsafe-api": 0,
    b"synth.cpu-cores": 1,
}
_P, _I, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[object, ...]] = {  # name: result, arguments
    "fluid_version_str": (_S,),
    "fluid_set_log_function": (_P, _I, _P, _P),
    "fluid_audio_driver_register": (_I, _P),
    "new_fluid_settings": (_P,),
    "delete_fluid_settings": (None, _P),
    "fluid_settings_setint": (_I, _P, _S, _I),
    "fluid_settings_setnum": (_I, _P, _S, ctypes.c_double),
    "new_fluid_synth": (_P, _P),
    "delete_fluid_synth": (None, _P),
    "fluid_synth_sfload": (_I, _P, _S, _I),
    "fluid_synth_get_sfont_by_id": (_P, _P, _I),
    "fluid_sfont_iteration_start": (None, _P),
    "fluid_sfont_iteration_next": (_P, _P),
    "fluid_preset_get_banknum": (_I, _P),
    "fluid_preset_get_num": (_I, _P),
    "fluid_synth_program_select": (_I, _P, _I, _I, _I, _I),
    "fluid_synth_cc": (_I, _P, _I, _I, _I),
    "fluid_synth_noteon": (_I, _P, _I, _I, _I),
    "fluid_synth_noteoff": (_I, _P, _I, _I),
    "fluid_synth_write_float": (_I, _P, _I, _P, _I, _I, _P, _I, _I),
}


@dataclass(frozen=True)
class Library:
    """The loaded library, its version, and where it comes from."""

    functions: ctypes.CDLL
    version: str
    origin: str


@functools.cache
def find_fluidsynth() -> Library | None:
    """Return the library: the system's, else one that a Python package brought; None without either."""
    for path, origin in _candidates():
        with suppress(OSError, AttributeError):  # not there, not for this machine, or without one of the functions
            functions = ctypes.CDLL(path)
            for name, (result, *arguments) in _SIGNATURES.items():
                function = getattr(functions, name)
                function.restype, function.argtypes = result, arguments
            version = functions.fluid_version_str().decode("ascii", "replace")
            if int(version.split(".")[0]) >= _OLDEST:
                _silence(functions)
                return Library(functions, version, origin)
    return None


def _candidates() -> Iterable[tuple[str, str]]:
    """Yield (path, origin) of what may be the library."""
    for folder in _FOLDERS:
        yield from ((folder + name, "the system") for name in _NAMES)
    for wheel in _WHEELS:
        with suppress(metadata.PackageNotFoundError):
            for file in metadata.distribution(wheel).files or ():
                if file.name.startswith("libfluidsynth"):
                    yield str(file.locate()), wheel


def _silence(functions: ctypes.CDLL) -> None:
    """Keep the library from writing to standard error, and from looking for sound cards, which writes there, too."""
    for level in range(_LOG_LEVELS):
        functions.fluid_set_log_function(level, None, None)
    functions.fluid_audio_driver_register((_S * 1)(None))


@dataclass(frozen=True)
class Strip:
    """What a channel plays: a preset of the font, and its place from -1, left, to 1, right."""

    channel: int
    bank: int
    program: int
    pan: float = 0.0


@dataclass(frozen=True)
class Events:
    """Beginnings and ends of notes as parallel arrays (N,), in the order in which they are to happen."""

    blocks: np.ndarray
    channels: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray  # 0 ends a note


@dataclass
class Font:
    """A sound font that was opened for strips at a sample rate.

    Raises MusiganError without the library, SettingsError for a rate that it cannot render at, AudioError for a file
    that is no sound font or a damaged one, OSError for one that cannot be read.
    """

    path: str
    sample_rate: int
    presets: tuple[tuple[int, int], ...] = field(default=(), init=False)  # (bank, program) of all, sorted
    _library: ctypes.CDLL = field(init=False, repr=False)
    _settings: int = field(init=False, repr=False)
    _keeper: _Player | None = field(default=None, init=False, repr=False)  # keeps what was read in memory
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_sound_font(self.path)
        library = find_fluidsynth()
        if library is None:
            raise MusiganError(f"a sound font needs FluidSynth, which is not there: {INSTALL_HINT} brings it")
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            raise SettingsError(
                f"--sample-rate is {self.sample_rate}: sound fonts are played at {LOWEST_RATE} to {HIGHEST_RATE} Hz"
            )
        self._library = library.functions
        self._settings = self._library.new_fluid_settings()
        for name, value in _SETTINGS.items():
            self._library.fluid_settings_setint(self._settings, name, value)
        self._library.fluid_settings_setnum(self._settings, b"synth.sample-rate", float(self.sample_rate))
        weakref.finalize(self, self._library.delete_fluid_settings, self._settings)
        with self._player(()) as player:
            self.presets = tuple(sorted(player.presets()))

    def play(self, strips: Sequence[Strip], events: Events, samples: int) -> np.ndarray:
        """Play events by strips from silence, as float32 (2, samples); notes that ring longer are cut."""
        return np.concatenate([np.zeros((2, 0), np.float32), *self.play_parts(strips, events, samples)], axis=1)

    def play_parts(self, strips: Sequence[Strip], events: Events, samples: int) -> Iterator[np.ndarray]:
        """Yield what `play` returns in blocks (2, n)."""
        with self._lock:
            if self._keeper is None:
                self._keeper = self._player(strips)
                weakref.finalize(self, self._keeper.close)
            player = self._player(strips)
        with player:
            yield from player.play(events, samples)

    def _player(self, strips: Sequence[Strip]) -> _Player:
        return _Player(self._library, self._settings, self.path, strips)


class _Player:
    """A synthesiser of the library with a font, ready to play; a context that frees it."""

    def __init__(self, library: ctypes.CDLL, settings: int, path: str, strips: Sequence[Strip]) -> None:
        self.library = library
        self.synth = library.new_fluid_synth(settings)
        self.font = library.fluid_synth_sfload(self.synth, os.fsencode(path), 0)
        if self.font < 0:
            self.close()
            raise AudioError(f"{path}: a damaged sound font, which FluidSynth cannot read: copy it anew or try another")
        for strip in strips:
            library.fluid_synth_program_select(self.synth, strip.channel, self.font, strip.bank, strip.program)
            library.fluid_synth_cc(self.synth, strip.channel, PAN, round(64 + 63 * strip.pan))

    def __enter__(self) -> _Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.library.delete_fluid_synth(self.synth)

    def presets(self) -> list[tuple[int, int]]:
        """Return (bank, program) of all presets of the font."""
        font = self.library.fluid_synth_get_sfont_by_id(self.synth, self.font)
        self.library.fluid_sfont_iteration_start(font)
        found = []
        while preset := self.library.fluid_sfont_iteration_next(font):
            found.append((self.library.fluid_preset_get_banknum(preset), self.library.fluid_preset_get_num(preset)))
        return found

    def play(self, events: Events, samples: int) -> Iterator[np.ndarray]:
        """Render events from silence in parts, float32 (2, n), of `samples` in all."""
        columns = (events.blocks, events.channels, events.pitches, events.velocities)
        coming = deque(zip(*(column.tolist() for column in columns), strict=True))
        for first in range(0, samples, PART_BLOCKS * BLOCK_SAMPLES):
            begin = first // BLOCK_SAMPLES
            end = min(begin + PART_BLOCKS, -(-samples // BLOCK_SAMPLES))
            sound = np.zeros((2, (end - begin) * BLOCK_SAMPLES), np.float32)
            position = begin
            while coming and coming[0][0] < end:
                block, channel, pitch, velocity = coming.popleft()
                if block > position:
                    self._render(sound, position - begin, block - begin)
                    position = block
                if velocity:
                    self.library.fluid_synth_noteon(self.synth, channel, pitch, velocity)
                else:
                    self.library.fluid_synth_noteoff(self.synth, channel, pitch)
            self._render(sound, position - begin, end - begin)
            yield sound[:, : samples - first]

    def _render(self, sound: np.ndarray, first: int, stop: int) -> None:
        """Render blocks `first` to `stop` into their place in `sound` (2, S)."""
        left, right = (side[first * BLOCK_SAMPLES :].ctypes.data for side in sound)
        self.library.fluid_synth_write_float(self.synth, (stop - first) * BLOCK_SAMPLES, left, 0, 1, right, 0, 1)


def check_sound_font(path: str) -> None:
    """Raise AudioError unless a file begins as a sound font does; OSError where it cannot be read."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        what = "empty" if not head else "not a sound font"
        raise AudioError(f"{path}: {what}; expected an .sf2 or .sf3 file")

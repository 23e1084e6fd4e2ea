"""Ensembles: rolls whose channels are instruments, each with its timbre and stereo position, drums by a drum kit.

A recording with drums is played as without, by one timbre, and its drums by the kit.

Notes from MIDI have one velocity until they end. Struck and plucked instruments therefore get a decay here, and every
note rings on briefly after its end; a key that is struck again starts anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musigan.rolls.keyboard import A4_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.streamed import RollParts
from musigan.rolls.tone import Tone, by_key
from musigan.rolls.tracks import DRUMS, has_own_drums, sides_or_tracks
from musigan.sound.takes import mixed
from musigan.synthesis import drumkit
from musigan.synthesis.breath import breathe_parts
from musigan.synthesis.oscillators import Block, in_blocks, joined, synthesise_parts
from musigan.synthesis.timbre import ages_seconds, timbre_of

DRUM_GAIN = 3.0  # a stroke's peak against the RMS of a held note of the same velocity
RECORDED_DRUM_GAIN = 2.0  # the same in recordings: as loud beside the sides as in eight songs, in the middle
DECAY_KEYS = 24  # a note this many keys lower takes twice as long to decay


@dataclass(frozen=True)
class TrackPlayer:
    """Timbre, level, stereo position and envelope of a group of instruments."""

    timbre: str
    gain: float
    pan: float = 0.0  # -1 left, 1 right
    decay_seconds: float | None = None  # time in which a held A4 falls to 1/e; None: it does not decay
    release_seconds: float = 0.06


PLAYERS = {
    "piano": TrackPlayer("piano", 0.8, -0.2, 1.2),
    "guitar": TrackPlayer("plucked", 0.7, 0.35, 0.9),
    "bass": TrackPlayer("bass", 0.9, 0.0, 1.2),
    "strings": TrackPlayer("strings", 0.45, -0.4, None, 0.15),
    # Those of the tunes, beyond the groups of General MIDI.
    "accordion": TrackPlayer("reed", 0.55, 0.2),
    "banjo": TrackPlayer("plucked", 0.7, 0.4, 0.4),
    "bells": TrackPlayer("flute", 0.7, 0.3, 0.8, 0.2),
    "brass": TrackPlayer("harmonic", 0.55, 0.15),
    "clarinet": TrackPlayer("reed", 0.6, -0.15),
    "fiddle": TrackPlayer("strings", 0.6, -0.25),
    "flute": TrackPlayer("flute", 0.75, -0.3),
    "harp": TrackPlayer("flute", 0.6, 0.3, 1.4, 0.3),
    "harpsichord": TrackPlayer("harmonic", 0.7, -0.3, 0.7),
    "organ": TrackPlayer("organ", 0.45, 0.25, None, 0.1),
}


def perform(
    roll: np.ndarray, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str | Tone = ""
) -> np.ndarray:
    """Synthesise a roll (C, K, T) with a track name a channel in stereo, (2, S); `timbre` plays all but the drums.

    A tone of songs has their decay, too, and sounds with its breath.

    Raises SettingsError for an unknown timbre, or a roll that does not fit the settings.
    """
    parts = RollParts.of(np.asarray(roll, np.float32))
    return joined(perform_parts(parts, tracks, settings, sample_rate, timbre), 2)


def perform_parts(
    roll: RollParts, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str | Tone = ""
) -> Iterator[np.ndarray]:
    """Yield the sound of a roll as `perform` does, in blocks (2, n)."""
    is_played = [False] * len(tracks)
    for part in roll.parts():
        is_played = [played or bool(plane.any()) for played, plane in zip(is_played, part, strict=True)]
    playing = [n for n, name in enumerate(tracks) if is_played[n] and name != DRUMS]
    players = [PLAYERS.get(tracks[number], PLAYERS["piano"]) for number in playing]

    def pitched() -> RollParts:
        """Return the roll as its players play it, to be read once."""
        shape = (len(playing), *roll.shape[1:])
        if settings.band != "midi":
            return RollParts(shape, lambda first, stop: roll.read(first, stop)[playing])
        return RollParts(shape, _Played(roll, playing, [Envelopes(each, settings, timbre) for each in players]).read)

    def mixed_players(block: Block, part: np.ndarray) -> np.ndarray:
        """Add up the spectra of all players in stereo, so that one transform makes them sound: (2, S)."""
        spectrum = np.zeros((2, block.bins), np.complex64)
        for player, plane in zip(players, part, strict=True):
            gains = player.gain * drumkit.pan_gains(player.pan)
            spectrum += gains[:, None] * block.refined_spectrum(plane[None], timbre_of(timbre or player.timbre))
        return block.signal(spectrum)

    signals = [in_blocks(pitched(), settings, sample_rate, mixed_players)]
    if isinstance(timbre, Tone):
        gains = np.array([player.gain * drumkit.pan_gains(player.pan) for player in players], np.float32)
        again, squares = pitched(), gains.reshape(-1, 2) ** 2

        def sides(first: int, stop: int) -> np.ndarray:
            return np.sqrt(np.einsum("ns,nkt->skt", squares, again.read(first, stop) ** 2))

        signals.append(breathe_parts(RollParts((2, *roll.shape[1:]), sides), timbre, settings, sample_rate))
    for number, name in enumerate(tracks):
        if name == DRUMS:
            kit = drumkit.play_parts(roll.channels(slice(number, number + 1)).whole()[0], settings, sample_rate)
            signals.append(DRUM_GAIN * block for block in kit)
    yield from mixed(*signals)


def perform_recording(
    roll: np.ndarray, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str | Tone = ""
) -> np.ndarray:
    """Synthesise a recording's roll (C, K, T) as its sides sound, (sides, S), and its drums, if there are any.

    Raises SettingsError for an unknown timbre, or a roll that does not fit the settings.
    """
    sides = len(sides_or_tracks(roll, tracks))
    return joined(perform_recording_parts(RollParts.of(roll), tracks, settings, sample_rate, timbre), sides)


def perform_recording_parts(
    roll: RollParts, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str | Tone = ""
) -> Iterator[np.ndarray]:
    """Yield the sound of a recording's roll as `perform_recording` does, in blocks (sides, n)."""
    sides = roll.channels(slice(-1)) if has_own_drums(tracks) else roll
    signals = [synthesise_parts(sides, settings, sample_rate, timbre or "sine")]
    if has_own_drums(tracks):
        kit = drumkit.play_parts(roll.channels(slice(-1, None)).whole()[0], settings, sample_rate)
        is_stereo = sides.shape[0] == 2
        signals.append(
            RECORDED_DRUM_GAIN * (block if is_stereo else block.mean(axis=0, keepdims=True)) for block in kit
        )
    yield from mixed(*signals)


class _Played:
    """A roll as it is played, which is read from front to back: notes ring on from part to part."""

    def __init__(self, roll: RollParts, channels: list[int], envelopes: list[Envelopes]) -> None:
        self._roll, self._channels, self._envelopes = roll, channels, envelopes
        self._begin = self._end = 0
        self._kept = np.zeros((len(channels), roll.shape[1], 0), np.float32)  # frames from the one to the other

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return frames `first`, no earlier than in the call before, to `stop`: (players, K, stop - first)."""
        if stop > self._end:
            planes = self._roll.read(self._end, min(stop + 1, self._roll.frames))[self._channels]
            count = stop - self._end
            shaped = [
                each.shape(plane[:, :count], plane[:, count:])
                for each, plane in zip(self._envelopes, planes, strict=True)
            ]
            new = np.stack(shaped) if shaped else planes[..., :count]
            self._kept, self._begin, self._end = (
                np.concatenate((self._kept[..., first - self._begin :], new), axis=-1), first, stop,
            )  # fmt: skip
        return self._kept[..., first - self._begin : stop - self._begin]


def apply_envelopes(
    plane: np.ndarray, player: TrackPlayer, settings: KeySettings, timbre: str | Tone = ""
) -> np.ndarray:
    """Apply the decay and release of the player's instrument, or of a tone, to notes of constant loudness, (K, T)."""
    return Envelopes(player, settings, timbre).shape(plane, plane[:, :0])


class Envelopes:
    """The decay and release of a player's instrument, or of a tone, for notes that come part by part."""

    def __init__(self, player: TrackPlayer, settings: KeySettings, timbre: str | Tone = "") -> None:
        self._player, self._settings, self._timbre = player, settings, timbre
        self._keys = np.arange(settings.keys.low, settings.keys.high + 1)
        self._sounding = np.zeros(len(self._keys), int)  # frames since each key was silent
        self._last = np.zeros(len(self._keys), np.float32)  # loudness of each key in the frame before

    def shape(self, plane: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Return the loudness of the next notes of constant loudness, (K, n); `following` has a frame more, or none."""
        loudness = np.array(plane, np.float32)
        frame_seconds, is_silent = self._settings.frame_seconds, plane <= 0
        if not plane.shape[1]:
            return loudness
        ages = ages_seconds(plane, frame_seconds, self._sounding)
        if isinstance(self._timbre, Tone):
            tone = self._timbre
            rise, fall = (by_key(each, self._keys)[:, None] for each in (tone.attack_seconds, tone.decay_seconds))
            # An attack is how long it takes to nine tenths, e ** -2.3 short of the whole.
            loudness *= (1 - np.exp(-2.3 * (ages + frame_seconds) / np.maximum(rise, 1e-3))).astype(np.float32)
            loudness *= np.exp(-ages / fall).astype(np.float32)
        elif self._player.decay_seconds is not None:
            key_decay_seconds = self._player.decay_seconds * 2.0 ** ((A4_KEY - self._keys) / DECAY_KEYS)
            loudness *= np.exp(-ages / key_decay_seconds[:, None]).astype(np.float32)
        release_factor = np.float32(np.exp(-frame_seconds / self._player.release_seconds))
        is_sounding_next = np.concatenate((~is_silent[:, 1:], following[:, :1] > 0), axis=1)
        if is_sounding_next.shape[1] < plane.shape[1]:  # nothing follows
            is_sounding_next = np.pad(is_sounding_next, ((0, 0), (0, 1)))
        last = self._last
        for frame in range(loudness.shape[1]):
            last = loudness[:, frame] = np.maximum(loudness[:, frame], release_factor * last)
        self._last = last.copy()
        was_silent = is_silent[:, ::-1].argmax(axis=1)  # frames since, where there was one
        self._sounding = np.where(is_silent.any(axis=1), was_silent, self._sounding + plane.shape[1])
        loudness[(is_silent & is_sounding_next) | (is_silent & (loudness < 1e-3))] = 0.0
        return loudness

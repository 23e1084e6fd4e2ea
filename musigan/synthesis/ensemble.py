"""Ensembles: rolls whose channels are instruments, each with its timbre and stereo position, drums by a drum kit.

A recording with drums is played as without, by one timbre, and its drums by the kit.

Notes from MIDI have one velocity until they end. Struck and plucked instruments therefore get a decay here, and every
note rings on briefly after its end; a key that is struck again starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.rolls.keyboard import A4_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import Tone, by_key
from musigan.rolls.tracks import DRUMS, has_own_drums, sides_or_tracks
from musigan.synthesis import drumkit
from musigan.synthesis.breath import breathe
from musigan.synthesis.oscillators import Block, in_blocks, synthesise
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
    playing = [
        (PLAYERS.get(name, PLAYERS["piano"]), plane)
        for name, plane in zip(tracks, roll, strict=True)
        if name != DRUMS and plane.any()
    ]
    pitched = np.zeros((len(playing), *roll.shape[1:]), np.float32)
    for number, (player, plane) in enumerate(playing):
        pitched[number] = apply_envelopes(plane, player, settings, timbre) if settings.band == "midi" else plane

    def mixed(block: Block, part: np.ndarray) -> np.ndarray:
        """Add up the spectra of all players in stereo, so that one transform makes them sound: (2, S)."""
        spectrum = np.zeros((2, block.bins), np.complex64)
        for (player, _), plane in zip(playing, part, strict=True):
            gains = player.gain * drumkit.pan_gains(player.pan)
            spectrum += gains[:, None] * block.refined_spectrum(plane[None], timbre_of(timbre or player.timbre))
        return block.signal(spectrum)

    sound = in_blocks(pitched, settings, sample_rate, 2, mixed)
    if isinstance(timbre, Tone):
        gains = np.array([player.gain * drumkit.pan_gains(player.pan) for player, _ in playing], np.float32)
        sides = np.sqrt(np.einsum("ns,nkt->skt", gains.reshape(-1, 2) ** 2, pitched**2))
        sound += breathe(sides, timbre, settings, sample_rate)
    for name, plane in zip(tracks, roll, strict=True):
        if name == DRUMS:
            sound += DRUM_GAIN * drumkit.play(plane, settings, sample_rate)
    return sound


def perform_recording(
    roll: np.ndarray, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str | Tone = ""
) -> np.ndarray:
    """Synthesise a recording's roll (C, K, T) as its sides sound, (sides, S), and its drums, if there are any.

    Raises SettingsError for an unknown timbre, or a roll that does not fit the settings.
    """
    sides = sides_or_tracks(roll, tracks)
    sound = synthesise(sides, settings, sample_rate, timbre or "sine")
    if has_own_drums(tracks) and roll[-1].any():
        kit = drumkit.play(roll[-1], settings, sample_rate)
        sound += RECORDED_DRUM_GAIN * (kit if len(sides) == len(kit) else kit.mean(axis=0, keepdims=True))
    return sound


def apply_envelopes(
    plane: np.ndarray, player: TrackPlayer, settings: KeySettings, timbre: str | Tone = ""
) -> np.ndarray:
    """Apply the decay and release of the player's instrument, or of a tone, to notes of constant loudness, (K, T)."""
    loudness = np.array(plane, np.float32)
    keys = np.arange(settings.keys.low, settings.keys.high + 1)
    if isinstance(timbre, Tone):
        rise, fall = (by_key(seconds, keys)[:, None] for seconds in (timbre.attack_seconds, timbre.decay_seconds))
        ages = ages_seconds(plane, settings.frame_seconds)
        # An attack is how long it takes to nine tenths, e ** -2.3 short of the whole.
        loudness *= (1 - np.exp(-2.3 * (ages + settings.frame_seconds) / np.maximum(rise, 1e-3))).astype(np.float32)
        loudness *= np.exp(-ages / fall).astype(np.float32)
    elif player.decay_seconds is not None:
        key_decay_seconds = player.decay_seconds * 2.0 ** ((A4_KEY - keys) / DECAY_KEYS)
        loudness *= np.exp(-ages_seconds(plane, settings.frame_seconds) / key_decay_seconds[:, None]).astype(np.float32)
    release_factor = np.float32(np.exp(-settings.frame_seconds / player.release_seconds))
    is_silent = plane <= 0
    is_before_onset = is_silent & ~np.pad(is_silent[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    for frame in range(1, loudness.shape[1]):
        loudness[:, frame] = np.maximum(loudness[:, frame], release_factor * loudness[:, frame - 1])
    loudness[is_before_onset | (is_silent & (loudness < 1e-3))] = 0.0
    return loudness

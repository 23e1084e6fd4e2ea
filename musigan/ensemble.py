"""A roll whose channels are instruments, played together: each on its own timbre, at its own place, drums as drums.

Notes from MIDI are held at their velocity. What is struck or plucked here dies away while it is held, as on the
instrument, and all notes ring on a little when they end; a key that is struck again begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan import drumkit
from musigan.keysettings import A4_KEY, KeySettings
from musigan.synthesis import synthesise
from musigan.timbre import ages_seconds
from musigan.tracks import DRUMS

DRUM_GAIN = 3.0  # a stroke's peak against the RMS of a held note of the same velocity
DECAY_KEYS = 24  # so many keys lower a note takes twice as long to die away


@dataclass(frozen=True)
class Player:
    """How a group of instruments is played."""

    timbre: str
    gain: float
    pan: float = 0.0  # -1 left, 1 right
    decay_seconds: float | None = None  # after which a held A4 has fallen by 1/e; None: it does not
    release_seconds: float = 0.06


PLAYERS = {
    "piano": Player("piano", 0.8, -0.2, 1.2),
    "guitar": Player("plucked", 0.7, 0.35, 0.9),
    "bass": Player("bass", 0.9, 0.0, 1.2),
    "strings": Player("strings", 0.45, -0.4, None, 0.15),
}


def perform(
    roll: np.ndarray, tracks: tuple[str, ...], settings: KeySettings, sample_rate: int, timbre: str = ""
) -> np.ndarray:
    """Stereo sound (2, S) of a roll (C, K, T) with a name for each channel; `timbre` plays all but the drums.

    Raises SettingsError for an unknown timbre, or a roll that does not fit the settings.
    """
    sound = np.zeros((2, roll.shape[-1] * settings.frame_samples(sample_rate)), np.float32)
    for name, plane in zip(tracks, roll, strict=True):
        if not plane.any():
            continue
        if name == DRUMS:
            sound += DRUM_GAIN * drumkit.play(plane, settings, sample_rate)
            continue
        player = PLAYERS.get(name, PLAYERS["piano"])
        shaped = with_envelopes(plane, player, settings) if settings.band == "midi" else plane
        mono = synthesise(shaped[None], settings, sample_rate, timbre or player.timbre)
        sound += player.gain * drumkit.panned(player.pan)[:, None] * mono
    return sound


def with_envelopes(plane: np.ndarray, player: Player, settings: KeySettings) -> np.ndarray:
    """Notes held at one loudness, (K, T), as the player's instrument gives them."""
    shaped = np.array(plane, np.float32)
    if player.decay_seconds is not None:
        keys = np.arange(settings.keys.low, settings.keys.high + 1)
        seconds = player.decay_seconds * 2.0 ** ((A4_KEY - keys) / DECAY_KEYS)
        shaped *= np.exp(-ages_seconds(plane, settings.frame_seconds) / seconds[:, None]).astype(np.float32)
    left = np.float32(np.exp(-settings.frame_seconds / player.release_seconds))
    silent = plane <= 0
    before_onset = silent & ~np.pad(silent[:, 1:], ((0, 0), (0, 1)), constant_values=True)
    for frame in range(1, shaped.shape[1]):
        shaped[:, frame] = np.maximum(shaped[:, frame], left * shaped[:, frame - 1])
    shaped[before_onset | (silent & (shaped < 1e-3))] = 0.0
    return shaped

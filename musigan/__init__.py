"""musigan: a folder of music in, new music out. The tools are thin; this library holds the thinking.

The functions here are the library's public face; the rest may change without notice. Rolls are float32 (C, K, T):
channels, piano keys and frames of 20 ms, in linear loudness, 1 being the song's level. Sound is float32 (C, S), within
+-1. Importing musigan imports nothing heavy: each function does that when it is called.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from musigan.errors import (
    AudioError,
    CheckpointError,
    MidiError,
    MusiganError,
    SettingsError,
    StoreError,
    UsageError,
)

if TYPE_CHECKING:
    import os

    import numpy as np

    from musigan.sampling.sampler import Sampler
    from musigan.store import Reader

__version__ = "0.1.0"
__all__ = [
    "AudioError", "CheckpointError", "MidiError", "MusiganError", "SettingsError", "StoreError", "UsageError",
    "__version__", "analyse", "load", "read", "synthesise",
]  # fmt: skip

SOUND_SECONDS = 120.0  # of a file that `analyse` decodes, as mp3-to-npy does


def load(checkpoint: str | os.PathLike[str], device: str = "cpu") -> Sampler:
    """Load a checkpoint, ready to draw pieces: `load("ckpt.pt").sample(count=2, seconds=30, seed=1)`.

    device: "cpu", "cuda", "mps" or "auto". Raises CheckpointError for a file that is no checkpoint or draws no music,
    SettingsError for a device that this machine does not have.
    """
    from pathlib import Path

    from musigan.machine.devices import resolve_device
    from musigan.sampling.sampler import Sampler

    return Sampler.load(Path(checkpoint), resolve_device(device))


def read(store: str | os.PathLike[str] | IO[bytes]) -> Reader:
    """Open a store of songs, a file, folder, URL or binary stream; use it in a `with` statement and iterate over it.

    Each item has a `title`, an `array` and a `song`: artist, genre, tempo and more. Raises StoreError for no store.
    """
    import os

    from musigan.store import open_reader

    return open_reader(os.fspath(store) if isinstance(store, os.PathLike) else store)


def analyse(sound: str | os.PathLike[str] | np.ndarray, sample_rate: int | None = None) -> np.ndarray:
    """Return the roll (C, 88, T) of a file's first 120 s, or of samples (C, S) or (S,) at `sample_rate` Hz.

    Raises AudioError for a file that cannot be decoded, UsageError for samples without a sample rate.
    """
    import numpy as np

    from musigan.analysis import bands

    if not isinstance(sound, np.ndarray):
        from musigan.sound.audio import decode

        try:
            recording = decode(sound, seconds=SOUND_SECONDS)
        except AudioError as error:
            raise AudioError(f"{sound}: {error}") from error
        sound, sample_rate = recording.signal, recording.sample_rate
    if sample_rate is None:
        raise UsageError("samples without a sample rate: give it as well, analyse(samples, sample_rate=44100)")
    roll, _ = bands.analyse(np.atleast_2d(np.asarray(sound, np.float32)), sample_rate)
    return roll


def synthesise(
    roll: np.ndarray,
    sample_rate: int = 44_100,
    timbre: str = "sine",
    low_key: int = 1,
    frame_seconds: float = 0.02,
) -> np.ndarray:
    """Return the sound (C, S) of a roll (C, K, T) whose first key is `low_key`, its peak at -2.5 dBFS.

    Raises SettingsError for an unknown timbre, keys that are not on a piano, or a sample rate at which a frame is no
    whole number of samples.
    """
    import numpy as np

    from musigan.rolls.keyboard import KeyRange
    from musigan.rolls.keysettings import KeySettings
    from musigan.sound.mastering import CEILING_DB
    from musigan.synthesis import oscillators

    keys = KeyRange(low_key, low_key + roll.shape[-2] - 1)
    sound = oscillators.synthesise(roll, KeySettings(keys=keys, frame_seconds=frame_seconds), sample_rate, timbre)
    peak = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(10 ** (CEILING_DB / 20) / peak) if peak else sound

"""Drawn pieces as finished sound files: in stereo, at the usual loudness, faded out, with tags."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from musigan.sound import lufs

if TYPE_CHECKING:
    from musigan.files.targets import Target
    from musigan.sampling.sampler import Piece
    from musigan.store import Song, StoreHeader
    from musigan.synthesis.rendering import SoundSettings

Float = npt.NDArray[np.float32]
FADE_IN_SECONDS, FADE_OUT_SECONDS = 0.02, 2.0  # pieces have no ending of their own
HIGHEST_QUANTILE = 0.999  # of samples, raised to full scale: strokes of drums beyond it are limited


def settings_of(header: StoreHeader) -> SoundSettings:
    """Return how pieces of a checkpoint sound: at 44.1 kHz, as loud as `keys-to-mp3` makes them."""
    from musigan.synthesis.rendering import SoundSettings

    sound = SoundSettings.of_store(header, loudness=lufs.USUAL)
    sound.sample_rate = sound.own_rate
    return sound


def in_stereo(signal: Float) -> Float:
    """Return a signal (C, S) as two sides, (2, S)."""
    return signal if len(signal) == 2 else np.repeat(signal.mean(0, keepdims=True), 2, axis=0)


def write(
    signal: Float, song: Song, sound: SoundSettings, path: str, target: Target, stream: IO[bytes] | None = None
) -> str:
    """Write a signal (2, S) to a file of the target's format, or to the stream for `-`; return its name for people."""
    from musigan.sound.encoding import encode
    from musigan.sound.mastering import master
    from musigan.synthesis.rendering import tags

    peak = float(np.quantile(np.abs(signal[:, ::7]), HIGHEST_QUANTILE)) or float(np.abs(signal).max(initial=0.0))
    louder = signal / np.float32(peak) if peak else signal
    assert sound.target_lufs is not None
    normal = lufs.normalise(louder, sound.sample_rate, sound.target_lufs)
    blocks = master([normal], sound.sample_rate, 0.0, FADE_IN_SECONDS, FADE_OUT_SECONDS)
    encode(blocks, sound.sample_rate, stream or path, target.format, target.bitrate, tags(song), target.force)
    return "standard output" if stream else path


def manner(piece: Piece) -> str:
    """Say in which style and at what tempo a piece is, to follow other words."""
    style = f" in the style {piece.genre}" if piece.genre else ""
    steady = piece.beat if piece.beats is None else piece.beats.steady()
    return style if steady is None else f"{style} at {steady.tempo:.0f} beats a minute"

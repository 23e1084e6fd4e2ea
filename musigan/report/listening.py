"""Music for the page: excerpts of real songs, and every roll as sound and picture, all made in the same way.

Real and generated rolls are treated alike, so that they differ in nothing but the music: they have the same length and
model space, the same oscillators and encoder, and equal perceived loudness.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.errors import MusiganError, StoreError
from musigan.machine.parallel import ordered_map
from musigan.midi.transcription import Transcriber
from musigan.midi.writing import Part, write_score
from musigan.pictures.png import roll_png
from musigan.rolls import keyboard
from musigan.rolls.beats import Beats
from musigan.rolls.loudness import compress, expand
from musigan.rolls.tracks import layers_of
from musigan.sound.encoding import encode
from musigan.sound.mastering import CEILING_DB
from musigan.store.alike import AXES, require_alike
from musigan.store.songs import piece_roll, read_item
from musigan.store.splits import names_held_by
from musigan.synthesis.rendering import SoundSettings

if TYPE_CHECKING:
    from musigan.rolls.shape import RollShape
    from musigan.sampling.sampler import Sampler
    from musigan.sampling.transfer import Transfer
    from musigan.store import ItemInfo, Reader, StoreHeader

FADE_SECONDS = 0.05
QUIETEST_DB = -32.0  # A-weighted; where a peak keeps a piece below this level, the limiter reduces the peak
SOUNDING_SHARE = 0.75  # of an excerpt's frames, if the song has such an excerpt
MARGIN_KEYS = 2


@dataclass(frozen=True)
class Clip:
    """A stretch of music: `roll` (C, K, T) in linear loudness, a title and a note."""

    roll: np.ndarray
    title: str
    note: str = ""
    beats: Beats = field(default_factory=Beats.none)  # from its first frame on


def held_out(reader: Reader, data: Mapping[str, Any]) -> tuple[list[ItemInfo], bool]:
    """Return the songs to take real music from, and whether a run with this fingerprint held them out from training."""
    infos, names = list(reader.infos()), names_held_by(data, reader)
    validation_songs = [info for info in infos if info.name in names]
    return validation_songs or infos, bool(validation_songs)


def check_fit(reader: Reader, shape: RollShape, header: StoreHeader) -> None:
    """Check that a keys store fits the checkpoint's synthesis. Raises StoreError with both values."""
    next_step = "name the store that the run was trained on, or one made with its settings"
    require_alike((reader.source, reader.header), ("the checkpoint", header), next_step, AXES)
    for info in reader.infos():
        if info.shape[-3] != shape.channels:
            raise StoreError(
                f"{reader.source} has {info.shape[-3]} channels (item {info.name}), the checkpoint {shape.channels}: "
                f"{next_step}"
            )


def excerpts(
    reader: Reader, sampler: Sampler | Transfer, frames: int, count: int, seed: int, data: Mapping[str, Any]
) -> list[Clip]:
    """Return at most `count` excerpts of `frames` frames, from as many songs as possible, none overlapping another.

    They are of songs that the run with the fingerprint `data` held back, if there are any, and have the range of
    generated music: loudness beyond the maximum of model space is limited to it.
    """
    infos, _ = held_out(reader, data)
    rng = np.random.default_rng([seed, frames, 1])
    queues = [_stretches(reader, infos[i], frames, sampler, rng) for i in rng.permutation(len(infos))]
    selection: list[Clip] = []
    while len(selection) < count and queues:
        for queue in list(queues):
            excerpt = next(queue, None) if len(selection) < count else None
            if excerpt is None:
                queues.remove(queue)
            else:
                selection.append(excerpt)
    if not selection:
        raise MusiganError(f"{reader.source}: no song is as long as {frames} frames; ask for fewer --seconds")
    return selection


def _stretches(
    reader: Reader, info: ItemInfo, frames: int, sampler: Sampler | Transfer, rng: np.random.Generator
) -> Iterator[Clip]:
    """Yield adjacent stretches of one song in random order; those with long silence come last."""
    song = _whole(reader, info)
    starts = rng.permutation(song.shape[-1] // frames) * frames
    sounding = song.max(axis=(0, 1)) > 0  # (T,)
    is_quiet = [bool(sounding[start : start + frames].mean() < SOUNDING_SHARE) for start in starts]
    song_start_seconds = info.song.begin_seconds
    del song  # read again for each stretch: many songs may wait for their next turn, and would fill the memory
    for index in np.argsort(is_quiet, kind="stable"):
        start = int(starts[index])
        roll = expand(
            compress(_whole(reader, info)[..., start : start + frames], sampler.compression), sampler.compression
        )
        position_text = f"from {_clock(song_start_seconds + start * sampler.store.header.frame_seconds)}"
        artist = info.song.artist
        begin_seconds = start * sampler.store.header.frame_seconds
        beats = info.song.every_beat.counted_from(song_start_seconds + begin_seconds)
        yield Clip(roll, title_of(info), f"{artist}, {position_text}" if artist else position_text, beats)


def _whole(reader: Reader, info: ItemInfo) -> np.ndarray:
    """Read a song's roll as one array, (C, K, T)."""
    return piece_roll(read_item(reader, info), reader.header.frame_seconds)


def title_of(info: ItemInfo) -> str:
    """Return a song's title, else its source, else its number in the store."""
    return info.song.title_or_source or f"song {info.name}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def render_excerpts(
    music: Sequence[Clip], sampler: Sampler | Transfer, jobs: int, on_piece: Callable[[], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return each excerpt as {title, note, sound, midi, rolls, beats}, and what they share: length, keys, layers.

    Sound (MP3), notes (MIDI) and rolls, a picture (PNG) of each layer, are in base64; of beats [second, is a downbeat].
    """
    sound = SoundSettings.of_store(sampler.store.header, fade=FADE_SECONDS)
    transcriber = Transcriber.of_store(sampler.store.header)
    layers = [layers_of(compress(excerpt.roll, sampler.compression), sound.tracks) for excerpt in music]
    mixed_rolls = [planes.max(axis=0) for _, planes in layers]  # (K, T) each
    low, high = _sounding_keys(mixed_rolls)
    signals = []
    for signal in ordered_map(lambda e: sound.synthesise_roll(e.roll), music, jobs):
        signals.append(signal)
        on_piece()
    pieces = []
    loud = match_loudness(signals, sound.sample_rate)
    for excerpt, (_, planes), signal in zip(music, layers, loud, strict=True):
        seconds = excerpt.roll.shape[-1] * sampler.store.header.frame_seconds
        pieces.append({
            "title": excerpt.title, "note": excerpt.note, "sound": _mp3(signal, sound),
            "midi": _midi(excerpt, transcriber),
            "rolls": [base64.b64encode(roll_png(plane[low : high + 1])).decode() for plane in planes],
            "beats": _beat_lines(excerpt.beats, seconds),
        })  # fmt: skip
    low_key = sampler.store.header.low_key
    frames = mixed_rolls[0].shape[1] if mixed_rolls else 0
    return pieces, {
        "seconds": frames * sampler.store.header.frame_seconds,
        "layers": list(layers[0][0]) if layers else [],
        "keys": [keyboard.key_name(low_key + key) for key in range(low, high + 1)],
    }


def _beat_lines(beats: Beats, seconds: float) -> list[list[float | bool]]:
    """Return the beats within so many seconds as [second, whether a bar begins]; none of what is free of beat."""
    if beats.is_free:
        return []
    bars = set(beats.downbeats.tolist())
    return [[round(time, 3), time in bars] for time in beats.seconds.tolist() if 0 <= time < seconds]


def _midi(excerpt: Clip, transcriber: Transcriber) -> str:
    """Return the notes of an excerpt as a MIDI file in base64; "" where it has none."""
    notes = transcriber.notes(excerpt.roll)
    if not len(notes):
        return ""
    steady = None if excerpt.beats.is_free else excerpt.beats.steady()
    part = Part(notes, excerpt.roll.shape[-1] * transcriber.settings.frame_seconds, steady.tempo if steady else 120.0)
    return base64.b64encode(write_score([part], transcriber.track_names)).decode()


def _sounding_keys(planes: Sequence[np.ndarray]) -> tuple[int, int]:
    """Return the lowest and highest key used in any of the planes (K, T), with a margin; at least an octave."""
    used_keys = np.flatnonzero(np.any([plane.any(axis=1) for plane in planes], axis=0)) if planes else np.arange(1)
    last_key = len(planes[0]) - 1 if planes else 0
    low, high = (int(used_keys[0]), int(used_keys[-1])) if used_keys.size else (0, last_key)
    margin = max(MARGIN_KEYS, -(-(12 - (high - low)) // 2))
    return max(low - margin, 0), min(high + margin, last_key)


def match_loudness(signals: Sequence[np.ndarray], sample_rate: int) -> list[np.ndarray]:
    """Scale signals (C, S) to one A-weighted level: the highest that all reach with peaks below the ceiling."""
    ceiling = 10 ** (CEILING_DB / 20)
    levels = [a_weighted_rms(signal, sample_rate) for signal in signals]
    peaks = [float(np.abs(signal).max(initial=0.0)) for signal in signals]
    reachable_levels = [level * ceiling / peak for level, peak in zip(levels, peaks, strict=True) if level > 0]
    target_level = max(min(reachable_levels, default=0.0), 10 ** (QUIETEST_DB / 20))
    return [
        signal * np.float32(target_level / level if level > 0 else 1.0)
        for signal, level in zip(signals, levels, strict=True)
    ]


def a_weighted_rms(signal: np.ndarray, sample_rate: int) -> float:
    """Return the RMS of (C, S) over all channels, A-weighted: by the ear's response at low levels (IEC 61672-1)."""
    import scipy.fft

    samples = signal.shape[1]
    if not samples:
        return 0.0
    squared = scipy.fft.rfftfreq(samples, 1 / sample_rate) ** 2
    poles = (squared + 20.6**2) * np.sqrt((squared + 107.7**2) * (squared + 737.9**2)) * (squared + 12194.0**2)
    weight = 10 ** (2.0 / 20) * 12194.0**2 * squared**2 / poles
    power = np.abs(scipy.fft.rfft(signal.astype(np.float64))) ** 2 * weight**2
    return float(np.sqrt(2 * power.sum() / samples**2 / signal.shape[0]))


def _mp3(signal: np.ndarray, sound: SoundSettings) -> str:
    """Encode a signal (C, S) as MP3 in base64, without tags, which would reveal what it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sound.mp3")
        encode(sound.master_signals([signal]), sound.sample_rate, path, "mp3")
        with open(path, "rb") as file:
            return base64.b64encode(file.read()).decode()

"""Music for the page: excerpts of real songs, and every roll as sound and picture under the same conditions.

Real and drawn rolls go the same way, so that nothing but the music tells them apart: as long, in the same model space,
through the same oscillators and encoder, and equally loud to the ear.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan import plots
from musigan.data import compress, expand
from musigan.encoding import encode
from musigan.errors import MusiganError, StoreError
from musigan.keysettings import KeySettings
from musigan.mastering import CEILING_DB
from musigan.parallel import ordered_map
from musigan.rendering import Sound, piece_roll
from musigan.report.pictures import roll_png
from musigan.tracks import together

if TYPE_CHECKING:
    from musigan.models import RollShape
    from musigan.sampling import Sampler
    from musigan.store import ItemInfo, Reader
    from musigan.transfer import Transfer

FADE_SECONDS = 0.05
QUIETEST_DB = -32.0  # A-weighted; where a peak would not let a piece be that loud, the limiter takes the peak
SOUNDING_SHARE = 0.75  # of an excerpt's frames, if the song has such an excerpt
MARGIN_KEYS = 2


@dataclass(frozen=True)
class Excerpt:
    """A stretch of music: `roll` (C, K, T) in linear loudness, and words about it."""

    roll: np.ndarray
    title: str
    note: str = ""


def held_out(reader: Reader) -> tuple[list[ItemInfo], bool]:
    """The songs to take real music from, and whether they were held back from training."""
    infos = list(reader.infos())
    back = [info for info in infos if info.attributes.get("split") == "validation"]
    return back or infos, bool(back)


def check_fit(reader: Reader, shape: RollShape, store: Mapping[str, Any]) -> None:
    """Refuse a keys store that the checkpoint's synthesis would not play as it was meant; name both values."""
    own = reader.attributes
    pairs = [
        (f"{name} {own.get(name)}", f"{store[name]}")
        for name in ("low_key", "high_key", "frame_seconds")
        if own.get(name) != store[name]
    ]
    pairs += [
        (f"{info.shape[-3]} channels (item {info.name})", f"{shape.channels}")
        for info in reader.infos()
        if info.shape[-3] != shape.channels
    ]
    if pairs:
        raise StoreError(
            f"{reader.source}: has {pairs[0][0]}, the checkpoint {pairs[0][1]}; name the store that the run was "
            "trained on, or one made with its settings"
        )


def excerpts(reader: Reader, sampler: Sampler | Transfer, frames: int, count: int, seed: int) -> list[Excerpt]:
    """At most `count` excerpts of `frames` frames: of as many songs as there are, none overlapping another.

    In the range that drawn music has: what is louder than model space can say is brought down to it.
    """
    infos, _ = held_out(reader)
    rng = np.random.default_rng([seed, frames, 1])
    queues = [_stretches(reader, infos[i], frames, sampler, rng) for i in rng.permutation(len(infos))]
    found: list[Excerpt] = []
    while len(found) < count and queues:
        for queue in list(queues):
            excerpt = next(queue, None) if len(found) < count else None
            if excerpt is None:
                queues.remove(queue)
            else:
                found.append(excerpt)
    if not found:
        raise MusiganError(f"{reader.source}: no song is as long as {frames} frames; ask for fewer --seconds")
    return found


def _stretches(
    reader: Reader, info: ItemInfo, frames: int, sampler: Sampler | Transfer, rng: np.random.Generator
) -> Iterator[Excerpt]:
    """Stretches of one song, side by side, in random order; those with long silence come last."""
    song = _whole(reader, info)
    starts = rng.permutation(song.shape[-1] // frames) * frames
    sounding = song.max(axis=(0, 1)) > 0  # (T,)
    quiet = [bool(sounding[start : start + frames].mean() < SOUNDING_SHARE) for start in starts]
    first = min(info.attributes.get("starts") or (0,))
    del song  # read again for each stretch: many songs may wait for a second turn
    for index in np.argsort(quiet, kind="stable"):
        start = int(starts[index])
        roll = expand(
            compress(_whole(reader, info)[..., start : start + frames], sampler.compression), sampler.compression
        )
        place = f"from {_clock(first + start * sampler.store['frame_seconds'])}"
        artist = str(info.attributes.get("artist") or "")
        yield Excerpt(roll, title_of(info), f"{artist}, {place}" if artist else place)


def _whole(reader: Reader, info: ItemInfo) -> np.ndarray:
    """A song's roll in one stretch, (C, K, T)."""
    from musigan.store import Item

    return piece_roll(Item(info, reader.read(info.name)), KeySettings.from_attributes(reader.attributes))


def title_of(info: ItemInfo) -> str:
    """A song's title, or what else is known of it."""
    return str(info.attributes.get("title") or info.attributes.get("source") or f"song {info.name}")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def present(
    music: Sequence[Excerpt], sampler: Sampler | Transfer, jobs: int, on_piece: Callable[[], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Each excerpt as {title, note, sound, roll} (MP3 and PNG in base64), and what all of them share."""
    sound = Sound.of_store(sampler.store, fade=FADE_SECONDS)
    planes = [together(compress(excerpt.roll, sampler.compression), sound.tracks) for excerpt in music]  # (K, T) each
    low, high = _sounding_keys(planes)
    signals = []
    for signal in ordered_map(lambda e: sound.of_roll(e.roll), music, jobs):
        signals.append(signal)
        on_piece()
    shown = []
    for excerpt, plane, signal in zip(music, planes, equally_loud(signals, sound.sample_rate), strict=True):
        picture = base64.b64encode(roll_png(plane[low : high + 1])).decode()
        shown.append({"title": excerpt.title, "note": excerpt.note, "sound": _mp3(signal, sound), "roll": picture})
    first = int(sampler.store["low_key"])
    frames = planes[0].shape[1] if planes else 0
    return shown, {
        "seconds": frames * float(sampler.store["frame_seconds"]),
        "keys": [plots.key_name(first + key) for key in range(low, high + 1)],
    }


def _sounding_keys(planes: Sequence[np.ndarray]) -> tuple[int, int]:
    """The lowest and highest key that any of the planes (K, T) uses, with a margin; at least an octave."""
    used = np.flatnonzero(np.any([plane.any(axis=1) for plane in planes], axis=0)) if planes else np.arange(1)
    last = len(planes[0]) - 1 if planes else 0
    low, high = (int(used[0]), int(used[-1])) if used.size else (0, last)
    margin = max(MARGIN_KEYS, -(-(12 - (high - low)) // 2))
    return max(low - margin, 0), min(high + margin, last)


def equally_loud(signals: Sequence[np.ndarray], sample_rate: int) -> list[np.ndarray]:
    """Signals (C, S) brought to one A-weighted level: the highest that all reach without passing the ceiling."""
    ceiling = 10 ** (CEILING_DB / 20)
    levels = [a_weighted_rms(signal, sample_rate) for signal in signals]
    peaks = [float(np.abs(signal).max(initial=0.0)) for signal in signals]
    reached = [level * ceiling / peak for level, peak in zip(levels, peaks, strict=True) if level > 0]
    target = max(min(reached, default=0.0), 10 ** (QUIETEST_DB / 20))
    return [
        signal * np.float32(target / level if level > 0 else 1.0) for signal, level in zip(signals, levels, strict=True)
    ]


def a_weighted_rms(signal: np.ndarray, sample_rate: int) -> float:
    """RMS of (C, S) over all channels, weighted by frequency as the ear is at low levels (IEC 61672-1, A)."""
    import scipy.fft

    samples = signal.shape[1]
    if not samples:
        return 0.0
    squared = scipy.fft.rfftfreq(samples, 1 / sample_rate) ** 2
    poles = (squared + 20.6**2) * np.sqrt((squared + 107.7**2) * (squared + 737.9**2)) * (squared + 12194.0**2)
    weight = 10 ** (2.0 / 20) * 12194.0**2 * squared**2 / poles
    power = np.abs(scipy.fft.rfft(signal.astype(np.float64))) ** 2 * weight**2
    return float(np.sqrt(2 * power.sum() / samples**2 / signal.shape[0]))


def _mp3(signal: np.ndarray, sound: Sound) -> str:
    """A signal (C, S) as MP3 in base64, without tags that would name it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sound.mp3")
        encode(sound.mastered([signal]), sound.sample_rate, path, "mp3")
        with open(path, "rb") as file:
            return base64.b64encode(file.read()).decode()

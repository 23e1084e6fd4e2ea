"""Steps of a song between stores: recording -> waveform item -> pairs item -> keys item.

An item keeps what the steps before said of its song; each step adds its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musigan.errors import MusiganError
from musigan.store import Array, Item, Song, chunks
from musigan.store.chunks import chunk_frames

if TYPE_CHECKING:
    from musigan.analysis.signals import Signal
    from musigan.rolls.beats import Beats
    from musigan.rolls.keysettings import KeySettings
    from musigan.sound.audio import Recording
    from musigan.sound.takes import Take
    from musigan.store import StoreHeader

KeysItem = tuple[npt.NDArray[np.float16], tuple[str, ...], Song]
WAVEFORM = ("channels", "samples")
PAIRS = ("pairs", "part", "channels", "samples")
KEYS_OF_PAIRS = ("pairs", "part", "channels", "keys", "frames")
KEYS_OF_CHUNKS = ("chunks", "channels", "keys", "frames")
TRACKS_OF_PAIRS = ("pairs", "part", "tracks", "keys", "frames")  # sides and drums
TRACKS_OF_CHUNKS = ("chunks", "tracks", "keys", "frames")


@dataclass(frozen=True)
class Waveform:
    """A recording as the array (C, S) of a waveform item, converted as it is written; times `level` it is full scale.

    So a long song is never in memory as a whole.
    """

    take: Take
    dtype: np.dtype[Any]
    level: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.take.channels, self.take.samples

    def __getitem__(self, place: tuple[slice, ...]) -> npt.NDArray[Any]:
        channels, samples = place
        block = self.take.signal(samples.start or 0, samples.stop)[channels]
        if self.dtype == np.int16:
            return np.rint(block / np.float32(self.level)).astype(np.int16)
        return np.clip(block, -65504, 65504).astype(self.dtype)

    def whole(self) -> npt.NDArray[Any]:
        """Return it in one piece."""
        return self[: self.take.channels, : self.take.samples]


def to_waveform(recording: Recording, source: str, dtype: str) -> tuple[Waveform, Song]:
    """Convert a recording to the array (C, S), float16 or int16, and song of a waveform item.

    `level` is the factor back to full scale: 1 for float16; for int16 such that the loudest sample fits.
    """
    from musigan.sound.audio import content_hash

    take = recording.take
    level = max(1.0, take.peak) / 32767 if dtype == "int16" else 1.0
    song = Song(source=source, content=content_hash(take), level=level)
    return Waveform(take, np.dtype(dtype), level), replace(
        song,
        title=recording.title or "",
        artist=recording.artist or "",
        genre=recording.genre or "",
        year=recording.year or "",
    )


def _level(item: Item) -> float:
    return 1.0 if item.song.level is None else float(item.song.level)


def content_of(item: Item) -> str:
    """Return a hash that identifies a song whatever its name: the one of mp3-to-npy, or one of the array."""
    return item.song.content or hashlib.blake2b(item.array.tobytes(), digest_size=16).hexdigest()


def to_pairs(
    item: Item, header: StoreHeader, chunk_seconds: float, overlap: float, validation: float
) -> tuple[chunks.Cut, Song]:
    """Cut a waveform item into pairs (there may be none), and add `split` and `starts` to its song."""
    cut = chunks.cut_pairs(item.array, header.sample_rate, chunk_seconds, overlap, _level(item))
    content = content_of(item)
    split = "validation" if chunks.is_validation(content, validation) else "train"
    return cut, replace(item.song, content=content, split=split, starts=cut.starts)


def shuffle_pairs(cut: chunks.Cut, content: str, seed: int) -> chunks.Cut:
    """Shuffle the pairs of one song; the order depends only on the song's content and the seed."""
    digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    generator = np.random.default_rng([seed, int(digest, 16)])
    order = generator.permutation(len(cut.starts))
    return chunks.Cut(cut.pairs[order], tuple(cut.starts[i] for i in order), cut.silent)


def to_keys(
    item: Item,
    header: StoreHeader,
    settings: KeySettings,
    chunk_seconds: float,
    device: str,
    beats: Beats | bool = True,
    tracks: tuple[str, ...] = (),
) -> KeysItem:
    """Analyse an item into rolls, cut as the item is: pairs stay pairs, a waveform becomes chunks.

    The song is analysed as a whole, so that chunks have no edges of their own and share one level. How its notes sound
    is noted. Its beats are found (True), those given, or left out (False). `tracks` are its sides, as many as these,
    and its drums; (): the sides that it has, without drums. Raises MusiganError where it is shorter than a chunk.
    """
    from musigan.analysis.bands import analysed_bands, roll_of
    from musigan.analysis.signals import with_sides
    from musigan.analysis.timbres import find_tone, thinned

    sample_rate = int(header.sample_rate)
    paired = header.kind == "pairs"
    song, starts = _signal_of(item, sample_rate, chunk_seconds, paired)
    if tracks:
        song = with_sides(song, len(tracks) - 1)
    # Of hours of music, bands and roll are half a gigabyte each: what is done with is let go.
    bands = analysed_bands(song, sample_rate, settings, device)
    found = _beats_found(song, sample_rate, bands, settings, min(starts)) if beats is True else beats
    loudness, level = roll_of(bands, sample_rate, settings)
    bands = thinned(bands)
    tone = find_tone(song, sample_rate, bands, loudness, level, settings)
    rolls = loudness.astype(np.float16)
    del loudness
    if tracks:
        rolls = with_drums(rolls, song, sample_rate, settings)
    song_of_keys = replace(item.song, level=float(level), starts=starts)
    if tone is not None:
        song_of_keys = song_of_keys.with_tone(tone)
    if found is not False:
        song_of_keys = song_of_keys.with_beats(found.until(min(starts) + song.shape[1] / sample_rate))
    frame_rate, frames = 1 / settings.frame_seconds, chunk_frames(chunk_seconds, settings.frame_seconds)
    of_pairs, of_chunks = (TRACKS_OF_PAIRS, TRACKS_OF_CHUNKS) if tracks else (KEYS_OF_PAIRS, KEYS_OF_CHUNKS)
    return chunks.cut_at(rolls, starts, frame_rate, frames, paired), of_pairs if paired else of_chunks, song_of_keys


def _signal_of(item: Item, sample_rate: int, chunk_seconds: float, paired: bool) -> tuple[Signal, tuple[float, ...]]:
    """Return the signal (C, S) of an item, and the seconds at which its pairs, or the chunks to be, begin."""
    from musigan.analysis.signals import at_full_scale

    if paired:
        starts = item.song.start_times(len(item.array), 2 * chunk_seconds)
        return at_full_scale(chunks.Assembled(item.array, starts, sample_rate, paired=True), _level(item)), starts
    samples = item.array.shape[-1]
    count = samples // chunks.chunk_samples(sample_rate, chunk_seconds)
    if not count:
        raise MusiganError(f"{samples / sample_rate:.1f} s long, shorter than a chunk of {chunk_seconds:g} s")
    return at_full_scale(item.array, _level(item)), tuple(i * chunk_seconds for i in range(count))


def with_drums(roll: Array, signal: Signal, sample_rate: int, settings: KeySettings) -> Array:
    """Return a roll (C, K, T) with one channel more: the drums of the signal (C, S) that it is of."""
    from musigan.analysis.drums.finding import find_strokes
    from musigan.rolls.kit import drum_plane

    plane = drum_plane(find_strokes(signal, sample_rate), settings.keys, roll.shape[-1], settings.frame_seconds)
    return np.concatenate((roll, plane[None].astype(roll.dtype)))


def _beats_found(song: Signal, sample_rate: int, bands: Array, settings: KeySettings, begin_seconds: float) -> Beats:
    """Find the beats of a signal (C, S) that begins at a second of the song, on the song's clock."""
    from musigan.analysis.beats.finding import can_use_bands, find_beats
    from musigan.analysis.signals import mixed

    can_use = can_use_bands(settings)
    found = find_beats(mixed(song), sample_rate, bands) if can_use else find_beats(song, sample_rate)
    return found.counted_from(-begin_seconds)

"""One item of a store into one item of the next: waveform -> pairs -> keys.

Between tools a song travels with the attributes that earlier tools gave it; each step adds its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musigan import chunks
from musigan.errors import MusiganError

if TYPE_CHECKING:
    from musigan.keys import KeySettings
    from musigan.store import Attributes, Item

Float = npt.NDArray[np.float32]
PAIRS = ("pairs", "part", "channels", "samples")
KEYS_OF_PAIRS = ("pairs", "part", "channels", "keys", "frames")
KEYS_OF_CHUNKS = ("chunks", "channels", "keys", "frames")


def full_scale(item: Item) -> Float:
    """An item's array as float32, at full scale (1.0 is the loudest a file can hold)."""
    return item.array.astype(np.float32) * np.float32(item.attributes.get("level", 1.0))


def content_of(item: Item) -> str:
    """What identifies a song whatever its name: the hash mp3-to-npy took, or one of the array."""
    return str(item.attributes.get("content") or hashlib.blake2b(item.array.tobytes(), digest_size=16).hexdigest())


def to_pairs(
    item: Item, header: Attributes, chunk_seconds: float, overlap: float, validation: float
) -> tuple[chunks.Cut, Attributes]:
    """Cut a waveform item; `split` goes into its attributes. The pairs may be none."""
    cut = chunks.cut_pairs(item.array, header["sample_rate"], chunk_seconds, overlap)
    content = content_of(item)
    split = "validation" if chunks.is_validation(content, validation) else "train"
    return cut, {**item.attributes, "content": content, "split": split, "starts": list(cut.starts)}


def shuffle_pairs(cut: chunks.Cut, content: str, seed: int) -> chunks.Cut:
    """The pairs of one song in another order, which depends on the song and the seed alone."""
    generator = np.random.default_rng([seed, int(hashlib.blake2b(content.encode(), digest_size=8).hexdigest(), 16)])
    order = generator.permutation(len(cut.starts))
    return chunks.Cut(cut.pairs[order], tuple(cut.starts[i] for i in order), cut.silent)


def to_keys(
    item: Item, header: Attributes, settings: KeySettings, chunk_seconds: float, device: str
) -> tuple[npt.NDArray[np.float16], tuple[str, ...], Attributes]:
    """Loudness of every key in every frame, cut as the item is: pairs stay pairs, a waveform becomes chunks.

    The song is analysed whole, so that chunks have no edges of their own and one level serves all of it.
    """
    from musigan.keys import analyse

    sample_rate = header["sample_rate"]
    paired = header["kind"] == "pairs"
    song = full_scale(item)
    if paired:
        starts = tuple(item.attributes.get("starts") or (i * 2 * chunk_seconds for i in range(len(song))))
        song = chunks.assemble(song, starts, sample_rate, paired=True)
    else:
        count = int(song.shape[-1] / sample_rate / chunk_seconds)
        if not count:
            seconds = song.shape[-1] / sample_rate
            raise MusiganError(f"{seconds:.1f} s long, shorter than a chunk of {chunk_seconds:g} s")
        starts = tuple(i * chunk_seconds for i in range(count))
    loudness, level = analyse(song, sample_rate, settings, device)
    frames = round(chunk_seconds / settings.frame_seconds)
    rolls = chunks.cut_like(loudness, starts, 1 / settings.frame_seconds, frames, paired)
    attributes: dict[str, Any] = {**item.attributes, "level": float(level), "starts": list(starts)}
    return rolls.astype(np.float16), KEYS_OF_PAIRS if paired else KEYS_OF_CHUNKS, attributes

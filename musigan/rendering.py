"""Rendering of keys stores to audio files: assembly, synthesis, crossfades, mastering, tags."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from musigan import __version__, chunks
from musigan.encoding import encode, format_of
from musigan.ensemble import perform
from musigan.errors import MusiganError
from musigan.keysettings import KeySettings
from musigan.mastering import CEILING_DB, crossfade, master
from musigan.parallel import ordered_map
from musigan.store import Attributes, Item
from musigan.synthesis import synthesise
from musigan.timbre import timbre_named
from musigan.tracks import track_names

Float = npt.NDArray[np.float32]
OVERTONE_RATES = (44100, 48000)  # Hz, for timbres with overtones; a pure tone has nothing above the highest key
STREAM_FORMAT = "mp3"
DRUM_PEAK_QUANTILE = 0.999  # with drums: quantile of the samples that is raised to the ceiling; louder ones are limited


@dataclass(frozen=True)
class Piece:
    """One item as sound: signal (C, S) and the item's attributes."""

    signal: Float
    attributes: Attributes


@dataclass
class SoundSettings:
    """Settings of a keys store's sound, with the number of pieces rendered so far and their seconds."""

    settings: KeySettings
    sample_rate: int
    timbre: str = ""  # "": sine, or each track's own
    gain_db: float = 0.0
    fade_seconds: float = 0.02
    crossfade_seconds: float = 0.5
    tracks: tuple[str, ...] = ()  # names of instruments; (): channels are the sides of a recording
    rendered: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @classmethod
    def of_store(
        cls,
        header: Attributes,
        timbre: str = "",
        sample_rate: int = 0,
        gain_db: float = 0.0,
        fade: float = 0.02,
        crossfade: float = 0.5,
    ) -> SoundSettings:
        """Read settings from a store's header; `sample_rate` 0: the store's for pure tones, 44.1 kHz for others."""
        settings, tracks = KeySettings.from_attributes(header), track_names(header)
        pure = timbre_named(timbre or "sine").pure and not tracks
        rate = sample_rate or cls._rate_for(settings, int(header["sample_rate"]), pure)
        settings.frame_samples(rate)
        return cls(settings, rate, timbre, gain_db, fade, crossfade, tracks)

    @staticmethod
    def _rate_for(settings: KeySettings, own_rate: int, pure: bool) -> int:
        """Return a rate high enough for the timbre at which frames are whole samples, as at multiples of `own_rate`."""
        if pure or own_rate >= OVERTONE_RATES[0]:
            return own_rate
        for rate in OVERTONE_RATES:
            if abs(settings.frame_seconds * rate - round(settings.frame_seconds * rate)) < 1e-6:
                return rate
        return own_rate * -(-OVERTONE_RATES[0] // own_rate)

    def pieces(self, items: Iterable[Item], jobs: int, on_piece: Callable[[str], None]) -> Iterator[Piece]:
        """Synthesise items in order, each raised to the ceiling, so that quiet samples of a model are audible."""

        def render(item: Item) -> Piece:
            """Synthesise one item in a worker thread, its peak at the ceiling."""
            roll = piece_roll(item, self.settings)
            signal = self.synthesise_roll(roll)
            # Drum strokes are far louder than the rest. The limiter cuts their peaks, or all else would be too quiet.
            loudest = np.quantile(np.abs(signal), DRUM_PEAK_QUANTILE) if self.tracks and signal.size else 0.0
            peak = float(loudest or np.abs(signal).max(initial=0.0))
            return Piece(signal * np.float32(10 ** (CEILING_DB / 20) / peak) if peak else signal, item.attributes)

        for piece in ordered_map(render, items, jobs):
            self.rendered += 1
            self.seconds += piece.signal.shape[1] / self.sample_rate
            on_piece(str(piece.attributes.get("title", "")))
            yield piece

    def synthesise_roll(self, roll: Float) -> Float:
        """Synthesise a roll (C, K, T) as sound (C, S), in stereo if it has tracks; its peak is not limited."""
        if self.tracks:
            return perform(roll, self.tracks, self.settings, self.sample_rate, self.timbre)
        return synthesise(roll, self.settings, self.sample_rate, self.timbre or "sine")

    def master_signals(self, signals: Iterable[Float]) -> Iterator[Float]:
        """Join signals (C, S) by crossfades, fade the ends, raise by the gain and limit to the ceiling."""
        joined = crossfade(_same_channels(signals), self.sample_rate, self.crossfade_seconds)
        return master(joined, self.sample_rate, self.gain_db, self.fade_seconds, self.fade_seconds)


def piece_roll(item: Item, settings: KeySettings) -> Float:
    """Assemble an item's roll (C, K, T): chunks at their starts, cut to `seconds` where the item has it."""
    paired = item.dimension_names[0] == "pairs"
    rate = 1 / settings.frame_seconds
    length = item.array.shape[-1] * (2 if paired else 1) / rate
    starts = tuple(item.attributes.get("starts") or (index * length for index in range(len(item.array))))
    if len(starts) != len(item.array):
        raise MusiganError(f"item {item.name} has {len(starts)} starts for {len(item.array)} chunks: it is damaged")
    roll = chunks.assemble(item.array, starts, rate, paired)
    seconds = item.attributes.get("seconds")
    return roll[..., : round(seconds * rate) if seconds else None].astype(np.float32)


def _same_channels(signals: Iterable[Float]) -> Iterator[Float]:
    """Give all signals the channel count of the first, as one file needs: others are mixed to mono and repeated."""
    channels = 0
    for signal in signals:
        channels = channels or signal.shape[0]
        if signal.shape[0] != channels:
            signal = np.repeat(signal.mean(axis=0, keepdims=True), channels, axis=0)
        yield signal


@dataclass(frozen=True)
class Target:
    """Destination of the sound: a file, a numbered file for each piece, or a stream for `-`."""

    out: str
    bitrate: str | None = None
    split: bool = False
    force: bool = False
    what: ClassVar[str] = "sound"

    def check(self, stream: Callable[[str], Any] | None) -> None:
        """Raise MusiganError, before any work, if the output cannot be written or would overwrite files."""
        if self.out == "-":
            if self.split:
                raise MusiganError("--split writes several files: name one, such as out.mp3, instead of -")
            assert stream is not None
            stream(self.what)
            return
        self.format  # noqa: B018  raises for an ending that names no format
        if not Path(self.out).absolute().parent.is_dir():
            raise MusiganError(f"{self.out}: there is no folder {Path(self.out).parent}: make it first")
        if not self.split:
            self.refuse_existing(self.out)
        elif not self.force and (existing := self.numbered_files()):
            raise MusiganError(f"{existing[0]} exists: choose another name, or replace such files with --force")

    @property
    def format(self) -> str:
        """The audio format, from the ending of the name. Raises UsageError for an ending that names none."""
        return STREAM_FORMAT if self.out == "-" else format_of(self.out)

    def numbered(self, number: int) -> str:
        """Return the name of file `number` with --split: out.mp3 -> out-001.mp3."""
        root, ending = os.path.splitext(self.out)
        return f"{root}-{number:03d}{ending}"

    def numbered_files(self) -> list[str]:
        """List existing files that have names such as --split writes."""
        root, ending = os.path.splitext(os.path.basename(self.out))
        pattern = re.compile(re.escape(root) + r"-\d{3,}" + re.escape(ending))
        folder = Path(self.out).absolute().parent
        return sorted(str(path) for path in folder.iterdir() if pattern.fullmatch(path.name))

    def refuse_existing(self, path: str) -> str:
        """Return `path`. Raises MusiganError if it exists, unless --force is set."""
        if not self.force and os.path.lexists(path):
            raise MusiganError(f"{path} exists: choose another name, or replace it with --force")
        return path


def write(
    pieces: Iterator[Piece], sound: SoundSettings, target: Target, title: str, stream: IO[bytes] | None
) -> list[str]:
    """Write pieces to the target; return the names of the files. Raises MusiganError when there are no pieces."""
    files: list[str] = []
    if target.split:
        for number, piece in enumerate(pieces, 1):
            path = target.refuse_existing(target.numbered(number))
            blocks = sound.master_signals([piece.signal])
            encode(blocks, sound.sample_rate, path, target.format, target.bitrate, tags(piece.attributes, title))
            files.append(path)
        if not files:
            raise MusiganError("the store holds no pieces")
        return [f"{files[0]} to {files[-1]}"] if len(files) > 1 else files
    first = next(pieces, None)
    if first is None:
        raise MusiganError("the store holds no pieces")
    blocks = sound.master_signals(piece.signal for piece in chain([first], pieces))
    encode(
        blocks, sound.sample_rate, stream or target.out, target.format, target.bitrate, tags(first.attributes, title)
    )
    return ["standard output" if stream else target.out]


def tags(attributes: Attributes, title: str = "") -> dict[str, str]:
    """Return a file's tags from its first piece; the comment is the source, for instance a checkpoint's name."""
    piece_tags = {name: str(attributes[name]) for name in ("title", "artist", "genre", "year") if attributes.get(name)}
    if title:
        piece_tags["title"] = title
    return {**piece_tags, "comment": str(attributes.get("source", "")), "software": f"musigan {__version__}"}

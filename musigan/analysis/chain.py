"""A file of music to its item of a store of keys: what mp3-to-npy, pair-chunks and npy-to-keys do, one song at a time.

The three tools pass stores on; whoever works on songs apart from each other, on many machines, goes through here. A
song's array and attributes are those that the pipe of the three gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.analysis import preparing
from musigan.analysis.stores import (
    CANNOT_ANALYSE,
    CANNOT_CUT,
    AnalysisRequest,
    DecodingRequest,
    PairingRequest,
    UnusableSong,
)
from musigan.errors import FieldError
from musigan.files.finding import failing_alone, failure_reason
from musigan.store import Item, ItemInfo, StoreHeader
from musigan.store.layout import holds_numbers

if TYPE_CHECKING:
    from pathlib import Path

    from musigan.store import Song


@dataclass(frozen=True)
class Waveform:
    """A decoded song as an item of a store of waveforms, and what is odd about its file, a line each."""

    item: Item
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ChainRequest:
    """Request for the keys of pairs of music files: how to decode, cut and analyse them.

    Raises FieldError for what takes more than one song to decide: channels as each file has them, and for both ends of
    a song as items of their own.
    """

    decoding: DecodingRequest = field(default_factory=DecodingRequest)
    pairing: PairingRequest = field(default_factory=PairingRequest)
    analysis: AnalysisRequest = field(default_factory=AnalysisRequest)

    def __post_init__(self) -> None:
        if self.decoding.channels == "keep":
            raise FieldError("{channels} keep: expected stereo or mono, as songs are worked on apart from each other")
        if self.pairing.ends:
            raise FieldError("{ends}: a song is one item here, expected whole songs to be held back")
        if self.analysis.beats not in ("find", "none"):
            raise FieldError("{beats} {0} has the beats of one song: expected find or none", self.analysis.beats)

    @property
    def sides(self) -> int:
        """How many sides each song has."""
        return 1 if self.decoding.channels == "mono" else 2

    def header(self, expected: int | None) -> StoreHeader:
        """Return the header of the store of keys of `expected` files. Raises SettingsError as the tools do."""
        return self.analysis.header(self._pairs_header(expected), self.sides)

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain values: songs of the same ones go together."""
        return asdict(self)

    def _pairs_header(self, expected: int | None = None) -> StoreHeader:
        return self.pairing.header(self.decoding.header(expected))

    def waveform(self, path: str | Path, source: str) -> Waveform:
        """Decode a file. Raises UnusableSong where that fails."""
        from musigan.sound import audio

        failures: list[Exception] = []
        with failing_alone(failures.append):
            recording = audio.decode(path, *self.decoding.of_audio)
            waveform, song = preparing.to_waveform(recording, source, self.decoding.dtype)
            item = _item(waveform.whole(), preparing.WAVEFORM, song)
            if not holds_numbers(item.array):
                raise UnusableSong("holds values that are not numbers (NaN, infinity)", "that are damaged")
            return Waveform(item, recording.warnings)
        raise _unusable(failures[0])

    def keys_of(self, waveform: Item, device: str) -> preparing.KeysItem:
        """Cut and analyse a song that `waveform` decoded. Raises UnusableSong where that fails."""
        sound, analysis = self._pairs_header(), self.analysis
        failures: list[Exception] = []
        with failing_alone(failures.append):
            sides, _ = self.pairing.pairs_of(waveform, self.decoding.header(None))
        if failures:
            raise _unusable(failures[0], CANNOT_CUT)
        if isinstance(sides, UnusableSong):
            raise sides
        ((pairs, song),) = sides
        keys = analysis.header(sound, self.sides)
        with failing_alone(failures.append):
            item = _item(np.ascontiguousarray(pairs), preparing.PAIRS, song)
            beats = analysis.beats == "find"
            return preparing.to_keys(item, sound, analysis.settings, keys.chunk_seconds, device, beats, keys.tracks)
        raise _unusable(failures[0], CANNOT_ANALYSE)


def _item(array: Any, names: tuple[str, ...], song: Song) -> Item:
    """Return an array as an item that was read from a store."""
    return Item(ItemInfo("", array.shape, array.dtype.name, array.shape, names, song), array)


def _unusable(error: Exception, group: str = "") -> UnusableSong:
    """Return an error as the reason why a song is left out."""
    if isinstance(error, UnusableSong):
        return error
    reason = failure_reason(error)
    return UnusableSong(reason, group or reason.split(":")[0])

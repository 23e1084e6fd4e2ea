"""Whole stores from step to step: files -> waveforms -> pairs -> keys. Songs that cannot be used are skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from musigan.analysis import preparing
from musigan.analysis.beats.annotations import read_beats
from musigan.errors import FieldError, MusiganError, StoreError
from musigan.files.duplicates import Originals
from musigan.files.finding import failing_alone, skipping
from musigan.machine.parallel import ordered_map
from musigan.machine.reporting import counted, working_on
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import MEASURED_BANDS, KeySettings
from musigan.rolls.kit import kit_rows
from musigan.rolls.tracks import MONO, SIDES, WITH_DRUMS
from musigan.store import Array, StoreHeader, chunks
from musigan.store.song import check_gaps
from musigan.store.songs import usable
from musigan.store.splits import sides_of

if TYPE_CHECKING:
    from musigan.files.finding import MediaFile
    from musigan.machine.reporting import Reporter
    from musigan.sound.audio import Channels
    from musigan.store import Item, Reader, Song, Writer


class UnusableSong(MusiganError):
    """A song that is left out; `group` is what it is counted under."""

    def __init__(self, reason: str, group: str) -> None:
        super().__init__(reason)
        self.group = group


CANNOT_CUT, CANNOT_ANALYSE = "that could not be cut", "that could not be analysed"


@dataclass(frozen=True)
class DecodingRequest:
    """Request for songs as waveforms: what is kept of each, and how."""

    sample_rate: int = 12000  # hz
    start_seconds: float = 0.0
    seconds: float | None = 120.0  # None: to the song's end
    min_seconds: float = 20.0  # shorter songs are skipped
    channels: Literal["stereo", "mono", "keep"] = "stereo"
    dtype: Literal["float16", "int16"] = "float16"

    def header(self, expected: int | None) -> StoreHeader:
        """Return the header of the store of waveforms of `expected` files; None: of nobody knows how many."""
        return StoreHeader("waveform", self.sample_rate, expected=expected)

    @property
    def of_audio(self) -> tuple[int, float, float | None, Channels, float]:
        """What `audio.decode` takes after the file."""
        shortest = min(self.min_seconds, self.seconds or self.min_seconds)
        return self.sample_rate, self.start_seconds, self.seconds, self.channels, shortest

    def write(self, found: Sequence[MediaFile], jobs: int, writer: Writer, reporter: Reporter) -> int:
        """Decode files into a store of waveforms, `jobs` at once; return the number of recordings that came twice."""
        from musigan.sound import audio

        originals = Originals("recording", reporter.detail)
        progress = reporter.progress(len(found), "songs")
        for outcome in audio.decode_many(found, jobs, *self.of_audio):
            source = outcome.found.source
            made = None
            with failing_alone(skipping(reporter.skip, source)):
                recording = outcome.result()
                made = preparing.to_waveform(recording, source, self.dtype)
            if made is None:
                continue
            array, song = made
            for warning in recording.warnings:
                reporter.say(f"{source}: {warning}")
            if not originals.has(song.content, source):
                with working_on(source):
                    writer.add(array, preparing.WAVEFORM, song)
                progress.step(source)
        return originals.duplicates


@dataclass(frozen=True)
class PairingRequest:
    """Request for pairs of a chunk and its continuation; `shuffle_seed` None: in the song's order."""

    chunk_seconds: float = 10.0
    overlap: float = 0.0  # share of a pair that the next one repeats
    validation: float = 0.1  # share of songs held back, or of each song
    shuffle_seed: int | None = None
    ends: bool = False  # whether the end of each song is held back instead of whole songs

    def header(self, waveforms: StoreHeader) -> StoreHeader:
        """Return the header of the store of pairs. Raises SettingsError unless a chunk is whole samples long."""
        chunks.chunk_samples(waveforms.sample_rate, self.chunk_seconds)
        return replace(
            waveforms,
            kind="pairs",
            chunk_seconds=self.chunk_seconds,
            overlap=self.overlap,
            validation=self.validation,
            expected=None if self.ends else waveforms.expected,  # a song becomes two items, or one
        )

    def pairs_of(self, item: Item, header: StoreHeader) -> tuple[list[tuple[Array, Song]] | UnusableSong, int]:
        """Cut a song of a store of waveforms into pairs, one side or two; return why not if there are none.

        The number is how many pairs were dropped as silent.
        """
        span_seconds = 2 * self.chunk_seconds
        cut, song = preparing.to_pairs(item, header, self.chunk_seconds, self.overlap, self.validation)
        if not cut.starts and cut.silent:
            return UnusableSong("silent from end to end", "silent"), cut.silent
        if not cut.starts:
            seconds = item.array.shape[-1] / header.sample_rate
            return UnusableSong(f"{seconds:.1f} s long, a pair takes {span_seconds:g} s", "too short"), 0
        if self.shuffle_seed is not None:
            cut = preparing.shuffle_pairs(cut, song.content, self.shuffle_seed)
        song = replace(song, starts=cut.starts)
        sides = list(sides_of(cut.pairs, song, span_seconds, self.validation)) if self.ends else [(cut.pairs, song)]
        try:
            for _, part in sides:
                check_gaps(part.starts, span_seconds, "it")
        except StoreError as error:
            return UnusableSong(str(error), "mostly silent"), cut.silent
        return sides, cut.silent

    def write(self, reader: Reader, writer: Writer, reporter: Reporter) -> str:
        """Cut a store of waveforms into one of pairs; return in words what was made."""
        header, pairs, silent, held_back, songs = reader.header, 0, 0, 0, 0
        progress = reporter.progress(header.expected, "songs")
        for item in usable(reader, reporter.skip):
            title = item.song.source or item.name
            made = None
            with failing_alone(skipping(reporter.skip, title, CANNOT_CUT)):
                made = self.pairs_of(item, header)
            if made is None:
                continue
            sides, dropped = made
            silent += dropped
            if isinstance(sides, UnusableSong):
                reporter.skip(title, str(sides), sides.group)
                continue
            for side in sides:
                with working_on(title):
                    writer.add(side[0], preparing.PAIRS, side[1])
                pairs += len(side[0])
                held_back += side[1].is_held_out
            songs += 1
            progress.step(title)
        dropped_words = f", {counted(silent, 'pairs')} dropped as silent" if silent else ""
        held_back_words = f"the ends of {held_back}" if self.ends else f"{held_back} of them"
        written = f"{counted(pairs, 'pairs')} of {counted(songs, 'songs')}"
        return f"{written}, {held_back_words} held back for validation{dropped_words}"


@dataclass(frozen=True)
class AnalysisRequest:
    """Request for the keys of sound; fields at None or "" are the band's own.

    Raises SettingsError where one is out of range, FieldError for another band.
    """

    band: str = "variable"
    keys: str = ""  # LOW:HIGH
    frame_seconds: float = 0.02
    threshold: float | None = None
    chunk_seconds: float = 10.0  # of waveforms; pairs have their own
    beats: str = "find"  # "none", or a file that has them
    drums: bool = True  # whether they are looked for, where the keys have room for a kit

    def __post_init__(self) -> None:
        if self.band not in MEASURED_BANDS:
            raise FieldError("{band} {0} is unknown: choose one of {1}", self.band, ", ".join(MEASURED_BANDS))
        self.settings  # noqa: B018  raises where one is out of range

    @property
    def settings(self) -> KeySettings:
        """The settings of the analysis. Raises SettingsError where one is out of range."""
        keys = KeyRange.parse(self.keys) if self.keys else None
        return KeySettings(self.band, keys, self.frame_seconds, self.threshold)  # type: ignore[arg-type]

    def header(self, sound: StoreHeader, sides: int = 2) -> StoreHeader:
        """Return the header of the keys store of sound, the first song of which has so many sides.

        Raises SettingsError unless frames and chunks are whole.
        """
        settings, chunk_seconds = self.settings, self._chunk_seconds(sound)
        settings.frame_samples(int(sound.sample_rate))
        chunks.chunk_frames(chunk_seconds, settings.frame_seconds)
        tracks = WITH_DRUMS[SIDES if sides > 1 else MONO] if self.drums and kit_rows(settings.keys) else ()
        return replace(sound.with_keys(settings), chunk_seconds=chunk_seconds, tracks=tracks)

    def begin(self, reader: Reader) -> Analysis:
        """Read the first song of a store of sound, which decides how many sides all have.

        Raises SettingsError as `header` does.
        """
        self.header(reader.header)
        items = iter(reader)
        first = list(islice(items, 1))
        header = self.header(reader.header, *(item.array.shape[-2] for item in first))
        return Analysis(self, reader, header, chain(first, items))

    def _chunk_seconds(self, sound: StoreHeader) -> float:
        return sound.chunk_seconds if sound.kind == "pairs" else self.chunk_seconds


@dataclass(frozen=True)
class Analysis:
    """An analysis that has begun: its store of sound, whose items are read once, and the header of the keys."""

    request: AnalysisRequest
    reader: Reader
    header: StoreHeader
    items: Iterable[Item]

    def _only_song(self) -> Iterator[Item]:
        """Yield the item of a store that has one. Raises FieldError at a second."""
        for number, item in enumerate(self.items):
            if number:
                raise FieldError(
                    "{beats} {0} has the beats of one song, and {1} holds several: give it one song at a time",
                    self.request.beats, self.reader.source,
                )  # fmt: skip
            yield item

    def write(self, device: str, jobs: int, writer: Writer, reporter: Reporter) -> None:
        """Analyse pairs or waveforms, `jobs` songs at once, into a store of keys."""
        sound, settings, asked = self.reader.header, self.request.settings, self.request.beats
        beats = read_beats(asked) if asked not in ("find", "none") else asked == "find"

        def work(item: Item) -> tuple[Item, preparing.KeysItem | Exception]:
            """Analyse one song, in a thread; its failure becomes its result, so that the others go on."""
            failures: list[Exception] = []
            with failing_alone(failures.append):
                chunk_seconds, tracks = self.header.chunk_seconds, self.header.tracks
                return item, preparing.to_keys(item, sound, settings, chunk_seconds, device, beats, tracks)
            return item, failures[0]

        progress = reporter.progress(sound.expected, "songs")
        for item, result in ordered_map(work, self.items if isinstance(beats, bool) else self._only_song(), jobs):
            title = item.song.source or item.name
            if isinstance(result, Exception):
                with failing_alone(skipping(reporter.skip, title, CANNOT_ANALYSE)):
                    raise result
                continue
            with working_on(title):
                writer.add(*result)
            progress.step(title)

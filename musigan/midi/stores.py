"""MIDI files as a keys store. Files that cannot be used are skipped, songs that come twice are kept once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from musigan.files.duplicates import Originals
from musigan.files.finding import MediaFile, failing_alone, skipping
from musigan.files.remote import local
from musigan.machine.reporting import counted, working_on
from musigan.midi import reading
from musigan.midi.rolls import Arrangement, CutSettings, SongItem, parse_tracks, song_from_path, to_item
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.store import StoreHeader
from musigan.store.chunks import chunk_frames
from musigan.store.splits import sides_of

if TYPE_CHECKING:
    from musigan.machine.reporting import Reporter
    from musigan.midi.reading import Score
    from musigan.store import Writer

SAMPLE_RATE = 12000  # hz, at which the chain makes rolls into sound: MIDI has none
STDIN = "standard input"


@dataclass(frozen=True)
class MidiRequest:
    """Request for the keys of MIDI files: which instruments on which keys, and how songs are cut.

    Raises SettingsError unless frames are whole numbers of samples and chunks whole numbers of frames.
    """

    arrangement: Arrangement
    settings: KeySettings
    cutting: CutSettings
    genre: str = ""  # of all songs; "": the name of a song's folder

    def __post_init__(self) -> None:
        self.settings.frame_samples(SAMPLE_RATE)
        chunk_frames(self.cutting.chunk_seconds, self.settings.frame_seconds)

    @classmethod
    def parse(
        cls, tracks: str, merge: bool, keys: str, frame_seconds: float, cutting: CutSettings, genre: str
    ) -> MidiRequest:
        """Parse `tracks` ("piano,bass" or "all") and `keys` ("LOW:HIGH"). Raises SettingsError."""
        arrangement = Arrangement(parse_tracks(tracks), merge)
        return cls(arrangement, KeySettings("midi", KeyRange.parse(keys), frame_seconds), cutting, genre)

    def header(self, expected: int) -> StoreHeader:
        """Return the header of the keys store of `expected` files."""
        cutting = self.cutting
        return replace(
            StoreHeader("keys", SAMPLE_RATE).with_keys(self.settings), chunk_seconds=cutting.chunk_seconds,
            overlap=cutting.overlap, validation=cutting.validation, tracks=self.arrangement.tracks,
            expected=None if cutting.ends else expected,
        )  # fmt: skip

    def write(
        self, found: Sequence[MediaFile | None], stdin: Callable[[], IO[bytes]], writer: Writer, reporter: Reporter
    ) -> str:
        """Write files into a keys store, None being the file on `stdin`; return in words what was made."""
        originals = Originals("notes", reporter.detail)
        pieces = silent = held_back = kept = outside = 0
        progress = reporter.progress(len(found), "songs")
        for one in found:
            source = one.source if one else STDIN
            read = None
            with failing_alone(skipping(reporter.skip, source)):
                score = reading.read_score(_bytes_of(one, stdin))
                read = score, self._item(score, one)
            if read is None:
                continue
            score, item = read
            if originals.has(item.song.content, source):
                continue
            for warning in score.warnings:
                reporter.say(f"{source}: {warning}")
            outside += item.outside_keys
            if item.outside_keys:
                reporter.detail(f"{source}: notes that are not on keys {self.settings.keys}: {item.outside_keys}")
            sides = [(item.array, item.song)]
            if self.cutting.ends:
                sides = list(sides_of(item.array, item.song, self.cutting.span_seconds, self.cutting.validation))
            for array, song in sides:
                with working_on(source):
                    writer.add(array, item.dimension_names, song)
                pieces, held_back = pieces + len(array), held_back + song.is_held_out
            silent, kept = silent + item.silent, kept + 1
            progress.step(source)
        dropped = f", {counted(silent, 'pairs')} dropped as silent" if silent else ""
        dropped += f", {counted(originals.duplicates, 'duplicates')} left out" if originals.duplicates else ""
        dropped += f", {counted(outside, 'notes')} outside keys {self.settings.keys} left out" if outside else ""
        kind = "pairs" if self.cutting.paired else "chunks"
        held_back_words = f"the ends of {held_back}" if self.cutting.ends else f"{held_back} of them"
        return (
            f"{counted(pieces, kind)} of {counted(kept, 'songs')}, {held_back_words} held back for validation{dropped}"
        )

    def _item(self, score: Score, file: MediaFile | None) -> SongItem:
        """Convert a score to an item, its song named after its path. Raises MidiError if nothing is left."""
        named = song_from_path(file.source if file else "", score, self.genre)
        return to_item(score, self.arrangement, self.settings, self.cutting, named)


def _bytes_of(file: MediaFile | None, stdin: Callable[[], IO[bytes]]) -> bytes:
    """Return what is read of a file, a URL or, for None, standard input: as much as a file may have, and one byte."""
    if file is None:
        with stdin() as stream:
            return stream.read(reading.MAX_BYTES + 1)
    with local(file.path) as path, path.open("rb") as stream:
        return stream.read(reading.MAX_BYTES + 1)

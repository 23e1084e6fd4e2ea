"""MIDI files as a keys store."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from musigan.errors import FieldError, SettingsError
from musigan.files.finding import MediaFile
from musigan.midi import reading
from musigan.midi.reading import read_score
from musigan.midi.rolls import CutSettings
from musigan.midi.stores import MidiRequest
from tests import midifiles
from tests.sessions import Session, writer
from tests.stores import items


def request(**cutting: object) -> MidiRequest:
    settings = CutSettings(**{"chunk_seconds": 5.0, "validation": 1.0, **cutting})  # type: ignore[arg-type]
    return MidiRequest.parse("piano,bass", False, "20:70", 0.05, settings, "")


def test_files_become_keys(tmp_path: Path) -> None:
    folder = midifiles.folder(tmp_path / "in", {
        "jazz/a.mid": midifiles.song(1), "b.mid": midifiles.song(1), "c.mid": b"no notes", "d.mid": midifiles.song(2),
    })  # fmt: skip
    found = [MediaFile(folder / name, name) for name in ("jazz/a.mid", "b.mid", "c.mid", "gone.mid")]
    session = Session()
    with writer(tmp_path / "keys", request().header(5)) as target:
        made = request().write([*found, None], lambda: io.BytesIO(midifiles.song(2)), target, session)
    first, second = items(tmp_path / "keys")
    pieces = len(first.array) + len(second.array)
    assert made == (
        f"{pieces} pairs of 2 songs, 2 of them held back for validation, 1 duplicate left out, "
        "32 notes outside keys 20:70 left out"
    )
    assert (first.song.source, first.song.genre) == ("jazz/a.mid", "jazz")
    assert first.array.shape[1:] == (2, 2, 51, 100)
    assert second.song.source == ""
    assert "b.mid: the same notes as jazz/a.mid, kept once" in session.details
    assert [what for what, _, _ in session.skipped] == ["c.mid", "gone.mid"]
    assert session.skipped[1][1] == "no such file or folder"
    assert (session.counts[0].total, session.counts[0].notes) == (5, ["jazz/a.mid", "standard input"])


def test_the_header_says_how_it_was_made() -> None:
    header = request(overlap=0.25).header(3)
    assert (header.tracks, header.low_key, header.high_key) == (("piano", "bass"), 20, 70)
    assert (header.chunk_seconds, header.overlap, header.validation, header.expected) == (5.0, 0.25, 1.0, 3)


def test_the_end_of_a_song_is_held_back_where_that_is_asked(tmp_path: Path) -> None:
    found = [MediaFile(midifiles.folder(tmp_path / "in", {"a.mid": midifiles.song(1)}) / "a.mid", "a.mid")]
    asked = request(validation=0.3, ends=True, paired=False, chunk_seconds=1.0)
    assert asked.header(1).expected is None
    with writer(tmp_path / "keys", asked.header(1)) as target:
        made = asked.write(found, io.BytesIO, target, Session())
    before, end = items(tmp_path / "keys")
    assert (before.song.split, end.song.split) == ("train", "validation")
    chunks = len(before.array) + len(end.array)
    assert made == (
        f"{chunks} chunks of 1 song, the ends of 1 held back for validation, 17 notes outside keys 20:70 left out"
    )
    assert end.song.begin_seconds == len(before.array) == before.song.starts[-1] + 1


def test_what_does_not_go_together() -> None:
    with pytest.raises(FieldError, match="overlap is of pairs: leave it or unpaired out"):
        CutSettings(overlap=0.5, paired=False)
    with pytest.raises(SettingsError, match="whole number of frames"):
        request(chunk_seconds=5.02)


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large"), KeyError(7), ValueError("a\nb")])
def test_whatever_one_file_raises_is_its_own_failure(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = midifiles.folder(tmp_path / "in", {"bad.mid": b"bad", "good.mid": midifiles.song(1)})

    def read(data: bytes) -> reading.Score:
        if data == b"bad":
            raise error
        return read_score(data)

    monkeypatch.setattr(reading, "read_score", read)
    session = Session()
    with writer(tmp_path / "keys", request().header(2)) as target:
        request().write([MediaFile(path, path.name) for path in sorted(folder.iterdir())], io.BytesIO, target, session)
    assert [item.song.source for item in items(tmp_path / "keys")] == ["good.mid"]
    ((name, reason, _),) = session.skipped
    assert (name, len(reason.splitlines())) == ("bad.mid", 1)


def test_damage_is_told_and_the_rest_kept(tmp_path: Path) -> None:
    folder = midifiles.folder(tmp_path / "in", {"cut.mid": midifiles.song(1)[:2000]})
    session = Session()
    with writer(tmp_path / "keys", request().header(1)) as target:
        request().write([MediaFile(folder / "cut.mid", "cut.mid")], io.BytesIO, target, session)
    (line,) = session.lines
    assert line.startswith("cut.mid: damaged (")
    assert len(items(tmp_path / "keys")) == 1

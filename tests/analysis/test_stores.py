"""Files, waveforms, pairs and keys: whole stores from one to the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.analysis import preparing
from musigan.analysis.stores import AnalysisRequest, DecodingRequest, PairingRequest
from musigan.errors import FieldError, SettingsError
from musigan.files.finding import MediaFile
from tests import helpers
from tests.sessions import Session, writer
from tests.stores import items


def waveforms(path: Path, seconds: tuple[float, ...], silent: bool = False) -> Path:
    """A store of tunes of these lengths, and a silent one of 9 s."""
    with writer(path, store.StoreHeader("waveform", helpers.RATE, expected=5)) as target:
        for number, length in enumerate(seconds):
            signal = helpers.tune(length, [40 + number, 47], number).astype(np.float16)
            target.add(signal, ("channels", "samples"), store.Song(source=f"{number}.wav"))
        if silent:
            target.add(
                np.zeros((2, 9 * helpers.RATE), np.float16), ("channels", "samples"), store.Song(source="hush.wav")
            )
    return path


def test_files_become_waveforms(tmp_path: Path) -> None:
    helpers.write_sound(tmp_path / "a.wav", helpers.tune(3, [40, 47]))
    helpers.write_sound(tmp_path / "short.wav", helpers.tune(1, [40, 47]))
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    (tmp_path / "c.wav").write_text("no music")
    found = [MediaFile(tmp_path / f"{name}.wav", f"{name}.wav") for name in ("a", "short", "b", "c")]
    session, request = Session(), DecodingRequest(8000, 0.5, 2.0, 20.0, "mono")
    with writer(tmp_path / "out", request.header(4)) as target:
        assert request.write(found, 2, target, session) == 1
    (item,) = items(tmp_path / "out")
    assert (item.array.shape, item.song.source) == ((1, 16000), "a.wav")
    assert session.details == ["b.wav: the same recording as a.wav, kept once"]
    assert [what for what, _, _ in session.skipped] == ["short.wav", "c.wav"]
    assert session.skipped[0][1:] == ("too short: 0.50 s, at least 2 s are needed", "too short")
    assert (session.counts[0].total, session.counts[0].notes) == (4, ["a.wav"])


def test_waveforms_become_pairs(tmp_path: Path) -> None:
    reader = store.open_reader(str(waveforms(tmp_path / "waveforms", (7.0, 1.5), silent=True)), ("waveform",))
    request, session = PairingRequest(1.0, 0.5, validation=1.0), Session()
    header = request.header(reader.header)
    assert (header.chunk_seconds, header.overlap, header.validation) == (1.0, 0.5, 1.0)
    with writer(tmp_path / "pairs", header) as target:
        made = request.write(reader, target, session)
    assert made == "6 pairs of 1 song, 1 of them held back for validation, 8 pairs dropped as silent"
    assert session.skipped == [
        ("1.wav", "1.5 s long, a pair takes 2 s", "too short"),
        ("hush.wav", "silent from end to end", "silent"),
    ]
    assert items(tmp_path / "pairs")[0].song.starts == (0, 1, 2, 3, 4, 5)


def test_the_ends_of_songs_are_held_back_instead_of_whole_songs(tmp_path: Path) -> None:
    reader = store.open_reader(str(waveforms(tmp_path / "waveforms", (7.0, 2.5))), ("waveform",))
    request, session = PairingRequest(1.0, validation=0.4, ends=True), Session()
    with writer(tmp_path / "pairs", request.header(reader.header)) as target:
        made = request.write(reader, target, session)
    assert made == "4 pairs of 2 songs, the ends of 1 held back for validation"
    songs = [item.song for item in items(tmp_path / "pairs")]
    assert [(song.split, song.starts) for song in songs] == [
        ("train", (0.0,)), ("validation", (2.0, 4.0)), ("train", (0.0,)),
    ]  # fmt: skip
    assert songs[0].content == songs[1].content != songs[2].content


def test_pairs_are_shuffled_by_a_seed(tmp_path: Path) -> None:
    source = str(waveforms(tmp_path / "waveforms", (13.0,)))
    starts = []
    for number, seed in enumerate((None, 4, 4, 5)):
        reader, request = store.open_reader(source, ("waveform",)), PairingRequest(1.0, shuffle_seed=seed)
        with writer(tmp_path / str(number), request.header(reader.header)) as target:
            request.write(reader, target, Session())
        starts.append(items(tmp_path / str(number))[0].song.starts)
    assert list(starts[0]) == sorted(starts[1]) == [0, 2, 4, 6, 8, 10]
    assert starts[1] == starts[2] != starts[3]


def test_sound_becomes_keys(tmp_path: Path) -> None:
    reader = store.open_reader(str(waveforms(tmp_path / "waveforms", (5.0, 1.5))), ("waveform",))
    request, session = AnalysisRequest(keys="30:60", frame_seconds=0.05, chunk_seconds=2.0), Session()
    analysis = request.begin(reader)
    header = analysis.header
    assert (header.low_key, header.high_key, header.chunk_seconds) == (30, 60, 2.0)
    with writer(tmp_path / "keys", header) as target:
        analysis.write("cpu", 2, target, session)
    assert [item.array.shape for item in items(tmp_path / "keys")] == [(2, 2, 31, 40)]
    reason = "1.5 s long, shorter than a chunk of 2 s"
    assert session.skipped == [("1.wav", reason, "that could not be analysed")]
    assert (session.counts[0].total, session.counts[0].notes) == (5, ["0.wav"])


def test_pairs_keep_their_chunks() -> None:
    header = store.StoreHeader("pairs", 12000, 3)
    assert AnalysisRequest(chunk_seconds=7.0).header(header).chunk_seconds == 3
    with pytest.raises(SettingsError, match="whole number of frames"):
        AnalysisRequest(frame_seconds=0.7).header(header)


def test_settings_are_checked_before_any_sound_is_read() -> None:
    with pytest.raises(FieldError, match="band midi is unknown: choose one of variable, fixed"):
        AnalysisRequest("midi")
    with pytest.raises(SettingsError, match="keys"):
        AnalysisRequest(keys="5:4")
    with pytest.raises(SettingsError, match="threshold"):
        AnalysisRequest(threshold=1.0)
    assert AnalysisRequest("fixed").settings.keys.low == 27


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large"), KeyError(7)])
def test_one_songs_failure_is_its_own(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing_at(function, name):  # type: ignore[no-untyped-def]
        def call(item, *rest):  # type: ignore[no-untyped-def]
            if item.song.source == name:
                raise error
            return function(item, *rest)

        return call

    path = str(waveforms(tmp_path / "waveforms", (3.0, 4.0)))
    for name in ("to_pairs", "to_keys"):
        monkeypatch.setattr(preparing, name, failing_at(getattr(preparing, name), "0.wav"))
    pairing, analysis, session = PairingRequest(1.0), AnalysisRequest(chunk_seconds=1.0, beats="none"), Session()
    with store.open_reader(path) as reader, writer(tmp_path / "pairs", pairing.header(reader.header)) as target:
        pairing.write(reader, target, session)
    with store.open_reader(path) as reader:
        begun = analysis.begin(reader)
        with writer(tmp_path / "keys", begun.header) as target:
            begun.write("cpu", 2, target, session)
    assert [len(items(tmp_path / name)) for name in ("pairs", "keys")] == [1, 1]
    assert [what for what, _, _ in session.skipped] == ["0.wav", "0.wav"]

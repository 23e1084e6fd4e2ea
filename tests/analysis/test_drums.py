from __future__ import annotations

import numpy as np
import pytest

from musigan import store
from musigan.analysis import convolving
from musigan.analysis.drums import features, finding, network
from musigan.analysis.preparing import to_keys, to_waveform
from musigan.analysis.stores import AnalysisRequest
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.kit import KIT, Strokes, drum_plane, kit_rows
from musigan.sound.audio import Recording
from musigan.sound.takes import Take
from musigan.store import Item, ItemInfo, StoreHeader
from musigan.synthesis import drumkit
from musigan.synthesis.oscillators import synthesise

RATE, SECONDS = 12000, 12.0
KEYS = KeyRange()
KICK, SNARE, TOM, HAT, CYMBAL = range(5)
BEAT = [(0.0, KICK), (0.5, SNARE), (1.0, KICK), (1.25, KICK), (1.5, SNARE)] + [(0.25 * i, HAT) for i in range(8)]


def played(pattern: list[tuple[float, int]], every: float = 2.0) -> tuple[np.ndarray, Strokes]:
    """Return a pattern that comes again and again as the kit plays it, (2, S), and its strokes."""
    rows = sorted((begin + second, drum) for begin in np.arange(0.1, SECONDS - 1, every) for second, drum in pattern)
    seconds, drums = (np.array(column) for column in zip(*rows, strict=True))
    strokes = Strokes(seconds, drums.astype(int), np.full(len(rows), 0.8))
    plane = drum_plane(strokes, KEYS, int(SECONDS / 0.02), 0.02)
    return drumkit.play(plane, KeySettings(), RATE), strokes


def chords() -> np.ndarray:
    """Return three chords that swell and fade, (2, S)."""
    roll = np.zeros((2, 88, int(SECONDS / 0.02)), np.float32)
    for number, root in enumerate((28, 33, 35)):
        roll[:, [root, root + 12, root + 16, root + 19], number * 200 : number * 200 + 190] = 0.3
    return synthesise(roll, KeySettings(), RATE, "strings")


def share_found(true: Strokes, found: Strokes, drum: int) -> float:
    """Return F of the strokes of a drum, within 50 ms."""
    truly, heard = true.seconds[true.drums == drum], found.seconds[found.drums == drum]
    hits = sum(np.abs(heard - second).min(initial=1.0) <= 0.05 for second in truly)
    return 2 * hits / (len(truly) + len(heard))


def test_strokes_are_found_in_the_midst_of_chords() -> None:
    sound, true = played(BEAT)
    found = finding.find_strokes(sound + 0.5 * chords(), RATE)
    assert min(share_found(true, found, drum) for drum in (KICK, SNARE, HAT)) >= 0.8
    assert (np.diff(found.seconds) >= 0).all()
    assert found.loudness.min() >= finding.FAINTEST_LOUDNESS


def test_music_without_drums_and_silence_have_no_strokes() -> None:
    for sound in (chords(), np.zeros((2, RATE)), np.zeros((1, 0)), np.zeros((1, 50))):
        assert len(finding.find_strokes(sound.astype(np.float32), RATE)) == 0


def test_louder_strokes_are_louder() -> None:
    loudness = np.full((400, features.BANDS), 0.01, np.float32)
    probabilities = np.zeros((400, len(KIT)), np.float32)
    for frame, height in ((50, 1.0), (150, 0.5), (250, 1.0), (350, 0.0)):
        probabilities[frame, SNARE] = 0.9
        loudness[frame : frame + 5] += height
    found = finding.strokes_of(probabilities, loudness)
    assert found.drums.tolist() == [SNARE] * 4
    np.testing.assert_allclose(found.loudness[:3], [0.8, 0.4, 0.8], atol=0.02)
    assert found.loudness[3] == pytest.approx(finding.FAINTEST_LOUDNESS)
    np.testing.assert_allclose(found.seconds, [0.502, 1.502, 2.502, 3.502])


def test_a_stroke_of_metal_is_hat_or_cymbal_but_not_both() -> None:
    probabilities = np.zeros((200, len(KIT)), np.float32)
    probabilities[40, [HAT, CYMBAL]] = 0.8, 0.3
    probabilities[120, [HAT, CYMBAL]] = 0.3, 0.8
    found = finding.strokes_of(probabilities, np.ones((200, features.BANDS), np.float32))
    assert found.drums.tolist() == [HAT, CYMBAL]


def test_where_hardly_a_stroke_is_sure_there_are_none() -> None:
    probabilities, loudness = np.zeros((400, len(KIT)), np.float32), np.ones((400, features.BANDS), np.float32)
    probabilities[::50, SNARE] = 0.4
    assert len(finding.strokes_of(probabilities, loudness)) == 0
    probabilities[::50, KICK] = 0.9
    assert len(finding.strokes_of(probabilities, loudness)) == 16


def test_a_peak_counts_once() -> None:
    values = np.zeros(30)
    values[3:6] = 0.9, 0.9, 0.8
    values[12] = 0.5
    values[20] = 0.2
    assert finding.peaks(values, 0.3).tolist() == [3, 12]


def keys_item(request: AnalysisRequest, signal: np.ndarray) -> tuple[StoreHeader, np.ndarray]:
    """Analyse a signal (C, S) as one song, and return the header and the rolls."""
    array, song = to_waveform(
        Recording(Take([signal.astype(np.float32)]), None, None, None, None, ()), "a.mp3", "float16"
    )
    header = request.header(StoreHeader("waveform", RATE), len(signal))
    info = ItemInfo("000001", array.shape, "float16", array.shape, ("channels", "samples"), song)
    rolls, names, _ = to_keys(
        Item(info, array.whole()), StoreHeader("waveform", RATE), request.settings, 4.0, "cpu", False, header.tracks
    )
    assert ("tracks" in names) == bool(header.tracks)
    return header, rolls.astype(np.float32)


@pytest.mark.parametrize("sides", [1, 2])
def test_drums_become_a_channel_of_the_roll(sides: int) -> None:
    sound, _ = played(BEAT)
    header, rolls = keys_item(AnalysisRequest(), sound[:sides])
    assert header.tracks == (("mono",) if sides == 1 else ("left", "right")) + ("drums",)
    assert rolls.shape == (3, sides + 1, 88, 200)
    _, without = keys_item(AnalysisRequest(drums=False), sound[:sides])
    np.testing.assert_array_equal(rolls[:, :sides], without)
    struck = np.flatnonzero(rolls[:, -1].any(axis=(0, 2)))
    assert {15, 17, 21} <= set(struck) <= set(kit_rows(KEYS))


def test_keys_without_room_for_a_kit_and_no_drums_leave_sides_alone() -> None:
    for request in (AnalysisRequest("fixed"), AnalysisRequest(keys="17:88"), AnalysisRequest(drums=False)):
        assert request.header(StoreHeader("waveform", RATE)).tracks == ()
    assert AnalysisRequest(keys="16:29").header(StoreHeader("waveform", RATE)).tracks == ("left", "right", "drums")


def test_the_first_song_says_how_many_sides_all_have(tmp_path) -> None:
    from tests.sessions import Session

    with store.write(str(tmp_path / "sound"), StoreHeader("waveform", RATE)) as writer:
        for sides in (1, 2):
            sound = played(BEAT)[0][:sides].astype(np.float16)
            writer.add(sound, ("channels", "samples"), store.Song(title=str(sides)))
    analysis = AnalysisRequest(beats="none").begin(store.open_reader(str(tmp_path / "sound"), ("waveform",)))
    with store.write(str(tmp_path / "keys"), analysis.header) as writer:
        analysis.write("cpu", 1, writer, Session())
    reader = store.open_reader(str(tmp_path / "keys"), ("keys",))
    assert reader.header.tracks == ("mono", "drums")
    assert [item.array.shape for item in reader] == [(1, 2, 88, 500)] * 2


def test_a_long_song_is_heard_in_blocks_as_it_is_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).standard_normal((2000, 2 * 40)).astype(np.float32)
    whole = convolving.hidden_values(features, network.shipped_weights())
    for frames in (1999, 700, 64):
        monkeypatch.setattr(convolving, "BLOCK_FRAMES", frames)
        blocks = convolving.hidden_values(features, network.shipped_weights())
        np.testing.assert_allclose(blocks, whole, rtol=1e-3, atol=1e-4)

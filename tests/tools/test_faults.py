"""The faulty files of ../shared/faults, each against the "right" column of the README that lies beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from musigan.errors import MidiError
from musigan.midi.reading import Score, read_score
from musigan.sound.audio import decode
from tests.helpers import run
from tests.stores import items

_FOLDERS = (parent / "shared" / "faults" for parent in Path(__file__).parents)
FAULTS = next((folder for folder in _FOLDERS if folder.is_dir()), Path("no such folder"))
pytestmark = pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/faults")

TUNE = [(pitch, n / 2, n / 2 + 440 / 960) for n, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72))]
# Notes (pitch, start, stop) that are right, and whether a warning is.
MIDI: dict[str, tuple[list[tuple[int, float, float]], bool]] = {
    "base": (TUNE, False),
    "tempo_at_2_57": (TUNE, True),
    "off_at_2_57": ([*TUNE[:7], (72, 3.5, 5.5)], True),  # the last note's release is what cannot be read
    "fuzz_KeyError_627": ([], True),
    "fuzz_MemoryError_359": ([(60, 0.0, 0.5), (60, 0.5, 2.5)], True),
    "fuzz_ValueError_120": ([(60, 0.0, 2.0)], True),
    "big_delta_off": ([(60, 0.0, 3600.0)], True),
    "pedal_late_5h": ([(pitch, start, TUNE[-1][2]) for pitch, start, _ in TUNE], False),
    "fifo_1": ([(60, 2.0 * n, 4.0 if n == 1 else 2 * n + 0.5) for n in range(15)], False),
    **dict.fromkeys(("key_sharps_9", "key_empty", "tempo_short", "smpte_bad"), (TUNE, True)),
    **dict.fromkeys(
        ("length_too_long", "length_zero", "count_too_high", "alien_chunk_before", "running_at_start"), (TUNE, True)
    ),
    "truncated_track": ([(p, s + 4 * n, e + 4 * n) for n in range(5) for p, s, e in TUNE][:36], True),
    "count_too_low": ([(p, s + d, e + d) for p, s, e in TUNE for d in (0, 4000 / 960)], True),
    "off_in_other_track": ([(60, 0.0, 1.5), (64, 2.0, 3.0)], False),
    "pedal_sounds_off": ([(60, 0.0, 1.0), (62, 5.0, 5.5)], False),
    "pedal_notes_off": ([(60, 0.0, 2.0), (62, 5.0, 5.5)], False),
    "omni_mono_126": ([(60, 0.0, 0.5), (62, 1.0, 1.5)], False),
    "running_after_sysex": ([(60, 0.0, 0.4583), (62, 0.5, 0.9583)], False),
    "rmid_late": (TUNE, False),
    "shift_jis": (TUNE, False),
}
# Seconds, and whether a warning is right; 0: refused.
SOUND = {
    "chained.ogg": (12.0, False),
    "v51.ogg": (3.0, False),
    "data_0.wav": (399_956 / 176_400, True),
    "rate1.wav": (0.0, False),
    "id3_bigger.mp3": (6.0, False),
    "freeformat.mp3": (6.0, False),
    "flac_few.flac": (6.0, True),
}


def notes_of(score: Score) -> list[tuple[int, float, float]]:
    notes = score.notes
    return sorted(zip(notes.pitches.tolist(), notes.starts.tolist(), notes.stops.tolist(), strict=True))


def test_every_file_has_its_line() -> None:
    assert {path.stem for path in (FAULTS / "midi").glob("*.mid")} == set(MIDI)
    assert {path.name for path in (FAULTS / "sound").iterdir()} == set(SOUND)


@pytest.mark.parametrize("name", MIDI)
def test_midi(name: str) -> None:
    right, has_warning = MIDI[name]
    data = (FAULTS / "midi" / f"{name}.mid").read_bytes()
    if not right:
        with pytest.raises(MidiError):
            read_score(data)
        return
    score = read_score(data)
    np.testing.assert_allclose(notes_of(score), sorted(right), atol=1e-3)
    assert len(score.warnings) == has_warning
    assert score.title == ("桜の歌" if name == "shift_jis" else None)


@pytest.mark.parametrize("name", [name for name, (seconds, _) in SOUND.items() if seconds])
def test_sound(name: str) -> None:
    seconds, has_warning = SOUND[name]
    recording = decode(FAULTS / "sound" / name)
    assert recording.seconds == pytest.approx(seconds, abs=0.05)
    assert len(recording.warnings) == has_warning


def test_vorbis_in_5_1() -> None:
    left, right = decode(FAULTS / "sound" / "v51.ogg").signal[:, 12000:24000]
    for side, (front, centre, behind) in ((left, (300, 700, 1100)), (right, (500, 700, 1300))):
        levels = np.abs(np.fft.rfft(side))
        assert levels[[centre, behind]] / levels[front] == pytest.approx(np.sqrt(0.5), rel=0.03)
        assert set(np.flatnonzero(levels > 0.1 * levels.max())) == {front, centre, behind}


def test_a_folder_of_faults_loses_those_alone_that_cannot_be_read(tmp_path: Path) -> None:
    done = run("midi-to-keys", FAULTS / "midi", "--unpaired", "--frame-seconds", 0.2, "-o", tmp_path / "keys.zip")
    assert done.returncode == 3, done.stderr
    text = done.stderr.decode()
    assert [line for line in text.splitlines() if "skipped fuzz_KeyError_627.mid: " in line]
    assert "internal error" not in text
    sources = {item.song.source.removesuffix(".mid") for item in items(tmp_path / "keys.zip")}
    kept = {json.dumps(right): name for name, (right, _) in sorted(MIDI.items(), reverse=True) if right}
    assert sources == set(kept.values())  # the good tune is kept once, under the first name that it has
    done = run("mp3-to-npy", FAULTS / "sound", "--min-seconds", 1, "-o", tmp_path / "sound.zip")
    assert done.returncode == 3, done.stderr
    assert b"skipped rate1.wav: " in done.stderr
    assert {item.song.source for item in items(tmp_path / "sound.zip")} == set(SOUND) - {"rate1.wav"}

"""midi-to-keys and keys-to-midi, and tracks of instruments through the other tools."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import mido
import numpy as np
import pytest

from musigan import store
from musigan.errors import StoreError
from musigan.midi.reading import read_score
from tests import helpers, tiny
from tests.helpers import one_line, run, run_each
from tests.midifiles import folder, midi, note, program, song
from tests.stores import items


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five songs of 50 s in folders by genre, one of them twice, and files that are none."""
    files = {
        "Folk/b.mid": song(1, title="Bee"), "Folk/A.MID": song(2), "Folk/slow/c.kar": song(3),
        "rock/d.midi": song(4), "rock/again.mid": song(1, title="Bee, retitled"), "e.mid": song(5),
        "rock/damaged.mid": song(6)[:20], "rock/empty.mid": b"", "rock/silent.mid": midi([program(3)]),
        "rock/short.mid": song(7, beats=3), "rock/cover.jpg": b"no music",
    }  # fmt: skip
    return folder(tmp_path_factory.mktemp("music"), files)


@pytest.fixture(scope="module")
def keys(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five songs as a store, all tracks."""
    path = tmp_path_factory.mktemp("keys") / "keys.zip"
    done = run("midi-to-keys", music, "-o", path, "--chunk-seconds", 2, "--validation", 0.5)
    assert done.returncode == 3, done.stderr
    return path


def test_folders_are_read_in_order_and_what_is_no_song_is_skipped(music: Path, tmp_path: Path) -> None:
    done = run("midi-to-keys", music, "-o", tmp_path / "out.zip")
    assert done.returncode == 3
    lines = done.stderr.decode().splitlines()
    assert [line.split(": ")[1] for line in lines[:-1]] == [
        f"skipped rock/{name}.mid" for name in ("damaged", "empty", "short", "silent")
    ]
    assert "10 pairs of 5 songs" in lines[-1]
    assert "1 duplicate left out" in lines[-1]
    found = items(tmp_path / "out.zip")
    sources = [item.song.source for item in found]
    assert sources == ["e.mid", "Folk/A.MID", "Folk/b.mid", "Folk/slow/c.kar", "rock/d.midi"]
    assert [item.song.genre for item in found] == ["", "Folk", "Folk", "slow", "rock"]
    assert [item.song.title for item in found] == ["e", "A", "Bee", "c", "d"]
    assert {item.array.shape for item in found} == {(2, 2, 5, 88, 500)}
    assert {item.dimension_names for item in found} == {("pairs", "part", "tracks", "keys", "frames")}
    strict = run("midi-to-keys", music, "-o", tmp_path / "strict.zip", "--strict")
    assert strict.returncode == 1
    assert "damaged" in one_line(strict.stderr)


def test_what_is_chosen_of_a_song_and_how_it_is_cut(music: Path, tmp_path: Path) -> None:
    out = [tmp_path / f"{number}.zip" for number in range(4)]
    one = music / "e.mid"
    done = run_each(
        "midi-to-keys",
        [one, "-o", out[0], "--tracks", "bass,drums", "--keys", "10:50", "--frame-seconds", 0.05],
        [one, "-o", out[1], "--merge", "--unpaired", "--genre", "waltz"],
        [one, "-o", out[2], "--overlap", 0.5, "--validation", 1],
        [one, "-o", out[3], "--tracks", "guitar"],
    )
    assert [run.returncode for run in done] == [0, 0, 0, 1]
    assert b"no notes for guitar" in done[3].stderr
    assert not out[3].exists()
    (chosen,), (merged,), (overlapping,) = (items(path) for path in out[:3])
    assert chosen.array.shape == (2, 2, 2, 41, 200)
    assert merged.array.shape == (6, 1, 88, 500)  # 50.4 s, the end of the bass; silence behind it
    assert (merged.song.genre, merged.song.seconds) == ("waltz", pytest.approx(50.75, abs=0.01))
    assert overlapping.song.starts == (0.0, 10.0, 20.0, 30.0)
    assert overlapping.song.split == "validation"
    with store.open_reader(str(out[0])) as reader:
        assert (reader.header.tracks, reader.header.key_settings.band) == (("drums", "bass"), "midi")


def test_wrong_usage_is_one_line(music: Path) -> None:
    calls = [
        ["--tracks", "flute"], ["--tracks", "drums", "--merge"], ["--unpaired", "--overlap", 0.5], ["--keys", "0:9"],
        ["--frame-seconds", 0.0333], [""],
    ]  # fmt: skip
    for done in run_each("midi-to-keys", *[[music, *words] for words in calls]):
        assert done.returncode == 2
        one_line(done.stderr)
    assert run("npy-to-keys", "--band", "midi").returncode == 2


def test_through_pipes_and_back_no_note_is_lost(tmp_path: Path) -> None:
    data = song(8, title="Eight")
    keys = run("midi-to-keys", "-", "--unpaired", data=data)
    assert keys.returncode == 0, keys.stderr
    back = run("keys-to-midi", "-", data=keys.stdout)
    assert back.returncode == 0, back.stderr
    before, after = read_score(data), read_score(back.stdout)
    assert (after.title, after.tempo, after.time_signature, after.key) == ("Eight", 120.0, (3, 4), "Gm")
    assert len(after.notes) == len(before.notes)
    one, other = (np.lexsort((n.starts, n.pitches, n.groups)) for n in (before.notes, after.notes))
    np.testing.assert_array_equal(before.notes.pitches[one], after.notes.pitches[other])
    np.testing.assert_array_equal(before.notes.groups[one], after.notes.groups[other])
    np.testing.assert_array_equal(before.notes.velocities[one], after.notes.velocities[other])
    assert np.abs(before.notes.starts[one] - after.notes.starts[other]).max() <= 0.02
    nothing = run("midi-to-keys", "-", data=b"")
    assert nothing.returncode == 1
    assert b"empty" in nothing.stderr


def test_each_track_has_its_channel_and_instrument(keys: Path, tmp_path: Path) -> None:
    done = run("keys-to-midi", tmp_path / "out.mid", keys, "--tempo", 90)
    assert done.returncode == 0, done.stderr
    file = mido.MidiFile(tmp_path / "out.mid")
    assert [track.name for track in file.tracks] == ["e", "drums", "piano", "guitar", "bass", "strings"]
    for track in file.tracks[1:]:
        channels = {message.channel for message in track if message.type == "note_on"}
        programs = [message.program for message in track if message.type == "program_change"]
        assert channels <= ({9} if track.name == "drums" else set(range(9)))
        assert programs == {"drums": [], "piano": [0], "guitar": [24], "bass": [33], "strings": [48]}[track.name]
    assert {m.tempo for m in file.tracks[0] if m.type == "set_tempo"} == {mido.bpm2tempo(90)}
    assert [m.text for m in file.tracks[0] if m.type == "marker"] == ["A", "Bee", "c", "d"]


def test_split_numbers_its_files_and_overwrites_none(keys: Path, tmp_path: Path) -> None:
    done = run("keys-to-midi", tmp_path / "out.mid", keys, "--split", "--quantise", "1/16")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == [f"out-00{number}.mid" for number in range(1, 6)]
    file = mido.MidiFile(tmp_path / "out-003.mid")
    ticks = {int(t) for track in file.tracks[1:] for t in np.cumsum([m.time for m in track if not m.is_meta])}
    assert ticks
    assert {tick % 240 for tick in ticks} == {0}
    refused, ending, both = run_each(
        "keys-to-midi",
        [tmp_path / "out.mid", keys, "--split"],
        [tmp_path / "out.wav", keys],
        ["-", keys, "--split"],
    )
    assert [done.returncode for done in (refused, ending, both)] == [1, 2, 1]
    assert "--force" in one_line(refused.stderr)
    assert ".mid" in one_line(ending.stderr)
    assert run("keys-to-midi", tmp_path / "out.mid", keys, "--split", "--force").returncode == 0


def test_a_recording_becomes_a_piano_part(tmp_path: Path) -> None:
    path = helpers.keys_store(tmp_path / "keys.zip", 1)
    done = run("keys-to-midi", "-", path)
    assert done.returncode == 0, done.stderr
    file = mido.MidiFile(file=BytesIO(done.stdout))
    assert [track.name for track in file.tracks] == ["Tune 0", "piano", "drums"]
    # Notes of half a second on four keys, 40, 44, 47 and 52.
    assert {m.note for m in file.tracks[1] if m.type == "note_on"} == {60, 64, 67, 72}


def test_instruments_play_together_and_show_themselves(tmp_path: Path) -> None:
    import soundfile

    keys = tmp_path / "keys.zip"
    keys.write_bytes(run("midi-to-keys", "-", "--unpaired", data=song(2, beats=20)).stdout)
    done = run("keys-to-mp3", tmp_path / "out.wav", keys)
    assert done.returncode == 0, done.stderr
    sound, rate = soundfile.read(tmp_path / "out.wav")
    assert (rate, sound.shape[1]) == (44100, 2)
    assert 0.3 < np.abs(sound).max() <= 10 ** (-1 / 20)
    assert not np.allclose(sound[:, 0], sound[:, 1])
    whole, drums, nobody = run_each("plot-keys", [keys], [keys, "--track", "drums"], [keys, "--track", "flute"])
    assert whole.stdout[:4] == drums.stdout[:4] == b"\x89PNG"
    assert whole.stdout != drums.stdout
    assert nobody.returncode == 2
    assert "drums, piano" in one_line(nobody.stderr)


def test_a_network_learns_tracks_and_draws_them(keys: Path, tmp_path: Path) -> None:
    small = {"network": tiny.NETWORKS["bars"], "batch_size": 4}
    (tmp_path / "s.yaml").write_text(json.dumps(small))
    checkpoint = tmp_path / "ckpt.pt"
    done = run(
        "train-gan", keys, "-o", checkpoint, "--config", tmp_path / "s.yaml", "--steps-limit", 2, "-q",
        "--device", "cpu", env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = run("sample", checkpoint, "-n", 9, "--seconds", 2, "-o", tmp_path / "new.zip")
    assert drawn.returncode == 0, drawn.stderr
    with store.open_reader(str(tmp_path / "new.zip")) as reader:
        assert reader.header.tracks == ("drums", "piano", "guitar", "bass", "strings")
    assert {item.dimension_names for item in items(tmp_path / "new.zip")} == {("chunks", "tracks", "keys", "frames")}
    judged = run("evaluate", keys, tmp_path / "new.zip", "--json", "--bootstraps", 10, "--splits", 2)
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)


def test_a_store_of_tracks_lists_them(tmp_path: Path) -> None:
    data = midi([program(0), *note(0, 20000, 60)], [program(33, 1), *note(0, 20000, 40, 90, 1)])
    folder(tmp_path, {"two.mid": data})
    path = tmp_path / "two.zarr"
    assert run("midi-to-keys", tmp_path / "two.mid", "--tracks", "piano,bass", "-o", path).returncode == 0
    group = path / "zarr.json"
    for tracks in (["piano"], ["piano", "piano"], [], ["piano", 3], "piano", None):
        text = json.loads(group.read_text())
        text["attributes"]["musigan"]["tracks"] = tracks
        group.write_text(json.dumps(text))
        with pytest.raises(StoreError, match="tracks"), store.open_reader(str(path)) as reader:
            list(reader)

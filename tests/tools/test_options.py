"""What the options of the tools between MP3 and keys do, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import helpers
from tests.helpers import one_line, run, run_each
from tests.stores import items


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tunes of 25 to 28 s, two of them in a folder of their own; a copy of one under another name."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "B-sides").mkdir()
    for number, name in enumerate(("z.wav", "A.wav", "B-sides/1.wav", "B-sides/2.flac")):
        helpers.write_sound(folder / name, helpers.tune(25 + number, [40 + number, 47, 52], number))
    shutil.copy(folder / "A.wav", folder / "copy of A.wav")
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files."""
    return helpers.one_store_of_each(tmp_path_factory.mktemp("stores"))


def test_folders_are_read_in_order_and_recordings_kept_once(music: Path, tmp_path: Path) -> None:
    done = run("mp3-to-npy", music, "-o", tmp_path / "out")
    assert done.returncode == 0
    assert b"4 songs, 1 duplicate left out" in done.stderr
    found = items(tmp_path / "out")
    assert [item.song.source for item in found] == ["A.wav", "B-sides/1.wav", "B-sides/2.flac", "z.wav"]
    assert [item.array.shape for item in found] == [(2, seconds * helpers.RATE) for seconds in (26, 27, 28, 25)]
    signal = helpers.tune(26, [41, 47, 52], 1)
    np.testing.assert_allclose(found[0].array.astype(np.float32), signal, atol=5e-4)


def test_what_of_a_song_is_kept_and_how(music: Path, tmp_path: Path) -> None:
    out = [tmp_path / str(number) for number in range(4)]
    song = music / "A.wav"
    done = run_each(
        "mp3-to-npy",
        [song, "-o", out[0], "--start", 2, "--seconds", 21.5, "--dtype", "int16"],
        [song, "-o", out[1], "--channels", "mono", "--sample-rate", 8000],
        [song, "-o", out[2], "--seconds", 5],
        [song, "-o", out[3], "--min-seconds", 26.5],
    )
    assert [run.returncode for run in done] == [0, 0, 0, 1]
    assert b"too short" in done[3].stderr
    (part,) = items(out[0])
    assert (part.array.dtype, part.array.shape) == (np.int16, (2, round(21.5 * helpers.RATE)))
    signal = helpers.tune(26, [41, 47, 52], 1)[:, 2 * helpers.RATE :][:, : part.array.shape[1]]
    np.testing.assert_allclose(part.array * part.song.level, signal, atol=1e-4)
    assert items(out[1])[0].array.shape == (1, 26 * 8000)
    assert items(out[2])[0].array.shape == (2, 5 * helpers.RATE)


def test_the_sample_type_makes_no_difference_later(music: Path, tmp_path: Path) -> None:
    rolls = []
    for dtype in ("float16", "int16"):
        waveform = run("mp3-to-npy", music / "A.wav", "--dtype", dtype).stdout
        pairs = run("pair-chunks", "--chunk-seconds", 5, data=waveform).stdout
        (tmp_path / dtype).write_bytes(run("npy-to-keys", data=pairs).stdout)
        rolls.append(items(tmp_path / dtype)[0].array.astype(np.float64))
    assert rolls[0].shape == (2, 2, 3, 88, 250)
    cosine = (rolls[0] * rolls[1]).sum() / np.sqrt((rolls[0] ** 2).sum() * (rolls[1] ** 2).sum())
    assert cosine > 0.999


def test_the_number_of_jobs_changes_no_byte(music: Path, stores: dict[str, Path]) -> None:
    for tool, source in (("mp3-to-npy", music), ("npy-to-keys", stores["pairs"]), ("npy-to-keys", stores["waveform"])):
        one, three, default = run_each(tool, [source, "-j", 1], [source, "-j", 3], [source])
        assert (one.returncode, len(one.stdout) > 100_000) == (0, True)
        assert one.stdout == three.stdout == default.stdout


def test_the_seed_decides_the_order_of_pairs(stores: dict[str, Path], tmp_path: Path) -> None:
    call = [stores["waveform"], "--chunk-seconds", 2, "--shuffle"]
    plain, again, other = tmp_path / "plain", tmp_path / "again", tmp_path / "other"
    done = run_each(
        "pair-chunks", [*call, "--seed", 5], [*call, "--seed", 5], [*call, "--seed", 6],
        [*call[:-1], "-o", plain], [*call, "--seed", 5, "-o", again], [*call, "--seed", 6, "-o", other],
    )  # fmt: skip
    assert [run.returncode for run in done] == [0] * 6
    assert done[0].stdout == done[1].stdout != done[2].stdout
    ordered, shuffled, differently = items(plain)[0], items(again)[0], items(other)[0]
    assert ordered.song.starts == (0, 4, 8, 12, 16)
    assert sorted(shuffled.song.starts) == list(ordered.song.starts)
    assert shuffled.song.starts != differently.song.starts
    for start, pair in zip(shuffled.song.starts, shuffled.array, strict=True):
        assert (pair == ordered.array[int(start) // 4]).all()


def test_overlap_makes_more_pairs(stores: dict[str, Path], tmp_path: Path) -> None:
    call = [stores["waveform"], "--chunk-seconds", 2, "-o"]
    apart, half = tmp_path / "apart", tmp_path / "half"
    done = run_each("pair-chunks", [*call, apart], [*call, half, "--overlap", 0.5])
    assert [run.returncode for run in done] == [0, 0]
    for one, twice, seconds in zip(items(apart), items(half), (21, 22), strict=True):
        assert one.song.starts == tuple(range(0, seconds - 3, 4))
        assert twice.song.starts == tuple(range(0, seconds - 3, 2))
        assert (twice.array[::2] == one.array).all()
        assert (twice.array[1][0] == one.array[0][1]).all()  # every continuation opens a pair of its own


def test_validation_holds_whole_songs_back(stores: dict[str, Path]) -> None:
    all_back, none_back = run_each(
        "pair-chunks", [stores["waveform"], "--validation", 1], [stores["waveform"], "--validation", 0]
    )
    assert b"2 pairs of 2 songs, 2 of them held back" in all_back.stderr
    assert b"2 pairs of 2 songs, 0 of them held back" in none_back.stderr


def test_waveforms_become_chunks_of_whole_songs(stores: dict[str, Path], tmp_path: Path) -> None:
    default, long, fixed, too_long = tmp_path / "a", tmp_path / "b", tmp_path / "c", tmp_path / "d"
    waveform = stores["waveform"]
    done = run_each(
        "npy-to-keys",
        [waveform, "-o", default],
        [waveform, "-o", long, "--chunk-seconds", 3, "--keys", "20:60", "--frame-seconds", 0.05],
        [waveform, "-o", fixed, "--band", "fixed"],
        [waveform, "-o", too_long, "--chunk-seconds", 21.5],
    )
    assert [run.returncode for run in done] == [0, 0, 0, 3]
    assert [item.array.shape for item in items(default)] == [(2, 3, 88, 500)] * 2
    assert [item.array.shape for item in items(long)] == [(7, 2, 41, 60)] * 2
    assert [item.array.shape for item in items(fixed)] == [(2, 2, 33, 500)] * 2
    assert [item.song.source for item in items(too_long)] == ["tune-1.wav"]
    assert items(default)[0].dimension_names == ("chunks", "tracks", "keys", "frames")
    assert items(default)[0].song.starts == (0, 10)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_names_that_are_no_words_pass_through(tmp_path: Path) -> None:
    """Line breaks, escape sequences and bytes that are no Unicode reach neither the terminal nor break the store."""
    music = os.fsencode(tmp_path / "music")
    os.mkdir(music)
    names = [b"a\nb", b"c\td", b"\x1b[31mred", b"\xff\xfe", "naïve – ünï".encode(), b'quote"\\']
    for number, name in enumerate(names):
        written = helpers.write_sound(tmp_path / "tune.wav", helpers.tune(21, [40 + number], number))
        os.rename(written, music + b"/" + name + b".wav")
        with open(music + b"/" + name + b".bad.mp3", "wb") as file:
            file.write(b"no music")
    done = run("mp3-to-npy", os.fsdecode(music), "-v")
    assert done.returncode == 3
    lines = done.stderr.decode().split("\n")
    assert sum("skipped " in line for line in lines) == len(names) + 1  # with the summary
    assert all(line.startswith("mp3-to-npy: ") for line in lines[:-1])
    assert all(line.isprintable() for line in lines)
    pairs = run("pair-chunks", "-v", data=done.stdout)
    keys = run("npy-to-keys", "-v", "-o", tmp_path / "keys.zarr", data=pairs.stdout)
    assert (pairs.returncode, keys.returncode) == (0, 0)
    sources = {item.song.source for item in items(tmp_path / "keys.zarr")}
    assert sources == {name.decode(errors="backslashreplace") + ".wav" for name in names}
    document = json.loads((tmp_path / "keys.zarr" / "000001" / "zarr.json").read_bytes())
    assert document["attributes"]["source"] in sources
    assert run("musigan check", tmp_path / "keys.zarr").returncode == 0


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        (
            "mp3-to-npy",
            [
                *("--start=nan", "--start=inf", "--start=-1", "--seconds=inf", "--seconds=0", "--seconds=x", "-j-1"),
                *("--min-seconds=inf", "--sample-rate=0", "--sample-rate=1e9", "--dtype=float64", "--channels=3"),
            ],
        ),
        (
            "pair-chunks",
            [
                *("--chunk-seconds=nan", "--chunk-seconds=0", "--chunk-seconds=inf", "--chunk-seconds=0.33333"),
                *("--overlap=nan", "--overlap=-0.1", "--overlap=1", "--overlap=0.999999999", "--overlap=inf"),
                *("--validation=nan", "--validation=1.1", "--seed=-1", "--seed=1.5"),
            ],
        ),
        (
            "npy-to-keys",
            [
                *("--band=wide", "--keys=0:5", "--keys=5:4", "--keys=88:89", "--keys=1:2:3", "--keys=:", "--keys=x"),
                *("--frame-seconds=nan", "--frame-seconds=0", "--frame-seconds=0.033", "--frame-seconds=0.5001"),
                *("--threshold=nan", "--threshold=-1", "--threshold=1", "--device=cuda:99", "-j=x"),
            ],
        ),
    ],
)
def test_values_that_make_no_sense_are_wrong_usage(
    tool: str, options: list[str], music: Path, stores: dict[str, Path]
) -> None:
    source = {"mp3-to-npy": music, "pair-chunks": stores["waveform"], "npy-to-keys": stores["pairs"]}[tool]
    for option, done in zip(options, run_each(tool, *[[source, option] for option in options]), strict=True):
        assert (option, done.returncode) == (option, 2), done.stderr
        assert option.split("=")[0].rstrip("-01x") in one_line(done.stderr)
        assert done.stdout == b""


def test_an_empty_name_is_not_the_folder_we_are_in(tmp_path: Path, stores: dict[str, Path]) -> None:
    r"""What an unset variable of a script becomes: mp3-to-npy "$MUSIC"."""
    helpers.write_sound(tmp_path / "a.wav", helpers.tune(21, [40]))
    calls = [("mp3-to-npy", ""), ("pair-chunks", ""), ("mp3-to-npy", ".", "-o", "")]
    for tool, *arguments in calls:
        done = run(tool, *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "empty" in one_line(done.stderr)
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_recording_in_two_folders_under_one_name_is_kept_once(music: Path, tmp_path: Path) -> None:
    shutil.copytree(music, tmp_path / "again")
    done = run("mp3-to-npy", music / "B-sides", tmp_path / "again" / "B-sides", "-o", tmp_path / "out")
    assert done.returncode == 0
    assert [item.song.source for item in items(tmp_path / "out")] == ["1.wav", "2.flac"]
    assert b"2 duplicates left out" in done.stderr


def test_training_spools_what_comes_through_a_fifo(stores: dict[str, Path], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"cat '{stores['keys']}' > '{fifo}'"]):
        done = run("pretrain", fifo, "--epochs", 1, "--steps-limit", 1, "-o", tmp_path / "a.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.pt").exists()


def test_two_numbers_of_pieces_are_one_too_many(tmp_path: Path) -> None:
    done = run("sample", tmp_path / "any.pt", "-n", 5, "--best", 2)
    assert done.returncode == 2
    assert b"--best 2 --of" in done.stderr

"""transfer, the library and the tool: whole songs without seams, what is kept of them, and what they are taken for."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models, report, store
from musigan.checkpoints import checkpoint
from musigan.datasets.record import MusicRecord
from musigan.errors import CheckpointError, MusiganError, StoreError, UsageError
from musigan.metrics import genre
from musigan.rolls.loudness import compress, expand
from musigan.rolls.shape import RollShape
from musigan.sampling import transfer
from musigan.store import Item, chunks
from musigan.training import runs
from tests import helpers, reports, stores, tiny
from tests.helpers import one_line, run_each

PAIRED = ("pairs", "part", "channels", "keys", "frames")
C, K, T = tiny.CHANNELS, tiny.KEYS, tiny.FRAMES
HOP = T * 0.02  # seconds


def translator() -> transfer.Transfer:
    """Both ways past the identity they begin as, and not the same."""
    torch.manual_seed(1)
    networks = models.build("cyclegan", tiny.NETWORKS["cyclegan"], RollShape(C, K, T))
    with torch.no_grad():
        for parameter in networks["generator"].parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    header = tiny.HEADER.with_keys(replace(tiny.HEADER.key_settings, cleaned=False))
    return transfer.Transfer(networks, RollShape(C, K, T), MusicRecord(header, domains=("folk", "rock")), "sqrt")


def song(frames: int, seed: int = 0) -> np.ndarray:
    """(C, K, frames) with half of the cells silent."""
    rng = np.random.default_rng(seed)
    return (rng.random((C, K, frames)) * (rng.random((C, K, frames)) > 0.5)).astype(np.float32)


def item(whole: np.ndarray, begins: list[int], **about: Any) -> Item:
    """Pairs of a song (C, K, T') that begin at the frames `begins`."""
    pairs = np.stack(
        [np.stack([whole[..., b : b + T], whole[..., b + T : b + 2 * T]]) for b in begins]
    )  # (P, 2, C, K, T)
    about.setdefault("starts", tuple(begin * 0.02 for begin in begins))
    said = store.Song(title="Air", artist="Bach", level=0.2, **about)
    shape = pairs.shape
    return Item(store.ItemInfo("000001", shape, "float16", (1, *shape[1:]), PAIRED, said), pairs.astype(np.float16))


@pytest.mark.parametrize("frames", [1, 3, 200, 203])
def test_a_song_in_windows_is_the_song_in_one_pass(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    there, whole = translator(), song(frames)
    with torch.no_grad():
        once = there.generator.translate(torch.from_numpy(compress(whole))[None], 1)[0].numpy()
    monkeypatch.setattr(transfer, "WINDOW_PATCHES", 7)
    np.testing.assert_allclose(there.song(whole, 1), expand(once), atol=1e-6)
    assert np.abs(there.song(whole, 1) - there.song(whole, 0)).max() > 0.01


@pytest.mark.parametrize("begins", [[0, 2 * T, 4 * T], [0, T, 2 * T], [4 * T, 0, T], [5, 5 + 3 * T]])
def test_pairs_are_cut_from_the_whole_song_turned(begins: list[int]) -> None:
    """Overlapping, shuffled, or with a stretch dropped between them, which is silence."""
    there = translator()
    whole = song(max(begins) + 2 * T)
    heard = np.zeros_like(whole)
    for begin in begins:
        heard[..., begin : begin + 2 * T] = whole[..., begin : begin + 2 * T]
    first = min(begins)
    turned = there.song(heard[..., first:].astype(np.float16).astype(np.float32), 0)
    array, names, song_there = there.item(item(whole, begins), 0)
    assert (array.dtype, names) == (np.float16, PAIRED)
    for pair, begin in zip(array, begins, strict=True):
        expected = turned[..., begin - first : begin - first + 2 * T]
        np.testing.assert_allclose(np.concatenate(tuple(pair), -1), expected, atol=1e-3)
    assert song_there.title == "Air (to folk)"
    assert (song_there.artist, song_there.level, len(song_there.starts)) == ("Bach", 0.2, len(begins))


def test_chunks_stay_chunks_and_the_last_one_whole() -> None:
    whole = song(3 * T)
    array = np.stack(np.split(whole, 3, axis=-1)).astype(np.float16)
    info = store.ItemInfo(
        "000001", array.shape, "float16", (1, C, K, T), ("chunks", *PAIRED[2:]), store.Song(seconds=1.1)
    )
    there = translator()
    turned, names, song_there = there.item(Item(info, array), 1)
    assert (turned.shape, names, song_there.seconds) == (array.shape, info.dimension_names, 1.1)
    np.testing.assert_allclose(
        chunks.assemble(turned, (0.0, HOP, 2 * HOP), 50.0, paired=False),
        there.song(array.transpose(1, 2, 0, 3).reshape(C, K, -1).astype(np.float32), 1),
        atol=1e-3,
    )


def test_what_does_not_fit_is_said() -> None:
    there = translator()
    narrow = song(2 * T)[:, 1:]
    broken = song(2 * T)
    broken[0, 0, 0] = np.nan
    for wrong, word in ((item(narrow, [0]), "10 keys"), (item(broken, [0]), "not finite")):
        with pytest.raises(MusiganError, match=word):
            there.item(wrong, 0)
    with pytest.raises(MusiganError, match="2 starts for 1"):
        there.item(item(song(2 * T), [0], starts=(0.0, 1.0)), 0)
    with pytest.raises(UsageError, match=r"^to jazz: unknown; this checkpoint knows folk and rock"):
        there.kind("jazz")
    with pytest.raises(StoreError, match="keys from 29"):
        there.check(replace(tiny.HEADER, low_key=29), "x")


def judged_songs(**changes: Any) -> list[genre.TransferredSong]:
    """Four songs of one kind and three of another: the first feature tells the kinds, after transfer it is the other's.

    The second tells songs apart, and would mislead who has heard them.
    """
    rng, songs = np.random.default_rng(0), []
    for kind, count in ((0, 4), (1, 3)):
        for number in range(count):
            features = rng.normal(0, 0.1, (3, 5, 4))
            features[..., 0] += np.array([kind, changes.get("after", 1 - kind), kind])[:, None]
            features[..., 1] += 10 * (2 * number + kind)
            songs.append(genre.TransferredSong(kind, features, (1.0, 0.6 + 0.1 * number, 0.9), (1.0, 0.8, 0.7)))
    return songs


@pytest.mark.parametrize("classifier", genre.CLASSIFIERS)
def test_judges_see_music_go_there_and_back(classifier: genre.Classifier) -> None:
    folk, rock = genre.judge(judged_songs(), ("folk", "rock"), classifier)
    assert (folk.kind, folk.songs, folk.rolls, rock.songs, rock.rolls) == ("folk", 4, 20, 3, 15)
    for verdict in (folk, rock):
        assert verdict.before > 0.7
        assert verdict.after < verdict.before - 0.5
        assert verdict.back == pytest.approx(verdict.before, abs=0.2)
    one_way = genre.judge(judged_songs(after=1), ("folk", "rock"), "forest")
    assert one_way[0].strength > 0.5 > 0.1 > one_way[1].strength
    table = list(genre.lines([folk, rock], judged_songs(), ("folk", "rock")))
    assert [line.split() for line in table[-5:-1]] == [
        ["folk:", "like", "the", "song", "cosine", "1.00", "0.75", "0.90"],
        ["rock:", "like", "the", "song", "cosine", "1.00", "0.70", "0.90"],
        ["folk:", "chords", "kept", "cosine", "1.00", "0.80", "0.70"],
        ["rock:", "chords", "kept", "cosine", "1.00", "0.80", "0.70"],
    ]
    assert len(table) == 8
    assert f"{(folk.strength + rock.strength) / 2:.2f}" in table[-1]


def test_how_much_of_a_song_is_left() -> None:
    whole = np.random.default_rng(1).random((2, 4, 9))
    assert genre.loudness_similarity(whole, 0.3 * whole) == pytest.approx(1)
    assert genre.loudness_similarity(whole, 0 * whole) == 0
    half = np.where(np.arange(4)[:, None] < 2, whole, 0)
    assert genre.loudness_similarity(whole, half) == pytest.approx(np.sqrt(half.sum() / whole.sum()))


def test_chords_are_kept_in_other_octaves_and_not_in_other_keys() -> None:
    whole = np.zeros((2, 30, 25))
    whole[:, (3, 7, 10), :12], whole[:, (1, 5, 8), 12:] = 0.5, 0.3
    assert genre.harmony_similarity(whole, 0.3 * np.roll(whole, 12, axis=1), 0.02) == pytest.approx(1)
    assert genre.harmony_similarity(whole, np.roll(whole, 1, axis=1), 0.02) < 0.05
    assert genre.harmony_similarity(whole, np.where(np.arange(25) < 20, whole, 0), 0.02) == pytest.approx(
        0.83, abs=0.05
    )
    assert genre.harmony_similarity(whole, 0 * whole, 0.02) == 0
    assert genre.harmony_similarity(0 * whole, whole, 0.02) == 0


def test_no_judge_has_heard_the_song(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of = []

    def predict(kind: str, points: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
        gap = np.abs(points[None, :, 1] - asked[:, None, 1]).min()
        asked_of.append((gap, len(np.unique(labels))))
        return np.zeros(len(asked))

    monkeypatch.setattr(genre, "predict", predict)
    verdicts = genre.judge(judged_songs(), ("folk", "rock"), "forest")
    assert [(v.before, v.after, v.back) for v in verdicts] == [(1, 1, 1), (0, 0, 0)]
    assert len(asked_of) == 7
    assert all(gap > 0.3 and kinds == 2 for gap, kinds in asked_of)


# -- the tool -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores folk.zip and rock.zip with two songs held back of each, a checkpoint ckpt.pt that has seen one step."""
    folder = tmp_path_factory.mktemp("transfer")
    for seed, name in enumerate(("folk.zip", "rock.zip")):
        tiny.write_keys(folder / name, songs=3, validation=2, seed=seed)
    config = folder / "tiny.yaml"
    config.write_text(f"network: {tiny.NETWORKS['cyclegan']}\nbatch_size: 3\n".replace("'", ""))
    line = [
        "folk.zip",
        "rock.zip",
        "--model",
        "cyclegan",
        "--config",
        "tiny.yaml",
        "--steps-limit",
        1,
        "--device",
        "cpu",
    ]
    (done,) = run_each("train-gan", line, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return folder


def call(folder: Path, *lines: list[object], tool: str = "transfer") -> list[subprocess.CompletedProcess[bytes]]:
    return run_each(tool, *lines, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_file_folder_stdin_and_pipe_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    words = ["ckpt.pt", "--to", "rock"]
    named, to_file, to_folder = call(
        folder, [*words, "folk.zip"], [*words, "folk.zip", "-o", tmp_path / "a.zip"],
        [*words, "folk.zip", "-o", tmp_path / "a.zarr"],
    )  # fmt: skip
    piped = helpers.run("transfer", *words, data=(folder / "folk.zip").read_bytes(), cwd=folder)
    assert [each.returncode for each in (named, to_file, to_folder, piped)] == [0] * 4, named.stderr
    assert named.stdout == piped.stdout == (tmp_path / "a.zip").read_bytes()
    before, after = stores.items(folder / "folk.zip"), stores.items(tmp_path / "a.zarr")
    assert [each.song.title for each in after] == [f"Song {number} (to rock)" for number in range(3)]
    assert [each.song.split for each in after] == [each.song.split for each in before]
    assert [each.array.shape for each in after] == [each.array.shape for each in before]


def test_wrong_use_is_one_line(folder: Path, tmp_path: Path) -> None:
    out = ["-o", tmp_path / "out"]
    (folder / "precious").write_text("x")
    calls: list[tuple[list[object], int, str]] = [
        (["ckpt.pt", "folk.zip", *out], 2, "--to is missing; this checkpoint knows folk and rock"),
        (["ckpt.pt", "folk.zip", "--to", "jazz", *out], 2, "--to jazz"),
        (["ckpt.pt", "folk.zip", "rock.zip", "--to", "rock", *out], 2, "2 stores given"),
        (["ckpt.pt", "folk.zip", "--to", "rock", "--judge"], 2, "leave --to out"),
        (["ckpt.pt", "folk.zip", "--judge"], 2, "found folk"),
        (["ckpt.pt", "folk.zip", "--to", "rock", "-o", "precious"], 1, "--force"),
        (["missing.pt", "folk.zip", "--to", "rock", *out], 1, "no such file"),
        (["folk.zip", "folk.zip", "--to", "rock", *out], 1, "not a checkpoint"),
        (["ckpt.pt", "missing", "--to", "rock", *out], 1, "missing"),
        (["ckpt.pt", "ckpt.pt", "--to", "rock", *out], 1, "store"),
    ]
    for (line, code, words), done in zip(calls, call(folder, *[line for line, *_ in calls]), strict=True):
        assert (done.returncode, done.stdout) == (code, b""), done.stderr
        assert words in one_line(done.stderr), line
    assert (folder / "precious").read_text() == "x"
    assert os.listdir(tmp_path) == []


def test_streams_that_are_empty_or_cut_short_leave_no_output(folder: Path, tmp_path: Path) -> None:
    data = (folder / "folk.zip").read_bytes()
    for share, word in ((0.0, "nothing came in"), (0.02, "cut short"), (0.999, "cut short")):
        line = ["ckpt.pt", "-", "--to", "rock", "-o", tmp_path / "out"]
        done = helpers.run("transfer", *line, data=data[: int(share * len(data))], cwd=folder)
        assert done.returncode == 1
        assert word in one_line(done.stderr)
    assert os.listdir(tmp_path) == []


def test_a_reader_that_goes_away_ends_it_quietly(folder: Path) -> None:
    process = helpers.start(
        "transfer", "ckpt.pt", "folk.zip", "--to", "rock", stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    )
    helpers.assert_quiet_when_unread(process)


def test_songs_that_do_not_fit_are_skipped_or_stop_it(folder: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    with store.write(str(mixed), tiny.HEADER) as writer:
        for channels in (C, 1):
            writer.add(np.full((1, 2, channels, K, T), 0.5, np.float16), PAIRED, store.Song(title=f"{channels} wide"))
    line = ["ckpt.pt", mixed, "--to", "rock", "-o"]
    lenient, strict = call(folder, [*line, tmp_path / "a"], [*line, tmp_path / "b", "--strict"])
    assert (lenient.returncode, strict.returncode) == (3, 1)
    assert "skipped 1 wide: has 1 channels x 11 keys, the checkpoint 2 x 11" in lenient.stderr.decode()
    assert len(stores.items(tmp_path / "a")) == 1
    assert not (tmp_path / "b").exists()


def test_the_judge_prints_a_table(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "folk.zip").write_bytes(tiny.write_keys(tmp_path / "x", songs=3, validation=1).read_bytes())
    done, few = call(
        folder, ["ckpt.pt", "--judge", "rock.zip", "folk.zip", "-q"],
        ["ckpt.pt", "--judge", "rock.zip", tmp_path / "folk.zip"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 10
    assert [line.split(":")[0] for line in lines[1:9]] == ["folk", "rock"] * 4
    assert "before   after    back" in lines[0]
    assert few.returncode == 1
    assert "songs held back: 1;" in one_line(few.stderr)


def test_the_report_shows_songs_beside_what_they_became(folder: Path, tmp_path: Path) -> None:
    def page(store_name: str) -> dict[str, Any]:
        return reports.gather(folder, store_name, report.MusicSelection(count=3, seconds=0.4))

    music = page("rock.zip")["music"]
    assert (music["turned"], len(music["best"]), len(music["real"]), music["worst"]) == ("folk", 3, 3, [])
    assert [piece["title"] for piece in music["best"]] == [piece["title"] for piece in music["real"]]
    assert page("folk.zip")["music"]["turned"] == "rock"
    alone = page("")
    assert (alone["music"]["best"], alone["blind"]) == ([], [])
    assert "--keys folk.zarr" in alone["withReal"]
    (folder / "jazz.zip").write_bytes((folder / "folk.zip").read_bytes())
    with pytest.raises(UsageError, match="called jazz; this checkpoint turns songs of folk and rock"):
        page("jazz.zip")


def test_models_and_tools_that_do_not_go_together(folder: Path, tmp_path: Path) -> None:
    (drawn,) = call(folder, ["ckpt.pt", "-o", tmp_path / "out"], tool="sample")
    assert drawn.returncode == 1
    assert "use transfer" in one_line(drawn.stderr)
    (one,) = call(folder, ["folk.zip", "--model", "cyclegan", "-q", "-o", tmp_path / "a.pt"], tool="train-gan")
    assert one.returncode == 2
    assert "keys stores given: 1; the model cyclegan learns from two" in one_line(one.stderr)
    settings = tiny.settings()
    data = tiny.dataset(folder / "folk.zip", settings)
    run = runs.begin(settings, data, data.record(), settings.stage_epochs(), tiny.CPU)
    checkpoint.save(tmp_path / "other.pt", run.snapshot())
    with pytest.raises(CheckpointError, match="use sample for it"):
        transfer.Transfer.load(tmp_path / "other.pt")

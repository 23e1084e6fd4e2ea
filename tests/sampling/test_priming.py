"""Going on from a person's own music: from recordings and keys stores, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models, store
from musigan.analysis.bands import analyse
from musigan.datasets.record import MusicRecord
from musigan.errors import AudioError, SettingsError, StoreError, UsageError
from musigan.metrics.sets import collection_of, store_set
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.shape import RollShape
from musigan.sampling import priming
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from musigan.training import loop
from tests import tiny
from tests.helpers import one_line, run_each

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
CHUNK = tiny.FRAMES * 0.02


def sampler(name: str = "answer", shape: RollShape = SHAPE) -> Sampler:
    torch.manual_seed(4)
    torch.set_num_threads(1)
    networks = models.build(name, tiny.NETWORKS[name], shape)
    with torch.no_grad():
        for parameter in networks["generator"].parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        if name == "answer":
            networks["generator"].key_bias.fill_(0.5)  # type: ignore[operator,union-attr]
    return Sampler(networks, shape, MusicRecord(tiny.HEADER, 0.2), "sqrt", models.family(name))


def tone(seconds: float, silent_after: float = 1e9, hz: float = 220.0, amplitude: float = 0.3) -> np.ndarray:
    """(2, S): a tone on one of the keys, twice as loud in the second half, the right channel softer."""
    time = np.arange(round(seconds * 12000)) / 12000
    wave = amplitude * np.sin(2 * np.pi * hz * time) * np.where(time < seconds / 2, 0.5, 1.0) * (time < silent_after)
    return np.stack((wave, 0.5 * wave)).astype(np.float32)


def record(path: Path, signal: np.ndarray) -> Path:
    import soundfile

    soundfile.write(path, signal.T, 12000)
    return path


def test_a_recording_is_analysed_as_the_checkpoint_says(tmp_path: Path) -> None:
    signal = tone(3.0)
    path = str(record(tmp_path / "song.wav", signal))
    assert priming.is_recording(path)
    last = priming.of_recording(path, sampler())
    settings = KeySettings(keys=KeyRange(30, 40))
    whole, level = analyse(signal, 12000, settings)
    assert last.level == pytest.approx(level, rel=1e-3)
    assert last.title == "song"
    np.testing.assert_allclose(last.past, whole[..., -tiny.FRAMES :], atol=2e-3)
    assert last.past[0, 7].min() > 0.5  # key 37 is the A of 220 Hz
    early = priming.of_recording(path, sampler(), 0.3)
    np.testing.assert_allclose(early.past, whole[..., 15 : 15 + tiny.FRAMES], atol=2e-3)
    mono = priming.of_recording(path, sampler(shape=RollShape(1, tiny.KEYS, tiny.FRAMES)))
    assert mono.past.shape[0] == 1


@pytest.mark.parametrize(
    ("seconds", "silent_after", "start", "said"),
    [
        (0.3, 9, None, "too short: 0.3 s, 0.48 s are needed"),
        (2.0, 9, 1.8, "too short: 0.2 s after 1.8 s, 0.48 s are needed"),
        (3.0, 1.0, None, "silent from 2.52 to 3 s: choose another place by --prime-from"),
    ],
)
def test_recordings_that_give_nothing(
    seconds: float, silent_after: float, start: float | None, said: str, tmp_path: Path
) -> None:
    path = str(record(tmp_path / "song.wav", tone(seconds, silent_after)))
    with pytest.raises(AudioError) as caught:
        priming.of_recording(path, sampler(), start)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_recording_at_all(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("la la la")
    with pytest.raises(AudioError, match=r"--prime .*notes\.txt: "):
        priming.of_recording(str(tmp_path / "notes.txt"), sampler())
    tracks = sampler("original", RollShape(3, tiny.KEYS, tiny.FRAMES))
    with pytest.raises(SettingsError, match="3 tracks"):
        priming.of_recording(str(record(tmp_path / "song.wav", tone(1.0))), tracks)


def long_roll(reader: Any, name: str) -> np.ndarray:
    """An item's pairs as one stretch, (C, K, T)."""
    blocks = reader.read(name).astype(np.float32).reshape(-1, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    return np.concatenate(list(blocks), -1)


def test_every_item_of_a_store_gives_its_own(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=3, validation=0)
    reader = store.open_reader(str(path), ("keys",))
    assert not priming.is_recording(str(path))
    skipped: list[tuple[str, str]] = []
    found = list(priming.of_items(reader, sampler(), 0.5, lambda *what: skipped.append(what)))
    assert [prime.title for prime in found] == ["Song 0", "Song 1", "Song 2"]
    assert [prime.level for prime in found] == pytest.approx([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(found[1].past, long_roll(reader, "000002")[..., 25 : 25 + tiny.FRAMES])
    late = list(priming.of_items(reader, sampler(), 1.6, lambda *what: skipped.append(what)))
    assert late == []
    assert len(skipped) == 3
    assert skipped[0][1].startswith("too short")


def test_a_store_on_other_keys(tmp_path: Path) -> None:
    header = tiny.HEADER.with_keys(KeySettings(keys=KeyRange(29, 39)))
    with store.write(str(tmp_path / "k"), header) as writer:
        names = ("chunks", "channels", "keys", "frames")
        writer.add(np.ones((2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float16), names, store.Song())
    reader = store.open_reader(str(tmp_path / "k"), ("keys",))
    with pytest.raises(StoreError, match="keys from 29, the checkpoint keys from 30"):
        priming.of_items(reader, sampler(), None, lambda *what: None)


def test_the_piece_begins_with_what_was_given(tmp_path: Path) -> None:
    drawn = sampler()
    past = np.zeros((tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float32)
    past[:, 3] = 1.5  # louder than model space: kept as it was
    prime = priming.Prime("Mine", past, 0.7)
    piece = drawn.piece(1, 2, 30, request=Request(past=past))
    assert piece.roll.shape[-1] == 30
    item, _, song = priming.as_item(piece, prime, drawn, 1, "ckpt")
    assert (song.title, song.level) == ("Mine, continued 2", 0.7)
    assert song.primed_seconds == pytest.approx(CHUNK)
    assert song.seconds == pytest.approx(CHUNK + 0.6)
    np.testing.assert_array_equal(item[0], past.astype(np.float16))
    whole = np.concatenate(list(item), -1)
    np.testing.assert_allclose(whole[..., tiny.FRAMES : tiny.FRAMES + 30], piece.roll, atol=1e-3)
    assert not np.array_equal(piece.roll, drawn.piece(1, 2, 30).roll)
    np.testing.assert_array_equal(piece.roll, drawn.piece(1, 2, 30, request=Request(past=past)).roll)
    # What was given is no sample, and a rest that does not fill a roll neither.
    with store.write(str(tmp_path / "samples"), drawn.header) as writer:
        writer.add(
            *priming.as_item(drawn.piece(1, 2, 2 * tiny.FRAMES + 3, request=Request(past=past)), prime, drawn, 1, "c")
        )
    real = collection_of(store.open_reader(str(tiny.write_keys(tmp_path / "real", songs=4, validation=2)), ("keys",)))
    judged = store_set(store.open_reader(str(tmp_path / "samples"), ("keys",)), real)
    assert len(judged) == 2
    assert not np.allclose(judged.roll(0), past, atol=0.1)


def test_the_critic_hears_what_sounded_before() -> None:
    drawn = sampler()
    settings = replace(tiny.HEADER.key_settings, cleaned=False)
    drawn.store = MusicRecord(tiny.HEADER.with_keys(settings), 0.2)  # judged as it was drawn
    past = np.full((tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), 0.3, np.float32)
    request = Request(past=past)
    piece = drawn.piece(1, 1, 2 * tiny.FRAMES, scored=True, request=request)
    roll = torch.from_numpy(np.sqrt(piece.roll))[None]
    first, second = roll.chunk(2, -1)
    given = torch.from_numpy(np.sqrt(past))[None]
    with torch.no_grad():
        said = [
            drawn.critic(answer, None, per_sample=True, question=question).logits["roll"].item()
            for question, answer in ((given, first), (first, second))
        ]
    assert piece.score == pytest.approx(np.mean(said), abs=1e-4)


def test_models_that_cannot_go_on() -> None:
    with pytest.raises(UsageError, match="prime: "):
        sampler("original").capabilities.check_extends()
    wide = np.zeros((1, tiny.KEYS, tiny.FRAMES))
    with pytest.raises(StoreError, match="1 channels"):
        Request(past=wide).check(sampler().capabilities)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys (8 songs, 4 held back), a trained ckpt.pt of the family, plain.pt of another, song.wav, hush.wav."""
    folder = tmp_path_factory.mktemp("priming")
    keys = tiny.write_keys(folder / "keys", songs=8, validation=4)
    for name, model in (("ckpt.pt", "answer"), ("plain.pt", "original")):
        run, data = tiny.start(keys, tiny.settings(model))
        loop.train(run, data, folder / name, tiny.Silent())
    record(folder / "song.wav", tone(2.0))
    record(folder / "hush.wav", 0 * tone(2.0))
    return folder


def tool(name: str, *lines: list[object], cwd: Path) -> list[tuple[int, str, bytes]]:
    done = run_each(name, *[[*line, "--device", "cpu"] for line in lines], env=ENVIRONMENT, cwd=cwd)
    return [(each.returncode, each.stdout.decode(errors="replace"), each.stderr) for each in done]


def test_sample_goes_on_from_songs(folder: Path) -> None:
    song, keys, best = tool(
        "sample",
        ["ckpt.pt", "--prime", "song.wav", "--seconds", 1, "-o", "a.zarr"],
        ["ckpt.pt", "--prime", "keys", "--prime-from", 0.72, "--seconds", 0.6, "-n", 2, "-o", "b.zarr"],
        ["ckpt.pt", "--prime", "song.wav", "--seconds", 1, "--best", 1, "--of", 3, "-o", "c.zarr"],
        cwd=folder,
    )
    assert [song[0], keys[0], best[0]] == [0, 0, 0], song[2] + keys[2] + best[2]
    one = store.open_reader(str(folder / "a.zarr"), ("keys",)).infos()
    assert [info.song.title for info in one] == ["song, continued 1"]
    assert one[0].song.seconds == pytest.approx(CHUNK + 1)
    many = store.open_reader(str(folder / "b.zarr"), ("keys",)).infos()
    assert len(many) == 16
    assert [info.song.title for info in many[:3]] == [
        "Song 0, continued 1", "Song 0, continued 2", "Song 1, continued 1",
    ]  # fmt: skip
    assert store.open_reader(str(folder / "c.zarr"), ("keys",)).infos()[0].song.score is not None


def test_sample_refuses_in_one_line(folder: Path) -> None:
    cases: list[tuple[list[object], int, str]] = [
        (["ckpt.pt", "--prime", "hush.wav"], 1, "silent from"),
        (["ckpt.pt", "--prime", "song.wav", "--prime-from", 9], 1, "too short"),
        (["plain.pt", "--prime", "song.wav"], 2, "cannot go on"),
        (["ckpt.pt", "--prime", "nothing.wav"], 1, "no such file"),
        (["ckpt.pt", "--prime-from", 3], 2, "add --prime"),
        (["ckpt.pt", "--prime", "song.wav", "--morph", "keys"], 2, "give one of them"),
    ]
    done = tool("sample", *[[*line, "-o", "never.zarr"] for line, _, _ in cases], cwd=folder)
    for (line, code, said), (found, _, stderr) in zip(cases, done, strict=True):
        assert found == code, (line, stderr)
        assert said in one_line(stderr)
    assert not (folder / "never.zarr").exists()


def test_evaluate_says_how_answers_match(folder: Path) -> None:
    bare = ("--bootstraps", 10, "--splits", 0, "--no-baselines", "-j", 1)
    answers, others = tool("evaluate", ["keys", "ckpt.pt", *bare], ["keys", "plain.pt", *bare], cwd=folder)
    assert (answers[0], others[0]) == (0, 0), answers[2]
    assert "match, joint" in answers[1]
    assert "held on, true" in answers[1]
    assert "match" not in others[1]


def test_a_recording_primes_music_with_drums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from musigan.analysis import preparing

    path = str(record(tmp_path / "song.wav", tone(3.0)))
    plain = priming.of_recording(path, sampler())
    monkeypatch.setattr(preparing, "with_drums", lambda roll, *_: np.concatenate((roll, np.full_like(roll[:1], 0.25))))
    drummed = sampler(shape=RollShape(3, tiny.KEYS, tiny.FRAMES, has_drums=True))
    drummed.store = MusicRecord(replace(tiny.HEADER, tracks=("left", "right", "drums")), 0.2)
    prime = priming.of_recording(path, drummed)
    np.testing.assert_array_equal(prime.past[:2], plain.past)
    assert (prime.past[2] == 0.25).all()
    assert prime.level == plain.level
    band = sampler(shape=RollShape(3, tiny.KEYS, tiny.FRAMES))
    with pytest.raises(SettingsError, match="3 tracks"):
        priming.of_recording(path, band)


def test_short_strokes_of_drawn_music_are_not_cleaned_away() -> None:
    drummed = sampler(shape=RollShape(3, tiny.KEYS, tiny.FRAMES, has_drums=True))
    drummed.store = MusicRecord(replace(tiny.HEADER, tracks=("left", "right", "drums")), 0.2)
    roll = np.zeros((3, tiny.KEYS, 20), np.float32)
    roll[0, 2, 5], roll[2, 2, 5], roll[2, 4, 9:11] = 0.5, 0.6, 0.7
    cleaned = drummed._cleaned(roll)
    assert not cleaned[:2].any()
    np.testing.assert_allclose(cleaned[2], roll[2] ** 2)

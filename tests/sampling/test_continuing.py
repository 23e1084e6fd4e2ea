"""Going on from a song in one command: what is heard of it, where the joint is, how it sounds, what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch

from musigan import models
from musigan.datasets.record import MusicRecord
from musigan.errors import AudioError, CheckpointError, FieldError, UsageError
from musigan.machine.seeding import seed_of
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.shape import RollShape
from musigan.sampling import continuing, sounding
from musigan.sampling.continuing import Continuation, ContinueRequest, Ending, hear
from musigan.sampling.sampler import Sampler
from musigan.sound import lufs
from musigan.training import loop
from tests import tiny
from tests.helpers import one_line, run_each

RATE = 12000
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def sampler(model: str = "bars", channels: int = tiny.CHANNELS) -> Sampler:
    """Networks that have learned nothing, and the outlines of two songs of different texture."""
    torch.manual_seed(4)
    torch.set_num_threads(1)
    frames = 16 * GRID_FRAMES if model == "bars" else tiny.FRAMES
    shape = RollShape(channels, tiny.KEYS, frames)
    networks = models.build(model, tiny.NETWORKS[model], shape)
    outlines = tuple(tiny.outline(24, number, style=style) for number, style in enumerate(("waltz", "folk")))
    header = replace(tiny.HEADER, chunk_seconds=4.0) if model == "bars" else tiny.HEADER
    record = MusicRecord(header, 0.2, styles=("folk", "waltz"), outlines=outlines)
    return Sampler(networks, shape, record, "sqrt", models.family(model))


def clicks(seconds: float, silence: float = 0.0, first: float = 0.2) -> np.ndarray:
    """(2, S): a tone struck twice a second from `first` on, left louder, then silence."""
    times = np.arange(round(seconds * RATE)) / RATE
    wave = 0.4 * np.sin(2 * np.pi * 220 * times) * np.exp(-6 * ((times - first) % 0.5)) * (times >= first)
    wave = np.pad(wave, (0, round(silence * RATE)))
    return np.stack((wave, 0.5 * wave)).astype(np.float32)


def record(path: Path, signal: np.ndarray) -> str:
    soundfile.write(path, signal.T, RATE)
    return str(path)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> str:
    """13 s of clicks on .2, .7, ... and 3 s of silence."""
    return record(tmp_path_factory.mktemp("songs") / "song.wav", clicks(13.0, 3.0))


# ---- what is heard ----


def test_the_joint_is_the_last_beat_that_sounds(song: str) -> None:
    drawn = sampler()
    ending = hear(song, drawn)
    assert 12.0 < ending.joint_seconds <= 13.02
    assert ending.past.shape == (tiny.CHANNELS, tiny.KEYS, round(ending.joint_seconds / 0.02))
    assert not ending.beats.is_free
    assert abs((ending.joint_seconds - 0.2 + 0.25) % 0.5 - 0.25) < 0.05
    assert ending.beats.seconds[-1] == pytest.approx(ending.joint_seconds, abs=0.011)
    assert ending.tone is not None
    early = hear(song, drawn, 8.0)
    assert 7.4 < early.joint_seconds <= 8.0
    np.testing.assert_allclose(early.level, ending.level, rtol=0.1)


def test_long_songs_are_heard_from_a_minute_before_the_joint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuing, "PAST_SECONDS", 6.0)
    ending = hear(record(tmp_path / "song.wav", clicks(15.0)), sampler())
    assert 5.4 < ending.past.shape[-1] * 0.02 <= 6.01
    assert 14.4 < ending.joint_seconds <= 15.01
    assert ending.beats.seconds.max() <= 6.02


def test_music_without_a_beat_goes_on_from_its_end(tmp_path: Path) -> None:
    times = np.arange(9 * RATE) / RATE
    held = np.repeat(0.3 * np.sin(2 * np.pi * 220 * times)[None], 2, 0).astype(np.float32)
    ending = hear(record(tmp_path / "song.wav", held), sampler())
    assert ending.joint_seconds == pytest.approx(9.0, abs=0.03)
    assert ending.past.shape[-1] % 24 == 0  # beats of the clock
    answered = hear(record(tmp_path / "song.wav", held), sampler("answer"))
    assert answered.past.shape[-1] == tiny.FRAMES


def test_silence_at_the_end_is_no_music() -> None:
    signal = clicks(3.0, 2.0)
    assert 2.7 * RATE < continuing.audible_end(signal, RATE) <= 3.05 * RATE
    assert continuing.audible_end(clicks(3.0), RATE) <= 3 * RATE
    with pytest.raises(AudioError, match="silent"):
        continuing.audible_end(0 * signal, RATE)


def test_music_goes_on_from_before_it_fades_and_not_from_before_a_soft_ending() -> None:
    """12 s of noise; then 4 or 20 s that are a tenth as loud."""
    noise = np.random.default_rng(1).normal(0, 0.1, (2, 32 * RATE)).astype(np.float32)
    noise[:, 12 * RATE :] *= 0.1
    assert continuing.audible_end(noise[:, : 16 * RATE], RATE) == 12 * RATE
    assert continuing.audible_end(noise, RATE) == 32 * RATE


def test_the_tag_says_the_style() -> None:
    ending = Ending("x", " Celtic Folk", np.zeros((2, 3, 4), np.float32), continuing.Beats.none(), 1.0, None, 9.0)
    assert ending.style(("waltz", "folk")) == "folk"
    assert ending.style(("waltz", "celtic folk", "folk")) == "celtic folk"
    assert ending.style(("rock",)) is None
    assert replace(ending, genre="").style(("rock",)) is None


# ---- what is refused ----


def test_what_cannot_be_gone_on_from(tmp_path: Path, song: str) -> None:
    drawn = sampler()
    cases = [
        (record(tmp_path / "short.wav", clicks(1.5)), None, "short.wav: too short: 1.5 s of music, 2 s are needed"),
        (record(tmp_path / "hush.wav", 0 * clicks(9.0)), None, "hush.wav: it is silent"),
        (record(tmp_path / "late.wav", clicks(9.0, first=6.0)), 4.0, "late.wav: it is silent before the joint"),
        (song, 99.0, "song.wav: too short: 16.0 s, and --from 99"),
        (str(tmp_path / "none.wav"), None, "none.wav: no such file"),
    ]
    for path, second, said in cases:
        with pytest.raises(AudioError) as caught:
            hear(path, drawn, second)
        assert said in str(caught.value)
    with pytest.raises(UsageError, match="is a folder: name a song"):
        hear(str(tmp_path), drawn)
    with pytest.raises(FieldError, match="expected 2 s or more"):
        ContinueRequest(from_seconds=0.5)


def test_checkpoints_that_cannot_go_on(song: str) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pt: this model cannot go on"):
        Continuation(ContinueRequest(), sampler("original"), "x.pt", song)
    with pytest.raises(CheckpointError, match=r"x\.pt: its music has 3 tracks"):
        Continuation(ContinueRequest(), sampler("answer", channels=3), "x.pt", song)
    with pytest.raises(FieldError, match="it knows folk, waltz"):
        Continuation(ContinueRequest(style="polka"), sampler(), "x.pt", song)


# ---- what is drawn and how it sounds ----


@pytest.mark.parametrize("model", ["bars", "answer"])
def test_new_music_follows_the_song_in_time(model: str, song: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuing, "TRIES", 1)
    request = ContinueRequest(3.0, 2, seed=5)
    drawn = sampler(model)
    continuation = Continuation(request, drawn, "net", song)
    first, second = continuation.sounding(sounding.settings_of(drawn.header))
    rate, own_seconds = 44100, continuation.own_frames * 0.02
    assert first.signal.shape == (2, round((own_seconds + 3.0) * rate))
    assert not np.array_equal(first.piece.roll, second.piece.roll)
    assert first.song.title == "song, continued 1"
    assert first.song.primed_seconds == pytest.approx(own_seconds)
    assert first.song.seconds == pytest.approx(own_seconds + 3.0)
    if model == "bars":
        assert first.song.tempo == pytest.approx(120, rel=0.02)
        assert np.diff(first.song.beats) == pytest.approx(0.5, abs=0.03)
    alone = Continuation(replace(request, new_only=True), drawn, "net", song)
    new = next(alone.sounding(sounding.settings_of(drawn.header)))
    np.testing.assert_array_equal(new.piece.roll, first.piece.roll)
    assert new.signal.shape == (2, 3 * rate)
    assert new.song.primed_seconds is None


def test_of_several_draws_the_first_whose_beat_is_heard_is_taken(song: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, heard, seeds = sampler(), list[float](), list[list[int | None]]()
    sound = sounding.settings_of(drawn.header)

    def pieces(good: int) -> list[np.ndarray]:
        """The notes of two pieces, where draw `good` (from 1) of each is the first that is heard as it should be."""
        heard.clear()

        def is_heard(tempo: float, signal: np.ndarray, rate: int) -> bool:
            heard.append(tempo)
            assert signal.shape == (2, 3 * rate)
            return (len(heard) - 1) % max(good, 1) == good - 1

        monkeypatch.setattr(continuing, "is_heard", is_heard)
        continuation = Continuation(ContinueRequest(3.0, 2, seed=5), drawn, "net", song)
        drawn_pieces = list(continuation.sounding(sound))
        seeds.append([continued.song.seed for continued in drawn_pieces])
        return [continued.piece.roll for continued in drawn_pieces]

    at_once, later = pieces(1), pieces(2)
    assert len(heard) == 4
    assert heard == pytest.approx([120] * 4, rel=0.02)
    assert not any(map(np.array_equal, at_once, later))
    assert seeds == [[5, 5], [seed_of(5, 1)] * 2]  # each item says by which seed it comes again
    assert all(map(np.array_equal, pieces(2), later))
    monkeypatch.setattr(continuing, "TRIES", 2)
    assert all(map(np.array_equal, pieces(9), at_once))  # never heard: the first draw
    assert len(heard) == 4


def test_a_tempo_is_heard_in_clicks() -> None:
    rate = 12000
    clicks = np.zeros((2, 16 * rate), np.float32)
    for beat in range(31):
        clicks[:, beat * rate // 2 : beat * rate // 2 + 200] = (
            0.5 * np.exp(-np.arange(200) / 40) * (1 + (beat % 4 == 0))
        )
    assert continuing.is_heard(120.0, clicks, rate)
    assert not continuing.is_heard(95.0, clicks, rate)
    assert not continuing.is_heard(120.0, 0 * clicks, rate)


def test_a_recording_leads_into_drawn_sound_without_a_step() -> None:
    """As loud as what follows, itself up to the crossfade, and nothing of it after the joint."""
    rate, joint, before = 44100, 30000, 88200
    times = np.arange(3 * rate) / rate
    drawn = np.stack((0.2 * np.sin(2 * np.pi * 330 * times), 0.1 * np.sin(2 * np.pi * 330 * times))).astype(np.float32)
    own = np.stack((0.3 * np.sin(2 * np.pi * 470 * times), 0.6 * np.sin(2 * np.pi * 470 * times))).astype(np.float32)
    own = own[:, :before]
    signal = continuing.joined_sound(own, drawn, joint, rate)
    fade = round(continuing.JOINT_SECONDS * rate)
    assert signal.shape == (2, before + drawn.shape[1] - joint)
    np.testing.assert_array_equal(signal[:, before:], drawn[:, joint:])
    lead, heard = own[1, : before - fade], signal[1, : before - fade]
    assert np.nanstd(heard / np.where(np.abs(lead) > 0.05, lead, np.nan)) < 1e-4
    assert lufs.measure(signal[:, :before], rate) == pytest.approx(lufs.measure(signal[:, before:], rate), abs=0.2)
    steps = np.abs(np.diff(signal, axis=1))
    assert steps[:, before - fade - 9 : before + 9].max() < 2 * steps[:, : before - fade - 9].max()
    power = np.square(signal[:, before - fade : before]).sum(0).reshape(7, -1).mean(1)
    assert power.min() > 0.3 * np.square(signal[:, before:]).sum(0).mean()  # no hole
    silent = continuing.joined_sound(0 * own, drawn, joint, rate)
    assert np.isfinite(silent).all()


# ---- the commands ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ckpt.pt of a model that goes on, plain.pt of one that cannot, song.wav of 7 s, text.mp3."""
    folder = tmp_path_factory.mktemp("continuing")
    keys = tiny.write_keys(folder / "keys", songs=4, validation=1)
    for name, model in (("ckpt.pt", "answer"), ("plain.pt", "original")):
        run, data = tiny.start(keys, tiny.settings(model))
        loop.train(run, data, folder / name, tiny.Silent())
    tiny.let_it_sound(folder / "ckpt.pt")
    record(folder / "song.wav", clicks(7.0))
    (folder / "text.mp3").write_text("la la la")
    return folder


def test_continue_writes_sound_and_notes(folder: Path) -> None:
    common = ["song.wav", "--checkpoint", "ckpt.pt", "--seconds", 1, "--device", "cpu"]
    many, one = run_each(
        "musigan continue",
        [*common, "-n", 2, "-o", "more.wav", "--midi", "more.mid"],
        [*common, "-o", "new.flac", "--new-only", "--from", 5],
        cwd=folder, env=ENVIRONMENT,
    )  # fmt: skip
    assert (many.returncode, one.returncode) == (0, 0), many.stderr
    sounds = [soundfile.read(folder / name)[0] for name in ("more-001.wav", "more-002.wav", "new.flac")]
    assert [len(sound) for sound in sounds] == [round(1.48 * 44100)] * 2 + [44100]
    assert not np.array_equal(sounds[0], sounds[1])
    assert len(mido.MidiFile(folder / "more-002.mid").tracks) == 2


def test_continue_refuses_in_one_line(folder: Path) -> None:
    ours = ["--checkpoint", "ckpt.pt", "--device", "cpu"]
    cases: list[tuple[list[object], int, str]] = [
        (["song.wav", *ours, "-o", "no-ending"], 2, "no ending to tell the format by"),
        (["song.wav", *ours, "-o", "out.mp3", "--midi", "out.txt"], 2, "ends in .mid"),
        (["song.wav", *ours, "-o", "song.wav"], 1, "song.wav exists"),
        (["song.wav", *ours, "-o", "out.notaformat"], 2, "notaformat"),
        (["song.wav", *ours, "-o", "out.mp3", "--style", "polka"], 2, "--style: this checkpoint's model does not"),
        (["song.wav", *ours, "-o", "out.mp3", "--from", 0.1], 2, "--from 0.1: expected 2 s or more"),
        (["song.wav", "--checkpoint", "plain.pt", "-o", "out.mp3"], 1, "plain.pt: this model cannot go on"),
        (["song.wav", "--checkpoint", "none.pt", "-o", "out.mp3"], 1, "none.pt"),
        (["none.wav", *ours, "-o", "out.mp3"], 1, "none.wav: no such file"),
        (["text.mp3", *ours, "-o", "out.mp3"], 1, "text.mp3: no audio could be decoded: it is a text"),
        ([".", *ours, "-o", "out.mp3"], 2, ". is a folder: name a song"),
    ]
    done = run_each("musigan continue", *[line for line, _, _ in cases], cwd=folder, env=ENVIRONMENT)
    for (line, code, said), answer in zip(cases, done, strict=True):
        assert answer.returncode == code, (line, answer.stderr)
        assert said in one_line(answer.stderr)
    assert not list(folder.glob("out.*"))


def test_try_refuses_before_it_draws(tmp_path: Path) -> None:
    (tmp_path / "try.mp3").write_text("precious")
    exists, ending, folder = run_each(
        "musigan try", [], ["out.notaformat"], ["no/such/out.mp3"], cwd=tmp_path, env=ENVIRONMENT
    )
    assert [done.returncode for done in (exists, ending, folder)] == [1, 2, 1]
    assert "try.mp3 exists: choose another name, or replace it with --force" in one_line(exists.stderr)
    assert "notaformat" in one_line(ending.stderr)
    assert "no folder" in one_line(folder.stderr)
    assert (tmp_path / "try.mp3").read_text() == "precious"


def test_the_base_draws_at_once(tmp_path: Path) -> None:
    common = ["--seconds", 2, "--tempo", 90]
    drawn, same, unknown = run_each(
        "musigan try", [*common, "a.wav"], [*common, "b.wav", "--seed", 0], [*common, "c.wav", "--style", "polka"],
        cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    assert (drawn.returncode, same.returncode, unknown.returncode) == (0, 0, 2), drawn.stderr
    assert "a.wav: 2 s of music" in one_line(drawn.stderr)
    assert "seed 0" in one_line(same.stderr)
    assert "it knows" in one_line(unknown.stderr)
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert (sound.shape, rate) == ((88200, 2), 44100)

"""Pieces composed on the grid: tempo, style and length as asked for, songs gone on with, and ways between them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models, store
from musigan.datasets.bars import BarDataset
from musigan.errors import CheckpointError, FieldError
from musigan.rolls.beats import Beat, Beats
from musigan.rolls.grid import GRID_FRAMES, Grid, from_grid, to_grid
from musigan.rolls.loudness import compress
from musigan.rolls.outlines import Outline
from musigan.rolls.shape import RollShape
from musigan.sampling import composing, items, priming
from musigan.sampling.drawing import Drawing
from musigan.sampling.loading import load_sampler
from musigan.sampling.requests import DrawingRequest, Request
from musigan.sampling.sampler import Sampler
from musigan.training import loop
from tests import tiny
from tests.sessions import Session, writer
from tests.stores import items as items_of

FRAMES, PAIRS = 200, 3  # of a chunk, 4 s, and of a song, 24 s
HEADER = replace(tiny.HEADER, chunk_seconds=FRAMES * 0.02)
HEADER_OF_TWO = replace(HEADER, tracks=("drums", "piano"))
SONGS = ((96.0, 3, "waltz", 0.3), (130.0, 4, "folk", 0.11), (110.0, 3, "waltz", 0.2))  # tempo, meter, style, first beat


def write_songs(path: Path, songs: Any = SONGS, confidence: float = 0.9) -> Path:
    """A store of songs on their beats: key 4 on downbeats, key 2 on others, a long note on key 7 from the middle."""
    with store.write(str(path), HEADER) as out:
        for number, (tempo, meter, style, first) in enumerate(songs):
            frames = PAIRS * 2 * FRAMES
            times = np.arange(first, frames * 0.02, 60 / tempo)
            roll = np.zeros((tiny.CHANNELS, tiny.KEYS, frames), np.float32)
            for index, second in enumerate(times):
                start = round(second / 0.02)
                roll[:, 2 if index % meter else 4, start : start + 10] = 0.8
            roll[:, 7, frames // 2 :] = 0.5
            roll[1] *= 0.5
            blocks = roll.reshape(tiny.CHANNELS, tiny.KEYS, PAIRS, 2, FRAMES).transpose(2, 3, 0, 1, 4)
            song = store.Song(
                title=f"Song {number}", level=0.1, genre=style,
                starts=tuple(index * 2 * FRAMES * 0.02 for index in range(PAIRS)),
            ).with_beats(Beats(times, np.arange(len(times)) % meter + 1, confidence))  # fmt: skip
            out.add(np.ascontiguousarray(blocks, np.float16), ("pairs", "part", "channels", "keys", "frames"), song)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys, and net.pt, whose codec has learned a little of it and whose composer next to nothing."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("composing")
    network = {**tiny.NETWORKS["bars"], "row_latents": 10}
    rates = {"variational": {"learning_rate": 0.003}}
    settings = tiny.settings("bars", epochs=13, pretrain_epochs=12, critic_epochs=1, network=network, **rates)
    run, data = tiny.start(write_songs(folder / "keys"), settings)
    run.plan = [("codec", 15), ("composer", 3), ("critic", 1), ("adversarial", 1)]
    assert loop.train(run, data, folder / "net.pt", tiny.Silent())
    return folder


@pytest.fixture(scope="module")
def sampler(folder: Path) -> Sampler:
    return load_sampler(folder / "net.pt", "cpu")


def draw(sampler: Sampler, out: Path, **fields: Any) -> tuple[str, list[store.Item], Session]:
    """What was said, the items, and what the session heard."""
    session = Session()

    def open_writer(header: store.StoreHeader) -> AbstractContextManager[store.Writer]:
        return writer(out, header)

    said = Drawing(DrawingRequest(**fields), sampler, "net", session, open_writer).draw()
    return said, items_of(out), session


def whole(item: store.Item) -> np.ndarray:
    """An item's chunks or pairs as one roll (C, K, T)."""
    blocks = item.array.astype(np.float32).reshape(-1, *item.array.shape[-3:])
    return np.concatenate(list(blocks), -1)


def song_roll(sampler: Sampler, folder: Path, number: int) -> tuple[np.ndarray, Beats]:
    item = items_of(folder / "keys")[number]
    return whole(item), item.song.every_beat


def test_the_checkpoint_keeps_the_outlines_of_its_songs(sampler: Sampler) -> None:
    outlines = sampler.store.outlines
    assert [(round(outline.tempo), outline.meter, outline.style) for outline in outlines] == [
        (96, 3, "waltz"), (130, 4, "folk"), (110, 3, "waltz"),
    ]  # fmt: skip
    assert sampler.roll_shape.frames == FRAMES
    assert sampler.shape.frames == 16 * GRID_FRAMES


# ---- what is asked for ----


@pytest.mark.parametrize("tempo", [61.0, 97.5, 180.0])
def test_the_tempo_asked_for_is_that_of_the_item(sampler: Sampler, tempo: float, tmp_path: Path) -> None:
    """Its beats lie on it, the first a downbeat at its beginning."""
    _, (item,), _ = draw(sampler, tmp_path / "out", seconds=9.0, count=1, tempo=tempo)
    assert item.song.tempo == pytest.approx(tempo, abs=0.3)
    beats = item.song.every_beat
    np.testing.assert_allclose(beats.seconds, np.arange(len(beats)) * 60 / tempo, atol=6e-4)
    assert len(beats) == int(np.ceil(9.0 * tempo / 60 - 1e-6))
    meter = item.song.time_signature[0] if item.song.time_signature else 0
    assert meter in (3, 4)
    assert beats.numbers.tolist() == [index % meter + 1 for index in range(len(beats))]


def test_what_sounds_lies_on_the_beats_of_the_grid(sampler: Sampler) -> None:
    """By hand: each frame sounds where its middle falls in the grid, 24 frames a beat."""
    tempo, frames = 133.0, 301
    request = Request(beat=Beat(tempo))
    with torch.no_grad():
        composed = composing.compose(sampler, frames, torch.Generator().manual_seed(2), request)
    assert composed.roll.shape == (tiny.CHANNELS, tiny.KEYS, frames)
    place = np.floor((np.arange(frames) + 0.5) * 0.02 * tempo / 60 * GRID_FRAMES).astype(int)
    on_grid = composed.on_grid[0].numpy()[..., place] > 0
    assert on_grid.any()
    np.testing.assert_array_equal(composed.roll > 0, on_grid)
    assert composed.latents.shape[1] * 6 == composed.on_grid.shape[-1]


def test_a_style_asked_for_is_that_of_the_piece(sampler: Sampler, tmp_path: Path) -> None:
    """And so is its meter, which songs of the style have; without one, pieces are of all."""
    for style, meter in (("Waltz", 3), ("folk", 4)):
        _, found, _ = draw(sampler, tmp_path / style, seconds=4.0, count=3, style=style)
        assert {(item.song.genre, item.song.time_signature) for item in found} == {(style.lower(), (meter, 4))}
    pieces = [sampler.piece(1, number, 100) for number in range(1, 13)]
    assert {piece.genre for piece in pieces} == {"waltz", "folk"}
    with pytest.raises(FieldError, match=r"style jazz: .* it knows waltz, folk"):
        draw(sampler, tmp_path / "no", style="jazz")


def test_the_style_is_heard(sampler: Sampler) -> None:
    """The outline stays, the network hears another style: the notes change."""
    outline = replace(sampler.store.outlines[0], style="waltz")
    latents = [
        composing._latents(sampler, replace(outline, style=style), torch.Generator().manual_seed(1), Request())
        for style in ("waltz", "waltz", "folk")
    ]
    assert torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[0], latents[2])


@pytest.mark.parametrize("frames", [1, 7, 24, 61, 1500])
def test_any_length(sampler: Sampler, frames: int) -> None:
    """Longer than any song, too."""
    piece = sampler.piece(1, 1, frames)
    assert piece.roll.shape == (tiny.CHANNELS, tiny.KEYS, frames)
    assert piece.roll.min() >= 0
    assert np.isfinite(piece.roll).all()
    assert piece.beats is not None
    assert len(piece.beats) >= 1
    assert piece.beats.seconds[-1] < frames * 0.02


def test_pieces_depend_on_seed_and_number_alone(sampler: Sampler) -> None:
    three, two = list(sampler.pieces(3, 150, seed=5)), list(sampler.pieces(2, 150, seed=5))
    for left, right in zip(three, two, strict=False):
        np.testing.assert_array_equal(left.roll, right.roll)
        assert left.genre == right.genre
    np.testing.assert_array_equal(sampler.piece(5, 3, 150, scored=True).roll, three[2].roll)
    assert not np.array_equal(three[0].roll, three[1].roll)
    assert not np.array_equal(three[0].roll, sampler.piece(6, 1, 150).roll)


def test_temperature_changes_the_notes_and_not_the_outline(sampler: Sampler) -> None:
    plain, cold, same = (sampler.piece(2, 1, 200, request=Request(temperature=t)) for t in (None, 0.1, 1.0))
    np.testing.assert_array_equal(plain.roll, same.roll)
    assert not np.array_equal(plain.roll, cold.roll)
    assert plain.beats is not None
    assert cold.beats is not None
    np.testing.assert_array_equal(plain.beats.seconds, cold.beats.seconds)


def test_songs_are_followed_by_their_minutes(sampler: Sampler) -> None:
    """A song of 60 beats at 60 as often as one of 180 at 180; music without a beat only where none is asked for."""

    def of(beats: int, tempo: float, is_free: bool = False) -> Outline:
        return tiny.outline(beats, tempo=tempo, style=f"{beats}", is_free=is_free)

    def drawn(*outlines: Outline, request: Request = Request()) -> list[str]:
        known = Sampler(
            sampler.networks,
            sampler.shape,
            replace(sampler.store, outlines=outlines),
            "sqrt",
            sampler.family,  # type: ignore[arg-type]
        )
        rng = torch.Generator().manual_seed(1)
        return [composing._outline(known.store.outlines, request, rng).style for _ in range(200)]

    even = drawn(of(60, 60.0), of(180, 180.0))
    assert 70 < even.count("60") < 130
    uneven = drawn(of(60, 60.0), of(20, 180.0))
    assert uneven.count("20") < 40
    with_beat = drawn(of(50, 125.0, is_free=True), of(7, 90.0), request=Request(beat=Beat(77.0)))
    assert set(with_beat) == {"7"}
    assert set(drawn(of(50, 125.0, is_free=True), request=Request(beat=Beat(77.0)))) == {"50"}


def test_music_free_of_beat_claims_none(sampler: Sampler) -> None:
    free = replace(sampler.store.outlines[0], is_free=True, style="")
    known = Sampler(sampler.networks, sampler.shape, replace(sampler.store, outlines=(free,)), "sqrt", sampler.family)  # type: ignore[arg-type]
    _, _, song = items.as_item(known.piece(1, 1, 150), known, 1, "net")
    assert (song.tempo, song.time_signature) == (None, None)
    assert song.every_beat.is_free
    asked = known.piece(1, 1, 150, request=Request(beat=Beat(90.0)))
    assert asked.beats is not None
    assert asked.beats.steady() == Beat(90.0, 0.0, 3)


def test_a_checkpoint_without_outlines_is_no_model_of_beats(sampler: Sampler) -> None:
    with pytest.raises(CheckpointError, match="no outlines of songs"):
        Sampler(sampler.networks, sampler.shape, replace(sampler.store, outlines=()), "sqrt", sampler.family)  # type: ignore[arg-type]


def test_the_best_come_first(sampler: Sampler, tmp_path: Path) -> None:
    _, found, session = draw(sampler, tmp_path / "out", seconds=5.0, best=2, of=5, tempo=140.0)
    scores = dict(sampler.scores(5, 250, 1, Request(beat=Beat(140.0))))
    assert len(set(scores.values())) == 5
    assert [item.song.score for item in found] == sorted(scores.values(), reverse=True)[:2]
    assert [count.total for count in session.counts] == [2, 5]


def test_long_pieces_are_scored_to_their_end(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """In windows of 16 beats of the grid, the last one reaching to the end, with the latents of the same beats."""
    windows: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    critic: Any = sampler.critic
    judge = type(critic).forward

    def note(self: Any, roll: torch.Tensor, latents: torch.Tensor, *rest: Any, **named: Any) -> Any:
        windows.append((tuple(roll.shape), tuple(latents.shape[:2])))
        return judge(self, roll, latents, *rest, **named)

    monkeypatch.setattr(type(critic), "forward", note)
    piece = sampler.piece(1, 1, 1000, scored=True, request=Request(beat=Beat(120.0)))  # 40 beats
    assert piece.score is not None
    assert windows == [((1, tiny.CHANNELS, tiny.KEYS, 16 * GRID_FRAMES), (1, 64))] * 3


# ---- going on with songs ----


def test_primes_keep_their_beats_and_their_meter(folder: Path, sampler: Sampler, tmp_path: Path) -> None:
    """The last 4 s of each song, note for note and beat for beat; the piece goes on counting."""
    _, found, _ = draw(sampler, tmp_path / "out", seconds=6.0, prime=str(folder / "keys"))
    assert [item.song.title for item in found] == [f"Song {n}, continued 1" for n in range(3)]
    for number, item in enumerate(found):
        roll, beats = song_roll(sampler, folder, number)
        roll, own = whole(item), roll[..., -FRAMES:]
        np.testing.assert_array_equal(roll[..., :FRAMES], own)
        assert item.song.primed_seconds == FRAMES * 0.02
        given, every = beats.counted_from(PAIRS * 2 * FRAMES * 0.02 - 4.0), item.song.every_beat
        np.testing.assert_allclose(every.seconds[: len(given) - 1], given.seconds[:-1], atol=2e-3)
        tempo, meter = SONGS[number][:2]
        np.testing.assert_allclose(np.diff(every.seconds), 60 / tempo, atol=6e-3)
        assert every.numbers.tolist() == [(given.numbers[0] - 1 + n) % meter + 1 for n in range(len(every))]
        assert 10.0 - 60 / tempo <= every.seconds[-1] < 10.0
        assert item.song.time_signature == (meter, 4)


def test_the_joint_is_where_the_past_ends(folder: Path, sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a past of whole beats, whose last frame the decoder writes again: key 7 sounds in it."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    join = composing.joined

    def note(past: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
        seen.append((past, written))
        return join(past, written)

    monkeypatch.setattr(composing, "joined", note)
    roll, beats = song_roll(sampler, folder, 0)
    start, stop = 565, 765  # a beat lasts 31.25 frames; beat 24 begins at frame 15 + 750
    past = roll[..., start:stop]
    request = Request(past=past, past_beats=beats.counted_from(start * 0.02).until((stop - start) * 0.02))
    piece = sampler.piece(1, 1, 100, request=request)
    ((given, written),) = seen
    np.testing.assert_array_equal(given[0].numpy(), compress(past, "sqrt"))
    assert written.shape[-1] == 101
    assert written[0, 0, 7, 0].item() == pytest.approx(0.5**0.5, abs=0.25)
    assert (written[0, :, :2, 0] == 0).all()
    assert piece.roll.shape[-1] == 100
    assert not np.array_equal(piece.roll, sampler.piece(2, 1, 100, request=request).roll)


def test_what_went_before_is_heard(folder: Path, sampler: Sampler) -> None:
    """The same seed and outline after other music: other notes, beyond the joint, too."""
    roll, beats = song_roll(sampler, folder, 0)
    request = Request(past=roll[..., :FRAMES], past_beats=beats.until(4.0))
    silent = np.zeros_like(request.past)  # type: ignore[arg-type]
    silent[0, 0, :3] = 0.5
    pieces = [sampler.piece(3, 1, 300, request=replace(request, past=past)) for past in (request.past, silent)]
    assert not np.array_equal(pieces[0].roll[..., 100:], pieces[1].roll[..., 100:])


def test_a_past_without_beats_is_gone_on_from_by_a_clock(folder: Path, sampler: Sampler) -> None:
    roll, _ = song_roll(sampler, folder, 0)
    for beats in (None, Beats.none(), Beats(np.array([0.3, 0.8]), np.array([1, 2]), 0.9)):
        piece = sampler.piece(1, 1, 120, request=Request(past=roll[..., :FRAMES], past_beats=beats))
        assert piece.roll.shape[-1] == 120
        assert piece.beats is not None
        assert piece.beats.is_free


def test_a_tempo_asked_for_begins_where_the_past_ends(folder: Path, sampler: Sampler) -> None:
    roll, beats = song_roll(sampler, folder, 2)
    past = roll[..., :FRAMES]
    piece = sampler.piece(1, 1, 300, request=Request(past=past, past_beats=beats.until(4.0), beat=Beat(150.0)))
    assert piece.beats is not None
    steps = np.diff(piece.beats.seconds)
    within = piece.beats.seconds[1:] < 4.0 - 60 / 110
    np.testing.assert_allclose(steps[within], 60 / 110, atol=5e-3)
    np.testing.assert_allclose(steps[piece.beats.seconds[:-1] > 4.0], 0.4, atol=5e-3)


def test_the_best_after_a_prime(folder: Path, sampler: Sampler, tmp_path: Path) -> None:
    _, found, _ = draw(sampler, tmp_path / "out", seconds=8.0, prime=str(folder / "keys"), best=1, of=3)
    assert len(found) == 3
    assert all(item.song.score is not None for item in found)


def test_recordings_are_searched_for_their_beats(sampler: Sampler, tmp_path: Path) -> None:
    """Clicks of a tone, two a second: the prime's beats are theirs."""
    import soundfile

    rate, seconds = 12000, 14.0
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * 220 * times) * np.exp(-12 * (times % 0.5))
    soundfile.write(tmp_path / "song.wav", np.stack((wave, 0.5 * wave)).T, rate)
    prime = priming.of_recording(str(tmp_path / "song.wav"), sampler)
    assert prime.past.shape[-1] == FRAMES
    assert prime.beats is not None
    if not prime.beats.is_free:
        distances = np.abs(prime.beats.seconds / 0.5 - np.rint(prime.beats.seconds / 0.5)) * 0.5
        assert np.median(distances) < 0.06
    piece = sampler.piece(1, 1, 100, request=Request(past=prime.past, past_beats=prime.beats))
    _, _, song = priming.as_item(piece, prime, sampler, 1, "net")
    assert song.primed_seconds == 4.0


def test_a_past_goes_on_as_its_last_bars_did(sampler: Sampler, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes and plan are the song's, not those of one that was learned from; the style is of the likest of these.

    Not of the waltz that is nine times as loud.
    """
    told: list[Outline] = []
    latents = composing._latents

    def note(own: Any, outline: Outline, *rest: Any) -> Any:
        told.append(outline)
        return latents(own, outline, *rest)

    monkeypatch.setattr(composing, "_latents", note)
    waltz, folk = (
        replace(outline, style=style)
        for outline, style in zip(sampler.store.outlines[:2], ("waltz", "folk"), strict=True)
    )
    loud = replace(waltz, scene=9 * waltz.scene)
    monkeypatch.setattr(sampler, "store", replace(sampler.store, outlines=(loud, folk)))
    roll, beats = song_roll(sampler, folder, 1)
    piece = sampler.piece(1, 1, 400, request=Request(past=roll[..., :1000], past_beats=beats.until(20.0)))
    (outline,) = told
    known = int((beats.seconds[1:] <= 20.01).sum())
    period = min(32, known) // 4 * 4
    for values in (outline.scene, outline.lags, outline.likeness):
        np.testing.assert_array_equal(
            values[known:], np.resize(values[known - period : known], (len(values) - known, *values.shape[1:]))
        )
    assert (np.diff(outline.numbers) % 4 == 1).all()
    assert outline.style == piece.genre == "folk"


# ---- from song to song ----


def test_a_song_that_leads_to_itself_is_its_reconstruction(folder: Path, sampler: Sampler) -> None:
    """By hand, through grid and codec; and near to the song."""
    roll, beats = song_roll(sampler, folder, 2)
    piece = sampler.morph(roll, roll, beats=(beats, beats))
    seconds = roll.shape[-1] * 0.02
    grid = Grid.of(beats, seconds)
    on_grid = torch.from_numpy(to_grid(compress(roll, "sqrt"), grid, 0.02))[None]
    generator: Any = sampler.generator
    with torch.no_grad():
        decoded = generator.decode(generator.encode(on_grid).mean, on_grid.shape[-1]).roll[0].numpy()
    frames = piece.roll.shape[-1]
    assert abs(frames - roll.shape[-1]) <= 1
    expected = sampler._cleaned(from_grid(decoded, grid, 0.02, frames))
    np.testing.assert_allclose(piece.roll, expected, atol=1e-4)
    own = roll[..., :frames]
    cosine = (piece.roll * own).sum() / np.sqrt((piece.roll**2).sum() * (own**2).sum())
    assert cosine > 0.9
    assert piece.beats is not None
    np.testing.assert_allclose(piece.beats.seconds, beats.seconds[beats.seconds < frames * 0.02], atol=2e-3)


def test_between_songs_the_tempo_leads_from_one_to_the_other(folder: Path, sampler: Sampler, tmp_path: Path) -> None:
    first, second = (song_roll(sampler, folder, number) for number in (0, 1))
    piece = sampler.morph(first[0], second[0], beats=(first[1], second[1]))
    assert piece.beats is not None
    steps = np.diff(piece.beats.seconds)
    np.testing.assert_allclose(steps[1:6], 60 / 96, atol=3e-3)
    np.testing.assert_allclose(steps[-5:], 60 / 130, atol=3e-3)
    assert (np.diff(steps[1:]) < 3e-3).all()  # faster and faster
    said, found, _ = draw(sampler, tmp_path / "out", seconds=12.0, morph=str(folder / "keys"))
    assert [item.song.title for item in found] == ["Song 0 -> Song 1", "Song 1 -> Song 2"]
    assert said == "2 pieces of at most 12 s"
    assert all(item.song.seconds is not None and item.song.seconds <= 12.0 for item in found)


def test_songs_without_beats_lead_to_each_other_by_the_clock(folder: Path, sampler: Sampler) -> None:
    roll, _ = song_roll(sampler, folder, 0)
    piece = sampler.morph(roll[..., :500], roll[..., 100:700])
    assert piece.beats is not None
    assert piece.beats.is_free
    assert piece.roll.shape[-1] == 500


def test_beginnings_match_the_record_of_the_data(folder: Path) -> None:
    """What the sampler knows is what a dataset says of the store."""
    with store.open_reader(str(folder / "keys")) as reader:
        data = BarDataset(reader)
        assert data.record().outlines == data.outlines
    assert models.family("bars").conditions == ("style", "tempo")


def test_a_short_piece_of_instruments_follows_a_song_from_any_of_its_bars() -> None:
    outline = tiny.with_parts(tiny.outline(13), 2)
    downbeats = np.flatnonzero(outline.numbers == 1)
    found = set()
    for seed in range(30):
        part = composing._stretch(outline, 5, torch.Generator().manual_seed(seed))
        first = len(outline) - len(part)
        assert first in downbeats
        assert len(part) >= 5
        assert part.begins == (first == 0)
        np.testing.assert_array_equal(part.parts, outline.parts[first:])
        found.add(first)
    assert found == {first for first in downbeats.tolist() if first <= 8}
    whole = composing._stretch(outline, 40, torch.Generator())  # it is shorter than the piece: all of it
    np.testing.assert_array_equal(whole.numbers, outline.numbers)


@pytest.mark.parametrize(("writes_tightly", "is_free"), [(True, False), (False, False), (True, True)])
def test_attacks_of_instruments_are_put_on_the_grid_and_struck_once(
    monkeypatch: pytest.MonkeyPatch, writes_tightly: bool, is_free: bool
) -> None:
    """A drum that is struck twice in three frames is struck once; where there is no beat all stays where it is."""
    roll = np.zeros((2, 8, 8 * GRID_FRAMES), np.float32)
    for beat in range(8):
        roll[0, 3, GRID_FRAMES * beat + 1] = 0.4
        roll[0, 3, GRID_FRAMES * beat + 3 : GRID_FRAMES * beat + 6] = 0.7
        roll[1, 5, GRID_FRAMES * beat + 12 : GRID_FRAMES * beat + 20] = 0.5
    monkeypatch.setattr(composing, "decode_in_windows", lambda *_: torch.from_numpy(roll)[None])
    generator = SimpleNamespace(writes_tightly=writes_tightly)
    sampler: Any = SimpleNamespace(generator=generator, store=SimpleNamespace(header=HEADER_OF_TWO))
    grid, outline = Grid.steady(120.0, 8, is_free=is_free), tiny.outline(8)
    written = composing._written(sampler, torch.zeros(1, 1, 1), outline, grid)[0].numpy()
    if is_free or not writes_tightly:
        np.testing.assert_array_equal(written, roll)
        return
    sounds = written[0, 3].reshape(8, GRID_FRAMES) > 0
    starts = np.flatnonzero(np.diff(np.pad(written[0, 3] > 0, (1, 0)).astype(int)) == 1)
    np.testing.assert_array_equal(starts, GRID_FRAMES * np.arange(8))
    assert (sounds.sum(1) >= 3).all()
    assert written[0, 3].reshape(8, GRID_FRAMES)[:, 0] == pytest.approx(0.7)
    np.testing.assert_array_equal(written[1], roll[1])


def test_instruments_keep_to_the_harmony_that_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    roll = np.zeros((2, 8, 8 * GRID_FRAMES), np.float32)
    roll[:, 3:7] = 0.5
    harmony = np.zeros((8, 12), np.float32)
    harmony[:4, 3], harmony[4:, [4, 5]] = 1.0, 0.3
    monkeypatch.setattr(composing, "decode_in_windows", lambda *_: torch.from_numpy(roll)[None])
    for shape in (RollShape(2, 8, 9, unpitched=(0,)), RollShape(2, 8, 9, has_drums=True)):
        sampler: Any = SimpleNamespace(generator=SimpleNamespace(writes_tightly=False), shape=shape)
        outline = replace(tiny.outline(8), harmony=harmony)
        written = composing._written(sampler, torch.zeros(1, 1, 1), outline, Grid.steady(120.0, 8))[0].numpy()
        drums, piano = (1, 0) if shape.has_drums else (0, 1)
        np.testing.assert_array_equal(written[drums], roll[drums])
        np.testing.assert_array_equal(written[piano, 3:6], roll[piano, 3:6])
        assert not written[piano, 6].any()

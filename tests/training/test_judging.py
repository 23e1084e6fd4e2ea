"""The judge beside training: what it leaves in history and run folder, and that training does not notice it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from musigan import models, store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.record import MusicRecord
from musigan.metrics.baselines import BASELINES
from musigan.metrics.pieces import FEWEST_PIECES, LOGGED
from musigan.metrics.piecewords import rhythm_and_form
from musigan.metrics.verdict import DISTANCES
from musigan.rolls.shape import RollShape
from musigan.sampling.sampler import Sampler
from musigan.training import calibration, judging, loop
from musigan.training.journal import Journal
from tests import musicstores, tiny
from tests.tiny import assert_same_weights, dataset, go_on, start

ROWS = {"samples", "held-out", "floor", *BASELINES}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(judging, "ROLLS", 12)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine songs of four rolls each, four of them held back: sets of 10."""
    return tiny.write_keys(tmp_path_factory.mktemp("keys") / "keys.zarr", songs=9, validation=4)


def settings(**changes: Any) -> TrainingSettings:
    """1 epoch variational, 1 prior, 1 critic, 3 of the game; judged after epochs 2, 4 and 6."""
    return tiny.settings(**{"epochs": 6, "pretrain_epochs": 3, "evaluate_every": 2, "batch_size": 10, **changes})


def train(
    keys: Path, target: Path, chosen: TrainingSettings, steps: int | None = None, resume: bool = False
) -> tiny.Silent:
    """Train with a journal, and tell what was said."""
    run, data = go_on(target, keys, chosen) if resume else start(keys, chosen)
    reporter = tiny.Silent()
    journal = Journal(target, run.history)
    loop.train(run, data, target, reporter, journal, dataset(keys, chosen, "validation"), steps)
    journal.close()
    return reporter


def judged(history: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Evaluations by the epoch of the whole plan."""
    return {entry["total_epoch"]: entry["evaluation"] for entry in history if "evaluation" in entry}


@pytest.fixture(scope="module")
def trained(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tiny.Silent]:
    """A finished run judged now and then, and what was said."""
    target = tmp_path_factory.mktemp("trained") / "ckpt.pt"
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "ROLLS", 12)
        return target, train(keys, target, settings())


def test_history_and_figures_hold_the_evaluations(trained: tuple[Path, tiny.Silent]) -> None:
    target, reporter = trained
    history = checkpoint.load(target).history
    found = judged(history)
    stages = {entry["total_epoch"]: entry["stage"] for entry in history}
    assert [epoch for epoch in stages if epoch % 2 == 0 and stages[epoch] != "variational"] == list(found)
    assert len(found) >= 2
    for evaluation in found.values():
        assert set(evaluation) == {"metrics", "distance", "verdict"}
        assert {*DISTANCES, "copies", "diversity", "empty bars", "told apart, logistic"} <= set(evaluation["metrics"])
        for rows in evaluation["metrics"].values():
            assert set(rows) <= ROWS
            assert "samples" in rows
            assert all(value is None or (isinstance(value, float) and math.isfinite(value)) for value in rows.values())
        figures = evaluation["metrics"]
        shares = [figures[name]["samples"] / figures[name]["floor"] for name in DISTANCES]
        assert evaluation["distance"] == pytest.approx(sum(shares) / 2)
    for epoch, evaluation in found.items():
        assert f"epoch {epoch}: {evaluation['verdict']}" in reporter.notes
    lines = [json.loads(line) for line in (target.with_name("ckpt.run") / "metrics.jsonl").read_text().splitlines()]
    assert lines == history


def test_real_music_is_described_once_and_samples_anew(trained: tuple[Path, tiny.Silent]) -> None:
    first, *_, last = judged(checkpoint.load(trained[0]).history).values()
    for row in ("floor", "silence", "Markov"):
        assert [rows.get(row) for rows in first["metrics"].values()] == [
            rows.get(row) for rows in last["metrics"].values()
        ]
    assert first["metrics"][DISTANCES[0]]["samples"] != last["metrics"][DISTANCES[0]]["samples"]


def test_tensorboard_shows_them(trained: tuple[Path, tiny.Silent]) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    target, _ = trained
    found = events.EventAccumulator(str(target.with_name("ckpt.run")))
    found.Reload()
    history = checkpoint.load(target).history
    expected = [
        (entry["step"], pytest.approx(entry["evaluation"]["metrics"][DISTANCES[0]]["samples"], rel=1e-4))
        for entry in history
        if "evaluation" in entry
    ]
    assert [(e.step, e.value) for e in found.Scalars(f"evaluation/{DISTANCES[0]}")] == expected


def test_best_pt_is_the_nearest_and_can_be_used(trained: tuple[Path, tiny.Silent], keys: Path, tmp_path: Path) -> None:
    target, _ = trained
    best = checkpoint.load(target.with_name("ckpt.run") / "best.pt")
    history = checkpoint.load(target).history
    distances = {epoch: evaluation["distance"] for epoch, evaluation in judged(history).items()}
    nearest = min(distances, key=lambda epoch: distances[epoch])
    assert best.history == history[:nearest]
    assert judging.best_distance(history) == distances[nearest]
    piece = Sampler.from_checkpoint(best).piece(1, 1, tiny.FRAMES)
    assert piece.roll.shape == (tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    copied = tmp_path / "best.pt"
    copied.write_bytes((target.with_name("ckpt.run") / "best.pt").read_bytes())
    if nearest < 6:
        train(keys, copied, settings(), resume=True)
        assert_same_weights(copied, target)


def test_training_does_not_notice(trained: tuple[Path, tiny.Silent], keys: Path, tmp_path: Path) -> None:
    without = tmp_path / "without.pt"
    train(keys, without, settings(evaluate_every=0))
    assert_same_weights(without, trained[0])
    one, other = checkpoint.load(without), checkpoint.load(trained[0])
    assert torch.equal(one.rng, other.rng)
    assert not judged(one.history)
    assert not (tmp_path / "without.run" / "best.pt").exists()


def test_a_stopped_run_judges_as_one_that_was_not(
    trained: tuple[Path, tiny.Silent], keys: Path, tmp_path: Path
) -> None:
    target = tmp_path / "ckpt.pt"
    train(keys, target, settings(), steps=checkpoint.load(trained[0]).history[3]["step"] + 1)
    assert len(judged(checkpoint.load(target).history)) in (1, 2)
    train(keys, target, settings(), resume=True)
    assert judged(checkpoint.load(target).history) == judged(checkpoint.load(trained[0]).history)
    assert_same_weights(target, trained[0])


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What every evaluation finds, without a look at the music; a test may change it."""
    found = {"metrics": {}, "distance": 1.5, "verdict": "close: 0"}
    monkeypatch.setattr(judging.TrainingJudge, "__init__", lambda *_: None)
    monkeypatch.setattr(judging.TrainingJudge, "evaluate", lambda *_: dict(found))
    return found


@pytest.mark.usefixtures("verdicts")
@pytest.mark.parametrize(("distance", "kept"), [(1e-6, True), (0.0, True), (1e9, False), (None, False)])
def test_resume_keeps_the_best_so_far(
    distance: float | None, kept: bool, trained: tuple[Path, tiny.Silent], keys: Path, tmp_path: Path
) -> None:
    """A later evaluation that is farther does not take the place of best.pt, a nearer one does."""
    target = tmp_path / "ckpt.pt"
    saved = checkpoint.load(trained[0])
    for entry in saved.history:
        if "evaluation" in entry:
            entry["evaluation"]["distance"] = distance
    checkpoint.save(target, saved)
    (tmp_path / "ckpt.run").mkdir()
    (tmp_path / "ckpt.run" / "best.pt").write_text("the best")
    train(keys, target, settings(epochs=7), resume=True)
    assert 7 in judged(checkpoint.load(target).history)  # the last epoch of a plan is always judged
    assert ((tmp_path / "ckpt.run" / "best.pt").read_bytes() == b"the best") == kept


def test_an_exact_hit_is_the_best(verdicts: dict[str, Any], keys: Path, tmp_path: Path) -> None:
    verdicts["distance"] = 0.0
    train(keys, tmp_path / "ckpt.pt", settings())
    assert len(checkpoint.load(tmp_path / "ckpt.run" / "best.pt").history) == min(
        judged(checkpoint.load(tmp_path / "ckpt.pt").history)
    )


@pytest.mark.parametrize("broken", ["__init__", "evaluate"])
def test_a_judge_that_fails_is_noted_and_training_goes_on(
    broken: str, trained: tuple[Path, tiny.Silent], keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("of\ntwo lines")

    monkeypatch.setattr(judging.TrainingJudge, broken, fail)
    target = tmp_path / "ckpt.pt"
    reporter = train(keys, target, settings())
    history = checkpoint.load(target).history
    assert len(history) == 6
    assert not judged(history)
    assert "evaluation of epoch 6 left out: ZeroDivisionError: of two lines" in reporter.notes
    assert not (tmp_path / "ckpt.run" / "best.pt").exists()
    assert_same_weights(target, trained[0])


def test_too_few_rolls_are_noted_once(tmp_path: Path) -> None:
    few = tiny.write_keys(tmp_path / "few", songs=3, validation=1)
    reporter = train(few, tmp_path / "ckpt.pt", settings())
    (left_out,) = [note for note in reporter.notes if "evaluation" in note]
    assert "left out: sets of 4 rolls are too small" in left_out
    assert "\n" not in left_out
    assert len(checkpoint.load(tmp_path / "ckpt.pt").history) == 6


def test_without_songs_held_back_nothing_is_judged(tmp_path: Path) -> None:
    none = tiny.write_keys(tmp_path / "none", songs=6, validation=0)
    reporter = train(none, tmp_path / "ckpt.pt", settings(evaluate_every=1))
    assert not judged(checkpoint.load(tmp_path / "ckpt.pt").history)
    assert not [note for note in reporter.notes if "evaluation" in note]


@pytest.mark.usefixtures("verdicts")
def test_a_generator_that_was_not_taught_to_draw_is_not_judged(keys: Path, tmp_path: Path) -> None:
    target = tmp_path / "ckpt.pt"
    train(keys, target, settings(evaluate_every=1))
    history = checkpoint.load(target).history
    assert {entry["stage"] for entry in history if "evaluation" not in entry} == {"variational"}
    assert {entry["stage"] for entry in history if "evaluation" in entry} == {entry["stage"] for entry in history} - {
        "variational"
    }


def test_songs_of_half_a_minute_are_judged_by_rhythm_and_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation has a row of each for samples, songs and floor, in numbers and in words; the floor is nearer."""
    monkeypatch.setattr(judging, "DRAWN_PIECES", 4)
    path = musicstores.write_music(tmp_path / "keys", train=FEWEST_PIECES, held=FEWEST_PIECES)
    shape = RollShape(musicstores.CHANNELS, musicstores.KEYS, musicstores.FRAMES)
    torch.manual_seed(4)
    networks = models.build("musigan", tiny.NETWORKS["musigan"], shape)
    with torch.no_grad():
        networks["generator"].key_bias[:, :, 3:9] += 2  # type: ignore[operator,union-attr,index]
    family = models.family("musigan")
    with store.open_reader(str(path), ("keys",)) as reader:
        sampler = Sampler(networks, shape, MusicRecord(reader.header, 0.1), "sqrt", family)
        evaluation = judging.TrainingJudge(reader).evaluate(sampler, [])
    figures = evaluation["metrics"]
    assert set(LOGGED) <= set(figures)
    for name in LOGGED:
        assert set(figures[name]) == {"samples", "held-out", "floor"}
        assert all(isinstance(figures[name][row], float) for row in ("held-out", "floor")), name
    samples, songs, floor = ({name: figures[name][row] for name in LOGGED} for row in ("samples", "held-out", "floor"))
    assert sum(samples[n] is None or abs(samples[n] - songs[n]) > abs(floor[n] - songs[n]) for n in LOGGED) >= 3
    words = rhythm_and_form(samples, songs)
    assert "in songs" in words
    assert evaluation["verdict"].endswith(f"; {words}")
    json.dumps(evaluation, allow_nan=False)


def test_the_original_model_is_judged_too(keys: Path, tmp_path: Path) -> None:
    chosen = tiny.settings("original", epochs=3, pretrain_epochs=1, evaluate_every=3, batch_size=10)
    train(keys, tmp_path / "ckpt.pt", chosen)
    assert list(judged(checkpoint.load(tmp_path / "ckpt.pt").history)) == [3]


def test_drawn_latents_have_the_spread_of_real_ones(
    trained: tuple[Path, tiny.Silent], keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = 96
    monkeypatch.setattr(calibration, "PIECES", pieces)
    assert (checkpoint.load(trained[0]).average["generator"]["latent_gain"] != 1).any()
    # Of a run in the game, whose transformer draws latents that are far too much alike.
    run, data = go_on(trained[0], keys, settings(epochs=9))
    generator = run.average.network
    with torch.no_grad():
        generator.latent_gain.mul_(0.6)
        generator.latent_offset.add_(0.4)
    calibration.calibrate(run, data)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        drawn = generator.sample_prior(generator.draw(pieces, run.shape.frames, rng))
        real = generator.encode(torch.stack([torch.from_numpy(data.roll(0, n)) for n in range(len(data))]))
    spread = (real.mean.var((0, 1)) + real.log_variance.exp().mean((0, 1))).sqrt()
    torch.testing.assert_close(drawn.std((0, 1)), spread, rtol=0.25, atol=0.1)
    torch.testing.assert_close(drawn.mean((0, 1)), real.mean.mean((0, 1)), rtol=0.1, atol=0.25)
    # From halfway on the way is the same.
    noise = generator.draw(2, run.shape.frames, rng)
    with torch.no_grad():
        torch.testing.assert_close(
            generator.sample_prior(generator.sample_prior(noise, 0, 1), 1), generator.sample_prior(noise)
        )


def test_a_checkpoint_from_before_there_was_a_calibration_still_loads(trained: tuple[Path, tiny.Silent]) -> None:
    saved = checkpoint.load(trained[0])
    for weights in (saved.networks["generator"], saved.average["generator"]):
        del weights["latent_gain"], weights["latent_offset"]
    networks = checkpoint.build_networks(saved, averaged=True)
    assert (networks["generator"].latent_gain == 1).all()

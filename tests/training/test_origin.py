"""What a new run begins from: the base where it fits, nothing where it does not or where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from musigan.checkpoints import base, checkpoint
from musigan.errors import CheckpointError
from musigan.machine.reporting import Reporter
from musigan.training import loop, origin
from musigan.training.requests import TrainingRequest
from musigan.training.starting import Start
from musigan.training.warmstart import warm_start
from tests import tiny
from tests.musicstores import write_recordings
from tests.sessions import Session


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slim checkpoint of a tiny default model that has learned recordings with drums, in place of the base."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    write_recordings(folder / "keys", "played", songs=4)
    settings = tiny.settings("bars", network={**tiny.NETWORKS["bars"], "sides": 2})
    run, data = tiny.start(folder / "keys", settings)
    assert loop.train(run, data, folder / "ckpt.pt", tiny.Silent())
    checkpoint.save_slim(folder / "base.safetensors", checkpoint.load(folder / "ckpt.pt"))
    return folder


@pytest.fixture
def known(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(base, "load", lambda: checkpoint.load(small / "base.safetensors"))
    return small


SIZES = {**tiny.NETWORKS["bars"], "sides": 2}


def origin_of(keys: Path, init: str = "", model: str = "bars", **changes: Any) -> tuple[origin.Origin, str]:
    """What a run on a store begins from, and what is said of it."""
    said, settings = Session(), tiny.settings(model, **({"network": SIZES} if model == "bars" else {}), **changes)
    data = tiny.dataset(keys, settings)
    request, reporter = TrainingRequest((str(keys),), init=init), cast(Reporter, said)
    found = origin.named_origin(request) or origin.origin_of(request, settings, data, reporter)
    return found, "; ".join(said.lines)


def test_the_base_is_what_a_run_begins_with(known: Path) -> None:
    found, said = origin_of(known / "keys")
    assert found.is_base
    assert found.known_stages == ("codec",)
    assert said == "begins with what the base knows of free music; --init none begins from nothing"
    assert origin_of(known / "keys", "base")[0].is_base
    assert origin_of(known / "keys", "none") == (origin.Origin(), "")
    named, said = origin_of(known / "keys", str(known / "ckpt.pt"))
    assert (named.is_base, named.known_stages, said) == (False, (), "")
    assert named.saved is not None


@pytest.mark.parametrize(("drums", "sides"), [("played", 1), (None, 2), (None, 1)])
def test_recordings_with_a_side_or_drums_less_fit(known: Path, tmp_path: Path, drums: str | None, sides: int) -> None:
    keys = write_recordings(tmp_path / "keys", drums, songs=3, sides=sides)
    assert origin_of(keys)[0].is_base


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": {**SIZES, "width": 8}}, "the base has networks of other sizes, those of --preset small"),
        ({"compression": "log"}, "the base is of sqrt loudness"),
    ],
)
def test_what_does_not_fit_begins_from_nothing(known: Path, changes: dict[str, Any], reason: str) -> None:
    settings = tiny.settings("bars", **{"network": SIZES, **changes})
    data, said = tiny.dataset(known / "keys", settings), Session()
    given: Any = said
    assert origin.origin_of(TrainingRequest(("keys",)), settings, data, given) == origin.Origin()
    assert said.lines == [f"begins from nothing: {reason}"]
    with pytest.raises(CheckpointError, match=rf"^--init base: {reason}; leave it out to begin from nothing$"):
        origin.origin_of(TrainingRequest(("keys",), init="base"), settings, data, given)


def test_other_keys_do_not_fit(known: Path, tmp_path: Path) -> None:
    found, said = origin_of(tiny.write_keys(tmp_path / "keys"))
    assert (found, said) == (origin.Origin(), "begins from nothing: the base is of keys 15-40")


def test_other_models_have_no_base(known: Path, tmp_path: Path) -> None:
    keys = tiny.write_keys(tmp_path / "keys")
    assert origin_of(keys, model="musigan") == (origin.Origin(), "")
    with pytest.raises(CheckpointError, match="--init base: the base is of the model bars"):
        origin_of(keys, "base", model="musigan")


@pytest.mark.parametrize(("drums", "sides"), [("played", 2), ("played", 1), (None, 2), (None, 1)])
def test_a_run_from_the_base_trains_and_resumes(known: Path, tmp_path: Path, drums: str | None, sides: int) -> None:
    keys = write_recordings(tmp_path / "keys", drums, songs=4, sides=sides)
    given = tuple(f"network.{name}={value}" for name, value in SIZES.items())
    wanted: dict[str, Any] = {
        "epochs": 4,
        "pretrain_epochs": 3,
        "critic_epochs": 1,
        "evaluate_every": 0,
        "sample_every": 0,
    }
    ends = []
    for name, limits in (("whole", (None,)), ("parts", (2, 2, None))):
        target = tmp_path / f"{name}.pt"
        for limit in limits:
            resumed = {"resume": str(target)} if target.exists() else {"assignments": given, "flags": wanted}
            request = TrainingRequest((str(keys),), str(target), steps_limit=limit, **resumed)  # type: ignore[arg-type]
            said: Any = Session()
            Start.of(request, "cpu", said).train(said)
        ends.append(checkpoint.load(target))
    one, other = ends
    assert [stage for stage, _ in one.plan] == ["composer", "critic", "adversarial"]
    assert one.settings["prior"]["learning_rate"] == pytest.approx(0.3 * 0.002)
    for part in one.networks:
        for name, value in one.networks[part].items():
            assert torch.equal(value, other.networks[part][name]), name
    known_codec = base.load().average["generator"]
    if drums:  # latents are those that the base knows, and so is what composing is relative to
        for name in ("latent_mean", "latent_deviation", "composer.guess_weight", "codec.encoder_bypass.weight"):
            assert torch.equal(one.average["generator"][name], known_codec[name]), name


def test_the_package_carries_a_base() -> None:
    saved = base.load()
    assert saved.settings["model"] == "bars"
    assert (saved.shape.channels, saved.shape.keys, saved.shape.has_drums) == (3, 88, True)
    assert (Path(base.__file__).parent / base.FILE).stat().st_size <= 12_000_000


def test_without_a_base_a_run_begins_from_nothing(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> checkpoint.Checkpoint:
        raise CheckpointError("the package lacks its base weights; install musigan anew")

    monkeypatch.setattr(base, "load", missing)
    found, said = origin_of(known / "keys")
    assert (found, said) == (
        origin.Origin(), "begins from nothing: the package lacks its base weights; install musigan anew"
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="--init base: the package lacks"):
        origin_of(known / "keys", "base")


@pytest.mark.parametrize("damage", ["all", "missing", "no tensor"])
def test_a_damaged_checkpoint_to_begin_with_is_no_traceback(
    known: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is left as it was, or said in a line where nothing is left."""
    saved = checkpoint.load(known / "ckpt.pt")
    weights: Any = saved.average["generator"]
    if damage == "all":
        weights.clear()
    elif damage == "missing":
        del weights["codec.key_map"]
    else:
        weights["codec.key_map"] = 3
    keys = write_recordings(tmp_path / "keys", None, songs=3)
    settings = tiny.settings("bars", network=SIZES)
    run, _ = tiny.start(keys, settings)
    matches = {match.part: match for match in warm_start(run, saved)}
    assert not matches["encoder"].is_whole


def test_words_on_stages_that_are_left_out(known: Path, tmp_path: Path) -> None:
    given = tuple(f"network.{name}={value}" for name, value in SIZES.items())

    def said(init: str, **flags: int) -> list[str]:
        target = tmp_path / f"{init or 'base'}-{'-'.join(map(str, flags.values()))}.pt"
        request = TrainingRequest(
            (str(known / "keys"),), str(target), init=init, assignments=given, steps_limit=1, flags=flags
        )
        session: Any = Session()
        Start.of(request, "cpu", session).train(session)
        return [line for line in session.lines if "left out" in line or "no game" in line]

    assert said("", epochs=1) == ["no game: the only epoch comes before it; --epochs 2 or more would bring one"]
    assert said("", epochs=4) == []
    (line,) = said("none", epochs=2, critic_epochs=1)
    assert "(codec)" in line
    assert "(composer)" in line

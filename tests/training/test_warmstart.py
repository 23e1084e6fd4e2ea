"""What a run from nothing takes over from another run's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from musigan.checkpoints import checkpoint
from musigan.errors import CheckpointError
from musigan.training import loop, runs
from musigan.training.warmstart import warm_start
from tests import tiny
from tests.tiny import start, weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run whose live and averaged weights differ."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    run, data = start(tiny.write_keys(folder / "keys"), tiny.settings())
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent(), steps_limit=11)
    return folder / "ckpt.pt"


def begun(path: Path, seed: int = 7, **network: Any) -> Any:
    """A run from nothing on other songs, with other sizes if asked."""
    path.mkdir(exist_ok=True)
    keys = tiny.write_keys(path / "others", songs=5, seed=3)
    run, _ = start(keys, tiny.settings(seed=seed, network={**tiny.NETWORKS["musigan"], **network}))
    return run


def test_the_same_sizes_are_taken_whole(trained: Path, tmp_path: Path) -> None:
    run, kept = begun(tmp_path), weights(trained)
    found = warm_start(run, checkpoint.load(trained))
    assert [match.part for match in found] == ["encoder", "prior", "decoder", "critic"]
    for match in found:
        assert match.taken == len(match.names) > 0
        assert str(match) == f"{match.part}: {match.taken} of {match.taken} tensors"
    for name, value in run.networks["generator"].state_dict().items():
        assert torch.equal(value, kept[f"average.{name}"])
        assert torch.equal(run.average.network.state_dict()[name], value)
    for name, value in run.networks["critic"].state_dict().items():
        assert torch.equal(value, kept[f"critic.{name}"])
    assert any(not torch.equal(kept[f"generator.{k}"], kept[f"average.{k}"]) for k in run.average.network.state_dict())
    assert [stage for stage, _ in run.plan] == ["variational", "prior", "critic", "adversarial"]
    assert (run.history, run.position.total_steps) == ([], 0)


def test_other_sizes_take_what_fits_and_say_what_not(trained: Path, tmp_path: Path) -> None:
    before = begun(tmp_path / "a", deep_width=10, transformer_layers=3)
    run, kept = begun(tmp_path / "b", deep_width=10, transformer_layers=3), weights(trained)
    encoder, prior, decoder, critic = warm_start(run, checkpoint.load(trained))
    assert critic.taken == len(critic.names)
    assert encoder.misshapen[0].startswith("encoder_down.weight (8, 6, 4, 3) for (10, 6, 4, 3)")
    assert f"encoder: {encoder.taken} of {len(encoder.names)} tensors; other shape: encoder_down.weight" in str(encoder)
    assert str(encoder).endswith(f" and {len(encoder.misshapen) - 3} more")
    assert prior.missing
    assert all(name.startswith("transformer.layers.2.") for name in prior.missing)
    assert "; not there: transformer.layers.2." in str(prior)
    assert 0 < decoder.taken < len(decoder.names)
    for name, value in run.networks["generator"].named_parameters():
        same = kept.get(f"average.{name}")
        fresh = before.networks["generator"].get_parameter(name)
        assert torch.equal(value, same if same is not None and same.shape == value.shape else fresh), name


def test_a_checkpoint_of_before_there_were_parts_of_networks_is_taken_whole(trained: Path, tmp_path: Path) -> None:
    """As what draws from it reads it: what this version adds does nothing there, and no chance is touched."""
    run, saved = begun(tmp_path), checkpoint.load(trained)
    for name in [name for name in saved.average["generator"] if "bypass" in name]:
        del saved.average["generator"][name], saved.networks["generator"][name]
    before = torch.get_rng_state()
    found = warm_start(run, saved)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(match.is_whole for match in found)
    for name, value in run.networks["generator"].state_dict().items():
        kept = saved.average["generator"].get(name)
        assert value.equal(torch.zeros_like(value) if kept is None else kept), name


def test_a_stage_that_an_older_version_began_is_not_resumed_with_other_networks(tmp_path: Path) -> None:
    settings = tiny.settings()
    run, data = start(tiny.write_keys(tmp_path / "keys"), settings)
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), steps_limit=1)
    saved = checkpoint.load(tmp_path / "ckpt.pt")
    del saved.optimisers["generator"]["param_groups"][0]["params"][-1]
    with pytest.raises(CheckpointError, match=r"'generator' does not fit the networks of this version .* by --init$"):
        runs.resume(saved, settings, data, tiny.CPU)


def test_nothing_in_common_is_an_error(trained: Path, tmp_path: Path) -> None:
    keys = tiny.write_keys(tmp_path / "keys")
    run, _ = start(keys, tiny.settings("original"))
    with pytest.raises(CheckpointError, match=r"model musigan\).*model original\)") as caught:
        warm_start(run, checkpoint.load(trained))
    assert "\n" not in str(caught.value)


def test_a_run_begun_warm_trains_and_resumes(trained: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, width=10)
    warm_start(run, checkpoint.load(trained))
    data = tiny.dataset(tmp_path / "others", run.settings)
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), steps_limit=2)
    again, data = tiny.go_on(tmp_path / "ckpt.pt", tmp_path / "others")
    assert loop.train(again, data, tmp_path / "ckpt.pt", tiny.Silent())

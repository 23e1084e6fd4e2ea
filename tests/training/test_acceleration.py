"""bfloat16, compiled functions, batches read ahead and pinned: faster, and nothing else of a run is changed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.datasets.batches import batches
from musigan.errors import SettingsError
from musigan.losses.registry import LOSSES
from musigan.rolls.shape import RollShape
from musigan.training import acceleration, loop
from musigan.training.acceleration import accelerate, chosen_precision
from tests import tiny
from tests.tiny import assert_same_weights, go_on, start, weights

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_keys(tmp_path_factory.mktemp("acceleration") / "keys.zarr.zip")


def trained(keys: Path, path: Path, name: str = "musigan", **changes: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Weights after a run through all stages, and its history."""
    run, data = start(keys, tiny.settings(name, **changes))
    loop.train(run, data, path, tiny.Silent())
    return weights(path), run.history


@pytest.mark.parametrize("name", ["musigan", "original"])
def test_bfloat16_runs_through_all_stages_near_float32(
    name: str, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, before = trained(keys, tmp_path / "a.pt", name)
    computed, losses = set(), set()

    def add_verdicts(module: torch.nn.Module, given: Any, found: torch.Tensor) -> None:
        computed.add(found.dtype)

    backward = loop._backward

    def watch_losses(objective: Any, settings: Any, side: str, batch: Any, moment: Any, said: Any) -> None:
        handles = [m.register_forward_hook(add_verdicts) for m in objective.networks.modules() if hasattr(m, "weight")]
        backward(objective, settings, side, batch, moment, said)
        losses.update(value.dtype for several in said.named.values() for value in several)
        for handle in handles:
            handle.remove()

    monkeypatch.setattr(loop, "_backward", watch_losses)
    half, after = trained(keys, tmp_path / "b.pt", name, precision="bfloat16")
    assert torch.bfloat16 in computed
    assert losses == {torch.float32}
    assert plain.keys() == half.keys()
    assert all(value.dtype == plain[key].dtype and torch.isfinite(value).all() for key, value in half.items())
    assert any(not torch.equal(plain[key], half[key]) for key in plain)
    for left, right in zip(before, after, strict=True):
        for loss in left.keys() & set(LOSSES):
            assert right[loss] == pytest.approx(left[loss], rel=0.05), (left["stage"], loss)


def test_a_bfloat16_run_resumes_exactly(keys: Path, tmp_path: Path) -> None:
    trained(keys, tmp_path / "whole.pt", precision="bfloat16")
    run, data = start(keys, tiny.settings(precision="bfloat16"))
    assert not loop.train(run, data, tmp_path / "parts.pt", tiny.Silent(), steps_limit=7)
    run, data = go_on(tmp_path / "parts.pt", keys)
    assert loop.train(run, data, tmp_path / "parts.pt", tiny.Silent())
    assert_same_weights(tmp_path / "whole.pt", tmp_path / "parts.pt")


def test_accelerated_networks_wrap_the_plain_ones_and_share_their_state() -> None:
    settings = tiny.settings()
    networks = models.build(settings.model, settings.network, RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES))
    assert accelerate(networks, "float32", False, tiny.CPU) is networks
    plain: Any = networks["generator"]
    state = set(vars(plain))
    fast: Any = accelerate(networks, "bfloat16", False, tiny.CPU)["generator"]
    assert isinstance(fast, type(plain))
    noise, time = plain.draw(2, tiny.FRAMES), torch.full((2,), 0.3)
    with torch.no_grad():
        plain.latents_out[1].weight.normal_()
        before, after = plain.velocity(noise, time), fast.velocity(noise, time)
        assert after.dtype == torch.float32
        assert not torch.equal(before, after)
        torch.testing.assert_close(before, after, atol=0.1, rtol=0.05)
        steps = noise  # the flow of the wrapper goes by its own velocity
        for index in range(3):
            steps = steps + fast.velocity(steps, torch.full((2,), index / 3)) / 3
        assert torch.equal(fast.sample_prior(noise), steps)
        assert not torch.equal(plain.sample_prior(noise), steps)
    assert set(vars(plain)) == state  # nothing was put on it
    fast.calibrate(torch.randn(3, 4, 3), torch.randn(3, 4, 3) + 1.0)
    assert torch.equal(plain.latent_offset, fast.latent_offset)
    assert plain.latent_offset.abs().min() > 0
    plain.eval()
    assert not fast.training
    assert [id(p) for p in fast.parameters()] == [id(p) for p in plain.parameters()]
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_auto_is_bfloat16_where_a_gpu_computes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        found.append(chosen_precision("auto", CUDA))
        assert chosen_precision("auto", torch.device("cpu")) == "float32"
        assert chosen_precision("float32", CUDA) == "float32"
    assert found == ["bfloat16", "float32"]


# Spectral normalisation of all views takes the compiler twenty seconds.
@pytest.mark.parametrize(
    "critic", [{"spectral": False}, {"latent_critic_width": 0, "chroma_critic_width": 0}], ids=["views", "spectral"]
)
def test_compiled_functions_train_the_same_and_leave_no_trace(
    critic: dict[str, Any], keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def backend(graph: torch.fx.GraphModule, example: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(acceleration, "BACKEND", backend)
    torch._dynamo.reset()
    found = []
    network = {**tiny.NETWORKS["musigan"], "rounds": 1, "transformer_layers": 1, **critic}
    for name, chosen in (("plain.pt", False), ("compiled.pt", True)):
        run, data = start(keys, tiny.settings(compile=chosen, network=network))
        run.plan = [("variational", 1), ("adversarial", 1)]
        assert not loop.train(run, data, tmp_path / name, tiny.Silent(), steps_limit=4)
        assert bool(compiled) == chosen
        found.append(weights(tmp_path / name))
    torch._dynamo.reset()
    plain, fast = found
    assert fast.keys() == plain.keys()
    for key, value in plain.items():
        torch.testing.assert_close(fast[key], value, rtol=1e-3, atol=1e-4, msg=key)
    run, _ = go_on(tmp_path / "compiled.pt", keys)
    assert run.settings.compile
    checkpoint.build_networks(checkpoint.load(tmp_path / "compiled.pt"), averaged=True)


def test_without_a_compiler_it_says_so(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="'compile' is true, and there is no C"):
        start(keys, tiny.settings(compile=True))


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_readers_ahead_keep_the_order(workers: int, keys: Path) -> None:
    data = tiny.dataset(keys, tiny.settings())
    alone = [batch.roll.numpy() for batch in batches(data, 2, epoch=1, first=1)]
    assert len(alone) == 3
    for left, right in zip(alone, batches(data, 2, epoch=1, first=1, workers=workers), strict=True):
        np.testing.assert_array_equal(left, right.roll.numpy())


def test_as_many_batches_are_read_ahead_as_there_are_workers(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three reads stand at one gate together; a fourth begins only once a batch was taken."""
    data = tiny.dataset(keys, tiny.settings())
    read, started, gate = data.example, [], threading.Barrier(3, timeout=20)

    def slowly(epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        started.append(index)
        if len(started) <= 3:
            gate.wait()
        return read(epoch, index)

    monkeypatch.setattr(data, "example", slowly)
    stream = batches(data, 1, epoch=0, workers=3)
    next(stream)
    stream.close()
    assert 3 <= len(started) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rolls")]


def test_a_gpu_gets_its_batches_from_pinned_memory(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.dataset(keys, tiny.settings())
    pinned, copied = [], []

    def pin(batch: torch.Tensor) -> torch.Tensor:
        pinned.append(threading.current_thread().name)
        return batch

    def copy(batch: torch.Tensor, device: Any, non_blocking: bool = False) -> torch.Tensor:
        copied.append((torch.device(device).type, non_blocking))
        return batch

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", copy)
    assert len(list(batches(data, 4, 0, device="cuda:0"))) == len(pinned) == 2
    assert all(name.startswith("rolls") for name in pinned)
    assert copied == [("cuda", True)] * 2
    list(batches(data, 4, 0))
    assert (len(pinned), copied[2:]) == (2, [("cpu", False)] * 2)


def test_a_run_reads_with_its_workers(keys: Path, tmp_path: Path) -> None:
    one, _ = trained(keys, tmp_path / "one.pt")
    several, _ = trained(keys, tmp_path / "several.pt", workers=4)
    assert all(torch.equal(one[key], several[key]) for key in one)

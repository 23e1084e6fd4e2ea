from __future__ import annotations

from pathlib import Path

import pytest

from musigan import settings
from musigan.checkpoints.settings import PRESETS, TrainingSettings, configure, preset_for
from musigan.errors import SettingsError


@pytest.mark.parametrize("name", PRESETS)
def test_preset_survives_yaml(name: str, tmp_path: Path) -> None:
    chosen = configure(name)
    path = tmp_path / "settings.yaml"
    path.write_text(settings.write_yaml(chosen))
    assert settings.build(TrainingSettings, settings.read_yaml(path)) == chosen


def test_flags_over_file_over_preset() -> None:
    file = {"epochs": 7, "batch_size": 5, "adversarial": {"label_smoothing": 0.3}, "network": {"width": 16}}
    chosen = configure("small", file, {"epochs": 9, "seed": None})
    assert (chosen.epochs, chosen.batch_size, chosen.seed) == (9, 5, 1)
    assert chosen.adversarial.label_smoothing == 0.3
    assert chosen.adversarial.roll_every == TrainingSettings().adversarial.roll_every
    assert chosen.network["width"] == 16
    assert chosen.network["latent_dim"] == TrainingSettings().network["latent_dim"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"epoch": 3}, "epoch"),
        ({"adversarial": {"smoothing": 0.1}}, "adversarial.smoothing"),
        ({"network": {"widht": 3}}, "network.widht"),
        ({"epochs": "many"}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"epochs": 0}, "--epochs"),
        ({"epochs": 5, "pretrain_epochs": 6}, "--pretrain-epochs"),
        ({"adversarial": {"objective": "magic"}}, "magic"),
        ({"loss_weights": {"melodi": 1}}, "melodi"),
        ({"loss_weights": {"critic_melody": 1}}, "network.critic_heads"),
        ({"loss_weights": [1]}, "loss_weights"),
        ({"model": "musegun"}, "musegun"),
        ({"network": {"transformer_heads": 7}}, "transformer_heads"),
        ({"augment": {"gain": 1.5}}, "augment.gain"),
        ({"variational": {"betas": [0.9]}}, "variational.betas"),
        ({"prior": {"betas": [0.9, 0.99, 0.999]}}, "prior.betas"),
        ({"adversarial": {"betas": [0.0, 1.0]}}, "adversarial.betas"),
        ({"adversarial": {"critic_learning_rate": 0}}, "adversarial.critic_learning_rate"),
        ({"prior": {"learning_rate": -1e-4}}, "prior.learning_rate"),
        ({"prior": {"learning_rate": float("nan")}}, "prior.learning_rate"),
        ({"prior": {"learning_rate": "fast"}}, "prior.learning_rate"),
        ({"adversarial": {"penalty_distance": 0}}, "adversarial.penalty_distance"),
        ({"gradient_clip": -1}, "gradient_clip"),
        ({"seed": 2**63}, "--seed"),
        ({"accumulate": 0}, "--accumulate"),
        ({"keep_last": -1}, "--keep-last"),
        ({"precision": "half"}, "precision"),
        ({"workers": 0}, "workers"),
        ({"compile": 1}, "compile"),
        ({"adversarial": {"freeze_critic": [0.5]}}, "adversarial.freeze_critic"),
        ({"adversarial": {"freeze_critic": [0.5, 0.5]}}, "adversarial.freeze_critic"),
        ({"adversarial": {"freeze_generator": [-0.1, 0.5]}}, "adversarial.freeze_generator"),
        ({"adversarial": {"freeze_generator": [0, 1.5]}}, "adversarial.freeze_generator"),
        ({"adversarial": {"freeze_generator": 0.5}}, "adversarial.freeze_generator"),
        ({"adversarial": {"freeze_critic": [0.2, 0.6], "freeze_generator": [0.0, 0.3]}}, "from 0.2 to 0.3 of"),
    ],
)
def test_wrong_setting_is_named(given: dict, named: str) -> None:
    with pytest.raises(SettingsError, match=named.replace(".", r"\.")) as caught:
        configure("small", given)
    assert "\n" not in str(caught.value)


def test_sides_may_stand_still_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("adversarial: {freeze_generator: [0, 0.25], freeze_critic: [0.25, 1]}")
    chosen = configure("small", settings.read_yaml(path))
    shares = (0.0, 0.24, 0.25, 0.99)
    assert [sorted(chosen.adversarial.frozen(share)) for share in shares] == [["generator"]] * 2 + [["critic"]] * 2
    path.write_text(settings.write_yaml(chosen))
    assert settings.build(TrainingSettings, settings.read_yaml(path)) == chosen
    assert configure("small").adversarial.frozen(0.0) == frozenset()


@pytest.mark.parametrize("text", ["- 1", "a: [", "3", "1: 2", "!!python/object/apply:os.system ['true']"])
def test_yaml_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match="--config"):
        settings.read_yaml(path)


def test_differences_name_the_path() -> None:
    assert settings.differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}) == [("a.b", 1, 3)]


def test_stage_epochs_add_up() -> None:
    for epochs in (1, 2, 7, 200):
        chosen = configure("small", {"epochs": epochs})
        assert sum(chosen.stage_epochs().values()) == epochs
        assert sum(chosen.stage_epochs(adversarial=False).values()) == epochs


def test_a_game_follows_unless_it_was_asked_away() -> None:
    assert configure("small", {"epochs": 1}).stage_epochs()["adversarial"] == 1
    assert configure("small", {"epochs": 2, "pretrain_epochs": 2}).stage_epochs()["adversarial"] == 0
    assert configure("small", {"epochs": 100}).stage_epochs()["adversarial"] == 10


def test_yaml_floats_without_a_point(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("prior: {learning_rate: 2e-4, betas: [5e-1, 0.9]}\nloss_weights: {kl: 1E-3}\n")
    chosen = configure("small", settings.read_yaml(path))
    assert (chosen.prior.learning_rate, chosen.prior.betas, chosen.weight("kl")) == (2e-4, (0.5, 0.9), 1e-3)
    path.write_text("epochs: 1e2\n")
    with pytest.raises(SettingsError, match="epochs"):
        configure("small", settings.read_yaml(path))


def test_preset_by_device() -> None:
    assert preset_for("cuda", "original") == "original"
    assert preset_for("cpu") == "small"
    assert preset_for("cuda:1") == "medium"

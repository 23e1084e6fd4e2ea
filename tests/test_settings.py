from __future__ import annotations

from pathlib import Path

import pytest

from musigan import settings
from musigan.errors import SettingsError
from musigan.training.configuration import PRESETS, TrainingSettings, configure, preset_for


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
        ({"loss_weights": {"melody": 1}}, "melody"),
        ({"loss_weights": [1]}, "loss_weights"),
        ({"model": "musegun"}, "musegun"),
        ({"network": {"transformer_heads": 7}}, "transformer_heads"),
        ({"augment": {"gain": 1.5}}, "augment.gain"),
    ],
)
def test_wrong_setting_is_named(given: dict, named: str) -> None:
    with pytest.raises(SettingsError, match=named.replace(".", r"\.")) as caught:
        configure("small", given)
    assert "\n" not in str(caught.value)


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


def test_preset_by_device() -> None:
    assert preset_for("cpu") == "small"
    assert preset_for("cuda:1") == "medium"

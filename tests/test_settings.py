from __future__ import annotations

import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from musigan import settings
from musigan.checkpoints.settings import PRESETS, AdversarialSettings, TrainingSettings, configure, preset_for
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
    assert chosen.network["row_latents"] == configure("small").network["row_latents"]
    assert chosen.network["composer_width"] == TrainingSettings().network["composer_width"]


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
        ({"network": {"composer_heads": 7}}, "composer_heads"),
        ({"model": "musigan", "network": {"transformer_heads": 7}}, "transformer_heads"),
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
        configure("musigan" if given.get("model") == "musigan" else "small", given)
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
    assert configure("small", {"epochs": 3}).stage_epochs()["adversarial"] == 1
    assert configure("mlp", {"epochs": 1}).stage_epochs()["adversarial"] == 1
    assert configure("small", {"epochs": 2, "pretrain_epochs": 2}).stage_epochs()["adversarial"] == 0
    assert configure("small", {"epochs": 100}).stage_epochs()["adversarial"] == 1
    assert configure("musigan", {"epochs": 100}).stage_epochs()["adversarial"] == 10


def test_with_fewer_epochs_than_stages_the_first_have_one_each() -> None:
    stages = ("codec", "composer", "critic", "adversarial")
    for epochs, expected in ((1, (1, 0, 0, 0)), (2, (1, 1, 0, 0)), (3, (1, 1, 0, 1))):
        assert configure("small", {"epochs": epochs}).stage_epochs() == dict(zip(stages, expected, strict=True))
    assert configure("small", {"epochs": 1, "pretrain_epochs": 0}).stage_epochs()["adversarial"] == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"batch_size": 10**9}, "--batch-size 1000000000: expected a whole number, at least 1 and at most 65536"),
        ({"batch_size": 10**4000}, "--batch-size 1000.*000: expected a whole number"),
        ({"workers": 10**9}, "setting 'workers' is 1000000000; expected at most 256"),
        ({"network": {"width": 10**9}}, "setting 'network.width' is 1000000000; expected at most 8192"),
        ({"network": {"composer_layers": 10**9}}, "setting 'network.composer_layers' is 1000000000; expected at most"),
        (
            {"prior": {"learning_rate": 1e308}},
            r"setting 'prior.learning_rate' is 1e\+308; expected a number",
        ),
        ({"loss_weights": {"kl": ["x" * 10**6] * 10**3}}, "setting 'loss_weights.kl' is .{,2000}; expected a number$"),
    ],
)
def test_what_no_memory_could_hold_is_refused_at_once(given: dict, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        configure("small", given)


def nested(first: str, alias: str) -> str:
    """YAML of 9^10 values in 600 bytes: each line stands for the one before, nine times."""
    lines = [f"{name}: &{name} {alias.format(','.join([f'*{former}'] * 9))}" for former, name in pairwise("abcdefghij")]
    return "\n".join([f"a: &a {first}", *lines])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (nested("[x]", "[{}]"), "aliases stand for more than"),
        (nested("{x: 1}", "{{<<: [{}]}}"), "aliases stand for more than"),
        ("epochs: " + "9" * 10_000, "not YAML"),
        ("a: &a [*a]", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("a: !!timestamp x", "not YAML"),
        ("a: !!int ''", "not YAML"),
        ("\0", "not YAML"),
        ("#" * 1_000_001, "more than 1000000 characters"),
    ],
)
def test_yaml_that_is_a_trap_is_refused_at_once(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "trap.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"trap.yaml: .*{reason}") as caught:
        settings.read_yaml(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_device_without_an_end_is_no_settings() -> None:
    with pytest.raises(SettingsError, match="more than 1000000 characters"):
        settings.read_yaml("/dev/zero")


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("variational: &rates {learning_rate: 2e-4}\nprior: {<<: *rates, draws: 2}\n")
    chosen = configure("small", settings.read_yaml(path))
    assert (chosen.variational.learning_rate, chosen.prior.learning_rate, chosen.prior.draws) == (2e-4, 2e-4, 2)


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
    assert preset_for("cuda:1", from_nothing=False) == "small"  # the base has its sizes


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"prior": {"drawz": 3}},
            "unknown setting 'prior.drawz'; known here: learning_rate, betas, draws, beats, past_noise, past_unknown; "
            "did you mean 'draws'?",
        ),
        (
            {"prior": {"zzz": 3}},
            "unknown setting 'prior.zzz'; known here: learning_rate, betas, draws, beats, past_noise, past_unknown",
        ),
        ({"epochs": 0}, "--epochs 0: expected a whole number, at least 1"),
        ({"pretrain_epochs": -1}, "--pretrain-epochs -1: expected null or a whole number, at least 0"),
        ({"workers": "two"}, "setting 'workers' is 'two'; expected a whole number, at least 1"),
        (
            {"workers": datetime.date(2020, 1, 2)},
            "setting 'workers' is '2020-01-02'; expected a whole number, at least 1",
        ),
        ({"compile": 1}, "setting 'compile' is 1; expected true or false"),
        ({"augment": 3}, "setting 'augment' is 3; expected names with values"),
        ({"augment": {"gain": 1.0}}, "setting 'augment.gain' is 1.0; expected a number, at least 0 and less than 1"),
        ({"precision": "half"}, "setting 'precision' is 'half'; expected one of auto, float32, bfloat16"),
        ({"loss_weights": {"kl": "x"}}, "setting 'loss_weights.kl' is 'x'; expected a number"),
        (
            {"prior": {"betas": [0.9]}},
            "setting 'prior.betas' is [0.9]; expected a list of 2, each a number, at least 0 and less than 1",
        ),
        (
            {"prior": {"betas": [0.9, 1.5]}},
            "setting 'prior.betas' holds 1.5; expected a list of 2, each a number, at least 0 and less than 1",
        ),
        (
            {"model": "cyclegan", "preset": "cyclegan", "network": {"dilations": []}},
            "setting 'network.dilations' is []; expected a list, each a whole number, at least 1",
        ),
        (
            {"model": "musigan", "preset": "musigan", "network": {"time_dim": 5}},
            "setting 'network.time_dim' is 5; expected a whole number, at least 2 and a multiple of 2",
        ),
    ],
)
def test_a_wrong_setting_is_answered_in_one_line(given: dict, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(given.get("preset", "small"), given)
    assert str(caught.value) == sentence


def test_a_misspelt_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown loss 'melodi' in loss_weights; known: .*; did you mean 'melody'\?$"
    ):
        configure("small", {"loss_weights": {"melodi": 1.0}})


def test_a_section_that_is_built_already_is_taken() -> None:
    section = AdversarialSettings(critic_steps=3, freeze_critic=(0.25, 0.5))
    assert settings.build(TrainingSettings, {"adversarial": section}).adversarial == section


def test_former_names_still_work(tmp_path: Path) -> None:
    """In files, under later assignments and in checkpoints' plain values; both names at once are refused."""
    path = tmp_path / "old.yaml"
    path.write_text("network: {rounds: 5}\nadversarial: {learning_rounds: 3, critic_steps: 2}\n")
    chosen = configure("small", settings.read_yaml(path))
    assert (chosen.network["flow_steps"], chosen.adversarial.learning_flow_steps) == (5, 3)
    given = settings.read_given(str(path), ["network.rounds=7", "adversarial.learning_flow_steps=4"])
    assert given == {"network": {"flow_steps": 7}, "adversarial": {"learning_flow_steps": 4, "critic_steps": 2}}
    with pytest.raises(SettingsError, match=r"'network\.rounds' is another name of 'flow_steps'"):
        configure("small", {"network": {"rounds": 5, "flow_steps": 6}})


def test_assignments_go_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("epochs: 30\nprior: {draws: 2, learning_rate: 2e-4}\nloss_weights: {kl: 0.5}\n")
    given = settings.read_given(
        str(path),
        ["prior.draws=3", "prior.betas=[5e-1, 0.75]", "compile=true", "critic_epochs=", "loss_weights={melody: 1e-1}"],
    )
    assert given == {
        "epochs": 30,
        "prior": {"draws": 3, "learning_rate": 2e-4, "betas": [0.5, 0.75]},
        "loss_weights": {"kl": 0.5, "melody": 0.1},
        "compile": True,
        "critic_epochs": None,
    }
    chosen = configure("small", given, {"epochs": 7})
    assert (chosen.epochs, chosen.prior.draws, chosen.prior.betas, chosen.compile) == (7, 3, (0.5, 0.75), True)
    assert settings.read_given("", ["seed=1", "seed=2"]) == {"seed": 2}
    assert settings.read_given("", ["model=a=b"]) == {"model": "a=b"}


@pytest.mark.parametrize("assignment", ["prior.draws", "=3", "prior.=3", ".draws=3", "seed=[1", "seed={a: b: c}"])
def test_what_is_no_assignment_is_refused(assignment: str) -> None:
    with pytest.raises(SettingsError, match=r"^--set .*(expected NAME=VALUE|not YAML)"):
        settings.read_given("", [assignment])

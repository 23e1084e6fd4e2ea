from __future__ import annotations

from musigan import models
from musigan.models.stages import ADVERSARIAL_STAGES, STAGES
from musigan.training.objectives import OBJECTIVES


def test_every_stage_has_an_objective_and_a_family() -> None:
    assert set(STAGES) == set(OBJECTIVES)
    assert {stage for family in models.FAMILIES for stage in models.family(family).stages} == set(STAGES)


def test_records_are_called_by_their_names() -> None:
    assert [stage.name for stage in STAGES.values()] == list(STAGES)
    assert all(stage.title and stage.cost > 0 for stage in STAGES.values())


def test_epochs_are_shared_by_stages_before_the_adversarial_one() -> None:
    assert ADVERSARIAL_STAGES == ("adversarial", "translation")
    assert {name for name, stage in STAGES.items() if not stage.share} == {"critic", *ADVERSARIAL_STAGES}

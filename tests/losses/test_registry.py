from __future__ import annotations

import pytest

from musigan import models
from musigan.losses.adversarial import ADVERSARIES
from musigan.losses.musical import HEAD_LOSSES, MUSICAL
from musigan.losses.registry import DEFAULT_LOSSES, FIGURES, LOSSES, meaning


def test_every_loss_of_a_family_is_recorded() -> None:
    """One without a default weight has a family that gives it one."""
    of_families = {name for family in models.FAMILIES for name in models.family(family).losses}
    assert of_families <= set(LOSSES)
    assert set(LOSSES) - set(DEFAULT_LOSSES) <= of_families


def test_musical_losses_and_heads_are_recorded() -> None:
    assert {*MUSICAL, *(f"critic_{name}" for name in HEAD_LOSSES)} <= set(DEFAULT_LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_record_is_complete(name: str) -> None:
    loss = LOSSES[name]
    assert loss.name == name
    assert loss.formula
    assert loss.meaning.endswith(".")


def test_meanings_are_of_losses_and_figures() -> None:
    assert "pitch classes" in meaning("critic_chroma")
    assert "latents" in meaning("accuracy_latent")
    assert meaning("critic_unheard_of") == ""
    assert not set(FIGURES) & set(LOSSES)


def test_formulas_name_an_objective_that_exists() -> None:
    named = {LOSSES[name].formula.split("; ")[1].split(":")[0] for name in ("adversarial_roll", "critic_latent")}
    assert named <= set(ADVERSARIES)

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from musigan.models.bars.composer import Composer
from musigan.models.bars.generator import build
from musigan.models.bars.kitrow import NEVER, KitRow
from musigan.models.bars.settings import BarSettings
from musigan.models.protocol import Decoded
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.kit import kit_rows
from musigan.rolls.scenes import CLASSES, METAL, SCENE, SCENES_WITHOUT_DRUMS, SKINS
from musigan.rolls.shape import RollShape

KIT = kit_rows(KeyRange())
SMALL = BarSettings(
    width=8, deep_width=8, composer_width=16, composer_layers=1, composer_heads=2, head_width=8, head_layers=1,
    flow_steps=2, critic_width=8, latent_critic_width=8, chroma_critic_width=8,
)  # fmt: skip


def rolls(channels: int, keys: int = 88) -> torch.Tensor:
    rolls = torch.rand(2, channels, keys, 48, generator=torch.Generator().manual_seed(1))
    drums = torch.zeros(2, keys, 48)
    drums[:, list(KIT)] = rolls[:, -1, list(KIT)]
    rolls[:, -1] = drums
    return rolls


@pytest.mark.parametrize(("channels", "keys"), [(3, 88), (2, 88), (3, 45)])
def test_drums_come_back_from_their_row(channels: int, keys: int) -> None:
    row, roll = KitRow(RollShape(channels, keys, 48, True, KIT), 8), rolls(channels, keys)
    folded = row.fold(roll)
    assert folded.shape == (2, channels - 1, 96 if keys == 88 else 56, 48)
    assert_close(row.unfold(folded), roll)
    decoded = row.unfolded(Decoded(folded, folded, None, folded))
    assert_close(decoded.roll, roll)
    assert decoded.loudness is None
    is_kit = torch.zeros(keys, dtype=torch.bool)
    is_kit[list(KIT)] = True
    assert (decoded.logits[:, -1, ~is_kit] == NEVER).all()
    assert_close(decoded.onsets[:, -1, is_kit], roll[:, -1, is_kit])


def test_without_a_kit_rolls_stay_as_they_are() -> None:
    for shape in (RollShape(2, 88, 48), RollShape(3, 20, 48, True, ())):
        row, roll = KitRow(shape, 8), torch.rand(1, shape.channels, shape.keys, 48)
        assert row.folded is shape
        assert row.fold(roll) is row.unfold(roll) is roll


def test_networks_of_bars_take_drums_as_a_row_more() -> None:
    with_drums, without = (
        build(SMALL, RollShape(3, 88, 48, True, KIT)).eval(), build(SMALL, RollShape(2, 88, 48)).eval()
    )  # fmt: skip
    generator = with_drums["generator"]
    assert (generator.codec.rows, without["generator"].codec.rows) == (12, 11)
    latents = generator.encode(rolls(3)).mean
    decoded = generator.decode(latents, 48)
    assert decoded.roll.shape == decoded.logits.shape == (2, 3, 88, 48)
    judged = with_drums["critic"](decoded.roll, latents, per_sample=True)
    assert set(judged.logits) == {"roll", "chroma", "latent"}
    louder = decoded.roll.clone()
    louder[:, -1, KIT[0]] = 1 - louder[:, -1, KIT[0]]
    again = with_drums["critic"](louder, latents, per_sample=True)
    assert (again.logits["roll"] != judged.logits["roll"]).any()
    assert_close(again.logits["chroma"], judged.logits["chroma"])  # drums have no pitch


def test_composers_hear_of_drums_in_their_row_alone() -> None:
    composer = Composer(SMALL, 12, True)
    assert composer.classes[-1, :5].tolist() == [SKINS, SKINS, SKINS, METAL, METAL]
    assert composer.classes[:-1].max() < CLASSES
    assert Composer(SMALL, 11).classes.max() < CLASSES


def test_composers_that_were_told_of_no_drums_are_read() -> None:
    composer, other = Composer(SMALL, 11), Composer(SMALL, 11)
    state = composer.state_dict()
    state["scene_in.weight"] = state["scene_in.weight"][:, :SCENES_WITHOUT_DRUMS]
    other.load_state_dict(state)
    assert_close(other.scene_in.weight[:, :SCENES_WITHOUT_DRUMS], composer.scene_in.weight[:, :SCENES_WITHOUT_DRUMS])
    assert other.scene_in.weight.shape[1] == SCENE
    assert not other.scene_in.weight[:, SCENES_WITHOUT_DRUMS:].any()

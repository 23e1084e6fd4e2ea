"""Every model family on recordings with drums: a step of each stage, a piece, and what leaves drums out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models
from musigan.checkpoints.checkpoint import build_networks, load
from musigan.datasets.batches import stack_examples
from musigan.datasets.domains import Domains
from musigan.datasets.rolls import AugmentSettings, RollDataset
from musigan.errors import StoreError
from musigan.models.augmentation import Augmentation
from musigan.models.bars.settings import BarSettings
from musigan.rolls.scenes import SCENE, SCENES_WITHOUT_DRUMS
from musigan.sampling.sampler import Sampler
from musigan.store import open_reader
from musigan.training import loop
from musigan.training.objectives import OBJECTIVES, StepContext
from musigan.training.songlatents import SongLatents
from tests import tiny
from tests.musicstores import DRUMMED_KEYS, write_recordings

DRAWING = [name for name in models.FAMILIES if name != "cyclegan"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """played, silent, sides: the same recordings with drums, with silent drums, and without."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("drummed")
    for name, drums in (("played", "played"), ("silent", "silent"), ("sides", None)):
        write_recordings(folder / name, drums, songs=4)
    return folder


@pytest.mark.parametrize("name", DRAWING)
def test_a_family_learns_and_draws_recordings_with_drums(name: str, folder: Path) -> None:
    settings = tiny.settings(name)
    data = tiny.dataset(folder / "played", settings)
    assert (data.shape.channels, data.shape.pitched, data.shape.has_drums) == (3, 2, True)
    networks, family = models.build(name, settings.network, data.shape), models.family(name)
    for stage in family.stages:
        objective = OBJECTIVES[stage](networks, settings, data.shape.pitched)
        objective.begin(data)
        examples = objective.examples(data)
        batch = stack_examples([examples.example(0, number) for number in range(2)])
        for side in objective.sides(0):
            context = StepContext(0, 0.5, torch.Generator().manual_seed(1), batch.conditions)
            terms = objective.losses(side, batch.roll, context)
            assert all(torch.isfinite(loss) for loss in terms.losses.values())
            sum(terms.losses.values()).backward()  # type: ignore[union-attr]
    sampler = Sampler(networks, data.shape, data.record(), settings.compression, family)
    piece = sampler.piece(1, 1, 60, scored=sampler.critic is not None)
    assert piece.roll.shape == (3, DRUMMED_KEYS, 60)


def test_musical_losses_and_pitch_classes_do_not_hear_drums(folder: Path) -> None:
    weights = {"melody": 1.0, "density": 1.0, "song_divergence": 1.0}
    settings = tiny.settings(
        "musigan", loss_weights=weights, network={**tiny.NETWORKS["musigan"], "critic_heads": True}
    )
    data = tiny.dataset(folder / "played", settings)
    networks = models.build("musigan", settings.network, data.shape)
    objective: Any = OBJECTIVES["adversarial"](networks, settings, data.shape.pitched)
    batch = stack_examples([data.example(0, number) for number in range(3)])
    fake, louder = batch.roll.roll(1, 0), batch.roll.clone()
    louder[:, -1] = 1.0

    def losses(real: torch.Tensor) -> dict[str, torch.Tensor]:
        context = StepContext(0, 0.5, torch.Generator().manual_seed(1), batch.conditions)
        found = objective._generator_losses({"roll": real}, {"roll": fake}, context).losses
        return {name: found[name] for name in weights}

    torch.testing.assert_close(losses(batch.roll), losses(louder))
    critic: Any = networks["critic"].eval()
    chroma = critic(batch.roll, None, per_sample=True).logits["chroma"]
    torch.testing.assert_close(critic(louder, None, per_sample=True).logits["chroma"], chroma)


def test_outlines_and_scenes_are_those_of_the_sides(folder: Path) -> None:
    drummed, sides = (tiny.dataset(folder / name, tiny.settings("bars")) for name in ("played", "sides"))
    for one, other in zip(drummed.outlines, sides.outlines, strict=True):  # type: ignore[attr-defined]
        assert one.scene.shape[1] == SCENE
        np.testing.assert_array_equal(one.scene[:, :SCENES_WITHOUT_DRUMS], other.scene[:, :SCENES_WITHOUT_DRUMS])
        np.testing.assert_array_equal(one.likeness, other.likeness)


def test_songs_are_encoded_in_other_keys_with_the_same_drums(folder: Path) -> None:
    settings = tiny.settings("bars", augment={"transpose_keys": 2})
    data: Any = tiny.dataset(folder / "played", settings)
    seen = []

    class Encoder:
        """What SongLatents needs of a generator; it keeps the rolls that it sees."""

        latent_mean, codec = torch.zeros(3), type("Codec", (), {"latent_dim": 3})
        settings = BarSettings()

        def encode(self, roll: torch.Tensor) -> Any:
            seen.append(roll[0].numpy())
            return type("Posterior", (), {"mean": torch.zeros(1, roll.shape[-1] // 6, 3)})

    data.parts = data.parts[:1]
    data.__dict__["outlines"] = data.outlines[:1]
    latents = SongLatents(data, Encoder())  # type: ignore[arg-type]
    assert latents.keys == (-2, -1, 0, 1, 2)
    for key in range(5):
        latents.of_part(key, 0)
    original = seen[2]
    for keys, roll in zip(latents.keys, seen, strict=True):
        np.testing.assert_array_equal(roll[2], original[2])
        moved = np.roll(original[:2], keys, axis=1)
        inner = slice(2, -2)
        np.testing.assert_array_equal(roll[:2, inner], moved[:, inner])


def test_training_rolls_keep_drums_and_swap_sides(folder: Path) -> None:
    augment = AugmentSettings(crop=False, transpose_keys=2, swap_channels=True)
    with open_reader(str(folder / "played")) as reader:
        plain, changed = RollDataset(reader, "train"), RollDataset(reader, "train", augment, seed=3)
        is_swapped = set()
        for number in range(len(plain)):
            before, after = plain.roll(0, number), changed.roll(0, number)
            np.testing.assert_array_equal(after[2], before[2])
            is_swapped.add(bool(after[0].sum() < after[1].sum()))  # the right side is softer
    assert is_swapped == {False, True}
    made = Augmentation(("left", "right", "drums"))
    made.probability.fill_(0.8)
    roll = torch.zeros(64, 3, DRUMMED_KEYS, 40)
    roll[:, 0, 12, 10:30], roll[:, 1, 12, 10:30], roll[:, 2, 5, 10:30] = 0.8, 0.4, 1.0
    found = made(roll, torch.Generator().manual_seed(2))
    assert set(found[:, 2].sum(-1).argmax(-1).tolist()) == {5}
    assert set(found[:, 0].sum(-1).argmax(-1).tolist()) == set(range(9, 16))
    assert len({bool(one[0].sum() > one[1].sum()) for one in found}) == 2


def test_two_kinds_are_both_with_drums_or_both_without(folder: Path, tmp_path: Path) -> None:
    with open_reader(str(folder / "played")) as played, open_reader(str(folder / "silent")) as silent:
        kinds = Domains((played, silent), ("a", "b"))
        settings = tiny.settings("cyclegan")
        networks = models.build("cyclegan", settings.network, kinds.shape)
        objective = OBJECTIVES["translation"](networks, settings, kinds.shape.pitched)
        batch = stack_examples([kinds.example(0, number) for number in range(2)])
        for side in objective.sides(0):
            context = StepContext(0, 0.5, torch.Generator().manual_seed(1), batch.conditions)
            sum(objective.losses(side, batch.roll, context).losses.values()).backward()  # type: ignore[union-attr]
        with open_reader(str(folder / "sides")) as sides, pytest.raises(StoreError, match="both with drums"):
            Domains((played, sides), ("a", "b"))


def test_a_checkpoint_knows_its_drums(folder: Path, tmp_path: Path) -> None:
    run, data = tiny.start(folder / "played", tiny.settings("mlp", epochs=1, pretrain_epochs=1, critic_epochs=0))
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), steps_limit=1)
    saved = load(tmp_path / "ckpt.pt")
    assert saved.shape == data.shape
    assert saved.store.header.tracks == ("left", "right", "drums")
    build_networks(saved)

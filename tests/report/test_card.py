"""The model card: what it says of a run, and that it says nothing that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from musigan.checkpoints import checkpoint
from musigan.checkpoints.checkpoint import Checkpoint, Position
from musigan.report.card import card
from musigan.training import loop
from tests import tiny

EVALUATION: dict[str, Any] = {
    "verdict": "learning: 3 times as far",
    "metrics": {
        "pulse": {"samples": 0.3512345, "held-out": 0.48, "floor": None},
        "copies": {"samples": float("nan"), "floor": 0.0},
        "precision": {"samples": 0.0, "floor": 0.75},
    },
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run of 1,234.5 s, stopped in its third of four epochs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("card")
    run, data = tiny.start(tiny.write_keys(folder / "keys"), tiny.settings())
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent(), steps_limit=5)
    saved = checkpoint.load(folder / "ckpt.pt")
    saved.history[-1]["seconds"] = 1234.5
    return saved


def test_it_says_what_was_trained_and_on_what(saved: Checkpoint) -> None:
    saved.history[0]["evaluation"] = EVALUATION
    text = card(saved, "ours")
    assert text.startswith("# ours\n")
    lines = text.splitlines()
    assert "- model: musigan, preset musigan" in lines
    (stages,) = (line for line in lines if line.startswith("- stages: "))
    assert stages == "- stages: " + ", ".join(f"{n} {e}" for n, e in saved.trained) + " (epochs trained)"
    assert "- time spent: 20 min 34 s" in lines
    assert "- songs in its store: 3" in lines
    assert "- music: about 6 s" in lines  # 3 songs of 2 pairs of 2 chunks of .48 s
    assert "- keys: D3 to C4" in lines
    assert "After epoch 1, samples against songs held back: learning: 3 times as far." in text
    assert "| pulse | 0.351 |  | 0.48 |" in lines
    assert "| precision | 0 | 0.75 |  |" in lines
    assert "copies" not in text  # not measured
    assert "\N{NO-BREAK SPACE}" not in text
    saved.history[0].pop("evaluation")
    assert "It was not evaluated" in card(saved, "ours")


def test_styles_and_tempi_of_what_knows_them(saved: Checkpoint) -> None:
    outlines = tuple(
        replace(tiny.outline(8, number), style=f"style {min(number, 13)}", is_free=number == 15) for number in range(16)
    )
    record = replace(saved.store, outlines=outlines)
    text = card(replace(saved, store=record), "ours")
    assert "- styles: style 13, style 0, " in text
    assert " and 2 more\n" in text
    assert "- tempo: 90 to 370 beats a minute" in text


def test_two_kinds_of_music_are_counted_together(saved: Checkpoint) -> None:
    data = {"domains": ["jazz", "blues"], "jazz": {"songs": 4, "chunks": 10}, "blues": {"songs": 3, "chunks": 15}}
    text = card(replace(saved, data=data, store=replace(saved.store, domains=("jazz", "blues"))), "ours")
    assert "- songs in its store: 7\n" in text
    assert "- kinds: jazz and blues\n" in text
    assert "`transfer FILE --to blues song.zarr | keys-to-mp3 out.mp3`" in text


def test_it_keeps_the_words_of_others_and_makes_up_nothing(saved: Checkpoint) -> None:
    assert card(replace(saved, card="# Theirs"), "ours") == "# Theirs"
    bare = replace(checkpoint.slimmed(saved), plan=[], position=Position())
    text = card(bare, "ours")
    assert "songs in its store" not in text
    assert "time spent" not in text
    assert "- steps:" not in text
    assert "untrained" in text

"""shell/base.sh makes weights that draw, from a small folder of MIDI files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musigan.checkpoints import checkpoint
from musigan.sampling.sampler import Sampler
from tests import midifiles, tiny

CHECKOUT = Path(__file__).parent.parent
VENV = Path(sys.prefix)
SIZES = {**tiny.NETWORKS["bars"], "patch_keys": 4, "guidance": 0.0, "flow_steps": 1}

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not list(VENV.glob("made-from-*")), reason="needs the environment of shell/test.sh"
)


def test_a_small_folder_of_midi_becomes_a_base(tmp_path: Path) -> None:
    folder = midifiles.folder(tmp_path / "midi", {"folk/one.mid": midifiles.song(0, 80)})
    (folder / "folk" / "broken.mid").write_bytes(b"MThd")
    options = " ".join(f"--set network.{name}={value}" for name, value in SIZES.items())
    environment = {
        **os.environ, "MUSIGAN_VENV": str(VENV), "WORK": str(tmp_path / "work"), "EPOCHS": "3", "TUNES": "0",
        "JOBS": "1", "OPTIONS": options, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    made = subprocess.run(
        ["bash", str(CHECKOUT / "shell" / "base.sh"), str(folder)], env=environment, cwd=tmp_path,
        stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "broken.mid" in made.stderr
    saved = checkpoint.load(tmp_path / "work" / "base.safetensors")
    assert saved.card.startswith("# ")
    assert (saved.shape.channels, saved.shape.keys, saved.shape.has_drums) == (3, 88, True)
    assert saved.store.styles == ("folk",)
    assert [len(outline) >= 64 for outline in saved.store.outlines] == [True]
    piece = Sampler.from_checkpoint(saved).piece(1, 1, 100)
    assert piece.roll.shape == (3, 88, 100)

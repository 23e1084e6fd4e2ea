"""The run folder beside a checkpoint, named after it: figures by epoch, pictures and sound of samples.

ckpt.run/metrics.jsonl       one line an epoch: stage, epoch, losses by name
ckpt.run/events.out...       the same for TensorBoard, where it is installed, with pictures and sound
ckpt.run/best.pt             the checkpoint whose samples came closest to held-out songs
ckpt.run/epoch-000020.pt     the checkpoint after 20 epochs in all, one of the last few (--keep-last)
ckpt.run/samples-000020.png  rolls drawn after 20 epochs in all; -000020.mp3 is their sound;
                             of many some stay, from the first to the last (keep_samples)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from musigan import models
from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints.checkpoint import Checkpoint
from musigan.errors import CheckpointError, MusiganError
from musigan.files.atomic import replace_whole, write_all, write_error
from musigan.pictures import plots
from musigan.rolls.loudness import compress
from musigan.sampling.sampler import Sampler
from musigan.store import Reader, StoreHeader
from musigan.store.splits import names_held_by
from musigan.training.logs import Log, TensorBoardLog

if TYPE_CHECKING:
    from musigan.training.judging import TrainingJudge
    from musigan.training.runs import Run

PIECES = 4
SECONDS = 10.0


class Journal:
    """Writer of the run folder of the checkpoint `target`."""

    _judge: TrainingJudge | None = None
    _too_little = False  # held-out music to evaluate with: reported once, not at every evaluation

    def __init__(
        self, target: Path, history: list[dict[str, Any]], note: Callable[[str], None] = lambda text: None
    ) -> None:
        """Begin or go on with the folder; `note` is told where there are no TensorBoard events."""
        self.logs: list[Log] = []
        self._note = note
        self.folder = target.with_name(target.name.removesuffix(".pt") + ".run")
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, MusiganError, error) from error
        self._metrics = self.folder / "metrics.jsonl"
        with replace_whole(self._metrics, MusiganError) as aside:
            # Start from the checkpoint's history: later lines belong to steps that will be run again.
            lines = "".join(json.dumps(entry) + "\n" for entry in history)
            write_all(aside, self._metrics, lines.encode())
        self._numbered = Numbered(self.folder)
        try:
            self.logs.append(TensorBoardLog(self.folder, history[-1]["step"] + 1 if history else 0))
        except ImportError:
            install_hint = 'for TensorBoard\'s curves, too: pip install "musigan[tensorboard]"'
            note(f"figures of each epoch go to {self._metrics}; {install_hint}")

    def record(self, entry: dict[str, Any]) -> None:
        """Append one epoch's figures to metrics.jsonl and show them in the logs.

        Raises MusiganError where they cannot be written.
        """
        size = 0
        try:
            size = self._metrics.stat().st_size
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._metrics, size)  # without the half of a line
            raise write_error(self._metrics, MusiganError, error) from error
        numbers = {f"{entry['stage']}/{name}": value for name, value in entry.items() if isinstance(value, float)}
        for name, rows in entry.get("evaluation", {}).get("metrics", {}).items():
            if rows["samples"] is not None:
                numbers[f"evaluation/{name}"] = rows["samples"]
        for log in self.logs:
            with _failures_noted("figures for a log", self._note):
                log.numbers(numbers, entry["step"])

    def keep(self, run: Run, epoch: int, note: Callable[[str], None]) -> None:
        """Save the run as a numbered checkpoint and remove all but the last few; a failure is only noted."""
        with _failures_noted(f"numbered checkpoint of epoch {epoch}", note):
            self._numbered.keep(run.snapshot(), epoch, run.settings.keep_last)

    def samples(self, run: Run, epoch: int, note: Callable[[str], None]) -> None:
        """Save picture and sound of a few pieces of the averaged generator; a failure is only noted."""
        name = f"samples-{epoch:06d}"
        with _failures_noted(f"samples of epoch {epoch}", note), _sampler(run) as sampler:
            rolls = [piece.roll for piece in sampler.pieces(PIECES, sampler.frames(SECONDS), run.settings.seed)]
            frame_seconds, low_key = run.store.header.frame_seconds, run.store.header.low_key
            compressed = [compress(roll, run.settings.compression) for roll in rolls]
            picture_path, scale, tracks = self.folder / f"{name}.png", run.settings.compression, run.store.header.tracks
            plots.plot_rolls(compressed, picture_path, frame_seconds, low_key, scale=scale, tracks=tracks)
            sound_path = picture_path.with_suffix(".mp3")
            write_sound(rolls, run.store.header, sound_path)
            thin_out(self.folder, epoch, run.settings.keep_samples)
            for log in self.logs:  # the files are there, whatever becomes of them in a log
                with _failures_noted("samples for a log", self._note):
                    log.picture(picture_path, run.position.total_steps)
                    log.sound(sound_path, run.position.total_steps)

    def evaluation(self, run: Run, reader: Reader, epoch: int, note: Callable[[str], None]) -> dict[str, Any] | None:
        """Compare samples of the averaged generator with the held-out songs of `reader`; None where that failed."""
        from musigan.training.judging import COMPOSED_ROLLS, ROLLS, TrainingJudge

        evaluation: dict[str, Any] | None = None
        if self._too_little:
            return None
        with _failures_noted(f"evaluation of epoch {epoch}", note), _sampler(run) as sampler:
            try:
                rolls = COMPOSED_ROLLS if sampler.family.on_beats else ROLLS
                self._judge = self._judge or TrainingJudge(reader, rolls, names_held_by(run.data, reader))
            except MusiganError:
                self._too_little = True
                raise
            evaluation = self._judge.evaluate(sampler, run.history)
        return evaluation

    def close(self) -> None:
        """Finish the logs."""
        for log in self.logs:
            log.close()


@contextmanager
def _sampler(run: Run) -> Iterator[Sampler]:
    """Yield a sampler of the averaged generator; networks in training mode return to it afterwards."""
    networks = nn.ModuleDict({**run.networks, "generator": run.average.network})
    was_training = {name: network.training for name, network in networks.items()}
    try:
        family = models.family(run.settings.model)
        yield Sampler(networks, run.shape, run.store, run.settings.compression, family, run.device)
    finally:
        for name, network in networks.items():
            network.train(was_training[name])


@contextmanager
def _failures_noted(what: str, note: Callable[[str], None]) -> Iterator[None]:
    """Note any failure inside instead of raising it: an extra must not end hours of training."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, MusiganError) else f"{type(error).__name__}: "
        note(f"{what} left out: {kind}{' '.join(str(error).split())}")


def write_sound(rolls: list[np.ndarray], header: StoreHeader, path: Path) -> None:
    """Write rolls (C, K, T) one after another as an MP3, as loud as `keys-to-mp3` makes them.

    Their common peak is raised to CEILING_DB first, so that a roll that hardly sounds beside others stays quiet.
    """
    from musigan.sound import lufs
    from musigan.sound.encoding import encode
    from musigan.sound.mastering import CEILING_DB
    from musigan.synthesis.rendering import SoundSettings

    sound = SoundSettings.of_store(header, crossfade=0.02, loudness=lufs.USUAL)
    signals = [sound.synthesise_roll(roll) for roll in rolls]  # each (C, S)
    peak = max((float(np.abs(signal).max(initial=0.0)) for signal in signals), default=0.0)
    gain = np.float32(10 ** (CEILING_DB / 20) / max(peak, 1e-6))
    encode(sound.master_signals(signal * gain for signal in signals), sound.sample_rate, path, "mp3")


SAMPLE_NAME = re.compile(r"samples-(\d{6,})\.png")


def thin_out(folder: Path, epoch: int, most: int) -> None:
    """Delete samples of epochs up to `epoch` where there are more than `most`, so that those left lie evenly; 0: none.

    The first and the last stay. Later ones are those of another run.
    """
    matches = [match for path in folder.iterdir() if (match := SAMPLE_NAME.fullmatch(path.name))]
    names = {number: match[0] for match in matches if (number := int(match[1])) <= epoch}
    epochs = sorted(names)
    while most and len(epochs) > max(most, 2):
        spans = [after - before for before, after in zip(epochs, epochs[2:], strict=False)]
        number = epochs.pop(1 + spans.index(min(spans)))
        for suffix in (".png", ".mp3"):
            (folder / names[number]).with_suffix(suffix).unlink(missing_ok=True)


NAME = re.compile(r"epoch-(\d{6,})\.pt")


class Numbered:
    """Writer of `epoch-000020.pt` and so on into `folder`, which removes the run's own older ones.

    It removes only files that this run wrote, in this sitting or in an earlier one. Those of an earlier sitting are
    recognised by the history in them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: list[Path] | None = None  # oldest first; None until the folder was searched

    def keep(self, checkpoint: Checkpoint, epoch: int, last: int) -> None:
        """Save `checkpoint` as that of `epoch`, then remove all but the `last` ones that the run has written."""
        if self._written is None:
            self._written = self._of_earlier_sittings(checkpoint.history[:-1])
        path = self.folder / f"epoch-{epoch:06d}.pt"
        checkpoints.save(path, checkpoint)
        self._written = [*(each for each in self._written if each != path), path]
        for old in self._written[:-last]:
            old.unlink(missing_ok=True)
        self._written = self._written[-last:]

    def _of_earlier_sittings(self, history: Sequence[Mapping[str, Any]]) -> list[Path]:
        """Return the numbered checkpoints in the folder whose history is a beginning of `history`, oldest first."""
        numbered = [(int(match[1]), path) for path in self.folder.iterdir() if (match := NAME.fullmatch(path.name))]
        return [path for _, path in sorted(numbered) if history and _holds_beginning(path, history)]


def _holds_beginning(path: Path, history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a file is a checkpoint of the run of `history`; no other run has the same losses and times."""
    try:
        other_history = checkpoints.load(path).history
    except CheckpointError:
        return False
    return bool(other_history) and other_history == list(history[: len(other_history)])

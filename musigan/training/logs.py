"""Where the figures, pictures and sounds of a run are shown besides its folder: TensorBoard, Weights & Biases.

A log takes numbers by name, and files of pictures and sounds, each at a step of the run.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from musigan.errors import MusiganError

PICTURE, SOUND = "samples/rolls", "samples/sound"
SOUND_RATE = 16000  # Hz of TensorBoard's sounds, in mono: a megabyte for half a minute, and all of the piano's keys


class Log(Protocol):
    """A place that shows a run."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Show numbers by name."""

    def picture(self, path: Path, step: int) -> None:
        """Show a PNG of drawn rolls."""

    def sound(self, path: Path, step: int) -> None:
        """Play an MP3 of drawn music."""

    def close(self) -> None:
        """Finish writing."""


class TensorBoardLog:
    """Event files in `folder`; earlier events from `first_step` on are purged. ImportError without TensorBoard."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, path: Path, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        data = path.read_bytes()
        columns, rows = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))  # of the PNG's header
        self._add(tag=PICTURE, image=Summary.Image(height=rows, width=columns, encoded_image_string=data), step=step)

    def sound(self, path: Path, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        from musigan.sound import audio

        [signal] = audio.decode(path, SOUND_RATE, seconds=None, channels="mono").signal  # (S,)
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:  # TensorBoard says of every sound that it is WAV
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(SOUND_RATE)
            writer.writeframes((np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes())
        sound = Summary.Audio(
            sample_rate=SOUND_RATE, num_channels=1, length_frames=len(signal), content_type="audio/wav",
            encoded_audio_string=file.getvalue(),
        )  # fmt: skip
        self._add(tag=SOUND, audio=sound, step=step)

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, **value: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer._get_file_writer().add_summary(Summary(value=[Summary.Value(**value)]), step)
        self._writer.flush()


class WandbLog:
    """A run of Weights & Biases called `name`, kept in `folder`. Raises MusiganError where there is none.

    WANDB_MODE=offline and the other variables of that program hold.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        self._wandb = import_wandb()
        options = self._wandb.Settings(silent=True, console="off")
        try:
            self._run = self._wandb.init(
                project="musigan", name=name, dir=str(folder), config=dict(settings), settings=options
            )
        except Exception as error:  # of a server that is not reached, or a key that is not known
            reason = " ".join(str(error).split())[:160]
            raise MusiganError(f"--log wandb: {reason}; wandb login, or WANDB_MODE=offline, helps") from error

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, path: Path, step: int) -> None:
        self._run.log({PICTURE: self._wandb.Image(str(path))}, step=step)

    def sound(self, path: Path, step: int) -> None:
        self._run.log({SOUND: self._wandb.Audio(str(path))}, step=step)

    def close(self) -> None:
        self._run.finish()


def import_wandb() -> Any:
    """Import the library of Weights & Biases. Raises MusiganError where it is not installed."""
    try:
        import wandb
    except ImportError as error:
        raise MusiganError('--log wandb needs the library: pip install "musigan[wandb]"') from error
    return wandb

"""Where output goes: one file, numbered files, or a pipe, and its format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from musigan.errors import MusiganError, UsageError
from musigan.files.finding import AUDIO_SUFFIXES, MIDI_SUFFIXES
from musigan.files.remote import is_url

_ALIASES = {"aif": "aiff", "oga": "ogg", "wave": "wav"}


STREAM_FORMAT = "mp3"
SOUND_FORMATS = frozenset(suffix[1:] for suffix in AUDIO_SUFFIXES)
PICTURE_SUFFIXES = frozenset({".png", ".svg", ".pdf"})


def maker_of(path: str) -> str:
    """Return in words which tool makes files of such a name of a keys store; "" where none does."""
    suffix = Path(path).suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return "keys-to-mp3 makes sound of keys"
    if suffix in MIDI_SUFFIXES:
        return "keys-to-midi makes MIDI of keys"
    return "plot-keys makes pictures of keys" if suffix in PICTURE_SUFFIXES else ""


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that the suffix of a file name stands for. Raises UsageError where it has none."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if not suffix:
        raise UsageError(
            f"{os.fspath(path)} has no ending to tell the format by; expected .mp3, .wav, .flac, .ogg, ..."
        )
    return _ALIASES.get(suffix, suffix)


@dataclass(frozen=True)
class Target:
    """Destination of the sound: a file, a numbered file for each piece, or a stream for `-`."""

    out: str
    bitrate: str | None = None
    split: bool = False
    force: bool = False
    what: ClassVar[str] = "sound"
    expected: ClassVar[str] = ".mp3, .wav, .flac, .ogg, .opus, .m4a"

    def check(self, stream: Callable[[str], Any] | None) -> None:
        """Raise MusiganError, before any work, if the output cannot be written or would overwrite files."""
        if self.out == "-":
            if self.split:
                raise MusiganError("several pieces become several files: name one, such as out.mp3, instead of -")
            assert stream is not None
            stream(self.what)
            return
        if is_url(self.out):
            raise UsageError(f"{self.out} is a URL: {self.what} goes to a file or to standard output")
        self.format  # noqa: B018  raises for an ending that names no format
        if not Path(self.out).absolute().parent.is_dir():
            raise MusiganError(f"{self.out}: there is no folder {Path(self.out).parent}: make it first")
        if not self.split:
            self.refuse_existing(self.out)
        elif not self.force and (existing := self.numbered_files()):
            raise MusiganError(f"{existing[0]} exists: choose another name, or replace such files with --force")

    @property
    def format(self) -> str:
        """The audio format, from the ending of the name. Raises UsageError for an ending that names none."""
        name = STREAM_FORMAT if self.out == "-" else format_of(self.out)
        if name not in SOUND_FORMATS:
            raise self.wrong_ending()
        return name

    def wrong_ending(self) -> UsageError:
        """Return the error for a name that ends otherwise, which says what it should end in and what makes others."""
        advice = f" ({maker})" if (maker := maker_of(self.out)) else ""
        return UsageError(f"{self.out}: {self.what} goes to a file whose name ends in {self.expected}{advice}")

    def numbered(self, number: int) -> str:
        """Return the name of file `number` with --split: out.mp3 -> out-001.mp3."""
        root, ending = os.path.splitext(self.out)
        return f"{root}-{number:03d}{ending}"

    def numbered_files(self) -> list[str]:
        """List existing files that have names such as --split writes."""
        root, ending = os.path.splitext(os.path.basename(self.out))
        pattern = re.compile(re.escape(root) + r"-\d{3,}" + re.escape(ending))
        folder = Path(self.out).absolute().parent
        return sorted(str(path) for path in folder.iterdir() if pattern.fullmatch(path.name))

    def refuse_existing(self, path: str) -> str:
        """Return `path`. Raises MusiganError if it exists, unless --force is set."""
        if not self.force and os.path.lexists(path):
            raise MusiganError(f"{path} exists: choose another name, or replace it with --force")
        return path

"""The error types. A message is one line: what was found, what was expected, what to do next."""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter


class MusiganError(Exception):
    """Base of every error this package raises on purpose; tools print it as one line and exit with `exit_code`."""

    exit_code = 1


class UsageError(MusiganError):
    """A wrong call of a command: an unknown option value, a terminal where a store is expected."""

    exit_code = 2


class FieldError(UsageError):
    """Fields of a request that do not go together, or that a checkpoint's model cannot fulfil.

    The message calls each field by its name in braces ("{of} is without {best}") and its values by number ("{0:g}").
    """

    def __init__(self, message: str, *values: object) -> None:
        self.message, self.values = message, values
        super().__init__(self.naming(str))

    def naming(self, name: Callable[[str], str]) -> str:
        """Return the message, each field called by what `name` returns for it: a command names its options."""
        fields = {field for _, field, _, _ in Formatter().parse(self.message) if field and field.isidentifier()}
        return self.message.format(*self.values, **{field: name(field) for field in fields})


class AudioError(MusiganError):
    """An audio file that cannot be read or written. Tools skip the file and go on, unless `--strict`."""


class MidiError(MusiganError):
    """A MIDI file that cannot be read, or holds no notes. Tools skip the file and go on, unless `--strict`."""


class StoreError(MusiganError):
    """A store that is damaged, cut short, of another kind or of a newer format."""


class SettingsError(UsageError):
    """A setting that is unknown or does not fit the others; the message names the flag."""


class CheckpointError(MusiganError):
    """A checkpoint that is damaged, foreign, unsafe to load or made by a newer version."""


class LostRankError(MusiganError):
    """Another process of a training run on several devices has ended before its end."""

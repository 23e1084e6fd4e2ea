"""The error types. A message is one line: what was found, what was expected, what to do next."""

from __future__ import annotations


class MusiganError(Exception):
    """Base of every error this package raises on purpose; tools print it as one line and exit with `exit_code`."""

    exit_code = 1


class UsageError(MusiganError):
    """A wrong call of a command: an unknown option value, a terminal where a store is expected."""

    exit_code = 2


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

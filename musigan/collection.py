"""Audio and MIDI files in a person's folders: which to try, in which order, and what to call them.

A folder is walked in a stable order (names compared without case, then exactly) and anything that is not music by its
name is passed over without a word. A file that is named explicitly is always tried: its content decides.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from musigan.errors import AudioError

# Extensions of files tried when a folder is walked; what is inside them is probed later, whatever the name says.
# The second set takes ffmpeg.
LIBSNDFILE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("mp3", "mp2", "mp1", "mpga", "wav", "wave", "bwf", "w64", "rf64", "caf"),
        *("flac", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd"),
    )
)
FFMPEG_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("m4a", "m4b", "m4r", "mp4", "3gp", "aac", "alac", "wma", "ac3", "eac3", "dts"),
        *("amr", "ape", "wv", "tta", "tak", "mpc", "mka", "weba", "webm", "dsf"),
    )
)
AUDIO_SUFFIXES = LIBSNDFILE_SUFFIXES | FFMPEG_SUFFIXES
MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})

OnSkip = Callable[[str, str], None]  # (printable path, reason)


@dataclass(frozen=True)
class Found:
    """One file to try.

    path: as the operating system knows it (may hold surrogates where the name is not valid Unicode).
    source: relative to the folder that was given, with forward slashes; always encodable as UTF-8.
    """

    path: Path
    source: str


def find_audio(paths: Iterable[str | os.PathLike[str]], on_skip: OnSkip | None = None) -> Iterator[Found]:
    """Yield the audio files among `paths`, as `find_files` does."""
    return find_files(paths, AUDIO_SUFFIXES, on_skip)


def find_files(
    paths: Iterable[str | os.PathLike[str]], suffixes: frozenset[str], on_skip: OnSkip | None = None
) -> Iterator[Found]:
    """Yield the files of a kind among `paths` (files and folders, recursive), lazily and in a stable order.

    on_skip(path, reason) hears of what cannot be looked at (missing, unreadable, not a regular file); without it the
    first such path raises AudioError. Hidden files, `._*` forks and names without one of `suffixes` are passed over
    silently. A folder reached twice through links is walked once.
    """
    skip = on_skip or _raise_skip
    for given in paths:
        path = Path(given)
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:
            skip(printable(path), why_not(error))
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(path, "", set(), skip, suffixes)
        elif stat.S_ISREG(mode):
            yield Found(path, encodable(path.name))
        else:
            skip(printable(path), "not a regular file")


def _walk(
    folder: Path, prefix: str, visited: set[tuple[int, int]], skip: OnSkip, suffixes: frozenset[str]
) -> Iterator[Found]:
    """Depth first; `visited` holds (device, inode) of the folders seen below one given path: links may form loops."""
    try:
        identity = os.stat(folder)
        key = (identity.st_dev, identity.st_ino)
        if key in visited:
            return
        visited.add(key)
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries), key=lambda name: (name.casefold(), name))
    except OSError as error:
        skip(printable(folder), why_not(error))
        return
    for name in names:
        if name.startswith("."):
            continue
        path = folder / name
        source = prefix + encodable(name)
        is_music = Path(name).suffix.lower() in suffixes
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if is_music:
                skip(printable(path), why_not(error))
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(path, source + "/", visited, skip, suffixes)
        elif is_music and stat.S_ISREG(mode):
            yield Found(path, source)
        elif is_music:
            skip(printable(path), "not a regular file")


def _raise_skip(path: str, reason: str) -> None:
    raise AudioError(f"{path}: {reason}")


def why_not(error: OSError | ValueError) -> str:
    """The reason of a failed look at a path, in lower-case words and without the path."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, PermissionError):
        return "permission denied"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def encodable(name: str) -> str:
    r"""`name` with bytes that are no UTF-8 (kept by Python as lone surrogates) written out as \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace") if os.name == "posix" else name


def printable(path: str | os.PathLike[str]) -> str:
    """`path` on one line and safe to print on any terminal: control characters and undecodable bytes are escaped."""
    text = encodable(os.fspath(path))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

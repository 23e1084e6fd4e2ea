"""Audio and MIDI files in the user's folders: which to try, in which order, and how to name them.

A folder is walked in a stable order (names compared without case, then exactly). Files whose suffix is not one of music
are skipped silently. A file that is named explicitly is always tried: its content decides.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from musigan.errors import AudioError, FieldError, MusiganError, UsageError
from musigan.files.remote import file_system, is_url, local, reason
from musigan.files.text import clean_text, encodable, printable

# Suffixes of files tried when a folder is walked; the content is checked later, regardless of the name.
# The second set needs ffmpeg.
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
LIST_SUFFIXES = frozenset({".txt", ".m3u", ".m3u8"})
MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})

T = TypeVar("T")
SkipCallback = Callable[[str, str], None]  # (printable path, reason)
MOST_SHARDS = 1_000_000


@dataclass(frozen=True)
class MediaFile:
    """A file to try.

    path: as the operating system knows it (may hold surrogates where the name is not valid Unicode), or a URL as text.
    source: relative to the folder named by the user, with forward slashes; always encodable as UTF-8.
    stamp: size and time or tag of its last change; "" where the search was not told them.
    """

    path: Path | str
    source: str
    stamp: str = field(default="", compare=False)

    @cached_property
    def mark(self) -> str:
        """What changes when the file does; a URL's file system is asked. Where nothing says it, this equals no other.

        Then only the content can tell whether two files are the same.
        """
        return self.stamp or (_asked_mark(self.path) if is_url(str(self.path)) else "") or f"unknown {uuid4().hex}"


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count` equal parts of a list, which in their order make the whole list."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse "3/16"; "" is all. Raises FieldError for other text."""
        number, _, count = text.partition("/")
        try:
            shard = cls(int(number), int(count)) if text else cls()
        except ValueError:
            shard = cls(0, 0)
        if not 1 <= shard.number <= shard.count <= MOST_SHARDS:
            raise FieldError("{shard} {0}: expected which part of how many, as in 3/16, from 1/16 to 16/16", text)
        return shard

    def of(self, values: Sequence[T]) -> Sequence[T]:
        """Return the values of this part. Raises UsageError for more parts than values."""
        if values and len(values) < self.count:
            raise UsageError(f"{self.count} shards of {len(values)} files: expected one file for each or more")
        first, end = (len(values) * number // self.count for number in (self.number - 1, self.number))
        return values[first:end]


def find_audio(paths: Iterable[str | os.PathLike[str]], on_skip: SkipCallback | None = None) -> Iterator[MediaFile]:
    """Yield the audio files among `paths`, in the way of `find_files`."""
    return find_files(paths, AUDIO_SUFFIXES, on_skip)


def find_shard(
    paths: Iterable[str | os.PathLike[str]], suffixes: frozenset[str], shard: Shard, on_skip: SkipCallback
) -> list[MediaFile]:
    """Return a shard's part of the files of a kind; on_skip(path, reason) hears of each bad path in one shard only."""
    listing: list[MediaFile | tuple[str, str]] = []
    for file in find_files(paths, suffixes, lambda *skipped: listing.append(skipped)):
        listing.append(file)
    found = []
    for each in shard.of(listing):
        if isinstance(each, MediaFile):
            found.append(each)
        else:
            on_skip(*each)
    return found


def find_files(
    paths: Iterable[str | os.PathLike[str]], suffixes: frozenset[str], on_skip: SkipCallback | None = None
) -> Iterator[MediaFile]:
    """Yield the files of a kind among `paths` (files and folders, recursive), lazily and in a stable order.

    Of a URL too. on_skip(path, reason) is called for each that cannot be read (missing, not a regular file); without
    it the first such path raises AudioError. Hidden files, `._*` forks and names without one of `suffixes` are skipped
    silently. A folder reached twice through links is walked once.
    """
    skip = on_skip or _raise_skip
    for root in paths:
        if str(root) == "-":
            skip(printable(root), "not read from a pipe: save it as a file first")
            continue
        if is_url(str(root)):
            yield from _at_url(str(root), skip, suffixes)
            continue
        path = Path(root)
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            skip(printable(path), failure_reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, "", set(), skip, suffixes)
        elif stat.S_ISREG(status.st_mode):
            yield MediaFile(path, encodable(path.name), _mark(status))
        else:
            skip(printable(path), "not a regular file")


def _at_url(url: str, skip: SkipCallback, suffixes: frozenset[str]) -> Iterator[MediaFile]:
    """Yield the file at a URL that ends as one, else the files of a kind below it."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    if Path(name.split("?")[0]).suffix.lower() in suffixes:
        yield MediaFile(url, encodable(name))
        return
    try:
        fs, root = file_system(url)
        listing = fs.find(root, detail=True)
        below = {path[len(root) :].strip("/"): path for path in listing}
    except Exception as error:  # each fsspec file system has error classes of its own
        skip(printable(url), str(error) if isinstance(error, MusiganError) else reason(error))
        return
    if set(below) == {""}:
        yield MediaFile(url, encodable(name))
        return
    if not below:
        skip(printable(url), "no such file or folder")
    for source in sorted(below, key=lambda source: (source.casefold(), source)):
        is_hidden = any(part.startswith(".") for part in source.split("/"))
        if not is_hidden and Path(source).suffix.lower() in suffixes:
            yield MediaFile(fs.unstrip_protocol(below[source]), encodable(source), _mark_of(listing[below[source]]))


def _mark(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"


def _mark_of(details: Mapping[str, Any]) -> str:
    """Return the mark of a file at a URL by what its file system says of it, which each says in its own words."""
    names = ("size", "ETag", "etag", "mtime", "LastModified", "created")
    return " ".join(str(details[name]) for name in names if details.get(name))


def _asked_mark(url: Path | str) -> str:
    """Return the mark of a file at a URL; "" where its file system does not say enough, or nothing now."""
    try:
        fs, path = file_system(str(url))
        return _mark_of(fs.info(path))
    except Exception:  # each fsspec file system has error classes of its own; whoever reads the file says what is wrong
        return ""


def with_lists(paths: Iterable[str], on_skip: SkipCallback) -> Iterator[str]:
    """Yield the paths and URLs among `paths`, those of lists (.txt, .m3u) in the place of these, a line each.

    Lines that begin with # are passed over; paths are relative to their list. Line feeds alone end a line: a name may
    hold other signs that Unicode has for that (U+2028).
    """
    for path in paths:
        if Path(path.split("?")[0]).suffix.lower() not in LIST_SUFFIXES:
            yield path
            continue
        try:
            with local(path) as copy:
                lines = copy.read_bytes().decode("utf-8-sig").split("\n")  # .m3u8 often begins with the mark
        except (OSError, ValueError, MusiganError) as error:
            on_skip(printable(path), failure_reason(error))
            continue
        folder = path.rsplit("/", 1)[0] if is_url(path) else os.path.dirname(path)
        for line in filter(None, (line.strip(" \t\r") for line in lines)):
            if not line.startswith("#"):
                is_whole = is_url(line) or os.path.isabs(line)
                yield line if is_whole else f"{folder}/{line}" if folder else line


def _walk(
    folder: Path, prefix: str, visited: set[tuple[int, int]], skip: SkipCallback, suffixes: frozenset[str]
) -> Iterator[MediaFile]:
    """Yield a folder's files, depth first. `visited`: (device, inode) of the folders walked so far; links may loop."""
    try:
        status = os.stat(folder)
        folder_id = (status.st_dev, status.st_ino)
        if folder_id in visited:
            return
        visited.add(folder_id)
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries), key=lambda name: (name.casefold(), name))
    except OSError as error:
        skip(printable(folder), failure_reason(error))
        return
    for name in names:
        if name.startswith("."):
            continue
        path = folder / name
        source = prefix + encodable(name)
        has_suffix = Path(name).suffix.lower() in suffixes
        try:
            status = path.stat()
        except OSError as error:
            if has_suffix:
                skip(printable(path), failure_reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, source + "/", visited, skip, suffixes)
        elif has_suffix and stat.S_ISREG(status.st_mode):
            yield MediaFile(path, source, _mark(status))
        elif has_suffix:
            skip(printable(path), "not a regular file")


def _raise_skip(path: str, reason: str) -> None:
    raise AudioError(f"{path}: {reason}")


@contextmanager
def failing_alone(on_failure: Callable[[Exception], None]) -> Iterator[None]:
    """Pass what is raised in the block on as one input's failure, whatever it is; wrong usage ends all as it should."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        on_failure(error)


def skipping(skip: Callable[[str, str, str], None], what: str, group: str = "") -> Callable[[Exception], None]:
    """Return what to do with a failure: have `what` skipped, counted under `group` or else the reason's first words."""

    def on_failure(error: Exception) -> None:
        reason = failure_reason(error)
        skip(what, reason, group or reason.split(":")[0])

    return on_failure


def failure_reason(error: Exception) -> str:
    """Return in one line, without the input's name, why an input cannot be used, whatever was raised over it."""
    if isinstance(error, MusiganError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory for it"
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = clean_text(str(error))
    return f"cannot be used: {type(error).__name__}" + (f", {words}" if words else "")

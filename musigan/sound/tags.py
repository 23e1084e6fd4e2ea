"""Title, artist, genre and year: read from any file, written to encoded files. Uses mutagen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from musigan.errors import AudioError
from musigan.files.text import clean_text, decoded

# The names of each tag in Vorbis comments, ID3v2, MP4, ASF and APEv2.
_NAMES = {
    "title": ("title", "TIT2", "\xa9nam", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist", "albumartist", "TPE2", "aART", "WM/AlbumArtist"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
    "year": ("date", "TDRC", "TDRL", "TYER", "\xa9day", "WM/Year", "Year", "year", "originaldate", "TDOR", "TORY"),
}
_FRAMES = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "genre": "TCON", "year": "TDRC", "software": "TSSE"}
_ID3_FORMATS = frozenset({"mp3", "wav", "aiff"})
_COMMENTS = {"year": "date", "software": "encoder"}  # where a Vorbis comment's usual name differs from ours


@dataclass(frozen=True)
class Tags:
    """The tags of a file; None where one is missing."""

    title: str | None = None
    artist: str | None = None
    genre: str | None = None
    year: str | None = None


def read_tags(path: str | os.PathLike[str]) -> Tags:
    """Read the tags of an audio file. Damaged tags count as missing: they must not keep a song from being used."""
    try:
        import mutagen

        file = mutagen.File(os.fspath(path))
        fields: Any = file.tags if file is not None else None
        if not fields:
            fields = _read_ape(path)
        return Tags(**{name: _first(fields, keys, name) for name, keys in _NAMES.items()}) if fields else Tags()
    except Exception:  # damaged tags make mutagen raise nearly anything: struct.error, MemoryError, RecursionError
        return Tags()


def _read_ape(path: str | os.PathLike[str]) -> Any:
    """Read APEv2 tags, which mutagen does not look for in an MP3."""
    from mutagen.apev2 import APEv2, error

    try:
        return APEv2(os.fspath(path))
    except error:
        return None


def _first(fields: Mapping[str, Any], keys: tuple[str, ...], name: str) -> str | None:
    for key in keys:
        try:
            value = fields[key]
        except (KeyError, ValueError):  # ValueError: Vorbis comments accept only ASCII names
            continue
        is_latin = getattr(value, "encoding", None) == 0  # as an ID3 frame claims, whatever its writer's encoding was
        if key == "TCON":
            value = value.genres  # replaces the numbers of ID3v1's genre table by their names
        values = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        joined = ", ".join(dict.fromkeys(str(part) for part in values if part is not None))
        if is_latin:
            joined = decoded(joined.encode("latin-1", "replace")) or ""
        if "\ufffd" in joined:  # its bytes are in another encoding than the format has
            continue
        text = clean_text(joined)
        if name == "year" and text:
            match = re.search(r"(?<!\d)[12]\d{3}(?!\d)", text)
            text = match.group() if match else None
        if text:
            return text
    return None


def write_tags(path: str | os.PathLike[str], format: str, tags: Mapping[str, str]) -> None:
    """Write `tags` (title, artist, album, genre, year, comment, software) into the encoded file at `path`.

    format: mp3, wav, aiff (ID3v2.4) or flac, ogg, opus (Vorbis comments). Raises AudioError where it cannot,
    OSError for a full disk.
    """
    import mutagen

    texts = {name: text for name, value in tags.items() if value and (text := clean_text(str(value)))}
    unknown_names = sorted(set(texts) - set(_FRAMES) - {"comment"})
    if unknown_names:
        raise AudioError(f"unknown tag {unknown_names[0]!r}: expected one of {', '.join([*_FRAMES, 'comment'])}")
    if not texts:
        return
    try:
        file = _open_with_tags(os.fspath(path), format)
        for name, text in texts.items():
            if format in _ID3_FORMATS:
                file.tags.add(_id3_frame(name, text))
            else:
                file.tags[_COMMENTS.get(name, name)] = [text]
        file.save()
    except mutagen.MutagenError as error:
        if error.args and isinstance(error.args[0], OSError):
            raise error.args[0] from None
        raise AudioError(f"tags could not be written: {error}") from error


def _open_with_tags(path: str, format: str) -> Any:
    """Open a file of the format with mutagen, and add empty tags where it has none."""
    from mutagen import aiff, flac, mp3, oggopus, oggvorbis, wave

    kinds: dict[str, Any] = {
        "mp3": mp3.MP3, "wav": wave.WAVE, "aiff": aiff.AIFF,
        "flac": flac.FLAC, "ogg": oggvorbis.OggVorbis, "opus": oggopus.OggOpus,
    }  # fmt: skip
    file = kinds[format](path)
    if file.tags is None:
        file.add_tags()
    return file


def _id3_frame(name: str, text: str) -> Any:
    """Return the ID3v2.4 frame for one of our tags, in UTF-8."""
    from mutagen import id3

    if name == "comment":
        return id3.COMM(encoding=3, lang="eng", desc="", text=[text])
    return getattr(id3, _FRAMES[name])(encoding=3, text=[text])

"""Title, artist, genre and year: read from any file, written to what we encode. Through mutagen."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musigan.errors import AudioError

_LONGEST = 200  # characters; longer ones are comments or damage

# The names one fact goes by in Vorbis comments, ID3v2, MP4, ASF and APEv2.
_NAMES = {
    "title": ("title", "TIT2", "\xa9nam", "Title"),
    "artist": ("artist", "TPE1", "\xa9ART", "Author", "Artist", "albumartist", "TPE2", "aART", "WM/AlbumArtist"),
    "genre": ("genre", "TCON", "\xa9gen", "WM/Genre", "Genre"),
    "year": ("date", "TDRC", "TDRL", "TYER", "\xa9day", "WM/Year", "Year", "year", "originaldate", "TDOR", "TORY"),
}
_FRAMES = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "genre": "TCON", "year": "TDRC", "software": "TSSE"}
_ID3_FORMATS = frozenset({"mp3", "wav", "aiff"})
_COMMENTS = {"year": "date", "software": "encoder"}  # where a Vorbis comment's usual name is not ours


@dataclass(frozen=True)
class Tags:
    """What a file says about itself; None where it says nothing."""

    title: str | None = None
    artist: str | None = None
    genre: str | None = None
    year: str | None = None


def read_tags(path: str | os.PathLike[str]) -> Tags:
    """The tags of an audio file. Damaged tags are no tags: a song is not lost for its label."""
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
    """APEv2 tags, which mutagen does not look for in an MP3."""
    from mutagen.apev2 import APEv2, error

    try:
        return APEv2(os.fspath(path))
    except error:
        return None


def _first(fields: Mapping[str, Any], keys: tuple[str, ...], name: str) -> str | None:
    for key in keys:
        try:
            value = fields[key]
        except (KeyError, ValueError):  # ValueError: Vorbis comments refuse to be asked for names outside ASCII
            continue
        if key == "TCON":
            value = value.genres  # numbers of the ID3v1 table become words
        elif hasattr(value, "text"):
            value = value.text
        values = list(value) if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
        if isinstance(value, str):
            values = [value]
        text = clean_text(", ".join(dict.fromkeys(str(part) for part in values if part is not None)))
        if name == "year" and text:
            match = re.search(r"(?<!\d)[12]\d{3}(?!\d)", text)
            text = match.group() if match else None
        if text:
            return text
    return None


def clean_text(text: str) -> str | None:
    """`text` on one line without control characters, at most 200 characters; None where nothing is left."""
    spaced = "".join(" " if c.isspace() else c for c in text)
    kept = "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn"))
    kept = " ".join(kept.split())
    return kept[:_LONGEST].rstrip() or None


def write_tags(path: str | os.PathLike[str], format: str, tags: Mapping[str, str]) -> None:
    """Write `tags` (title, artist, album, genre, year, comment, software) into the encoded file at `path`.

    format: mp3, wav, aiff (ID3v2.4) or flac, ogg, opus (Vorbis comments). Raises AudioError where it cannot.
    """
    import mutagen

    texts = {name: text for name, value in tags.items() if value and (text := clean_text(str(value)))}
    unknown = sorted(set(texts) - set(_FRAMES) - {"comment"})
    if unknown:
        raise AudioError(f"unknown tag {unknown[0]!r}: expected one of {', '.join([*_FRAMES, 'comment'])}")
    if not texts:
        return
    try:
        file = _opened(os.fspath(path), format)
        for name, text in texts.items():
            if format in _ID3_FORMATS:
                file.tags.add(_id3_frame(name, text))
            else:
                file.tags[_COMMENTS.get(name, name)] = [text]
        file.save()
    except mutagen.MutagenError as error:
        raise AudioError(f"tags could not be written: {error}") from error


def _opened(path: str, format: str) -> Any:
    """mutagen's file for a format, with tags to write to."""
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
    """The frame of ID3v2.4 for one of our tags, as UTF-8."""
    from mutagen import id3

    if name == "comment":
        return id3.COMM(encoding=3, lang="eng", desc="", text=[text])
    return getattr(id3, _FRAMES[name])(encoding=3, text=[text])

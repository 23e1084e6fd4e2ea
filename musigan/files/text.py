"""Text from strangers (tags, file names) on one line that is safe to print and to store."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata

_MAX_CHARACTERS = 200  # characters; a longer text is a comment or damage
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# Text in Latin-1 or Windows' variant: letters with accents stand alone or in twos, and few other signs are used.
_ACCENTED = "[À-ÿŒœŠšŽžŸ]"
_LATIN = re.compile(rf"(?:[\x01-\x7f‘’“”–—…•™€«»¡¿°´·©®ªº\xa0]|(?<!{_ACCENTED}){_ACCENTED}{{1,2}}(?!{_ACCENTED}))+")
# Full-width Japanese: kana, ideographs and their punctuation, with ASCII between.
_JAPANESE = re.compile(r"[\x01-\x7f　-ヿ一-鿿！-～Α-ωⅠ-Ⅻ①-⑳♪☆★○●◎♭♯→]+")


def encodable(name: str) -> str:
    r"""Return `name` with bytes that are not UTF-8 (surrogates of their own in Python) written out as \xNN."""
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in name)


def printable(text: str | os.PathLike[str]) -> str:
    """Return a text or path on one line, safe to print: control characters and undecodable bytes are escaped."""
    letters = encodable(os.fspath(text))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in letters)


def decoded(data: bytes) -> str | None:
    """Decode text of which no encoding is known: UTF-8, UTF-16, Shift-JIS or Latin-1; None where it looks like none.

    Other encodings look like Latin-1 or Shift-JIS with letters that no language has side by side.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return _decoded_as(data.removeprefix(mark), encoding)
    zeros = [data[::2].count(0), data[1::2].count(0)]
    if 3 * max(zeros) > len(data) > 2:  # Latin letters in UTF-16
        return _decoded_as(data[: len(data) // 2 * 2], "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be")
    data = data.replace(b"\0", b" ")
    text = _decoded_as(data, "utf-8")
    if text is not None:
        return text
    latin, japanese = _decoded_as(data, "cp1252"), _decoded_as(data, "cp932")
    if japanese and _JAPANESE.fullmatch(japanese) and (not latin or not _LATIN.fullmatch(latin)):
        return japanese
    return latin if latin and _LATIN.fullmatch(latin) else None


def _decoded_as(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def clean_text(text: str) -> str | None:
    """Return `text` on one line without control characters, at most 200 characters; None where nothing is left."""
    spaced_text = "".join(" " if c.isspace() else c for c in text)
    cleaned = "".join(c for c in spaced_text if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn"))
    cleaned = " ".join(cleaned.split())
    return cleaned[:_MAX_CHARACTERS].rstrip() or None

"""Text from strangers (tags, file names) on one line that is safe to print and to store."""

from __future__ import annotations

import os
import unicodedata

_MAX_CHARACTERS = 200  # characters; a longer text is a comment or damage


def encodable(name: str) -> str:
    r"""Return `name` with bytes that are not UTF-8 (surrogates of their own in Python) written out as \xNN."""
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in name)


def printable(text: str | os.PathLike[str]) -> str:
    """Return a text or path on one line, safe to print: control characters and undecodable bytes are escaped."""
    letters = encodable(os.fspath(text))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in letters)


def clean_text(text: str) -> str | None:
    """Return `text` on one line without control characters, at most 200 characters; None where nothing is left."""
    spaced_text = "".join(" " if c.isspace() else c for c in text)
    cleaned = "".join(c for c in spaced_text if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn"))
    cleaned = " ".join(cleaned.split())
    return cleaned[:_MAX_CHARACTERS].rstrip() or None

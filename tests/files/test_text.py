"""Texts of strangers, made safe to print (nothing is lost) and to store or draw (one short line)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musigan.files.text import clean_text, encodable, printable

RAW = os.fsdecode(b"caf\xe9.mp3")  # a name that is not UTF-8


def test_names_that_are_not_utf8_can_be_stored() -> None:
    assert encodable(RAW) == r"caf\xe9.mp3"
    assert encodable("café") == "café"


def test_what_is_printed_shows_control_characters_escaped() -> None:
    assert printable(f"a\tb\n\x1b[0m $x$ é日\ud800 {RAW}") == r"a\tb\n\x1b[0m $x$ é日\ud800 caf\xe9.mp3"
    assert printable(Path(RAW)) == r"caf\xe9.mp3"


@given(st.text(st.characters()))
def test_what_is_printed_is_one_line_of_utf8(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [(" a\tb\n\x1b[0m $x$ _é日\ud800 ", "a b [0m $x$ _é日"), ("\x00 \n", None), ("w" * 300, "w" * 200)],
)
def test_cleaned_text_is_one_short_line(text: str, cleaned: str | None) -> None:
    assert clean_text(text) == cleaned

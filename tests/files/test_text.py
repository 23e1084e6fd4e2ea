"""Texts of strangers, made safe to print (nothing is lost) and to store or draw (one short line)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musigan.files.text import clean_text, decoded, encodable, printable

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


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("utf-8", ("Dvořák", "桜の歌", "Für Elise", "ЛЮБОВЬ", "")),
        ("utf-16", ("Dvořák", "桜", "Hello")),
        ("utf-16-le", ("Dvořák", "Hello")),
        ("utf-16-be", ("Dvořák", "Hello")),
        ("shift_jis", ("桜の歌", "ピアノ", "残酷な天使のテーゼ", "さくら No.1", "Song of 桜")),
        ("latin-1", ("Für Elise", "Café", "déjà vu", "Été", "Frédéric", "¿Qué?", "Ö", "CRÉÉE", "coração", "© 1999")),
        ("cp1252", ("Don’t", "“Œuvre” – 2")),
    ],
)
def test_text_of_unknown_encoding_is_decoded(encoding: str, texts: tuple[str, ...]) -> None:
    assert [decoded(text.encode(encoding)) for text in texts] == list(texts)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1251", "Катюша"), ("koi8-r", "ЛЮБОВЬ"), ("gbk", "月亮代表我的心"), ("gbk", "月亮"), ("big5", "月亮代表我的心"),
     ("euc-kr", "사랑"), ("euc-jp", "さくら")],
)  # fmt: skip
def test_text_in_other_encodings_is_none_rather_than_wrong(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) is None


@given(st.binary())
def test_any_bytes_are_a_text_or_none(data: bytes) -> None:
    assert isinstance(decoded(data), str | None)

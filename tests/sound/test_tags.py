from __future__ import annotations

from pathlib import Path

import mutagen.id3 as id3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutagen.apev2 import APEv2

from musigan.files.text import clean_text
from musigan.sound.tags import Tags, read_tags
from tests.sounds import noise, write


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return write(tmp_path / "song.mp3", noise(0.5, 44100), 44100)


def test_id3(song: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=1, text=["Dvořák"]))
    tags.add(id3.TPE1(encoding=3, text=["One", "Two"]))
    tags.add(id3.TCON(encoding=0, text=["(17)"]))
    tags.add(id3.TDRC(encoding=0, text=["1893-12-16"]))
    tags.save(song)
    assert read_tags(song) == Tags("Dvořák", "One, Two", "Rock", "1893")


@pytest.mark.parametrize(
    ("content", "title"),
    [("桜の歌".encode("shift_jis"), "桜の歌"), ("Dvořák".encode(), "Dvořák"), (b"Fr\xe9d\xe9ric", "Frédéric"),
     ("Катюша".encode("cp1251"), None)],
)  # fmt: skip
def test_what_claims_to_be_latin_1_may_be_in_another_encoding(content: bytes, title: str | None, song: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=0, text=[content.decode("latin-1")]))
    tags.add(id3.TPE1(encoding=3, text=["ÉÉÉ"]))
    tags.save(song)
    assert read_tags(song) == Tags(title=title, artist="ÉÉÉ")


def test_comments_in_another_encoding_than_theirs_are_left_out(tmp_path: Path) -> None:
    import mutagen

    path = write(tmp_path / "x.flac", noise(0.5, 48000), 48000)
    file = mutagen.File(path)
    file["title"], file["artist"] = ["Caf_"], ["One"]
    file.save()
    path.write_bytes(path.read_bytes().replace(b"Caf_", b"Caf\xe9"))
    assert read_tags(path) == Tags(artist="One")


def test_the_first_artist_frame_wins_over_the_album_artist(song: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TPE2(encoding=3, text=["Various"]))
    tags.save(song)
    assert read_tags(song).artist == "Various"
    tags.add(id3.TPE1(encoding=3, text=["Singer"]))
    tags.save(song)
    assert read_tags(song).artist == "Singer"


def test_apev2_at_the_end_of_an_mp3(song: Path) -> None:
    tags = APEv2()
    tags["Title"], tags["Year"], tags["Cover Art (Front)"] = "An old one", "2003", b"\xff\xfb\x90\0" * 9000
    tags.save(song)
    assert read_tags(song) == Tags(title="An old one", year="2003")


def test_control_characters_and_overlong_text_go(song: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text=["a\nb\x1b[31m\tc\u2028d" + "x" * 9000]))
    tags.add(id3.TDRL(encoding=3, text=["0000"]))
    tags.save(song)
    read = read_tags(song)
    assert read.title is not None
    assert read.title.startswith("a b[31m c dx")
    assert len(read.title) == 200
    assert read.year is None


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus"])
def test_vorbis_comments_with_a_title_alone(kind: str, tmp_path: Path) -> None:
    import mutagen

    path = write(tmp_path / f"x.{kind}", noise(0.5, 48000), 48000)
    file = mutagen.File(path)
    file["TITLE"] = ["Alone"]
    file.save()
    assert read_tags(path) == Tags(title="Alone")


def test_no_tags(song: Path, tmp_path: Path) -> None:
    assert read_tags(song) == Tags()
    (tmp_path / "text").write_text("no song")
    assert read_tags(tmp_path / "text") == Tags()


@pytest.mark.parametrize("seed", range(30))
def test_damaged_tags_are_no_tags_or_some_but_never_an_error(song: Path, seed: int) -> None:
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=1, text=["title"]))
    tags.add(id3.TCON(encoding=3, text=["(4)(9)Folk"]))
    tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=bytes(500)))
    tags.save(song, v2_version=3)
    data = bytearray(song.read_bytes())
    generator = np.random.default_rng(seed)
    for position in generator.integers(0, 300, 12):
        data[position] = generator.integers(256)
    song.write_bytes(data)
    assert isinstance(read_tags(song), Tags)


@given(st.text())
def test_clean_text_is_one_short_printable_line(text: str) -> None:
    cleaned = clean_text(text)
    if cleaned is not None:
        assert 0 < len(cleaned) <= 200
        assert len(cleaned.splitlines()) == 1
        assert cleaned == cleaned.strip()
        cleaned.encode("utf-8")

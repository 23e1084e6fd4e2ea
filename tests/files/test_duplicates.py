"""Songs that come twice."""

from __future__ import annotations

from musigan.files.duplicates import Originals, compact


def test_the_first_of_equal_songs_is_the_original() -> None:
    lines: list[str] = []
    originals = Originals("recording", lines.append)
    songs = (("x", "a.mp3"), ("y", "b.mp3"), ("x", "c.mp3"), ("x", "a.mp3"))
    assert [originals.has(*song) for song in songs] == [False, False, True, True]
    assert lines == [f"{name}.mp3: the same recording as a.mp3, kept once" for name in "ca"]
    assert originals.duplicates == 2


def test_hashes_are_kept_as_numbers_and_other_texts_as_they_are() -> None:
    assert compact("0" * 31 + "f") == 15
    assert [compact(text) for text in ("f", "g" * 32, "")] == ["f", "g" * 32, ""]

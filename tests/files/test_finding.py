from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest

from musigan.errors import AudioError, UsageError
from musigan.files.finding import AUDIO_SUFFIXES, Shard, find_audio, find_shard, with_lists
from musigan.files.text import printable
from tests import silentfs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def sources(*paths: Path) -> list[str]:
    return [found.source for found in find_audio(paths)]


def test_order_is_by_name_without_case_and_folders_stand_where_their_names_do(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp3", "A.mp3", "a.flac", "Folder/z.wav", "c.OGG")
    assert sources(tmp_path) == ["a.flac", "A.mp3", "b.mp3", "c.OGG", "Folder/z.wav"]


def test_what_is_not_music_by_name_is_passed_over_silently(tmp_path: Path) -> None:
    touch(tmp_path, "song.mp3", ".hidden.mp3", "._song.mp3", ".DS_Store", "Thumbs.db", "cover.jpg", "list.m3u", "t.mid")
    touch(tmp_path, "song.mp3.gz", "d.mp3.part", "d.crdownload", "desktop.ini", "noending", ".git/x.mp3")
    assert sources(tmp_path) == ["song.mp3"]


def test_an_explicit_file_is_tried_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "noending", ".hidden.mp3")
    assert sources(tmp_path / "noending", tmp_path / ".hidden.mp3") == ["noending", ".hidden.mp3"]


def test_a_folder_named_like_a_song_is_descended_into(tmp_path: Path) -> None:
    touch(tmp_path, "directory.mp3/inside.mp3")
    assert sources(tmp_path) == ["directory.mp3/inside.mp3"]


def test_link_loops_end_and_linked_files_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "a/song.mp3", "elsewhere.mp3")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "linked.mp3").symlink_to(tmp_path / "elsewhere.mp3")
    assert sources(tmp_path / "a") == ["linked.mp3", "loop/elsewhere.mp3", "song.mp3"]


def test_missing_broken_and_special_paths_are_told_with_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "broken.mp3").symlink_to(tmp_path / "gone.mp3")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "gone.txt")
    skipped: list[tuple[str, str]] = []
    found = list(find_audio([tmp_path, tmp_path / "none", "bad\0name"], lambda *words: skipped.append(words)))
    assert found == []
    reasons = {Path(path).name: reason for path, reason in skipped}
    assert set(reasons) == {"pipe.mp3", "broken.mp3", "none", r"bad\x00name"}
    assert reasons["pipe.mp3"] == "not a regular file"
    assert reasons["none"] == "no such file or folder"


def test_without_a_listener_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file or folder"):
        list(find_audio([tmp_path / "none"]))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "closed/song.mp3")
    (tmp_path / "closed").chmod(0)
    skipped: list[tuple[str, str]] = []
    assert list(find_audio([tmp_path], lambda *words: skipped.append(words))) == []
    assert skipped[0][1] == "permission denied"
    (tmp_path / "closed").chmod(0o700)


def test_strange_names_survive_printing_json_and_stay_apart(tmp_path: Path) -> None:
    names = [b"new\nline.mp3", b"tab\tname.mp3", b"-rf.mp3", "é.mp3".encode(), "e\u0301.mp3".encode(), b"bad\xff.mp3"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    found = list(find_audio([tmp_path]))
    assert len({item.source for item in found}) == len(names)
    assert all(item.path.read_bytes() == b"x" for item in found)
    for item in found:
        assert json.loads(json.dumps(item.source)) == item.source
        item.source.encode("utf-8")
        line = printable(item.path)
        assert "\n" not in line
        assert "\t" not in line
        line.encode("utf-8")


def test_the_search_is_lazy(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    search = find_audio([tmp_path, tmp_path / "none"])
    assert next(search).source == "a.mp3"


@pytest.mark.parametrize(("files", "count"), [(7, 3), (7, 7), (7, 1), (1, 1), (16, 5)])
def test_shards_in_their_order_are_all_files(files: int, count: int, tmp_path: Path) -> None:
    for number in range(files):
        (tmp_path / f"{number:02}.mp3").touch()
    (tmp_path / "03.mp3").unlink(missing_ok=True)
    (tmp_path / "03.mp3").symlink_to("nowhere.mp3")
    skipped: list[str] = []
    shards = [
        [
            found.source
            for found in find_shard([tmp_path], AUDIO_SUFFIXES, Shard(number, count), lambda *s: skipped.append(s[0]))
        ]
        for number in range(1, count + 1)
    ]
    assert [source for shard in shards for source in shard] == [
        found.source for found in find_audio([tmp_path], lambda *s: None)
    ]
    assert max(map(len, shards)) - min(map(len, shards)) <= 2
    assert len(skipped) == 1  # in one of them


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "/", "1/0", "a/b", "-1/3", "1/2/3", "1/3.5", "1/99999999"])
def test_other_shards_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        Shard.parse(text)


def test_more_shards_than_files_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    with pytest.raises(UsageError, match="2 shards of 1 files"):
        find_shard([tmp_path], AUDIO_SUFFIXES, Shard(1, 2), lambda *skipped: None)
    assert Shard.parse("") == Shard(1, 1)
    assert Shard.parse("3/16") == Shard(3, 16)


def test_lists_stand_for_their_lines(tmp_path: Path) -> None:
    (tmp_path / "list.m3u").write_text(
        "\ufeff#EXTM3U\n\na b.mp3\n/music/c.mp3\nhttps://x.org/d.mp3\n", encoding="utf-8"
    )
    skipped: list[str] = []
    paths = ["first", str(tmp_path / "list.m3u"), str(tmp_path / "gone.txt"), "last.mp3"]
    assert list(with_lists(paths, lambda *reason: skipped.append(reason[1]))) == [
        "first", f"{tmp_path}/a b.mp3", "/music/c.mp3", "https://x.org/d.mp3", "last.mp3",
    ]  # fmt: skip
    assert skipped == ["no such file or folder"]
    fsspec.filesystem("memory").pipe_file("/lists/list.txt", b"a.mp3\n")
    assert list(with_lists(["memory://lists/list.txt"], lambda *reason: None)) == ["memory://lists/a.mp3"]


def test_line_feeds_alone_end_a_line_of_a_list(tmp_path: Path) -> None:
    names = ["a\u2028b.mp3", "c\x85d.mp3", "e\x0bf.mp3", "g\x1ch.mp3", "i\u2029.mp3", "j\rk.mp3", "\xa0l.mp3"]
    (tmp_path / "list.txt").write_bytes(("\r\n".join(names[:3]) + "\n \t\r\n" + "\n".join(names[3:])).encode())
    found = list(with_lists([str(tmp_path / "list.txt")], lambda *reason: None))
    assert [os.path.relpath(path, tmp_path) for path in found] == names


def test_a_file_of_which_nothing_is_said_has_no_mark_that_comes_again() -> None:
    silentfs.register().pipe_file("/marks/a.mp3", b"one")
    marks = []
    for source in ("silent://marks", "silent://marks/a.mp3", "silent://marks", "memory://gone/a.mp3"):
        (found,) = find_audio([source])
        assert found.mark == found.mark
        marks.append(found.mark)
    assert len(set(marks)) == 4
    assert all(marks)


def test_a_file_at_a_url_by_its_name_has_a_mark() -> None:
    fsspec.filesystem("memory").pipe_file("/marks-by-name/a.mp3", b"one")
    (first,), (second,) = (find_audio(["memory://marks-by-name/a.mp3"]) for _ in range(2))
    assert first.mark == second.mark
    fsspec.filesystem("memory").pipe_file("/marks-by-name/a.mp3", b"another")
    (third,) = find_audio(["memory://marks-by-name/a.mp3"])
    assert third.mark != first.mark


def test_a_file_that_changes_has_another_mark(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text("one")
    (before,) = find_audio([tmp_path])
    assert [found.mark for found in find_audio([tmp_path / "a.mp3"])] == [before.mark]
    (tmp_path / "a.mp3").write_text("another")
    (after,) = find_audio([tmp_path])
    assert after.mark != before.mark
    assert after == before
    fs = fsspec.filesystem("memory")
    marks = []
    for data in (b"one", b"another"):
        fs.pipe_file("/marks/a.mp3", data)
        marks += [found.mark for found in find_audio(["memory://marks"])]
    assert len(set(marks)) == 2

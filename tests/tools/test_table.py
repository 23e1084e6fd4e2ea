"""The table of messages in docs/messages.md: each line is what the tools say."""

from __future__ import annotations

import fnmatch
import shlex
from pathlib import Path

import pytest

from tests import helpers, midifiles, sounds
from tests.stores import fill, songs

TABLE = Path(__file__).parents[2] / "docs" / "messages.md"


def rows() -> list[tuple[str, int, str]]:
    """Return command, exit code and message of each line of the table; * in a message stands for anything."""
    lines = [line.strip("| \n").split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    cells = [[cell.strip().strip("`") for cell in line] for line in lines if len(line) == 4 and line[0].startswith("`")]
    return [(command, int(code), message) for command, _, code, message in cells]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("table")
    inputs(place)
    return place


def inputs(place: Path) -> None:
    """Make the files that the commands name."""
    fill(str(place / "keys.zip"), "keys", songs((2, 2, 1, 4, 3)))
    whole = (place / "keys.zip").read_bytes()
    (place / "tail.zip").write_bytes(whole + b"six   ")
    (place / "cut.zip").write_bytes(whole[:-40])
    sounds.write(place / "song.wav", sounds.tones(21, 8000, 500, 800), 8000)
    slow = bytearray((place / "song.wav").read_bytes())
    slow[24:28] = (1).to_bytes(4, "little")
    (place / "slow.wav").write_bytes(slow)
    (place / "empty.mid").write_bytes(midifiles.midi([]))


@pytest.mark.parametrize(("command", "code", "message"), rows())
def test_the_tools_say_what_the_table_says(command: str, code: int, message: str, folder: Path) -> None:
    tool, *arguments = shlex.split(command.replace("musigan check", "musigan_check"))
    done = helpers.run(tool.replace("_", " "), *arguments, cwd=folder)
    said = done.stderr.decode().strip().splitlines()[-1]
    assert (done.returncode, fnmatch.fnmatchcase(said, message.replace("[", "[[]"))) == (code, True), said

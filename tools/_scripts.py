"""The programs that musigan was installed as, and what runs them in one go."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from musigan.errors import MusiganError


def folder() -> str:
    """Return the folder of our programs. Raises MusiganError where they were not installed."""
    for place in (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")):
        if os.path.exists(os.path.join(place, "mp3-to-npy")):
            return place
    raise MusiganError("the programs of musigan (mp3-to-npy, ...) are not installed beside this Python: pip install it")


def bash() -> str:
    """Return the path of bash. Raises MusiganError where there is none."""
    found = shutil.which("bash")
    if found is None:
        raise MusiganError("this command needs bash, which is not here: the three lines of the README do the same")
    return found


def music() -> str:
    """Return the path of the script that goes from a folder of music to new music."""
    return str(Path(__file__).parent / "music.sh")


def become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by another program, whose words go where ours go, whatever libraries' messages do."""
    if sys.stderr is not None:
        for descriptor in (1, 2):
            os.dup2(sys.stderr.fileno(), descriptor)
    os.execve(command[0], command, environment)

"""musigan: every tool under one name."""

from __future__ import annotations

import importlib
import sys

from musigan_tools import _cli
from musigan_tools._commands import COMMANDS

from musigan import __version__

USAGE = """Usage: musigan COMMAND [OPTIONS] [ARGS]...

A folder of music in, new music out.

Commands (musigan COMMAND --help says more of each):
{commands}

Example:
  musigan mp3-to-npy ~/Music | musigan pair-chunks | musigan npy-to-keys > keys.zarr
  musigan train-gan keys.zarr --epochs 200
  musigan sample ckpt.pt | musigan keys-to-mp3 out.mp3
"""


def main() -> None:
    """Run the command named first; the rest of the line is its own."""
    command, *arguments = sys.argv[1:] or [""]
    if command in COMMANDS:
        sys.argv = [command, *arguments]
        importlib.import_module(f"musigan_tools.{COMMANDS[command][0]}").main()
        return
    with _cli.plain_answers("musigan"):
        code = _answer(command)
    sys.exit(code)


def _answer(word: str) -> int:
    """Answer a line that names no command; returns the exit code."""
    if word in ("", "-h", "--help", "help"):
        listing = "\n".join(f"  {name:<12} {line}" for name, (_, line) in COMMANDS.items())
        print(USAGE.format(commands=listing), file=sys.stdout if word else sys.stderr)
        return 0 if word else 2
    if word == "--version":
        print(f"musigan {__version__}")
        return 0
    import difflib

    close = difflib.get_close_matches(word, COMMANDS, 1)
    hint = f", did you mean {close[0]}?" if close else "; musigan --help lists them"
    print(f"musigan: no command {word!r}{hint}", file=sys.stderr)
    return 2

"""musigan: every tool under one name."""

from __future__ import annotations

import importlib
import sys

from musigan import __version__

# Command: module and one line for the listing. A table, so that only the chosen command is imported.
COMMANDS = {
    "mp3-to-npy": ("mp3_to_npy", "audio files and folders -> waveforms"),
    "pair-chunks": ("pair_chunks", "waveforms -> pairs of a chunk and its continuation"),
    "npy-to-keys": ("npy_to_keys", "sound -> loudness of each piano key in each frame"),
    "keys-to-mp3": ("keys_to_mp3", "keys -> an audio file"),
    "pretrain": ("pretrain", "the non-adversarial stage of a model"),
    "train-gan": ("train_gan", "the adversarial stage (both, when started from nothing)"),
    "sample": ("sample", "a checkpoint -> new keys"),
    "check": ("check", "whether a store is whole, and what is in it"),
    "doctor": ("doctor", "what this machine has: decoders, encoders, GPU, space"),
    "demo-music": ("demo_music", "render a small folder of public-domain tunes"),
}

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
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        listing = "\n".join(f"  {name:<12} {line}" for name, (_, line) in COMMANDS.items())
        print(USAGE.format(commands=listing), file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"musigan {__version__}")
        return
    if arguments[0] not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(arguments[0], COMMANDS, 1)
        hint = f", did you mean {close[0]}?" if close else "; musigan --help lists them"
        print(f"musigan: no command {arguments[0]!r}{hint}", file=sys.stderr)
        sys.exit(2)
    module = importlib.import_module(f"musigan_tools.{COMMANDS[arguments[0]][0]}")
    sys.argv = [arguments[0], *arguments[1:]]
    module.main()

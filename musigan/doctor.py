"""What this machine has, for people who ask why something does not work, or how fast it will be."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib import metadata

from musigan import __version__
from musigan.machine.cores import usable_cores

OURS = "musigan_tools"  # the package of the commands
_LIBRARIES = ("numpy", "zarr", "torch", "librosa", "soundfile", "typer")


def doctor_report() -> dict[str, str]:
    """Return the libraries that decode, encode and play on this machine: name -> one line of text for the user."""
    import soundfile
    import soxr

    from musigan.sound import ffmpeg, fluidsynth

    formats = [name for name in ("MP3", "FLAC", "OGG", "WAV", "AIFF") if name in soundfile.available_formats()]
    if "OGG" in formats and "OPUS" in soundfile.available_subtypes("OGG"):
        formats.insert(3, "Opus")
    program, player = ffmpeg.find_ffmpeg(), fluidsynth.find_fluidsynth()
    return {
        "libsndfile": f"{soundfile.__libsndfile_version__}, reads and writes {', '.join(formats)}",
        "soxr": soxr.__version__,
        "ffmpeg": f"{program[0]} (from {program[1]}), reads m4a, aac, wma, alac, ac3, mp4 and more"
        if program
        else f"not found: m4a, aac, wma and others are skipped; {ffmpeg.INSTALL_HINT} brings one",
        "FluidSynth": f"{player.version} (from {player.origin}), plays sound fonts: keys-to-mp3 --soundfont"
        if player
        else f"not found: keys-to-mp3 --soundfont needs it; {fluidsynth.INSTALL_HINT} brings it",
    }


def report() -> Iterator[tuple[str, str]]:
    """Yield (name, one line of text) for each part of the report."""
    yield "musigan", f"{__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield from doctor_report().items()
    yield "commands", _commands()
    yield "cores", f"{usable_cores()} usable"
    yield "GPU", _gpu()
    yield "memory", _memory()
    for name, folder in (("here", os.curdir), ("tmp", tempfile.gettempdir())):
        yield f"space {name}", f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free in {os.path.abspath(folder)}"


def _commands() -> str:
    """Say whether the bare names of our programs mean them: of a program of that name elsewhere, PATH may take that."""
    scripts = {os.path.realpath(place) for place in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable))}
    names = sorted(each.name for each in metadata.entry_points(group="console_scripts") if each.value.startswith(OURS))
    found = {name: shutil.which(name) for name in names}
    others = [
        f"{name} is {path}, another program: say musigan {name}"
        for name, path in found.items()
        if path and os.path.realpath(os.path.dirname(path)) not in scripts and not _is_ours(path)
    ]
    missing = [name for name, path in found.items() if not path]
    if len(missing) == len(names):
        return "not on PATH: python -m musigan COMMAND is any of them"
    return "; ".join(others) or f"{len(names)} on PATH, none hidden by another program; all are musigan COMMAND, too"


def _is_ours(path: str) -> bool:
    """Return whether a program is a musigan of another environment."""
    try:
        with open(path, "rb") as file:
            return OURS.encode() in file.read(4096)
    except OSError:
        return False


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def _gpu() -> str:
    try:
        import torch
    except ImportError as error:
        return f"unknown: torch cannot be imported ({error})"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return ", ".join(f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB" for gpu in names)
    if torch.backends.mps.is_available():
        return "Apple Metal (mps)"
    return "none that torch can use: training takes the preset for CPUs"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (ValueError, OSError, AttributeError):  # a system that lacks these names, or sysconf itself
        return "unknown"

"""What this machine has, for people who ask why something does not work, or how fast it will be."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata

from musigan import __version__
from musigan.machine.cores import usable_cores

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
    yield "cores", f"{usable_cores()} usable"
    yield "GPU", _gpu()
    yield "memory", _memory()
    for name, folder in (("here", os.curdir), ("temporary", tempfile.gettempdir())):
        yield f"space {name}"[:12], f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free in {os.path.abspath(folder)}"


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

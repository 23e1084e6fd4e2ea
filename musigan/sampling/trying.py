"""A first piece of the base's, as a sound file."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from musigan.sampling import items, sounding

if TYPE_CHECKING:
    from musigan.files.targets import Target
    from musigan.sampling.requests import DrawingRequest
    from musigan.sampling.sampler import Sampler

SEEDS = 10_000  # of which one is drawn where none is named: short enough to be typed again


def new_seed() -> int:
    """Return a seed that nobody knows."""
    return 1 + secrets.randbelow(SEEDS - 1)


def write(request: DrawingRequest, sampler: Sampler, target: Target, stream: IO[bytes] | None = None) -> str:
    """Draw the request's first piece and write its sound; return in words what was made.

    Raises FieldError where the checkpoint's model cannot do it.
    """
    from musigan.machine.reporting import duration

    request.piece.check(sampler.capabilities)
    piece = sampler.piece(request.seed, 1, sampler.frames(request.seconds), request=request.piece)
    _, _, song = items.as_item(piece, sampler, request.seed, "musigan")
    song = replace(song, title=f"{piece.genre or 'music'} {request.seed}")
    sound = sounding.settings_of(sampler.header)
    signal = sounding.in_stereo(sound.synthesise_roll(piece.roll, song.tone))
    written = sounding.write(signal, song, sound, target.out, target, stream)
    return f"{written}: {duration(request.seconds)} of music{sounding.manner(piece)}, seed {request.seed}"

"""General MIDI: programs and the groups of instruments that they belong to.

Programs count from 0, as in the bytes of a file. Five groups, as in MuseGAN (Dong et al. 2018, 1709.06298): drums,
piano, guitar, bass and strings, the last for all other instruments that sustain a note. Channel 10 (9 in the bytes)
plays the drums. Our departures: struck instruments belong to the piano, plucked ones to the guitar.
"""

from __future__ import annotations

GROUPS = ("drums", "piano", "guitar", "bass", "strings")
DRUM_CHANNEL = 9
# A group begins at each of these programs and lasts until the next; None: without pitch, left out.
_FAMILIES: dict[int, str | None] = {
    0: "piano",  # pianos, chromatic percussion, organs
    24: "guitar",
    32: "bass",
    40: "strings",  # strings, ensemble, brass, reed, pipe, synth lead, pad and effects
    104: "guitar",  # sitar, banjo, shamisen, koto, kalimba
    109: "strings",  # bagpipe, fiddle, shanai
    112: "piano",  # bells, steel drums, wood blocks, toms with a pitch
    119: None,  # reverse cymbal, and sound effects: breath, seashore, helicopter
}
# The program that plays a group: piano, nylon guitar, fingered bass, string ensemble.
PROGRAMS = {"piano": 0, "guitar": 24, "bass": 33, "strings": 48}


def group_of(program: int) -> str | None:
    """Return the group of a program (0 to 127) that is not on the drum channel; None for sounds without a pitch."""
    return _FAMILIES[max(first for first in _FAMILIES if first <= program)]

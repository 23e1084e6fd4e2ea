"""General MIDI: programs and the groups of instruments that they belong to.

Programs count from 0, as in the bytes of a file. Five groups, as in MuseGAN (Dong et al. 2018, 1709.06298): drums,
piano, guitar, bass and strings, the last for all other instruments that sustain a note. Channel 10 (9 in the bytes)
plays the drums. Our departures: struck instruments belong to the piano, plucked ones to the guitar.
"""

from __future__ import annotations

import difflib

from musigan.errors import SettingsError

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


# The names of General MIDI level 1, by program.
NAMES = (
    "acoustic grand piano", "bright acoustic piano", "electric grand piano", "honky-tonk piano", "electric piano 1",
    "electric piano 2", "harpsichord", "clavinet",
    "celesta", "glockenspiel", "music box", "vibraphone", "marimba", "xylophone", "tubular bells", "dulcimer",
    "drawbar organ", "percussive organ", "rock organ", "church organ", "reed organ", "accordion", "harmonica",
    "tango accordion",
    "acoustic guitar (nylon)", "acoustic guitar (steel)", "electric guitar (jazz)", "electric guitar (clean)",
    "electric guitar (muted)", "overdriven guitar", "distortion guitar", "guitar harmonics",
    "acoustic bass", "electric bass (finger)", "electric bass (pick)", "fretless bass", "slap bass 1", "slap bass 2",
    "synth bass 1", "synth bass 2",
    "violin", "viola", "cello", "contrabass", "tremolo strings", "pizzicato strings", "orchestral harp", "timpani",
    "string ensemble 1", "string ensemble 2", "synth strings 1", "synth strings 2", "choir aahs", "voice oohs",
    "synth voice", "orchestra hit",
    "trumpet", "trombone", "tuba", "muted trumpet", "french horn", "brass section", "synth brass 1", "synth brass 2",
    "soprano sax", "alto sax", "tenor sax", "baritone sax", "oboe", "english horn", "bassoon", "clarinet",
    "piccolo", "flute", "recorder", "pan flute", "blown bottle", "shakuhachi", "whistle", "ocarina",
    "lead 1 (square)", "lead 2 (sawtooth)", "lead 3 (calliope)", "lead 4 (chiff)", "lead 5 (charang)",
    "lead 6 (voice)", "lead 7 (fifths)", "lead 8 (bass + lead)",
    "pad 1 (new age)", "pad 2 (warm)", "pad 3 (polysynth)", "pad 4 (choir)", "pad 5 (bowed)", "pad 6 (metallic)",
    "pad 7 (halo)", "pad 8 (sweep)",
    "fx 1 (rain)", "fx 2 (soundtrack)", "fx 3 (crystal)", "fx 4 (atmosphere)", "fx 5 (brightness)",
    "fx 6 (goblins)", "fx 7 (echoes)", "fx 8 (sci-fi)",
    "sitar", "banjo", "shamisen", "koto", "kalimba", "bagpipe", "fiddle", "shanai",
    "tinkle bell", "agogo", "steel drums", "woodblock", "taiko drum", "melodic tom", "synth drum", "reverse cymbal",
    "guitar fret noise", "breath noise", "seashore", "bird tweet", "telephone ring", "helicopter", "applause",
    "gunshot",
)  # fmt: skip


def program_named(text: str) -> int:
    """Return the program that `text` names: a number from 0 to 127, a group, or a name of General MIDI or part of one.

    Raises SettingsError, with the nearest name, for anything else.
    """
    words = " ".join(text.lower().split())
    if words.isdecimal() and int(words) < len(NAMES):
        return int(words)
    if words in PROGRAMS:
        return PROGRAMS[words]
    named = [*(name for name in NAMES if name == words), *(name for name in NAMES if words and words in name)]
    if named:
        return NAMES.index(named[0])
    near = difflib.get_close_matches(words, NAMES, 1, 0.5)
    hint = f": did you mean {near[0]}?" if near else ""
    raise SettingsError(f"--program {text} is no instrument{hint or ': expected 0 to 127, or a name such as violin'}")

"""How well notes come back: from MIDI through keys to MIDI, and from recordings of pieces whose notes are known.

    python benchmarks/score_transcription.py FOLDER

FOLDER holds recordings, the MIDI files that were rendered and a reference.json, as benchmarks/score_aligned.py has it.

Round trip: a note has come back when one of its group and pitch begins within 20 ms of it. Instruments of one group in
unison become one note, which counts for both; "made up" are notes that come back without having been there.

Recordings: precision, recall and F of onsets within 50 ms on the right pitch, each note counted once (the
note-onset score of MIREX and mir_eval), before and after the notes taken for overtones are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from musigan.analysis.bands import analyse
from musigan.midi.reading import read_score
from musigan.midi.rolls import Arrangement, notes_to_roll
from musigan.midi.tempo import estimate_tempo
from musigan.midi.transcription import Transcriber
from musigan.midi.writing import Part, write_score
from musigan.rolls.keysettings import KeySettings

sys.path.insert(0, str(Path(__file__).parent))
from score_aligned import RATE, decoded

FRAME_SECONDS = 0.02


def round_trip(data: bytes) -> str:
    """MIDI -> keys -> MIDI -> notes, as a line of figures."""
    score = read_score(data)
    arrangement, settings = Arrangement(), KeySettings("midi")
    notes = arrangement.of(score.notes)
    roll, _ = notes_to_roll(notes, arrangement.tracks, settings)
    found = Transcriber(settings, arrangement.tracks).notes(roll.astype(np.float16).astype(np.float32))
    seconds = roll.shape[-1] * settings.frame_seconds
    again = read_score(write_score([Part(found, seconds, score.tempo or 120.0)], arrangement.tracks)).notes

    def near(ones, others):  # type: ignore[no-untyped-def]
        """Seconds from each note to the nearest onset of its kind."""
        return np.array(
            [
                np.abs(others.starts[(others.groups == g) & (others.pitches == p)] - s).min(initial=np.inf)
                for g, p, s in zip(ones.groups, ones.pitches, ones.starts, strict=True)
            ]
        )

    there, back = near(notes, again), near(again, notes)
    kept = there <= FRAME_SECONDS
    guess = estimate_tempo(found.starts, found.velocities)
    return (
        f"{len(notes):6d} {len(again):6d} {100 * kept.mean():9.2f} {1000 * there[kept].max():9.1f} "
        f"{100 * (back > FRAME_SECONDS).mean():8.2f} {score.tempo:8.2f} {guess or 0:8.2f}"
    )


def onset_score(pitches: np.ndarray, starts: np.ndarray, known: np.ndarray) -> tuple[float, float, float]:
    """(precision, recall, F) of onsets within 50 ms; `known` is (N, 2) of seconds and pitch."""
    hits = 0
    for pitch in np.unique(pitches):
        mine, theirs = np.sort(starts[pitches == pitch]), np.sort(known[known[:, 1] == pitch, 0])
        one = other = 0
        while one < len(mine) and other < len(theirs):
            apart = mine[one] - theirs[other]
            hits += abs(apart) <= 0.05
            one, other = one + (apart <= 0.05), other + (apart >= -0.05)
    return hits / max(len(starts), 1), hits / len(known), 2 * hits / (len(starts) + len(known))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    reference = json.loads((folder / "reference.json").read_text())
    at = {name: index for index, name in enumerate(reference["columns"])}
    print("round trip   notes   back   within %  furthest  made up %   tempo   guessed")
    for piece in reference["pieces"]:
        print(piece["genre"].ljust(10), round_trip((folder / piece["midi"]).read_bytes()))
    print("\nrecordings      notes  precision recall  F      without overtones    tempo guessed")
    for piece in reference["pieces"]:
        roll, _ = analyse(decoded(folder / piece["file"]), RATE, KeySettings())
        known = np.array([[n[at["onset_s"]], n[at["midi_pitch"]]] for n in piece["notes"] if not n[at["is_drum"]]])
        known = np.unique(known, axis=0)  # unisons are one note
        line = piece["genre"].ljust(14)
        for keep in (True, False):
            found = Transcriber(KeySettings(), keep_ghosts=keep).notes(roll)
            figures = onset_score(found.pitches, found.starts, known)
            line += f" {len(found):6d} " + " ".join(f"{figure:.3f}" for figure in figures)
        print(line, f"  {estimate_tempo(found.starts, found.velocities)}")


if __name__ == "__main__":
    main()

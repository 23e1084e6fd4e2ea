"""Music that the base learns from (musigan/checkpoints/base/CARD.md): MIDI files and musigan's tunes as a keys store.

    python benchmarks/base_music.py FOLDER OUT.zarr.zip [--fonts A.sf2 B.sf3] [--passes N] [--jobs N]

FOLDER holds MIDI files, their beats beside them in `<name>.beats.txt` where these are better than the files' own. Where
index.json is beside them, only those are taken that may be learned from (`permissive`, not `in_music`); of POP909 so
many as --piano says. Each pass plays every piece in another key and tempo, with other instruments, levels and timing.
Three of four are played as sound, by sound fonts (needs pyfluidsynth) or by musigan itself, in rooms, and analysed as
recordings are; half of those have their true drum strokes, the others those that are found. The rest are rolls made
from the notes. All have their true beats.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from musigan import tunes
from musigan.analysis import preparing
from musigan.analysis.bands import sounding_level
from musigan.errors import MidiError
from musigan.midi.events import NoteEvents
from musigan.midi.reading import read_score
from musigan.midi.rolls import notes_to_roll
from musigan.rolls.beats import Beats
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.kit import Strokes, drum_plane
from musigan.sound.room import add_room
from musigan.store import Song, StoreHeader, write
from musigan.store.chunks import chunk_frames, is_validation
from musigan.synthesis.drumkit import pan_gains
from musigan.synthesis.ensemble import PLAYERS, apply_envelopes

sys.path.insert(0, str(Path(__file__).parent))
import beat_sounds as sounds
import beat_tunes
import drum_sounds
from beat_sounds import DRUMS, PLAY_RATE, Event, Piece, Player
from learn_drums import DRUM_OF_PITCH

SAMPLE_RATE = 12000  # Hz
CHUNK_SECONDS = 10.0
LONGEST_SECONDS = 180.0  # of a piece; longer ones are cut, at their beginning or anywhere
FEWEST_BEATS = 32
VALIDATION = 0.05  # share of pieces held back
AS_NOTES = 0.25  # share of pieces that are not played
DRUMLESS = 0.1  # share of pieces whose drums are silent
TRACKS = ("left", "right", "drums")
SETTINGS = KeySettings()
player: Player | None = None  # of a process


@dataclass(frozen=True)
class Job:
    """One piece to be played: its file, or the name of a tune; its style and a seed."""

    name: str
    style: str
    seed: tuple[int, int]


def jobs_of(folder: Path, passes: int, piano: int, tune_count: int, limit: int | None) -> list[Job]:
    """Return what is played, in random order."""
    index = folder / "index.json"
    files: list[tuple[str, str]] = []
    if index.exists():
        entries = [
            entry
            for entry in json.loads(index.read_text())
            if entry["permissive"] and not entry["in_music"] and entry["has_beat_annotation"]
        ]
        order = np.random.default_rng(0).permutation(len(entries))
        pianos = [entries[i] for i in order if entries[i]["kind"] == "pop909"][:piano]
        chosen = [entry for entry in entries if entry["kind"] != "pop909"] + pianos
        files = [(str(folder / entry["file"]), entry["style"]) for entry in chosen]
    else:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
        files = [(str(path), path.parent.name) for path in found]
    files += [(name, "folk") for name in tunes.names()[:tune_count]]
    listed = [Job(*file, (turn, number)) for turn in range(passes) for number, file in enumerate(sorted(files))]
    np.random.default_rng(1).shuffle(listed)  # type: ignore[arg-type]
    return listed[:limit]


def piece_of(job: Job) -> Piece:
    """Return the piece of a job. Raises OSError or ValueError where it cannot be read."""
    if job.name in tunes.names():
        tune = tunes.load(job.name)
        return beat_tunes.piece_of(tune, 0, list(tunes.arrange(tune)))
    path = Path(job.name)
    if path.with_suffix(".beats.txt").exists():
        return sounds.read_piece(path, True)
    beats = read_score(path.read_bytes()).beats or Beats.none()
    return Piece(sounds.read_events(path), beats.seconds, beats.numbers)


def varied(job: Job, random: np.random.Generator) -> tuple[Piece, float, bool]:
    """Return a job's piece varied, its length in seconds, and whether it is whole."""
    piece = piece_of(job)
    last = max((event[0] for event in piece.events if event[1] in ("on", "off")), default=0.0)
    start = 0.0
    if last > 1.2 * LONGEST_SECONDS and random.random() < 0.4:
        start = float(random.choice(piece.beats[piece.beats < last - LONGEST_SECONDS]))
    piece = sounds.vary(sounds.cut(piece, start, 1.4 * LONGEST_SECONDS), random, "near", LONGEST_SECONDS)
    if random.random() < DRUMLESS:
        piece.events = [event for event in piece.events if event[2] != DRUMS]
    end = max((event[0] for event in piece.events if event[1] in ("on", "off")), default=0.0) + 1.0
    return piece, min(end, LONGEST_SECONDS), start == 0.0 and end < LONGEST_SECONDS


def strokes_of(events: list[Event], random: np.random.Generator) -> Strokes:
    """Return the strokes of the kit among events, about as loud as those that are found in recordings."""
    rows = sorted(
        (second, DRUM_OF_PITCH[pitch], velocity / 127)
        for second, kind, channel, pitch, velocity in events
        if kind == "on" and channel == DRUMS and pitch in DRUM_OF_PITCH and velocity
    )
    table = np.array(rows, float).reshape(-1, 3)
    loudness = np.clip(table[:, 2] ** 1.5 * random.uniform(0.8, 1.2), 0.1, 1.0)
    return Strokes(table[:, 0], table[:, 1].astype(int), loudness)


def played(piece: Piece, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return the sound of a piece, (2, S) at SAMPLE_RATE."""
    import soxr

    parts = []
    drums = [event for event in piece.events if event[2] == DRUMS]
    rest = [event for event in piece.events if event[2] != DRUMS]
    for events, kit in ((rest, 0), (drums, int(random.choice(drum_sounds.KITS)))):
        if not any(event[1] == "on" for event in events):
            continue
        if player is None or (events is rest and random.random() < 0.2):
            sound = sounds.own_sound(events, seconds, random)
        else:
            sound = player.play(events, int(random.integers(len(player.synths))), seconds, 0.0, kit)
        mastering = int(random.integers(1 << 31))  # the same on both sides
        sound = np.stack([drum_sounds.equalised(side, np.random.default_rng(mastering)) for side in sound])
        level = float(np.sqrt(np.mean(sound**2))) + 1e-6
        parts.append(sound / level * (10 ** (random.uniform(*drum_sounds.MIX_DB) / 20) if events is drums else 1.0))
    samples = max((part.shape[1] for part in parts), default=0)
    mixed = sum(np.pad(part, ((0, 0), (0, samples - part.shape[1]))) for part in parts)
    if not parts:
        raise ValueError("no notes in it")
    signal = soxr.resample(np.asarray(mixed, np.float32).T, PLAY_RATE, SAMPLE_RATE).T
    if random.random() < 0.6:
        signal = add_room(signal, SAMPLE_RATE, float(random.uniform(0.05, 0.7)))[:, : signal.shape[1]]
    signal = signal / (np.abs(signal).max() + 1e-9)
    if random.random() < 0.3:
        drive = random.uniform(1, 4)
        signal = np.tanh(drive * signal) / np.tanh(drive)
    return np.asarray(0.9 * signal, np.float32)


def noted(piece: Piece, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return the sides of a piece as rolls of its notes, (2, K, T); 1 is the song's level."""
    channels, rows = sounds.notes_of([event for event in piece.events if event[2] != DRUMS], seconds)
    numbers = sorted({row[0] for row in rows})
    if not numbers:
        raise ValueError("no notes in it")
    names = tuple(channels[number] for number in numbers)
    notes = NoteEvents.of((numbers.index(row[0]), *row[1:]) for row in rows)
    roll, _ = notes_to_roll(notes, names, SETTINGS)
    sides = np.zeros((2, *roll.shape[1:]))
    for plane, name in zip(roll, names, strict=True):
        own = PLAYERS.get(name, PLAYERS["piano"])
        gains = own.gain * pan_gains(float(np.clip(own.pan + random.normal(0, 0.2), -1, 1)))
        sides += (gains[:, None, None] * apply_envelopes(plane, own, SETTINGS)) ** 2
    sides = np.sqrt(sides).astype(np.float32)
    level = sounding_level(sides)
    sides /= np.float32(level or 1.0)
    return np.where(sides < random.uniform(0.02, 0.06), np.float32(0), sides)


def to_item(job: Job) -> tuple[np.ndarray, tuple[str, ...], Song] | str:
    """Return the item of a job, or why there is none."""
    random = np.random.default_rng([15, *job.seed])
    try:
        piece, seconds, is_whole = varied(job, random)
        if len(piece.beats) < FEWEST_BEATS or seconds < 2 * CHUNK_SECONDS:
            return f"{job.name}: too short, or without beats"
        stem = Path(job.name).stem
        split = "validation" if is_validation(stem, VALIDATION) else "train"
        song = Song(
            title=stem, source=Path(job.name).name, content=f"{stem} {job.seed[0]}", split=split, genre=job.style
        )
        inside = (piece.beats >= 0) & (piece.beats < seconds)
        beats = Beats(piece.beats[inside], piece.numbers[inside], 1.0)
        count = int(np.ceil(seconds / CHUNK_SECONDS))
        frames = count * chunk_frames(CHUNK_SECONDS, SETTINGS.frame_seconds)
        plane = drum_plane(strokes_of(piece.events, random), SETTINGS.keys, frames, SETTINGS.frame_seconds)
        if random.random() < AS_NOTES:
            sides = noted(piece, seconds, random)
            sides = np.pad(sides, ((0, 0), (0, 0), (0, max(frames - sides.shape[2], 0))))[..., :frames]
            roll = np.concatenate((sides, plane[None]))
            rolls = roll.reshape(*roll.shape[:2], count, -1).transpose(2, 0, 1, 3)
            starts = tuple(CHUNK_SECONDS * number for number in range(count))
            array, names = rolls.astype(np.float16), preparing.TRACKS_OF_CHUNKS
            song = song.with_beats(beats)
            song = Song(**{**vars(song), "level": 0.1, "starts": starts})
        else:
            signal = played(piece, seconds, random)
            samples = round(count * CHUNK_SECONDS * SAMPLE_RATE)
            signal = np.pad(signal, ((0, 0), (0, max(samples - signal.shape[1], 0))))[:, :samples]
            header = StoreHeader("waveform", SAMPLE_RATE)
            item: Any = SimpleNamespace(array=signal, song=song)
            array, names, song = preparing.to_keys(item, header, SETTINGS, CHUNK_SECONDS, "cpu", beats, TRACKS)
            if random.random() < 0.5:
                array[:, -1] = plane.reshape(len(plane), count, -1).transpose(1, 0, 2)
        if is_whole:
            song = Song(**{**vars(song), "seconds": seconds})
    except (MidiError, ValueError, OSError, EOFError, KeyError, IndexError) as error:
        return f"{job.name}: {type(error).__name__} {error}"
    return array, names, song


def open_player(fonts: list[Path]) -> None:
    """Give a process its sound fonts."""
    global player
    player = Player(fonts) if fonts else None


def items_of(
    jobs: list[Job], fonts: list[Path], processes: int
) -> Iterator[tuple[np.ndarray, tuple[str, ...], Song] | str]:
    """Yield the items of jobs, in order."""
    if processes <= 1:
        open_player(fonts)
        yield from map(to_item, jobs)
        return
    with multiprocessing.Pool(processes, open_player, (fonts,)) as pool:
        yield from pool.imap(to_item, jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[])
    parser.add_argument("--passes", type=int, default=1, help="variations of each piece")
    parser.add_argument("--piano", type=int, default=180, help="pieces of POP909")
    parser.add_argument("--tunes", type=int, default=len(tunes.names()), help="of musigan's own")
    parser.add_argument("--limit", type=int, help="pieces at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    jobs = jobs_of(options.folder, options.passes, options.piano, options.tunes, options.limit)
    header = StoreHeader("waveform", SAMPLE_RATE).with_keys(SETTINGS)
    header = type(header)(**{**vars(header), "chunk_seconds": CHUNK_SECONDS, "tracks": TRACKS, "expected": len(jobs)})
    with write(options.output, header) as writer:
        for made in items_of(jobs, options.fonts, options.jobs):
            if isinstance(made, str):
                print(f"skipped {made}", file=sys.stderr, flush=True)
                continue
            writer.add(*made)
            print(f"{writer.items}/{len(jobs)} {made[2].genre} {made[2].title}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

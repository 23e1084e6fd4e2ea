"""Sound with known drum strokes, to train the drum finder on: varied excerpts of MIDI files, played by sound fonts.

Drums and the rest are played apart, by fonts of their own, and mixed: each as loud, as bright and as driven as
on any record. Needs what beat_sounds.py needs.
"""

from __future__ import annotations

import beat_sounds as sounds
import numpy as np
from beat_sounds import DRUMS, PLAY_RATE, Event, Piece, Player
from scipy.signal import butter, lfilter, sosfilt

SECONDS = 24.0  # of an excerpt
RATE = 12000  # Hz, of an excerpt
PITCHES = (35, 36, 38, 40, 37, 39, 41, 43, 45, 47, 48, 50, 42, 44, 46, 49, 51, 57, 53, 59, 52, 55)
KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40)  # programs of General Standard
LOUD_PROGRAMS = (27, 28, 29, 30, 30, 29, 33, 34, 16, 18, 81, 87, 62)  # guitars, basses, organs, leads
MIX_DB = (-13.0, 6.0)  # drums against the rest
Strokes = list[tuple[float, int, int]]  # seconds, pitch, velocity


def random_part(random: np.random.Generator) -> list[Event]:
    """Return drums struck at random, in steps: toms, cymbals and places that songs seldom have."""
    step, at = random.uniform(0.09, 0.3), random.uniform(0, 1)
    kit = random.choice(np.array(PITCHES), size=random.integers(3, 9))
    often = random.uniform(0.2, 0.8)
    events: list[Event] = []
    while at < SECONDS:
        for pitch in kit:
            if random.random() < 1.5 * often / len(kit):
                early = random.normal(0, 0.004) if at > 0.02 else 0.0
                events += sounds.strokes(at + early, int(pitch), int(random.integers(40, 127)))
        at += step
    return events


def chosen_events(piece: Piece, random: np.random.Generator) -> tuple[list[Event], bool]:
    """Return the events of a varied excerpt of a piece, and whether its instruments became those of a loud band."""
    last = max(piece.beats[-1] - SECONDS, 0.0) if len(piece.beats) else 0.0
    part = sounds.cut(piece, 0.0 if random.random() < 0.15 else float(random.uniform(0, last)), 1.4 * SECONDS)
    has_drums = any(event[1] == "on" and event[2] == DRUMS for event in part.events)
    if not has_drums and piece.downbeats_known and random.random() < 0.5:
        part, has_drums = sounds.add_drums(part, random), True
    events = sounds.vary(part, random, "wide").events
    if has_drums and random.random() < 0.2:
        events = [event for event in events if event[2] != DRUMS or random.random() < 0.5] + random_part(random)
    is_loud = random.random() < 0.4
    if is_loud:
        others = {event[2] for event in events} - {DRUMS}
        programs = {channel: int(random.choice(LOUD_PROGRAMS)) for channel in sorted(others) if random.random() < 0.7}
        kept = [event for event in events if event[1] != "program" or event[2] not in programs]
        events = [(0.0, "program", channel, program, 0) for channel, program in programs.items()] + kept
    return sorted(events, key=lambda event: event[0]), is_loud


def equalised(signal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a signal (S,) at PLAY_RATE with a few peaks and dips of up to 9 dB in its spectrum."""
    for _ in range(random.integers(1, 4)):
        hz, quality = np.exp(random.uniform(np.log(60), np.log(8000))), random.uniform(0.5, 2)
        amplitude, angle = 10 ** (random.uniform(-9, 9) / 40), 2 * np.pi * hz / PLAY_RATE
        wide = np.sin(angle) / 2 / quality
        above = np.array([1 + wide * amplitude, -2 * np.cos(angle), 1 - wide * amplitude])
        below = np.array([1 + wide / amplitude, -2 * np.cos(angle), 1 - wide / amplitude])
        signal = lfilter(above / below[0], below / below[0], signal)
    return signal


def sibilants(samples: int, random: np.random.Generator) -> np.ndarray:
    """Return noise (S,) at RATE that swells and fades, as voices and bows make it: nothing of it is struck."""
    noise, at = np.zeros(samples, np.float32), random.uniform(0, 1)
    while at < samples / RATE - 0.5:
        swell, held, fade = random.uniform(0.02, 0.09), random.uniform(0.03, 0.2), random.uniform(0.02, 0.1)
        length = int((swell + held + fade) * RATE)
        envelope = np.interp(np.arange(length) / RATE, [0, swell, swell + held, swell + held + fade], [0, 1, 1, 0])
        low = random.uniform(1500, 4500)
        band = butter(2, [low, min(low * random.uniform(1.3, 3), 0.49 * RATE)], "band", fs=RATE, output="sos")
        first = int(at * RATE)
        sound = sosfilt(band, random.normal(size=length)) * envelope * random.uniform(0.2, 1)
        noise[first : first + length] += sound[: samples - first]
        at += random.exponential(0.5) + 0.15
    return noise


def compressed(signal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a signal (S,) at RATE, its loud parts made quieter within some hundredths of a second."""
    keep = np.exp(-1 / (RATE * random.uniform(0.01, 0.05)))
    level = np.sqrt(lfilter([1 - keep], [1, -keep], signal**2) + 1e-9)
    limit, ratio = np.quantile(level, 0.7) * random.uniform(0.3, 1), random.uniform(0.3, 0.8)
    return np.asarray(signal * np.where(level > limit, (limit / level) ** ratio, 1))


def make_excerpt(piece: Piece, player: Player, random: np.random.Generator, own: bool) -> tuple[np.ndarray, Strokes]:
    """Return a varied excerpt (S,) at RATE and its strokes; all but the drums in musigan's `own` sound or by a font."""
    import soxr

    events, is_loud = chosen_events(piece, random)
    drums, rest = [e for e in events if e[2] == DRUMS], [e for e in events if e[2] != DRUMS]
    if random.random() < 0.4:  # nearly all as loud
        velocity = int(random.integers(80, 127))
        drums = [(*e[:4], velocity) if e[1] == "on" and random.random() < 0.8 else e for e in drums]
    tuned: list[Event] = []
    if random.random() < 0.6:  # the whole kit higher or lower, by up to seven semitones
        controls = [(0.0, "control", DRUMS, number, value) for number, value in ((101, 0), (100, 0), (6, 7))]
        tuned = [*controls, (0.0, "bend", DRUMS, int(np.clip(random.normal(0, 3000), -8000, 8000)), 0)]
    rooms = [float(random.choice([0.0, random.uniform(0.1, 0.9)])) for _ in range(2)]
    fonts = random.integers(len(player.synths), size=2)
    silence = np.zeros((2, round(SECONDS * PLAY_RATE)), np.float32)
    kit = player.play(tuned + drums, int(fonts[0]), SECONDS, rooms[0], int(random.choice(KITS))) if drums else silence
    if rest and own:
        others = sounds.own_sound(rest, SECONDS, random)
    else:
        others = player.play(rest, int(fonts[1]), SECONDS, rooms[1], 0) if rest else silence
    length = min(kit.shape[1], others.shape[1])
    kit, others = (equalised(sound[:, :length].mean(axis=0), random) for sound in (kit, others))
    if random.random() < 0.3:
        kit = np.tanh(kit / (np.abs(kit).max() + 1e-9) * random.uniform(1, 6))
    if is_loud and random.random() < 0.5:
        others = np.tanh(others / _level(others) * random.uniform(0.3, 2))
    mixed = kit / _level(kit) * 10 ** (random.uniform(*MIX_DB) / 20) + others / _level(others)
    mono = soxr.resample(mixed.astype(np.float32), PLAY_RATE, RATE)
    mono /= np.abs(mono).max() + 1e-9
    if random.random() < 0.35:
        mono = mono + sibilants(mono.size, random) * random.uniform(0.02, 0.35)
    if random.random() < 0.5:
        mono = compressed(mono, random)
    strokes = [(e[0], e[3], e[4]) for e in drums if e[1] == "on" and e[0] < SECONDS and e[4] > 0]
    return sounds.coloured(mono, random), strokes


def _level(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(signal**2))) + 1e-6

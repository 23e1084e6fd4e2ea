"""The tone of a song, by its sound and its roll (what a tone is: rolls/tone.py).

The strengths of partials are found together, by non-negative least squares: the power in each key's band is a sum over
the notes that have a partial there. Breath is what lies between partials: the geometric mean of the short-time spectrum
in a band, which few high peaks hardly move, regressed by its logarithm on the loudness of the roll. Both look at a few
frames a second, which takes some hundredths of a second.
"""

from __future__ import annotations

import os

import numpy as np

from musigan.analysis.bands import analysed_bands, roll_of
from musigan.analysis.signals import Signal
from musigan.errors import AudioError
from musigan.rolls.keyboard import HIGHEST_KEY, LOWEST_KEY, KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.notes import find_notes
from musigan.rolls.tone import (
    BANDS,
    FEATURES,
    LIMITS,
    PARTIALS,
    REGISTER_KEYS,
    REGISTERS,
    Tone,
    band_weights,
    breath_features,
)

MOST_FRAMES = 300  # of a song that are looked at
WINDOW_SECONDS = 0.08  # of the short-time spectrum, at least: long enough to tell partials from what lies between
SIDE_FRAMES = 200  # of which the likeness of left and right is taken
YOUNG_SECONDS = 0.12  # a note's attack
GROUPS = 3  # of a register's cells: young, quiet, loud
ITERATIONS = 60  # of the partials' strengths
PRIOR = 0.02  # weight of overtones at 1/n against what was measured
NOISE_LOG = 0.5772  # ln of the mean power of noise over the geometric mean of its spectrum
SILENT = 1e-9  # power density of breath that nobody hears, relative to the roll's level
RIDGE = 1e-3
HELD_FRAMES = 8  # notes that fall for so long tell of decay
SONG_SECONDS = 120.0  # of a file that are listened to
USUAL_ATTACK, USUAL_DECAY = 0.04, 0.8  # seconds, of registers without notes


def thinned(bands: np.ndarray) -> np.ndarray:
    """Return the frames of bands (C, 88, T) that a tone is found by, (C, 88, T // step), a copy."""
    return bands[..., :: _step(bands.shape[2])].copy()


def _step(frames: int) -> int:
    """Return how many frames of a song it is from one that is looked at to the next."""
    return max(-(-frames // MOST_FRAMES), 1)


def find_tone(
    signal: Signal, sample_rate: int, bands: np.ndarray, roll: np.ndarray, level: float, settings: KeySettings
) -> Tone | None:
    """Find the tone of a song; None where its bands are not those of all keys, or nothing sounds.

    Args:
        signal: (C, S) float32.
        sample_rate: Hz.
        bands: (C, 88, T // step), of what `analysed_bands` found in the signal those that are looked at (`thinned`).
        roll: (C, K, T), RMS / level, what `roll_of` made of it.
        level: factor from the roll to full scale.
        settings: those of the analysis.
    """
    if not settings.cleaned:
        return None
    if roll.shape[1] < bands.shape[1]:
        roll = np.pad(roll, ((0, 0), (settings.keys.low - LOWEST_KEY, HIGHEST_KEY - settings.keys.high), (0, 0)))
    plane = roll.max(axis=0)
    if not plane.any():
        return None
    step = _step(roll.shape[2])
    strengths, brightness, fades = _partials(bands / np.float32(level), roll, plane, step, settings)
    attack, decay = _envelopes(plane, settings)
    logs, likeness = _densities(signal, sample_rate, roll.shape[2], step, settings)
    breath = _breath(logs - 2 * np.log(level), roll, step, settings)
    tone = {"fades": fades, "brightness": brightness, "attack_seconds": attack, "decay_seconds": decay,
            "breath": breath, "likeness": likeness}  # fmt: skip
    partials = np.sqrt(strengths / strengths.sum(axis=1, keepdims=True))
    return Tone(partials, **{name: np.clip(values, *LIMITS[name]) for name, values in tone.items()})


def tone_of_file(path: str | os.PathLike[str]) -> Tone:
    """Find the tone of a music file by its first two minutes.

    Raises AudioError where it cannot be decoded, or nothing sounds in it.
    """
    from musigan.sound.audio import decode

    settings = KeySettings()
    try:
        recording = decode(path, seconds=SONG_SECONDS)
    except AudioError as error:
        raise AudioError(f"{os.fspath(path)}: {error}") from error
    bands = analysed_bands(recording.signal, recording.sample_rate, settings)
    roll, level = roll_of(bands, recording.sample_rate, settings)
    tone = find_tone(recording.signal, recording.sample_rate, thinned(bands), roll, level, settings)
    if tone is None:
        raise AudioError(f"{os.fspath(path)} has no notes to take a timbre from: give a song with some")
    return tone


def _registers(values: np.ndarray) -> np.ndarray:
    """Add up values by key, (88, ...), to those of registers, (REGISTERS, ...)."""
    return np.asarray(np.add.reduceat(values, np.arange(REGISTERS) * REGISTER_KEYS, axis=0))


def _partials(
    bands: np.ndarray, roll: np.ndarray, plane: np.ndarray, step: int, settings: KeySettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the powers of the partials, (REGISTERS, PARTIALS), and how they change with loudness and age.

    Args:
        bands: (C, 88, T // step) relative to the roll's level.
        roll: (C, 88, T).
        plane: (88, T), the roll's loudest channel.
        step: frames from one that is looked at to the next.
        settings: of the analysis.
    """
    frames = np.arange(plane.shape[1], dtype=np.int32)
    last_silent = [np.maximum.accumulate(np.where(row > 0, np.int32(-1), frames))[::step] for row in plane]
    ages = (frames[::step] - np.stack(last_silent) - 1) * settings.frame_seconds
    power = np.square(roll[..., ::step]).mean(axis=0)
    sums, counts = _registers(power.sum(axis=1)), _registers((power > 0).sum(axis=1))
    usual = np.repeat(sums / np.maximum(counts, 1), REGISTER_KEYS)[:88, None]
    groups = np.where(ages < YOUNG_SECONDS, 0, np.where(power < usual, 1, 2))
    parts = np.stack([np.where(groups == group, power, np.float32(0)) for group in range(GROUPS)])  # (GROUPS, 88, T)
    strengths = _strengths(np.square(bands).mean(axis=0), parts)  # (REGISTERS, GROUPS, PARTIALS)
    weights = _registers(parts.sum(axis=2).T) + 1e-9  # (REGISTERS, GROUPS)
    means = weights / np.maximum(_registers((parts > 0).sum(axis=2).T), 1)
    mean_ages = _registers(np.stack([(part * ages).sum(axis=1) for part in parts], axis=1)) / weights
    young, quiet, loud = (strengths[:, group] for group in range(GROUPS))
    numbers = np.arange(1, PARTIALS + 1)
    louder = np.maximum(0.5 * np.log(means[:, 2] / means[:, 1]), 0.3)
    old = (weights[:, 1:, None] * strengths[:, 1:]).sum(axis=1) / weights[:, 1:].sum(axis=1, keepdims=True)
    older = np.maximum(mean_ages[:, 1:].mean(axis=1) - mean_ages[:, 0], 0.1)
    brightness = _slopes(loud, quiet, np.log2(numbers)) / louder
    fades = -_slopes(old, young, numbers - 1.0) / older
    return (weights[..., None] * strengths).sum(axis=1) / weights.sum(axis=1, keepdims=True), brightness, fades


def _strengths(bands: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return the power of each group's partials against the note's, (REGISTERS, GROUPS, PARTIALS).

    Args:
        bands: (88, T) power of what was measured.
        parts: (GROUPS, 88, T) power of the notes.

    Multiplicative updates (Lee and Seung 2001) keep them positive. Errors count relative to a band's power, and
    partials that nothing is known of stay at 1/n.
    """
    size = REGISTERS * GROUPS * PARTIALS
    products, targets = np.zeros((size, size), np.float32), np.zeros(size, np.float32)
    places = np.arange(size).reshape(REGISTERS, GROUPS, PARTIALS)
    distances = np.rint(12 * np.log2(np.arange(1, PARTIALS + 1))).astype(int)  # in keys
    weights = 1 / (bands + 0.1 * bands.mean(axis=1, keepdims=True) + 1e-9)
    for key in range(len(bands)):
        numbers = np.flatnonzero(distances <= key)
        rows = places[(key - distances[numbers]) // REGISTER_KEYS, :, numbers].ravel()
        notes = parts[:, key - distances[numbers]].swapaxes(0, 1).reshape(len(rows), -1) * weights[key]
        products[np.ix_(rows, rows)] += notes @ notes.T
        targets[rows] += notes @ (bands[key] * weights[key])
    prior = np.tile(1 / np.arange(1, PARTIALS + 1, dtype=np.float32) ** 2, REGISTERS * GROUPS)
    own = PRIOR * np.diag(products) + 1e-3
    products[np.arange(size), np.arange(size)] += own
    targets += own * prior
    strengths = prior.copy()
    for _ in range(ITERATIONS):
        strengths *= targets / (products @ strengths)
    return strengths.reshape(REGISTERS, GROUPS, PARTIALS)


def _slopes(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how fast one set of partials' amplitudes rises over places against another, (REGISTERS,).

    Both are powers, (REGISTERS, PARTIALS), taken relative to the first partial; strong partials count more.
    """
    ratios = 0.5 * np.log((one + 1e-6) / (other + 1e-6))
    weights = np.sqrt(one * other) * places
    return np.asarray((weights * (ratios - ratios[:, :1])).sum(axis=1) / ((weights * places).sum(axis=1) + 1e-9))


def _envelopes(loudness: np.ndarray, settings: KeySettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the attack and the decay of the notes of a plane (88, T), in seconds, (REGISTERS,) each."""
    notes = find_notes(loudness)
    if not len(notes):
        return np.full(REGISTERS, USUAL_ATTACK), np.full(REGISTERS, USUAL_DECAY)
    begins = np.cumsum(notes.lengths) - notes.lengths
    ages = np.arange(notes.lengths.sum()) - np.repeat(begins, notes.lengths)
    cells = loudness.ravel()[ages + np.repeat(notes.keys * loudness.shape[1] + notes.starts, notes.lengths)]
    is_risen = cells >= 0.9 * np.repeat(notes.loudness, notes.lengths)
    risen = np.minimum.reduceat(np.where(is_risen, ages, ages.size), begins)
    last = cells[begins + notes.lengths - 1]
    falling = np.maximum(notes.lengths - risen - 1, 0)
    rates = np.log(np.maximum(notes.loudness / last, 1.0)) / np.maximum(falling, 1)  # nepers a frame
    registers = notes.keys // REGISTER_KEYS

    def means(values: np.ndarray, chosen: np.ndarray, usual: float) -> np.ndarray:
        """Return the mean of the chosen notes' values by register, weighted by loudness; `usual` where none is."""
        weights = notes.loudness * chosen
        sums = [np.bincount(registers, part, REGISTERS) for part in (weights * values, weights)]
        return np.asarray((sums[0] + 0.1 * usual) / (sums[1] + 0.1))

    seconds = settings.frame_seconds
    attack = means((risen + 0.5) * seconds, np.ones(len(notes)), USUAL_ATTACK)
    return attack, 1 / np.maximum(means(rates / seconds, falling >= HELD_FRAMES, 1 / USUAL_DECAY), 0.01)


def _densities(
    signal: Signal, sample_rate: int, frames: int, step: int, settings: KeySettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return ln of the noise density in the breath's bands, (C, BANDS, T // step), and likeness of sides, (BANDS,)."""
    samples = settings.frame_samples(sample_rate)
    window = _window(sample_rate)
    import scipy.fft

    middles = np.arange(samples // 2, samples // 2 + frames * samples, step * samples)  # of the frames
    begins = middles[middles <= signal.shape[1] + window.size // 2] - window.size // 2
    views = np.zeros((signal.shape[0], len(begins), window.size), np.float32)  # (C, T, size)
    for number, begin in enumerate(begins.tolist()):
        first, stop = max(begin, 0), min(begin + window.size, signal.shape[1])
        if first < stop:
            views[:, number, first - begin : stop - begin] = signal[:, first:stop]
    spectrum = scipy.fft.rfft(views * window)  # (C, T, bins)
    weights = _bin_weights(sample_rate)
    logs = np.log(np.square(spectrum.real) + np.square(spectrum.imag) + np.float32(1e-20))
    likeness = np.ones(BANDS)
    if len(views) == 2:
        some = spectrum[:, :: max(1, spectrum.shape[1] // SIDE_FRAMES)]
        sides = (some[0] * some[1].conj()).real.sum(axis=0), *(np.abs(some) ** 2).sum(axis=1)
        both, left, right = (weights @ side for side in sides)
        likeness = both / np.sqrt(left * right + 1e-12 * (left.max() * right.max() + 1e-12))
    # Bands above the Nyquist frequency are silent.
    offsets = np.where(weights.any(axis=1), NOISE_LOG, np.log(SILENT) - 100)
    return np.matmul(weights, logs.swapaxes(1, 2)) + offsets[:, None], likeness


def _window(sample_rate: int) -> np.ndarray:
    """Return the window of the short-time spectrum, float32, of power 1."""
    size = 1 << (round(WINDOW_SECONDS * sample_rate) - 1).bit_length()
    window = np.hanning(size + 1)[:size]
    return np.asarray(window / np.sqrt((window**2).sum()), np.float32)


def _bin_weights(sample_rate: int) -> np.ndarray:
    """Return the weights by which the bins of a spectrum are averaged in the breath's bands, float32 (BANDS, bins)."""
    size = _window(sample_rate).size
    weights = band_weights(np.fft.rfftfreq(size, 1 / sample_rate))
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9), np.float32)


def _breath(logs: np.ndarray, roll: np.ndarray, step: int, settings: KeySettings) -> np.ndarray:
    """Return the coefficients of the breath, (BANDS, FEATURES), by ridge regression.

    Args:
        logs: (C, BANDS, T // step), ln of the density of noise relative to the roll's level.
        roll: (C, 88, T).
        step: frames from one that is looked at to the next.
        settings: of the analysis.
    """
    features = breath_features(roll, KeyRange().frequencies_hz(), settings.frame_seconds, step)
    rows = np.moveaxis(features, 2, 0).reshape(BANDS, FEATURES, -1)
    products = rows @ rows.swapaxes(1, 2) + RIDGE * rows.shape[2] * np.diag([0.0] + [1.0] * (FEATURES - 1))
    targets = rows @ np.moveaxis(np.maximum(logs, np.log(SILENT)), 1, 0).reshape(BANDS, -1, 1)
    return np.asarray(np.linalg.solve(products, targets)[..., 0])

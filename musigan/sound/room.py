"""A room: sound reverberates as in a hall, by convolution with an impulse response that is made here.

Conventions: a signal is float32 (C, S). An amount goes from 0, no room, to 1, a large hall; with it grow how long sound
rings and how loud the room is against the direct sound.

An impulse response begins with single echoes of the nearest walls, which become denser with the square of the time
(Kuttruff, Room Acoustics), and goes on as Gaussian noise, which has no resonances to ring like metal (Moorer 1979,
About This Reverberation Business). High tones die away sooner, as air and walls swallow them. Both sides have noise of
their own, so that the room is wide; their mean, a listener's with one loudspeaker, is such noise again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from musigan.errors import SettingsError
from musigan.sound.takes import reblocked

SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 2.0  # in which 1 kHz falls by 60 dB, for amounts next to 0 and of 1
LOUDEST = 0.6  # of the room against the direct sound, RMS, for an amount of 1
FIRST_SECONDS = 0.008  # until the nearest wall answers
DENSE_SECONDS = 0.08  # from which on echoes lie sample by sample
# Reverberation against that at 1 kHz, by octave.
DECAY_SHARES = {125: 1.15, 250: 1.1, 500: 1.05, 1000: 1.0, 2000: 0.85, 4000: 0.65, 8000: 0.45, 16000: 0.3}
END_SECONDS = 0.05  # of fade at the end of the response
LOW_CUT_HZ = 120.0  # below, a room only makes basses muddy
CROSSFEED = 0.6  # share of the mean of the sides in what each side's room hears
_SEED = 1979


def check_amount(amount: float) -> None:
    """Raise SettingsError for an amount that is not between 0 and 1."""
    if not 0 <= amount <= 1:
        raise SettingsError(f"--room {amount:g} is out of range: expected 0, no room, to 1, a hall")


def reverberation_seconds(amount: float) -> float:
    """Return the time in which a tone of 1 kHz falls by 60 dB."""
    return SHORTEST_SECONDS + (LONGEST_SECONDS - SHORTEST_SECONDS) * amount


def add_room(signal: np.ndarray, sample_rate: int, amount: float) -> np.ndarray:
    """Let a whole signal (C, S) sound in a room and ring out: (C, S + reverberation - 1); 0 returns it as it is.

    Raises SettingsError for an amount that is not between 0 and 1.
    """
    check_amount(amount)
    return np.concatenate(list(in_room([signal], sample_rate, amount)), axis=1) if amount else signal


def in_room(blocks: Iterable[np.ndarray], sample_rate: int, amount: float) -> Iterator[np.ndarray]:
    """Let a signal that comes in blocks (C, n) sound in a room and ring out; 0 passes it on as it is."""
    if not amount:
        yield from blocks
        return
    from scipy.signal import fftconvolve

    responses = LOUDEST * amount * impulse_response(sample_rate, amount)
    ringing = np.zeros((1, 0), np.float32)  # what is left to sound of the blocks before
    for block in reblocked(blocks):
        if not block.shape[1]:
            yield block
            return
        sound = np.pad(block, ((0, 0), (0, responses.shape[1] - 1)))
        sound[:, : ringing.shape[1]] += ringing[:, : sound.shape[1]]
        heard = (1 - CROSSFEED) * block + CROSSFEED * block.mean(axis=0)
        for side, own in enumerate(heard):
            sound[side] += fftconvolve(own, responses[side % 2])
        yield sound[:, : block.shape[1]]
        ringing = sound[:, block.shape[1] :]
    yield ringing


@lru_cache(maxsize=4)
def impulse_response(sample_rate: int, amount: float) -> np.ndarray:
    """Return the room's answer to an impulse on both sides without the impulse, float32 (2, S), each of energy 1."""
    import scipy.fft

    seconds = reverberation_seconds(amount)
    samples = round(seconds * sample_rate)
    times = np.arange(samples) / sample_rate
    generator = np.random.default_rng(_SEED)
    density = np.where(times < FIRST_SECONDS, 0.0, np.minimum(times / DENSE_SECONDS, 1.0) ** 2)
    is_echo = generator.random((2, samples)) < density
    echoes = generator.standard_normal((2, samples)) * is_echo / np.sqrt(np.maximum(density, 1e-9))
    spectrum = scipy.fft.rfft(echoes)
    frequencies = np.maximum(scipy.fft.rfftfreq(samples, 1 / sample_rate), 1.0)
    spectrum /= 1 + (LOW_CUT_HZ / frequencies) ** 4
    octaves = np.log2(list(DECAY_SHARES))
    response = np.zeros((2, samples))
    for number, share in enumerate(DECAY_SHARES.values()):
        # A triangle in octaves; all of them add up to 1.
        band = np.interp(np.log2(frequencies), octaves, np.arange(len(octaves)) == number)
        response += scipy.fft.irfft(band * spectrum, samples) * 10 ** (-3 * times / (share * seconds))
    end = min(round(END_SECONDS * sample_rate), samples)
    response[:, samples - end :] *= np.linspace(1, 0, end)
    response /= np.sqrt((response**2).sum(axis=1, keepdims=True))
    return response.astype(np.float32)

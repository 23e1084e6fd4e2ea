"""Takes: the same in memory and in a file, read in any part; and what works on signals block by block."""

from __future__ import annotations

import tempfile
import tracemalloc

import numpy as np
import pytest
from pyloudnorm import Meter

from musigan.errors import AudioError
from musigan.sound import lufs, room, takes
from musigan.sound.takes import Recorder, Take, mixed, reblocked
from tests import sounds


@pytest.fixture(params=["memory", "file"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of ten samples, and takes of more than 200 bytes in a file, or all in memory."""
    monkeypatch.setattr(takes, "BLOCK_SAMPLES", 10)
    monkeypatch.setattr(takes, "MOST_BYTES", 200 if request.param == "file" else 1 << 20)


def cut(signal: np.ndarray, *places: int) -> list[np.ndarray]:
    return np.split(signal, places, axis=1)


@pytest.mark.usefixtures("small")
def test_a_take_is_the_signal_whatever_its_blocks_were() -> None:
    signal = sounds.noise(0.037, 1000)
    for places in ((), (5,), (10, 20), (1, 2, 3, 30), (0, 0, 36)):
        in_columns = [np.asfortranarray(part) for part in cut(signal, *places)]
        recorder = Recorder()
        for part in in_columns:
            recorder.add(part)
        assert recorder.samples == 37
        np.testing.assert_array_equal(recorder.finish().signal(), signal)
        take = Take(in_columns)
        assert take.signal().flags.c_contiguous
        assert (take.channels, take.samples) == signal.shape
        for start, stop in ((0, 37), (0, 10), (9, 11), (13, 13), (30, 37), (36, 99)):
            np.testing.assert_array_equal(take.signal(start, stop), signal[:, start:stop])
        assert take.peak == np.abs(signal).max()
        assert take.quantile(0.9) == pytest.approx(np.quantile(np.abs(signal).astype(float), 0.9), rel=1e-6)


@pytest.mark.usefixtures("small")
def test_a_take_is_changed_as_it_is_read() -> None:
    signal = sounds.noise(0.037, 1000)
    take = Take([signal])
    mono = take.changed(lambda block: 2 * block).changed(lambda block: block[:1])
    assert mono.channels == 1
    np.testing.assert_array_equal(mono.signal(5, 31), 2 * signal[:1, 5:31])
    np.testing.assert_array_equal(take.signal(), signal)


def test_a_take_of_nothing() -> None:
    for blocks in ([], [np.zeros((2, 0), np.float32)]):
        take = Take(blocks)
        assert (take.samples, take.peak, take.quantile(0.999)) == (0, 0.0, 0.0)
        assert take.signal().shape == (max(len(blocks) * 2, 1), 0)


def test_a_long_take_needs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "BLOCK_SAMPLES", 1 << 11)
    monkeypatch.setattr(takes, "MOST_BYTES", 1 << 15)
    tracemalloc.start()
    try:
        take = Take(np.full((2, 1 << 11), number / 128, np.float32) for number in range(128))
        assert take.quantile(0.999) == take.peak == 127 / 128
        lufs.normalised(take, 12000, -20.0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20  # the signal has 2 MB
    finally:
        tracemalloc.stop()


def test_no_room_for_a_long_take_is_told_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "MOST_BYTES", 100)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(AudioError, match=r"temporary file in .*No space left"):
        Take([np.zeros((2, 100), np.float32)])


def test_signals_of_other_blocks_add_up() -> None:
    one, other = sounds.noise(1, 100), sounds.noise(1, 100, seed=3)
    np.testing.assert_array_equal(np.concatenate(list(mixed(cut(one, 7, 50), cut(other, 99))), axis=1), one + other)
    assert [block.shape[1] for block in reblocked(cut(one, 7, 50), 40)] == [40, 40, 20]


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.55, 3.21, 30.0])
def test_the_meter_measures_as_pyloudnorm(seconds: float) -> None:
    signal = sounds.noise(seconds, 12000) * np.linspace(0.001, 1, round(seconds * 12000), dtype=np.float32)
    padded = np.pad(signal, ((0, 0), (0, max(0, 4800 - signal.shape[1]))))
    wanted = Meter(12000).integrated_loudness(padded.T)
    for places in ((), (100,), (1, 2, 700)):
        assert lufs.measure_blocks(cut(signal, *places), 12000) == pytest.approx(wanted, abs=1e-4)


def test_a_room_does_not_depend_on_blocks() -> None:
    signal = sounds.noise(0.5, 8000)
    whole = room.add_room(signal, 8000, 0.3)
    for samples in (100, 999, 3000):
        blocks = room.in_room(reblocked([signal], samples), 8000, 0.3)
        np.testing.assert_allclose(np.concatenate(list(blocks), axis=1), whole, atol=1e-6)

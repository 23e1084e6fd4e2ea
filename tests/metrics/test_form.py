"""The metrics of form on pieces whose repetition, sections and edges are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from musigan.metrics import form
from tests.metrics.pieces import FRAME

KEYS = 10


def song_of(letters: str, bar_frames: int = 100, seed: int = 3) -> np.ndarray:
    """Return (K, T) with a random bar of notes for each letter; the same letter is the same bar."""
    generator = np.random.default_rng(seed)
    bars = {}
    for letter in sorted(set(letters)):
        steps = generator.random((KEYS, 16)) * (generator.random((KEYS, 16)) < 0.25)
        bars[letter] = np.repeat(steps, -(-bar_frames // 16), axis=1)[:, :bar_frames]
    return np.concatenate([bars[letter] for letter in letters], axis=1)


def bars_of(letters: str) -> np.ndarray:
    return form.bar_vectors(song_of(letters), np.arange(len(letters) + 1) * 100.0)


def test_mean_between_edges_within_frames() -> None:
    loudness = np.array([[1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 1.0, 0.0]])
    means = form.mean_between(loudness, np.array([0.5, 2.0, 4.0]))
    assert means == pytest.approx(np.array([[(0.5 + 2) / 1.5, 6.0], [0.0, 0.5]]))


def test_repetition_finds_its_lag() -> None:
    # Five bars of 2 s, twice: a lag of 10 s; with no bar like another nothing comes back within 15 s.
    assert form.repetition(song_of("ABCDEABCDEABCDE"), FRAME) == pytest.approx(1, abs=1e-6)
    assert form.repetition(song_of("ABCDEFGHIJKLMNO"), FRAME) < 0.15
    # Nine bars are 18 s, beyond the lags.
    assert form.repetition(song_of("ABCDEFGHIABCDEFGHI"), FRAME) < 0.2
    assert np.isnan(form.repetition(np.full((KEYS, 1500), 0.4), FRAME))  # a chord that is held is no repetition
    assert np.isnan(form.repetition(song_of("A"), FRAME))


def test_repetition_by_its_definition() -> None:
    loudness = np.random.default_rng(8).random((3, 500))
    # A quarter of a second is 12.5 frames: blocks of 12 and 13 by turns, each edge rounded to the even frame.
    edges = [round(12.5 * number) for number in range(41)]
    profiles = np.stack([loudness[:, a:b].mean(axis=1) for a, b in itertools.pairwise(edges)])
    profiles -= profiles.mean(axis=0)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    expected = max(np.mean([profiles[n] @ profiles[n + lag] for n in range(40 - lag)]) for lag in range(8, 40))
    assert form.repetition(loudness, FRAME) == pytest.approx(expected)


def test_bars_of_any_length_are_alike_by_their_steps() -> None:
    slow, fast = song_of("AB", 160), song_of("A", 96)
    loudness = np.concatenate((slow, fast, np.zeros((KEYS, 50))), axis=1)
    bars = form.bar_vectors(loudness, np.array([0.0, 160.0, 320.0, 416.0, 466.0]))
    assert bars.shape == (4, KEYS * 16)
    assert bars[0] @ bars[2] == pytest.approx(1)
    assert bars[0] @ bars[1] < 0.6
    assert not bars[3].any()
    assert form.bar_vectors(loudness, np.array([0.0])).shape == (0, KEYS * 16)


def test_likeness_at_lags() -> None:
    bars = bars_of("ABCABCABX")
    assert form.likeness_at(bars, 3) == pytest.approx((5 + bars[5] @ bars[8]) / 6)
    assert form.likeness_at(bars, 1) < 0.6
    assert np.isnan(form.likeness_at(bars, 9))


def test_novelty_peaks_where_sections_meet() -> None:
    letters = "ABABABABCDCDCDCDCDABABABAB"
    values = form.novelty(bars_of(letters))
    assert sorted(np.argsort(values)[-2:] + 1) == [8, 18]
    assert form.novelty_peaks(bars_of(letters), 0.5) == 4  # two in half a minute
    assert form.novelty_peaks(bars_of("A" * 16), 0.5) == 0
    assert np.isnan(form.novelty_peaks(bars_of("ABCDEFG"), 0.5))


def test_phrases_that_come_back() -> None:
    # Of the eleven phrases, AB BC CD (bars 1 to 4) come back at bar 8; their mirror images are the others that do.
    assert form.share_coming_back(bars_of("ABCDXYZABCDW")) == pytest.approx(6 / 11)
    assert form.share_coming_back(bars_of("ABCDEFGHIJKL")) == 0
    # The same bars in another order: none of the phrases of two.
    assert form.share_coming_back(bars_of("ABCDXYZCADBW")) == 0
    assert form.share_coming_back(bars_of("A" * 9)) == 1
    assert np.isnan(form.share_coming_back(bars_of("ABCDABC")))
    assert np.isnan(form.share_coming_back(np.zeros((12, 4))))


def test_loudness_of_beginning_and_ending() -> None:
    loudness = np.ones((KEYS, 800))
    loudness[:, :200] *= 0.25
    loudness[:, 700:] *= 0.5
    edges = np.arange(9) * 100.0
    assert form.edge_loudness(loudness, edges) == pytest.approx((0.25, 0.75))
    assert np.isnan(form.edge_loudness(loudness, edges[:7])).all()
    assert np.isnan(form.edge_loudness(np.zeros((KEYS, 800)), edges)).all()


def test_values_of_excerpts_have_no_edges() -> None:
    letters = "ABCDABCDABCD"
    loudness, edges = song_of(letters), np.arange(13) * 100.0
    values = form.form_values(loudness, bars_of(letters), edges, FRAME, (False, True))
    assert np.isnan(values["beginning"])
    assert values["ending"] > 0
    assert values["likeness 4"] == values["likeness 8"] == pytest.approx(1)
    assert np.isnan(values["likeness 16"])
    assert values["coming back"] == 1

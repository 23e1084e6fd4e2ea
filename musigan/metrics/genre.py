"""Is transferred music taken for the kind it was turned into? Judged by classifiers that never heard the song.

As in Brunner et al. (arXiv 1809.07575, section V): a classifier of the two kinds is asked about songs as they are
(before), turned into the other kind (after), and turned back (back). All songs are held back from training, and each is
judged by a classifier that learned from the others; it looks at the named features of `musigan.metrics.features`, not
at the rolls the critics saw. Silence would be taken for another kind, too: beside the verdicts stands how much of the
song is left, as the cosine of the roots of loudness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from musigan.errors import MusiganError
from musigan.metrics.features import musical_features
from musigan.metrics.twosample import predict

if TYPE_CHECKING:
    from musigan.store import Reader
    from musigan.transfer import Transfer

Classifier = Literal["forest", "logistic"]
CLASSIFIERS: tuple[Classifier, ...] = ("forest", "logistic")
VERSIONS = ("before", "after", "back")
MOST_FOLDS = 10


@dataclass(frozen=True)
class Song:
    """A held-out song: its kind, features (3, N, F) of its N rolls before, after and back, and what is left of it."""

    kind: int
    features: np.ndarray
    alike: tuple[float, ...] = (1.0, 1.0, 1.0)  # cosine with the song, before, after and back


@dataclass(frozen=True)
class Verdict:
    """Shares of the rolls of one kind that `classifier` takes for that kind: after transfer, few are best."""

    kind: str
    classifier: Classifier
    songs: int
    rolls: int
    before: float
    after: float
    back: float

    @property
    def strength(self) -> float:
        """How much of the kind was taken away: before - after; 1 at most."""
        return self.before - self.after


def held_out_songs(
    transfer: Transfer, readers: Sequence[Reader], heard: Callable[[str], None] = lambda title: None
) -> Iterator[Song]:
    """The held-out songs of a store for each kind, turned into the other kind and back; `heard` is told the titles.

    Raises MusiganError where a store holds fewer than two songs back.
    """
    from musigan.store import Item
    from musigan.transfer import whole_song

    frame_seconds, low_key = float(transfer.store["frame_seconds"]), int(transfer.store["low_key"])
    chosen = [[info for info in reader.infos() if info.attributes.get("split") == "validation"] for reader in readers]
    for reader, infos in zip(readers, chosen, strict=True):
        if len(infos) < 2:
            raise MusiganError(
                f"{reader.source}: {len(infos)} songs are held back; a judge learns from some and is asked about "
                "others: hold more back with pair-chunks --validation"
            )
    for kind, (reader, infos) in enumerate(zip(readers, chosen, strict=True)):
        for info in infos:
            heard(str(info.attributes.get("title", info.name)))
            song = whole_song(Item(info, reader.read(info.name)), frame_seconds)
            after = transfer.song(song, 1 - kind)
            versions = (song, after, transfer.song(after, kind))
            told = [
                [list(musical_features(r, frame_seconds, low_key).values()) for r in _rolls(v, transfer.shape.frames)]
                for v in versions
            ]
            yield Song(kind, np.array(told), tuple(alike(song, each) for each in versions))


def alike(song: np.ndarray, version: np.ndarray) -> float:
    """Cosine of the roots of two songs' loudness, both (C, K, T); 0 with silence."""
    one, other = (np.sqrt(np.asarray(each, np.float64)) for each in (song, version))
    return float((one * other).sum() / max(np.sqrt((one**2).sum() * (other**2).sum()), 1e-12))


def _rolls(song: np.ndarray, frames: int) -> list[np.ndarray]:
    """(C, K, T) -> rolls (C, K, frames) one after another; one at least."""
    return [song[..., at : at + frames] for at in range(0, max(song.shape[-1] - frames, 0) + 1, frames)]


def judge(songs: Sequence[Song], names: Sequence[str], classifier: Classifier, seed: int = 0) -> list[Verdict]:
    """A verdict for each kind, the songs (two of each kind at least) divided into folds by song."""
    turns = [0] * len(names)
    fold = []
    for song in songs:  # songs of a kind take turns, so that every fold is learned without some of each
        fold.append(turns[song.kind])
        turns[song.kind] += 1
    count = min(*turns, MOST_FOLDS)
    own: dict[int, list[np.ndarray]] = {kind: [] for kind in range(len(names))}
    for number in range(count):
        learn = [song for song, turn in zip(songs, fold, strict=True) if turn % count != number]
        points = np.concatenate([song.features[0] for song in learn])
        labels = np.concatenate([np.full(song.features.shape[1], song.kind) for song in learn])
        mean, deviation = points.mean(0), points.std(0) + 1e-6
        for song in (song for song, turn in zip(songs, fold, strict=True) if turn % count == number):
            asked = np.concatenate(list(song.features))
            said = predict(classifier, (points - mean) / deviation, labels, (asked - mean) / deviation, seed)
            own[song.kind].append((said == song.kind).reshape(len(VERSIONS), -1))
    return [_verdict(names[kind], classifier, answers) for kind, answers in own.items()]


def _verdict(name: str, classifier: Classifier, answers: list[np.ndarray]) -> Verdict:
    """Of answers (3, N) for each song of a kind."""
    rolls = np.concatenate(answers, axis=1)
    before, after, back = (float(share) for share in rolls.mean(1))
    return Verdict(name, classifier, len(answers), rolls.shape[1], before, after, back)


def lines(verdicts: Sequence[Verdict], songs: Sequence[Song], names: Sequence[str]) -> Iterator[str]:
    """The verdicts, and what is left of songs of the kinds `names`, as a table for people."""
    yield f"{'judged as their own kind':<28}{'classifier':<12}" + "".join(f"{name:>8}" for name in VERSIONS)
    for verdict in verdicts:
        what = f"{verdict.kind}: {verdict.rolls} rolls, {verdict.songs} songs"
        shares: list[Any] = [getattr(verdict, name) for name in VERSIONS]
        yield f"{what:<28}{verdict.classifier:<12}" + "".join(f"{share:>7.0%} " for share in shares)
    for kind, name in enumerate(names):
        left = np.mean([song.alike for song in songs if song.kind == kind], axis=0)
        yield f"{name + ': like the song':<28}{'cosine':<12}" + "".join(f"{value:>7.2f} " for value in left)
    yield f"strength (before - after) {np.mean([verdict.strength for verdict in verdicts]):.2f}, 1 at best"

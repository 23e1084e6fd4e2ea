"""Requests for music, which check that their fields go together and that a checkpoint's model can fulfil them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.errors import FieldError, StoreError
from musigan.rolls.beats import Beat, Beats

MAX_TEMPERATURE = 10.0
FIELD_OF_CONDITION = {"style": "style", "tempo": "tempo", "kept": "keep"}  # what a condition is asked for by


@dataclass(frozen=True)
class Capabilities:
    """What a checkpoint's model can do, and the music that it knows: all that requests are checked against."""

    channels: int
    keys: int
    extends: bool = False  # continues music
    has_critic: bool = False
    takes_temperature: bool = False
    conditions: tuple[str, ...] = ()  # "style", "tempo", "kept", ...
    styles: tuple[str, ...] = ()  # of the songs that were learned from, in lower case

    def check_extends(self) -> None:
        """Raise FieldError where the model cannot continue music."""
        if not self.extends:
            raise FieldError("{prime}: this model cannot go on from music; `musigan models` says which can")

    def check_takes(self, condition: str) -> None:
        """Raise FieldError where the model does not take `condition`."""
        if condition not in self.conditions:
            field = FIELD_OF_CONDITION[condition]
            raise FieldError(f"{{{field}}}: this checkpoint's model does not use it; `musigan models` says which do")

    def check_size(self, what: str, roll: np.ndarray) -> None:
        """Raise StoreError where a roll (C, K, T) has other channels or keys than the model's."""
        if roll.shape[:2] != (self.channels, self.keys):
            raise StoreError(
                f"the {what} has {roll.shape[0]} channels x {roll.shape[1]} keys, the checkpoint {self.channels} x "
                f"{self.keys}: make its keys with the settings that it was trained with"
            )


@dataclass(frozen=True)
class Request:
    """Request for a piece, beyond its length; `check` refuses what a model cannot do."""

    temperature: float | None = None  # of draws from a likelihood; 1 is as trained, None the family's default
    past: np.ndarray | None = None  # (C, K, P) in linear loudness: music to continue
    past_beats: Beats | None = None  # its beats, from its first frame on
    style: str | None = None  # one of the store's; None takes that of a random training song
    beat: Beat | None = None  # None takes that of a random training song
    kept: np.ndarray | None = None  # (C, K, P) in linear loudness, below 0 in tracks to be generated
    kept_beats: Beats | None = None  # its beats, from its first frame on

    def check(self, able: Capabilities, scored: bool = False) -> None:
        """Raise FieldError or StoreError where a model with these capabilities cannot fulfil the request."""
        if scored and not able.has_critic:
            raise FieldError("{best}: this checkpoint's model has no critic to choose by; draw with {count}")
        if self.temperature is not None and not able.takes_temperature:
            raise FieldError("{temperature}: this checkpoint's model draws from noise alone; leave it out")
        for condition, value in (("style", self.style), ("tempo", self.beat), ("kept", self.kept)):
            if value is not None:
                able.check_takes(condition)
        if self.style is not None and self.style.lower() not in able.styles:
            known_styles = ", ".join(able.styles) or "none: no song had a genre"
            raise FieldError(
                "{style} {0}: not what this checkpoint has learned from; it knows {1}", self.style, known_styles
            )
        if self.kept is not None:
            able.check_size("given track", self.kept)
        if self.past is not None:
            able.check_extends()
            able.check_size("music to go on from", self.past)


NO_REQUEST = Request()


@dataclass(frozen=True)
class DrawingRequest:
    """Request for pieces: how many, how long, how they are chosen and what they begin with.

    Raises FieldError where its fields do not go together.
    """

    seconds: float = 30.0  # of each piece
    seed: int = 1
    count: int | None = None  # None: 4, or 1 after each prime
    best: int = 0  # so many, the best by the critic; 0: all that are drawn
    of: int = 0  # how many `best` chooses among; 0: 25 for each
    temperature: float | None = None
    morph: str = ""  # keys store: from each song to the next
    prime: str = ""  # audio file or keys store to continue
    prime_from: float | None = None  # second of the song; None: its end
    style: str = ""
    tempo: float | None = None  # beats a minute
    keep: str = ""  # track of `songs` to which the others are made
    songs: str = ""  # keys store

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_sources()
        if self.temperature is not None and not 0 < self.temperature <= MAX_TEMPERATURE:
            raise FieldError(
                "{temperature} {0:g}: expected above 0 and up to {1:g}; 1 is as learned",
                self.temperature,
                MAX_TEMPERATURE,
            )
        if self.morph and self.temperature is not None:
            raise FieldError("{morph} draws nothing that {temperature} could change: leave one of them out")
        if self.morph and self.prime:
            raise FieldError("{morph} leads from song to song, {prime} goes on from one: give one of them")
        if self.prime_from is not None and not self.prime:
            raise FieldError("{prime_from} {0:g} says where in a song to begin: add {prime} SONG", self.prime_from)

    def _check_numbers(self) -> None:
        """Raise FieldError where `count`, `best` and `of` contradict each other."""
        if self.of and not self.best:
            raise FieldError("{of} says how many {best} chooses among: add {best}")
        if self.best and self.count:
            raise FieldError(
                "{count} {0} and {best} {1} both say how many pieces: {best} {1} {of} MANY chooses",
                self.count,
                self.best,
            )
        if self.best and self.of and self.of < self.best:
            raise FieldError("{best} {0} {of} {1}: cannot choose {0} among {1}", self.best, self.of)

    def _check_sources(self) -> None:
        """Raise FieldError where `keep` or `morph` come with what they leave no room for."""
        if bool(self.keep) != bool(self.songs):
            raise FieldError("{keep} names a track of the songs of {songs}: give both")
        if self.keep and (self.best or self.count or self.morph or self.prime):
            raise FieldError(
                "{keep} makes a piece to each song of {songs}: leave {count}, {best}, {morph} and {prime} out"
            )
        if self.morph and (self.style or self.tempo):
            raise FieldError("{morph} draws nothing: leave {style} and {tempo} out")
        if self.morph and (self.best or self.count):
            raise FieldError(
                "{morph} makes as many pieces as the store has songs to go between: leave {count} and {best} out"
            )

    @property
    def pieces(self) -> int:
        """How many pieces are drawn, or kept of those that are, after each prime."""
        return self.best or self.count or (1 if self.prime else 4)

    @property
    def piece(self) -> Request:
        """The request for each piece."""
        return Request(
            self.temperature, style=self.style or None, beat=None if self.tempo is None else Beat(self.tempo)
        )


@dataclass(frozen=True)
class TransferRequest:
    """Request to turn the songs of one store into another kind, or to judge how well a checkpoint turns them.

    Raises FieldError where its fields do not go together.
    """

    sources: tuple[str, ...]  # keys stores
    to: str = ""  # the kind that the songs become
    judge: bool = False

    def __post_init__(self) -> None:
        if self.judge and self.to:
            raise FieldError("{judge} asks about both kinds and writes no store: leave {to} out")
        if not self.judge and len(self.sources) > 1:
            raise FieldError(
                "{0} stores given: transfer turns the songs of one ({judge} takes one of each kind)", len(self.sources)
            )

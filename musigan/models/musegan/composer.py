"""Composer of instruments: as that of bars, each row of keys being one instrument's, which knows its part.

B batch, N beats, C instruments, R rows of all instruments, V voices, D numbers of a beat.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.models.bars.composer import (
    BEAT_STEPS,
    SOURCES,
    STYLES,
    TOLD,
    Composer,
    Context,
    Heard,
    LeastSquares,
    Memory,
    RowHead,
    power_of,
)  # fmt: skip
from musigan.models.musegan.settings import MuseganSettings
from musigan.rolls.feel import PLACES
from musigan.rolls.grid import MAX_METER
from musigan.rolls.parts import FIGURES
from musigan.rolls.scenes import CLASSES

FAINTEST_ROW = 0.15  # least deviation of a row, in that of its instrument's liveliest


class InstrumentHead(RowHead):
    """Flow of single beats by rows of keys, each of one instrument that plays: rests and what is given are left out.

    There is a voice for all instruments, which are written alike, or one for each, and ways of its own into and out of
    the layers that all share. Rows see their neighbours of the same instrument and, unless the instruments play alone,
    those of the others.
    """

    def __init__(self, settings: MuseganSettings, instruments: int, rows: int, seen: int) -> None:
        row_dim, width = BEAT_STEPS * settings.row_latents, settings.head_width
        super().__init__(settings, rows, row_dim, seen)
        self.instruments = instruments
        if settings.structure != "composer":
            self.told = nn.Linear(settings.composer_width, rows // instruments * TOLD)
        voices = range(1 if settings.structure == "composer" else instruments)
        del self.row_in, self.row_out
        self.rows_in = nn.ModuleList(nn.Linear(row_dim + seen, width) for _ in voices)
        self.rows_out = nn.ModuleList(nn.Linear(width, row_dim) for _ in voices)
        for layer in self.rows_out:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        inner, layers = settings.together_width, range(0 if settings.structure == "jamming" else settings.head_layers)
        self.into = nn.ModuleList(nn.Linear(instruments * width, inner) for _ in layers)
        self.out_of = nn.ModuleList(nn.Linear(inner, instruments * width) for _ in layers)
        for layer in self.out_of:
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def by_instrument(self, rows: Tensor) -> Tensor:
        """Sort rows (..., R, W) by instruments: (..., C, R / C, W)."""
        return rows.unflatten(-2, (self.instruments, -1))

    def forward(self, beats: Tensor, time: Tensor, heard: Heard) -> Tensor:
        """Return the velocity (..., D) at beats (..., D) and time (...); what is given or rests is not looked at."""
        seen = self.by_instrument(heard.rows).flatten(0, -4)  # (N, C, R / C, F), N beats of all pieces
        plays, is_given = (seen[:, :, 0, column] for column in (self.plays_column, self.given_column))
        on_way = self.as_rows(beats * power_of(time).rsqrt()).flatten(0, -3)
        on_way = self.by_instrument(on_way) * (1 - is_given[..., None, None])
        where = plays.T.nonzero().unbind(1)[::-1]  # beat and instrument, one instrument after another
        counts = plays.count_nonzero(0).tolist()
        rows_in = torch.cat((on_way, seen), -1)[where].split(counts)
        inner = torch.cat([self.rows_in[n % len(self.rows_in)](rows) for n, rows in enumerate(rows_in)])
        told = self.told(heard.voice).unflatten(-1, (-1, TOLD)).flatten(-3, -2)  # (..., R, TOLD)
        inner = inner + self.by_instrument(self.row_map)[where[1]]
        inner = inner + self.scale_in(self.by_instrument(heard.scale).flatten(0, -4)[where])
        inner = inner + self.told_in(self.by_instrument(told).flatten(0, -4)[where])
        voice = heard.voice.expand(*heard.voice.shape[:-2], self.instruments, -1)
        condition = self.condition_of(voice, time[..., None].expand(voice.shape[:-1]))
        condition = condition.flatten(0, -3)[where][:, None]  # (M, 1, W)
        width = inner.shape[-1:]
        for number, (style, neighbours, first, last) in enumerate(
            zip(self.style, self.neighbours, self.first, self.last, strict=True)
        ):
            scale, shift, gate, scale2, shift2 = style(condition).chunk(5, -1)
            inner = inner + (1 + gate) * neighbours(self.around(F.layer_norm(inner, width) * (1 + scale) + shift))
            if len(self.into):
                inner = inner + self._of_others(number, F.layer_norm(inner, width), where, len(seen))
            inner = inner + last(F.silu(first(F.layer_norm(inner, width) * (1 + scale2) + shift2)))
        inner = (F.layer_norm(inner, width) + condition).split(counts)
        out = torch.cat([self.rows_out[n % len(self.rows_out)](rows) for n, rows in enumerate(inner)])
        learned = torch.zeros_like(on_way).index_put(where, out).flatten(1, 2).unflatten(0, beats.shape[:-1])
        return self.velocity(learned, beats, time)

    def _of_others(self, layer: int, rows: Tensor, where: tuple[Tensor, ...], beats: int) -> Tensor:
        """Return what rows (M, R / C, W) hear of all instruments in their beat, on the same keys and on any."""
        everyone = rows.new_zeros(beats, self.instruments, *rows.shape[1:]).index_put(where, rows)
        columns = F.silu(self.into[layer](everyone.transpose(1, 2).flatten(2)))  # (N, R / C, inner)
        heard = self.out_of[layer](columns + columns.mean(1, keepdim=True))
        by_instrument: Tensor = heard.unflatten(-1, (self.instruments, -1)).transpose(1, 2)[where]
        return by_instrument

    def of_beat(self, values: Tensor) -> Tensor:
        """Return a value of each instrument (..., C) for the numbers of a beat that are its, (..., D)."""
        rows = values.repeat_interleave(self.rows // self.instruments, -1)[..., None]
        return self.as_beats(rows.expand(*rows.shape[:-1], self.row_dim))

    @property
    def given_column(self) -> int:
        """Place, in what a row sees, of whether its instrument is given."""
        return -1 - self.row_dim

    @property
    def plays_column(self) -> int:
        """Place, in what a row sees, of whether its instrument plays in the bar."""
        return self.given_column - FIGURES


class InstrumentComposer(Composer):
    """Transformer over beats, and the flow that draws the next one, of all instruments that are not given.

    Voices are what the transformer tells: one of all instruments (composer), one for each from its own past (jamming),
    or one for each from that and from the common one (hybrid).
    """

    head: InstrumentHead

    def __init__(self, settings: MuseganSettings, rows: int, instruments: int) -> None:
        super().__init__(settings, rows)
        self.structure, self.instruments = settings.structure, instruments
        width, row_dim = settings.composer_width, BEAT_STEPS * settings.row_latents
        classes = torch.arange(rows // instruments * settings.row_keys) % CLASSES
        self.register_buffer("classes", classes.repeat(instruments).reshape(rows, -1), persistent=False)
        self.parts_in = nn.Linear(instruments * FIGURES, width)
        self.harmony_in = nn.Linear(CLASSES, width, bias=False)
        self.feel_in = nn.Linear(PLACES, width, bias=False)
        if self.structure != "composer":
            own_dim = self.beat_dim // instruments
            self.own_in = nn.ModuleList(nn.Linear(own_dim, width, bias=False) for _ in range(SOURCES))
            self.instrument_in = nn.Parameter(0.1 * torch.randn(instruments, width))
            self.own_parts_in = nn.Linear(FIGURES, width)
        if self.structure == "jamming":
            del self.sources_in, self.parts_in
        self.row_keys = settings.row_keys
        seen = SOURCES * row_dim + 1 + self.row_keys + MAX_METER + FIGURES + 1 + row_dim
        self.head = InstrumentHead(settings, instruments, rows, seen)
        self.register_buffer("guess_weight", torch.zeros(instruments, row_dim, seen))
        self.register_buffer("guess_bias", torch.zeros(instruments, row_dim))
        self.register_buffer("deviation", torch.ones(rows))

    def _voice(
        self, sources: list[Tensor], context: Context, memory: list[Memory] | None, known: Tensor | float
    ) -> Tensor:
        """Return the voices (B, N, V, W) that the transformer over beats makes of its sources, (B, N, D) each."""
        batch, count = sources[0].shape[:2]
        style = known * self.style_in(context.style.clamp(max=STYLES - 1))[:, None]
        told = self.context_in(context.features) + style + self.scene_in(known * context.scene)
        told = told + self.harmony_in(known * _harmony(context))
        if context.feel.shape[-1]:
            told = told + self.feel_in(known * context.feel)
        streams = []  # (B, S, N, W): the common one, and each instrument's
        if self.structure != "jamming":
            common = told + self.parts_in(context.parts)
            for layer, source in zip(self.sources_in, sources, strict=True):
                common = common + layer(known * source)
            streams.append(common[:, None])
        if self.structure != "composer":
            parts = context.parts.unflatten(-1, (self.instruments, FIGURES)).transpose(1, 2)  # (B, C, N, FIGURES)
            own = told[:, None] + self.own_parts_in(parts) + self.instrument_in[:, None]
            for layer, source in zip(self.own_in, sources, strict=True):
                own = own + layer(self._own(known * source))
            streams.append(own)
        tokens = torch.cat(streams, 1)
        heard = self._remembered(tokens.flatten(0, 1), memory).unflatten(0, (batch, -1)).transpose(1, 2)
        if self.structure == "hybrid":
            heard = heard[:, :, :1] + heard[:, :, 1:]
        return heard.reshape(batch, count, -1, tokens.shape[-1])

    def _own(self, beats: Tensor) -> Tensor:
        """Sort beats (B, N, D) by instruments: (B, C, N, D / C)."""
        return beats.unflatten(-1, (BEAT_STEPS, self.instruments, -1)).permute(0, 3, 1, 2, 4).flatten(3)

    def _told_of_rows(self, context: Context, known: Tensor | float) -> tuple[Tensor, ...]:
        """Return what each row is told: harmony, place in the bar, its instrument's part, whether and what is given.

        The harmony is kept from pieces whose `known` (B, 1, 1) is 0.
        """
        each = self.head.rows // self.instruments
        harmony = (known * _harmony(context))[..., self.classes]  # (B, N, R, K / R)
        parts = context.parts.unflatten(-1, (self.instruments, FIGURES)).repeat_interleave(each, 2)
        places = context.places[:, :, None].expand(-1, -1, self.head.rows, -1)
        given = parts.new_zeros(*parts.shape[:-1], 1 + self.head.row_dim)
        if context.given is not None and context.is_given is not None:
            flags = context.is_given.repeat_interleave(each, 2)[..., None]
            given = torch.cat((flags, flags * self.head.as_rows(context.given)), -1)
        return harmony, places, parts, given

    def hearing_given(self, heard: Heard, blind: Heard | None, context: Context) -> tuple[Heard, Heard | None]:
        """Return what was heard before one beat, and without the past, now that others are given in its context."""
        rows, told = heard.rows, self._told_of_rows(context, 1.0)
        known = rows.shape[-1] - sum(each.shape[-1] for each in told)
        rows = torch.cat((rows[..., :known], *told), -1)
        guess = self.head.as_beats(self._guess(rows))
        hearing = heard._replace(rows=rows, guess=guess)
        if blind is None:
            return hearing, None
        unknown = torch.cat((blind.rows[..., :known], *self._told_of_rows(context, 0.0)), -1)
        return hearing, blind._replace(rows=unknown, guess=guess)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *given: Any) -> None:
        """Load weights; those of composers that were told no harmony, or no feel, take no notice of it."""
        own = self.state_dict()
        state.setdefault(f"{prefix}feel_in.weight", torch.zeros_like(own["feel_in.weight"]))
        if f"{prefix}harmony_in.weight" not in state:
            state[f"{prefix}harmony_in.weight"] = torch.zeros_like(own["harmony_in.weight"])
            place = SOURCES * self.head.row_dim + 1
            state[f"{prefix}guess_weight"] = _widened(state[f"{prefix}guess_weight"], place, self.row_keys)
            for name in own:
                if name.startswith("head.rows_in.") and name.endswith("weight"):
                    state[prefix + name] = _widened(state[prefix + name], self.head.row_dim + place, self.row_keys)
        super()._load_from_state_dict(state, prefix, *given)

    def _guess(self, rows: Tensor) -> Tensor:
        """Return the first guess of what rows (B, N, R, F) see, (B, N, R, D / R), each instrument's its own."""
        guess = torch.einsum("bncrf,cdf->bncrd", self.head.by_instrument(rows), self.guess_weight)
        return (guess + self.guess_bias[:, None]).flatten(2, 3)

    def relative(self, beats: Tensor, heard: Heard) -> Tensor:
        """Return beats (B, N, D) relative to the guess, in deviations: what the flow draws."""
        return (beats - heard.guess) / self._deviations()

    def absolute(self, drawn: Tensor, heard: Heard) -> Tensor:
        """Undo `relative`."""
        return heard.guess + self._deviations() * drawn

    def _deviations(self) -> Tensor:
        """Return the deviation from the guess of each number of a beat, (D,)."""
        return self.head.as_beats(self.deviation[:, None].expand(-1, self.head.row_dim))

    def weights(self) -> Tensor:
        """Return how much each number of a beat counts, (D,): as its row moves, beside the others of its instrument."""
        deviations = self.head.by_instrument(self.deviation[:, None])
        shares = deviations / deviations.amax(-2, keepdim=True)
        return self.head.as_beats(shares.flatten(0, 1).expand(-1, self.head.row_dim))

    @torch.no_grad()
    def fit(self, songs: Iterable[tuple[Tensor, Context]]) -> None:
        """Set the guess of each instrument to the least squares of beats (1, N, D) in which it plays.

        Each row has a deviation of its own: most of an instrument's rows hardly ever sound, and drawn from the noise of
        those that do, they would take long to learn to be silent.
        """
        squares = [[LeastSquares() for _ in range(self.head.rows // self.instruments)] for _ in range(self.instruments)]
        for rows, wanted in self._rows_of(songs):
            sorted_rows, sorted_wanted = (self.head.by_instrument(each)[0] for each in (rows, wanted))
            plays = sorted_rows[:, :, 0, self.head.plays_column] > 0
            for number, own in enumerate(squares):
                for row, each in enumerate(own):
                    each.add(sorted_rows[plays[:, number], number, row], sorted_wanted[plays[:, number], number, row])
        deviations = []
        for number, own in enumerate(squares):
            weights = sum(own[1:], own[0]).solution()
            self.guess_weight[number], self.guess_bias[number] = weights[:-1].T, weights[-1]
            left = torch.tensor([each.left_by(weights) for each in own])
            deviations.append(left.clamp(min=FAINTEST_ROW * float(left.max())))
        self.deviation.copy_(torch.cat(deviations))


def _harmony(context: Context) -> Tensor:
    """Return the harmony of each beat, (B, N, CLASSES): none where the outline is of before there was any."""
    if context.harmony.shape[-1]:
        return context.harmony
    return context.scene.new_zeros(*context.scene.shape[:2], CLASSES)


def _widened(weight: Tensor, place: int, count: int) -> Tensor:
    """Return weights (..., F) with `count` columns of zeros at `place`."""
    nothing = weight.new_zeros(*weight.shape[:-1], count)
    return torch.cat((weight[..., :place], nothing, weight[..., place:]), -1)

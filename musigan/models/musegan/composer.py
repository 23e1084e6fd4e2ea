"""Composer of instruments: as that of bars, each row of keys being one instrument's, which knows its part.

B batch, N beats, C instruments, R rows of all instruments, V voices, D numbers of a beat.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.models.bars.composer import BEAT_STEPS, SOURCES, STYLES, TOLD, Composer, Context, Memory, RowHead
from musigan.models.musegan.settings import MuseganSettings
from musigan.rolls.grid import MAX_METER
from musigan.rolls.parts import FIGURES
from musigan.rolls.scenes import CLASSES


class InstrumentHead(RowHead):
    """Flow of single beats by rows of keys, each of one instrument: what is given stays out of it.

    There is a voice for all instruments, or one for each. Rows see their neighbours of the same instrument and, unless
    the instruments play alone, the same row of the others.
    """

    def __init__(self, settings: MuseganSettings, instruments: int, rows: int, seen: int, own_voices: bool) -> None:
        row_dim = BEAT_STEPS * settings.row_latents
        super().__init__(settings, rows, row_dim, seen)
        self.instruments, self.row_dim, width = instruments, row_dim, settings.head_width
        if own_voices:
            self.told = nn.Linear(settings.composer_width, rows // instruments * TOLD)
        is_alone = settings.structure == "jamming"
        inner, layers = settings.together_width, range(0 if is_alone else settings.head_layers)
        self.into = nn.ModuleList(nn.Linear(instruments * width, inner) for _ in layers)
        self.out_of = nn.ModuleList(nn.Linear(inner, instruments * width) for _ in layers)
        for layer in self.out_of:
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _by_instrument(self, rows: Tensor) -> Tensor:
        """Sort rows (..., R, W) by instruments: (..., C, R / C, W)."""
        return rows.unflatten(-2, (self.instruments, -1))

    def with_time(self, voice: Tensor, time: Tensor) -> Tensor:
        """Return what rows are told, (..., V, W + F), of the voices (..., V, W) and of the flow's time (..., F)."""
        return torch.cat((voice, time[..., None, :].expand(*voice.shape[:-1], -1)), -1)

    def for_rows(self, told: Tensor) -> Tensor:
        """Return what the voices tell, (..., V, W), for each row: (..., R, W)."""
        return told.repeat_interleave(self.rows // told.shape[-2], -2)

    def told_rows(self, voice: Tensor) -> Tensor:
        """Return what the voices (..., V, W) tell their rows, (..., R, TOLD)."""
        return self.told(voice).unflatten(-1, (-1, TOLD)).flatten(-3, -2)

    def around(self, rows: Tensor) -> Tensor:
        """Return each of rows (..., R, W) between its neighbours of the same instrument: (..., R, 3 W)."""
        return super().around(self._by_instrument(rows)).flatten(-3, -2)

    def together(self, layer: int, rows: Tensor) -> Tensor:
        """Return rows (..., R, W) after those of all instruments on the same keys have heard each other."""
        if not len(self.into):
            return rows
        normed = F.layer_norm(rows, rows.shape[-1:])
        columns = self._by_instrument(normed).transpose(-3, -2).flatten(-2)  # (..., R / C, C W)
        columns = F.silu(self.into[layer](columns))
        heard = self.out_of[layer](columns + columns.mean(-2, keepdim=True))  # those of all keys, too
        return rows + heard.unflatten(-1, (self.instruments, -1)).transpose(-3, -2).flatten(-3, -2)

    def forward(self, beats: Tensor, time: Tensor, heard: Any) -> Tensor:
        """Return the velocity (..., D) at beats (..., D) and time (...); beats that are given are not looked at."""
        is_given = heard.rows[..., -1 - self.row_dim, None]
        return super().forward(self.as_beats(self.as_rows(beats) * (1 - is_given)), time, heard)


class InstrumentComposer(Composer):
    """Transformer over beats, and the flow that draws the next one, of all instruments that are not given.

    Voices are what the transformer tells: one of all instruments (composer), one for each from its own past (jamming),
    or one for each from that and from the common one (hybrid).
    """

    def __init__(self, settings: MuseganSettings, rows: int, instruments: int) -> None:
        super().__init__(settings, rows)
        self.structure, self.instruments = settings.structure, instruments
        width, row_dim = settings.composer_width, BEAT_STEPS * settings.row_latents
        classes = torch.arange(rows // instruments * settings.row_keys) % CLASSES
        self.register_buffer("classes", classes.repeat(instruments).reshape(rows, -1), persistent=False)
        has_own = self.structure != "composer"
        self.parts_in = nn.Linear(instruments * FIGURES, width)
        if has_own:
            own_dim = self.beat_dim // instruments
            self.own_in = nn.ModuleList(nn.Linear(own_dim, width, bias=False) for _ in range(SOURCES))
            self.instrument_in = nn.Parameter(0.1 * torch.randn(instruments, width))
            self.own_parts_in = nn.Linear(FIGURES, width)
        if self.structure == "jamming":
            del self.sources_in, self.parts_in
        seen = SOURCES * row_dim + 1 + MAX_METER + FIGURES + 1 + row_dim
        self.head = InstrumentHead(settings, instruments, rows, seen, has_own)
        self.register_buffer("guess_weight", torch.zeros(row_dim, seen))

    def _voice(
        self, sources: list[Tensor], context: Context, memory: list[Memory] | None, known: Tensor | float
    ) -> Tensor:
        """Return the voices (B, N, V, W) that the transformer over beats makes of its sources, (B, N, D) each."""
        batch, count = sources[0].shape[:2]
        style = known * self.style_in(context.style.clamp(max=STYLES - 1))[:, None]
        told = self.context_in(context.features) + style + self.scene_in(known * context.scene)
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

    def _told_of_rows(self, context: Context) -> tuple[Tensor, ...]:
        """Return what each row is told: its place in the bar, its instrument's part, whether it is given, and what."""
        rows = self.head.rows
        parts = context.parts.unflatten(-1, (self.instruments, FIGURES)).repeat_interleave(rows // self.instruments, 2)
        places = context.places[:, :, None].expand(-1, -1, rows, -1)
        given = parts.new_zeros(*parts.shape[:-1], 1 + self.head.row_dim)
        if context.given is not None and context.is_given is not None:
            flags = context.is_given.repeat_interleave(rows // self.instruments, 1)[:, None, :, None]
            flags = flags.expand(*parts.shape[:-1], 1)
            given = torch.cat((flags, flags * self.head.as_rows(context.given)), -1)
        return places, parts, given

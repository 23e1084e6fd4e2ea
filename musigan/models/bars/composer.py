"""Composer: draws the latents of music beat after beat, each by a short flow that knows all that came before.

A token is a beat: the latents of its four 16ths side by side. A causal transformer reads the finished beats, told by an
`Outline` where in the bar and the song each stands, and what it hears says what may come next; a small network turns
noise into the next beat in a few flow steps (a head as in arXiv 2406.11838, by a flow, 2210.02747). Besides the beat
before, it is shown the beats 1, 2, 4 and 8 bars earlier (lookback, Waite 2016) and the one that the plan says it is
like: what is to be repeated is finished and in sight when it matters. While it learns, its past is blurred by noise, so
that it bears its own small errors (as in arXiv 2407.01392), and now and then kept from it, so that what is drawn can be
led towards what only the past explains (classifier-free guidance, 2207.12598).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.attention import rotary
from musigan.models.bars.settings import BarSettings
from musigan.rolls.grid import MAX_METER
from musigan.rolls.kit import KIT
from musigan.rolls.outlines import FEATURES
from musigan.rolls.scenes import CLASSES, METAL, SCENE, SCENES_WITHOUT_DRUMS, SKINS

BEAT_STEPS = 4  # latent steps in a beat
LOOKBACK_BEATS, LOOKBACK_BARS = (1, 2), (1, 2, 4, 8)  # what is shown of the past, besides the like beat
SOURCES = len(LOOKBACK_BEATS) + len(LOOKBACK_BARS) + 2  # the like beat comes twice: as it is, and by its likeness
TOLD = 32  # numbers that the transformer tells each row
FIT_NOISE, RIDGE = 0.2, 30.0  # on the past, and on the weights, of the first guess
TIME_FEATURES = 32  # sines, and as many cosines, of the flow's time
STYLES = 64  # embeddings: style 0 is any, those beyond the last share one


class Context(NamedTuple):
    """What is known of beats (B, N) besides their notes."""

    features: Tensor  # (B, N, FEATURES), of `Outline.features`
    lags: Tensor  # (B, N) beats back to the like bar, 0 where none is
    scene: Tensor  # (B, N, SCENE)
    meter: Tensor  # (B) beats in a bar
    style: Tensor  # (B) number of the style, 0 for any
    parts: Tensor  # (B, N, P) of instruments
    harmony: Tensor  # (B, N, CLASSES) of instruments, or (B, N, 0)
    feel: Tensor  # (B, N, PLACES) of instruments, or (B, N, 0)
    given: Tensor | None = None  # (B, N, D) beats, of instruments that are given
    is_given: Tensor | None = None  # (B, N, C), which are

    @classmethod
    def of(cls, conditions: Mapping[str, Tensor]) -> Context:
        """Gather the conditions of a batch; those without a value are None."""
        return cls(*(conditions[name] for name in cls._fields[:8]), *map(conditions.get, cls._fields[8:]))

    def part(self, first: int, count: int) -> Context:
        """Return what is known of `count` beats from `first` on."""
        of_beats = ("features", "lags", "scene", "parts", "harmony", "feel", "given", "is_given")
        known: dict[str, Any] = {name: getattr(self, name) for name in of_beats}
        chosen = {name: value[:, first : first + count] for name, value in known.items() if value is not None}
        return self._replace(**chosen)

    @property
    def places(self) -> Tensor:
        """Place of each beat in its bar, one of MAX_METER, (B, N, MAX_METER)."""
        return self.features[..., :MAX_METER]

    @property
    def likeness(self) -> Tensor:
        """Likeness of each beat's bar and the one that the plan leads back to, (B, N, 1)."""
        column = FEATURES - 5
        return self.features[..., column : column + 1]


class CausalLayer(nn.Module):
    """Pre-norm attention to a beat and those before it, and feed-forward: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(3 * width, width)
        )
        for layer in (self.merge, self.feed[3]):
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, memory: Memory | None = None) -> Tensor:
        """Transform tokens (B, N, D).

        With a memory they are one new beat, or all beats so far where it is still empty, and are remembered.
        """
        batch, length, width = tokens.shape
        heads = self.project(self.attention_norm(tokens)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, D/H)
        if memory is None:
            attended = F.scaled_dot_product_attention(rotary(query), rotary(key), value, is_causal=True)
        elif memory.key is None:
            memory.add(key, value)
            places = torch.arange(length, device=tokens.device)
            back = places[:, None] - places
            is_remembered = (back >= 0) & (back < memory.beats)
            attended = F.scaled_dot_product_attention(rotary(query), rotary(key), value, is_remembered)
        else:
            key, value = memory.add(key, value)
            last = key.shape[2] - 1
            attended = F.scaled_dot_product_attention(rotary(query, last), rotary(key), value)
        tokens = tokens + self.merge(attended.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.feed(self.feed_norm(tokens))


class Memory:
    """Keys and values of the last so many `beats` in one layer, before rotation: positions count from the first."""

    def __init__(self, beats: int) -> None:
        self.beats = beats
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest beats' (B, H, N, D) and return all."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), 2), torch.cat((self.value, value), 2)
        self.key, self.value = key[:, :, -self.beats :], value[:, :, -self.beats :]
        return self.key, self.value


class Heard(NamedTuple):
    """What is known before each beat: by the transformer, by rows of keys, and a first guess of the beat."""

    voice: Tensor  # (B, N, W)
    rows: Tensor  # (B, N, R, F): the beats before and those that this one may be like, row by row
    scale: Tensor  # (B, N, R, K / R): how much each key's pitch class, or each drum, is heard around
    guess: Tensor  # (B, N, D)


class RowHead(nn.Module):
    """Flow of single beats, by rows of keys that share all weights and see their neighbours.

    A row is a few keys over one beat. It sees the same row of the beats before, so a held note or a repeated figure is
    a matter of copying, in any key.
    """

    def __init__(self, settings: BarSettings, rows: int, row_dim: int, seen: int) -> None:
        super().__init__()
        width = settings.head_width
        self.rows, self.row_dim = rows, row_dim
        self.row_in = nn.Linear(row_dim + seen, width)
        self.scale_in = nn.Linear(settings.row_keys, width, bias=False)
        self.row_map = nn.Parameter(0.02 * torch.randn(rows, width))  # which keys these are
        self.condition = nn.Linear(settings.composer_width + 2 * TIME_FEATURES, width)
        self.told = nn.Linear(settings.composer_width, rows * TOLD)
        self.told_in = nn.Linear(TOLD, width, bias=False)
        layers = range(settings.head_layers)
        self.style = nn.ModuleList(nn.Linear(width, 5 * width) for _ in layers)
        self.neighbours = nn.ModuleList(nn.Linear(3 * width, width) for _ in layers)
        self.first = nn.ModuleList(nn.Linear(width, 2 * width) for _ in layers)
        self.last = nn.ModuleList(nn.Linear(2 * width, width) for _ in layers)
        self.row_out = nn.Linear(width, row_dim)
        for layer in (*self.style, self.row_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (*self.neighbours, *self.last):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def as_rows(self, beats: Tensor) -> Tensor:
        """Sort beats (..., D) by rows of keys: (..., R, D / R)."""
        return beats.unflatten(-1, (BEAT_STEPS, self.rows, -1)).transpose(-3, -2).flatten(-2)

    def as_beats(self, rows: Tensor) -> Tensor:
        """Undo `as_rows`."""
        return rows.unflatten(-1, (BEAT_STEPS, -1)).transpose(-3, -2).flatten(-3)

    def around(self, rows: Tensor) -> Tensor:
        """Return each of rows (..., R, W) between its neighbours: (..., R, 3 W)."""
        padded = F.pad(rows, (0, 0, 1, 1))
        return torch.cat((padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]), -1)

    def condition_of(self, voice: Tensor, time: Tensor) -> Tensor:
        """Return what the voice (..., W) and the flow's time (...) set the layers to, (..., head width)."""
        angles = time[..., None] * torch.logspace(0.0, 2.3, TIME_FEATURES, device=time.device)
        condition: Tensor = F.silu(self.condition(torch.cat((voice, angles.sin(), angles.cos()), -1)))
        return condition

    def forward(self, beats: Tensor, time: Tensor, heard: Heard) -> Tensor:
        """Return the velocity (..., D) at beats (..., D) and time (...), 0 noise and 1 music."""
        condition = self.condition_of(heard.voice, time)[..., None, :]
        power = power_of(time)
        inner = self.row_in(torch.cat((self.as_rows(beats * power.rsqrt()), heard.rows), -1)) + self.row_map
        inner = inner + self.scale_in(heard.scale)
        inner = inner + self.told_in(self.told(heard.voice).unflatten(-1, (self.rows, TOLD)))
        width = inner.shape[-1:]
        for style, neighbours, first, last in zip(self.style, self.neighbours, self.first, self.last, strict=True):
            scale, shift, gate, scale2, shift2 = style(condition).chunk(5, -1)
            inner = inner + (1 + gate) * neighbours(self.around(F.layer_norm(inner, width) * (1 + scale) + shift))
            inner = inner + last(F.silu(first(F.layer_norm(inner, width) * (1 + scale2) + shift2)))
        return self.velocity(self.row_out(F.layer_norm(inner, width) + condition), beats, time)

    def velocity(self, rows: Tensor, beats: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (..., D) at beats (..., D) and time (...) of what was learned of rows (..., R, D / R).

        Of white noise the velocity is known; the network learns what music differs by (as in arXiv 2206.00364).
        """
        power = power_of(time)
        return self.as_beats(rows) * power.rsqrt() + (2 * time - 1)[..., None] / power * beats


def power_of(time: Tensor) -> Tensor:
    """Return the variance of what is on the way from white noise to music of variance 1 at time (...), (..., 1)."""
    return ((1 - time).square() + time.square())[..., None]


class Composer(nn.Module):
    """Transformer over beats, and the flow that draws the next one. Beats are (B, N, D), standardised latents."""

    classes: Tensor
    guess_weight: Tensor
    guess_bias: Tensor
    deviation: Tensor

    def __init__(self, settings: BarSettings, rows: int, has_kit: bool = False) -> None:
        super().__init__()
        width, row_dim = settings.composer_width, BEAT_STEPS * settings.row_latents
        self.beat_dim, self.memory_beats = rows * row_dim, settings.memory_beats
        self.sources_in = nn.ModuleList(nn.Linear(self.beat_dim, width, bias=False) for _ in range(SOURCES))
        self.context_in = nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, width))
        self.scene_in = nn.Linear(SCENE, width)
        self.style_in = nn.Embedding(STYLES, width)
        nn.init.zeros_(self.style_in.weight)
        classes = (torch.arange(rows * settings.row_keys) % CLASSES).reshape(rows, -1)
        self.kit_rows = -(-len(KIT) // settings.row_keys) if has_kit else 0  # the last
        if has_kit:
            drums = torch.tensor([METAL if drum.is_metal else SKINS for drum in KIT])
            classes[-self.kit_rows :] = SKINS
            classes[-self.kit_rows :].view(-1)[: len(KIT)] = drums
        self.register_buffer("classes", classes, persistent=False)  # places in the scene of each row's keys
        self.layers = nn.ModuleList(
            CausalLayer(width, settings.composer_heads, settings.composer_dropout)
            for _ in range(settings.composer_layers)
        )
        self.norm = nn.LayerNorm(width)
        seen = SOURCES * row_dim + 1 + (MAX_METER if has_kit else 0)
        self.head = RowHead(settings, rows, row_dim, seen)
        # The guess is linear in what a row sees, and the flow draws what is left, of this deviation (`fit`).
        self.register_buffer("guess_weight", torch.zeros(row_dim, seen))
        self.register_buffer("guess_bias", torch.zeros(row_dim))
        self.register_buffer("deviation", torch.ones(()))

    def hear(
        self, past: Tensor, context: Context, known: Tensor | float = 1.0, memory: list[Memory] | None = None
    ) -> Heard:
        """Return what is heard before each of N beats, from all of them, past (B, N, D).

        Beat n of the result knows the beats before n only. Past and scene are kept from pieces whose `known` (B, 1, 1)
        is 0. An empty memory remembers the beats, for `hear_next`.
        """
        lags = [torch.full_like(context.lags, beats) for beats in LOOKBACK_BEATS]
        lags += [bars * context.meter[:, None].expand_as(context.lags) for bars in LOOKBACK_BARS]
        return self._heard([earlier(past, each) for each in (*lags, context.lags)], context, memory, known)

    def hear_next(self, past: Tensor, context: Context, memory: list[Memory], known: Tensor | float = 1.0) -> Heard:
        """Return what is heard before beat N, after N finished ones (B, N, D), in the context of beat N alone.

        Past and scene are kept from it where `known` is 0.
        """
        count = past.shape[1]

        def back(lags: Tensor) -> Tensor:
            """Return the beats `lags` (B) back, (B, 1, D); zeros where there is none."""
            if not count:
                return past.new_zeros(len(lags), 1, self.beat_dim)
            places = count - lags
            found = past[torch.arange(len(lags)), places.clamp(0, count - 1)]
            return (found * ((lags > 0) & (places >= 0))[:, None])[:, None]

        lags = [torch.full_like(context.meter, beats) for beats in LOOKBACK_BEATS]
        lags += [bars * context.meter for bars in LOOKBACK_BARS]
        return self._heard([back(each) for each in (*lags, context.lags[:, 0])], context, memory, known)

    def _heard(
        self, sources: list[Tensor], context: Context, memory: list[Memory] | None, known: Tensor | float
    ) -> Heard:
        """Return what is heard of the sources, (B, N, D) each, of which the last is the plan's.

        The guess knows them in any case: it is where the flow's coordinates begin.
        """
        sources = [*sources, sources[-1] * context.likeness]
        voice = self._voice(sources, context, memory, known)
        seen = [self.head.as_rows(source) for source in sources]
        likeness = context.likeness[..., None].expand(*seen[0].shape[:-1], 1)
        rows = torch.cat((*seen, likeness), -1)
        if self.kit_rows:  # drums see where in the bar they are: what they did before does not say where it began
            places = context.places[..., None, :].expand(*rows.shape[:-1], MAX_METER).clone()
            places[..., : -self.kit_rows, :] = 0
            rows = torch.cat((rows, places), -1)
        guess = self.head.as_beats(self._guess(torch.cat((rows, *self._told_of_rows(context, 1.0)), -1)))
        shown = known[..., None] * rows if isinstance(known, Tensor) else known * rows
        if self.kit_rows:
            shown = torch.cat((shown[..., :-MAX_METER], rows[..., -MAX_METER:]), -1)
        shown = torch.cat((shown, *self._told_of_rows(context, known)), -1)
        scale = (known * context.scene)[..., self.classes]
        return Heard(self.norm(voice), shown, scale, guess)

    def _voice(
        self, sources: list[Tensor], context: Context, memory: list[Memory] | None, known: Tensor | float
    ) -> Tensor:
        """Return what the transformer over beats makes of its sources, (B, N, D) each: (B, N, W)."""
        tokens = self.context_in(context.features) + self.style_in(context.style.clamp(max=STYLES - 1))[:, None]
        tokens = tokens + self.scene_in(known * context.scene)
        for layer, source in zip(self.sources_in, sources, strict=True):
            tokens = tokens + layer(known * source)
        return self._remembered(tokens, memory)

    def _remembered(self, tokens: Tensor, memory: list[Memory] | None) -> Tensor:
        """Run tokens (B, N, W) through the layers, each with its memory."""
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, None if memory is None else memory[number])
        return tokens

    def _told_of_rows(self, context: Context, known: Tensor | float) -> tuple[Tensor, ...]:
        """Return what each row is told besides, (B, N, R, F) each, of what is `known`: nothing more."""
        return ()

    def _guess(self, rows: Tensor) -> Tensor:
        """Return the first guess of what rows (B, N, R, F) see, (B, N, R, D / R)."""
        return F.linear(rows, self.guess_weight, self.guess_bias)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *given: Any) -> None:
        """Load weights; those of composers that were told no scenes, or none of drums, take no notice of them."""
        for name, value in self.state_dict().items():
            if name.startswith(("scene_in.", "head.scale_in.")):
                state.setdefault(prefix + name, torch.zeros_like(value))
        told = state[f"{prefix}scene_in.weight"]
        if told.shape[1] == SCENES_WITHOUT_DRUMS:
            state[f"{prefix}scene_in.weight"] = F.pad(told, (0, SCENE - SCENES_WITHOUT_DRUMS))
        super()._load_from_state_dict(state, prefix, *given)

    def velocity(self, beats: Tensor, time: Tensor, heard: Heard) -> Tensor:
        """Return the flow's velocity (B, N, D) at beats relative to the guess, in its deviations, and time (B, N)."""
        velocity: Tensor = self.head(beats, time, heard)
        return velocity

    def relative(self, beats: Tensor, heard: Heard) -> Tensor:
        """Return beats (B, N, D) relative to the guess, in deviations: what the flow draws."""
        return (beats - heard.guess) / self.deviation

    def absolute(self, drawn: Tensor, heard: Heard) -> Tensor:
        """Undo `relative`."""
        return heard.guess + self.deviation * drawn

    def memory(self) -> list[Memory]:
        """Return the empty memory of all layers."""
        return [Memory(self.memory_beats) for _ in self.layers]

    @torch.no_grad()
    def fit(self, songs: Iterable[tuple[Tensor, Context]]) -> None:
        """Set the guess to the least squares of songs: beats (1, N, D) in their contexts."""
        squares = LeastSquares()
        for rows, wanted in self._rows_of(songs):
            squares.add(rows.flatten(0, 2), wanted.flatten(0, 2))
        weights = squares.solution()
        self.guess_weight.copy_(weights[:-1].T)
        self.guess_bias.copy_(weights[-1])
        self.deviation.fill_(squares.left_by(weights))

    def _rows_of(self, songs: Iterable[tuple[Tensor, Context]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what rows see of a blurred past, (1, N, R, F), and what they are, (1, N, R, D / R), of each song."""
        rng = torch.Generator().manual_seed(0)
        for beats, context in songs:
            blurred = beats + FIT_NOISE * torch.randn(beats.shape, generator=rng).to(beats.device)
            yield self.hear(blurred, context).rows, self.head.as_rows(beats)


class LeastSquares:
    """Sums of which a linear map from rows (M, F) to what is wanted, (M, D), is solved."""

    def __init__(self) -> None:
        self.products: Any = 0.0
        self.targets: Any = 0.0
        self.total = self.count = 0.0

    def add(self, rows: Tensor, wanted: Tensor) -> None:
        """Add rows (M, F) and what is wanted of them, (M, D)."""
        rows, wanted = rows.double().cpu(), wanted.double().cpu()
        rows = torch.cat((rows, rows.new_ones(len(rows), 1)), 1)
        self.products, self.targets = self.products + rows.T @ rows, self.targets + rows.T @ wanted
        self.total, self.count = self.total + float(wanted.square().sum()), self.count + wanted.numel()

    def __add__(self, other: LeastSquares) -> LeastSquares:
        both = LeastSquares()
        both.products, both.targets = self.products + other.products, self.targets + other.targets
        both.total, both.count = self.total + other.total, self.count + other.count
        return both

    def solution(self) -> Tensor:
        """Return the weights (F + 1, D), the last of which are the constant."""
        return torch.linalg.solve(self.products + RIDGE * torch.eye(len(self.products)).double(), self.targets)

    def left_by(self, weights: Tensor) -> float:
        """Return the deviation of what is wanted from what weights (F + 1, D) make of the rows."""
        explained = 2 * float((weights * self.targets).sum()) - float((weights * (self.products @ weights)).sum())
        return float(max((self.total - explained) / max(self.count, 1), 1e-4) ** 0.5)


def earlier(beats: Tensor, lags: Tensor) -> Tensor:
    """Return for each beat the one `lags` (B, N) before it: (B, N, D) -> (B, N, D); 0 where there is none."""
    places = torch.arange(beats.shape[1], device=beats.device) - lags
    found = beats.gather(1, places.clamp(min=0)[..., None].expand_as(beats))
    return found * ((lags > 0) & (places >= 0))[..., None]

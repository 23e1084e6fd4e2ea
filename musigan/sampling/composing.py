"""Drawing by models that think in beats: outlines for pieces, composition on the grid, and the way back to seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from musigan.datasets.conditions import style_number
from musigan.models.bars.composer import Context
from musigan.models.inpainting import joined
from musigan.models.windows import decode_in_windows
from musigan.rolls.beats import Beat, Beats
from musigan.rolls.grid import GRID_FRAMES, Grid, from_grid, to_grid
from musigan.rolls.harmony import filled, kept_to
from musigan.rolls.loudness import compress
from musigan.rolls.outlines import Outline, context_arrays, outline_of
from musigan.rolls.parts import FIGURES
from musigan.rolls.scenes import CLASSES
from musigan.rolls.timing import tighten
from musigan.rolls.tracks import sides_or_tracks

if TYPE_CHECKING:
    from musigan.datasets.record import MusicRecord
    from musigan.models.bars.generator import Generator
    from musigan.rolls.loudness import Compression
    from musigan.rolls.shape import RollShape
    from musigan.sampling.requests import Request

WINDOW_STEPS = 512  # latent steps decoded in one pass
OTHER_KEYS = 3  # semitones up to which a piece is higher or lower than the song whose outline it follows
TEMPO_OCTAVES = 0.2  # deviation of songs' tempi from one that is asked for, in choosing outlines
LAST_BEATS = 16  # whose tempo a continued piece keeps
FEWEST_PAST_BEATS = 2  # fewer whole beats are no past to go on from


class BeatSampler(Protocol):
    """What composing needs of a sampler: the networks, and the music that they learned from."""

    generator: Any  # of the model that thinks in beats
    store: MusicRecord
    shape: RollShape
    compression: Compression
    device: str | torch.device

    @property
    def frame_seconds(self) -> float:
        """Duration of a frame of drawn pieces, in seconds."""


@dataclass(frozen=True)
class Composition:
    """A composed piece, in seconds and on the grid; rolls are in model space."""

    roll: np.ndarray  # (C, K, T)
    on_grid: Tensor  # (1, C, K, T')
    latents: Tensor  # (1, L, Z)
    beats: Beats
    style: str


def compose(sampler: BeatSampler, frames: int, rng: torch.Generator, request: Request) -> Composition:
    """Compose `frames` frames that follow the outline of a song that was learned from, as far as none is asked for."""
    frame_seconds, seconds = sampler.frame_seconds, frames * sampler.frame_seconds
    if request.past is not None:
        return _continue(sampler, frames, rng, request)
    if request.kept is not None:
        return _accompany(sampler, frames, rng, request)
    outline = _outline(sampler.store.outlines, request, rng)
    count = max(int(np.ceil(seconds * outline.tempo / 60 - 1e-6)), 1)
    outline = outline.from_downbeat()
    if outline.parts.size:
        outline = _stretch(outline, count, rng)
    outline = outline.lasting(count)
    grid = Grid(np.arange(count + 1) * 60 / outline.tempo, outline.numbers, outline.meter, outline.is_free)
    latents = _latents(sampler, outline, rng, request)
    on_grid = _written(sampler, latents, outline, grid)
    roll = from_grid(on_grid[0].cpu().numpy(), grid, frame_seconds, frames)
    return Composition(roll, on_grid, latents, grid.beats(seconds), outline.style)


def morph(
    sampler: BeatSampler, rolls: tuple[np.ndarray, np.ndarray], beats: tuple[Beats, Beats]
) -> tuple[np.ndarray, Beats]:
    """Lead from one roll (C, K, T) in linear loudness to another, beat by beat.

    Returns a roll (C, K, T) in model space and its beats. Latents and the duration of beats are mixed, the share of the
    second rising linearly over the middle half.
    """
    frame_seconds = sampler.frame_seconds
    grids = [Grid.of(b, r.shape[-1] * frame_seconds) for r, b in zip(rolls, beats, strict=True)]
    count, generator = min(map(len, grids)), _generator(sampler)
    first, second = (
        generator.encode(_on_grid(sampler, roll, grid.part(0, count))).mean
        for roll, grid in zip(rolls, grids, strict=True)
    )
    shares = torch.linspace(-0.5, 1.5, first.shape[1], device=sampler.device).clamp(0, 1)
    on_grid = decode_in_windows(generator, torch.lerp(first, second, shares[None, :, None]), WINDOW_STEPS)
    durations = [np.diff(grid.edges[: count + 1]) for grid in grids]
    of_second = shares.cpu().numpy().reshape(count, -1).mean(1)
    edges = grids[0].edges[0] + np.append(0, np.cumsum((1 - of_second) * durations[0] + of_second * durations[1]))
    grid = replace(grids[0].part(0, count), edges=edges)
    frames = min(int(edges[-1] / frame_seconds + 1e-6), *(roll.shape[-1] for roll in rolls))
    return from_grid(on_grid[0].cpu().numpy(), grid, frame_seconds, frames), grid.beats(frames * frame_seconds)


def _generator(sampler: BeatSampler) -> Generator:
    return cast("Generator", sampler.generator)


def _outline(outlines: tuple[Outline, ...], request: Request, rng: torch.Generator) -> Outline:
    """Return the outline of a random song: of the style that is asked for, and rather of about the tempo that is."""
    if request.style is not None:
        style = request.style.lower()
        outlines = tuple(outline for outline in outlines if outline.style == style) or outlines
    if request.beat is not None:
        outlines = tuple(outline for outline in outlines if not outline.is_free) or outlines
    weights = torch.tensor([float(len(outline)) / outline.tempo for outline in outlines])  # by their minutes
    if request.beat is not None:
        octaves = torch.tensor([outline.tempo / request.beat.tempo for outline in outlines]).log2()
        weights = weights * (-0.5 * (octaves / TEMPO_OCTAVES).square()).exp().clamp(min=1e-6)
    outline = outlines[int(torch.multinomial(weights, 1, generator=rng))]
    outline = outline.transposed(int(torch.randint(-OTHER_KEYS, OTHER_KEYS + 1, (), generator=rng)))
    if request.style is not None:
        outline = replace(outline, style=request.style.lower())
    return outline if request.beat is None else replace(outline, tempo=request.beat.tempo, is_free=False)


def _stretch(outline: Outline, count: int, rng: torch.Generator) -> Outline:
    """Return an outline from a random bar on that leaves it `count` beats.

    In the first 20 s of songs drums play in 83 of 100 bars and strings in 58, in all of them in 95 and 78: pieces that
    all began as songs do would rest too much.
    """
    bars = np.flatnonzero(outline.numbers[: max(len(outline) - count, 0) + 1] == 1)
    first = int(bars[int(torch.randint(len(bars), (), generator=rng))]) if len(bars) else 0
    return outline.part(first, len(outline) - first)


def _accompany(sampler: BeatSampler, frames: int, rng: torch.Generator, request: Request) -> Composition:
    """Compose the other instruments to those that the request keeps, which stay as they are.

    Plan, bars and beats are those of what is kept; who else plays when is from a song that was learned from.
    """
    assert request.kept is not None
    tracks, frame_seconds = sampler.store.header.tracks, sampler.frame_seconds
    seconds = frames * frame_seconds
    is_kept = (request.kept[:, 0, 0] >= 0).tolist()
    kept = np.maximum(request.kept[..., :frames], 0.0)
    grid = Grid.of(request.kept_beats or Beats.none(), seconds)
    on_grid = _on_grid(sampler, kept, grid, is_tight=True)
    heard = on_grid[0].cpu().numpy()
    pitched, kit = sides_or_tracks(heard, tracks), sampler.shape.drums_of(heard)
    own = outline_of(pitched, grid, kit=kit, tracks=tracks, players=heard)
    asked = replace(request, beat=request.beat or Beat(grid.tempo))
    outline = _outline(_fullest(sampler.store.outlines, is_kept), asked, rng).from_downbeat()
    outline = _stretch(outline, len(grid), rng).lasting(len(grid))
    parts, scene, harmony = outline.parts.copy(), outline.scene.copy(), outline.harmony
    for number in np.flatnonzero(is_kept):
        columns = slice(FIGURES * number, FIGURES * (number + 1))
        parts[:, columns] = own.parts[:, columns]
    if own.scene[:, :CLASSES].any():  # what is kept has pitches, and its key
        scene[:, :CLASSES] = own.scene[:, :CLASSES]
        harmony = filled(own.harmony)
    outline = replace(own, scene=scene, parts=parts, harmony=harmony, style=outline.style)
    given = _generator(sampler).encode(on_grid).mean
    latents = _latents(sampler, outline, rng, request, given=(given, is_kept))
    drawn = _written(sampler, latents, outline, grid)
    roll = from_grid(drawn[0].cpu().numpy(), grid, frame_seconds, frames)
    roll[is_kept] = compress(kept, sampler.compression)[is_kept]
    return Composition(roll, drawn, latents, grid.beats(seconds), outline.style)


def _fullest(outlines: tuple[Outline, ...], is_kept: list[bool]) -> tuple[Outline, ...]:
    """Return the half of the outlines in which the instruments that are not kept play the most."""
    others = [number for number, kept in enumerate(is_kept) if not kept]
    shares = [float(outline.parts[:, ::FIGURES][:, others].mean()) for outline in outlines]
    return tuple(outline for outline, share in zip(outlines, shares, strict=True) if share >= np.median(shares))


def _latents(
    sampler: BeatSampler, outline: Outline, rng: torch.Generator, request: Request, past: Tensor | None = None,
    given: tuple[Tensor, list[bool]] | None = None,
) -> Tensor:  # fmt: skip
    """Draw the latents of all beats of an outline, (1, L, Z), `past` (1, L, Z) being the first of them.

    `given` are the latents (1, L, Z) of all beats, and of which instruments they count.
    """
    generator = _generator(sampler)
    temperature = generator.temperature if request.temperature is None else request.temperature
    style = int(style_number(outline.style, sampler.store.styles or ()))
    arrays = context_arrays(outline.to_follow(), style, len(outline))
    context = Context.of({name: torch.from_numpy(array)[None].to(sampler.device) for name, array in arrays.items()})
    if given is not None:
        flags = torch.tensor(given[1], dtype=torch.float32, device=sampler.device).expand(1, len(outline), -1)
        context = context._replace(given=generator.as_beats(given[0]), is_given=flags)
    with _one_thread():
        return generator.compose(context, rng, temperature, past)


def _written(sampler: BeatSampler, latents: Tensor, outline: Outline, grid: Grid) -> Tensor:
    """Return what latents (1, L, Z) are as a roll on the grid, (1, C, K, T'), in model space.

    What instruments are to play is told by their outline, and drawn nearly so. Attacks of models that write tightly are
    put on the grid, as they learned it: of the strokes of drums that were drawn one in six lay beside all 16ths and
    triplets, a quarter of them a few frames after another of the same drum. What is of no class of the harmony that was
    told around its beat is left out.
    """
    generator = _generator(sampler)
    decoded = decode_in_windows(generator, latents, WINDOW_STEPS)
    roll = decoded[0].cpu().numpy()
    if generator.writes_tightly and not grid.is_free:
        roll = tighten(roll, sampler.store.header.tracks)
    if outline.harmony.size:
        drums = [sampler.shape.pitched] if sampler.shape.has_drums else sampler.shape.unpitched
        roll = kept_to(roll, outline.harmony[: len(grid)], drums)
    return torch.from_numpy(roll)[None].to(decoded.device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch compute on one core: beats are so small that threads only wait for each other.

    On two cores with other work, a piece of half a minute took seven minutes by two threads and ten seconds by one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _on_grid(sampler: BeatSampler, roll: np.ndarray, grid: Grid, is_tight: bool = False) -> Tensor:
    """Return a roll (C, K, T) in linear loudness as a tensor on the grid, in model space: (1, C, K, T').

    Where it has a beat and `is_tight`, its attacks are put on the grid: so a composer learned it.
    """
    on_grid = to_grid(compress(roll, sampler.compression), grid, sampler.frame_seconds)
    if is_tight and not grid.is_free:
        on_grid = tighten(on_grid, sampler.store.header.tracks)
    return torch.from_numpy(on_grid)[None].to(sampler.device)


def _continue(sampler: BeatSampler, frames: int, rng: torch.Generator, request: Request) -> Composition:
    """Compose what follows the request's past, from its last whole beat on, on its own beats and as its bars went."""
    assert request.past is not None
    past, frame_seconds = request.past, sampler.frame_seconds
    past_seconds = past.shape[-1] * frame_seconds
    # A joint on a beat lies on a frame's edge, up to half a frame before the beat.
    grid = _whole_beats(request.past_beats or Beats.none(), past_seconds + frame_seconds / 2)
    tempo = _last_tempo(grid) if request.beat is None else request.beat.tempo
    count = max(int(np.ceil((past_seconds + frames * frame_seconds - grid.edges[-1]) * tempo / 60 - 1e-6)), 1)
    on_grid = _on_grid(sampler, past, grid, is_tight=True)
    heard = on_grid[0].cpu().numpy()
    pitched, kit = sides_or_tracks(heard, sampler.store.header.tracks), sampler.shape.drums_of(heard)
    players = heard if sampler.store.outlines[0].parts.size else None
    own = outline_of(pitched, grid, begins=False, kit=kit, tracks=sampler.store.header.tracks, players=players)
    style = _likest_style(sampler, own) if request.style is None else request.style.lower()
    whole, known = replace(own, tempo=tempo, style=style).going_on(count), len(grid)
    edges = np.concatenate((grid.edges, grid.edges[-1] + np.arange(1, count + 1) * 60 / tempo))
    longer = Grid(edges, whole.numbers, grid.meter, grid.is_free)
    generator = _generator(sampler)
    latents = _latents(sampler, whole, rng, request, generator.encode(on_grid).mean)
    decoded = _written(sampler, latents, whole, longer)
    before = past_seconds - frame_seconds
    written = from_grid(decoded[0].cpu().numpy(), longer, frame_seconds, 1 + frames, before)
    before_it = torch.from_numpy(compress(past, sampler.compression))[None]
    roll = joined(before_it, torch.from_numpy(written)[None])[0].numpy()
    new = known * GRID_FRAMES
    steps = new // generator.token_frames
    beats = longer.beats(past_seconds + frames * frame_seconds)
    return Composition(roll, decoded[..., new:], latents[:, steps:], beats, style)


def _last_tempo(grid: Grid) -> float:
    """Return the median tempo of a grid's last beats, in beats a minute."""
    return grid.part(max(len(grid) - LAST_BEATS, 0), min(len(grid), LAST_BEATS)).tempo


def _likest_style(sampler: BeatSampler, own: Outline) -> str:
    """Return the style of the song that was learned from whose texture is the most like that of the outline `own`."""
    texture = own.scene[:, CLASSES:].mean(0)
    likest = min(
        sampler.store.outlines, key=lambda song: float(np.abs(song.scene[:, CLASSES:].mean(0) - texture).sum())
    )
    return likest.style


def _whole_beats(beats: Beats, seconds: float) -> Grid:
    """Return the grid of the whole beats within `seconds` of music; a clock where there are too few."""
    for known in (beats, Beats.none()):
        grid = Grid.of(known, seconds)
        inside = np.flatnonzero((grid.edges[:-1] > -1e-6) & (grid.edges[1:] < seconds + 1e-6))
        if len(inside) >= FEWEST_PAST_BEATS:
            break
    return grid.part(int(inside[0]), len(inside)) if len(inside) else grid.part(0, 1)

"""The content of a run's page, as plain values."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan import __version__
from musigan.errors import UsageError
from musigan.models.stages import ADVERSARIAL_STAGES
from musigan.report import summary
from musigan.report.history import Run, curves, not_measured
from musigan.rolls.beats import Beats

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.machine.reporting import Steps
    from musigan.report.listening import Clip
    from musigan.sampling.sampler import Sampler
    from musigan.sampling.transfer import Transfer
    from musigan.store import Reader

TELLING = ("midi", "beats")  # of an excerpt, which may tell whether it is real


@dataclass(frozen=True)
class MusicSelection:
    """The selection of music on the page."""

    count: int = 6  # samples: the better half by the critic, then the worse
    of: int = 24  # pieces that the critic chooses among
    rounds: int = 6  # of the blind test, each of one real and one generated excerpt that are nowhere else on the page
    seconds: float = 10.0  # of every excerpt
    seed: int = 1

    def __post_init__(self) -> None:
        if self.count > self.of:
            raise UsageError(f"--count {self.count} --of {self.of}: cannot choose {self.count} among {self.of}")


def gather(
    run: Run,
    choices: MusicSelection,
    reader: Reader | None,
    device: str,
    jobs: int,
    progress: Callable[[int, str], Steps],
) -> dict[str, Any]:
    """Gather the page's content. `reader`: keys store for real music; `progress(total, name)` starts a count."""
    from musigan.checkpoints import checkpoint as checkpoints
    from musigan.report import listening

    checkpoint = checkpoints.load(run.checkpoint)
    if reader is not None:
        listening.check_fit(reader, checkpoint.shape, checkpoint.store.header)
    history = run.history(checkpoint.history)
    gather_music: Callable[..., PageMusic] = _transferred_music if checkpoint.store.domains else _sampled_music
    is_taught = not {"critic", *ADVERSARIAL_STAGES}.isdisjoint(_stages_trained(checkpoint, history))
    music = gather_music(checkpoint, device, reader, choices, progress, is_taught)
    rendering = progress(len(music.all()), "pieces rendered")
    pieces, shared = listening.render_excerpts(music.all(), music.maker, jobs, lambda: rendering.step())
    parts = iter(pieces)
    held_back = reader is not None and listening.held_out(reader, checkpoint.data)[1]
    measured_with = None if reader is None or held_back else False
    best, worst, real = (list(islice(parts, len(group))) for group in (music.better, music.worse, music.references))
    return {
        "name": run.name,
        "version": __version__,
        "withReal": f"report {shlex.quote(run.checkpoint.name)} --keys {music.store_name} -o report.html",
        **curves(history),
        "notMeasured": not_measured(checkpoint.settings, history, measured_with),
        "toMeasure": _measuring_command(shlex.quote(run.checkpoint.name), checkpoint.store.domains),
        "run": [*summary.run_rows(checkpoint, history), *summary.place_rows(run.checkpoint)],
        "settings": summary.settings_groups(checkpoint.settings),
        "data": summary.data(checkpoint, reader),
        "music": {
            **shared,
            "best": best,
            "worst": worst,
            "real": real,
            "of": choices.of,
            "critic": music.has_critic,
            "turned": music.turned,
            "untaught": music.is_untaught,
            "heldOut": held_back,
        },
        "blind": _blind_rounds(list(parts), choices.seed),
    }


def _measuring_command(checkpoint: str, domains: Sequence[str]) -> str:
    """Return the command that measures a checkpoint: transfer's own judges where it turns one kind into another."""
    if not domains:
        return f"evaluate keys.zarr {checkpoint}"
    return f"transfer {checkpoint} {' '.join(shlex.quote(f'{kind}.zarr') for kind in domains)} --judge"


def _stages_trained(checkpoint: Checkpoint, history: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the stages that were trained: of an exported checkpoint, which has no history, those it says."""
    return {str(entry.get("stage")) for entry in history} | {name for name, _ in checkpoint.trained}


@dataclass(frozen=True)
class PageMusic:
    """The excerpts of a page: better and worse generated ones, real ones to compare, pairs of real and generated."""

    maker: Sampler | Transfer
    better: list[Clip]
    worse: list[Clip]
    references: list[Clip]
    rounds: list[tuple[Clip, Clip]]
    has_critic: bool = False  # that chose which are better
    is_untaught: bool = False  # whether there is a critic that could not choose yet
    turned: str = ""  # the kind of music that the songs of `references` were transferred to
    store_name: str = "keys.zarr"

    def all(self) -> list[Clip]:
        """Return all excerpts, group by group."""
        return [*self.better, *self.worse, *self.references, *(excerpt for pair in self.rounds for excerpt in pair)]


def _sampled_music(
    saved: Checkpoint,
    device: str,
    reader: Reader | None,
    choices: MusicSelection,
    progress: Callable[[int, str], Steps],
    is_taught: bool,
) -> PageMusic:
    """Sample music from a checkpoint, with real music of the store for comparison.

    A critic that was not taught yet ranks nothing.
    """
    from musigan.report import listening
    from musigan.sampling.sampler import Sampler

    sampler = Sampler.from_checkpoint(saved, device)
    frames = sampler.frames(choices.seconds)
    has_critic = sampler.critic is not None
    ranks = has_critic and is_taught
    better, worse, blind_samples = _ranked_samples(sampler, frames, choices, progress, ranks)
    real = []
    if reader is not None:
        real = listening.excerpts(reader, sampler, frames, len(better) + choices.rounds, choices.seed, saved.data)
    references, blind_real = real[: len(better)], real[len(better) :]
    rounds = list(zip(blind_real, blind_samples, strict=False))
    return PageMusic(sampler, better, worse, references, rounds, ranks, has_critic and not is_taught)


def _transferred_music(
    saved: Checkpoint,
    device: str,
    reader: Reader | None,
    choices: MusicSelection,
    progress: Callable[[int, str], Steps],
    is_taught: bool,
) -> PageMusic:
    """Transfer songs of one kind to the other with a checkpoint, and keep the originals; none without a store.

    Raises UsageError for a store whose name is not that of one of the two kinds in training.
    """
    from musigan.datasets.domains import domain_names
    from musigan.report import listening
    from musigan.sampling.transfer import Transfer

    transfer = Transfer.from_checkpoint(saved, device)
    name = f"{transfer.domains[0]}.zarr"
    if reader is None:
        return PageMusic(transfer, [], [], [], [], store_name=name)
    kind = transfer.kind_of(domain_names([reader.source])[0])
    frames = round(choices.seconds / transfer.store.header.frame_seconds)
    songs = listening.excerpts(reader, transfer, frames, choices.count, choices.seed, saved.data)
    turning = progress(len(songs), "songs turned")
    transferred = []
    for song in songs:
        transferred.append(listening.Clip(transfer.song(song.roll, 1 - kind), song.title, song.note))
        turning.step()
    return PageMusic(transfer, transferred, [], songs, [], turned=transfer.domains[1 - kind], store_name=name)


def _ranked_samples(
    sampler: Sampler, frames: int, choices: MusicSelection, progress: Callable[[int, str], Steps], ranks: bool
) -> tuple[list[Clip], list[Clip], list[Clip]]:
    """Return the best samples, best first; the worst samples, worst first; and samples taken without any choice.

    Where the critic does not rank, the first group holds `count` samples and the second is empty.
    """
    from musigan.report.listening import Clip
    from musigan.sampling.sampler import best_numbers

    scores: dict[int, float] = {}
    if not ranks:
        selections = list(range(1, choices.count + 1)), list[int]()
    else:
        judging = progress(choices.of, "pieces judged")
        for number, score in sampler.scores(choices.of, frames, choices.seed):
            scores[number] = score
            judging.step()
        order = best_numbers(scores, choices.of)
        better_count = -(-choices.count // 2)
        selections = order[:better_count], order[::-1][: choices.count - better_count]
    blind_numbers = range(choices.of + 1, choices.of + choices.rounds + 1)

    def draw(number: int) -> Clip:
        note = f"critic {scores[number]:+.2f}".replace("-", "−") if number in scores else ""
        piece = sampler.piece(choices.seed, number, frames)
        return Clip(piece.roll, f"Piece {number}", note, piece.beats or Beats.none())

    better, worse = ([draw(number) for number in numbers] for numbers in selections)
    return better, worse, [draw(number) for number in blind_numbers]


def _blind_rounds(shown: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Group alternating real and generated excerpts into rounds: {pieces: two in random order, real: its index}."""
    rng = np.random.default_rng([seed, 2])
    shown = [{name: value for name, value in each.items() if name not in TELLING} for each in shown]
    rounds: list[dict[str, Any]] = []
    for real, drawn in zip(shown[::2], shown[1::2], strict=True):
        real_is_second = bool(rng.integers(2))
        rounds.append({"pieces": [drawn, real] if real_is_second else [real, drawn], "real": int(real_is_second)})
    return rounds

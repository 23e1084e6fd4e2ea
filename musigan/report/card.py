"""The model card of a checkpoint: a page of Markdown that says what it is, what it learned from and how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from musigan import __version__
from musigan.machine.reporting import duration
from musigan.report import summary
from musigan.report.history import FLOOR, SAMPLES, rounded

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint

HELD_OUT = "held-out"
MOST_STYLES = 12  # named; the rest is counted
SHOWN_SETTINGS = ("seed", "batch_size", "compression", "precision")


def card(saved: Checkpoint, name: str) -> str:
    """Return the card of a checkpoint called `name`: its own, or one made of what it holds."""
    return saved.card or _generated(saved, name)


def _generated(saved: Checkpoint, name: str) -> str:
    parts = [
        f"# {name}",
        "Weights of musigan, which learns from the piano-key rolls of recordings and makes new music. "
        f"`{saved.store.usage('FILE')} | keys-to-mp3 out.mp3` lets you hear it. Written by musigan {__version__}.",
        "## Model",
        _list([*_model_rows(saved), *_network_rows(saved)]),
        "## Music that it learned from",
        _list(_music_rows(saved)),
        "## How good it is",
        _evaluation(saved.history),
        "## Use",
        "It draws music in the manner of the songs above, and may repeat stretches of them. Whoever passes it on needs "
        "the right to do so with what was learned from those songs; musigan itself is under the MIT licence.",
    ]
    return "\n\n".join(parts) + "\n"


def _model_rows(saved: Checkpoint) -> summary.Rows:
    rows = {name: value for name, value in summary.run_rows(saved, saved.history) if name != "epochs"}
    stages = ", ".join(f"{name} {epochs}" for name, epochs in saved.trained)
    rows["stages"] = f"{stages} (epochs trained)" if stages else "none: untrained"
    if not saved.is_resumable:
        rows.pop("steps", None)
    return [[name, value] for name, value in rows.items()]


def _network_rows(saved: Checkpoint) -> summary.Rows:
    groups = {group["name"]: group["rows"] for group in summary.settings_groups(saved.settings)}
    run = [row for row in groups.get("run", []) if row[0] in SHOWN_SETTINGS]
    network = ", ".join(f"{name} {value}" for name, value in groups.get("network", []))
    return [*run, *([["network", network]] if network else [])]


def _music_rows(saved: Checkpoint) -> summary.Rows:
    """Return what record and fingerprint say of the music; other rows are there of an exported checkpoint and a run."""
    stores = [saved.data, *(part for part in saved.data.values() if isinstance(part, Mapping))]  # of each kind of music
    songs, chunks = (
        sum(part[name] for part in stores if isinstance(part.get(name), int)) for name in ("songs", "chunks")
    )
    header = saved.store.header
    rows = [["songs in its store", f"{songs:,}"]] if songs else []
    if chunks:
        rows.append(["music", f"about {duration(chunks * header.chunk_seconds * (1 - (header.overlap or 0)))}"])
    styles = Counter(outline.style for outline in saved.store.outlines if outline.style)
    styles.update(song.style for song in saved.store.songs or () if song.style)
    named = [style for style, _ in styles.most_common(MOST_STYLES)] or list(saved.store.styles or ())[:MOST_STYLES]
    if named:
        more = len(set(styles) | set(saved.store.styles or ())) - len(named)
        rows.append(["styles", ", ".join(named) + (f" and {more} more" if more > 0 else "")])
    tempos = [outline.tempo for outline in saved.store.outlines if not outline.is_free]
    tempos += [song.tempo for song in saved.store.songs or ()]
    if tempos:
        rows.append(["tempo", f"{min(tempos):.0f} to {max(tempos):.0f} beats a minute"])
    if saved.store.domains:
        rows.append(["kinds", " and ".join(saved.store.domains)])
    shared = summary.data(saved, None)["rows"]
    return rows + [row for row in shared if row[0] not in ("songs", "chunks")]


def _evaluation(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the last evaluation of a training: the verdict, and its metrics as a table."""
    last = next((entry for entry in reversed(history) if isinstance(entry.get("evaluation"), Mapping)), None)
    if last is None:
        return "It was not evaluated while it was trained: `evaluate KEYS FILE` does it."
    evaluation, rows = last["evaluation"], (SAMPLES, FLOOR, HELD_OUT)
    lines = [f"| metric | {' | '.join(rows)} |", f"|---{'|--:' * len(rows)}|"]
    for metric, values in (evaluation.get("metrics") or {}).items():
        if isinstance(values, Mapping) and rounded(values.get(SAMPLES)) is not None:
            lines.append(f"| {metric} | {' | '.join(_cell(values.get(row)) for row in rows)} |")
    return (
        f"After epoch {last.get('total_epoch', '?')}, samples against songs held back: {evaluation.get('verdict')}. "
        "The floor are songs that were learned from.\n\n" + "\n".join(lines)
    )


def _cell(value: object) -> str:
    number = rounded(value)
    return "" if number is None else f"{number:.3g}"


def _list(rows: summary.Rows) -> str:
    return "\n".join(f"- {name}: {value}".replace("\N{NO-BREAK SPACE}", " ") for name, value in rows)

"""Tables of a run, its settings and its data, in rows of text: [name, value]."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from musigan.machine.cores import usable_cores
from musigan.machine.reporting import counted, duration
from musigan.rolls import keyboard

if TYPE_CHECKING:
    from pathlib import Path

    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.rolls.keysettings import KeySettings
    from musigan.store import ItemInfo, Reader

Rows = list[list[str]]


def run_rows(saved: Checkpoint, history: Sequence[Mapping[str, Any]]) -> Rows:
    """Return the rows about a run: its model, its plan and its progress."""
    planned = sum(epochs for _, epochs in saved.plan)
    seconds = next((e["seconds"] for e in reversed(history) if isinstance(e.get("seconds"), int | float)), None)
    networks = {name: weights for name, weights in saved.networks.items() if name in ("generator", "critic")}
    sizes = {name: sum(t.numel() for t in weights.values()) for name, weights in networks.items()}
    rows = [
        ["model", f"{saved.settings.get('model', '?')}, preset {saved.settings.get('preset', '?')}"],
        ["epochs", f"{len(history)} of {planned}" if saved.is_resumable else f"{planned}"],
        ["stages", ", ".join(f"{name} {epochs}" for name, epochs in saved.plan)],
        *([["steps", f"{saved.position.total_steps:,}"]] if saved.is_resumable else []),
        ["parameters", ", ".join(f"{name} {_count(size)}" for name, size in sizes.items())],
    ]
    if seconds is not None:
        rows.insert(3, ["time spent", duration(seconds)])
    return rows


def place_rows(checkpoint: Path) -> Rows:
    """Return the rows that say when the checkpoint was saved, and on what machine this is said."""
    saved = datetime.fromtimestamp(checkpoint.stat().st_mtime, UTC)
    machine = f"{platform.system()} {platform.machine()}, {counted(usable_cores(), 'cores')}"
    return [
        ["saved", f"{saved:%Y-%m-%d %H:%M} UTC"],
        ["page made on", f"{machine}, Python {platform.python_version()}"],
    ]


def settings_groups(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Group settings by section: {name, rows}; those without a section come first."""
    unsectioned_rows = [[name, _value(value)] for name, value in settings.items() if not isinstance(value, Mapping)]
    groups = [{"name": "run", "rows": unsectioned_rows}]
    for name, section in settings.items():
        if isinstance(section, Mapping) and section:
            groups.append({"name": name, "rows": [[key, _value(value)] for key, value in section.items()]})
    return groups


def data(saved: Checkpoint, reader: Reader | None) -> dict[str, Any]:
    """Describe the training data: {given, same, rows, genres, songs}; `same`: whether `reader` is that very store."""
    shape, header = saved.shape, saved.store.header
    low_key = header.low_key
    shared = [
        ["rolls", f"{shape.channels} channels × {shape.keys} keys × {shape.frames} frames"],
        ["keys", f"{keyboard.key_name(low_key)} to {keyboard.key_name(low_key + shape.keys - 1)}"],
        ["frame", f"{1000 * header.frame_seconds:g}\N{NO-BREAK SPACE}ms"],
        ["bands", _bands(header.key_settings)],
    ]
    if reader is None:
        songs = [
            [name, f"{saved.data[name]:,}"] for name in ("songs", "chunks") if isinstance(saved.data.get(name), int)
        ]
        return {"given": False, "same": None, "rows": songs + shared, "genres": [], "songs": []}
    from musigan.datasets.rolls import RollDataset
    from musigan.store.splits import names_held_by

    infos = list(reader.infos())
    held_out = names_held_by(saved.data, reader)
    validation_count = len(held_out)
    chunk_seconds = float(reader.header.chunk_seconds)
    lengths = [_seconds(info, chunk_seconds) for info in infos]
    rows = [
        ["songs", f"{len(infos):,}: {len(infos) - validation_count:,} to learn from, {validation_count:,} held back"],
        ["music", f"{duration(sum(lengths))}, {duration(sum(lengths) / max(len(lengths), 1))} a song"],
    ]
    genres = Counter(info.song.genre or "not said" for info in infos)
    return {
        "given": True,
        "same": RollDataset(reader, "validation", held_out=held_out).fingerprint() == saved.data,
        "rows": rows + shared,
        "genres": [[name, count] for name, count in genres.most_common()],
        "songs": [_song(info, length, held_out) for info, length in zip(infos, lengths, strict=True)],
    }


def _song(info: ItemInfo, seconds: float, held_out: frozenset[str]) -> list[str]:
    song = info.song
    split = "held back" if info.name in held_out else "training"
    return [info.title, song.artist, song.genre, song.year, f"{round(seconds) // 60}:{round(seconds) % 60:02d}", split]


def _seconds(info: ItemInfo, chunk_seconds: float) -> float:
    """Return the length of a song's chunks in seconds, overlaps counted once."""
    span_seconds = chunk_seconds * (2 if len(info.shape) == 5 else 1)
    starts = sorted(info.song.start_times(info.shape[0], span_seconds))
    return sum(
        min(span_seconds, next_start - start)
        for start, next_start in zip(starts, [*starts[1:], float("inf")], strict=True)
    )


def _bands(settings: KeySettings) -> str:
    return f"{settings.band}, {settings.base_hz:g} Hz + {100 * settings.slope:g}\N{NO-BREAK SPACE}%"


def _count(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _value(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_value(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Checkpoint: one file that holds a whole training run, written aside and renamed, read without running its content.

The content is tensors and plain values only, so `torch.load(weights_only=True)` reads it, and a pickle that would run
code is refused. A checkpoint carries its own settings, roll shape and a record of the music it was trained on:
sampling and synthesis need nothing else.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as shown  # shortens long values: a damaged checkpoint may hold anything
from typing import TYPE_CHECKING, Any

from musigan.checkpoints import slim
from musigan.datasets.record import MusicRecord
from musigan.errors import CheckpointError
from musigan.files.atomic import KeptErrors, replace_whole
from musigan.files.text import printable
from musigan.machine.ranks import MOST_RANKS
from musigan.rolls.shape import RollShape
from musigan.rolls.tracks import unpitched_instruments
from musigan.settings import expanded_size
from musigan.store.attributes import is_number

if TYPE_CHECKING:
    from torch import nn

    from musigan.checkpoints.settings import TrainingSettings

KIND = "musigan checkpoint"
FORMAT = 2

# What format 1 called differently, beside settings: parts of the names of parameters.
_FORMER_PARAMETERS = {"inward": "in_proj", "outward": "out_proj"}


@dataclass
class Position:
    """Position of a training run in its plan."""

    stage: int = 0  # index into the plan
    epoch: int = 0  # whole epochs done in this stage
    step_in_epoch: int = 0  # steps done in the current epoch
    step: int = 0  # steps done in this stage
    total_steps: int = 0  # steps done in all stages
    seconds: float = 0.0  # time spent training, over all sittings
    tally: dict[str, list[float]] = field(default_factory=dict)  # loss name -> [sum, count] of the current epoch


@dataclass
class Checkpoint:
    """Content of a checkpoint file. `networks`, `average` and `optimisers` are state dicts by name."""

    settings: dict[str, Any]  # TrainingSettings as plain values
    shape: RollShape
    store: MusicRecord  # of the keys store
    data: dict[str, Any]  # fingerprint of the keys store
    plan: list[list[Any]]  # [stage, epochs] in order
    position: Position
    networks: dict[str, Any]
    average: dict[str, Any]
    optimisers: dict[str, Any]
    rng: Any  # state of torch's global generator, a byte tensor; None: a slim one, which cannot be resumed
    history: list[dict[str, Any]] = field(default_factory=list)
    card: str = ""  # what an exported one says of itself, in Markdown
    ranks: int = 1  # processes that trained it together, each on as many batches of a step
    name: str = "the checkpoint"  # what messages call it: its file

    @property
    def is_resumable(self) -> bool:
        """Whether its run can go on: what was exported draws, but holds neither optimisers nor random state."""
        return self.rng is not None

    @property
    def trained(self) -> list[list[Any]]:
        """The plan as far as it was gone, [stage, epochs] in order."""
        done = self.plan[: self.position.stage]
        if self.position.stage < len(self.plan):
            done = [*done, [self.plan[self.position.stage][0], self.position.epoch]]
        return [[name, epochs] for name, epochs in done if epochs]

    def training_settings(self) -> TrainingSettings:
        """Return the effective settings of the run; CheckpointError where this version cannot read them."""
        from musigan import settings
        from musigan.checkpoints.settings import TrainingSettings
        from musigan.errors import SettingsError

        try:
            return settings.build(TrainingSettings, self.settings)
        except SettingsError as error:
            raise self.of_other_version(error) from error

    def of_other_version(self, error: Exception) -> CheckpointError:
        """Return the error for settings that this version cannot read."""
        return CheckpointError(f"{self.name}: its settings do not fit this version ({error}); update musigan")


# The card only where there is one, and how many processes only where these were several.
_SAVED = tuple(f.name for f in fields(Checkpoint) if f.name not in ("card", "ranks", "name"))


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` beside `path`, then rename it to `path`, which so holds the old or the new one, never half."""
    import torch

    path = Path(path)
    if place := not_finite([checkpoint.networks, checkpoint.average, checkpoint.optimisers]):
        raise CheckpointError(f"{path}: not written, as the training diverged: {place} holds NaN or infinity")
    content = {name: getattr(checkpoint, name) for name in _SAVED}
    content |= {"kind": KIND, "format": FORMAT} | ({"card": checkpoint.card} if checkpoint.card else {})
    content |= {"ranks": checkpoint.ranks} if checkpoint.ranks > 1 else {}
    content["store"] = checkpoint.store.to_values()
    content |= {"shape": asdict(checkpoint.shape), "position": asdict(checkpoint.position)}
    with replace_whole(path, CheckpointError) as aside:
        try:
            with open(aside, "wb", buffering=0) as file:
                kept: Any = KeptErrors(file)
                try:
                    torch.save(content, kept)
                finally:  # torch passes over the error of a full disk, or says it in its own words
                    kept.raise_first()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            raise CheckpointError(f"{path}: cannot be written ({reason})") from error


def not_finite(values: Any) -> str:
    """Return the place in nested tensors at which NaN or infinity stands; "" where there is none."""
    if isinstance(values, Mapping | list | tuple):
        named = values.items() if isinstance(values, Mapping) else enumerate(values)
        found = ((name, not_finite(value)) for name, value in named)
        return next((f"{name} {inner}".strip() for name, inner in found if inner), "")
    is_weights = hasattr(values, "is_floating_point") and values.is_floating_point()
    return "" if not is_weights or bool(values.isfinite().all()) else " "


def save_slim(path: str | Path, checkpoint: Checkpoint, card: str = "", half: bool = False) -> None:
    """Write what draws of `checkpoint`, and its critic, as a safetensors file (`musigan.checkpoints.slim`)."""
    small = slimmed(checkpoint)
    content = slim.content_of(small.settings, small.shape, small.store.to_values(), small.plan)
    slim.write(path, content, small.networks["generator"], small.networks.get("critic", {}), card, half)


def slimmed(checkpoint: Checkpoint) -> Checkpoint:
    """Return what draws of a checkpoint, and its critic: a finished run of as many epochs as were trained.

    Raises CheckpointError where its weights do not fit its settings.
    """
    networks = build_networks(checkpoint, averaged=True)
    weights: dict[str, Any] = {name: networks[name].state_dict() for name in slim.PARTS if name in networks}
    average, plan = {"generator": weights["generator"]}, checkpoint.trained
    finished = Position(stage=len(plan))
    return Checkpoint(
        checkpoint.settings, checkpoint.shape, checkpoint.store, {}, plan, finished, weights, average, {}, None
    )


def check_writable(path: str | Path) -> None:
    """Raise CheckpointError, before hours of training, if no checkpoint could be written to `path`."""
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; expected the name of a checkpoint file such as ckpt.pt")
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {path.parent}; make it first, or choose another place")
    if not os.access(path.parent, os.W_OK):
        raise CheckpointError(f"{path}: the folder {path.parent} cannot be written to; choose another place")


def is_checkpoint(path: str | Path) -> bool:
    """Return whether a file is one that torch wrote, or a slim one; a store is a ZIP, too, but holds no data.pkl."""
    if not Path(path).is_file():
        return False  # reading a pipe would consume its data, and a device may have no end
    if slim.is_slim(path):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; one-line CheckpointError for anything that is not one."""
    import pickle

    import torch

    if str(path) == "-" or "://" in str(path):
        raise CheckpointError(f"{path}: a checkpoint is read from a file, not from a pipe or a URL: save it first")
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint written by pretrain or train-gan")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; expected a checkpoint file such as ckpt.pt")
    if not path.is_file():  # reading a pipe would wait, and a device may have no end
        raise CheckpointError(f"{path}: not a regular file; expected a checkpoint file such as ckpt.pt")
    if slim.is_slim(path):
        return _from_slim(path)
    _check_frame(path)
    try:
        with path.open("rb") as file:  # of a path torch would go by the ending
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: holds more than tensors and plain values, so opening it could run code"
        ) from error
    except MemoryError:
        raise
    # A damaged pickle can raise nearly anything in its reader (struct.error, EOFError, KeyError, RuntimeError).
    except Exception as error:
        raise CheckpointError(f"{path}: damaged or cut short ({_first_line(error)})") from error
    return _from_content(path, content)


def _check_frame(path: Path) -> None:
    """Raise CheckpointError unless `path` is a whole file of torch's kind; nothing in it is interpreted yet.

    Checksums are compared, which torch does not do: a flipped bit would be other music.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            damaged = archive.testzip()
    # RuntimeError: the bit is set that says an entry is encrypted.
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint, or cut short ({_first_line(error)})") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged ({printable(damaged)} has a wrong checksum); copy or train it again")


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise CheckpointError unless these are entries of a file of torch's kind."""
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise CheckpointError(f"{path}: not a checkpoint (compressed entries, which torch does not write)")
    if sum(e.file_size for e in entries) > path.stat().st_size:
        raise CheckpointError(f"{path}: refused: claims to hold more bytes than the file has")
    if not any(e.filename.endswith("data.pkl") for e in entries):
        raise CheckpointError(f"{path}: not a checkpoint; is it a store? expected a file written by train-gan")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__


def _from_slim(path: Path) -> Checkpoint:
    """Return the checkpoint of a safetensors file: finished, and without what resuming needs."""
    content, weights, card = slim.read(path)
    parts = {name: content.get(name) for name in ("settings", "shape", "store", "plan")}
    lacking: dict[str, Any] = {"data": {}, "optimisers": {}, "rng": None, "history": [], "position": {}, "card": card}
    networks = {"networks": weights, "average": {name: weights[name] for name in ("generator",) if name in weights}}
    checkpoint = _from_content(path, {**parts, **lacking, **networks, "kind": KIND, "format": FORMAT})
    checkpoint.position.stage = len(checkpoint.plan)
    return checkpoint


def _from_content(path: Path, content: Any) -> Checkpoint:
    """Return the checkpoint in the object that torch read; CheckpointError where parts are missing or wrong."""
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{path}: a torch file, but not a musigan checkpoint; expected one written by train-gan")
    version = content.get("format")
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {shown(version)}, this version reads up to {FORMAT}; update musigan"
        )
    try:
        if expanded_size(content) > path.stat().st_size:
            raise ValueError("values that stand for more than the file has bytes")
        checkpoint = Checkpoint(**_values_of(content), name=str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    # OverflowError: an infinite number of epochs. RecursionError: a list that holds itself.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: an incomplete checkpoint ({_first_line(error)})") from error
    if place := not_finite({"networks": checkpoint.networks, "average": checkpoint.average}):
        raise CheckpointError(
            f"{path}: its training diverged: {place} holds NaN or infinity; use an earlier checkpoint, or train again "
            "with a lower learning rate"
        )
    return checkpoint


def _roll_shape(values: dict[str, Any], store: dict[str, Any]) -> RollShape:
    """Return a saved shape of rolls; those of before leave it to the store who has no pitch."""
    return RollShape(**{"unpitched": unpitched_instruments(tuple(store.get("tracks", ()))), **values})


def _values_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint is made of, from what torch read.

    Raises CheckpointError, KeyError, TypeError or ValueError where parts are missing or wrong.
    """
    from torch import Tensor

    if content["format"] == 1:
        content = _from_format_1(content)
    values = {name: content[name] for name in _SAVED}
    values["settings"] = _of_today(values["settings"])
    values["position"] = _position(values["position"])
    values["plan"] = [[str(name), int(epochs)] for name, epochs in values["plan"]]
    values["history"] = _history(values["history"])
    for name in ("settings", "store", "data", "networks", "average", "optimisers"):
        if not isinstance(values[name], dict):
            raise TypeError(f"{name} is {type(values[name]).__name__}")
    values["shape"] = _roll_shape(values["shape"], values["store"])
    sizes = (values["shape"].channels, values["shape"].keys, values["shape"].frames)
    if not all(type(size) is int and 0 < size <= 1 << 20 for size in sizes):
        raise ValueError(f"roll shape {shown(sizes)}")
    if not isinstance(values["rng"], Tensor | None):
        raise TypeError("a random state of no bytes")
    values["store"] = MusicRecord.parse(values["store"])
    ranks = content.get("ranks", 1)
    if type(ranks) is not int or not 1 <= ranks <= MOST_RANKS:
        raise ValueError(f"trained by {shown(ranks)} processes")
    return {**values, "card": str(content.get("card") or ""), "ranks": ranks}


def _position(values: Mapping[str, Any]) -> Position:
    """Return a position from its plain values. Raises TypeError where they are none."""
    position = Position(**values)
    counts = (position.stage, position.epoch, position.step_in_epoch, position.step, position.total_steps)
    if not all(type(count) is int and 0 <= count < 1 << 63 for count in counts):
        raise TypeError("a position of no whole numbers")
    sums = position.tally.items()
    if not all(isinstance(name, str) and len(pair) == 2 and all(map(is_number, pair)) for name, pair in sums):
        raise TypeError("sums of losses that are no numbers")
    if not is_number(position.seconds):
        raise TypeError(f"trained for {shown(position.seconds)} seconds")
    return position


def _history(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures of epochs. Raises TypeError or ValueError where they are none."""
    json.dumps(entries)  # as it goes into metrics.jsonl
    for entry in entries:
        evaluation = entry.get("evaluation", {"metrics": {}, "distance": None})
        if not isinstance(entry["stage"], str) or type(entry["step"]) is not int:
            raise TypeError("a history of no epochs")
        if not isinstance(evaluation["metrics"], dict) or not isinstance(evaluation["distance"], float | int | None):
            raise TypeError("an evaluation of no figures")
    return list(entries)


def _of_today(settings: Any) -> Any:
    """Return plain settings under the names that their models have today, with what these did not have then, as it was.

    `musegan` had bars of so many frames.
    """
    from musigan import models

    network = settings.get("network") if isinstance(settings, dict) else None
    if not isinstance(network, dict):
        return settings
    if settings.get("model") == "musegan" and "bar_frames" in network:
        return {**settings, "model": "musegan-seconds"}
    formerly = models.family(settings["model"]).formerly if settings.get("model") in models.FAMILIES else {}
    return {**settings, "network": {**formerly, **network}}


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of format 1 with today's names of settings and parameters."""
    from musigan.settings import current_names

    renamed: dict[str, Any] = {"settings": current_names(content["settings"])}
    for part in ("networks", "average"):
        renamed[part] = {name: _renamed_parameters(weights) for name, weights in content[part].items()}
    return content | renamed


def _renamed_parameters(weights: Any) -> Any:
    """Return a state dict of format 1 with today's names, in its order; anything else as it is."""
    if not isinstance(weights, dict):
        return weights
    names = {name: ".".join(_FORMER_PARAMETERS.get(word, word) for word in str(name).split(".")) for name in weights}
    return {names[name]: value for name, value in weights.items()}


def build_networks(checkpoint: Checkpoint, averaged: bool = False) -> nn.ModuleDict:
    """Build the networks of a checkpoint with its weights; if `averaged`, the generator with its moving average."""
    from musigan import models
    from musigan.errors import SettingsError
    from musigan.models.augmentation import Augmentation

    settings = checkpoint.training_settings()
    try:
        networks = models.build(settings.model, settings.network, checkpoint.shape)
    except SettingsError as error:
        raise checkpoint.of_other_version(error) from error
    if "augmentation" in checkpoint.networks:
        networks["augmentation"] = Augmentation(checkpoint.store.header.tracks)
    for name, network in networks.items():
        weights = checkpoint.average if averaged and name in checkpoint.average else checkpoint.networks
        if name not in slim.PARTS and name not in weights and not checkpoint.is_resumable:
            continue  # what a game keeps besides its networks begins anew
        load_weights(network, weights.get(name), name)
    return networks


def load_weights(network: nn.Module, weights: Any, name: str) -> None:
    """Load `weights`, a state dict that must match `network` exactly; otherwise raise CheckpointError."""
    try:
        network.load_state_dict(weights)
    except (
        RuntimeError,
        TypeError,
        AttributeError,
        KeyError,
    ) as error:  # other names or sizes; no state dict at all
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"the checkpoint's {name} does not fit its settings ({reason})") from error

"""Slim checkpoints: what draws and what a new run may begin from, as a safetensors file for others to read.

The tensors are the generator with its averaged weights and the critic, named `generator.` and `critic.` and their names
in the networks. In the file's metadata, `musigan` is a JSON object with settings, shape of rolls, record of the music
and plan, `card` says in Markdown what it is, and `checksum` is compared on reading, for the format has none of its own:
BLAKE2b of the header without it, its keys sorted, and of all that follows the header. Files of older versions lack it.
Nothing that resuming needs is kept: no optimisers, no random state.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musigan.errors import CheckpointError
from musigan.files.atomic import replace_whole, write_all

if TYPE_CHECKING:
    from torch import Tensor

KIND = "musigan slim checkpoint"
FORMAT = 1
SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 100_000_000  # of safetensors
PARTS = ("generator", "critic")
CHECKSUM, CHECKED = "checksum", "has_checksum"  # in the metadata; and in `musigan`, so that no flip hides the former
ALIGNMENT = 8  # bytes that a safetensors header's length is a multiple of


def is_slim(path: str | Path) -> bool:
    """Return whether a file begins as a safetensors file does: the length of a JSON header, and its brace."""
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(9)
        length = int.from_bytes(head[:8], "little")
        return head[8:] == b"{" and 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size)
    except OSError:
        return False


def write(
    path: str | Path, content: Mapping[str, Any], generator: Mapping[str, Tensor], critic: Mapping[str, Tensor],
    card: str = "", half: bool = False,
) -> None:  # fmt: skip
    """Write a slim checkpoint, whole or not at all; `half`: weights in floats of 16 bits. Raises CheckpointError."""
    from safetensors.torch import save

    tensors = {}
    for part, weights in zip(PARTS, (generator, critic), strict=True):
        for name, tensor in weights.items():
            # The copy parts tensors that share memory, which the format has no words for.
            tensors[f"{part}.{name}"] = (_halved(tensor) if half else tensor).contiguous().clone()
    try:
        text = json.dumps(
            {**content, "kind": KIND, "format": FORMAT, CHECKED: True}, separators=(",", ":"), allow_nan=False
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be written: a setting or a figure of the music is no number") from error
    data = _ordered(save(tensors, {"musigan": text, "card": card}))
    with replace_whole(path, CheckpointError) as aside:
        write_all(aside, path, *data, failure=CheckpointError)


def _halved(tensor: Tensor) -> Tensor:
    """Return weights in 16 bits. Vectors stay as they are: variances and gains of 1e-8, and hardly a byte in all."""
    import torch

    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    halved = tensor.half()
    return halved if math.isfinite(float(halved.abs().max() if halved.numel() else 0.0)) else tensor


def _ordered(data: bytes) -> tuple[bytes, memoryview]:
    """Return a safetensors file as its header, whose metadata the library leaves in an order by chance, and the rest.

    The same content is so the same file.
    """
    length = int.from_bytes(data[:8], "little")
    listing = json.loads(data[8 : 8 + length])
    listing["__metadata__"][CHECKSUM] = _checksum(listing, memoryview(data)[8 + length :])
    listing["__metadata__"] = dict(sorted(listing["__metadata__"].items(), reverse=True))
    text = json.dumps(listing, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, memoryview(data)[8 + length :]


def _checksum(listing: Mapping[str, Any], *parts: bytes | memoryview) -> str:
    """Return the checksum of a file with this header, without a checksum, and the bytes after it."""
    digest = hashlib.blake2b(json.dumps(listing, sort_keys=True, separators=(",", ":")).encode(), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _check(path: str | Path, is_expected: bool) -> None:
    """Compare a file's checksum, if it has one. Raises CheckpointError where it is wrong, or missing."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    listing = json.loads(data[8 : 8 + length])
    given = listing["__metadata__"].pop(CHECKSUM, None)
    is_wrong = given is not None and given != _checksum(listing, memoryview(data)[8 + length :])
    if is_wrong or (is_expected and given is None):
        raise CheckpointError(f"{path}: damaged (its checksum is wrong); copy it or export it again")


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]], str]:
    """Read a slim checkpoint: its content, its networks' weights in floats of 32 bits, and its card.

    Raises CheckpointError where it is damaged, of another program or a newer version.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    weights: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            content = json.loads(metadata.get("musigan", "{}"))
            if isinstance(content, dict) and metadata:
                _check(path, content.pop(CHECKED, None) is True)
            for name in file.keys():  # noqa: SIM118  (no mapping)
                part, _, own = name.partition(".")
                tensor = file.get_tensor(name)
                weights.setdefault(part, {})[own] = tensor.float() if tensor.dtype == torch.float16 else tensor
    # RecursionError: JSON of thousands of brackets.
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({str(error).splitlines()[0][:120]})") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{path}: a safetensors file, but not one of musigan; expected what export wrote")
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: slim checkpoint of format {content.get('format')!r}, this version reads {FORMAT}; update musigan"
        )
    return content, {part: own for part, own in weights.items() if own}, metadata.get("card", "")


def content_of(settings: Mapping[str, Any], shape: Any, store: Mapping[str, Any], plan: Any) -> dict[str, Any]:
    """Return what a slim checkpoint says besides its tensors, as plain values."""
    return {"settings": dict(settings), "shape": asdict(shape), "store": dict(store), "plan": plan}

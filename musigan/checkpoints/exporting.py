"""Export of checkpoints: what draws, as a file of the kind that the ending of its name says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints import slim
from musigan.errors import FieldError, MusiganError, UsageError

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint

TORCH = ".pt"
MOST_CARD_BYTES = 1_000_000  # a page of words, not a file by mistake


@dataclass(frozen=True)
class ExportRequest:
    """Request for an export. Raises UsageError where its fields do not go together."""

    output: str = ""  # name of the file, its ending the kind; "": the card alone is shown
    half: bool = False  # weights in 16 bits
    card: str = ""  # file of an own card

    def __post_init__(self) -> None:
        suffix = Path(self.output).suffix.lower()
        if self.output and suffix not in (slim.SUFFIX, TORCH):
            raise UsageError(
                f"{self.output}: the ending says what to write; expected {slim.SUFFIX} (for others) or {TORCH} "
                "(for torch)"
            )
        if self.half and suffix != slim.SUFFIX:
            raise FieldError("{half} is for files that end in {0}", slim.SUFFIX)
        if self.card and not self.output:
            raise FieldError("{card} goes into a file, and none is named")

    def own_card(self) -> str:
        """Read the own card, "" where none is asked for. Raises MusiganError where it is no text."""
        if not self.card:
            return ""
        path = Path(self.card)
        try:
            if path.stat().st_size > MOST_CARD_BYTES or not path.is_file():
                raise MusiganError(f"{path}: no page of text; expected a card in Markdown")
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise MusiganError(f"{path}: cannot be read ({error.strerror or error})") from error
        except UnicodeDecodeError as error:
            raise MusiganError(f"{path}: no text in UTF-8; expected a page of Markdown") from error

    def write(self, checkpoint: Checkpoint, card: str) -> int:
        """Write the file and return its size in bytes. Raises CheckpointError."""
        if self.output.lower().endswith(TORCH):
            checkpoints.save(self.output, replace(checkpoints.slimmed(checkpoint), card=card))
        else:
            checkpoints.save_slim(self.output, checkpoint, card, self.half)
        return Path(self.output).stat().st_size

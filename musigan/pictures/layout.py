"""Sizes of a picture and its panels."""

from __future__ import annotations

from dataclasses import dataclass

from musigan.errors import UsageError

DPI = 120


MAX_PIXELS = 100_000_000  # 400 MB while it is drawn


MAX_SIDE = 65_000  # pixels; Agg counts to 2^16


@dataclass(frozen=True)
class Layout:
    """Positions in a picture, in whole pixels from the top left, so that a cell is never split between two pixels."""

    panels: int
    keys: int
    columns: int
    dpi: int = DPI

    @property
    def roll_width(self) -> int:
        return self._pixels(5.6 if self.columns <= 2 else 4.2)

    @property
    def row_height(self) -> int:
        """Height of one key's row."""
        return max(min(self._pixels(2.5) // self.keys, self._pixels(0.16)), 1)

    @property
    def roll_height(self) -> int:
        return self.row_height * self.keys

    @property
    def rows(self) -> int:
        return -(-self.panels // self.columns)

    @property
    def keyboard_width(self) -> int:
        return self._pixels(0.26)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a roll with its keyboard, labels and margins."""
        return self._pixels(0.75) + self.roll_width, self._pixels(0.56) + self.roll_height

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.cell
        return width * self.columns + self._pixels(0.2), height * self.rows + self._pixels(0.72)

    def roll(self, number: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of roll `number`, from 0."""
        row, column = divmod(number, self.columns)
        width, height = self.cell
        left = width * (column + 1) - self.roll_width
        return left, height * row + self._pixels(0.26), self.roll_width, self.roll_height

    def keyboard(self, number: int) -> tuple[int, int, int, int]:
        left, top, _, height = self.roll(number)
        return left - self.keyboard_width, top, self.keyboard_width, height

    def legend(self, number: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of colour bar `number`, from 0, below all rolls."""
        left = self.roll(0)[0] + number * self._pixels(3.6)
        return left, self.size[1] - self._pixels(0.33), self._pixels(2.9), self._pixels(0.11)

    def last_of_column(self, number: int) -> bool:
        return number + self.columns >= self.panels

    def check(self) -> None:
        """Raise UsageError where the picture would be too large to draw."""
        width, height = self.size
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise UsageError(f"the picture would have {width} x {height} pixels: draw fewer items, or lower --dpi")

    def _pixels(self, inches: float) -> int:
        return round(inches * self.dpi)

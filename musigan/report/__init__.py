"""A self-contained page about a training run: its curves, its music to hear and see, its settings and its data.

Conventions: the content of the page is first gathered as plain values (`gather`), then written into one file with
style, script and sound inside (`assemble`). The page loads nothing from elsewhere, and a song's tags stay plain text.
"""

from musigan.report.gathering import MusicSelection, gather
from musigan.report.history import Run
from musigan.report.page import assemble

__all__ = ["MusicSelection", "Run", "assemble", "gather"]

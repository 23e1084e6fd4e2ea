"""One self-contained page about a training run: its curves, its music to hear and see, its settings and its data.

Conventions: everything the page shows is gathered as plain values first (`gather`), then written into one file with
style, script and sound inside (`assemble`). Nothing in it is fetched, and what stands in tags stays text.
"""

from musigan.report.gathering import Choices, gather
from musigan.report.history import Run
from musigan.report.page import assemble

__all__ = ["Choices", "Run", "assemble", "gather"]

"""What mkdocs does beside plain Markdown: files of the checkout outside docs/ that pages link to.

The base's model card becomes a page; other files outside have no page, so their links become plain text. On a page that
is read in the checkout both are ordinary relative links.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CARD, CARD_PAGE = "musigan/checkpoints/base/CARD.md", "models/base.md"
_OUTWARD = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the card as a page."""
    card = Path(config.config_file_path).parent / CARD
    files.append(File.generated(config, CARD_PAGE, abs_src_path=str(card)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text with links out of docs/ led to the card's page, or left out."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def led(link: re.Match[str]) -> str:
        words, target, anchor = link.groups()
        whole = posixpath.normpath(posixpath.join(folder, target))
        if whole == CARD:
            return f"[{words}]({posixpath.relpath(f'docs/{CARD_PAGE}', folder)}{anchor or ''})"
        return link[0] if whole.startswith("docs/") else words

    return _OUTWARD.sub(led, markdown)

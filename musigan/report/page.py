"""The page as one file: template, style and script from this folder, the content as JSON.

The content is escaped so that no tag in it can end its element, and the script shows it as text only. The page's
security policy names style and script by their hashes and allows nothing else except `data:` sound and pictures.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

SCRIPTS = ("elements.js", "charts.js", "players.js", "blind.js", "page.js")  # each may use those before it
ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def assemble(content: Mapping[str, Any]) -> str:
    """Return the HTML page that shows `content`, the result of `gather`."""
    style = _part("page.css")
    script = '"use strict";\n' + "\n".join(_part(name) for name in SCRIPTS)
    title = f"{content['name']} · musigan report".encode("utf-8", "backslashreplace").decode()
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"title": html.escape(title), "policy": policy, "style": style, "script": script}
    parts["content"] = script_json(content)
    # In one pass, so that text in the content that looks like a placeholder is not replaced.
    return re.sub(r"\{\{ (\w+) \}\}", lambda mark: parts[mark[1]], _part("page.html"))


def script_json(content: Mapping[str, Any]) -> str:
    """Return `content` as JSON, escaped to be safe inside a <script> element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPES.get(character, character) for character in text)


def _part(name: str) -> str:
    return (resources.files("musigan.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""The pages of the documentation: their links lead somewhere, they say what the code says, and they build."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from musigan_tools import _pages, _reference

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.sampling.sampler import Sampler
from musigan.training import loop
from tests import test_architecture, tiny

CHECKOUT = Path(__file__).parent.parent
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "musigan/checkpoints/base/CARD.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]


def prose(page: Path) -> str:
    """A page without its fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        led = (page.parent / path).resolve() if path else page
        if not led.exists() or (anchor and anchor not in anchors(led)):
            broken.append(target)
    assert broken == []


def test_every_page_can_be_reached() -> None:
    """From the README, by links."""
    reached, ahead = set[Path](), [CHECKOUT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", prose(page))
            ahead += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert [str(page) for page in PAGES if page not in reached] == []


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    assert sum(file.stat().st_size for file in (CHECKOUT / "docs").glob("drawn.*")) < 300_000


def test_pages_written_from_the_code_are_up_to_date() -> None:
    wanted = _pages.pages(_reference.helps())
    stale = [name for name, text in wanted.items() if (_pages.FOLDER / name).read_text(encoding="utf-8") != text]
    assert stale == [], f"{_pages.WRITTEN} writes them anew"


def test_the_rule_of_imports_is_the_one_that_is_tested() -> None:
    page = (CHECKOUT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
    assert " ".join(test_architecture.RULE.split()) in " ".join(page.split())
    drawn = page[page.index("```text") : page.index("## The rule")]
    for name in (path.parent.name for path in (CHECKOUT / "musigan").glob("*/__init__.py")):
        assert f"{name}/" in drawn


def test_the_family_of_the_page_trains_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (CHECKOUT / "docs" / "development" / "adding-a-family.md").read_text(encoding="utf-8")
    [source] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "chords.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(models.FAMILIES, "chords", "chords")
    monkeypatch.setitem(tiny.NETWORKS, "chords", {"latent_dim": 3, "chords": 2})
    keys = tiny.write_keys(tmp_path / "keys.zip")
    run, data = tiny.start(keys, tiny.settings("chords", pretrain_epochs=None, critic_epochs=None))
    before = {name: value.clone() for name, value in run.networks.state_dict().items()}
    assert loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    assert [name for name, value in run.networks.state_dict().items() if value.equal(before[name])] == []
    checkpoint.load(tmp_path / "ckpt.pt")
    [piece] = Sampler.load(tmp_path / "ckpt.pt", tiny.CPU).sample(count=1, seconds=0.4, seed=1)
    assert piece.roll.shape == (tiny.CHANNELS, tiny.KEYS, 20)
    sys.modules.pop("chords")


@pytest.mark.skipif(not importlib.util.find_spec("material"), reason="needs musigan[docs]")
def test_pages_build(tmp_path: Path) -> None:
    """Strictly: every page is in the menu, every link and anchor leads somewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "drawn.png" in home
    assert "drawn.mp3" in home
    assert (tmp_path / "site" / "models" / "base" / "index.html").exists()
    assert not re.search(r'(src|href)="https?://[^"]*\.(css|js|woff2?)', home)  # it asks nobody else for anything

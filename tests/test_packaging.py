"""What goes into the source distribution and the wheel, and what files beside the code say of the project."""

from __future__ import annotations

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import musigan

CHECKOUT = Path(__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    """Every file of the project, by git where there is one."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == musigan.__version__
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    [released, *_] = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)", changelog, re.MULTILINE)
    assert released == (musigan.__version__, str(citation["date-released"]))
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "musigan.__version__"}
    assert "version" not in PROJECT["project"]


def test_every_file_is_in_the_source_distribution() -> None:
    manifest = (CHECKOUT / "MANIFEST.in").read_text(encoding="utf-8")
    grafted = re.findall(r"^graft (\S+)", manifest, re.MULTILINE)
    included = [name for line in re.findall(r"^include (.+)", manifest, re.MULTILINE) for name in line.split()]
    own = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")  # which setuptools takes
    data = PROJECT["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{each}" for package, globs in data.items() for each in globs]
    left_out = [
        name
        for name in tracked()
        if not any(name.startswith(f"{folder}/") for folder in grafted)
        and name not in (*included, *own)
        and not (
            name.startswith("musigan/") and (name.endswith(".py") or any(fnmatch(name, each) for each in patterns))
        )
    ]
    assert left_out == []


def test_what_is_installed_beside_the_packages_is_there() -> None:
    for place, patterns in PROJECT["tool"]["setuptools"]["data-files"].items():
        for pattern in patterns:
            assert list(CHECKOUT.glob(pattern)), f"{place}: {pattern}"


def test_the_workflow_tries_every_version_that_the_classifiers_name() -> None:
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    named = [match[1] for line in PROJECT["project"]["classifiers"] if (match := re.search(r":: (3\.\d+)$", line))]
    for job in workflow["jobs"].values():
        matrix = job["strategy"]["matrix"]
        assert matrix["python"] == named
        assert {os.split("-")[0] for os in matrix["os"]} == {"ubuntu", "macos"}
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("name", ["Dockerfile", ".github/workflows/tests.yml", "MANIFEST.in", "CONTRIBUTING.md"])
def test_packages_come_from_whatever_index_pip_is_set_to(name: str) -> None:
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    assert not re.search(r"find-links|trusted-host|://[^ ]*(pypi|pythonhosted|pytorch)", text)

"""musigan completion: what a shell needs to complete musigan's commands and options."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan completion"


@_cli.tool
def main(
    session: Session,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the completion of commands and options for a shell.

    bash: eval "$(musigan completion bash)" in ~/.bashrc. zsh: into a file _musigan in a folder of $fpath. fish: into
    ~/.config/fish/completions/musigan.fish.

    Example: musigan completion bash > ~/.local/share/bash-completion/completions/musigan
    """
    from importlib import resources

    from musigan_tools._reference import SHELLS

    from musigan.errors import UsageError

    if shell not in SHELLS:
        raise UsageError(f"{shell}: no completion for this shell; there is one for {', '.join(SHELLS)}")
    text = resources.files("musigan_tools").joinpath("completion", SHELLS[shell]).read_text(encoding="utf-8")
    for line in text.splitlines():
        session.print(line)

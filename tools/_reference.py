"""Man pages and shell completion, written from what commands say of themselves; both are files of the package.

python -m musigan_tools._reference writes them anew, into tools/man and tools/completion, and the pages of
docs/reference that are written from the same (_pages.py).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from musigan_tools import _pages
from musigan_tools._cli import EXIT_CODES
from musigan_tools._commands import COMMANDS
from musigan_tools._help import Help, Option

from musigan import __version__

PACKAGE = Path(__file__).parent
SHELLS = {"bash": "musigan.bash", "zsh": "_musigan", "fish": "musigan.fish"}
ABOUT = "a folder of music in, new music out"


def helps() -> dict[str, Help]:
    """Return what each command says of itself, by its name under musigan."""
    return {
        command: importlib.import_module(f"musigan_tools.{module}").main.described()
        for command, (module, _) in COMMANDS.items()
    }


def pages(told: Mapping[str, Help]) -> dict[str, str]:
    """Return the files by name, relative to the package."""
    files = {f"man/musigan-{command}.1": man_page(command, each) for command, each in told.items()}
    files["man/musigan.1"] = main_page()
    files |= {f"completion/{name}": SCRIPTS[shell](told) for shell, name in SHELLS.items()}
    return files


# -- man pages --------------------------------------------------------------------------------------------------------


def man_page(command: str, told: Help) -> str:
    """Return the man page of a command, in roff."""
    parts = [
        f'.TH "MUSIGAN-{command.upper()}" 1 "" "musigan {__version__}" "musigan"',
        f".SH NAME\nmusigan-{command} \\- {_roff(COMMANDS[command][1])}",
        f".SH SYNOPSIS\n.B {_roff(told.usage)}",
    ]
    if not told.name.startswith("musigan "):
        parts.append(f".P\n.B musigan {_roff(told.usage)}")
    parts.append(".SH DESCRIPTION\n" + "\n.P\n".join(map(_roff, told.paragraphs)))
    for title, group in (("ARGUMENTS", told.arguments), ("OPTIONS", told.options)):
        if group:
            entries = (f".TP\n.B {_roff(each.heading)}\n{_roff(each.words)}" for each in group)
            parts.append("\n".join((f".SH {title}", *entries)))
    parts += [f".SH EXAMPLE\n.nf\n{_roff(told.example)}\n.fi", ".SH SEE ALSO\n.BR musigan (1)"]
    return "\n".join(parts) + "\n"


def main_page() -> str:
    """Return the man page of musigan, which lists the commands."""
    entries = (f".TP\n.BR musigan\\-{_roff(name)} (1)\n{_roff(line)}" for name, (_, line) in COMMANDS.items())
    return "\n".join((
        f'.TH "MUSIGAN" 1 "" "musigan {__version__}" "musigan"',
        f".SH NAME\nmusigan \\- {ABOUT}", ".SH SYNOPSIS\n.B musigan COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH COMMANDS", *entries,
        ".SH EXIT STATUS", *(f".TP\n.B {code}\n{_roff(meaning)}" for code, meaning in EXIT_CODES.items()),
    )) + "\n"  # fmt: skip


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


# -- completion -------------------------------------------------------------------------------------------------------

_HEAD = "# {shell} completion of musigan's commands, written from their --help: python -m musigan_tools._reference\n"


def _scripts(told: Mapping[str, Help]) -> list[str]:
    """Return the commands that are programs of their own, too."""
    return [command for command, each in told.items() if each.name == command]


def _flags(option: Option) -> list[str]:
    return [name for name in option.names if name.startswith("-")]


def bash(told: Mapping[str, Help]) -> str:
    """Return the completion for bash 3.2 and later: commands, options, choices; else files."""
    options, choices = [], []
    for command, each in told.items():
        names = " ".join(name for option in each.options for name in _flags(option))
        options.append(f'    {command}) options="{names}" ;;')
        for option in each.options:
            if option.choices:
                words = " ".join(option.choices)
                choices += [f'    "{command} {name}") words="{words}" ;;' for name in _flags(option)]
    return (
        _HEAD.format(shell="bash")
        + f"""_musigan() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=${{COMP_WORDS[0]##*/}} options="" words=""
    COMPREPLY=()
    if [ "$command" = musigan ]; then
        if [ "$COMP_CWORD" -eq 1 ]; then
            COMPREPLY=($(compgen -W "{" ".join(told)} --help --version" -- "$current"))
            return
        fi
        command=${{COMP_WORDS[1]}}
    fi
    case "$command $previous" in
{chr(10).join(choices)}
    esac
    case $command in
{chr(10).join(options)}
    esac
    if [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [ "${{current#-}}" != "$current" ]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    fi
}}
complete -o bashdefault -o default -F _musigan musigan {" ".join(_scripts(told))}
"""
    )


def zsh(told: Mapping[str, Help]) -> str:
    """Return the completion for zsh: a function that goes into a folder of $fpath."""
    listing = "\n".join(f"      '{name}:{_plain(line)}'" for name, (_, line) in COMMANDS.items())
    cases = "\n".join(
        f"    {command})\n      _arguments -s \\\n{_zsh_arguments(each)} ;;" for command, each in told.items()
    )
    return (
        f"#compdef musigan {' '.join(_scripts(told))}\n"
        + _HEAD.format(shell="zsh")
        + f"""
_musigan() {{
  local command=${{words[1]:t}}
  if [[ $command == musigan ]]; then
    if (( CURRENT == 2 )); then
      local -a commands
      commands=(
{listing}
      )
      _describe command commands
      return
    fi
    command=$words[2]
    shift words
    (( CURRENT-- ))
  fi
  case $command in
{cases}
  esac
}}

_musigan "$@"
"""
    )


def _zsh_arguments(told: Help) -> str:
    lines = []
    for option in told.options:
        names = _flags(option)
        words = f"({' '.join(option.choices)})" if option.choices else "_files"
        value = f":{_plain(option.value)}:{words}" if option.value else ""
        repeated = "*" if "repeatable" in option.about else ""
        lines += [f"        '{repeated}{name}[{_sentence(option.about)}]{value}' \\" for name in names]
    return "\n".join((*lines, "        '*:file:_files'"))


def fish(told: Mapping[str, Help]) -> str:
    """Return the completion for fish."""
    return _HEAD.format(shell="fish") + "\n".join(_fish_lines(told)) + "\n"


def _fish_lines(told: Mapping[str, Help]) -> Iterator[str]:
    for name, (_, line) in COMMANDS.items():
        yield f"complete -c musigan -f -n __fish_use_subcommand -a {name} -d '{_plain(line)}'"
    for command, each in told.items():
        places = [f"-c musigan -n '__fish_seen_subcommand_from {command}'"]
        places += [f"-c {command}"] if each.name == command else []
        for place in places:
            for option in each.options:
                flags = " ".join(
                    f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in _flags(option)
                )
                words = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.value else ""
                yield f"complete {place} {flags}{words} -d '{_sentence(option.about)}'"


def _sentence(text: str) -> str:
    """Return a text that means nothing to a shell: the first sentence, without quotes and brackets."""
    return re.sub(r"['\\[\]`$\"]", "", re.split(r"(?<=[a-z0-9])[.;:] ", text)[0]).rstrip(".")


def _plain(text: str) -> str:
    """Return the first sentence without colons, too, for where zsh takes them for the end of a field."""
    return _sentence(text).replace(":", "")


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def main() -> None:
    """Write the files, and remove those of commands that are no more."""
    told = helps()
    files = pages(told)
    for folder in ("man", "completion"):
        (PACKAGE / folder).mkdir(exist_ok=True)
        for old in (PACKAGE / folder).iterdir():
            if f"{folder}/{old.name}" not in files:
                old.unlink()
    for name, text in files.items():
        (PACKAGE / name).write_text(text, encoding="utf-8")
    if _pages.FOLDER.exists():  # in a checkout
        for name, text in _pages.pages(told).items():
            (_pages.FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a command says of itself, gathered once: --help, man pages and shell completion are written from it."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from typer.core import TyperCommand
from typer.models import ArgumentInfo

WIDTHS = (60, 100)  # of a help text, in columns: as wide as the terminal between these
LEFT = 26  # columns of an option's name; a longer one has a line of its own
_DEFAULT = re.compile(r"\s*\[default: ([^\]]*)\]")
_SECONDS = ("seconds", "start", "fade", "crossfade", "prime_from", "from_")  # parameters that are seconds, or end so


@dataclass(frozen=True)
class Option:
    """An option or an argument: `names` as typed, `value` what follows them, "" for a switch."""

    names: tuple[str, ...]
    value: str
    about: str
    default: str = ""
    limits: str = ""
    choices: tuple[str, ...] = ()
    is_required: bool = False

    @property
    def words(self) -> str:
        """What it does, then default and limits in brackets."""
        notes = [*(["required"] if self.is_required and self.names[0].startswith("-") else [])]
        notes += [f"default: {self.default}"] if self.default else []
        notes += [self.limits] if self.limits else []
        return self.about + (f" [{'; '.join(notes)}]" if notes else "")

    @property
    def heading(self) -> str:
        """The names with what follows them: -o, --output PATH."""
        return ", ".join(self.names) + (f" {self.value}" if self.value else "")


@dataclass(frozen=True)
class Help:
    """A command's description: `paragraphs` of prose, then `example`, a line of a shell."""

    name: str
    paragraphs: tuple[str, ...]
    example: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]

    @property
    def usage(self) -> str:
        """The line that shows how it is called."""
        needed = [f"{option.names[0]} {option.value}" for option in self.options if option.is_required]
        return " ".join((self.name, *needed, "[OPTIONS]", *(argument.names[0] for argument in self.arguments)))

    def text(self, width: int) -> str:
        """Return the text of --help, in lines of at most `width` characters."""
        parts = [f"Usage: {self.usage}", *(textwrap.fill(each, width) for each in self.paragraphs)]
        for title, group in (("Arguments", self.arguments), ("Options", self.options)):
            if group:
                parts.append("\n".join((f"{title}:", *(line for each in group for line in _entry(each, width)))))
        return "\n\n".join((*parts, f"Example:\n  {self.example}"))


def _entry(option: Option, width: int) -> Iterator[str]:
    lead = f"  {option.heading}"
    lines = textwrap.wrap(option.words, width - LEFT - 2) or [""]
    if len(lead) > LEFT:
        yield lead
        lead = ""
    yield f"{lead:<{LEFT}}  {lines[0]}".rstrip()
    yield from (" " * (LEFT + 2) + line for line in lines[1:])


def command_class(told: Callable[[], Help]) -> type[TyperCommand]:
    """Return the class of a command whose --help is ours."""

    class Command(TyperCommand):
        def get_help(self, ctx: Any) -> str:
            low, high = WIDTHS
            return told().text(min(max(shutil.get_terminal_size().columns, low), high))

    return Command


def described(name: str, doc: str, parameters: Sequence[inspect.Parameter]) -> Help:
    """Gather what a command called `name` says of itself, in its docstring and its parameters' annotations."""
    prose, _, example = inspect.cleandoc(doc).partition("Example:")
    paragraphs = tuple(" ".join(each.split()) for each in prose.split("\n\n") if each.strip())
    options = [_option(each) for each in parameters]
    options.append(Option(("-h", "--help"), "", "Show this and stop."))
    arguments = tuple(option for option in options if not option.names[0].startswith("-"))
    rest = tuple(option for option in options if option not in arguments)
    return Help(name, paragraphs, " ".join(example.split()), arguments, rest)


def _option(parameter: inspect.Parameter) -> Option:
    kind, told = get_args(parameter.annotation)[:2]  # typer's OptionInfo or ArgumentInfo
    kinds = [each for each in get_args(kind) if each is not type(None)] if type(None) in get_args(kind) else [kind]
    kind = kinds[0]
    about = " ".join((told.help or "").split())
    default_told = _DEFAULT.search(about)
    about = _DEFAULT.sub("", about)
    choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
    is_required = parameter.default is inspect.Parameter.empty
    default = default_told[1] if default_told else _default(parameter.default)
    if isinstance(told, ArgumentInfo):
        return Option((told.metavar or parameter.name.upper(),), "", about, default, is_required=is_required)
    usual = f"--{parameter.name.replace('_', '-')}"
    # The first name is where a default would be, were this no annotation.
    names = (*((told.default,) if isinstance(told.default, str) else ()), *(told.param_decls or ()))
    names = names or ((usual, f"--no{usual[1:]}") if parameter.default is True else (usual,))
    names = tuple(name for each in names for name in each.split("/"))
    if kind is bool:
        default = names[0] if parameter.default else ""
    value = "" if kind is bool else told.metavar or "|".join(choices) or _value(parameter.name, names[-1], kind)
    return Option(names, value, about, default, _limits(told), choices, is_required)


def _value(name: str, option: str, kind: Any) -> str:
    """Return what stands for an option's value: its unit, a number, or the option's own name in capitals."""
    if any(name == each or name.endswith(f"_{each}") for each in _SECONDS):
        return "SECONDS"
    return {int: "N", float: "NUMBER"}.get(kind) or option.lstrip("-").replace("-", "_").upper()


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty or value is None or value == "":
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limits(told: Any) -> str:
    low, high = told.min, told.max
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if high is not None:
        return f"at most {high:g}"
    return f"{low:g} or more" if low is not None and low not in (0, 1) else ""  # these go without saying

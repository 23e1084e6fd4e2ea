"""What every tool shares: options, how it is started, how it ends: errors in a line, exit codes.

A tool is a function `main(session, ...options)` under `@tool`. At start the tool takes standard input and output for
the store alone: descriptor 0 then is the null device and descriptor 1 is stderr, so that no stray print, library
banner or child process can touch the stream.

How it ends is one of EXIT_CODES.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from musigan_tools import _help, _inputs, _signals, _words
from musigan_tools._session import Session

from musigan import __version__
from musigan.errors import FieldError, MusiganError, UsageError

PLATFORM = sys.platform
MOST_NUMBER, MOST_COUNT = 1e9, 1 << 63  # of options: seconds are fewer, and so are seeds
# What torch says, as a RuntimeError: of the machine's memory, of a GPU's, of a tensor larger than any memory.
_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|out of memory|Storage size calculation overflowed|numel: integer mult"
)
SKIPPED, INTERRUPTED, CLOSED_PIPE = 3, 130, 141
EXIT_CODES = {
    0: "all went well",
    SKIPPED: "the output is whole, some inputs were skipped",
    1: "a failure, or nothing usable",
    2: "wrong usage",
    INTERRUPTED: "Ctrl-C",
    143: "SIGTERM",
    129: "SIGHUP",
    CLOSED_PIPE: "the reader of a pipe went away; nothing is said",
}
FLAGS = {"count": "-n", "songs": "--with"}  # of fields that an option has another name than

Source = Annotated[str, typer.Argument(metavar="[IN]", help="A store: file, folder, URL, or - for standard input.")]
Output = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="PATH",
        help="Where the store goes: a .zarr folder, any other name for one file, a URL, or - for standard output.",
    ),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
Compress = Annotated[
    bool | None,
    typer.Option("--compress/--no-compress", help="Compress with zstd.  [default: keys in folders and at URLs]"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first input that cannot be used.")]
Jobs = Annotated[
    int, typer.Option("-j", "--jobs", min=0, help="Songs worked on at once; 0: as many as there are cores.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same input, same options, same seed: same output.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto: the best this machine has.")]
ChunkSeconds = Annotated[float, typer.Option(min=0.1, max=600, help="Length of a chunk.")]
FrameSeconds = Annotated[float, typer.Option(min=0.001, max=1, help="Length of a frame.")]
Overlap = Annotated[
    float, typer.Option(min=0, max=0.99, help="Share of a pair that the next one repeats: 0.5 doubles the pairs.")
]
Validation = Annotated[float, typer.Option(min=0, max=1, help="Share of songs held back.")]
Ends = Annotated[
    bool, typer.Option("--ends", help="Hold back the end of each song, --validation of it: where songs are few.")
]
Lufs = Annotated[
    str, typer.Option(metavar="LUFS", help="Loudness of each piece, -40 to -5; none: its peak at the limit.")
]
Gain = Annotated[float, typer.Option(min=-60, max=60, help="dB louder; a limiter holds the peak below -1 dBFS.")]
Soundfont = Annotated[
    str, typer.Option(metavar="FILE", help="Play the notes with this sound font (.sf2, .sf3), drums with its kit.")
]
Program = Annotated[
    str,
    typer.Option(
        metavar="P",
        help="What the sound font plays all but drums with: 0 to 127 or a General MIDI name.  "
        "[default: piano; tracks have their own]",
    ),
]
Room = Annotated[float, typer.Option(min=0, max=1, help="Reverberation: 0 is none, 1 a large hall.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
_Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more: details, warnings, tracebacks.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"musigan {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_print_version)
]


def tool(function: Callable[..., None]) -> Callable[[], None]:
    """Make a console entry point of `function(session, ...options)`: the shared options are added here."""
    name = getattr(sys.modules[function.__module__], "NAME", function.__module__.rsplit(".", 1)[-1].replace("_", "-"))

    def call(**options: Any) -> None:
        quiet, verbose = options.pop("quiet"), options.pop("verbose")
        options.pop("version")
        _run(name, function, quiet, verbose, options, stores)

    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    stores = {parameter.name for parameter in parameters if parameter.annotation in (Source, Output)}
    for option, annotation in (("quiet", _Quiet), ("verbose", _Verbose), ("version", _Version)):
        parameters.append(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        )
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = function.__doc__

    def described() -> _help.Help:
        return _help.described(name, function.__doc__ or "", parameters)

    def main() -> None:
        # On a terminal rich would draw boxes at the price of twice the start-up time.
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        settings = {"help_option_names": ["-h", "--help"]}
        app.command(cls=_help.command_class(described), context_settings=settings)(call)
        with plain_answers(name):
            # Ctrl-C before there is a session comes back as a number.
            if app(prog_name=name, standalone_mode=False) == INTERRUPTED:
                raise KeyboardInterrupt

    main.__doc__ = function.__doc__
    main.described = described  # type: ignore[attr-defined]
    return main


@contextmanager
def plain_answers(name: str) -> Iterator[None]:
    """Turn what goes wrong before there is a session (help, version, wrong usage) into one line and an exit code."""
    try:
        yield
        if sys.stdout is None:
            raise OSError("closed, the answer has nowhere to go")
        sys.stdout.flush()
        return
    except (BrokenPipeError, SystemExit):  # the CLI library answers the one with the other
        code, problem = CLOSED_PIPE, ""
    except OSError as error:
        code, problem = 1, f"standard output: {error.strerror or error}"
    except KeyboardInterrupt:
        code, problem = INTERRUPTED, "interrupted"
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of the CLI library's
            raise
        said = error.format_message().replace("Value error, ", "").rstrip(".")
        code, problem = 2, f"{said} ({name} -h says how)"
    if problem:
        _words.StatusLine(sys.stderr).line(f"{name}: {problem}")
    os._exit(code)  # an ordinary exit would try, and fail, to flush once more


def _run(
    name: str, function: Callable[..., None], quiet: bool, verbose: bool, options: dict[str, Any], stores: set[str]
) -> NoReturn:
    """Run the tool; `stores` are those of its options that name a store it reads from front to back, or writes."""
    if not verbose:
        warnings.simplefilter("ignore")
    session = Session(name, quiet, verbose, strict=options.get("strict", False))
    try:
        _signals.heed_signals()
        _signals.wake_on_signals()
        code = _guarded(session, function, options, stores)
    except KeyboardInterrupt:
        session.error("interrupted")
        code = INTERRUPTED
    except _signals.Stopped as stopped:
        session.error("stopped")
        code = 128 + stopped.number
    if code not in (0, SKIPPED):
        session.take_back()
    # At once: what had to be written is written, and threads that still decode have no reader.
    os._exit(code)


def _guarded(session: Session, function: Callable[..., None], options: dict[str, Any], stores: set[str]) -> int:
    """Run the tool; turn whatever goes wrong into one line and an exit code."""
    from musigan.machine.cores import reuse_freed_memory

    try:
        try:
            _check_system()
            _check_finite(options)
            _inputs.refuse_as_output(options, stores)
            _inputs.refuse_swapped(options)
            reuse_freed_memory()
            function(session, **options)
        finally:
            session.close()
        return SKIPPED if session.skipped else 0
    except BrokenPipeError:
        return CLOSED_PIPE
    except Exception as error:
        if session.verbose:
            for line in traceback.format_exc().splitlines():  # a file's name may hold anything
                session.error(line)
        problem, code = _explained(error)
    session.error(problem)
    return code


def _check_system() -> None:
    """Refuse Windows, where a file that is written cannot take another's place while it is locked."""
    if PLATFORM == "win32":
        raise MusiganError("musigan runs on Linux and macOS: on Windows install it within WSL (wsl --install)")


def _check_finite(options: dict[str, Any]) -> None:
    """Refuse "nan" and "inf", which Python takes for numbers, and NaN passes comparisons that are to refuse it.

    Numbers that nothing has as many of are refused, too: what is computed with them would not fit.
    """
    for option, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{_flag(option)} is {value}, expected a finite number")
        most = {float: MOST_NUMBER, int: MOST_COUNT}.get(type(value))
        if most is not None and abs(value) > most:
            raise UsageError(f"{_flag(option)} is {value:.6g}, expected {most:.0e} at most")


def _explained(error: Exception) -> tuple[str, int]:
    """Return an error in one line, and its exit code."""
    if isinstance(error, FieldError):
        return error.naming(_flag), error.exit_code
    if isinstance(error, MusiganError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))):
        return "out of memory: fewer at once (-j 1), a smaller --batch-size or shorter songs need less", 1
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}", 1
    at = "".join(f" at {name}" for name in getattr(error, "__notes__", [])[:1])  # of reporting.working_on
    return f"internal error{at}: {type(error).__name__}: {error} (-v shows where)", 1


def _flag(field: str) -> str:
    """Return the option that sets a request's field."""
    return FLAGS.get(field, f"--{field.replace('_', '-')}")

"""What every tool shares: options, the streams, overwriting, progress, summaries, errors and exit codes.

A tool is a function `main(session, ...options)` under `@tool`. At start the tool takes standard input and output for
the store alone: descriptor 0 then is the null device and descriptor 1 is stderr, so that no stray print, library
banner or child process can touch the stream.

Exit codes: 0 all well; 3 the output is whole but inputs were skipped; 1 failure, or nothing usable; 2 wrong usage;
130 Ctrl-C; 143 SIGTERM; 141, quietly, when the reader downstream has gone away.
"""

from __future__ import annotations

import inspect
import math
import os
import signal
import stat
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from musigan_tools import _signals, _streams, _words
from musigan_tools._words import duration as duration

from musigan import __version__
from musigan.errors import MusiganError, StoreError, UsageError
from musigan.files.text import printable
from musigan.machine.nativestderr import quiet_native_stderr

if TYPE_CHECKING:
    from musigan.store import Reader, Writer

SKIPPED, TERMINATED, INTERRUPTED, CLOSED_PIPE = 3, 143, 130, 141
STDIN = "standard input"

Source = Annotated[str, typer.Argument(metavar="[IN]", help="A store: file, folder, URL, or - for standard input.")]
Output = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="PATH",
        help="Where the store goes: a .zarr folder, any other name for one file, a URL, or - for standard output.",
    ),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first input that cannot be used.")]
Jobs = Annotated[
    int, typer.Option("-j", "--jobs", min=0, help="Songs worked on at once; 0: as many as there are cores.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same input, same options, same seed: same output.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto: the best this machine has.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
_Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more: details, warnings, tracebacks.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"musigan {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_print_version)
]


class Session:
    """One run of a tool: its streams, what it says on stderr, what it skipped."""

    def __init__(self, name: str, quiet: bool = False, verbose: bool = False, strict: bool = False) -> None:
        self.name, self.quiet, self.verbose, self.strict = name, quiet, verbose, strict
        self.skipped: Counter[str] = Counter()
        self._stdin, self._stdout = _streams.take_streams()
        if not verbose:
            quiet_native_stderr()
        self._stack = ExitStack()
        # Tools in the middle of a pipe share the terminal with the last one, whose progress is the pipe's.
        in_pipe = self._stdout is not None and _streams.is_fifo(self._stdout)
        self._shows_progress = not quiet and (verbose or not in_pipe)
        self._status = _words.StatusLine(sys.stderr)

    # -- words ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """One line on stderr, unless -q."""
        if not self.quiet:
            self._status.line(f"{self.name}: {text}")

    def detail(self, text: str) -> None:
        """One line on stderr with -v."""
        if self.verbose:
            self.say(text)

    def error(self, text: str) -> None:
        """One line on stderr, always."""
        self._status.line(f"{self.name}: {text}")

    def print(self, text: str) -> None:
        """One line of the tool's answer, on standard output."""
        self._status.clear()
        if self._stdout is not None:
            self._stdout.write(printable(text).encode() + b"\n")
            self._stdout.flush()

    def status(self, text: str) -> None:
        """Where the work stands: on a terminal a line that is rewritten, else a line now and then."""
        if self._shows_progress:
            self._status.show(f"{self.name}: {text}")

    def skip(self, what: str, reason: str, group: str | None = None) -> None:
        """Say that an input is passed over, and why; `group` is what the summary counts it under."""
        if self.strict:
            raise MusiganError(f"{what}: {reason} (--strict)")
        self.skipped[group or reason] += 1
        if not self.quiet:
            self._status.line(f"{self.name}: skipped {what}: {reason}")

    def summary(self, done: str) -> None:
        """The last line: what was done, and what was skipped, counted by reason."""
        if self.skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
            done += f"; skipped {sum(self.skipped.values())}: {reasons}"
        self.say(done)

    def progress(self, total: int | None, unit: str) -> Progress:
        return Progress(self, total, unit)

    # -- streams ----------------------------------------------------------------------------------------------

    def reader(self, source: str, *kinds: str) -> Reader:
        """Open the store a tool reads. The session closes it."""
        from musigan import store

        if not source:
            raise UsageError('the name of a store is empty (""): an unset variable?')
        named = store.open_reader(self.stdin(), kinds, STDIN) if source == "-" else store.open_reader(source, kinds)
        return self._stack.enter_context(named)

    def random_access_reader(self, source: str, *kinds: str) -> Reader:
        """Open a store to read in any order; a stream is spooled to a temporary file first."""
        from musigan import store

        if os.path.exists(source) and stat.S_ISFIFO(os.stat(source).st_mode):
            with open(source, "rb") as fifo:
                path = self._stack.enter_context(store.spool(fifo, source))
            return self._stack.enter_context(store.open_reader(path, kinds, source))
        if source == "-":
            if not self.stdin().peek(1):  # type: ignore[attr-defined]
                raise StoreError(f"{STDIN}: nothing came in: the tool before this one failed, or the file is empty")
            path = self._stack.enter_context(store.spool(self.stdin(), STDIN))
            return self._stack.enter_context(store.open_reader(path, kinds, STDIN))
        return self.reader(source, *kinds)

    def stdin(self) -> IO[bytes]:
        if self._stdin is None:
            raise UsageError("standard input is closed: name a store, or pipe one in")
        if self._stdin.isatty():
            raise UsageError(f"standard input is a terminal: name a store or pipe one in ({self.name} -h)")
        return self._stdin

    def stdout(self, what: str = "a store") -> IO[bytes]:
        if self._stdout is None:
            raise UsageError("standard output is closed: name an output with -o")
        if self._stdout.isatty():
            raise UsageError(f"{what} is binary and would go to a terminal: redirect it (> FILE) or pipe it")
        return self._stdout

    def check_output(self, output: str, force: bool) -> None:
        """Refuse an output that would be lost or would go to a terminal, before any work is done."""
        from musigan import store

        if not output:
            raise UsageError('the name of the output is empty (""): an unset variable?')
        if output == "-":
            self.stdout()
        elif not force and store.exists(output):
            raise MusiganError(f"{output} exists: choose another name, or replace it with --force")

    @contextmanager
    def writer(self, output: str, force: bool, kind: str, attributes: dict[str, Any]) -> Iterator[Writer]:
        """Open the store a tool writes; it appears whole, or not at all, when nothing usable came."""
        from musigan import store

        self.check_output(output, force)
        target: str | IO[bytes] = self.stdout() if output == "-" else output
        with store.write(target, kind, attributes) as writer:
            yield writer
            if not writer.items:
                reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
                raise MusiganError("nothing usable came in" + (f" ({reasons})" if reasons else ""))

    def close(self) -> None:
        """Let go of what was opened; the last words of the answer go out, or raise OSError."""
        self._status.clear()
        self._stack.close()
        if self._stdout is not None:
            self._stdout.flush()


class Progress:
    """Counts items and estimates the time left."""

    def __init__(self, session: Session, total: int | None, unit: str) -> None:
        self._session, self._total, self._unit = session, total, unit
        self._done, self._start = 0, time.monotonic()

    def step(self, note: str = "") -> None:
        self._done += 1
        text = f"{self._done}{f' of {self._total}' if self._total else ''} {self._unit}"
        elapsed = time.monotonic() - self._start
        if self._total and self._done <= self._total:
            text += f", {duration(elapsed / self._done * (self._total - self._done))} left"
        self._session.status(f"{text}  {note}" if note else text)


def tool(function: Callable[..., None]) -> Callable[[], None]:
    """Make a console entry point of `function(session, ...options)`: the shared options are added here."""
    name = getattr(sys.modules[function.__module__], "NAME", function.__module__.rsplit(".", 1)[-1].replace("_", "-"))

    def call(**options: Any) -> None:
        quiet, verbose = options.pop("quiet"), options.pop("verbose")
        options.pop("version")
        _run(name, function, quiet, verbose, options)

    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())[1:]
    for option, annotation in (("quiet", _Quiet), ("verbose", _Verbose), ("version", _Version)):
        parameters.append(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        )
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = function.__doc__

    def main() -> None:
        # On a terminal rich would draw boxes at the price of twice the start-up time.
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})(call)
        with plain_answers(name):
            # Ctrl-C before there is a session comes back as a number.
            if app(prog_name=name, standalone_mode=False) == INTERRUPTED:
                raise KeyboardInterrupt

    main.__doc__ = function.__doc__
    return main


@contextmanager
def plain_answers(name: str) -> Iterator[None]:
    """Around what is done before there is a session: help, version, wrong usage. One line for whatever goes wrong."""
    try:
        yield
        if sys.stdout is not None:
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


def _run(name: str, function: Callable[..., None], quiet: bool, verbose: bool, options: dict[str, Any]) -> NoReturn:
    if not verbose:
        warnings.simplefilter("ignore")
    session = Session(name, quiet, verbose, strict=options.get("strict", False))
    try:
        signal.signal(signal.SIGTERM, _signals.terminate)
        _signals.wake_on_signals()
        code = _guarded(session, function, options)
    except KeyboardInterrupt:
        session.error("interrupted")
        code = INTERRUPTED
    except _signals.Terminated:
        session.error("stopped")
        code = TERMINATED
    # At once: what had to be written is written, and threads that still decode have no reader.
    os._exit(code)


def _guarded(session: Session, function: Callable[..., None], options: dict[str, Any]) -> int:
    """Run the tool; turn whatever goes wrong into one line and an exit code."""
    from musigan.machine.cores import reuse_freed_memory

    try:
        try:
            _check_finite(options)
            reuse_freed_memory()
            function(session, **options)
        finally:
            session.close()
        return SKIPPED if session.skipped else 0
    except BrokenPipeError:
        return CLOSED_PIPE
    except Exception as error:
        if session.verbose:
            traceback.print_exc()
        problem, code = _explained(error)
    session.error(problem)
    return code


def _check_finite(options: dict[str, Any]) -> None:
    """Python takes "nan" and "inf" for numbers, and NaN passes any comparison that is meant to refuse it."""
    for option, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{option.replace('_', '-')} is {value}, expected a finite number")


def _explained(error: Exception) -> tuple[str, int]:
    """What an error is in a line, and the exit code it means."""
    if isinstance(error, MusiganError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "out of memory: fewer at once (-j 1, a smaller batch) or shorter songs need less", 1
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}", 1
    return f"internal error: {type(error).__name__}: {error} (-v shows where)", 1

"""A collection of music into a store of keys by many machines, with Dask: a task a song, each written where it is made.

The client finds the files and keeps a bounded number of songs in flight; a worker decodes, cuts and analyses a song and
writes it to the store (`musigan.store.growing`), from which nothing comes back but a few words. Songs that fail by
their own fault are skipped, tasks whose worker or connection was lost are done again elsewhere, by Dask. Numbers are
given in the order of the files at the end, so the store is that of the pipe of tools, whoever was first.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from musigan.analysis.chain import ChainRequest
from musigan.analysis.outcomes import COPY, DONE, SKIPPED, Row, Table, key_of
from musigan.analysis.stores import UnusableSong
from musigan.errors import MusiganError, UsageError
from musigan.files.finding import failure_reason
from musigan.files.remote import is_url, local
from musigan.files.targets import maker_of
from musigan.machine.cores import reuse_freed_memory, usable_cores
from musigan.machine.devices import resolve_device
from musigan.machine.nativestderr import quiet_native_stderr
from musigan.machine.reporting import Reporter, counted
from musigan.store.alike import require_alike
from musigan.store.growing import GrowingStore, noted
from musigan.store.joining import ADVICE, SETTINGS, SHARED_OR_NONE

if TYPE_CHECKING:
    from distributed import Client, Future

    from musigan.files.finding import MediaFile

T = TypeVar("T")
RETRIES = 3  # of a task whose worker or connection was lost
IN_FLIGHT = 3  # tasks for each thread of the workers: one at work, two that wait
PLACED_AT_ONCE = 64  # songs of one task that moves them
_SECONDS_BETWEEN_LOOKS = 5.0  # at how many workers there are
_WAIT_SECONDS = 60  # for the first worker
ANSWER_SECONDS = 20.0  # of a scheduler
THERE = "contents"  # the note of what the store holds already


class LostInput(MusiganError):
    """A song that could not be fetched; another try may succeed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a song: `is_new` where it was written now, `differs` where a copy with other tags was there."""

    content: str = ""
    is_new: bool = False
    differs: bool = False
    reason: str = ""  # why it was skipped
    group: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What all songs of a run have in common; goes to the workers with each."""

    request: ChainRequest
    store: GrowingStore
    run: str
    device: str = "auto"

    def prepare(self, path: str | Path, source: str, replaces: bool = False) -> Outcome:
        """Prepare one song, on a worker. Raises LostInput where it cannot be fetched now, OSError where not written."""
        device = _ready(self.device)
        try:
            waveform = self._decoded(path, source)
            song = waveform.item.song
            if song.content in _contents_there(self.store.target, self.run):
                return Outcome(song.content, warnings=waveform.warnings)
            waiting = None if replaces else self.store.ready_song(song.content)
            if waiting is not None:
                tags = ("source", "title", "artist", "genre", "year")
                differs = any(getattr(waiting, name) != getattr(song, name) for name in tags)
                return Outcome(song.content, differs=differs, warnings=waveform.warnings)
            array, names, made = self.request.keys_of(waveform.item, device)
        except UnusableSong as error:
            return Outcome(reason=str(error), group=error.group)
        self.store.add(array, names, made, replaces)
        return Outcome(made.content, is_new=True, warnings=waveform.warnings)

    def _decoded(self, path: str | Path, source: str) -> Any:
        if not is_url(str(path)):
            return self.request.waveform(path, source)
        try:
            with local(str(path)) as copy:
                return self.request.waveform(copy, source)
        except UnusableSong:
            raise
        except MusiganError as error:
            if isinstance(error.__cause__, FileNotFoundError | ImportError):
                raise UnusableSong(str(error), str(error)) from None
            raise LostInput(str(error)) from error


@functools.cache
def _ready(device: str) -> str:
    """Set up this process of a worker, once; return the device it works on."""
    from threadpoolctl import threadpool_limits

    reuse_freed_memory()
    threadpool_limits(1, "blas")  # as in the tools: sums of more threads are rounded differently
    if multiprocessing.parent_process() is not None:
        quiet_native_stderr()
    return resolve_device(device)


@functools.lru_cache(1)
def _contents_there(target: str, run: str) -> frozenset[str]:
    """Return the contents of the items that a store had when a run began; read once a process."""
    return frozenset(noted(target, THERE).split())


@dataclass
class Preparation:
    """A run: the files in their order, what is known of them, what became of them."""

    found: Sequence[MediaFile]
    table: Table
    contents: list[str]  # of the store's items
    reporter: Reporter
    rows: dict[str, Row] = field(default_factory=dict)  # of this run's files
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def unknown(self, ready: set[str]) -> list[MediaFile]:
        """Return the files that are to be worked on; take those whose songs the store has, or are ready, as done."""
        known = {*self.contents, *ready}
        left = []
        for file in self.found:
            row = self.table.rows.get(key_of(file.path))
            if row is not None and row.state != SKIPPED and row.mark == file.mark and row.content in known:
                self.rows[row.path] = replace(row, source=file.source, number=None)
            else:
                left.append(file)
        return left

    def take(self, file: MediaFile, outcome: Outcome) -> None:
        """Take what became of a song."""
        row = Row(key_of(file.path), file.source, file.mark)
        for warning in outcome.warnings:
            self.reporter.say(f"{file.source}: {warning}")
        if outcome.reason:
            row = replace(row, reason=outcome.reason, group=outcome.group)
            self.table.add(row)  # before a --strict run ends at it
            self.rows[row.path] = row
            self.reporter.skip(file.source, outcome.reason, outcome.group)
            return
        self.rows[row.path] = replace(row, state=DONE, content=outcome.content)
        self.outcomes[row.path] = outcome
        self.table.add(self.rows[row.path])

    def to_write_again(self) -> list[MediaFile]:
        """Return the files that come first of their music, and a copy of which was written."""
        wrong, seen = [], set(self.contents)
        writers: dict[str, int] = {}
        for path, outcome in self.outcomes.items():
            writers[self.rows[path].content] = writers.get(self.rows[path].content, 0) + outcome.is_new
        for file in self.found:
            row = self.rows.get(key_of(file.path))
            if row is None or not row.content or row.content in seen:
                continue
            seen.add(row.content)
            own = self.outcomes.get(row.path)
            if own is not None and (own.differs or writers[row.content] > 1):
                wrong.append(file)
        return wrong

    def numbered(self) -> list[tuple[int, str]]:
        """Return the songs that are new with their numbers, in the order of the files; mark the rows of copies."""
        numbers = {content: number for number, content in enumerate(self.contents, 1)}
        seen: dict[str, str] = {}
        new = []
        for file in self.found:
            row = self.rows.get(key_of(file.path))
            if row is None or not row.content:
                continue
            if row.content in seen:
                self.rows[row.path] = replace(row, state=COPY)
                self.reporter.detail(f"{row.source}: the same recording as {seen[row.content]}, kept once")
                continue
            seen[row.content] = row.source
            if row.content not in numbers:
                numbers[row.content] = len(numbers) + 1
                new.append((numbers[row.content], row.content))
            self.rows[row.path] = replace(row, state=DONE, number=numbers[row.content])
        return new

    def save(self) -> None:
        """Write the table: this run's files in their order, then those of earlier runs."""
        paths = dict.fromkeys(key_of(file.path) for file in self.found)
        rows = [self.rows.get(path) or self.table.rows.get(path) for path in paths]
        others = [row for path, row in self.table.rows.items() if path not in paths]
        self.table.save([*(row for row in rows if row is not None), *others])


def prepare(
    request: ChainRequest, found: Sequence[MediaFile], target: str, client: Client, reporter: Reporter,
    device: str = "auto",
) -> str:  # fmt: skip
    """Prepare files into a store at an absolute path or URL; return in words what was done.

    Songs that the store has are not done again. Raises StoreError where it was made with other settings, MusiganError
    where nothing usable came in or the scheduler was lost; what was done by then is ready for the next run.
    """
    found = list({key_of(file.path): file for file in reversed(found)}.values())[::-1]
    store = GrowingStore(target, request.header(None))
    header = store.current_header()
    if header is not None:
        require_alike((target, header), ("these settings", store.header), ADVICE, (*SETTINGS, *SHARED_OR_NONE))
    with store.open():
        ready = store.ready()
        table = Table(target, request.settings(), is_begun=header is not None or bool(ready))
        run = Preparation(found, table, store.contents(), reporter)
        left = run.unknown(ready)
        job = Job(request, store, uuid.uuid4().hex, device)
        if left and run.contents:
            store.note(THERE, "\n".join(run.contents))
        try:
            _work(run, job, left, client)
            _work(run, job, run.to_write_again(), client, replaces=True)
            new = run.numbered()
            if not new and not run.contents:
                raise MusiganError("nothing usable came in: what was skipped, and why, is in " + table.name)
            if new or ready:
                reporter.status("putting songs in their places")
                batches = [new[first : first + PLACED_AT_ONCE] for first in range(0, len(new), PLACED_AT_ONCE)]
                for _, future in _in_flight(client, batches, lambda some: client.submit(store.place, some, pure=False)):
                    _result(future)
                store.finish(len(run.contents) + len(new))
            elif run.contents:
                store.tidy(len(run.contents))
        finally:
            run.save()
    return _words(run, len(new), len(found))


def _work(run: Preparation, job: Job, files: Sequence[MediaFile], client: Client, replaces: bool = False) -> None:
    """Have the workers prepare these files, and take what becomes of each."""
    progress = run.reporter.progress(len(files), "songs")

    def submit(file: MediaFile) -> Future:
        path = file.path if is_url(str(file.path)) else Path(file.path).absolute()
        return client.submit(job.prepare, path, file.source, replaces, pure=False, retries=RETRIES)

    for file, future in _in_flight(client, files, submit):
        run.take(file, _outcome(future))
        progress.step(file.source)


def _in_flight(client: Client, tasks: Iterable[T], submit: Callable[[T], Future]) -> Iterator[tuple[T, Future]]:
    """Yield tasks and their futures as they complete, with a few of them in flight for each thread of the workers."""
    from distributed import as_completed

    waiting: dict[Any, T] = {}
    completed, left = as_completed(), iter(tasks)
    most, looked = 1, 0.0
    with suppress(StopIteration):
        while True:
            if time.monotonic() - looked > _SECONDS_BETWEEN_LOOKS:
                most, looked = IN_FLIGHT * max(1, sum(client.nthreads().values())), time.monotonic()
            for task in left if len(waiting) < most else ():
                future = submit(task)
                waiting[future.key] = task
                completed.add(future)
                if len(waiting) >= most:
                    break
            future = next(completed)
            yield waiting.pop(future.key), future


def _outcome(future: Future) -> Outcome:
    """Return what became of a song. Raises what no other song would be spared."""
    from distributed import KilledWorker

    try:
        outcome: Outcome = _result(future)
        return outcome
    except LostInput as error:
        return Outcome(reason=str(error), group=str(error))
    except KilledWorker:
        return Outcome(reason="the workers died over it: more memory for each?", group="workers died over")


def _result(future: Future) -> Any:
    """Return what a task returned, or raise what it raised. Raises MusiganError where the scheduler was lost."""
    if future.status in ("cancelled", "lost"):
        raise MusiganError("the connection to the scheduler was lost: start again, what was done is ready")
    return future.result()


def _words(run: Preparation, new: int, found: int) -> str:
    copies = sum(row.state == COPY for row in run.rows.values())
    kept = f", {len(run.contents):,} were there" if run.contents else ""
    left_out = f", {counted(copies, 'duplicates')} left out" if copies else ""
    return f"keys of {counted(new, 'songs')} of {counted(found, 'files')}{kept}{left_out}"


@contextmanager
def open_client(scheduler: str = "", workers: int = 0) -> Iterator[Client]:
    """Connect to a scheduler, or start so many workers on this machine (0: one a core), a thread each.

    Raises MusiganError where Dask is not installed, the scheduler does not answer or has no worker with musigan.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MusiganError('musigan prepare needs Dask: pip install "musigan[dask]"') from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # of what goes wrong we speak ourselves
    if not scheduler:
        with (
            LocalCluster(
                n_workers=workers or usable_cores(),
                threads_per_worker=1,
                dashboard_address=None,
                worker_dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise MusiganError(f"--scheduler {scheduler}: no scheduler answers there ({failure_reason(error)})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT_SECONDS)
            client.submit(_ready, "cpu", pure=False).result()
        except TimeoutError:
            raise MusiganError(f"--scheduler {scheduler} has no workers: start some there (dask worker)") from None
        except ImportError as error:
            raise MusiganError(f"the workers of {scheduler} lack a library: {error}; install musigan there") from error
        yield client


def target_of(output: str) -> str:
    """Return where a store goes as an absolute path or URL. Raises UsageError where it can be none."""
    if not output or output == "-":
        raise UsageError("name a store to prepare: -o keys.zarr, or -o s3://bucket/keys.zarr")
    if maker := maker_of(output):
        raise UsageError(f"{output}: musigan prepare writes a store, a .zarr folder or a URL; {maker}")
    return output if is_url(output) else os.path.abspath(output)

"""Preparation by Dask: the store of the pipe, whoever was first, whoever died, and however often it is begun."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from musigan import store
from musigan.analysis import cluster
from musigan.analysis.chain import ChainRequest
from musigan.analysis.stores import AnalysisRequest, DecodingRequest, PairingRequest
from musigan.errors import FieldError, MusiganError, StoreError, UsageError
from musigan.files.finding import AUDIO_SUFFIXES, find_files
from tests import helpers, silentfs
from tests.sessions import Session, writer

distributed = pytest.importorskip("distributed")
REQUEST = ChainRequest(
    DecodingRequest(10000, 0.0, 4.0, 2.0),
    PairingRequest(1.0),
    AnalysisRequest(keys="13:76", chunk_seconds=1.0),
)
OPTIONS = ("--sample-rate", 10000, "--seconds", 4, "--min-seconds", 2)
CHUNKS = ("--chunk-seconds", 1)
KEYS = ("--keys", "13:76")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers in this process."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=50,
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def write_songs(folder: Path, *numbers: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        helpers.write_sound(folder / f"{number}.wav", helpers.tune(5, [40 + number, 47, 52], number))
    return folder


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs, a copy of one that comes before it, and a file that is none."""
    folder = write_songs(tmp_path_factory.mktemp("music"), 1, 2, 3)
    (folder / "0 copies").mkdir()
    shutil.copy(folder / "3.wav", folder / "0 copies" / "copy.wav")
    (folder / "bad.mp3").write_text("no music")
    return folder


def prepare(client: Any, music: Path | str, target: Path | str, request: ChainRequest = REQUEST) -> tuple[str, Session]:
    session = Session()
    found = list(find_files([str(music)], AUDIO_SUFFIXES, session.skip))
    return cluster.prepare(request, found, str(target), client, session), session


def rows(target: Path) -> list[dict[str, Any]]:
    lines = Path(f"{target}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def files(folder: Path) -> dict[str, bytes]:
    """Every file of the items of a store."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("0*/**/*") if path.is_file()}


def sources(target: Path | str) -> list[str]:
    with store.open_reader(str(target)) as reader:
        return [item.song.source for item in reader]


def by_pipe(music: Path, folder: Path) -> Path:
    """What the three tools make of a folder."""
    folder.mkdir()
    session, found = Session(), list(find_files([str(music)], AUDIO_SUFFIXES))
    with writer(folder / "waveforms", REQUEST.decoding.header(len(found))) as target:
        REQUEST.decoding.write(found, 1, target, session)
    reader = store.open_reader(str(folder / "waveforms"))
    with reader, writer(folder / "pairs", REQUEST.pairing.header(reader.header)) as target:
        REQUEST.pairing.write(reader, target, session)
    with store.open_reader(str(folder / "pairs")) as reader:
        analysis = REQUEST.analysis.begin(reader)
        with writer(folder / "keys.zarr", analysis.header) as target:
            analysis.write("cpu", 1, target, session)
    return folder / "keys.zarr"


def test_the_store_is_that_of_the_pipe_and_a_second_run_does_nothing(client: Any, music: Path, tmp_path: Path) -> None:
    target = tmp_path / "keys.zarr"
    words, session = prepare(client, music, target)
    assert words == "keys of 3 songs of 5 files, 1 duplicate left out"
    assert [(what, group) for what, _, group in session.skipped] == [("bad.mp3", "no audio could be decoded")]
    pipe = by_pipe(music, tmp_path / "pipe")
    assert files(target) == files(pipe)
    assert sources(target) == sources(pipe) == ["0 copies/copy.wav", "1.wav", "2.wav"]
    assert sorted(path.name for path in target.iterdir()) == ["000001", "000002", "000003", "zarr.json"]
    table = rows(target)
    assert [(row["source"], row["state"], row.get("number")) for row in table] == [
        ("0 copies/copy.wav", "done", 1), ("1.wav", "done", 2), ("2.wav", "done", 3), ("3.wav", "copy", None),
        ("bad.mp3", "skipped", None),
    ]  # fmt: skip
    assert "it is a text" in table[-1]["reason"]

    before = {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.is_file()}
    words, session = prepare(client, music, target)
    assert words == "keys of 0 songs of 5 files, 3 were there, 1 duplicate left out"
    assert [count.total for count in session.counts] == [1, 0]  # the bad one is tried again
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.is_file()} == before
    assert rows(target) == table


def test_songs_that_come_later_follow_those_that_are_there(client: Any, tmp_path: Path) -> None:
    music, target = write_songs(tmp_path / "music", 2), tmp_path / "keys.zarr"
    prepare(client, music, target)
    before = files(target)
    write_songs(music, 1, 3)
    Path(f"{target}.jsonl").unlink()  # what is there is known by its content, too
    words, _ = prepare(client, music, target)
    assert words == "keys of 2 songs of 3 files, 1 were there"
    assert sources(target) == ["2.wav", "1.wav", "3.wav"]
    assert before.items() <= files(target).items()
    assert [row["number"] for row in rows(target)] == [2, 1, 3]


def test_other_settings_other_places_and_nothing_usable_are_one_line(client: Any, tmp_path: Path) -> None:
    music, target = write_songs(tmp_path / "music", 1), tmp_path / "keys.zarr"
    prepare(client, music, target)
    other = ChainRequest(REQUEST.decoding, PairingRequest(1.0, overlap=0.5), REQUEST.analysis)
    with pytest.raises(StoreError, match="overlap"):
        prepare(client, music, target, other)
    later = ChainRequest(DecodingRequest(10000, 1.0, 4.0, 2.0), REQUEST.pairing, REQUEST.analysis)
    with pytest.raises(StoreError, match=r"begun with start_seconds 0.0, and now it is 1.0"):
        prepare(client, music, target, later)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mp3").write_text("no music")
    with pytest.raises(MusiganError, match="nothing usable came in"):
        prepare(client, tmp_path / "bad", tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()
    assert [row["state"] for row in rows(tmp_path / "none.zarr")] == ["skipped"]
    words, _ = prepare(client, music, tmp_path / "none.zarr", later)  # nothing of it is there: the settings are free
    assert words == "keys of 1 song of 1 file"
    with pytest.raises(UsageError, match=r"holds bad\.mp3 and is no store"):
        prepare(client, music, tmp_path / "bad")
    with pytest.raises(UsageError, match="is a file"):
        prepare(client, music, tmp_path / "bad" / "bad.mp3")


def test_what_takes_more_than_a_song_to_decide_is_refused() -> None:
    with pytest.raises(FieldError, match="expected stereo or mono"):
        ChainRequest(DecodingRequest(channels="keep"))
    with pytest.raises(FieldError, match="whole songs"):
        ChainRequest(pairing=PairingRequest(ends=True))
    with pytest.raises(FieldError, match="find or none"):
        ChainRequest(analysis=AnalysisRequest(beats="beats.txt"))
    for name in ("", "-", "keys.mp3"):
        with pytest.raises(UsageError):
            cluster.target_of(name)


def test_urls_are_read_and_written(client: Any, music: Path, tmp_path: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    for name in ("1.wav", "bad.mp3"):
        fs.pipe_file(f"/prepare-in/{name}", (music / name).read_bytes())
    words, _ = prepare(client, "memory://prepare-in", "memory://prepare-out/keys.zarr")
    assert words == "keys of 1 song of 2 files"
    assert sources("memory://prepare-out/keys.zarr") == ["1.wav"]
    assert fs.cat_file("/prepare-out/keys.zarr.jsonl").count(b"\n") == 3
    assert sorted(path.rsplit("/", 1)[-1] for path in fs.ls("/prepare-out/keys.zarr", detail=False)) == [
        "000001", "zarr.json",
    ]  # fmt: skip
    fs.pipe_file("/prepare-in/2.wav", (music / "2.wav").read_bytes())
    words, session = prepare(client, "memory://prepare-in", "memory://prepare-out/keys.zarr")
    assert words == "keys of 1 song of 3 files, 1 were there"
    assert session.counts[0].total == 2  # by the table, and what it says of the file, the first is not read again
    assert sources("memory://prepare-out/keys.zarr") == ["1.wav", "2.wav"]


def test_of_a_file_system_that_says_nothing_of_its_files_the_content_decides(client: Any, music: Path) -> None:
    fs, target = silentfs.register(), "memory://prepare-silent/keys.zarr"
    for name in ("1.wav", "2.wav"):
        fs.pipe_file(f"/silent-in/{name}", (music / name).read_bytes())
    assert prepare(client, "silent://silent-in", target)[0] == "keys of 2 songs of 2 files"
    fs.pipe_file("/silent-in/2.wav", (music / "3.wav").read_bytes())
    words, session = prepare(client, "silent://silent-in", target)
    assert words == "keys of 1 song of 2 files, 2 were there"
    assert session.counts[0].total == 2
    assert sources(target) == ["1.wav", "2.wav", "2.wav"]


def test_a_run_that_ends_before_its_table_is_written_leaves_no_store_that_is_whole(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music, target = write_songs(tmp_path / "music", 1, 2), tmp_path / "keys.zarr"
    for songs in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(cluster.Preparation, "save", mock.Mock(side_effect=RuntimeError("killed")))
            with pytest.raises(RuntimeError, match="killed"):
                prepare(client, music, target)
        if songs == 2:
            with pytest.raises(StoreError, match="not finished"):
                store.open_reader(str(target))
        else:
            assert sources(target) == ["1.wav", "2.wav"]
        _, session = prepare(client, music, target)
        assert [counts.total for counts in session.counts] == [0, 0]  # nothing is done again
        assert [row["number"] for row in rows(target)] == list(range(1, songs + 1))
        assert sources(target) == [f"{number}.wav" for number in range(1, songs + 1)]
        assert not (target / ".ready").exists()
        write_songs(music, 3)


def test_an_object_store(client: Any, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 as moto serves it on this machine."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    import fsspec

    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        settings = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
        monkeypatch.setitem(fsspec.config.conf, "s3", settings)
        fs = fsspec.filesystem("s3")
        fs.mkdir("music")
        for name in ("1.wav", "2.wav", "bad.mp3"):
            fs.pipe_file(f"music/{name}", (music / name).read_bytes())
        words, _ = prepare(client, "s3://music", "s3://music/out/keys.zarr")
        assert words == "keys of 2 songs of 3 files"
        assert sources("s3://music/out/keys.zarr") == ["1.wav", "2.wav"]
        assert not fs.exists("music/out/keys.zarr/.ready")
    finally:
        server.stop()


def test_what_kills_leave_is_explained_and_completed(client: Any, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    music, target = write_songs(tmp_path / "music", *range(8)), tmp_path / "keys.zarr"
    line = helpers.command("musigan prepare", music, "-o", target, *OPTIONS, *CHUNKS, *KEYS, "--workers", 1)
    run = subprocess.Popen(line, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def wait_for(count: int) -> None:
        end = time.monotonic() + 60
        while len(rows(target) if Path(f"{target}.jsonl").exists() else []) < count:
            assert run.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)

    wait_for(1)
    children = psutil.Process(run.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert workers
    for worker in workers:
        worker.kill()  # another takes its place
    wait_for(3)
    run.send_signal(signal.SIGKILL)
    run.wait()
    with pytest.raises(StoreError, match=r"not finished, \d songs of it are ready: run the same musigan prepare again"):
        store.open_reader(str(target))
    words, session = prepare(client, music, target)
    assert words == "keys of 8 songs of 8 files"
    assert 0 < session.counts[0].total < 8
    assert sources(target) == [f"{number}.wav" for number in range(8)]


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.3)
    with pytest.raises(MusiganError, match="no scheduler answers there"), cluster.open_client("tcp://127.0.0.1:1"):
        pass

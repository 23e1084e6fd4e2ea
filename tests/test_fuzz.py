"""A few seconds of benchmarks/fuzz.py: changed at random, no file does more than be refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.tiny import torch  # noqa: F401  before processes are forked

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
fuzz = pytest.importorskip("fuzz")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_changed_files_are_read_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzz.ffmpeg, "find_ffmpeg", fuzz.ffmpeg.find_ffmpeg)  # put back afterwards
    monkeypatch.setattr(fuzz, "BATCH", 8)
    report = fuzz.fuzz(20.0, 3, 7 * 8, tmp_path)
    assert report.kinds == {}
    assert {"read", "refused"} == set(report.counts)


def test_what_is_no_refusal_is_found(tmp_path: Path) -> None:
    def fails(data: bytes, _: Path) -> None:
        if len(data) % 2:
            raise ZeroDivisionError

    report, kind = fuzz.Report(), fuzz.Kind("odd", [b"abc", b"abcd"], fails, lambda data, random: data)
    fuzz.run_batch(kind, "1", 20, tmp_path, report)
    assert report.counts["read"] + report.counts["wrong"] == 20
    (found,) = report.kinds
    assert found.startswith("odd: ZeroDivisionError")


def test_what_takes_too_long_or_ends_its_process_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def computes(data: bytes, _: Path) -> None:
        while data == b"long":
            pass
        if data == b"dies":
            os._exit(3)

    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 0.2)
    for data, said in ((b"long", "more than 20 s"), (b"dies", "the process ended with 3")):
        report, kind = fuzz.Report(), fuzz.Kind("odd", [data], computes, lambda data, random: data)
        fuzz.run_batch(kind, "1", 4, tmp_path, report)
        assert report.kinds == {f"odd: {said}": 1}

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
from musigan.machine.nativestderr import quiet_native_stderr
print("before", file=sys.stderr)
stream = quiet_native_stderr()
assert quiet_native_stderr() is stream is sys.stderr
os.write(2, b"native noise")
print("after \\udcff é", file=sys.stderr)
raise SystemExit(3)
"""


def test_native_words_vanish_and_pythons_stay() -> None:
    result = subprocess.run([sys.executable, "-X", "utf8", "-c", SCRIPT], capture_output=True, check=False)
    assert result.returncode == 3
    assert result.stderr.decode() == "before\nafter \\udcff é\n"


def test_a_traceback_still_shows() -> None:
    script = "from musigan.machine.nativestderr import *; quiet_native_stderr(); raise RuntimeError('seen')"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"RuntimeError: seen" in result.stderr


def test_a_closed_stderr_is_left_alone() -> None:
    script = "from musigan.machine.nativestderr import *; quiet_native_stderr(); print('done')"
    command = f'exec {sys.executable} -c "{script}" 2>&-'
    result = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=False)
    assert result.stdout == b"done\n"

"""Ctrl-C, SIGTERM and SIGHUP as exceptions, wherever they fall."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

from musigan.machine.signals import STOPPING


class Stopped(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that what is half written is cleaned away."""

    def __init__(self, number: int) -> None:
        self.number = number


def heed_signals() -> None:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into an exception; further ones do not disturb the cleaning up after it.

    Those that are ignored (nohup, a shell's background job) stay so. What Python can only report, an exception within
    a finalizer or a callback of its own imports, is lost there: the signal is sent once more a moment later.
    """
    heeded = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number: int, _: object) -> NoReturn:
        for each in heeded:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    def heed() -> None:
        for number in heeded:
            signal.signal(number, stop)

    report = sys.unraisablehook

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, (KeyboardInterrupt, Stopped)):
            return report(lost)
        heed()
        number = lost.exc_value.number if isinstance(lost.exc_value, Stopped) else signal.SIGINT
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = send_again
    heed()


def wake_on_signals() -> None:
    """Make sure that Ctrl-C and SIGTERM are heard while a read from a pipe waits.

    Python runs handlers between bytecodes. A signal that falls between two system calls of one buffered read is only
    noted; the next call then blocks until data come. So another thread hears of every signal, too, and interrupts
    whatever call the main thread is in by a harmless one, SIGURG, until its handler, which comes last, has run.
    Windows has no such signal, and interrupts reads by itself.
    """
    if not hasattr(signal, "SIGURG") or not hasattr(signal, "pthread_kill"):
        return
    heard, wake = os.pipe()
    os.set_blocking(wake, False)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    handled = threading.Event()

    def interrupt() -> None:
        while number := os.read(heard, 1):
            if number[0] == signal.SIGURG:
                continue
            handled.clear()
            pause = 0.05
            while not handled.wait(pause):
                signal.pthread_kill(main_thread, signal.SIGURG)
                pause = min(2 * pause, 1.0)

    signal.signal(signal.SIGURG, lambda *_: handled.set())
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    threading.Thread(target=interrupt, daemon=True).start()

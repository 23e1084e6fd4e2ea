"""The signals that ask a run to stop: it saves or cleans up first."""

from __future__ import annotations

import signal

# Windows has no SIGHUP, which says that the terminal has gone.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

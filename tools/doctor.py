"""musigan doctor: what this machine has."""

from __future__ import annotations

from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan doctor"


@_cli.tool
def main(session: Session) -> None:
    """Say what this machine has: decoders, encoders, processors, memory and space.

    Example: musigan doctor
    """
    from musigan.doctor import report

    for name, finding in report():
        session.print(f"{name:<12} {finding}")

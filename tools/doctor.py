"""musigan doctor: what this machine has."""

from __future__ import annotations

from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan doctor"


@_cli.tool
def main(session: Session, as_json: _cli.AsJson = False) -> None:
    """Say what this machine has: decoders, encoders, processors, memory and space.

    It also says where another program has the name of one of musigan's and comes first on PATH.

    Example: musigan doctor
    """
    from musigan.doctor import report

    if as_json:
        session.print_json(dict(report()))
        return
    for name, finding in report():
        session.print(f"{name:<12} {finding}")

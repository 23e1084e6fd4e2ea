"""musigan models: the model families, a line each."""

from __future__ import annotations

from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan models"


@_cli.tool
def main(session: Session) -> None:
    """List the model families: what each is good for, and the paper behind it.

    Example: musigan models && train-gan keys.zarr --model original
    """
    from musigan import models

    for name in models.FAMILIES:
        family = models.family(name)
        session.print(f"{name:<14} {family.summary} ({family.paper})")

"""musigan models: the model families, a line each."""

from __future__ import annotations

from typing import Any

from musigan_tools import _cli

NAME = "musigan models"
ROW = "{:<14} {:<6} {:<8} {:<7} {:<11} {:<12} {}"
CONDITIONS = {"style": "style", "tempo": "tempo", "kept": "track", "question": "call", "other": "other kind"}


def _values(family: Any) -> dict[str, Any]:
    names = ("name", "summary", "paper", "draws", "extends", "morphs", "translates", "takes_temperature", "conditions")
    return {name: getattr(family, name) for name in names}


@_cli.tool
def main(session: _cli.Session, as_json: _cli.AsJson = False) -> None:
    """List the model families: what each is good for, the paper behind it, and in a table what each can do.

    Those that draw serve `sample`, those that go on its --prime, those that morph its --morph, those that translate
    `transfer`; conditions are what a piece can be asked to follow.

    Example: musigan models && train-gan keys.zarr --model original
    """
    from musigan import models

    families = [models.family(name) for name in models.FAMILIES]
    if as_json:
        session.print_json([_values(family) for family in families])
        return
    for family in families:
        session.print(f"{family.name:<14} {family.summary} ({family.paper})")
    session.print("")
    session.print(ROW.format("", "draws", "goes on", "morphs", "translates", "temperature", "conditions"))
    for family in families:
        abilities = (family.draws, family.extends, family.morphs, family.translates, family.takes_temperature)
        conditions = ", ".join(CONDITIONS[name] for name in family.conditions) or "-"
        session.print(ROW.format(family.name, *("yes" if able else "-" for able in abilities), conditions))

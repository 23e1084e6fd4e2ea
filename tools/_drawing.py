"""The options of `sample`."""

from __future__ import annotations

from typing import Annotated

import typer

Checkpoint = Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint of pretrain or train-gan.")]
Count = Annotated[
    int | None, typer.Option("-n", "--count", min=1, help="How many pieces. [default: 4, or 1 of each --prime]")
]
Seconds = Annotated[float, typer.Option(help="Length of each piece, any.")]
Best = Annotated[
    int, typer.Option(min=0, help="Keep so many, the best by the critic, best first; 0: all that are drawn.")
]
Of = Annotated[int, typer.Option(min=0, help="How many --best chooses among; 0: 25 for each.")]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="For models that draw step by step: below 1 plays it safe, above 1 takes chances. [default: the model's]"
    ),
]
Morph = Annotated[
    str,
    typer.Option(metavar="KEYS", help="Pieces that lead from each song of this store to the next (of 100 at most)."),
]
Prime = Annotated[
    str, typer.Option(metavar="SONG", help="Go on from this audio file, or from each song of this keys store.")
]
PrimeFrom = Annotated[
    float | None, typer.Option(min=0, help="Second of the song to begin at. [default: 10 s before its end]")
]
Style = Annotated[
    str, typer.Option(help="A genre or folder that was learned from.  [default: a song's, drawn for each piece]")
]
Tempo = Annotated[
    float | None, typer.Option(min=20, max=400, help="Beats a minute.  [default: a song's, drawn for each piece]")
]
Keep = Annotated[str, typer.Option(metavar="TRACK", help="Make the other tracks to this one of --with.")]
Songs = Annotated[str, typer.Option("--with", metavar="KEYS", help="A store whose songs --keep takes.")]

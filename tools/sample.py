"""sample: a trained checkpoint in, new music as piano keys out."""

from __future__ import annotations

from musigan_tools import _cli, _drawing
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    checkpoint: _drawing.Checkpoint,
    output: _cli.Output = "-",
    count: _drawing.Count = None,
    seconds: _drawing.Seconds = 30.0,
    seed: _cli.Seed = 1,
    best: _drawing.Best = 0,
    of: _drawing.Of = 0,
    temperature: _drawing.Temperature = None,
    morph: _drawing.Morph = "",
    prime: _drawing.Prime = "",
    prime_from: _drawing.PrimeFrom = None,
    style: _drawing.Style = "",
    tempo: _drawing.Tempo = None,
    keep: _drawing.Keep = "",
    songs: _drawing.Songs = "",
    device: _cli.Device = "auto",
    force: _cli.Force = False,
) -> None:
    """Draw new music from a trained network.

    The same checkpoint and seed give the same music, piece by piece, however many are drawn. --prime begins with 10 s
    of a song and goes on from there for --seconds, with models that can (musigan models says which). --morph draws
    nothing: it leads from each song of a keys store to the next, and gives a single song as the network hears it.
    --style, --tempo and --keep are for models that go by them (musigan models says which).

    Example: sample ckpt.pt --best 4 --of 100 --seconds 60 | keys-to-mp3 out.mp3
    """
    from functools import partial
    from pathlib import Path

    from musigan.sampling.requests import DrawingRequest

    request = DrawingRequest(
        seconds, seed, count, best, of, temperature, morph, prime, prime_from, style, tempo, keep, songs
    )
    session.check_output(output, force)

    from musigan.sampling.drawing import Drawing
    from musigan.sampling.loading import load_sampler

    sampler = load_sampler(checkpoint, device)
    open_writer = partial(session.writer, output, force)
    session.summary(Drawing(request, sampler, Path(checkpoint).stem, session, open_writer).draw())

"""Losses by name: default weight, formula and a sentence for people; for settings, log, report and the reference.

A family may give a loss a weight of its own (`Family.losses`). Formulas write fake for what the generator made, real
for music, E for the mean over the batch; d is the difference of two rolls, s the sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

VIEWS = {"roll": "rolls", "chroma": "pitch classes", "latent": "latents"}  # the critic's inputs


@dataclass(frozen=True)
class Loss:
    """One named loss."""

    name: str
    weight: float | None  # by default; None: only for families that give it a weight
    formula: str
    meaning: str  # one sentence, and which way is better


_LOSSES = (
    Loss(
        "reconstruction", 1.0, "mean of d²/(2·0.1) where |d| < 0.1, else |d| − 0.05; over mean(real) + 0.01",
        "How far decoded rolls are from the real ones. Lower is better.",
    ),
    Loss(
        "activity", 1.0, "mean binary cross-entropy of \"real > 0\"",
        "How often the decoder is wrong about which cells sound. Lower is better.",
    ),
    Loss(
        "kl", 0.02, "KL(N(mean, variance) ‖ N(0, 1)), in each dimension at least `variational.free_bits`",
        "How far the latents are from white noise, in nats.",
    ),
    Loss(
        "flow", 1.0, "mean |v(noise + t (latents − noise), t) − (latents − noise)|²",
        "Error of the flow from white noise to the latents of music. It falls, then levels off.",
    ),
    Loss(
        "anchor", 1.0, "as `reconstruction`",
        "How far decoded rolls are from the real ones while the critic trains the decoder. Lower is better.",
    ),
    Loss("anchor_activity", 1.0, "as `activity`", "The same for which cells sound. Lower is better."),
    *(
        Loss(
            f"adversarial_{view}", 0.1, "by `adversarial.objective`; bce: −log s(D(fake))",
            f"The generator's loss against the critic, on {views}.",
        )
        for view, views in VIEWS.items()
    ),
    *(
        Loss(
            f"critic_{view}", 1.0, "by `adversarial.objective`; bce: −log s(D(real)) − log(1 − s(D(fake)))",
            f"The critic's loss on {views}, real and generated.",
        )
        for view, views in VIEWS.items()
    ),
    Loss(
        "critic_mismatch", 0.0, "as `critic_*`, with real rolls under others' conditions as fake",
        "The critic's loss on real rolls with their own conditions and with others'.",
    ),
    *(
        Loss(
            f"penalty_{view}", 0.0, "mean |∇D(real)|² + mean |∇D(fake)|²; wgan: mean (|∇D| − 1)² between real and fake",
            f"Size of the critic's gradient on {VIEWS[view]}.",
        )
        for view in ("roll", "latent")
    ),
    *(
        Loss(
            f"features_{view}", 0.0, "mean over layers of |E f(fake) − E f(real)| / mean |f(real)|",
            f"Distance of the critic's features between generated and real {views}. Lower is better.",
        )
        for view, views in VIEWS.items()
    ),
    Loss(
        "critic_silence", 1.0, "Huber error of the head's share of silent frames; with `network.critic_heads`",
        "The critic's error about how much of a roll is silent. Lower is better.",
    ),
    Loss(
        "critic_melody", 1.0, "Huber error of the head's motion of the top line; with `network.critic_heads`",
        "The critic's error about how far a roll's top line moves. Lower is better.",
    ),
    Loss(
        "density", 0.0, "mean over keys of |E loudness(fake) − E loudness(real)| / mean(real)",
        "Difference of how much each key is used, from real music. Lower is better.",
    ),
    Loss(
        "deviation", 0.0, "mean over keys of |E std(fake) − E std(real)| / mean std(real)",
        "Difference of how much each key's loudness varies, from real music. Lower is better.",
    ),
    Loss(
        "melody", 0.0, "mean over lags of |E motion(fake) − E motion(real)| / (E motion(real) + 1)",
        "Difference of how far the melody (top line) moves, from real music. Lower is better.",
    ),
    Loss(
        "motion", 0.0, "|change(fake) − change(real)| / change(real), change = mean |x(t+1) − x(t)| / mean(x)",
        "Difference of how fast loudness changes, from real music. Lower is better.",
    ),
    Loss(
        "no_seconds", 0.0, "max(0, E empty(fake) − E empty(real)), empty = exp(−loudness / (0.1 mean(real)))",
        "Silent seconds beyond those of real music. Lower is better.",
    ),
    Loss(
        "no_silence", 0.0, "max(0, E quietest(real) − E quietest(fake)) / mean(real)",
        "How much quieter the quietest stretches are than in real music. Lower is better.",
    ),
    Loss(
        "song_divergence", 0.0, "|D(fake) − D(real)| / D(real), D = mean KL of two songs' use of keys",
        "Difference of how unlike one another songs are, from real music. Lower is better.",
    ),
    Loss(
        "statistics", 0.0, "mean of |E min(fake) − E min(real)|, the same of max and mean, over real's loudness",
        "Difference of each key's least, greatest and mean loudness, from real music. Lower is better.",
    ),
    Loss(
        "loudness", None, "as `reconstruction`, before the gate, over cells that sound, attacks weighted 5 times",
        "How far the loudness of decoded cells is from the real one. Lower is better.",
    ),
    Loss(
        "sounding", None, "as `activity`, attacks and the frames before them weighted 5 times",
        "How often the decoder is wrong about which cells sound. Lower is better.",
    ),
    Loss(
        "onsets", None, "mean binary cross-entropy of \"a key is struck\"",
        "How often the decoder is wrong about where keys are struck. Lower is better.",
    ),
    Loss(
        "frame_nats", None, "−log p(which keys sound in a frame | all before)",
        "How poorly the sounding keys of a frame were predicted from all before, in nats. Lower is better.",
    ),
    Loss(
        "loudness_nats", None, "−log p(loudness of the keys that sound | all before)",
        "The same for their loudness; a density, which may be below 0. Lower is better.",
    ),
    Loss(
        "nll", None, "−log Σ w N(latent; mean, deviation), per latent number",
        "How poorly each step was predicted from all before, in nats; 1.42 is guessing. Lower is better.",
    ),
    Loss(
        "cycle", None, "mean |there and back − song| / (mean(song) + 0.01)",
        "Change of a song that was transferred to the other kind and back. Lower is better.",
    ),
    Loss(
        "identity", None, "mean |transfer − song| / (mean(song) + 0.01)",
        "Change of a song that was of the target kind already. Lower is better.",
    ),
    Loss(
        "place", None, "mean Huber(statistic of fake − its place in the other kind) in deviations, by groups",
        "Distance of a transferred song's register, width, attack, decay and beat from its place in the other kind, "
        "and of the song there and back from its own. Lower is better.",
    ),
    Loss(
        "kind", None, "max(2 − logit of the other kind by all statistics of the transfer, 0)",
        "How far a transferred song is from being taken for the other kind as a whole. Lower is better.",
    ),
    Loss(
        "critic_kind", None, "mean softplus(−logit of a real roll's own kind by its statistics)",
        "How badly the two kinds are told apart by their statistics; .69 is guessing. Lower is better.",
    ),
    Loss(
        "likeness", None, "max(0.8 − cosine(transfer, song), 0)",
        "How much less a transferred song is like the song than it should be. Lower is better.",
    ),
    Loss(
        "harmony", None, "1 − cosine of the pitch classes in each 0.2 s, weighted by the song's loudness",
        "Difference between the pitch classes of a song and of its transfer. Lower is better.",
    ),
)  # fmt: skip
LOSSES = {loss.name: loss for loss in _LOSSES}
DEFAULT_LOSSES = tuple(loss.name for loss in _LOSSES if loss.weight is not None)

# What is logged beside the losses: name -> sentence.
FIGURES = {
    "overlap": "Agreement of sounding cells with the real roll. 1 is perfect.",
    "change": "Difference between a song and its transfer, as a share of the sounding loudness.",
    **{
        f"accuracy_{view}": f"Share of {views} that the critic classifies correctly. .5 is guessing; long above .95, "
        "it has won."
        for view, views in VIEWS.items()
    },
    "augmentation": "Probability of each augmentation of the critic's rolls. It rises while the critic is too sure.",
}


def meaning(name: str) -> str:
    """Return the sentence that explains a loss or figure, empty for one that this version does not know."""
    return LOSSES[name].meaning if name in LOSSES else FIGURES.get(name, "")

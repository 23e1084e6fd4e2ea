"""Protocols of the networks: what callers may ask of a generator and a critic, the tuples they return, shared bases.

Which of them a family's networks fulfil, the family declares (`musigan.models.Family`), and a test compares the two.
A conditional family takes its conditions by name in each function that has `conditions` here; others take none.
B batch, C channels, K keys, T frames, L latent steps, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from musigan.rolls.shape import RollShape


class Posterior(NamedTuple):
    """Gaussian of the latents given a roll, both (B, L, Z)."""

    mean: Tensor
    log_variance: Tensor


class Decoded(NamedTuple):
    """Decoded music: `roll` (B, C, K, T) in [0, 1] and `logits` (B, C, K, T); a key sounds where they are above 0.

    Where the decoder has these planes, `loudness` is that of cells if they sound, and a key is struck where `onsets`
    are above 0; (B, C, K, T) each.
    """

    roll: Tensor
    logits: Tensor
    loudness: Tensor | None = None
    onsets: Tensor | None = None


class Judgement(NamedTuple):
    """Critic's output: logits (B, 1) by view, features (B, ...) by view for feature matching, head predictions."""

    logits: dict[str, Tensor]
    features: dict[str, list[Tensor]]
    predictions: dict[str, Tensor] | None = None  # head predictions for the roll, (B, 1) by name; None without heads


@runtime_checkable
class Generator(Protocol):
    """Any generator: a network whose parameters have roles."""

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role: "encoder", "prior" (what draws latents or frames) or "decoder"."""


@runtime_checkable
class Decoder(Protocol):
    """Generator that decodes latents, or the noise that stands for them, to rolls."""

    def decode(self, latents: Tensor, frames: int, **conditions: Tensor) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames)."""


@runtime_checkable
class Autoencoder(Generator, Decoder, Protocol):
    """Generator that encodes rolls as latents and decodes them; stage `variational`."""

    def encode(self, roll: Tensor, **conditions: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""


@runtime_checkable
class BeginsWithMusic(Autoencoder, Protocol):
    """Autoencoder whose first weights come from music."""

    def begin_with(self, rolls: Tensor) -> None:
        """Set the first weights from rolls (B, C, K, T), unless there was training before."""


@runtime_checkable
class Flow(Generator, Protocol):
    """Generator with a flow from white noise to latents; stage `prior`."""

    def velocity(self, latents: Tensor, time: Tensor, **conditions: Tensor) -> Tensor:
        """Return the velocity (B, L, Z) at latents (B, L, Z) and `time` (B), from noise at 0 to music at 1.

        Conditions may be (B / n, ...): latents i, i + B / n, ... have condition i.
        """


@runtime_checkable
class Likelihood(Generator, Protocol):
    """Generator that knows how likely music is; stage `likelihood`."""

    def likelihood(self, roll: Tensor, rng: torch.Generator, **conditions: Tensor) -> dict[str, Tensor]:
        """Return the terms of the negative log likelihood of roll (B, C, K, T), scalars by name."""


@runtime_checkable
class NoiseGenerator(Generator, Decoder, Protocol):
    """Generator that turns noise into rolls of one length or of any; stages `critic` and `adversarial`."""

    @property
    def flow_steps(self) -> int:
        """Number of flow steps from noise to latents; 0 without a flow."""

    def draw(self, batch: int, frames: int, rng: torch.Generator | None = None) -> Tensor:
        """Draw the noise (B, ...) of `batch` pieces of `frames` frames."""

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, /, **conditions: Tensor) -> Tensor:
        """Run the flow steps `first` to `last` from noise to latents (B, L, Z); without a flow, all at once."""


@runtime_checkable
class TimeDecoder(Protocol):
    """Decoder of latents that are a sequence in time: of any length, in windows (`musigan.models.windows`)."""

    @property
    def token_frames(self) -> int:
        """Frames of one latent step."""

    @property
    def decoder_receptive_field(self) -> int:
        """Latent steps on either side on which a decoded step depends."""

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames)."""


@runtime_checkable
class TimeGenerator(NoiseGenerator, Autoencoder, TimeDecoder, Protocol):
    """Generator whose latents are a sequence in time, drawn and decoded for any length; `Family.morphs`."""

    @property
    def receptive_field(self) -> int:
        """Latent steps on either side on which a drawn and decoded step depends."""

    def steps(self, frames: int) -> int:
        """Return the number of latent steps that cover `frames` frames."""


@runtime_checkable
class Continuation(Generator, Protocol):
    """Generator that continues music, or begins it; `Family.extends`."""

    @property
    def temperature(self) -> float:
        """Temperature of `extend` unless another is asked for."""

    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float) -> Tensor:
        """Sample the roll after `past` (1, C, K, P), or from nothing: (1, C, K, frames)."""


@runtime_checkable
class Balanced(Generator, Protocol):
    """Generator whose drawn rolls are set to sound as much as real ones, whenever it is saved."""

    def balance(self, real: Tensor, rng: torch.Generator) -> None:
        """Set what is drawn to sound as often, as long and as loud as real rolls (B, C, K, T)."""


@runtime_checkable
class BeatComposer(Autoencoder, TimeDecoder, Protocol):
    """Generator that composes the latents of music beat after beat, from nothing or after other beats.

    `Family.on_beats`; stage `composer`. What it is told of its beats, its `context`, is a family's own.
    """

    @property
    def temperature(self) -> float:
        """Temperature of `compose` unless another is asked for."""

    def compose(
        self, context: Any, rng: torch.Generator, temperature: float = 1.0, past: Tensor | None = None
    ) -> Tensor:
        """Draw the latents (1, L, Z) of the beats of `context`, the first of which are `past` (1, P, Z)."""


@runtime_checkable
class Translator(Generator, Protocol):
    """Generators in both directions between two kinds of music; `Family.translates`, stage `translation`."""

    @property
    def token_frames(self) -> int:
        """Frames of one step; a song is cut at whole steps."""

    @property
    def receptive_field(self) -> int:
        """Steps on either side on which a translated step depends."""

    def translate(self, roll: Tensor, to: int) -> Tensor:
        """Translate roll (B, C, K, T) to kind `to`, 0 or 1."""


class Inpainted(TimeDecoder, Protocol):
    """Generator whose latents in time come from a calibrated flow: it continues music by in-painting."""

    shape: RollShape
    latent_offset: Tensor
    latent_gain: Tensor

    @property
    def flow_steps(self) -> int:
        """Number of flow steps from noise to latents."""

    def steps(self, frames: int) -> int:
        """Return the number of latent steps that cover `frames` frames."""

    def encode(self, roll: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each."""

    def velocity(self, latents: Tensor, time: Tensor) -> Tensor:
        """Return the flow's velocity (B, L, Z) at latents (B, L, Z) and `time` (B)."""

    def calibrated(self, latents: Tensor) -> Tensor:
        """Bring latents (B, L, Z) after the last flow step to the mean and deviation of real ones."""


@runtime_checkable
class Critic(Protocol):
    """Critic of rolls and latents; stages `critic` and `adversarial`."""

    @property
    def views(self) -> Sequence[str]:
        """Views that the critic judges: "roll", and "latent" where it has a tower for latents."""

    def __call__(
        self, roll: Tensor | None, latents: Tensor | None, per_sample: bool = False, **conditions: Tensor
    ) -> Judgement:
        """Judge roll (B, C, K, T) and latents (B, L, Z); a view that is None is not judged.

        `per_sample` judges each sample without the rest of the batch.
        """


@runtime_checkable
class KindCritic(Protocol):
    """Critics of two kinds of music; stage `translation`."""

    def judge(self, roll: Tensor, kind: int, noise: Callable[[Tensor], Tensor] = ...) -> Tensor:
        """Return logits (B, P) of rolls (B, C, K, T): above 0 where a patch is taken for real music of `kind`.

        `noise` is put on what the critics see.
        """

    def tell(self, found: Tensor, kind: int, noise: Callable[[Tensor], Tensor] = ...) -> Tensor | None:
        """Return logits (B) of standardised statistics (B, N), above 0 where they are taken for those of `kind`."""


@runtime_checkable
class KindStatistics(Protocol):
    """Statistics of whole rolls of two kinds of music; stage `translation`."""

    def follow(self, roll: Tensor, kind: int) -> Tensor:
        """Return the statistics (B, N) of real rolls (B, C, K, T) of `kind`, which those of the kind follow."""

    def measured(self, roll: Tensor) -> Tensor:
        """Return the statistics (B, N) of rolls (B, C, K, T), standardised."""

    def place(self, found: Tensor, to: int) -> Tensor:
        """Return the statistics (B, N) in kind `to` at the place that `found` has in the other kind."""

    def distance(self, roll: Tensor, wanted: Tensor, kind: int) -> Tensor:
        """Return the mean distance of rolls (B, C, K, T) from statistics (B, N) of `kind`, in its deviations."""


@runtime_checkable
class FakePool(Protocol):
    """Pool of earlier generated rolls; stage `translation`."""

    def exchange(self, fake: Tensor, kind: int, rng: torch.Generator) -> Tensor:
        """Return the rolls (B, C, K, T) that a critic of `kind` is shown for `fake`."""


CalibrationSet = tuple[Tensor, Mapping[str, Tensor]]  # rolls (N, C, K, T) and their conditions by name
MOST_GAIN = 2.0  # of a calibration, and 1 / MOST_GAIN its least gain


class FlowGenerator(nn.Module):
    """Base of generators that turn white noise into latents in flow steps, each a step along a velocity.

    Subclasses set `flow_steps`, call `register_calibration`, and define the functions below, with their conditions.
    """

    flow_steps: int  # from noise to latents
    temperature = 1.0  # of `extend`, where there is one: the noise's deviation
    latent_offset: Tensor
    latent_gain: Tensor
    draw: Callable[..., Tensor]  # as NoiseGenerator's
    velocity: Callable[..., Tensor]  # as Flow's
    encode: Callable[..., Posterior]  # as Autoencoder's

    def register_calibration(self, latent_dim: int) -> None:
        """Register the identity as calibration.

        A calibration brings sampled latents to the mean and deviation of real ones (training/calibration.py).
        """
        self.register_buffer("latent_offset", torch.zeros(latent_dim))
        self.register_buffer("latent_gain", torch.ones(latent_dim))

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, /, **conditions: Tensor) -> Tensor:
        """Run the flow steps `first` to `last` on latents (B, L, Z): from white noise (all steps) or from halfway."""
        for index in range(first, self.flow_steps if last is None else last):
            time = latents.new_full((len(latents),), index / self.flow_steps)
            latents = latents + self.velocity(latents, time, **conditions) / self.flow_steps
        return self.calibrated(latents) if last is None or last == self.flow_steps else latents

    def calibrated(self, latents: Tensor) -> Tensor:
        """Bring latents (B, L, Z) after the last flow step to the mean and deviation of real ones."""
        return self.latent_offset + self.latent_gain * latents

    def calibration_sets(self, roll: Tensor, conditions: Mapping[str, Tensor]) -> dict[str, CalibrationSet]:
        """Return the rolls (N, C, K, T) and conditions that each calibration is fitted to, by the calibration's name.

        Here the only one, `latent`, is fitted to all rolls (B, C, K, T) of a batch.
        """
        return {"latent": (roll, conditions)}

    def calibrate(self, drawn: Tensor, real: Tensor, name: str = "latent") -> None:
        """Set calibration `name` so that sampled latents `drawn` get mean and deviation of `real`, (B, L, Z) each."""
        offset, former_gain = getattr(self, f"{name}_offset"), getattr(self, f"{name}_gain")
        gain = real.std((0, 1)) / drawn.std((0, 1)).clamp(min=1e-6)
        gain = gain.clamp(1 / MOST_GAIN, MOST_GAIN)  # bounds the gain of untrained networks
        setattr(self, f"{name}_offset", real.mean((0, 1)) + gain * (offset - drawn.mean((0, 1))))
        setattr(self, f"{name}_gain", gain * former_gain)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state; checkpoints older than the calibration have none and keep the present one."""
        state_dict.setdefault(prefix + "latent_offset", self.latent_offset)
        state_dict.setdefault(prefix + "latent_gain", self.latent_gain)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class OneShotGenerator(nn.Module):
    """Base of generators that turn noise into a roll of the training length at once, with no latents in between.

    Subclasses define `draw(batch, frames, rng)` -> noise and `decode(noise, frames, **given)` -> Decoded.
    """

    flow_steps = 0  # from noise to latents

    def sample_prior(self, latents: Tensor, first: int = 0, last: int | None = None, **conditions: Tensor) -> Tensor:
        """Return the noise itself as latents."""
        return latents

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        return {"decoder": list(self.parameters())}

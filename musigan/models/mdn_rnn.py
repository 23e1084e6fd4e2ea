"""MDN-RNN: an LSTM that predicts the next 0.2 s as a mixture of Gaussians over latents.

Mixture density networks are Bishop's (Aston NCRG/94/004, 1994), over sequences Graves's (arXiv 1308.0850), over the
latents of an autoencoder and with a temperature Ha and Schmidhuber's (arXiv 1803.10122). Here

    roll -> encoder -> z_1 z_2 ... z_L                        a latent per `step_frames` frames, from those alone
    z_1 ... z_t -> LSTM -> mixture over z_t+1                 weights, means, deviations; stage `likelihood`
    z_1 ... z_L -> decoder -> roll                            a step sees its neighbours, so that held notes join

with these departures. One component holds for all numbers of a latent (Bishop, Graves), where World Models' code has a
mixture for each number: what sounds together is drawn together. The output layer sees the step before beside the
LSTM's state, because most steps hold what sounded. Latents are standardised by statistics kept with the weights, so
that likelihoods compare. The LSTM learns from latents with a little added noise, because its own samples have errors
too. Deviation .1 samples as well as no noise; with .3 it relies too little on its input and music shrinks to the mean.
An encoder step sees no later one, so nothing is missing where given music ends. Music is sampled at a temperature a
little below 1: on 10 s of 15 held-out songs, latents move by .64 from step to step, sampled ones by .61 at temperature
.8 and .72 at 1.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import ResidualBlock
from musigan.layers.gates import hard_gate, held, limit
from musigan.layers.packing import channels_last, pack, pad_roll, unpack
from musigan.layers.principal import Bypass, begin_with, planes_of, quiet_posterior, steps_of
from musigan.losses.likelihood import mixture_nll
from musigan.models import Family
from musigan.models.inpainting import joined
from musigan.models.protocol import Decoded, Posterior
from musigan.models.windows import in_windows
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count, CountOrNone, NotNegative, Positive

SMALLEST_DEVIATION = 0.05  # of a component, in deviations of the latents: bounds the likelihood
SLOWEST_UPDATE = 0.01  # least weight of a new batch in the latents' statistics, so that they follow the encoder
WINDOW_STEPS = 512  # steps decoded at once
DRAWN_ROLLS = 48  # by which gates are fitted
WIDEST = 4.0  # logits from a gate's middle to where notes begin, at most
FARTHEST = 8.0  # logits from 0 to a gate's middle, at most
WIDTH_HALVINGS, MIDDLE_HALVINGS, GAIN_STEPS = 6, 10, 3
MOST_GAIN = 4.0  # by which loudness is raised
SOFTEST = 0.1  # share of real sounding cells that are softer than any drawn one
MOST_SORTED = 100_000  # cells, of which that is found


@dataclass(frozen=True, config=CHECKED)
class MdnRnnSettings:
    """Sizes of the networks, and the sampling temperature."""

    step_frames: Count = 10  # frames of one latent
    patch_keys: Count = 4  # keys packed into channels
    width: Count = 64  # channels of the fine feature map
    deep_width: Count = 96  # channels of the coarse feature map (half as many rows)
    latent_dim: Count = 32  # numbers in a latent
    hidden_dim: Count = 256  # of the LSTM
    layers: Count = 1  # of the LSTM
    mixtures: Count = 16  # components
    input_noise: NotNegative = 0.1  # deviation of the noise on what the LSTM learns from, latents having 1
    temperature: Positive = 0.9  # default for sampling
    unheard_steps: CountOrNone = 25  # drawn before a piece from nothing begins


class Mixture(NamedTuple):
    """Mixtures of Gaussians with diagonal covariance.

    `logits` (B, L, M) of their weights, `means` and `log_deviations` both (B, L, M, Z).
    """

    logits: Tensor
    means: Tensor
    log_deviations: Tensor

    def sample(self, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Sample (B, L, Z): logits over the temperature, variances times it (arXiv 1803.10122, appendix A.1)."""
        weights = torch.softmax(self.logits.double() / temperature, -1).flatten(0, 1).cpu()  # (B * L, M)
        components = torch.multinomial(weights, 1, generator=rng).reshape(*self.logits.shape[:2], 1, 1)
        indices = components.expand(-1, -1, -1, self.means.shape[-1]).to(self.means.device)
        means, log_deviations = (part.gather(2, indices).squeeze(2) for part in self[1:])  # (B, L, Z)
        noise = torch.randn(means.shape, generator=rng).to(means.device)
        return means + temperature**0.5 * log_deviations.exp() * noise


class KeyBlock(nn.Module):
    """Two convolutions over neighbouring keys of the same step, with a skip: (B, D, K, L) -> (B, D, K, L)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
        self.last = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, grid: Tensor) -> Tensor:
        """Transform a feature map (B, D, K, L)."""
        return grid + self.last(F.leaky_relu(self.first(F.leaky_relu(grid, 0.2)), 0.2))


class Standardiser(nn.Module):
    """Standardiser of latents: to mean 0 and deviation 1 in each number, and back, by running statistics."""

    seen: Tensor
    mean: Tensor
    variance: Tensor
    over_ranks: ClassVar = {"mean": "mean", "variance": "mean"}

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    @torch.no_grad()
    def update(self, latents: Tensor) -> None:
        """Update the statistics with latents (B, L, Z): equal weights at first, then at least SLOWEST_UPDATE."""
        flat = latents.flatten(0, 1)
        self.seen += 1
        share = (1 / self.seen).clamp(min=SLOWEST_UPDATE)
        gap = flat.mean(0) - self.mean
        self.mean += share * gap
        # Variance of a mixture of two sets: theirs, and how far their means are apart.
        self.variance.lerp_(flat.var(0, unbiased=False), share).add_(share * (1 - share) * gap.square())

    def forward(self, latents: Tensor) -> Tensor:
        """Standardise latents (B, L, Z)."""
        return (latents - self.mean) / (self.variance + 1e-6).sqrt()

    def back(self, standard: Tensor) -> Tensor:
        """Return standardised latents (B, L, Z) to the decoder's scale."""
        return standard * (self.variance + 1e-6).sqrt() + self.mean


class Gates(nn.Module):
    """Gates of what is drawn: a key begins to sound above one logit and goes on until it falls to another.

    A decoder that hears a smeared mean of what it has learned is unsure: with a gate at 0 it plays too little, and what
    is near 0 flickers. `fit` sets gates and a gain so that drawn rolls sound as often, as long and as loud as real
    ones. Of a recording's drums they are others than of its sides.
    """

    onset: Tensor
    release: Tensor
    gain: Tensor
    softest: Tensor

    def __init__(self, shape: RollShape) -> None:
        super().__init__()
        self.shape = shape
        parts = torch.arange(shape.channels) >= shape.pitched
        for name, usual in (("onset", 0.0), ("release", 0.0), ("gain", 1.0), ("softest", 0.0)):
            self.register_buffer(name, torch.full((shape.channels, 1, 1), usual))
        self._parts = [part for part in (~parts, parts) if part.any()]

    def forward(self, loudness: Tensor, logits: Tensor) -> Tensor:
        """Return the roll (B, C, K, T) of loudness and logits of the same shape."""
        is_sounding = held(logits, self.onset, self.release)
        # The decoder learns no loudness where its own gate is shut.
        audible = limit(self.gain * loudness).clamp(min=self.softest)
        return audible * hard_gate(torch.where(is_sounding, logits.abs(), -logits.abs()))

    @torch.no_grad()
    def fit(self, loudness: Tensor, logits: Tensor, real: Tensor) -> None:
        """Fit the gates to drawn loudness and logits (B, C, K, T), so that they are as real rolls (R, C, K, T) are."""
        for part in self._parts:
            drawn, wanted = logits[:, part], real[:, part] > 0
            share, begins = wanted.float().mean(), _begins(wanted)
            low, high = 0.0, WIDEST
            for _ in range(WIDTH_HALVINGS):
                width = (low + high) / 2
                is_sounding = held(drawn, *_about(drawn, width, share))
                low, high = (width, high) if _begins(is_sounding) > begins else (low, width)
            onset, release = _about(drawn, low, share)
            self.onset[part], self.release[part] = onset, release
            wanted_loudness = _frame_loudness(real[:, part])
            sounding = real[:, part][wanted]
            self.softest[part] = (
                sounding[:: len(sounding) // MOST_SORTED + 1].quantile(SOFTEST) if len(sounding) else 0.0
            )
            self.gain[part] = 1.0
            for _ in range(GAIN_STEPS):
                now = _frame_loudness(self(loudness, logits)[:, part])
                factor = (wanted_loudness / now.clamp(min=1e-6)).sqrt()
                self.gain[part] = (self.gain[part] * factor).clamp(1 / MOST_GAIN, MOST_GAIN)


def _about(logits: Tensor, width: float, share: Tensor) -> tuple[float, float]:
    """Return the gate of `width` to either side of its middle, through which so large a share of cells sounds."""
    low, high = -FARTHEST, FARTHEST
    for _ in range(MIDDLE_HALVINGS):
        middle = (low + high) / 2
        is_fuller = held(logits, middle + width, middle - width).float().mean() > share
        low, high = (middle, high) if is_fuller else (low, middle)
    return high + width, high - width


def _begins(is_sounding: Tensor) -> Tensor:
    """Return the share of cells (B, C, K, T) in which a key begins to sound."""
    return (is_sounding[..., 1:] & ~is_sounding[..., :-1]).float().mean()


def _frame_loudness(roll: Tensor) -> Tensor:
    """Return the mean over frames of the root of the power in (B, C, K, T), whose values are roots of loudness."""
    return roll.pow(4).sum((1, 2)).sqrt().mean()


class Generator(nn.Module):
    """Encoder, mixture-density LSTM and decoder; music is sampled step by step: `extend`."""

    decoder_receptive_field = 3  # steps on either side on which a decoded step depends

    def __init__(self, settings: MdnRnnSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.shape = settings, settings, shape
        self.rows = rows = -(-shape.keys // (2 * s.patch_keys))  # of the coarse feature map
        self.padded_keys = 2 * rows * s.patch_keys
        self.token_frames, self.temperature = s.step_frames, s.temperature
        patch = shape.channels * s.patch_keys * s.step_frames

        self.key_map = nn.Parameter(torch.zeros(1, s.width, 2 * rows, 1))  # which keys these are
        self.pack_in = nn.Conv2d(patch, s.width, 1)
        self.encoder_fine = KeyBlock(s.width)
        self.encoder_down = nn.Conv2d(s.width, s.deep_width, (4, 1), stride=(2, 1), padding=(1, 0))
        self.encoder_deep = KeyBlock(s.deep_width)
        self.to_posterior = nn.Linear(rows * s.deep_width, 2 * s.latent_dim)
        cells = shape.channels * self.padded_keys * s.step_frames  # of a step
        self.encoder_bypass = Bypass(cells, s.latent_dim)

        self.standard = Standardiser(s.latent_dim)
        self.start = nn.Parameter(torch.zeros(1, 1, s.latent_dim))  # input before the first step
        self.lstm = nn.LSTM(s.latent_dim, s.hidden_dim, s.layers, batch_first=True)
        self.to_mixture = nn.Linear(s.hidden_dim + s.latent_dim, s.mixtures * (1 + 2 * s.latent_dim))

        self.from_latents = nn.Conv1d(s.latent_dim, rows * s.deep_width, 3, padding=1)
        self.decoder_deep = ResidualBlock(s.deep_width)
        self.decoder_up = nn.Conv2d(s.deep_width, 2 * s.width, (3, 1), padding=(1, 0))
        self.decoder_key_map = nn.Parameter(torch.zeros(1, s.width, 2 * rows, 1))
        self.decoder_fine = KeyBlock(s.width)
        self.pack_out = nn.Conv2d(s.width, 2 * patch, 1)
        self.decoder_bypass = Bypass(s.latent_dim, 2 * cells)
        self.key_bias = nn.Parameter(torch.zeros(1, shape.channels, self.padded_keys, 1))  # how often a key sounds
        self.gates = Gates(shape)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by their role."""
        named: dict[str, list[nn.Parameter]] = {"encoder": [], "prior": [], "decoder": []}
        prior, encoder = ("start", "lstm", "to_mixture"), ("encoder", "pack_in", "to_posterior", "key_map")
        for name, parameter in self.named_parameters():
            part = "prior" if name.startswith(prior) else "encoder" if name.startswith(encoder) else "decoder"
            named[part].append(parameter)
        return named

    def steps(self, frames: int) -> int:
        """Return the number of latents that cover `frames` frames."""
        return -(-frames // self.token_frames)

    def encode(self, roll: Tensor) -> Posterior:
        """Encode roll (B, C, K, T) as a Gaussian of its latents, (B, L, Z) each, each from its own frames alone."""
        padded = pad_roll(roll, self.padded_keys, self.steps(roll.shape[-1]) * self.token_frames)
        patches = pack(padded, self.settings.patch_keys, self.token_frames)  # (B, C*pk*pt, 2 rows, L)
        feature_map = self.pack_in(patches.contiguous(memory_format=torch.channels_last)) + self.key_map
        feature_map = self.encoder_down(F.leaky_relu(self.encoder_fine(feature_map), 0.2))  # (B, D, rows, L)
        step_features = (
            F.leaky_relu(self.encoder_deep(feature_map), 0.2).flatten(1, 2).transpose(1, 2)
        )  # (B, L, D * rows)
        mean, log_variance = self.to_posterior(step_features).chunk(2, -1)
        mean = mean + self.encoder_bypass(steps_of(roll, self.padded_keys, self.token_frames))
        return Posterior(mean, log_variance.clamp(-10.0, 4.0))

    def begin_with(self, rolls: Tensor) -> None:
        """Begin with the principal components of rolls (B, C, K, T), unless there was training before."""
        steps = steps_of(rolls, self.padded_keys, self.token_frames).flatten(0, 1)
        if not self.key_bias.any() and begin_with(self.encoder_bypass, self.decoder_bypass, steps):
            quiet_posterior(self.to_posterior)

    def decode(self, latents: Tensor, frames: int) -> Decoded:
        """Decode latents (B, L, Z) to roll (B, C, K, frames)."""
        s = self.settings
        feature_map = self.from_latents(latents.transpose(1, 2)).unflatten(
            1, (s.deep_width, self.rows)
        )  # (B, D, rows, L)
        feature_map = self.decoder_deep(feature_map.contiguous(memory_format=torch.channels_last))
        feature_map = self.decoder_up(F.leaky_relu(feature_map, 0.2))  # (B, 2W, rows, L): two rows from each
        feature_map = feature_map.unflatten(1, (2, s.width)).permute(0, 2, 3, 1, 4).flatten(2, 3)  # (B, W, 2 rows, L)
        feature_map = feature_map.contiguous(memory_format=torch.channels_last) + self.decoder_key_map
        outputs = self.pack_out(F.leaky_relu(self.decoder_fine(feature_map), 0.2)).chunk(2, 1)
        loudness, logits = (unpack(part, self.shape.channels, s.patch_keys, s.step_frames) for part in outputs)
        straight, straight_logits = planes_of(self.decoder_bypass(latents), self.shape.channels, self.token_frames)
        loudness, logits = loudness + straight, logits + straight_logits + self.key_bias
        loudness, logits = (part[:, :, : self.shape.keys, :frames] for part in (loudness, logits))
        return Decoded(limit(loudness) * hard_gate(logits), logits, loudness)

    def predict(self, before: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Mixture, tuple]:
        """Predict mixtures over the latents after each of `before` (B, L, Z), standardised, and the LSTM's state."""
        s = self.settings
        hidden, state = self.lstm(before, state)  # (B, L, H)
        outputs = self.to_mixture(torch.cat((hidden, before), -1))
        logits, means, raw_deviations = outputs.split(
            (s.mixtures, s.mixtures * s.latent_dim, s.mixtures * s.latent_dim), -1
        )
        shape = (s.mixtures, s.latent_dim)
        log_deviations = (F.softplus(raw_deviations) + SMALLEST_DEVIATION).log()
        return Mixture(logits, means.unflatten(-1, shape), log_deviations.unflatten(-1, shape)), state

    def likelihood(self, roll: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Return {"nll"} of the latents of real rolls (B, C, K, T), sampled from their posteriors, given those before.

        In training the latents' statistics are updated and the LSTM's input, but not its target, is noisy; in
        validation neither happens.
        """
        with torch.no_grad():
            mean, log_variance = self.encode(roll)
            noise = torch.randn(mean.shape, generator=rng).to(mean.device)
            latents = mean + (0.5 * log_variance).exp() * noise
            if self.training:
                self.standard.update(latents)
            latents = self.standard(latents)
            inputs = latents[:, :-1]
            if self.training:
                inputs = inputs + self.settings.input_noise * torch.randn(inputs.shape, generator=rng).to(inputs.device)
        before = torch.cat((self.start.expand(len(inputs), -1, -1), inputs), 1)  # (B, L, Z)
        return {"nll": mixture_nll(*self.predict(before)[0], latents)}

    def extend(self, past: Tensor | None, frames: int, rng: torch.Generator, temperature: float) -> Tensor:
        """Sample the roll after `past` (1, C, K, P), or from nothing, at `temperature`: (1, C, K, frames).

        The past counts as far back as a training roll is long.
        """
        if past is None:
            return self._sounding(self._from_nothing(1, self.steps(frames), rng, temperature))[..., :frames]
        context = past[..., -self.shape.frames :]
        context = F.pad(context, (-context.shape[-1] % self.token_frames, 0))  # the last step ends where the past does
        before = torch.cat((self.start, self.standard(self.encode(context).mean)), 1)
        latents = self._sampled(before, self.steps(frames), rng, temperature)
        decoded = self._sounding(latents, before.shape[1] - 2)
        return joined(past, decoded[..., self.token_frames - 1 :])[..., :frames]

    def _from_nothing(self, batch: int, steps: int, rng: torch.Generator, temperature: float) -> Tensor:
        """Sample latents (batch, steps, Z) of pieces, on the decoder's scale.

        The first steps are those of no song: the mixture of all beginnings is wider than what follows, and too full. So
        `unheard_steps` of them come before the piece.
        """
        unheard = self.settings.unheard_steps
        return self._sampled(self.start.expand(batch, -1, -1), unheard + steps, rng, temperature)[:, unheard:]

    def _sampled(self, before: Tensor, steps: int, rng: torch.Generator, temperature: float) -> Tensor:
        """Sample the `steps` latents that follow those `before` (B, L, Z), standardised, the first being the start.

        Return all but the start, on the decoder's scale.
        """
        latents = [before[:, 1:]]
        mixture, state = self.predict(before)
        for index in range(steps):
            if index:
                mixture, state = self.predict(latents[-1], state)
            latents.append(Mixture(*(part[:, -1:] for part in mixture)).sample(rng, temperature))
        return self.standard.back(torch.cat(latents, 1))

    def _planes(self, latents: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
        """Decode latents (B, L, Z) from step `first` on to loudness and logits, (B, C, K, T) each, in windows."""

        def decode(low: int, high: int) -> Tensor:
            decoded = self.decode(latents[:, low:high], (high - low) * self.token_frames)
            assert decoded.loudness is not None
            return torch.cat((decoded.loudness, decoded.logits), 1)

        planes = in_windows(decode, latents.shape[1], WINDOW_STEPS, self.decoder_receptive_field, first)
        loudness, logits = planes.chunk(2, 1)
        return loudness, logits

    def _sounding(self, latents: Tensor, first: int = 0) -> Tensor:
        """Decode latents (B, L, Z) from step `first` on to what sounds, (B, C, K, T)."""
        return self.gates(*self._planes(latents, first))

    @torch.no_grad()
    def balance(self, real: Tensor, rng: torch.Generator) -> None:
        """Fit the gates to drawn rolls, so that they are as `real` ones (B, C, K, T) are."""
        steps = self.steps(real.shape[-1])
        latents = self._from_nothing(DRAWN_ROLLS, steps, rng, self.temperature)
        self.gates.fit(*self._planes(latents), real)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state; checkpoints older than the gates sound wherever a logit is above 0."""
        for name, usual in self.gates.state_dict().items():
            state_dict.setdefault(f"{prefix}gates.{name}", usual)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def build(settings: MdnRnnSettings, shape: RollShape) -> nn.ModuleDict:
    """Build the generator for rolls of `shape`; there is no critic."""
    return channels_last(nn.ModuleDict({"generator": Generator(settings, shape)}))


FAMILY = Family(
    name="mdn-rnn",
    stages=("variational", "likelihood"),
    summary="an LSTM with a mixture density over latents: true likelihoods, temperature, goes on from your own music",
    paper="Bishop 1994; Graves, arXiv 1308.0850; Ha and Schmidhuber, arXiv 1803.10122",
    settings=MdnRnnSettings,
    build=build,
    defaults={"epochs": 120, "batch_size": 8, "variational": {"learning_rate": 2e-3}},
    losses={"nll": 1.0, "kl": 0.01},
    formerly={"unheard_steps": 0},
    extends=True,
    takes_temperature=True,
)

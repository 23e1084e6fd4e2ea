from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from musigan.losses import adversarial, likelihood, musical, translation


def test_kl_by_hand() -> None:
    mean, log_variance = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, math.log(0.5)]]])
    expected = (0.5 * 4 + 0.5 * (0.5 - 1 - math.log(0.5))) / 2
    assert likelihood.kl_divergence(mean, log_variance).item() == pytest.approx(expected)
    second = 0.5 * (0.5 - 1 - math.log(0.5))
    assert second < 0.3
    assert likelihood.kl_divergence(mean, log_variance, 0.3).item() == pytest.approx((2 + 0.3) / 2)


def test_reconstruction_by_hand() -> None:
    target = torch.tensor([[[[0.0, 0.5, 1.0, 0.5]]]])
    roll = torch.tensor([[[[0.0, 0.45, 0.6, 0.5]]]])
    expected = (0.05**2 / 0.2 + (0.4 - 0.05)) / 4 / 0.51
    assert likelihood.reconstruction(roll, target).item() == pytest.approx(expected, rel=1e-5)


def test_activity_by_hand() -> None:
    value = likelihood.activity(torch.tensor([[[[1.0, -2.0]]]]), torch.tensor([[[[0.01, 0.0]]]]))
    assert value.item() == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(-2))) / 2)


def test_mixture_likelihood_by_hand() -> None:
    """Two components, two numbers: weights 3 to 1, the second step right on the mean of the rarer one."""
    logits = torch.tensor([[[math.log(3.0), 0.0]] * 2])  # (1, 2, 2)
    means = torch.tensor([[[[0.0, 1.0], [4.0, -2.0]]] * 2])  # (1, 2, 2, 2)
    deviations = torch.tensor([[[[1.0, 2.0], [0.5, 0.25]]] * 2])
    target = torch.tensor([[[1.0, 2.0], [4.0, -2.0]]])

    def normal(value: float, mean: float, deviation: float) -> float:
        return math.exp(-0.5 * ((value - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))

    first = 0.75 * normal(1, 0, 1) * normal(2, 1, 2) + 0.25 * normal(1, 4, 0.5) * normal(2, -2, 0.25)
    second = 0.75 * normal(4, 0, 1) * normal(-2, 1, 2) + 0.25 * normal(4, 4, 0.5) * normal(-2, -2, 0.25)
    expected = -(math.log(first) + math.log(second)) / 2 / 2
    assert likelihood.mixture_nll(logits, means, deviations.log(), target).item() == pytest.approx(expected, rel=1e-5)


def test_mixture_likelihood_is_that_of_torch() -> None:
    rng = torch.Generator().manual_seed(3)
    logits, target = torch.randn(2, 5, 4, generator=rng), 2 * torch.randn(2, 5, 3, generator=rng)
    means, log_deviations = torch.randn(2, 2, 5, 4, 3, generator=rng)
    components = torch.distributions.Independent(torch.distributions.Normal(means, log_deviations.exp()), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), components)
    expected = -mixture.log_prob(target).mean() / 3
    torch.testing.assert_close(likelihood.mixture_nll(logits, means, log_deviations, target), expected)


def test_mixture_likelihood_far_away_is_finite() -> None:
    """Where every density is 0 in float32 the logarithm is not, nor is the way back."""
    means = torch.zeros(1, 1, 2, 3, requires_grad=True)
    value = likelihood.mixture_nll(torch.zeros(1, 1, 2), means, torch.zeros(1, 1, 2, 3), torch.full((1, 1, 3), 60.0))
    value.backward()
    assert value.item() == pytest.approx(1800 + 0.5 * math.log(2 * math.pi), rel=1e-5)
    assert means.grad is not None
    assert means.grad.sum().item() == pytest.approx(-60.0, rel=1e-3)


def test_adversarial_losses_by_hand() -> None:
    real, fake = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    softplus = torch.nn.functional.softplus
    bce = 0.9 * softplus(torch.tensor(-2.0)) + 0.1 * softplus(torch.tensor(2.0)) + softplus(torch.tensor(-1.0))
    assert adversarial.bce_critic(real, fake, 0.1).item() == pytest.approx(bce.item())
    assert adversarial.bce_generator(real, fake).item() == pytest.approx(math.log1p(math.e))
    assert adversarial.hinge_critic(real, fake / 2).item() == pytest.approx(0.5)
    assert adversarial.hinge_generator(real, fake).item() == 1.0
    assert adversarial.relativistic_critic(real, fake).item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)
    assert adversarial.relativistic_generator(real, fake).item() == pytest.approx(math.log1p(math.exp(3)))


@pytest.mark.parametrize("name", adversarial.ADVERSARIES)
def test_each_half_wants_the_opposite(name: str) -> None:
    chosen = adversarial.ADVERSARIES[name]
    real, fake = torch.zeros(3, 1, requires_grad=True), torch.zeros(3, 1, requires_grad=True)
    chosen.critic(real, fake, 0.0).backward()
    assert real.grad is not None
    assert (real.grad < 0).all()
    assert fake.grad is not None
    assert (fake.grad > 0).all()
    fake.grad = None
    chosen.generator(real, fake, 0.0).backward()
    assert (fake.grad < 0).all()


def test_smoothness_estimates_the_squared_gradient() -> None:
    slope = torch.tensor([3.0, 0.0, 4.0])
    inputs = torch.zeros(20000, 3)
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    flat, moved = (inputs @ slope)[:, None], ((inputs + 0.01 * noise) @ slope)[:, None]
    assert adversarial.approximate_penalty(flat, moved, 0.01).item() == pytest.approx(25, rel=0.05)


def test_feature_matching() -> None:
    real = [torch.randn(5, 4, 3) + 2, torch.randn(5, 2)]
    assert adversarial.feature_matching(real, real).item() == 0
    shuffled = [layer.flip(0) for layer in real]
    assert adversarial.feature_matching(real, shuffled).item() == pytest.approx(0, abs=1e-6)
    assert adversarial.feature_matching(real, [layer + 1 for layer in real]).item() > 0.3


def rolls(songs: int = 5) -> torch.Tensor:
    """A held bass under a melody with short rests, (B, 2, 13, 230): other keys in each song, the left louder."""
    roll = torch.zeros(songs, 2, 13, 230)
    for song in range(songs):
        roll[song, :, song % 3, 4:225] = 0.6
        for note, start in enumerate(range(0, 220, 22)):
            roll[song, :, 5 + (3 * note + 2 * song) % (5 + song % 3), start + 2 : start + 22] = 0.9 - 0.05 * song
    roll[:, 1] *= 0.5
    return roll


def halted(roll: torch.Tensor) -> torch.Tensor:
    roll[..., 30:55] = 0
    return roll


def paused(roll: torch.Tensor) -> torch.Tensor:
    roll[..., 60:200] = 0
    return roll


def stuck(roll: torch.Tensor) -> torch.Tensor:
    roll[:, :, 4] = 0.6
    return roll


def flattened(roll: torch.Tensor) -> torch.Tensor:
    return 0.1 * roll + 0.9 * roll.mean(3, keepdim=True)


def flickering(roll: torch.Tensor) -> torch.Tensor:
    roll[..., ::2] = 0
    return roll


def droning(roll: torch.Tensor) -> torch.Tensor:
    roll[:, :, 9] = roll[:, :, 5:].amax(2)
    roll[:, :, 10:] = 0
    return roll


def leaping(roll: torch.Tensor) -> torch.Tensor:
    for start in range(0, 230, 10):
        roll[:, :, 3:, start : start + 10] = 0
        roll[:, :, 12 if start % 20 else 3, start : start + 10] = 0.8
    return roll


def humming(roll: torch.Tensor) -> torch.Tensor:
    return roll + 0.05


def gentle(roll: torch.Tensor) -> torch.Tensor:
    """No note is struck harder than 0.4: each as long and as loud on the whole as before."""
    soft = roll.clamp(max=0.4)
    return soft + (roll - soft).mean(3, keepdim=True)


def alike(roll: torch.Tensor) -> torch.Tensor:
    return 0.1 * roll + 0.9 * roll[:1]


FAULTS = [
    ("no_silence", halted), ("no_seconds", paused), ("density", stuck), ("deviation", flattened),
    ("motion", flickering), ("melody", droning), ("melody", leaping), ("statistics", humming), ("statistics", gentle),
    ("song_divergence", alike),
]  # fmt: skip


def value_and_gradient(name: str, fake: torch.Tensor, real: torch.Tensor) -> tuple[float, torch.Tensor]:
    fake = fake.clone().requires_grad_()
    value = musical.MUSICAL[name](fake, real)
    assert value.shape == ()
    (gradient,) = torch.autograd.grad(value, fake)
    return value.item(), gradient


def test_every_musical_loss_has_its_fault() -> None:
    assert {name for name, _ in FAULTS} == set(musical.MUSICAL)


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_musical_loss_rises_with_its_fault(name: str, fault: Any) -> None:
    real = rolls()
    assert musical.MUSICAL[name](real, real).item() == pytest.approx(0, abs=1e-6)
    faulty = fault(real.clone())
    value, gradient = value_and_gradient(name, faulty, real)
    assert value > 0.1
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 1e-3
    halfway, _ = value_and_gradient(name, 0.5 * (faulty + real), real)
    assert 1e-3 < halfway < value
    # A small step against the gradient mends it.
    better, _ = value_and_gradient(name, faulty - 1e-3 * gradient / gradient.abs().max(), real)
    assert better < value


@pytest.mark.parametrize(("name", "fault"), [pair for pair in FAULTS if pair[1] is not alike])
def test_musical_loss_hears_every_song(name: str, fault: Any) -> None:
    """The fault in any one song of the batch shows, whichever it is."""
    real = rolls()
    for song in range(len(real)):
        fake = real.clone()
        fake[song] = fault(real.clone())[song]
        value, gradient = value_and_gradient(name, fake, real)
        assert value > 0.01
        assert gradient[song].abs().sum() > 0


@pytest.mark.parametrize("name", musical.MUSICAL)
def test_musical_loss_takes_any_batch(name: str) -> None:
    """Batches of 1 and of odd size, short rolls, silence on either side; the order of songs does not matter."""
    for songs, frames in ((1, 230), (3, 31), (4, 230), (2, 2)):
        real = rolls(songs)[..., 5 : 5 + frames]
        fake = stuck(real.flip(3).clone())
        for left, right in ((fake, real), (torch.zeros_like(real), real), (fake, torch.zeros_like(real))):
            value, gradient = value_and_gradient(name, left, right)
            assert math.isfinite(value)
            assert gradient.isfinite().all()
        one, other = musical.MUSICAL[name](fake.flip(0), real), musical.MUSICAL[name](fake, real.flip(0))
        torch.testing.assert_close(one, musical.MUSICAL[name](fake, real))
        torch.testing.assert_close(other, musical.MUSICAL[name](fake, real))


@pytest.mark.parametrize("name", musical.MUSICAL)
def test_musical_loss_has_the_gradient_of_its_value(name: str) -> None:
    rng = torch.Generator().manual_seed(1)
    real = torch.rand(3, 2, 5, 60, generator=rng, dtype=torch.float64)
    fake = (0.1 * torch.rand(real.shape, generator=rng, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda roll: musical.MUSICAL[name](roll, real), fake, eps=1e-7, fast_mode=True)


@pytest.mark.parametrize("name", musical.MUSICAL)
def test_musical_loss_tells_time_from_keys(name: str) -> None:
    """Played backwards a song costs what it did; with keys reversed only what knows of keys changes."""
    real = rolls()
    fake, loss = stuck(paused(real.clone())), musical.MUSICAL[name]
    torch.testing.assert_close(loss(fake.flip(3), real), loss(fake, real))
    torch.testing.assert_close(loss(fake.flip(1), real.flip(1)), loss(fake, real))
    upside_down = (loss(fake.flip(2), real) - loss(fake, real)).abs().item()
    knows_keys = ("density", "deviation", "melody", "statistics")
    assert upside_down > 1e-2 if name in knows_keys else upside_down < 1e-5


def test_half_a_second_is_no_second() -> None:
    """A gap is deep to `no_silence` however short, and long to `no_seconds`."""
    real = rolls()
    short, long = halted(real.clone()), paused(real.clone())
    assert musical.no_silence(short, real).item() == pytest.approx(musical.no_silence(long, real).item(), rel=0.01)
    assert 20 * musical.no_seconds(short, real).item() < musical.no_seconds(long, real).item()


def test_no_seconds_by_hand() -> None:
    real = torch.full((1, 1, 2, 100), 0.5)
    fake = real.clone()
    fake[..., :60] = 0
    partly = sum(math.exp(-10 * sounding / 50) for sounding in range(1, 41))
    assert musical.no_seconds(fake, real).item() == pytest.approx((11 + partly) / 51, rel=2e-3)
    assert musical.no_seconds(real, fake).item() == 0


def test_melodic_motion_by_hand() -> None:
    roll = torch.zeros(2, 2, 9, 80)
    roll[0, 0, 2, :40] = 2.0
    roll[0, 1, 6, 40:] = 2.0
    expected = [10 * 4 / 71, 25 * 4 / 56, 30 * 4 / 31]
    torch.testing.assert_close(musical.melodic_motion(roll)[0], torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert not musical.melodic_motion(roll)[1].any()
    below, above = roll.clone(), roll.clone()
    below[0, 0, 1] = above[0, 0, 7] = 2.0
    torch.testing.assert_close(musical.melodic_motion(below), musical.melodic_motion(roll), atol=1e-4, rtol=1e-4)
    assert musical.melodic_motion(above).max() < 1e-4


def test_heard_by_hand() -> None:
    roll = torch.zeros(1, 2, 3, 2)
    roll[0, 0, 1, 0], roll[0, 1, 2, 0] = 0.1, 0.2
    expected = torch.tensor([[1 - math.exp(-3), 0.0], [1 - math.exp(-3), 0.0], [1 - math.exp(-2), 0.0]])
    torch.testing.assert_close(musical.highest_key_probability(roll)[0], expected)
    assert musical.silence(roll).item() == pytest.approx((math.exp(-3) + 1) / 2)


def test_statistics_by_hand() -> None:
    real, fake = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    real[0, 0, 1] = torch.tensor([0.2, 0.4, 0.4, 0.6])  # minimum .2, maximum .6, mean .4; over both keys .2 and .3
    fake[0, 0, 1] = torch.tensor([0.1, 0.1, 0.2, 0.8])
    expected = ((0.1 / 2) / 0.201 + (0.2 / 2) / 0.301 + (0.1 / 2) / 0.201) / 3
    assert musical.statistics(fake, real).item() == pytest.approx(expected, rel=1e-5)


def test_song_divergence_by_hand() -> None:
    real = torch.zeros(2, 1, 2, 3)
    real[0, 0, 0], real[1, 0, 1], real[1, 0, 0] = 0.6, 0.3, 0.1
    floor = 0.05 * 0.25 + 1e-4

    def divergence(use: list[list[float]]) -> float:
        p, q = ([(x + floor) / (sum(song) + 2 * floor) for x in song] for song in use)
        pairs = zip((*p, *q), (*q, *p), strict=True)
        return sum(a * math.log(a / b) for a, b in pairs) / 2

    nats = divergence([[0.6, 0.0], [0.1, 0.3]])
    assert nats > 0.5
    fake = torch.full_like(real, 0.2)
    assert musical.song_divergence(fake, real).item() == pytest.approx(nats / (nats + 0.01), rel=1e-4)
    fake[0, 0, 0] = 0.4
    less = divergence([[0.4, 0.2], [0.2, 0.2]])
    assert musical.song_divergence(fake, real).item() == pytest.approx((nats - less) / (nats + 0.01), rel=1e-4)


@pytest.mark.parametrize("name", musical.HEAD_LOSSES)
def test_told_is_held_to_the_roll(name: str) -> None:
    """An error in what is told of any song counts; what is true costs nothing."""
    roll = paused(rolls())
    roll[2] = 0
    truth = musical.silence(roll) if name == "silence" else musical.melodic_motion(roll).mean(1) / 12
    assert musical.HEAD_LOSSES[name](truth[:, None], roll).item() == pytest.approx(0, abs=1e-6)
    for song in range(len(roll)):
        wrong = truth.clone()
        wrong[song] -= 0.5
        assert musical.HEAD_LOSSES[name](wrong[:, None], roll).item() == pytest.approx(
            (0.5 - 0.05) / len(roll), rel=1e-4
        )


def test_harmony_of_near_silence_has_a_bounded_slope() -> None:
    """Without bounds it was a million times that of music, and training diverged."""
    song = torch.rand(1, 2, 24, 40, generator=torch.Generator().manual_seed(1))
    slopes = []
    for loudness in (1e-6, 1.0):
        roll = (loudness * song.flip(2)).requires_grad_(True)
        translation.harmony(roll, song).backward()
        slopes.append(float(roll.grad.abs().max()))
    assert slopes[0] < 1000 * slopes[1]

from __future__ import annotations

import math

import pytest
import torch

from musigan.losses import adversarial, likelihood, musical


def rolls(songs: int = 3) -> torch.Tensor:
    """Held notes, (B, 2, 7, 80): other keys in each song, the left channel louder."""
    roll = torch.zeros(songs, 2, 7, 80)
    for song in range(songs):
        roll[song, :, song + 1, 3:60] = 0.8
        roll[song, :, song + 3, 30:75] = 0.5
    roll[:, 1] *= 0.5
    return roll


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
    assert adversarial.smoothness(flat, moved, 0.01).item() == pytest.approx(25, rel=0.05)


def test_feature_matching() -> None:
    real = [torch.randn(5, 4, 3) + 2, torch.randn(5, 2)]
    assert adversarial.feature_matching(real, real).item() == 0
    shuffled = [layer.flip(0) for layer in real]
    assert adversarial.feature_matching(real, shuffled).item() == pytest.approx(0, abs=1e-6)
    assert adversarial.feature_matching(real, [layer + 1 for layer in real]).item() > 0.3


def silenced(roll: torch.Tensor) -> torch.Tensor:
    faulty = roll.clone()
    faulty[..., 30:55] = 0
    return faulty


def stuck(roll: torch.Tensor) -> torch.Tensor:
    faulty = roll.clone()
    faulty[:, :, 6] = 0.6
    return faulty


def flattened(roll: torch.Tensor) -> torch.Tensor:
    return roll.mean(3, keepdim=True).expand_as(roll).clone()


def flickering(roll: torch.Tensor) -> torch.Tensor:
    faulty = roll.clone()
    faulty[..., ::2] = 0
    return faulty


@pytest.mark.parametrize(
    ("name", "fault"),
    [("no_silence", silenced), ("density", stuck), ("deviation", flattened), ("motion", flickering)],
)
def test_musical_loss_rises_with_its_fault(name: str, fault) -> None:
    real = rolls()
    loss = musical.MUSICAL[name]
    assert loss(real, real).item() == pytest.approx(0, abs=1e-6)
    assert loss(real.flip(0), real).item() == pytest.approx(0, abs=1e-6)
    faulty = fault(real).requires_grad_()
    value = loss(faulty, real)
    assert value.item() > 0.1
    value.backward()
    assert faulty.grad is not None
    assert faulty.grad.abs().sum() > 0
    silence = torch.zeros_like(real)
    assert torch.isfinite(loss(silence, real))
    assert torch.isfinite(loss(real, silence))

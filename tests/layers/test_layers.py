from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musigan.layers import attention, convolution, critics, gates, packing


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_unpack_undoes_pack(channels: int, rows: int, columns: int, patch_keys: int, patch_frames: int) -> None:
    roll = torch.randn(2, channels, rows * patch_keys, columns * patch_frames)
    packed = packing.pack(roll, patch_keys, patch_frames)
    assert packed.shape == (2, channels * patch_keys * patch_frames, rows, columns)
    assert torch.equal(packing.unpack(packed, channels, patch_keys, patch_frames), roll)


def test_pack_keeps_places() -> None:
    roll = torch.zeros(1, 2, 6, 8)
    roll[0, 1, 5, 2] = 1.0
    packed = packing.pack(roll, 3, 4)
    assert packed.sum() == 1
    assert packed[0, :, 1, 0].sum() == 1  # keys 3 to 5, frames 0 to 3


def test_hard_gate_is_exact_and_passes_gradient() -> None:
    logits = torch.tensor([-3.0, -0.1, 0.2, 4.0], requires_grad=True)
    gate = gates.hard_gate(logits)
    assert gate.detach().tolist() == pytest.approx([0, 0, 1, 1])
    assert ((gate.detach() == 0) == (logits < 0)).all()
    gate.sum().backward()
    assert (logits.grad > 0).all()


def test_limit_lets_values_come_back() -> None:
    values = torch.tensor([-0.5, -0.5, 0.4, 1.5, 1.5], requires_grad=True)
    out = gates.limit(values)
    assert out.detach().tolist() == pytest.approx([0, 0, 0.4, 1, 1])
    out.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert values.grad.tolist() == [0, -1, 1, 1, 0]


def test_transformer_knows_order_and_reach() -> None:
    torch.manual_seed(0)
    net = attention.Transformer(width=8, layers=1, heads=2, reach=2, style_dim=3).eval()
    tokens, style = torch.randn(1, 9, 8), torch.randn(1, 3)
    moved = net(tokens.roll(1, 1), style)
    assert not torch.allclose(moved, net(tokens, style).roll(1, 1), atol=1e-4)
    swapped = tokens[:, [0, 1, 2, 5, 4, 3, 6, 7, 8]]
    assert not torch.allclose(net(swapped, style)[:, 4], net(tokens, style)[:, 4], atol=1e-5)
    far = tokens.clone()
    far[:, 8] = torch.randn(8)
    torch.testing.assert_close(net(far, style)[:, :6], net(tokens, style)[:, :6])
    assert not torch.allclose(net(far, style)[:, 6], net(tokens, style)[:, 6])


def test_transformer_hears_style() -> None:
    net = attention.Transformer(width=8, layers=1, heads=2, reach=4, style_dim=3)
    tokens = torch.randn(1, 5, 8)
    assert not torch.allclose(net(tokens, torch.zeros(1, 3)), net(tokens, torch.ones(1, 3)))


def test_minibatch_deviation_tells_lookalikes() -> None:
    same = torch.ones(4, 6)
    varied = torch.randn(4, 6)
    assert critics.minibatch_deviation(same).max() < 1e-3
    assert critics.minibatch_deviation(varied).min() > 0.1
    both = critics.minibatch_deviation(torch.cat((same, varied)))
    assert both[:4].max() < 1e-3 < 0.1 < both[4:].min()


def test_minibatch_discrimination_by_hand() -> None:
    layer = critics.MinibatchDiscrimination(1, 1, 1)
    torch.nn.init.ones_(layer.project.weight)
    out = layer(torch.tensor([[0.0], [0.0], [1.0]]))
    close = torch.exp(torch.tensor(-1.0)).item()
    expected = torch.tensor([(1 + close) / 2, (1 + close) / 2, close])
    torch.testing.assert_close(out[:, 1], expected)


def test_blocks_start_as_they_should() -> None:
    grid = torch.randn(2, 5, 7, 9)
    assert torch.equal(convolution.ResidualBlock(5)(grid), grid)
    assert convolution.DownBlock(5, 6)(grid).shape == (2, 6, 4, 5)
    assert torch.isfinite(convolution.ResidualBlock(5, spectral=True)(grid)).all()


def test_gaussian_filter_is_a_gaussian_of_its_widths() -> None:
    """An impulse becomes a Gaussian, wide in frames and narrow in keys; the other channel stays silent."""
    roll = torch.zeros(2, 2, 20, 60)
    roll[1, 0, 8, 30] = 3.0
    blurred = convolution.GaussianFilter(width_keys=0.8, width_frames=2.5)(roll).detach()
    assert blurred.shape == roll.shape
    assert not blurred[0].any()
    assert not blurred[1, 1].any()
    keys, frames = torch.arange(20)[:, None] - 8, torch.arange(60)[None] - 30
    expected = torch.exp(-0.5 * ((keys / 0.8) ** 2 + (frames / 2.5) ** 2))
    torch.testing.assert_close(blurred[1, 0], 3 * expected / expected.sum(), atol=1e-4, rtol=2e-2)


@pytest.mark.parametrize("shape", [(1, 1, 20, 60), (2, 3, 5, 7), (1, 2, 1, 1)])
def test_gaussian_filter_loses_nothing(shape: tuple[int, ...]) -> None:
    """Each channel sounds as much as before, its edges included, however small the plane."""
    roll = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.1
    blurred = convolution.GaussianFilter(1.7, 3.5)(roll)
    torch.testing.assert_close(blurred.sum((2, 3)), roll.sum((2, 3)))
    assert (blurred > 0).all()


def test_gaussian_filter_of_no_width_changes_nothing() -> None:
    gaussian = convolution.GaussianFilter()
    with torch.no_grad():
        gaussian.width_logits.fill_(-200.0)
    roll = torch.rand(2, 1, 9, 11)
    torch.testing.assert_close(gaussian(roll), roll)
    gaussian(roll).square().sum().backward()
    assert gaussian.width_logits.grad is not None
    assert gaussian.width_logits.grad.isfinite().all()


def test_gaussian_filter_learns_both_widths() -> None:
    """Gradient descent finds the widths that made its target, each along its own axis."""
    roll = torch.rand(1, 1, 24, 40, generator=torch.Generator().manual_seed(0))
    target = convolution.GaussianFilter(0.7, 2.0)(roll).detach()
    gaussian = convolution.GaussianFilter(1.0, 1.0)
    optimiser = torch.optim.Adam(gaussian.parameters(), lr=0.05)
    for _ in range(80):
        optimiser.zero_grad()
        (1000 * (gaussian(roll) - target).square().mean()).backward()
        optimiser.step()
    torch.testing.assert_close(gaussian.widths().detach(), torch.tensor([0.7, 2.0]), atol=0.05, rtol=0)


def test_transformer_remembers_what_stands_in_front() -> None:
    """As one pass over both in which the tokens in front see each other alone; and no farther back than its reach."""
    torch.manual_seed(0)
    transformer = attention.Transformer(8, 3, 2, reach=6, style_dim=4).eval()
    front, tokens, style = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 4)
    place = torch.arange(12)
    mask = (place[:, None] - place[None]).abs() <= 6
    mask[:5, 5:] = False
    both = torch.cat((front, tokens), 1)
    for layer in transformer.layers:
        both = layer(both, style, mask)
    found = transformer(tokens, style, transformer.cache_keys_values(front, style))
    torch.testing.assert_close(found, both[:, 5:])
    assert not torch.allclose(found, transformer(tokens, style))

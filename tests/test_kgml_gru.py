"""The fast GRU against torch's, forward and backward, and against finite differences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fieldflux.models.kgml.gru import GRU
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _pair(inputs: int, hidden: int, layers: int) -> tuple[nn.GRU, GRU]:
    torch.manual_seed(hidden + layers)
    theirs, ours = nn.GRU(inputs, hidden, layers, batch_first=True), GRU(inputs, hidden, layers)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def _gradients(model: nn.Module, x: Tensor, h0: Tensor, dy: Tensor, dh: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    x, h0 = x.detach().requires_grad_(), h0.detach().requires_grad_()
    y, h = model(x, h0)
    return [y, h], list(torch.autograd.grad((y * dy).sum() + (h * dh).sum(), [x, h0, *model.parameters()]))


def _close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        a, b = a.detach(), b.detach()
        assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("cells", "days", "inputs", "hidden", "layers"),
    [
        (1, 1, 1, 16, 1),
        (2, 30, 19, 32, 2),
        (7, 20, 16, 48, 1),
        (61, 40, 19, 64, 2),
        (30, 9, 40, 64, 3),
        (5, 6, 3, 20, 2),
    ],
)
def test_it_is_torchs_gru(cells: int, days: int, inputs: int, hidden: int, layers: int, threads: int) -> None:
    torch.set_num_threads(threads)
    theirs, ours = _pair(inputs, hidden, layers)
    x, h0 = torch.randn(cells, days, inputs), torch.randn(layers, cells, hidden)
    dy, dh = torch.randn(cells, days, hidden), torch.randn(layers, cells, hidden)
    (expected, slopes), (got, ours_slopes) = _gradients(theirs, x, h0, dy, dh), _gradients(ours, x, h0, dy, dh)
    _close(got, expected)
    _close(ours_slopes, slopes)
    with torch.no_grad():  # the path that keeps nothing
        _close(list(ours(x, h0)), expected)
        _close(list(ours(x)), list(theirs(x)))


def test_large_values_and_not_a_number() -> None:
    theirs, ours = _pair(19, 32, 1)
    x = 1000.0 * torch.randn(4, 10, 19)
    x[1, 3] = float("nan")
    for y, expected in ((ours(x)[0], theirs(x)[0]), (ours.requires_grad_(False)(x)[0], theirs(x)[0])):
        assert torch.equal(y.isnan(), expected.isnan())
        assert bool(y[1, 3:].isnan().all())
        _close([y.nan_to_num()], [expected.nan_to_num()])


def test_slopes_against_finite_differences() -> None:
    ours = GRU(3, 4, 2).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in ours.named_parameters()]

    def run(x: Tensor, h0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        y, h = torch.func.functional_call(ours, dict(zip(names, weights, strict=True)), (x, h0))
        return y, h

    assert torch.autograd.gradcheck(run, (x, h0, *ours.parameters()))


def test_single_precision_agrees_with_double() -> None:
    theirs, ours = _pair(19, 64, 2)
    x, h0 = torch.randn(40, 365, 19), torch.randn(2, 40, 64)
    dy, dh = torch.randn(40, 365, 64), torch.randn(2, 40, 64)
    _, got = _gradients(ours, x, h0, dy, dh)
    _, expected = _gradients(theirs.double(), x.double(), h0.double(), dy.double(), dh.double())
    _close(got, [e.float() for e in expected])


def test_a_year_in_pieces_is_the_year() -> None:
    _, ours = _pair(19, 64, 2)
    x = torch.randn(31, 90, 19)
    whole, last = ours(x)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            h, pieces = None, []
            for start, stop in ((0, 1), (1, 40), (40, 90)):
                y, h = ours(x[:, start:stop], h)
                pieces.append(y)
            assert h is not None
            _close([torch.cat(pieces, 1), h], [whole, last])


def test_the_start_is_not_written_to() -> None:
    _, ours = _pair(4, 16, 1)
    h0 = torch.zeros(1, 3, 16)
    with torch.no_grad():
        ours(torch.randn(3, 5, 4), h0)
    assert not bool(h0.any())


def test_odd_strides() -> None:
    theirs, ours = _pair(6, 16, 2)
    for x in (
        torch.randn(6, 12, 5).transpose(0, 2),
        torch.randn(12, 5, 6).transpose(0, 1),
        torch.randn(5, 1, 6).expand(5, 12, 6),
        torch.randn(10, 24, 12)[::2, ::2, ::2],
    ):
        _close([ours(x)[0]], [theirs(x)[0]])
        for model in (theirs, ours):
            model.zero_grad()
            model(x)[0].sum().backward()
        _close([p.grad for p in ours.parameters() if p.grad is not None], [p.grad for p in theirs.parameters()])


def test_frozen_parts_get_no_gradient_and_change_no_other() -> None:
    theirs, ours = _pair(19, 32, 2)
    for model in (theirs, ours):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in ("bias_hh_l0", "weight_ih_l1"))
        model(torch.ones(3, 8, 19))[0].square().sum().backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad is None) == (name not in ("bias_hh_l0", "weight_ih_l1"))
        if a.grad is not None and b.grad is not None:
            _close([a.grad], [b.grad])


def test_a_graph_can_be_walked_twice() -> None:
    _, ours = _pair(5, 16, 1)
    loss = ours(torch.randn(3, 4, 5))[0].square().sum()
    first = torch.autograd.grad(loss, list(ours.parameters()), retain_graph=True)
    _close(list(torch.autograd.grad(loss, list(ours.parameters()))), list(first))


def test_dropout_is_between_layers_in_training_only() -> None:
    model = GRU(19, 32, 2, dropout=0.5)
    x = torch.randn(4, 20, 19)
    assert not torch.equal(model(x)[0], model(x)[0])
    with torch.no_grad():
        assert not torch.equal(model(x)[0], model(x)[0])
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])
    one = GRU(19, 32, 1, dropout=0.5)  # nothing between one layer and itself
    assert torch.equal(one(x)[0], one(x)[0])


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="hidden is 0"):
        GRU(3, 0)
    with pytest.raises(ValueError, match="dropout is 1"):
        GRU(3, 16, dropout=1.0)
    model = GRU(3, 16)
    with pytest.raises(ValueError, match=r"x has shape \[2, 5, 4\]"):
        model(torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match=r"h0 has shape \[1, 3, 16\]"):
        model(torch.zeros(2, 5, 3), torch.zeros(1, 3, 16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_is_the_same() -> None:
    _, ours = _pair(19, 64, 2)
    x, h0 = torch.randn(40, 60, 19), torch.randn(2, 40, 64)
    dy, dh = torch.randn(40, 60, 64), torch.randn(2, 40, 64)
    results, slopes = _gradients(ours, x, h0, dy, dh)
    with torch.backends.cudnn.flags(allow_tf32=False):
        far, far_slopes = _gradients(ours.cuda(), x.cuda(), h0.cuda(), dy.cuda(), dh.cuda())
    _close(results, [f.cpu() for f in far])
    _close(slopes, [f.cpu() for f in far_slopes])

"""What the tests of several models check alike."""

import torch
from torch import Tensor

from gfnode.models import Model


def check_gradients(model: Model, x: Tensor, v: Tensor, lags: Tensor, scale: float = 200.0) -> None:
    """Gradients by start and weights against finite differences, in double precision."""
    model = model.double().eval()
    x, v, lags = x.double(), scale * v.double(), lags.double()
    generator = torch.Generator().manual_seed(7)

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    project = draw(model(x, v / scale, lags))

    def of_start(x: Tensor, v: Tensor) -> Tensor:
        return (model(x, v / scale, lags) * project).sum()

    inputs = (x.requires_grad_(), v.requires_grad_())
    assert torch.autograd.gradcheck(of_start, inputs, eps=1e-6, atol=1e-6, rtol=1e-4)

    weights = list(model.parameters())
    gradients = torch.autograd.grad(of_start(*inputs), weights, allow_unused=True)
    pairs = [(w, g, draw(w)) for w, g in zip(weights, gradients, strict=True) if g is not None]
    unused = sum(g is None for g in gradients)
    assert unused <= 4, "more than the features of the last layer"
    slope = sum(float((g * d).sum()) for _, g, d in pairs)

    @torch.no_grad()
    def shifted(step: float) -> float:
        for weight, _, direction in pairs:
            weight.add_(step * direction)
        value = float(of_start(*inputs))
        for weight, _, direction in pairs:
            weight.sub_(step * direction)
        return value

    step = 1e-6
    numerical = (shifted(step) - shifted(-step)) / (2 * step)
    assert abs(slope - numerical) < 1e-6 + 1e-4 * abs(numerical)


def operations(result: Tensor) -> int:
    """How many operations a result was made of: the nodes of its gradient."""
    seen, todo = set(), [result.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(parent for parent, _ in node.next_functions)
    return len(seen)

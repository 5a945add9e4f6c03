"""Inputs of the rowwise_adam_ and segment_sum_adam_ tests, and what they are judged by."""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import reference
from kernels.adam_step import AdamStep
from tests.kernels.cases import relative_error

RATES = dict(lr=1e-2, beta1=0.9, beta2=0.999, eps=1e-8)
MODES = [dict(project=a, renormalise=b) for a, b in product([False, True], repeat=2)]


def tables(n: int, d: int, device="cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p with rows of unit norm, m, v and g as in the middle of a training, (n, d) each."""
    r = torch.Generator().manual_seed(n * 1000 + d)
    p = F.normalize(torch.randn(n, d, generator=r), dim=1)
    m, g = (1e-3 * torch.randn(n, d, generator=r) for _ in range(2))
    v = 1e-6 * torch.rand(n, d, generator=r)
    return p.to(device), m.to(device), v.to(device), g.to(device)


def scalar(value: float, device="cpu") -> Tensor:
    return torch.tensor(float(value), dtype=torch.float32, device=device)


def step_of(p: Tensor, m: Tensor, v: Tensor, t: float, **modes) -> AdamStep:
    """Update number t of these tables at the rates of the tests."""
    return AdamStep(p, m, v, scalar(t, p.device), **RATES, **modes)


def check(
    call: Callable[[AdamStep], Tensor], before, g, t: int, *, low=None, scale=None, tolerance=1e-6, **mode
) -> None:
    """Run `call` on copies of `before` = (p, m, v) and compare with float64 and gradient g.

    With low an average is kept too, which starts as m.
    """
    p, m, v = (x.clone() for x in before)
    scale = scalar(scale, p.device) if scale is not None else None
    average = before[1].clone()
    averages = dict(average=average, decay=0.75) if low is not None else {}
    squared = call(step_of(p, m, v, t, low=low, scale=scale, **averages, **mode))
    exact = reference.rowwise_adam(g.double(), step_of(*(x.double() for x in before), t, scale=scale, **mode))
    for name, out, expected in zip(("p", "m", "v", "squared"), (p, m, v, squared), exact, strict=True):
        assert out.dtype == torch.float32
        assert relative_error(out, expected) < tolerance, name
    # p hardly moves in a step: the step itself, to what float32 p holds of it.
    step = relative_error(p.double() - before[0].double(), exact[0] - before[0].double())
    assert step < 1e-4, step
    if low is not None:
        assert relative_error(average, 0.75 * before[1].double() + 0.25 * p.double()) < tolerance
        narrow = p.to(low.dtype)
        assert relative_error(low, narrow) <= torch.finfo(low.dtype).eps  # the interpreter truncates

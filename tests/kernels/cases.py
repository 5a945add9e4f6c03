"""Inputs of the kernel tests: odd shapes, skew, padding, duplicates; and the error they are judged by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Case:
    B: int
    k: int
    d: int
    n: int
    pad: float = 0.0  # share of entries that are −1
    duplicate: bool = False  # every row names its first latent twice
    zipf: bool = False  # latent i with probability ∝ 1/(i + 1)
    gap: int = 0  # row stride of W is d + gap

    def __str__(self) -> str:
        marks = [f"pad{self.pad}" if self.pad else "", "dup" * self.duplicate, "zipf" * self.zipf]
        shape = f"B{self.B}-k{self.k}-d{self.d}-n{self.n}"
        return "-".join(filter(None, [shape, *marks, f"gap{self.gap}" if self.gap else ""]))


CASES = [
    Case(5, 4, 70, 11),
    Case(1, 1, 1, 1),
    Case(7, 3, 33, 200),
    Case(6, 5, 130, 3),
    Case(3, 11, 40, 9),
    Case(3, 4, 300, 7, gap=4),
    Case(5, 4, 64, 9, pad=0.4, gap=3),
    Case(4, 3, 48, 5, pad=1.0),
    Case(4, 4, 40, 6, duplicate=True),
    Case(24, 6, 48, 8, zipf=True),
    Case(9, 1, 17, 4, pad=0.2),
    Case(6, 2, 5, 1, pad=0.3),
    Case(60, 4, 260, 3, pad=0.1, zipf=True),
    Case(0, 4, 8, 5),
    Case(4, 0, 8, 5),
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
# Of a result in that dtype. Sums are formed in float32 or float64, so the half widths show their final rounding.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 5e-3, torch.float16: 1e-3}


def in_turn(cases: Iterable[Any], *choices: Iterable[Any]) -> list[Any]:
    """Parameters of every case with every combination of the choices, slow but for one a case.

    The combinations take turns: `make test` meets each case and, where there are cases enough, each combination.
    """
    combinations = list(product(*choices))
    return [
        pytest.param(case, *one, marks=() if i % len(combinations) == j else pytest.mark.slow)
        for i, case in enumerate(cases)
        for j, one in enumerate(combinations)
    ]


def make(case: Case, dtype=torch.float32, index=torch.int64, device="cpu") -> tuple[Tensor, ...]:
    """idx (B, k), coef (B, k) in the accumulator's dtype, W (n, d), X (B, d)."""
    g = torch.Generator().manual_seed(hash((case.B, case.k, case.d, case.n)) % 2**31)
    B, k, d, n = case.B, case.k, case.d, case.n
    weight = 1 / torch.arange(1, n + 1) if case.zipf else torch.ones(n)
    idx = torch.multinomial(weight, max(B * k, 1), replacement=True, generator=g)[: B * k].view(B, k)
    if case.duplicate:
        idx[:, 1] = idx[:, 0]
    idx[torch.rand(B, k, generator=g) < case.pad] = -1
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    coef = torch.rand(B, k, generator=g, dtype=exact)
    W = torch.randn(n, d + case.gap, generator=g, dtype=exact).to(dtype)[:, :d]
    X = torch.randn(B, d, generator=g, dtype=exact).to(dtype)
    storage = torch.empty(n, d + case.gap, dtype=dtype, device=device)[:, :d]  # .to() would close the gap
    return idx.to(device, index), coef.to(device), storage.copy_(W), X.to(device)


def relative_error(out: Tensor, reference: Tensor) -> float:
    """‖out − reference‖ / ‖reference‖ in float64; ‖out‖ where the reference is 0. Shapes must agree."""
    assert out.shape == reference.shape, (out.shape, reference.shape)
    out, reference = out.double().cpu(), reference.double().cpu()
    norm = reference.norm().item()
    return (out - reference).norm().item() / (norm or 1.0)


@st.composite
def integers(draw) -> tuple[Tensor, ...]:
    """(idx, coef, W, X) of any small shape in float64 whose values are small integers: every sum is exact."""
    B, k, d, n = (draw(st.integers(1, most)) for most in (6, 5, 7, 6))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def values(*shape: int) -> Tensor:
        return torch.randint(-4, 5, shape, generator=g).double()

    idx = torch.randint(-1, n, (B, k), generator=g)
    return idx, values(B, k), values(n, d), values(B, d)


def with_threads(*counts: int) -> Iterator[int]:
    """Set torch's thread count to each in turn; give back the old one at the end."""
    before = torch.get_num_threads()
    try:
        for count in counts:
            torch.set_num_threads(count)
            yield count
    finally:
        torch.set_num_threads(before)

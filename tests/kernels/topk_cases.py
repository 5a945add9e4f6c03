"""Inputs of the topk tests, and what makes an answer the right one."""

import torch
from torch import Tensor

from kernels import reference

SHAPES = [(3, 70, 5), (1, 1, 1), (2, 33, 33), (5, 64, 1), (2, 257, 3), (3, 130, 17)]  # B, n, k
HARD = ["constant", "zeros of both signs", "-inf", "inf", "nan", "few finite", "three values", "ascending"]


def scores(B: int, n: int, dtype=torch.float32, device="cpu") -> Tensor:
    return torch.randn(B, n, generator=torch.Generator().manual_seed(n)).to(device, dtype)


def hard(what: str, n: int, dtype=torch.float32, device="cpu") -> Tensor:
    """(2, n): rows on which a selection goes wrong that forgets a case."""
    z, some = scores(2, n), torch.rand(2, n, generator=torch.Generator().manual_seed(1)) < 0.3
    if what == "constant":
        z[:] = -2.5
    elif what == "zeros of both signs":
        z = torch.where(some, 0.0, -0.0)
    elif what == "few finite":
        z[:] = float("-inf")
        z[:, n // 2] = -1e30
    elif what == "three values":
        z = z.sign() * (z.abs() > 0.5)
    elif what == "ascending":
        z = torch.arange(n).expand(2, -1).float()
    else:
        z[some] = float(what)
        z[1] = float(what)
        if what == "nan":  # both signs of it
            z[:, ::3] = -z[:, ::3]
    return z.to(device, dtype)


def same(z: Tensor, values: Tensor, idx: Tensor, k: int) -> None:
    """idx is the set that a stable descending sort puts first, and values are z there, bit for bit."""
    assert values.shape == idx.shape == (len(z), k)
    _, expected = reference.topk(z.cpu().double(), k)
    assert torch.equal(idx.cpu().long().sort(1)[0], expected.sort(1)[0])
    there = z.gather(1, idx.long())
    assert torch.equal(there.view(torch.uint8), values.contiguous().view(torch.uint8))

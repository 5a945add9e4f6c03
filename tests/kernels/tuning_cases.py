"""One call of each launcher, for the tests that go through the tiles of benchmarks/kernels/candidates.py."""

from collections.abc import Callable

import torch

from kernels import (
    gather_dot_triton,
    gather_sum_mse_triton,
    gather_sum_triton,
    rowwise_adam_triton,
    segment_sum_adam_triton,
    segment_sum_triton,
    topk_triton,
)
from kernels.inputs import accumulator
from kernels.plan import plan
from tests.kernels.adam_cases import step_of


def launches(kernel: str, dtype: torch.dtype, *sizes: int) -> Callable[[], object]:
    """A call on zeros, as a compiler needs it: sizes as in kernels.tuning.KERNELS."""
    if kernel == "topk":
        n, k = sizes
        return lambda: topk_triton.launch(torch.zeros(4, n, dtype=dtype), k)
    (d,) = sizes
    idx, coef, x = torch.zeros(8, 32, dtype=torch.int32), torch.zeros(8, 32), torch.zeros(8, d, dtype=dtype)
    W, acc, entries = torch.zeros(64, d, dtype=dtype), accumulator(dtype), plan(idx, 64)
    p, m, v, g = (torch.zeros(64, d) for _ in range(4))
    low = torch.zeros(64, d, dtype=torch.bfloat16)
    adam = step_of(p, m, v, 1, project=True, renormalise=True, scale=torch.ones(()), low=low)
    calls: dict[str, Callable[[], object]] = {
        "gather_sum": lambda: gather_sum_triton.launch(idx, coef, W, None),
        "gather_sum_mse": lambda: gather_sum_mse_triton.launch(idx, coef, W, x, torch.zeros(d), acc),
        "gather_dot": lambda: gather_dot_triton.launch(idx, x, W, acc),
        "segment_sum": lambda: segment_sum_triton.launch(entries, coef, x),
        "segment_sum_dot": lambda: segment_sum_triton.launch(entries, coef, x, W),
        "rowwise_adam_": lambda: rowwise_adam_triton.launch(g, adam),
        "segment_sum_adam_": lambda: segment_sum_adam_triton.launch(entries, coef, x, adam),
    }
    return calls[kernel]

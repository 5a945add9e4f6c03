"""The precision of a step's products; weights, gradients, moments and evaluations stay float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def narrow(precision: str, x: Tensor) -> torch.dtype:
    """The dtype that products and gathers read: bfloat16 under "bf16", else that of x."""
    return torch.bfloat16 if precision == "bf16" else x.dtype


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """TF32 products on CUDA inside the block under "tf32", full float32 otherwise; a CPU has no TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before

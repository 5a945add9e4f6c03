"""The precision of a step's products; weights, gradients, moments and evaluations stay float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

NARROW = {"bf16": torch.bfloat16}  # the dtype that products and gathers read, if it is not that of x


def narrow(precision: str, x: Tensor) -> torch.dtype:
    """The dtype that products and gathers read: bfloat16 under "bf16", else that of x."""
    return NARROW.get(precision, x.dtype)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """TF32 products on CUDA inside the block, unless "fp32" asks for full ones; a CPU has no TF32.

    This includes "bf16", so that the products that stay in float32, AuxK's, need not be exact where the others are not.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before

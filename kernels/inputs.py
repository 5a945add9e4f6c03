"""Checks of the kernels' arguments: a wrong shape, dtype or device raises an error before any kernel is launched.

All checks except `check_range` read only metadata and so do not wait for a GPU. Together they take about 2 µs per call.
"""

import torch
from torch import Tensor

INDEX = (torch.int32, torch.int64)
FLOAT = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
MAX_ENTRIES = 2**31 - 1  # entry numbers b·k + j are int32


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums are computed: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_indices(idx: Tensor) -> None:
    """Check that idx is (B, k), int32 or int64, on a CPU or a CUDA device."""
    if idx.dtype not in INDEX:
        raise TypeError(f"idx is {idx.dtype}; it must be torch.int32 or torch.int64")
    if idx.dim() != 2:
        raise ValueError(f"idx has shape {tuple(idx.shape)}; it must be (B, k)")
    if idx.device.type not in ("cpu", "cuda"):
        raise ValueError(f"idx is on {idx.device}; the kernels run on cpu and cuda")
    if idx.numel() > MAX_ENTRIES:
        raise ValueError(
            f"idx has {idx.numel()} entries; at most {MAX_ENTRIES} fit one call: split the batch"
        )


def check_coef(coef: Tensor, shape: tuple[int, ...], rows: Tensor, acc: torch.dtype) -> None:
    """Check that coef has the shape `shape` and a float dtype no wider than `acc`, on the device of `rows`."""
    if coef.dtype not in FLOAT:
        raise TypeError(f"coef is {coef.dtype}; it must be one of {', '.join(map(str, FLOAT))}")
    if coef.dtype == torch.float64 and acc != torch.float64:
        raise TypeError(
            f"coef is torch.float64 beside {rows.dtype} rows, which are summed in {acc}; convert one"
        )
    if coef.shape != shape:
        raise ValueError(f"coef has shape {tuple(coef.shape)}; the indices have shape {tuple(shape)}")
    if coef.device != rows.device:
        raise ValueError(f"coef is on {coef.device}, the rows on {rows.device}; move one")


def check_matrix(
    name: str, matrix: Tensor, device: torch.device, rows: int | None = None, beside: str = "idx"
) -> None:
    """Check that matrix is 2-D float on `device`, the device of `beside`, with `rows` rows if that is given."""
    if matrix.dtype not in FLOAT:
        raise TypeError(f"{name} is {matrix.dtype}; it must be one of {', '.join(map(str, FLOAT))}")
    if matrix.dim() != 2:
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}; it must have two dimensions")
    if rows is not None and matrix.shape[0] != rows:
        raise ValueError(f"{name} has {matrix.shape[0]} rows; idx has B = {rows}")
    if matrix.device != device:
        raise ValueError(f"{name} is on {matrix.device}, {beside} on {device}; move one")


def check_table(W: Tensor, device: torch.device) -> None:
    """Check that W is (n, d) with adjacent columns. A transposed view is refused: a silent copy would be costly."""
    check_matrix("W", W, device)
    if W.shape[1] > 1 and W.stride(1) != 1:
        raise ValueError(f"W has strides {W.stride()}; its rows must be contiguous: pass W.contiguous()")


def check_bias(bias: Tensor, d: int, acc: torch.dtype, device: torch.device) -> None:
    """Check that bias is (d,) with a float dtype no wider than `acc`, on `device`."""
    if bias.dtype not in FLOAT:
        raise TypeError(f"bias is {bias.dtype}; it must be one of {', '.join(map(str, FLOAT))}")
    if bias.dtype == torch.float64 and acc != torch.float64:
        raise TypeError(f"bias is torch.float64, but the sums are formed in {acc}; convert it")
    if bias.shape != (d,):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; W has d = {d} columns")
    if bias.device != device:
        raise ValueError(f"bias is on {bias.device}, idx on {device}; move one")


def check_topk(z: Tensor, k: int) -> None:
    """Check that z is (B, n) of any float dtype, on a CPU or a CUDA device, and that 1 ≤ k ≤ n."""
    if z.dtype not in FLOAT:
        raise TypeError(f"z is {z.dtype}; it must be one of {', '.join(map(str, FLOAT))}")
    if z.dim() != 2:
        raise ValueError(f"z has shape {tuple(z.shape)}; it must be (B, n)")
    if z.device.type not in ("cpu", "cuda"):
        raise ValueError(f"z is on {z.device}; the kernels run on cpu and cuda")
    if z.shape[1] > MAX_ENTRIES:
        raise ValueError(f"z has {z.shape[1]} columns; idx is int32, at most {MAX_ENTRIES} fit")
    if not 1 <= k <= z.shape[1]:
        raise ValueError(f"k is {k}; it must lie in 1 … n = {z.shape[1]}, the columns of z")


def check_range(idx: Tensor, n: int) -> bool:
    """Raise ValueError for an index outside −1 … n − 1; return True if idx holds padding (−1).

    It reads idx, so on CUDA it waits for the GPU. The CPU paths call it each time (2 µs at 4,096 entries). The CUDA
    paths never call it: there an index ≥ n counts as padding. Call this function on CUDA only while debugging.
    """
    if idx.numel() == 0:
        return False
    low, high = (int(value) for value in torch.aminmax(idx))
    if low < -1 or high >= n:
        raise ValueError(
            f"idx holds {low if low < -1 else high}; it must lie in 0 … {n - 1}, or be −1 for padding"
        )
    return low < 0


def differentiated(*tensors: Tensor | None) -> bool:
    """Whether a call must go through the registered op, because gradients are recorded or torch.compile is tracing."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return True
    return torch.compiler.is_compiling()

"""Dot products of each batch row with the table rows selected by its indices: the gradient of the active latents."""

import functools
import warnings

import torch
from torch import Tensor

from kernels.inputs import accumulator, check_indices, check_matrix, check_range, check_table, differentiated


def gather_dot(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    """Compute out[b, j] = G[b] · W[idx[b, j]], with 0 at padding (idx = −1).

    idx: (B, k), int32 or int64;  G: (B, d);  W: (n, d), any row stride.  Returns (B, k) in float32, float64 if G or W
    is float64. It is not differentiable: a backward pass through it raises. An index ≥ n raises ValueError on a CPU
    and counts as padding on CUDA.
    """
    return gather_dot_op(idx, G, W) if differentiated(G, W) else _forward(idx, G, W)


def _check(idx: Tensor, G: Tensor, W: Tensor) -> None:
    check_indices(idx)
    check_table(W, idx.device)
    check_matrix("G", G, idx.device, rows=idx.shape[0])
    if G.shape[1] != W.shape[1]:
        raise ValueError(f"G has {G.shape[1]} columns and W {W.shape[1]}; both must have d")


def _accumulator(G: Tensor, W: Tensor) -> torch.dtype:
    return accumulator(torch.promote_types(G.dtype, W.dtype))


def _forward(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    _check(idx, G, W)
    acc, (B, k), n = _accumulator(G, W), idx.shape, W.shape[0]
    if W.is_cuda:
        from kernels.gather_dot_triton import launch  # imported here because macOS has no Triton

        return launch(idx, G, W, acc)
    if idx.numel() == 0:
        return G.new_zeros(B, k, dtype=acc)
    padded = check_range(idx, n)
    # sampled_addmm refuses a pattern with more entries than its matrix has elements, which happens if k > n.
    if k > n:
        return _dots_by_entry(idx, G.to(acc), W.to(acc))
    if not padded:
        return _dots_by_row(idx, G.to(acc), W.to(acc))
    return _dots_by_row(idx.clamp(min=0), G.to(acc), W.to(acc)).masked_fill(idx < 0, 0)


def _dots_by_row(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    """`torch.sparse.sampled_addmm` with idx as the pattern. It accepts repeated columns and does not check their range.

    Times on one core in float32, in ms: this function, `_dots_by_entry`, and a gather with bmm take
    0.064, 0.093, 0.63 at (d, n, k, B) = (128, 512, 4, 1024);  1.8, 3.0, 66 at (576, 4096, 32, 1024);
    8.9, 15.6, 181 at (384, 8192, 32, 4096).
    """
    B, k = idx.shape
    start = torch.arange(0, B * k + 1, k, dtype=idx.dtype, device=idx.device)
    zeros, shape = G.new_zeros(B * k), (B, W.shape[0])
    _silence_sparse_beta()
    pattern = torch.sparse_csr_tensor(start, idx.flatten(), zeros, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, G, W.T, beta=0.0).values().view(B, k)


def _dots_by_entry(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    """ATen's per-sample-weight gradient of embedding_bag: makes no tensor of B·k·d elements, and gives 0 at padding."""
    B, k = idx.shape
    row_of_entry = torch.arange(B, dtype=idx.dtype, device=idx.device).repeat_interleave(k)
    start = torch.arange(0, B * k, k, dtype=idx.dtype, device=idx.device)
    dots = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        G, W, idx.contiguous().flatten(), start, row_of_entry, 0
    )
    return dots.view(B, k)


@functools.cache
def _silence_sparse_beta() -> None:
    """Suppress torch's warning, given once per process, that CSR tensors are in beta; only sampled_addmm uses them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


@torch.library.custom_op("saescale::gather_dot", mutates_args=())
def gather_dot_op(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    """`gather_dot` as an op: the gradient of gather_sum with respect to coef."""
    return _forward(idx, G, W)


@gather_dot_op.register_fake
def _(idx: Tensor, G: Tensor, W: Tensor) -> Tensor:
    _check(idx, G, W)
    return G.new_empty(idx.shape, dtype=_accumulator(G, W))

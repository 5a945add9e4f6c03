"""The order of one batch's entries by latent: one sort, shared by both weight gradients of a step."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels.inputs import check_indices, check_range

if TYPE_CHECKING:
    from kernels.segment_items_triton import Items

MAX_LATENTS = 2**31 - 3  # latent numbers are int32, and n and n + 1 stand for padding


@dataclass(frozen=True)
class Plan:
    """Entries (b, j) of idx (B, k), ordered by latent, then by b, then by j; padding comes last.

    The entries of latent i are at positions ptr[i] … ptr[i + 1] − 1 of `order` and `rows`; padding starts at ptr[n].
    """

    order: Tensor  # (B·k,) int32: the entry b·k + j at each position
    rows: Tensor  # (B·k,) int32: the batch row b of that entry
    bounds: Tensor  # (n + 2,) int32: ptr, then B·k; the padding is a last segment after latent n − 1
    idx: Tensor  # (B, k): the indices passed to `plan`

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors, in the order in which the segment-sum ops take them."""
        return self.order, self.rows, self.bounds, self.idx

    @property
    def shape(self) -> tuple[int, int]:
        """(B, k)."""
        B, k = self.idx.shape
        return B, k

    @property
    def n(self) -> int:
        """Number of latents."""
        return self.bounds.shape[0] - 2

    @property
    def ptr(self) -> Tensor:
        """(n + 1,) int32."""
        return self.bounds[:-1]

    @cached_property
    def items(self) -> "Items":
        """The work items of the CUDA kernels, built at first use."""
        from kernels.segment_items_triton import build  # imported here because macOS has no Triton

        return build(self.bounds, self.order.shape[0])


def plan(idx: Tensor, n: int) -> Plan:
    """Sort the entries of idx, (B, k), int32 or int64, by their latent in 0 … n − 1; −1 is padding.

    Nothing here waits for a GPU. An index ≥ n or < −1 raises ValueError on a CPU, and on CUDA with TRITON_DEBUG=1.
    Without that it counts as padding on CUDA, since reading the indices would wait for the GPU.
    """
    call = plan_op if torch.compiler.is_compiling() else _forward
    order, rows, bounds = call(idx, n)
    return Plan(order, rows, bounds, idx)


def _forward(idx: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(idx, n)
    if not idx.is_cuda or os.environ.get("TRITON_DEBUG") == "1":
        check_range(idx, n)
    B, k = idx.shape
    # Keys have 16 bits if n fits: 131,072 entries then take 0.53 ms instead of 0.86 ms on one core. Below 2¹⁵ entries
    # torch does not use its radix sort, and the width makes no difference.
    key = torch.int16 if n < 2**15 <= B * k else torch.int32
    latent, order = torch.sort(_keys(idx.flatten(), n, key, checked=not idx.is_cuda), stable=True)
    latent = latent.to(torch.int32).clamp_(max=n)
    bounds = torch._convert_indices_from_coo_to_csr(latent, n + 1, out_int32=True)
    # A gather from a table of rows takes 0.11 ms; the division order // k takes 0.24 ms (B·k = 131,072, one core).
    row_of_entry = torch.arange(B, dtype=torch.int32, device=idx.device).repeat_interleave(k)
    return order.to(torch.int32), row_of_entry.index_select(0, order), bounds


def _check(idx: Tensor, n: int) -> None:
    check_indices(idx)
    if not isinstance(n, int | torch.SymInt) or not 0 <= n <= MAX_LATENTS:
        raise ValueError(f"n is {n}; it must be an integer from 0 to {MAX_LATENTS}, since latents are int32")


def _keys(latent: Tensor, n: int, key: torch.dtype, checked: bool) -> Tensor:
    """The latents in dtype `key`; every other index sorts after them. checked: all the others are known to be −1."""
    if checked:
        # −1 becomes the largest key and the others are unchanged. The & takes 0.02 ms; masked_fill would take 0.25 ms.
        return latent.to(key) & torch.iinfo(key).max
    return latent.masked_fill((latent < 0) | (latent >= n), n).to(key)


@torch.library.custom_op("saescale::plan", mutates_args=())
def plan_op(idx: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """`order`, `rows` and `bounds` of `plan`, as an op for torch.compile."""
    return _forward(idx, n)


@plan_op.register_fake
def _(idx: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(idx, n)
    entries = idx.shape[0] * idx.shape[1]
    order, rows = (idx.new_empty(entries, dtype=torch.int32) for _ in range(2))
    return order, rows, idx.new_empty(n + 2, dtype=torch.int32)

"""The measured calls, ours and the peers', with the bytes that each must move and the error of its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kernels.case import Inputs, Shape
from benchmarks.train.case import device
from kernels import reference
from kernels.adam_step import AdamStep
from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse
from kernels.plan import plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum
from kernels.segment_sum_adam import segment_sum_adam_
from kernels.segment_sum_dot import segment_sum_dot
from kernels.topk import topk

OURS = "ours"
ROWS = 64  # rows of a result that are compared with float64
_RATES = (1e-4, 0.9, 0.999, 6.25e-10)
_Z = 2**31  # most elements in the scores passed to topk; with n they set the number of rows


@dataclass(frozen=True)
class Work:
    """One call on one of the input sets.

    bytes: the bytes that it must move, by the ceiling that applies: "table" for the rows of W selected by idx, counted
    once per use; "batch" for rows of X in the same way; "copy" for all that is read or written in order.
    error: the largest ‖out − exact‖/‖exact‖ of its outputs, on a sample of their rows.
    """

    op: str
    who: str
    call: Callable[[Any], Any]
    bytes: Mapping[str, float]
    error: Callable[[Any], float] | None = None


def gathers(shape: Shape, dtype: torch.dtype) -> list[Work]:
    """The calls on `Inputs` that read the rows of a table selected by idx, or the rows of a batch by latent."""
    B, d, n, M, e = shape.B, shape.d, shape.n, shape.entries, dtype.itemsize
    rows, entries, out, table = M * d * e, 8 * M, B * d * e, n * d
    decoded = {"table": rows, "copy": entries + out}
    summed = {"batch": rows, "copy": entries + 4 * table}
    return [
        Work("gather_sum", OURS, _gather_sum, decoded, _by_rows(_gather_sum, reference.gather_sum)),
        Work("gather_sum", "F.embedding_bag", _embedding_bag, decoded),
        Work(
            "gather_sum_mse",
            OURS,
            _gather_sum_mse,
            decoded | {"copy": entries + out + 4 * B * d},
            _mse_error,
        ),
        Work("gather_dot", OURS, lambda i: gather_dot(i.idx, i.X, i.W), decoded, _dot_error),
        Work("plan", OURS, lambda i: _planned(i, shape.n), {"copy": 12 * M + 4 * n}),
        Work("segment_sum", OURS, _Planned(_segment_sum, n), summed, _sum_error(n)),
        Work("segment_sum", "index_add_", _index_add, summed),
        Work(
            "segment_sum_dot",
            OURS,
            _Planned(_sum_dot, n),
            summed | {"copy": entries + (4 + e) * table},
            _sum_error(n, dots=True),
        ),
    ]


def _gather_sum(i: Inputs) -> Tensor:
    return gather_sum(i.idx, i.coef, i.W)


def _embedding_bag(i: Inputs) -> Tensor:
    return F.embedding_bag(i.long, i.W, per_sample_weights=i.coef.to(i.W.dtype), mode="sum")


def _gather_sum_mse(i: Inputs) -> tuple[Tensor, Tensor]:
    return gather_sum_mse(i.idx, i.coef, i.W, i.X)


def _planned(i: Inputs, n: int) -> Any:
    """Sort the entries; on CUDA also build the work items of the segment sums."""
    entries = plan(i.idx, n)
    return entries.items if i.idx.is_cuda else entries


class _Planned:
    """A call whose plan is made beforehand for each set, as in a training step, where several passes share a sort."""

    def __init__(self, call: Callable[[Any, Inputs], Any], n: int) -> None:
        self.call, self.n, self.plans = call, n, dict[int, Any]()

    def __call__(self, i: Inputs) -> Any:
        if id(i) not in self.plans:
            self.plans[id(i)] = plan(i.idx, self.n)
        return self.call(self.plans[id(i)], i)


def _segment_sum(entries: Any, i: Inputs) -> Tensor:
    return segment_sum(entries, i.coef, i.X)


def _sum_dot(entries: Any, i: Inputs) -> tuple[Tensor, Tensor]:
    return segment_sum_dot(entries, i.coef, i.X, i.W)


def _index_add(i: Inputs) -> Tensor:
    """index_add_ for one j at a time, over all rows, so that no (B·k, d) tensor is made."""
    out = torch.zeros(len(i.W), i.X.shape[1], device=i.X.device)
    X = i.X.float()
    for j in range(i.idx.shape[1]):
        out.index_add_(0, i.long[:, j], X * i.coef[:, j : j + 1])
    return out


def _by_rows(call: Callable[[Inputs], Tensor], exact: Callable[..., Tensor]) -> Callable[[Inputs], float]:
    def error(i: Inputs) -> float:
        idx, W = compact(i)
        return relative_error(call(i)[:ROWS], exact(idx, i.coef[:ROWS].double(), W))

    return error


def compact(i: Inputs) -> tuple[Tensor, Tensor]:
    """The few rows of W that the first rows of idx select, in float64, and the indices into them."""
    used, idx = i.long[:ROWS].unique(return_inverse=True)
    return idx, i.W[used].double()


def _mse_error(i: Inputs) -> float:
    error, squared = _gather_sum_mse(i)
    idx, W = compact(i)
    exact, norms = reference.gather_sum_mse(idx, i.coef[:ROWS].double(), W, i.X[:ROWS].double())
    return max(relative_error(error[:ROWS], exact), relative_error(squared[:ROWS], norms))


def _dot_error(i: Inputs) -> float:
    idx, W = compact(i)
    exact = reference.gather_dot(idx, i.X[:ROWS].double(), W)
    return relative_error(gather_dot(i.idx, i.X, i.W)[:ROWS], exact)


def _sum_error(n: int, dots: bool = False) -> Callable[[Inputs], float]:
    """The error of the sums of the most frequent latents and of some others, and of the dots of the first rows."""

    def error(i: Inputs) -> float:
        entries = plan(i.idx, n)
        sums, dot = _sum_dot(entries, i) if dots else (_segment_sum(entries, i), None)
        common = entries.ptr.diff().argsort(descending=True)[: ROWS // 2]
        chosen = torch.cat([common, torch.arange(ROWS // 2, device=common.device)]).unique()
        place = torch.full((n,), -1, device=common.device).index_copy_(
            0, chosen, torch.arange(len(chosen), device=common.device)
        )
        row, j = (place[i.long] >= 0).nonzero(as_tuple=True)
        exact = torch.zeros(len(chosen), i.X.shape[1], dtype=torch.float64, device=common.device)
        exact.index_add_(0, place[i.long[row, j]], i.coef[row, j, None].double() * i.X[row].double())
        found = relative_error(sums[chosen], exact)
        if dot is None:
            return found
        idx, W = compact(i)
        return max(found, relative_error(dot[:ROWS], reference.gather_dot(idx, i.X[:ROWS].double(), W)))

    return error


def relative_error(out: Tensor, exact: Tensor) -> float:
    """‖out − exact‖ / ‖exact‖ in float64."""
    return float((out.double() - exact).norm() / exact.norm())


def selections(shape: Shape, dtype: torch.dtype) -> tuple[list[Work], list[Tensor]]:
    """topk and torch.topk, and their input z (rows, n): B rows, or fewer for 2³¹ elements on a GPU, 2²⁵ on a CPU."""
    rows = max(1, min(shape.B, (_Z if device() == "cuda" else _Z // 2**6) // shape.n))
    z = torch.randn(rows, shape.n, device=device(), dtype=dtype)
    moved = rows * (shape.n * dtype.itemsize + shape.k * (dtype.itemsize + 4))

    def error(z: Tensor) -> float:
        exact, found = z[:ROWS].double().topk(shape.k)[0], topk(z, shape.k)
        assert torch.equal(z[:ROWS].gather(1, found[1][:ROWS].long()), found[0][:ROWS])
        return relative_error(found[0][:ROWS].double().sort(descending=True)[0], exact)

    return [
        Work("topk", OURS, lambda z: topk(z, shape.k), {"copy": moved}, error),
        Work("topk", "torch.topk", lambda z: torch.topk(z, shape.k, dim=1, sorted=False), {"copy": moved}),
    ], [z]


def bytes_of_tables(shape: Shape, dtype: torch.dtype) -> int:
    """Memory that `steps_of_tables` needs: p, m, v, g and average, a copy in `dtype`, torch's p, m and v."""
    return shape.n * shape.d * (8 * 4 + dtype.itemsize)


def steps_of_tables(shape: Shape, dtype: torch.dtype) -> list[Work]:
    """Adam on a table (n, d), with all steps of a decoder's update: projection, unit norm, average, copy in `dtype`."""
    n, d, M, e = shape.n, shape.d, shape.entries, dtype.itemsize
    p, m, v, g, average = (torch.randn(n, d, device=device()) for _ in range(5))
    F.normalize(p, dim=1, out=p), v.abs_()
    low, t = torch.empty(n, d, device=device(), dtype=dtype), torch.full((), 9.0, device=device())
    encoder = AdamStep(p, m, v, t, *_RATES, low=low, average=average, decay=0.999)
    decoder = encoder._replace(project=True, renormalise=True)
    theirs = torch.nn.Parameter(p.clone())
    theirs.grad = g
    adam = torch.optim.Adam([theirs], lr=_RATES[0], fused=True)
    table = n * d * (24 + 8 + e)  # p, m, v and the average are read and written, the copy is written

    def fused(entries: Any, i: Inputs) -> Tensor:
        return segment_sum_adam_(entries, i.coef, i.X, encoder)

    return [
        Work(
            "rowwise_adam_",
            OURS,
            lambda _: rowwise_adam_(g, decoder),
            {"copy": table + 4 * n * d},
            _adam_error,
        ),
        Work("rowwise_adam_", "Adam(fused=True)", lambda _: adam.step(), {"copy": n * d * 28}),
        Work("segment_sum_adam_", OURS, _Planned(fused, n), {"batch": M * d * e, "copy": table + 8 * M}),
    ]


def _adam_error(i: Inputs) -> float:
    """The error of one step on a table of ROWS rows as wide as X."""
    d = i.X.shape[1]
    p, m, v, g = (torch.randn(ROWS, d, device=device()) for _ in range(4))
    F.normalize(p, dim=1, out=p), v.abs_()
    t = torch.full((), 9.0, device=device())
    adam = AdamStep(p, m, v, t, *_RATES, project=True, renormalise=True)
    exact = reference.rowwise_adam(g.double(), adam._replace(p=p.double(), m=m.double(), v=v.double()))
    squared = rowwise_adam_(g, adam)
    return max(relative_error(a, b) for a, b in zip((p, m, v, squared), exact, strict=True))

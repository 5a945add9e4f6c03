"""What the tiles of the kernels are measured on: shapes, and indices as skewed as those of a trained autoencoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kernels import tuning
from kernels.gather_dot import gather_dot
from kernels.gather_sum import gather_sum
from kernels.gather_sum_mse import gather_sum_mse
from kernels.plan import plan
from kernels.rowwise_adam import rowwise_adam_
from kernels.segment_sum import segment_sum
from kernels.segment_sum_adam import segment_sum_adam_
from kernels.segment_sum_dot import segment_sum_dot
from kernels.topk import topk

# (d, n, k, B). The first of each d stands for it: a tile is looked up by d.
SHAPES = (
    (768, 2**17, 32, 2**14),
    (4096, 2**17, 64, 2**14),
    (1600, 2**17, 64, 2**14),
    (2304, 2**16, 64, 2**14),
    (8192, 2**19, 128, 2**14),
    (768, 2**15, 32, 2**14),
    (4096, 2**20, 64, 2**14),
    (768, 2**22, 32, 2**14),
)
SETS = 3  # of indices, coefficients and rows, in turn
_TABLE, _SCORES = 2**30, 2**30  # elements at most of (n, d) and (B, n) tensors: 4 GB of float32
_RATES: dict[str, Any] = dict(lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8)
Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One kernel at one shape."""

    kernel: str
    dtype: torch.dtype
    d: int
    n: int
    k: int
    B: int

    @property
    def named_sizes(self) -> dict[str, int]:
        """What kernels/tuning.json names it by."""
        of = {"d": self.d, "n": self.n, "k": self.k, "entries": self.B * self.k}
        return {name: of[name] for name in tuning.KERNELS[self.kernel].sizes}

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.named_sizes.values())

    def calls(self, device: str = "cuda") -> list[Call]:
        """The kernel on each set of inputs."""
        if self.kernel == "topk":
            rows = max(min(self.B, _SCORES // self.n), 1)
            zs = [torch.randn(rows, self.n, dtype=self.dtype, device=device) for _ in range(SETS)]
            return [lambda z=z: topk(z, self.k) for z in zs]  # type: ignore[misc]
        exact = self.kernel == "segment_items"  # its plan is for this n
        n = self.n if exact else min(self.n, _TABLE // self.d)
        tables = _tables(self.kernel, n, self.d, self.dtype, device)
        return [_call(self.kernel, n, tables, *self._set(n, device)) for _ in range(SETS)]

    def _set(self, n: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
        idx = zipf(self.B, self.k, n, device)
        X = torch.randn(self.B, self.d, device=device).to(self.dtype)
        return idx, torch.rand(self.B, self.k, device=device), X


def cases() -> Iterator[Case]:
    """Each kernel at each shape that the table tells apart, in bfloat16, then d = 768 in float32."""
    seen = set()
    for dtype in (torch.bfloat16, torch.float32):
        for shape in SHAPES if dtype == torch.bfloat16 else SHAPES[:1]:
            for kernel in tuning.KERNELS:
                known = torch.int32 if kernel == "segment_items" else dtype
                known = torch.float32 if kernel == "rowwise_adam_" else known
                case = Case(kernel, known, *shape)
                if (key := (kernel, known, case.sizes)) not in seen:
                    seen.add(key)
                    yield case


def zipf(B: int, k: int, n: int, device: str) -> Tensor:
    """(B, k) int32: latents with probability ∝ 1/rank, none above 1/2 a token, the ranks shuffled over the table."""
    p = 1 / torch.arange(1, n + 1, dtype=torch.float64, device=device)
    for _ in range(8):  # what is cut off goes to the others, which it may lift above the limit
        p = (p / p.sum()).clamp_(max=max(0.5 / k, 1 / n))
    rank = torch.searchsorted((p / p.sum()).cumsum(0), torch.rand(B, k, dtype=p.dtype, device=device))
    return torch.randperm(n, device=device, dtype=torch.int32)[rank.clamp_(max=n - 1)]


def _tables(kernel: str, n: int, d: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    if kernel == "segment_items":
        return {}
    if kernel not in ("rowwise_adam_", "segment_sum_adam_"):
        return {"W": torch.randn(n, d, device=device).to(dtype)}
    p, g = (torch.nn.functional.normalize(torch.randn(n, d, device=device)) for _ in range(2))
    m, v = torch.zeros(n, d, device=device), torch.zeros(n, d, device=device)
    step, low = torch.ones((), device=device), torch.empty(n, d, dtype=torch.bfloat16, device=device)
    return dict(p=p, m=m, v=v, g=g, step=step, low=low)


def _call(kernel: str, n: int, tables: dict[str, Any], idx: Tensor, coef: Tensor, X: Tensor) -> Call:
    """The kernel as a training step calls it; segment_items: the items of a plan that has none yet, and their sums."""
    if kernel == "rowwise_adam_":
        return lambda: rowwise_adam_(**tables, **_RATES, project=True, renormalise=True)
    entries = plan(idx, n)
    adam: dict[str, Any] = {name: table for name, table in tables.items() if name not in ("W", "g")}
    calls: dict[str, Call] = {
        "gather_sum": lambda: gather_sum(idx, coef, tables["W"]),
        "gather_sum_mse": lambda: gather_sum_mse(idx, coef, tables["W"], X),
        "gather_dot": lambda: gather_dot(idx, X, tables["W"]),
        "segment_items": lambda: segment_sum(replace(entries), coef, X),
        "segment_sum": lambda: segment_sum(entries, coef, X),
        "segment_sum_dot": lambda: segment_sum_dot(entries, coef, X, tables["W"]),
        "segment_sum_adam_": lambda: segment_sum_adam_(entries, coef, X, **adam, **_RATES),
    }
    return calls[kernel]

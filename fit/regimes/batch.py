"""Tests in each regime whether L depends on the batch size.

In the paper, with lr retuned for each batch size, L(C) depends on it substantially and L(N) hardly at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f as fisher
from scipy.stats import t as student

from fit.compute.optimal_point import ComputeOptimal
from fit.converged.lr import AtEnd, End, best_lr
from fit.converged.tails import loss_column
from fit.data import tables
from fit.data.curves import STEP, Candidates, falling
from fit.data.vertex import Vertex
from fit.law.intervals.profile import LEVEL
from fit.law.json_values import record
from fit.law.law import Array
from fit.regimes.lr_readings import FEWEST_STEPS, CellLr, losses_by_lr

# An effect that changes the loss by less than this over all batch sizes is called small, whatever its p-value, because
# converged losses are known only to within ε, 1 % by default.
SMALL = 0.01
# An effect is called detectable if a study like this one would find it with this probability.
POWER = 0.8


class Effect(StrEnum):
    """How much the loss depends on the batch size."""

    SUBSTANTIAL = "substantial"
    SMALL = "significant but small"
    NONE = "not significant"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Batch:
    """An F test of ln L = (a constant per cell) + b·ln B against ln L = (a constant per cell).

    regime: converged or compute. b, low, high: the exponent with its 95 % interval. p: the p-value of b = 0. spread:
    the factor in L from the smallest to the largest batch, minus 1; spread_low, spread_high: its 95 % interval.
    detectable: the spread that this test would find significant in 80 % of studies like this one. cells: the number of
    cells with two batch sizes or more. batches: the batch sizes. tuned: whether every batch size had several lr.
    reason: why there is no test, or None if there is one. tokens: D where L was read, None at convergence and at the
    compute-optimal points.

    Where the best lr of a cell and batch size is at an end of those that were tried, its loss is an upper bound of that
    at lr*. left_out: how many such losses the test is without. bounds: how many it holds, all at the smallest batch
    size of their cell, so that L rises more with B than it does here. ends: at which ends of the lr all of these are.
    """

    regime: str
    b: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    spread: float | None = None
    cells: int = 0
    batches: tuple[float, ...] = ()
    tuned: bool = False
    effect: Effect = Effect.UNKNOWN
    reason: str | None = None
    spread_low: float | None = None
    spread_high: float | None = None
    detectable: float | None = None
    tokens: float | None = None
    left_out: int = 0
    bounds: int = 0
    ends: tuple[End, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for fits.json, which also stores the effect under the key "words"."""
        content = asdict(self)
        return {**content, "words": content["effect"]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Batch":
        ends = tuple(End(end) for end in content.get("ends", ()))
        return record(cls, content, effect=Effect(content["words"]), ends=ends)


@dataclass(frozen=True)
class Edge:
    """The lowest loss is at an end of the lr; of two lr, which are ends both, nobody knows beyond which lr* lies."""

    end: End | None


@dataclass(frozen=True)
class BestLoss:
    """ln L at the best lr of one n, or n and k, at one batch size; edge: where the lowest is at an end of the lr.

    cell: equal for the batch sizes of one n, or n and k.
    """

    n_latents: float
    batch_tokens: float
    log_loss: float
    cell: int
    edge: Edge | None = None


def at_convergence(converged: pd.DataFrame, unconverged: pd.DataFrame | None = None) -> Batch:
    """Test L(N): the converged loss of each batch size at its own best lr, with the geometric mean over seeds.

    The loss is L∞, where the runs have it, see `tails.at_limits`. It is that at the vertex over lr, so that an lr*
    between two lr of the grid is no disadvantage (of 0.5 % where the loss rises by 4 % over a step); where there is no
    vertex, it is the lowest. The cells are (n, k). No run contributes to two values, so their errors are independent.

    Parameters
    ----------
    converged : converged runs with n_latents, batch_tokens, nmse and, where known, k and lr.
    unconverged : other runs with `lowest`, the lower end of their L∞; they may show that an lr is not the best.
    """
    regime = "converged"
    if not {"batch_tokens", "n_latents", "nmse"} <= set(converged.columns) or converged.empty:
        return Batch(regime, reason="no converged run has a known batch_tokens.")
    runs, cell = _with_batch(converged)
    if runs["batch_tokens"].nunique() < 2:
        return Batch(regime, reason=_one(runs["batch_tokens"].to_numpy(dtype=float)))
    best = best_losses(converged, unconverged)
    # "Hardly moves" is a claim of both directions, and a loss that may be lower still supports neither: the converged
    # loss of the study of docs/regimes falls by 0.15 % a step to the smallest lr of n = 128. So the cell goes without
    # this batch size, as claim 1 goes without an lr* that is known as a bound.
    edges = [each.edge for each in best if each.edge is not None]
    rows = [(np.log(each.batch_tokens), each.log_loss, each.cell) for each in best if each.edge is None]
    x, y, cells = np.array(rows, dtype=float).reshape(-1, 3).T
    test = _tested(regime, x, y, cells, _tuned(runs, cell))
    if edges and test.b is None:
        edge_losses = "loss" if len(edges) == 1 else f"{len(edges)} losses"
        text = f"without the {edge_losses} at an edge of the lr that count, {test.reason}"
        test = replace(test, reason=text)
    return replace(test, left_out=len(edges), ends=_ends(edges))


def best_losses(converged: pd.DataFrame, unconverged: pd.DataFrame | None = None) -> list[BestLoss]:
    """The losses that `at_convergence` compares, and those at an edge of the lr, which it leaves out."""
    runs, cell = _with_batch(converged)
    loss = loss_column(converged)
    others = pd.DataFrame() if unconverged is None else unconverged
    best = []
    for number, (_, of_cell) in enumerate(runs.groupby(cell, dropna=False, sort=False)):
        for B, part in of_cell.groupby("batch_tokens"):
            at = {name: part[name].iloc[0] for name in (*cell, "batch_tokens") if name in others.columns}
            losses = _losses(part, loss, others, at)
            n = float(part["n_latents"].iloc[0])
            edge = _edge(losses)
            if len(losses) == 1 and _lr_tried(part, others, at) > 1:
                edge = Edge(None)  # of one lr that counts, nothing says on which side of it lr* lies
            best.append(BestLoss(n, float(str(B)), _at_best_lr(losses), number, edge))
    return best


def _with_batch(converged: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows with a batch size, and the columns that are equal in a cell."""
    cell = [name for name in ("n_latents", "k") if name in converged.columns]
    runs = tables.numeric(converged, *cell, "batch_tokens", "lr", loss_column(converged))
    return runs[runs["batch_tokens"] > 0], cell


def at_tokens(cells: Sequence[CellLr], tokens: float) -> Batch:
    """Test L(C) at equal tokens D: the loss of each (n, B) at its lr*, where that lies inside the grid of lr."""
    known = [each for each in cells if each.lr is not None]
    x, y = np.log([[each.batch_tokens, each.nmse] for each in known]).reshape(-1, 2).T
    _, member = np.unique([each.n_latents for each in known], return_inverse=True)
    return replace(_tested("compute", x, y, member, tuned=True), tokens=tokens)


def at_compute(pool: Candidates, points: Mapping[float, ComputeOptimal]) -> Batch:
    """Test L(C): the frontier of each batch size, read at every C where an n is compute-optimal. These C are the cells.

    All points of one run share its error, and a test that treats each point as an independent measurement finds
    effects that do not exist. So each run counts only in its first cell, the one of the lowest C; later cells for which
    it is on the frontier too are left out. The frontiers use only the n that were trained at every batch size. A batch
    size that has taken fewer than `FEWEST_STEPS` steps at a C has no value there.
    """
    regime, sizes, n = "compute", pool.column("batch_tokens"), pool.column("n_latents")
    if sizes is None or n is None:
        return Batch(regime, reason="batch_tokens or n_latents is not known of every run.")
    if len(np.unique(sizes)) < 2:
        return Batch(regime, reason=_one(sizes))
    trained = pool.runs.groupby("n_latents")["batch_tokens"].nunique()
    shared = np.isin(n, trained.index[trained == pool.runs["batch_tokens"].nunique()])
    held = {float(B): falling(pool, shared & (sizes == B)) for B in np.unique(sizes)}
    rows: list[tuple[float, float, int]] = []
    kept: list[Edge] = []
    out: list[Edge] = []
    used: set[int] = set()
    for cell, log_c in enumerate(sorted(optimum.log_c for optimum in points.values())):
        at = {
            B: i
            for B, index in held.items()
            if (i := _holder(pool, index, log_c)) is not None and _past_first_steps(pool, i, B)
        }
        runs = {int(pool.run[i]) for i in at.values()}
        if not runs & used:
            used |= runs
            for B, i in sorted(at.items()):
                edge = _edge_of_holder(pool, i, n[i], B)
                # "Moves" is a claim of one direction. A loss that is lower still at the smallest batch size of its
                # cell makes the rise with B larger, so it stays, as a bound; at another batch size it may make it
                # smaller, and is left out. Small batches have the largest lr*: without the bounds at their end of the
                # lr the study of docs/regimes has one cell. Without those left out, 3 of 5 simulated tables with a
                # true effect of 5 % were undecided.
                if edge is not None:
                    (kept if min(at) == B < max(at) else out).append(edge)
                if edge is None or min(at) == B:
                    rows.append((np.log(B), float(pool.log_l[i]), cell))
    x, y, cells = np.array(rows, dtype=float).reshape(-1, 3).T
    test = _tested(regime, x, y, cells, _tuned(pool.runs, ["n_latents"]))
    return replace(test, left_out=len(out), bounds=len(kept), ends=_ends([*kept, *out]))


def _edge_of_holder(pool: Candidates, at: int, n: float, B: float) -> Edge | None:
    """Whether a point of the frontier is at an end of the lr that its n and batch size were trained at."""
    lr = pool.column("lr")
    if lr is None:
        return None
    tried = pool.runs.loc[((pool.runs["n_latents"] == n) & (pool.runs["batch_tokens"] == B)).to_numpy(), "lr"]
    return _edge(dict.fromkeys(tried.astype(float), 0.0) | {float(lr[at]): -1.0})


def _losses(part: pd.DataFrame, loss: str, others: pd.DataFrame, at: Mapping[str, Any]) -> dict[float, float]:
    """ln L by lr; without an lr for every run, all of them as one."""
    if "lr" not in part.columns or part["lr"].isna().any():
        return {np.nan: float(np.log(part[loss]).mean())}
    return losses_by_lr(part, loss, others, at)


def _lr_tried(part: pd.DataFrame, others: pd.DataFrame, at: Mapping[str, Any]) -> int:
    """How many lr a cell was trained at, whether or not the runs converged."""
    if "lr" not in part.columns or others.empty:
        return int(part["lr"].nunique()) if "lr" in part.columns else 0
    here = np.logical_and.reduce([others[name] == value for name, value in at.items()])
    return len({*part["lr"], *others.loc[here, "lr"]})


def _edge(losses: Mapping[float, float]) -> Edge | None:
    """None where the lowest loss is at neither end of the lr, and where lr was not varied."""
    best = min(losses, key=losses.__getitem__)
    if len(losses) < 2 or min(losses) < best < max(losses):
        return None
    at = best_lr(losses)
    return Edge(at.end if isinstance(at, AtEnd) else None)


def _ends(edges: Iterable[Edge]) -> tuple[End, ...]:
    return tuple(dict.fromkeys(edge.end for edge in edges if edge.end is not None))


def _at_best_lr(losses: Mapping[float, float]) -> float:
    """ln L at the vertex over lr, or the lowest where there is none."""
    at = best_lr(losses)
    return at.y if isinstance(at, Vertex) else min(losses.values())


def _one(sizes: Array) -> str:
    return f"all runs have one batch size, {sizes[0]:,.0f}." if len(sizes) else "no batch_tokens is known."


def _holder(pool: Candidates, index: Array, log_c: float) -> int | None:
    """The last frontier point at or below a C, None if the frontier does not reach this C."""
    at = int(np.searchsorted(pool.log_c[index], log_c + 1e-9, side="right")) - 1
    return int(index[at]) if at >= 0 and log_c <= pool.log_c[index[-1]] + STEP else None


def _past_first_steps(pool: Candidates, at: int, B: float) -> bool:
    return pool.log_tokens is None or float(np.exp(pool.log_tokens[at])) >= FEWEST_STEPS * B


def _tuned(runs: pd.DataFrame, cell: list[str]) -> bool:
    """Whether every cell was trained at two lr or more at each of its batch sizes B."""
    if not {"lr", "batch_tokens"} <= set(runs.columns):
        return False
    return bool((runs.groupby([*cell, "batch_tokens"])["lr"].nunique() > 1).all())


def _tested(regime: str, x: Array, y: Array, cell: np.ndarray, tuned: bool) -> Batch:
    """Compare the two nested fits by least squares. x: ln B, y: ln L, cell: the number of the cell, all (values,).

    F = Δ·ν/R with 1 and ν degrees of freedom, where R is the residual sum of squares, Δ its reduction by b, and
    ν = values − cells − 1. The interval of b, b ± t_ν·s, belongs to the same test.
    """
    if len(np.unique(x)) < 2:
        return Batch(
            regime, reason="all runs have one batch size." if len(x) else "no value is left to compare."
        )
    _, code, count = np.unique(cell, return_inverse=True, return_counts=True)
    use = count[code] > 1
    x, y, code = x[use], y[use], np.unique(code[use], return_inverse=True)[1]
    cells = int(code.max()) + 1 if len(code) else 0
    batches = tuple(float(B) for B in np.unique(np.exp(x).round(6)))
    dof = len(x) - cells - 1
    if dof < 1:
        reason = (
            f"two batch sizes were trained in {cells} of {len(count)} cells, and two such cells are needed."
        )
        return Batch(regime, cells=cells, batches=batches, reason=reason)
    x, y = (v - (np.bincount(code, v) / np.bincount(code))[code] for v in (x, y))
    b = float(x @ y / (x @ x))
    # Losses that agree to the last digits, such as those of copied rows, differ only by rounding.
    rest = float(((y - b * x) ** 2).sum()) + len(y) * 1e-24
    error = float(np.sqrt(rest / dof / (x @ x)))
    half = float(student.isf((1 - LEVEL) / 2, dof)) * error
    p = float(fisher.sf(b**2 * (x @ x) * dof / rest, 1, dof))
    wide = float(np.log(batches[-1] / batches[0]))
    spread, low, high = (float(np.expm1(wide * slope)) for slope in (b, b - half, b + half))
    # The test finds an exponent of this size at a power of 80 %: half an interval and the 80 % quantile beyond it.
    found = half + float(student.isf(1 - POWER, dof)) * error
    return Batch(
        regime,
        b,
        b - half,
        b + half,
        p,
        spread,
        cells,
        batches,
        tuned,
        _effect(p, spread),
        spread_low=low,
        spread_high=high,
        detectable=float(np.expm1(wide * found)),
    )


def _effect(p: float, spread: float) -> Effect:
    if p >= 1 - LEVEL:
        return Effect.NONE
    return Effect.SUBSTANTIAL if abs(spread) >= SMALL else Effect.SMALL

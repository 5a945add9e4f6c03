"""isoFLOP tables: rows that are runs of their own, at a few budgets of compute, with several n at each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.vertex import short_number
from fit.law.law import Array

# Rows whose C differ by less than a gap from one to the next are one budget, unless they span more than WIDEST. Of
# these gaps, the one that puts most rows into budgets of three n is taken. In the 245 runs of Hoffmann et al. 2022 as
# read off their figure, where 5 % is taken, each planned budget is 5 to 28 % wide.
GAPS, WIDEST = (0.1, 0.05, 0.02), 0.3
# A parabola needs three n. A table is one of budgets if at least two have that many, with SHARE of all rows.
SIZES, FEWEST, SHARE = 3, 2, 0.6
DIVERGED = "diverged"
# Below this many n of a budget it cannot be told which of them is off.
SIZES_TO_JUDGE = 4
# A loss this much above what the other n of its budget allow, in ln L, is that of a run that diverged.
FAR = np.log(1.1)


@dataclass(frozen=True)
class Budgets:
    """The budgets of compute of a table, by rising C.

    index: the budget of each row, (rows,), −1 for rows in none. flops: C of each budget, (budgets,), the median of its
    rows. gap: the C of a budget's rows differ by less than this share from one to the next. width: the largest C of a
    budget over its smallest, minus 1, at most. unbudgeted: "C=… to …: why" for every run of rows without a gap that is
    too wide to be one budget. diverged: "C=…, n_latents=…: why" for every row whose loss is far above the others.
    """

    index: np.ndarray
    flops: Array
    gap: float
    width: float
    unbudgeted: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are in a budget."""
        return int((self.index >= 0).sum())

    def nearest(self, C: Array) -> Array:
        """The C of the budget nearest to each C."""
        return self.flops[np.abs(np.log(self.flops) - np.log(C)[:, None]).argmin(axis=1)]


def shared_budgets(table: pd.DataFrame, flops: str) -> Budgets | None:
    """The budgets of an isoFLOP table, None for any other.

    In an isoFLOP table each row is a run of its own, most rows share their C with rows of other n, and there are fewer
    budgets than numbers of tokens: where there are not, the rows are a grid of n and tokens. A table without a column
    run_id whose budgets outnumber its n is taken for curves, each with many evaluations.
    """
    if not {"n_latents", flops} <= set(table.columns) or flops == "tokens":
        return None
    if "run_id" in table.columns and table["run_id"].duplicated().any():
        return None
    C, n = tables.numbers(table, flops), tables.numbers(table, "n_latents")
    if not (np.isfinite(C) & (C > 0) & np.isfinite(n)).all() or not len(table):
        return None
    budgets = max((_binned(C, gap) for gap in GAPS), key=lambda each: _in_parabolas(each, n))
    if len(_full(budgets, n)) < FEWEST or _in_parabolas(budgets, n) < SHARE:
        return None
    if "run_id" not in table.columns and len(budgets.flops) > len(np.unique(n)):
        return None
    return None if _few_tokens(table, len(_full(budgets, n))) else budgets


def _full(budgets: Budgets, n: Array) -> np.ndarray:
    """The budgets that have the n of a parabola."""
    sizes = np.array([len(np.unique(n[budgets.index == b])) for b in range(len(budgets.flops))])
    return np.flatnonzero(sizes >= SIZES)


def _in_parabolas(budgets: Budgets, n: Array) -> float:
    """The share of the rows that are in such budgets."""
    return float(np.isin(budgets.index, _full(budgets, n)).mean())


def _binned(C: Array, gap: float) -> Budgets:
    order = np.argsort(C, kind="stable")
    ends = np.flatnonzero(np.diff(np.log(C[order])) > np.log1p(gap)) + 1
    index, centres, width, wide = np.full(len(C), -1), list[float](), 0.0, list[str]()
    for rows in np.split(order, ends):
        low, high = C[rows].min(), C[rows].max()
        if high > (1 + WIDEST) * low:
            kind = f"{len(rows)} rows without a gap of {100 * gap:.0f} % in C are no one budget"
            wide.append(f"C={short_number(low)} to {short_number(high)}: {kind}")
            continue
        index[rows] = len(centres)
        centres.append(float(np.median(C[rows])))
        width = max(width, float(high / low - 1))
    return Budgets(index, np.array(centres), gap, width, tuple(wide))


def _few_tokens(table: pd.DataFrame, budgets: int) -> bool:
    """Whether there are no more numbers of tokens than budgets."""
    if "tokens" not in table.columns:
        return False
    D = tables.numbers(table, "tokens")
    if not (np.isfinite(D) & (D > 0)).all():
        return False
    return len(np.unique(np.log(D).round(6))) <= budgets


def without_diverged(table: pd.DataFrame, flops: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with a finite loss whose state is not `diverged`, and "C=…, n_latents=…: why" for all others."""
    loss = tables.numbers(table, "nmse")
    marked = np.zeros(len(table), dtype=bool)
    if "state" in table.columns:
        marked = (
            table["state"].astype("string").str.strip().str.lower().eq(DIVERGED).fillna(False).to_numpy(bool)
        )
    bad = marked | ~np.isfinite(loss)
    C, n = tables.numbers(table, flops), tables.numbers(table, "n_latents")
    why = np.where(
        marked, "its state is diverged", np.where(np.isnan(loss), "it has no loss", "its loss is infinite")
    )
    names = tuple(f"{cell(C[i], n[i])}: {why[i]}" for i in np.flatnonzero(bad))
    return table[~bad], names


def cell(C: float, n: float) -> str:
    """`C=1e+18, n_latents=25,094,476`."""
    return f"C={C:.3g}, n_latents={short_number(n)}"


def judged(budgets: Budgets, runs: pd.DataFrame, run: np.ndarray, log_l: Array) -> Budgets:
    """The budgets without the rows whose loss is far above the others; run, log_l: of each point, (m,)."""
    n, index, names = runs["n_latents"].to_numpy(dtype=float)[run], budgets.index.copy(), list[str]()
    for b, C in enumerate(budgets.flops):
        losses = {
            float(size): float(log_l[(index == b) & (n == size)].min()) for size in np.unique(n[index == b])
        }
        for size, why in far_above(losses).items():
            names.append(f"{cell(C, size)}: {why}")
            index[(index == b) & (n == size)] = -1
    return replace(budgets, index=index, diverged=tuple(names))


def far_above(losses: Mapping[float, float]) -> dict[float, str]:
    """The n whose loss is far above those of the other n of a budget, and why; losses: n to ln L.

    Away from its minimum, the loss of a budget only rises, and at most as fast as n or 1/n where the exponents of the
    law are below 1. On either side of the lowest loss, an n is left out whose loss is more than 10 % above that of an n
    further out, or above what such a rise from its neighbour allows.
    """
    n = sorted(losses)
    if len(n) < SIZES_TO_JUDGE:
        return {}
    middle = min(range(len(n)), key=lambda i: losses[n[i]])
    out = {}
    for side in (n[middle:], n[middle::-1]):
        before = side[0]
        for at, size in enumerate(side[1:], start=1):
            steepest = losses[before] + abs(np.log(size / before)) + FAR
            further = [losses[other] for other in side[at + 1 :]]
            highest = min([steepest, *(loss + FAR for loss in further)])
            if losses[size] > highest:
                loss, limit = (float(np.exp(value)) for value in (losses[size], highest))
                out[size] = (
                    f"its loss {loss:.4g} is far above those of other n there, which allow {limit:.4g}"
                )
            else:
                before = size
    return out

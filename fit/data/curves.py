"""Training curves on a common grid of compute, as candidate points for the frontier L(C)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.budgets import Budgets, judged, shared_budgets
from fit.data.groups import schedules
from fit.law.errors import FitError
from fit.law.law import Array

# Each curve has one point per quarter of an octave of C.
PER_OCTAVE = 4
STEP = np.log(2) / PER_OCTAVE
# Relative error within which exp(ln x) is x: 1e-14 for ln x = 46, a compute of 1e20.
SAME = 1e-12
# Columns with one value per run, kept if the table has them.
OF_RUNS = ("n_latents", "lr", "batch_tokens")


@dataclass(frozen=True)
class Candidates:
    """The m candidate points, sorted by C.

    run: (m,), index into runs. log_c, log_l: (m,). bin: (m,), log_c in steps of the grid. runs: one row per run, with
    run_id and, if the table has them, n_latents, lr and batch_tokens, NaN where unknown. log_tokens: (m,), None if the
    table has no tokens. evaluated: the sorted values of flops, nmse and tokens in the table, where they are known.
    budgets: of an isoFLOP table, with the budget of each point, (m,); None for any other.
    """

    run: np.ndarray
    log_c: Array
    log_l: Array
    bin: np.ndarray
    runs: pd.DataFrame
    log_tokens: Array | None = None
    evaluated: Mapping[str, Array] = field(default_factory=dict)
    budgets: Budgets | None = None

    def column(self, column: str) -> Array | None:
        """A column of the runs at every point, (m,); None unless it is known and positive for every run."""
        if column not in self.runs.columns:
            return None
        values = self.runs[column].to_numpy(dtype=float)
        return values[self.run] if np.all(np.isfinite(values) & (values > 0)) else None

    def table(self, index: np.ndarray) -> pd.DataFrame:
        """The points at `index` as rows: the columns of `runs`, flops, nmse and, if known, tokens."""
        rows = self.runs.iloc[self.run[index]].reset_index(drop=True)
        logs = {"flops": self.log_c, "nmse": self.log_l, "tokens": self.log_tokens}
        values = {name: np.exp(log[index]) for name, log in logs.items() if log is not None}
        return rows.assign(**{name: self._as_evaluated(name, value) for name, value in values.items()})

    def _as_evaluated(self, name: str, values: Array) -> Array:
        """The values, with exp(ln x) replaced by x where x was evaluated: 16384 instead of 16383.99999999999."""
        known = self.evaluated.get(name, np.empty(0))
        if not len(known):
            return values
        after = np.clip(np.searchsorted(known, values), 1, max(len(known) - 1, 1))
        pairs = np.stack([known[after - 1], known[np.minimum(after, len(known) - 1)]])
        nearest = pairs[np.argmin(np.abs(pairs - values), axis=0), np.arange(len(values))]
        return np.where(np.abs(nearest - values) <= SAME * values, nearest, values)


def candidates(curves: pd.DataFrame, flops: str) -> Candidates:
    """Each curve at the common grid of C, interpolated in log-log between its evaluations, and at its end.

    The loss is the column nmse, in our tables that of the live or the averaged weights, whichever is lower. Each curve
    is replaced by its best loss so far, so it never rises. If the learning rate is not constant, only the last row of a
    run counts, since only there is it a run at its budget; an unknown schedule counts as constant. Without a column
    run_id, the rows of one n_latents are one curve; without both columns, each row is a run of its own. So are the rows
    of an isoFLOP table, see `shared_budgets`.
    """
    curves = curves.reset_index(drop=True)
    budgets = shared_budgets(curves, flops)
    code, ids = _runs(curves) if budgets is None else _rows(curves)
    evaluated = {"flops": tables.numbers(curves, flops), "nmse": tables.numbers(curves, "nmse")}
    c, loss = np.log(evaluated["flops"]), np.log(evaluated["nmse"])
    log_d = _log_tokens(curves)
    only_end = decays(curves)
    of_runs = {name: tables.numbers(curves, name) for name in OF_RUNS if name in curves.columns}
    first, on_grid = [], []
    for rows in np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1]):
        rows = rows[np.lexsort((loss[rows], c[rows]))] if len(rows) > 1 else rows
        first.append(rows[0])
        rows = rows[-1:] if only_end[rows].any() else rows
        on_grid.append(_on_grid(c[rows], loss[rows], log_d[rows]))
    run = np.repeat(np.arange(len(ids)), [len(x) for x, _, _ in on_grid])
    log_c, log_l, log_d = (np.concatenate(parts) for parts in zip(*on_grid, strict=True))
    by_c = np.lexsort((log_l, log_c))
    log_c, log_l, log_d = log_c[by_c], log_l[by_c], log_d[by_c]
    runs = pd.DataFrame({"run_id": ids, **{name: values[first] for name, values in of_runs.items()}})
    known = np.isfinite(log_d).all()
    if known:
        evaluated["tokens"] = tables.numbers(curves, "tokens")
    if budgets is not None:
        budgets = judged(replace(budgets, index=budgets.index[run[by_c]]), runs, run[by_c], log_l)
    return Candidates(
        run[by_c],
        log_c,
        log_l,
        np.rint(log_c / STEP).astype(int),
        runs,
        log_d if known else None,
        {name: np.unique(values) for name, values in evaluated.items()},
        budgets,
    )


def excess(pool: Candidates) -> Array:
    """ln of the loss of each run over the mean of all runs of its n at the same C, on average over C, (runs,).

    NaN for a run that no other of its n meets at any C.
    """
    n = pool.column("n_latents")
    points = pd.DataFrame(
        {"bin": pool.bin, "n": 0.0 if n is None else n, "run": pool.run, "log_l": pool.log_l}
    )
    cells = points.groupby(["bin", "n"])["log_l"]
    points["off"] = (points["log_l"] - cells.transform("mean")).where(cells.transform("size") > 1)
    return points.groupby("run")["off"].mean().reindex(range(len(pool.runs))).to_numpy(dtype=float)


def _rows(curves: pd.DataFrame) -> tuple[np.ndarray, pd.Index]:
    """Each row as a run of its own."""
    ids = curves["run_id"] if "run_id" in curves.columns else curves.index
    return np.arange(len(curves)), pd.Index(ids)


def _runs(curves: pd.DataFrame) -> tuple[np.ndarray, pd.Index]:
    names = (
        curves["run_id"] if "run_id" in curves.columns else curves.get("n_latents", curves.index.to_series())
    )
    if names.isna().any():
        raise FitError(
            f"{names.isna().sum()} rows have no {names.name}, which says which curve a row belongs to."
        )
    code, ids = pd.factorize(names)
    return code, pd.Index(ids)


def _log_tokens(curves: pd.DataFrame) -> Array:
    """ln D of every row, NaN where unknown."""
    if "tokens" not in curves.columns:
        return np.full(len(curves), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(tables.numbers(curves, "tokens"))


def decays(table: pd.DataFrame) -> np.ndarray:
    """Rows whose learning rate is not constant, (rows,); a missing `lr_schedule` counts as constant."""
    if "lr_schedule" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return (schedules(table) != "constant").to_numpy(dtype=bool)


def about_schedule(curves: pd.DataFrame) -> str:
    """A sentence on which points count because of `lr_schedule`; empty if all are known to be constant."""
    unknown = "lr_schedule" not in curves.columns or bool(curves["lr_schedule"].isna().all())
    decaying = decays(curves)
    if decaying.any():
        runs = f"{_runs(curves[decaying])[1].size} of {_runs(curves)[1].size} runs"
        return f" Of {runs}, whose lr is not constant, only the end points."
    return (
        " No lr_schedule is known: the lr was taken as constant, every point as a run at its budget."
        * unknown
    )


def _on_grid(log_c: Array, log_l: Array, log_d: Array) -> tuple[Array, Array, Array]:
    if len(log_c) == 1:
        return log_c, log_l, log_d
    log_c, first = np.unique(log_c, return_index=True)
    log_l, log_d = np.minimum.accumulate(log_l[first]), log_d[first]
    grid = np.arange(np.ceil(log_c[0] / STEP), np.floor(log_c[-1] / STEP) + 1) * STEP
    grid = grid[(grid >= log_c[0]) & (grid < log_c[-1])]
    grid = np.append(grid, log_c[-1])
    return grid, np.interp(grid, log_c, log_l), np.interp(grid, log_c, log_d)


def falling(points: Candidates, present: np.ndarray) -> np.ndarray:
    """Indices of the points among those `present`, (m,) flags, that lie below every present point of less compute."""
    index = np.flatnonzero(present)
    if not len(index):
        return index
    lowest = np.minimum.accumulate(points.log_l[index])
    return index[np.append(True, lowest[1:] < lowest[:-1])]

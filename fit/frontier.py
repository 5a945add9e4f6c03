"""The frontier L(C): the lowest loss reachable at compute C over all training curves, and its resampling over runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit import tables
from fit.errors import FitError
from fit.laws import Array
from fit.rows import Rows

# A point of the frontier in each quarter of an octave of C.
PER_OCTAVE = 4


@dataclass(frozen=True)
class Candidates:
    """Points that may lie on the frontier, by rising C: run (m,) index into runs, log_c, log_l, bin (m,).

    runs: one row a run, with run_id and, where known, n_latents.
    """

    run: np.ndarray
    log_c: Array
    log_l: Array
    bin: np.ndarray
    runs: pd.DataFrame


@dataclass(frozen=True)
class Frontier:
    """Rows on the frontier by rising C: columns flops, nmse, run_id and, where known, n_latents."""

    points: pd.DataFrame
    candidates: Candidates
    window: tuple[float, float]
    selection: dict[str, Any]
    warnings: list[str]


def candidates(curves: pd.DataFrame, flops: str) -> Candidates:
    """Each curve at the common grid of C, interpolated in log-log between its evaluations, and at its end.

    A curve is taken as the best loss so far: it may not rise. With a learning rate schedule that is not constant only
    the last row of a run is a run at its budget, and only that is taken. Without a column run_id the rows of one
    n_latents are one curve; without both, each row is a run of its own.
    """
    curves = curves.reset_index(drop=True)
    names = (
        curves["run_id"] if "run_id" in curves.columns else curves.get("n_latents", curves.index.to_series())
    )
    if names.isna().any():
        raise FitError(f"{names.isna().sum()} rows have no {names.name}: it is what tells the curves apart.")
    code, ids = pd.factorize(names)
    c, loss = np.log(tables.numbers(curves, flops)), np.log(tables.numbers(curves, "nmse"))
    only_end = np.zeros(len(curves), dtype=bool)
    if "lr_schedule" in curves.columns:
        schedule = curves["lr_schedule"].astype("string").fillna("constant")
        only_end = (schedule != "constant").to_numpy(dtype=bool)
    n = tables.numbers(curves, "n_latents") if "n_latents" in curves.columns else None
    found, of_run = [], []
    for i in range(len(ids)):
        mine = np.flatnonzero(code == i)
        mine = mine[np.lexsort((loss[mine], c[mine]))]
        of_run.append(np.nan if n is None else n[mine[0]])
        found.append(
            _on_grid(c[mine[-1:]], loss[mine[-1:]]) if only_end[mine].any() else _on_grid(c[mine], loss[mine])
        )
    run = np.repeat(np.arange(len(ids)), [len(x) for x, _ in found])
    log_c, log_l = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((log_l, log_c))
    log_c, log_l, run = log_c[order], log_l[order], run[order]
    runs = pd.DataFrame({"run_id": ids})
    if n is not None:
        runs["n_latents"] = of_run
    return Candidates(run, log_c, log_l, _bins(log_c), runs)


def _bins(log_c: Array) -> np.ndarray:
    return np.rint(log_c / np.log(2) * PER_OCTAVE).astype(int)


def _on_grid(log_c: Array, log_l: Array) -> tuple[Array, Array]:
    log_c, first = np.unique(log_c, return_index=True)
    log_l = np.minimum.accumulate(log_l[first])
    step = np.log(2) / PER_OCTAVE
    grid = np.arange(np.ceil(log_c[0] / step), np.floor(log_c[-1] / step) + 1) * step
    grid = grid[(grid >= log_c[0]) & (grid < log_c[-1])]
    return np.append(grid, log_c[-1]), np.append(np.interp(grid, log_c, log_l), log_l[-1])


def envelope(of: Candidates, present: np.ndarray) -> np.ndarray:
    """Indices of the points that are below every point of less compute, one a bin, among those `present`."""
    index = np.flatnonzero(present)
    lowest = np.minimum.accumulate(of.log_l[index])
    strict = np.append(True, lowest[1:] < lowest[:-1]) if len(index) else np.zeros(0, dtype=bool)
    index = index[strict]
    last = np.append(of.bin[index][1:] != of.bin[index][:-1], True) if len(index) else strict
    return index[last]


def frontier(curves: pd.DataFrame, flops: str, needed: int, min_flops: float | None = None) -> Frontier:
    """The frontier of a group of curves, from `min_flops`, without its ends of the smallest and of the largest n.

    There one n is best only because the grid of n ends. For curves whose E and α are both 0.1, a fit with the smallest
    n gives α = 0.126 [0.117, 0.185], without it 0.100 [0.080, 0.144]. needed: fewer points than this are a FitError.
    """
    of = candidates(curves, flops)
    index = envelope(of, np.ones(len(of.run), dtype=bool))
    if min_flops is not None:
        index = index[np.exp(of.log_c[index]) >= min_flops]
    inside, warnings = _inside_the_grid(of, index, needed)
    every, index = index, index[inside]
    warnings += _ended_as_best(of, every, index)
    if len(index) < needed:
        raise FitError(
            f"The frontier of {len(of.runs)} runs has {len(index)} points and the fit needs {needed}"
            f"{f' with at least {min_flops:g} FLOPs' if min_flops is not None else ''}: "
            "train longer curves, more sizes, or lower --min-flops."
        )
    log_c = of.log_c[index]
    points = of.runs.iloc[of.run[index]].reset_index(drop=True)
    points = points.assign(flops=np.exp(log_c), nmse=np.exp(of.log_l[index]))
    on = points["run_id"].nunique()
    selection = {
        "runs": len(of.runs),
        "runs_on_frontier": on,
        "used": len(points),
        "below_the_grid": inside.start,
        "beyond_the_grid": len(every) - inside.stop,
        "min_flops": min_flops,
        "per_octave": PER_OCTAVE,
    }
    return Frontier(points, of, (log_c[0], log_c[-1]), selection, warnings)


def _inside_the_grid(of: Candidates, index: np.ndarray, needed: int) -> tuple[slice, list[str]]:
    """The points from the first that is not of the smallest n to the last that is not of the largest n."""
    whole = slice(0, len(index))
    if "n_latents" not in of.runs.columns or of.runs["n_latents"].isna().any():
        return whole, ["Not every n_latents is known: nor is whether the grid of n cuts the frontier short."]
    n = of.runs["n_latents"].to_numpy(dtype=float)
    here, warnings = n[of.run[index]], []
    below = np.flatnonzero(here < n.max())
    stop = int(below[-1]) + 1 if len(below) else 0
    if stop < needed:
        warnings += [_at_the_edge("last", len(index) - stop, len(index), "largest", n.max(), stop)]
        stop = len(index)
    above = np.flatnonzero(here[:stop] > n.min())
    start = int(above[0]) if len(above) else stop
    if stop - start < needed and n.min() < n.max():
        warnings += [_at_the_edge("first", start, stop, "smallest", n.min(), stop - start)]
    return slice(0 if stop - start < needed else start, stop), warnings


def _at_the_edge(side: str, edge: int, of: int, kind: str, n: float, left: int) -> str:
    return (
        f"The frontier is at the edge of the grid: the {side} {edge} of its {of} points are of the {kind} "
        f"n_latents, {n:,.0f}, and a {kind[:-3]}er one may be lower there. "
        f"All are kept, since only {left} others would remain."
    )


def _ended_as_best(of: Candidates, index: np.ndarray, kept: np.ndarray) -> list[str]:
    """A warning where a curve leaves the frontier by its end and not by another that is lower."""
    end = np.full(len(of.runs), -np.inf)
    np.maximum.at(end, of.run, of.log_c)
    curves = np.bincount(of.run, minlength=len(of.runs)) > 1
    leaves = np.append(of.run[index][1:] != of.run[index][:-1], False)
    ended = of.run[index[leaves & (of.log_c[index] == end[of.run[index]]) & curves[of.run[index]]]]
    short = np.intersect1d(ended, of.run[kept])
    if not len(short):
        return []
    on = len(np.unique(of.run[kept]))
    return [f"{len(short)} of {on} runs on the frontier end before another is lower: train them longer."]


def resampled(of: Frontier, draws: int, seed: int, needed: int) -> Rows:
    """Frontiers of runs drawn with replacement, over the same window of C: rows (draws, points), weight 0 where absent.

    A curve's rows are not independent, its run is: whole runs are drawn. Draws with fewer than `needed` points are left
    out. FitError when fewer than half of the draws remain.
    """
    rng = np.random.default_rng(seed)
    c = of.candidates
    inside = (c.log_c >= of.window[0] - 1e-9) & (c.log_c <= of.window[1] + 1e-9)
    found: list[np.ndarray] = []
    for _ in range(draws):
        drawn = np.bincount(rng.integers(len(c.runs), size=len(c.runs)), minlength=len(c.runs)) > 0
        index = envelope(c, drawn[c.run])
        index = index[inside[index]]
        if len(index) >= needed:
            found.append(index)
    if 2 * len(found) < draws:
        raise FitError(
            f"Only {len(found)} of {draws} draws of {len(c.runs)} runs leave a frontier of {needed} points: "
            "intervals need more runs."
        )
    return _padded(c, found)


def _padded(c: Candidates, found: Sequence[np.ndarray]) -> Rows:
    width = max(map(len, found))
    log_c, log_l = (np.full((len(found), width), log.mean()) for log in (c.log_c, c.log_l))
    present = np.zeros((len(found), width))
    for row, index in enumerate(found):
        log_c[row, : len(index)], log_l[row, : len(index)] = c.log_c[index], c.log_l[index]
        present[row, : len(index)] = 1.0
    return Rows({"flops": np.exp(log_c)}, np.exp(log_l), present)

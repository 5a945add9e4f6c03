"""The data of T(n), the tokens to convergence, and of L(n, D), the lowest loss of each n at each budget of tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit.converged.tails import evaluations, limits
from fit.data import tables
from fit.data.curves import candidates
from fit.law.errors import FitError
from fit.law.law import Array


def to_convergence(rows: pd.DataFrame, curves: pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """The converged runs with their tokens to convergence in the column `tokens`, and the rule that defines these.

    With curves, it is the first D at which L(D) ≤ (1 + ε)·L∞, interpolated in log-log, even if the run went on. L∞ is
    that of `fit.converged.tails`, as for L(N), and its error is one that runs share: shared_low and shared_high are ln
    of the factors on the tokens where L∞ is at its lower and at its upper 95 % end. Without curves, it is the tokens of
    the runs that stopped at convergence, by the trainer's own L∞. The tokens depend on the lr (Gao et al. 2024, Fig. 3:
    4 times fewer at the largest lr), so the rows have to be those of the best lr. Raises FitError if neither can be
    known.
    """
    if curves is not None and "run_id" in rows.columns and evaluations(rows, curves):
        tables.require(rows, "epsilon")
        reached = _reached(rows, curves)
        if len(reached):
            known = rows[rows["run_id"].isin(reached.index)]
            columns = {name: known["run_id"].map(reached[name]) for name in reached.columns}
            return known.assign(**columns), "first D with L(D) ≤ (1 + ε)·L∞"
    if {"stop", "tokens"} <= set(rows.columns):
        stopped = rows[(rows["stop"] == "converged") & rows["tokens"].notna()]
        if len(stopped):
            return stopped.assign(shared_low=0.0, shared_high=0.0), "D of runs that stopped at convergence"
    raise FitError(
        "Tokens to convergence are not known: they need the curves with tokens and nmse beside epsilon, or runs with "
        "stop=converged."
    )


def _reached(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """tokens, shared_low and shared_high by run_id; without the runs whose curve never gets within ε, or begins so."""
    known = evaluations(rows, curves)
    some = rows[rows["run_id"].isin(known)]
    # An extrapolated run has its L∞ in place of its last loss, which a tail is relative to.
    some = some.assign(nmse=[known[run][1][-1] for run in some["run_id"]])
    tails, _ = limits(some, curves)
    found: dict[Any, tuple[float, float, float]] = {}
    epsilon = tables.numbers(some, "epsilon")
    for run, eps, limit, *shifts in zip(
        some["run_id"],
        epsilon,
        *(tails[name] for name in ("value", "shared_low", "shared_high")),
        strict=True,
    ):
        D, L = known[run]
        tokens = _first(D, L, limit * (1 + eps))
        if tokens is not None:
            low, high = (np.log(_moved(D, L, limit * np.exp(shift), eps) / tokens) for shift in shifts)
            found[run] = (tokens, float(low), float(high))
    return pd.DataFrame.from_dict(
        found, orient="index", columns=["tokens", "shared_low", "shared_high"], dtype=float
    )


def _first(D: Array, L: Array, goal: float) -> float | None:
    """The first D at which the loss is at its goal, None if it never is, or is from the first evaluation on."""
    L = np.minimum.accumulate(L)
    i = int(np.argmax(goal >= L))
    if not i or not goal >= L[i]:
        return None
    part = np.log(L[i - 1] / goal) / np.log(L[i - 1] / L[i])
    return float(D[i - 1] * (D[i] / D[i - 1]) ** part)


def _moved(D: Array, L: Array, limit: float, epsilon: float) -> float:
    """The tokens to convergence for another L∞, which the curve may have begun within ε of, or not have reached.

    Beyond its end the curve goes on as L∞ + A·D^−g with the g of that L∞: R = gap/fall of the last doubling is
    1/(2^g − 1). A fall that is lost in noise counts as a tenth of the gap.
    """
    tokens = _first(D, L, limit * (1 + epsilon))
    if tokens is not None:
        return tokens
    if L[0] <= limit * (1 + epsilon):
        return float(D[0])
    end = float(L.min())
    gap = end - limit
    fall = max(float(np.interp(np.log(D[-1] / 2), np.log(D), L)) - end, 0.1 * gap)
    return float(D[-1] * (gap / (epsilon * limit)) ** (1 / np.log2(1 + fall / gap)))


def by_budget(table: pd.DataFrame, inputs: Sequence[str] = ()) -> pd.DataFrame:
    """The lowest loss of each n (and k) at each budget of tokens, on a grid of quarter octaves.

    table: evaluations or runs, with the columns run_id, n_latents, tokens, nmse and, if known, k. inputs: further
    columns of a law. One that each run has one value of is part of a cell, as n is: runs of different unique_tokens do
    not compete. One that changes along a run is read off its curve. Each budget takes the lr of the lowest curve there.
    A budget is left out if it is reached only by curves with a higher loss than a smaller budget has. If the lr decays,
    only the end of a run counts.
    """
    further = [name for name in inputs if name not in ("n_latents", "tokens", "k")]
    tables.require(table, "run_id", "n_latents", "tokens", "nmse", *further)
    known = table[table["nmse"].notna() & table["tokens"].notna()]
    if known.empty:
        raise FitError("No run has a loss and tokens yet.")
    tables.positive(known, "n_latents", "tokens", "nmse")
    pool = candidates(known, "tokens")
    points = pool.table(np.arange(len(pool.run))).assign(bin=pool.bin)
    cell = ["n_latents", "bin"]
    if "flops" in points.columns:
        points = points.drop(columns="flops")  # the grid's axis, here tokens
    for name in ("k", *further) if "k" in known.columns else further:
        points[name], constant = _of_runs(known, points, name)
        cell[-1:-1] = [name] if constant or name == "k" else []
    lowest = points.sort_values("nmse", kind="stable").drop_duplicates(cell).sort_values(cell, kind="stable")
    before = lowest.groupby(cell[:-1], dropna=False)["nmse"].transform(lambda loss: loss.cummin().shift())
    return lowest[~(lowest["nmse"] >= before)].drop(columns="bin")


def _of_runs(known: pd.DataFrame, points: pd.DataFrame, name: str) -> tuple[pd.Series, bool]:
    """A column at points on the curves of runs, and whether it has one value in each run.

    Between two evaluations it is on a straight line over ln tokens, of its logarithm where all values are positive.
    """
    values = pd.Series(tables.numbers(known, name), index=known.index)
    of_run = values.groupby(known["run_id"])
    if of_run.nunique().le(1).all():
        return points["run_id"].map(of_run.first()), True
    log = bool((values > 0).all())
    curves = {
        run: (np.log(curve["tokens"].to_numpy()), values[curve.index].to_numpy())
        for run, curve in known.sort_values("tokens").groupby("run_id")
    }
    read_off = [
        np.interp(np.log(tokens), curves[run][0], np.log(curves[run][1]) if log else curves[run][1])
        for run, tokens in zip(points["run_id"], points["tokens"], strict=True)
    ]
    return pd.Series(np.exp(read_off) if log else read_off, index=points.index), False

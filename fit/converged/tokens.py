"""The data of T(n), the tokens to convergence, and of L(n, D), the lowest loss of each n at each budget of tokens."""

from typing import Any

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.curves import candidates
from fit.law.errors import FitError


def to_convergence(rows: pd.DataFrame, curves: pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """The converged runs with their tokens to convergence in the column `tokens`, and the rule that defines these.

    With curves, it is the first D at which L(D) ≤ (1 + ε)·L∞, interpolated in log-log, even if the run went on. Without
    curves, it is the tokens of the runs that stopped at convergence. The tokens depend on the lr (Gao et al. 2024,
    Fig. 3: 4 times fewer at the largest lr), so the rows have to be those of the best lr. Raises FitError if neither
    can be known.
    """
    if (
        curves is not None
        and {"run_id", "tokens", "nmse"} <= set(curves.columns)
        and "run_id" in rows.columns
    ):
        tables.require(rows, "nmse_inf", "epsilon")
        reached = _first_within(rows, curves)
        if reached.notna().any():
            reached_runs = rows.assign(tokens=rows["run_id"].map(reached))
            return reached_runs[reached_runs["tokens"].notna()], "first D with L(D) ≤ (1 + ε)·L∞"
    if {"stop", "tokens"} <= set(rows.columns):
        reached_runs = rows[(rows["stop"] == "converged") & rows["tokens"].notna()]
        if len(reached_runs):
            return reached_runs, "D of runs that stopped at convergence"
    raise FitError(
        "Tokens to convergence are not known: they need the curves with tokens and nmse beside nmse_inf and epsilon, "
        "or runs with stop=converged."
    )


def _first_within(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.Series:
    """The first D within ε of L∞, by run_id; missing if a curve never gets there, or is there from its first row on."""
    limit, epsilon = tables.numbers(rows, "nmse_inf"), tables.numbers(rows, "epsilon")
    known = rows[
        np.isfinite(limit) & (limit > 0) & np.isfinite(epsilon)
    ]  # a tail that falls to 0 is never reached
    target = known.set_index("run_id")
    target = np.log(tables.numbers(target, "nmse_inf") * (1 + tables.numbers(target, "epsilon")))
    goal = dict(zip(known["run_id"], target, strict=True))
    kept = curves[curves["run_id"].isin(known["run_id"])]
    kept = tables.numeric(kept, "tokens", "nmse")
    kept = kept[(kept["tokens"] > 0) & (kept["nmse"] > 0)].sort_values(["run_id", "tokens"])
    first_tokens: dict[Any, float] = {}
    for run, curve in kept.groupby("run_id"):
        log_d, log_l = np.log(curve["tokens"].to_numpy()), np.log(curve["nmse"].to_numpy())
        log_l = np.minimum.accumulate(log_l)
        i = int(np.argmax(log_l <= goal[run]))
        if i and log_l[i] <= goal[run]:
            part = (log_l[i - 1] - goal[run]) / (log_l[i - 1] - log_l[i])
            first_tokens[run] = float(np.exp(log_d[i - 1] + part * (log_d[i] - log_d[i - 1])))
    return pd.Series(first_tokens, dtype=float)


def by_budget(table: pd.DataFrame) -> pd.DataFrame:
    """The lowest loss of each n (and k) at each budget of tokens, on a grid of quarter octaves.

    table: evaluations or runs, with the columns run_id, n_latents, tokens, nmse and, if known, k. Each budget takes the
    lr of the lowest curve there. A budget is left out if it is reached only by curves with a higher loss than a smaller
    budget has. If the lr decays, only the end of a run counts.
    """
    tables.require(table, "run_id", "n_latents", "tokens", "nmse")
    known = table[table["nmse"].notna() & table["tokens"].notna()]
    if known.empty:
        raise FitError("No run has a loss and tokens yet.")
    tables.positive(known, "n_latents", "tokens", "nmse")
    pool = candidates(known, "tokens")
    points = pool.table(np.arange(len(pool.run))).assign(bin=pool.bin)
    cell = ["n_latents", "bin"]
    if "k" in known.columns:
        points["k"] = points["run_id"].map(known.drop_duplicates("run_id").set_index("run_id")["k"])
        cell = ["n_latents", "k", "bin"]
    lowest = points.sort_values("nmse", kind="stable").drop_duplicates(cell).sort_values(cell, kind="stable")
    before = lowest.groupby(cell[:-1], dropna=False)["nmse"].transform(lambda loss: loss.cummin().shift())
    return lowest[~(lowest["nmse"] >= before)].drop(columns=["bin", "flops"])

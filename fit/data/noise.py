"""The noise of a study's losses, from runs that differ only in their seed, or else from the curves of the runs."""

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.curves import decays
from fit.data.groups import GROUPS
from fit.law.checks.noise import KnownFrom, Noise, from_curves

# Columns that differ between runs of different configurations. Any other column that differs adds to the noise of
# seeds, so that a law is refuted later, not sooner.
CONFIGURATION = ("n_latents", "k", "lr", "max_tokens", "stop", *GROUPS)
# What rises along a run.
ALONG = ("tokens", "flops_sparse", "flops_dense")
# Fewer degrees of freedom do not tell the scatter of seeds.
FEWEST = 2


def noise_of_runs(rows: pd.DataFrame, every: pd.DataFrame, curves: pd.DataFrame | None) -> Noise | None:
    """The noise of ln L in a row that stands for one run, or for the mean over the seeds of a configuration.

    None where neither seeds nor dense curves show it, and where losses are extrapolated, whose errors are their own.

    Parameters
    ----------
    rows : the rows that a law is fitted to; the column `seeds`, if any, is how many runs each is a mean of.
    every : the runs that they were chosen from.
    curves : evaluations; those of the runs in `rows` count.
    """
    if "extrapolated" in rows.columns and bool(rows["extrapolated"].any()):
        return None
    by_seeds = noise_of_seeds(every)
    if by_seeds is not None:
        share = float(np.mean(1 / tables.numbers(rows, "seeds"))) if "seeds" in rows.columns else 1.0
        return Noise(by_seeds.rms * float(np.sqrt(share)), by_seeds.dof, KnownFrom.SEEDS)
    if curves is None or "run_id" not in rows.columns or "run_id" not in curves.columns:
        return None
    return noise_of_curves(curves[curves["run_id"].isin(rows["run_id"])])


def noise_of_evaluations(curves: pd.DataFrame) -> Noise | None:
    """The noise of ln L in an evaluation: between seeds at the end of their runs, or else about each run's curve.

    None where the table has no column run_id: its rows may show the noise themselves.
    """
    if "run_id" not in curves.columns:
        return None
    scale = next((name for name in ALONG if name in curves.columns), None)
    ends = curves[curves["nmse"].notna()]
    ends = ends if scale is None else ends.sort_values(scale, kind="stable")
    return noise_of_seeds(ends.drop_duplicates("run_id", keep="last")) or noise_of_curves(curves)


def noise_of_seeds(runs: pd.DataFrame) -> Noise | None:
    """The pooled standard deviation of ln L between runs of one configuration and different seeds; None without any.

    In a table without a column seed, runs that differ in their run_id alone count as seeds.
    """
    label = next((name for name in ("seed", "run_id") if name in runs.columns), None)
    if label is None or "nmse" not in runs.columns:
        return None
    columns = [name for name in CONFIGURATION if name in runs.columns]
    if not columns:
        return None
    runs = runs.assign(ln=np.log(tables.numbers(runs, "nmse"))).drop_duplicates([*columns, label])
    cells = runs.groupby(columns, dropna=False)["ln"]
    dof = len(runs) - cells.ngroups
    squares = float(((runs["ln"] - cells.transform("mean")) ** 2).sum())
    return (
        Noise(float(np.sqrt(squares / dof)), float(dof), KnownFrom.SEEDS)
        if dof >= FEWEST and squares > 0
        else None
    )


def noise_of_curves(curves: pd.DataFrame) -> Noise | None:
    """The scatter of the evaluations of each run about its own curve, see `from_curves`.

    None without a column run_id, and where the lr decays, because only the end of such a run counts.
    """
    scale = next((name for name in ALONG if name in curves.columns), None)
    if scale is None or not {"run_id", "nmse"} <= set(curves.columns) or decays(curves).any():
        return None
    losses, sizes = tables.numbers(curves, "nmse"), tables.numbers(curves, scale)
    known = np.isfinite(losses) & (losses > 0) & np.isfinite(sizes) & (sizes > 0)
    code, _ = pd.factorize(curves["run_id"])
    order = np.argsort(code[known], kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(code[known]))[:-1]) if known.any() else []
    return from_curves((sizes[known][part], losses[known][part]) for part in parts)

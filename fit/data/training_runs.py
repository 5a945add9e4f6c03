"""Which rows of a table are of one training run: rows of a run share its error and are no independent measurements.

A table says so by a column that names runs, or by its shape: rows that agree in every setting while the tokens rise
are the evaluations of one run. A grid in which each (n, D) was trained by itself has the same shape. It differs in that
somebody chose its budgets: few values, which the sizes share as tokens, as tokens per latent or as compute, or settings
such as the lr that differ from budget to budget. Where the table leaves it open, each row counts as a run, and
`fit.data.correlation` tests that afterwards.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.budgets import shared_budgets
from fit.data.columns import AXIS, CURVES, RUNS
from fit.law.options import NONE
from fit.law.selection import RunsBy

# Names of columns that name runs, without capitals and signs. `id` may be the index of a row, so it counts only where
# its rows are curves.
NAMES = frozenset(
    "run runid runname runs name trial trialid trialname experiment experimentid experimentname exp expid expname "
    "job jobid jobname wandbid wandbrunid wandbname uuid hash runhash cell cellid id trainingrun "
    "sae saeid saename saelensid uniqueid checkpoint ckpt".split()
)
PROGRESS = "tokens"
# Fewest rows at one setting that are taken as a curve where no column names runs: grids have up to seven budgets.
FEWEST_EVALUATIONS = 8
# Most budgets of a grid in which each (n, D) is a run; beyond, shared budgets are a schedule of evaluations.
MOST_BUDGETS = 12
# Share of the rows that have to follow a rule before the table is taken to follow it.
MOST = 0.9
# Settings that make rows runs of their own, wherever they differ; numbers of other names count if their values repeat.
SETTINGS = frozenset(column.name for column in RUNS if column.role == AXIS)
RESULTS = frozenset(column.name for column in (*RUNS, *CURVES) if column.role != AXIS)


@dataclass(frozen=True)
class TrainingRuns:
    """What was taken as one run.

    by, columns, why: the rule, the columns that it reads, and what spoke for it, as the end of a sentence. of_row: the
    run of each row, None where each row is a run.
    """

    by: RunsBy
    columns: tuple[str, ...]
    why: str
    of_row: pd.Series | None = None

    def count(self, rows: pd.DataFrame) -> int:
        """The number of runs among these rows."""
        return len(rows) if self.of_row is None else int(self.of_row[rows.index].nunique())


def training_runs(
    table: pd.DataFrame, inputs: Sequence[str], response: str, asked: str | None
) -> TrainingRuns:
    """What is one run in the rows of one law.

    Parameters
    ----------
    table : the rows, with unique index labels and numbers in the inputs.
    inputs, response : the columns of the law.
    asked : the column that the user named, `none` for each row by itself, None to find out.

    Raises
    ------
    FitError
        If the table lacks the column that was asked for.
    """
    if asked == NONE:
        return TrainingRuns(RunsBy.ROWS, (), "as --cluster none asks")
    if asked is not None:
        tables.require(table, asked, option="--cluster")
        return TrainingRuns(RunsBy.ASKED, (asked,), "as --cluster asks", _numbered(table, [asked]))
    fixed = [name for name in inputs if name != PROGRESS]
    for name in table.columns:
        if names_runs(name) and name not in inputs:
            found = _named(table, name, fixed, PROGRESS if PROGRESS in inputs else "k")
            if found is not None:
                return found
    if PROGRESS not in inputs:
        return TrainingRuns(RunsBy.ROWS, (), "no column names runs that have several rows")
    return _by_shape(table, fixed, response)


def names_runs(column: object) -> bool:
    """Whether a column is called as one that names runs."""
    return re.sub(r"[^a-z0-9]", "", str(column).lower()) in NAMES


def with_run_ids(table: pd.DataFrame, flops: str) -> pd.DataFrame:
    """The table of curves, with a run_id from another column that names runs, if it has none of its own.

    Without such a column, runs are the curves of equal n and settings, where the curves of one n have several settings.
    """
    scales = (flops, "flops", "flops_sparse", "flops_dense", PROGRESS)
    differ = next((name for name in scales if name in table.columns), None)
    if "run_id" in table.columns or differ is None:
        return table
    for name in table.columns:
        if names_runs(name):
            fixed = [column for column in ("n_latents",) if column in table.columns]
            found = _named(table, name, fixed, differ)
            if found is not None and found.of_row is not None and table[name].notna().all():
                labels = table[list(found.columns)].astype(str).agg(" ".join, axis=1)
                return table.assign(run_id=labels)
    return _with_settings_as_runs(table, differ)


def _with_settings_as_runs(table: pd.DataFrame, differ: str) -> pd.DataFrame:
    """The table of curves without names of runs, with a run_id from n and the settings that its curves differ in."""
    if not {"n_latents", "nmse"} <= set(table.columns) or shared_budgets(table, differ) is not None:
        return table
    # Evaluations at equal settings have several C; a column that changes along them is none of a run.
    key = ["n_latents", *settings(table, ["n_latents", differ], "nmse")]
    runs = table.groupby(key, dropna=False)[differ]
    several = runs.ngroups > table["n_latents"].nunique(dropna=False)
    curves = (
        runs.size().median() >= FEWEST_EVALUATIONS and float((runs.nunique() == runs.size()).mean()) >= MOST
    )
    if len(key) == 1 or not several or not curves:
        return table
    return table.assign(run_id=table[key].astype(str).agg(" ".join, axis=1))


def _named(table: pd.DataFrame, name: str, fixed: list[str], differ: str) -> TrainingRuns | None:
    """The runs that a column names; None where its values are no runs.

    Rows of a run agree in the inputs and differ in `differ`: the tokens, or in a law without tokens k, as where one SAE
    was evaluated at several. Where a name was used for several seeds or lr, these are parts of the name.
    """
    rows = table[table[name].notna()]
    if rows.empty:
        return None
    if rows[name].is_unique:
        an_index = pd.api.types.is_numeric_dtype(rows[name])
        return None if an_index else TrainingRuns(RunsBy.ROWS, (name,), f"each has a {name} of its own")
    for more in ([], [c for c in ("seed", "lr") if c in table.columns and c not in fixed]):
        runs = rows.groupby([name, *more], dropna=False)
        same = [column for column in fixed if column != differ]
        if differ not in rows.columns:
            continue
        if same and not bool((runs[same].nunique(dropna=False) <= 1).all(axis=None)):
            continue
        if float((runs[differ].nunique() == runs.size()).mean()) < MOST:
            continue
        if not runs.size().gt(1).any():
            return TrainingRuns(
                RunsBy.ROWS, (name, *more), f"each has a {name} and {', '.join(more)} of its own"
            )
        why = f"rows of one {' and '.join([name, *more])} are one run"
        code = _numbered(table, [name, *more])
        if names_sizes(rows, name, fixed) and _chosen_budgets(
            table, tables.numbers(table, differ), code, fixed
        ):
            return None
        return TrainingRuns(RunsBy.COLUMN, (name, *more), why, code)
    return None


def names_sizes(rows: pd.DataFrame, name: str, fixed: list[str]) -> bool:
    """Whether a column such as `name` may name sizes, as 125M does, and not runs: one for each of the inputs."""
    if (
        any(part in str(name).lower() for part in ("run", "trial", "wandb", "uuid", "hash", "job"))
        or not fixed
    ):
        return False
    return bool(rows.groupby(fixed, dropna=False)[name].nunique().eq(1).all())


def _by_shape(table: pd.DataFrame, fixed: list[str], response: str) -> TrainingRuns:
    """Whether rows of equal settings are curves or a grid of runs."""
    key = [*fixed, *settings(table, [*fixed, PROGRESS], response)]
    tokens = tables.numbers(table, PROGRESS)
    code = _numbered(table, key) if key else pd.Series(0, index=table.index)
    budgets = pd.Series(tokens, index=table.index).groupby(code)
    several = budgets.nunique()
    settings_are = ", ".join(key) or "the table"
    if several.max() < 2:
        return TrainingRuns(RunsBy.ROWS, (), f"no two agree in {settings_are} and differ in tokens")
    if float((several == budgets.size()).mean()) < MOST:
        return TrainingRuns(RunsBy.ROWS, (), f"several have the same {settings_are} and tokens")
    usual = int(several[several > 1].median())
    if usual < FEWEST_EVALUATIONS:
        return TrainingRuns(RunsBy.ROWS, (), f"{usual} tokens at each {settings_are} are too few for curves")
    shared = _chosen_budgets(table, tokens, code, fixed)
    if shared is not None:
        return TrainingRuns(RunsBy.ROWS, (), f"{shared}, as in a grid where each row is trained by itself")
    why = f"rows of equal {settings_are} with {usual} rising tokens are one run"
    return TrainingRuns(RunsBy.CURVES, tuple(key), why, code)


def settings(table: pd.DataFrame, inputs: Sequence[str], response: str) -> list[str]:
    """The columns that say how a row was trained, besides the inputs: those that vary, without results.

    Of columns that are not ours, texts are settings, and numbers if each of their values is at several tokens.
    """
    found = []
    for name in table.columns:
        column = table[name]
        if name in inputs or name == response or name in RESULTS or names_runs(name) or tables.single(column):
            continue
        if _same_as_one(table, column, [*inputs, response]) or tables.renames(table, name):
            continue
        repeated = not pd.api.types.is_numeric_dtype(column) or column.nunique() <= len(table) / 4
        if name in SETTINGS or (repeated and not _rises(table, column)):
            found.append(str(name))
    return found


def _same_as_one(table: pd.DataFrame, column: pd.Series, names: Sequence[str]) -> bool:
    """Whether a column is one of these under another name, as after --map."""
    return any(
        name in table.columns and np.array_equal(column.to_numpy(), table[name].to_numpy()) for name in names
    )


def _rises(table: pd.DataFrame, column: pd.Series) -> bool:
    """Whether a column of numbers is another measure of progress, which rises with the tokens as steps do."""
    if not pd.api.types.is_numeric_dtype(column) or PROGRESS not in table.columns:
        return False
    by_tokens = column.groupby(tables.numbers(table, PROGRESS))
    return bool(by_tokens.nunique().eq(1).all()) and bool(by_tokens.first().is_monotonic_increasing)


def _chosen_budgets(table: pd.DataFrame, tokens: np.ndarray, code: pd.Series, fixed: list[str]) -> str | None:
    """What says that somebody chose the budgets of a grid; None where the tokens are those of evaluations."""
    measures = {"tokens": tokens}
    if "n_latents" in fixed:
        n = tables.numbers(table, "n_latents")
        measures |= {"tokens per latent": tokens / n, "compute n·D": tokens * n}
    for name, values in measures.items():
        rounded = pd.Series(np.round(np.log(values), 6), index=table.index)
        series = pd.DataFrame({"value": rounded, "run": code.to_numpy()}).drop_duplicates()
        at = series.groupby("value")["run"].nunique()
        shared = float((series["value"].map(at) >= 2).mean())
        if code.nunique() > 1 and shared >= MOST and len(at) <= MOST_BUDGETS and not _evenly_spaced(values):
            return f"{len(at)} values of {name} are shared by all runs"
    return None


def _evenly_spaced(values: np.ndarray) -> bool:
    """Whether the values are equally far apart, as evaluations every 1,000 steps are, and budgets seldom."""
    steps = np.diff(np.unique(np.round(values, 3)))
    return len(steps) >= FEWEST_EVALUATIONS - 1 and bool(np.ptp(steps) <= 0.01 * steps.mean())


def _numbered(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    return table.groupby(list(columns), dropna=False, sort=False).ngroup()

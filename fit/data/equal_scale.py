"""Rows at equal scale, which agree in every input of a law: their best lr, and what else tells them apart.

Rows that agree in all inputs should differ by noise only. Where another column explains their differences, as the k of
SAEs under another name does, a fit of all of them has no meaning.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from fit.data import tables
from fit.data.training_runs import RESULTS, SETTINGS, names_runs
from fit.data.usual_names import NAMES
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError

LR = "lr"
# A column is named if its values differ by more than ±0.5 % in the loss, and chance would do that once in 1,000 tables.
LEAST_SPREAD, LEAST_P = 0.005, 0.001
# From ±10 % on, the rows are of several laws.
MOST_SPREAD = 0.1
MOST_VALUES = 50
# Rows that are looked at: the effect of a column is as large in a part of 10⁶ rows.
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Factor:
    """A column that explains why rows at equal scale differ.

    spread: half the distance in ln L between its lowest and highest value. share: of the variance at equal scale.
    """

    column: str
    values: tuple[object, ...]
    spread: float
    share: float

    @property
    def condition(self) -> str:
        """A condition that chooses one of its values."""
        first = self.values[0]
        name = self.column if self.column.isidentifier() else f"`{self.column}`"
        value = str(first).lower() if isinstance(first, bool) else f"'{first}'"
        return f"{name} == {first:g}" if _is_number(first) else f"{name} == {value}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapped(rows: pd.DataFrame, factor: Factor) -> str:
    """What --map would make of the column: k of whole numbers, lr of what is called one; empty where neither can be."""
    if LR not in rows.columns and re.sub("[^a-z]", "", factor.column.lower()) in (NAMES[LR] | {"eta"}):
        return f"; with --map lr={factor.column} the lowest loss counts"
    values = pd.to_numeric(pd.Series(factor.values), errors="coerce")
    whole = bool((values.ge(1) & values.eq(values.round())).all())
    return f"; if it is k, --map k={factor.column}" if whole and "k" not in rows.columns else ""


@dataclass(frozen=True)
class FrontierColumns:
    """The columns in which the runs on a frontier differ, and a caution about one that explains the loss of runs."""

    differ: tuple[str, ...]
    cautions: tuple[Caution, ...] = ()


def frontier_columns(runs: pd.DataFrame, excess: np.ndarray, on: Sequence[object]) -> FrontierColumns:
    """What differs between the runs on a frontier, and which setting beside n and lr their loss depends on.

    A frontier takes the lowest loss over all columns by its definition, so that where one of them decides the loss, as
    k under another name does, the frontier is that of its best value, or passes from one value to the next.

    Parameters
    ----------
    runs : one row for each run, with its settings, indexed by run.
    excess : (runs,), ln of the loss of each over that of the other runs of its n at equal compute, on average; NaN for
        runs without such others.
    on : the runs on the frontier.
    """
    held = runs.loc[list(on)]
    columns = [
        name for name in runs.columns if _is_setting(runs, str(name)) and not tables.renames(runs, name)
    ]
    differ = tuple(str(name) for name in columns if held[name].map(str).nunique() > 1)
    comparable = runs[np.isfinite(excess)].assign(excess=np.exp(excess[np.isfinite(excess)]))
    cell = [name for name in ("n_latents", LR) if name in runs.columns] or ["one"]
    factor = explaining(comparable.assign(one=0), "excess", cell) if len(comparable) else None
    if factor is None:
        return FrontierColumns(differ)
    values = ", ".join(map(str, dict.fromkeys(held[factor.column])))
    fact = (
        f"At equal C{', n_latents' if 'n_latents' in cell else ''}{' and lr' if LR in cell else ''}, runs differ by "
        f"±{100 * factor.spread:.2g} % with {factor.column} ({100 * factor.share:.0f} % of their "
        f"scatter), and the frontier, of the lowest loss, is of {factor.column} {values}"
    )
    advice = (
        f': choose one value (--where "{factor.condition}") or fit each by itself (--group {factor.column})'
        f"{_mapped(runs, factor)}."
    )
    return FrontierColumns(differ, (Caution.advising(Kind.ROWS, fact, advice, (factor.column,)),))


def _is_setting(runs: pd.DataFrame, name: str) -> bool:
    """Whether a column says how a run was trained: a setting of ours, or another column of few values that repeat."""
    if name in SETTINGS or name.startswith("flops"):
        return name in SETTINGS
    repeated = runs[name].map(str).nunique() <= min(MOST_VALUES, len(runs) / 2)
    return repeated and name not in RESULTS and not names_runs(name)


def lowest_lr(rows: pd.DataFrame, response: str, cell: Sequence[str]) -> pd.DataFrame:
    """The rows at the lr of each cell with the lowest geometric mean of the loss, over seeds and repetitions."""
    if LR not in rows.columns or LR in cell:
        return rows
    by = [*cell, LR]
    mean = np.log(rows[response]).groupby([rows[name] for name in by], dropna=False).transform("mean")
    lowest = mean.groupby([rows[name] for name in cell], dropna=False).transform("min")
    kept = rows[(mean <= lowest + 1e-12).to_numpy()]
    # Of two lr with the same mean, the smaller one.
    first = kept.groupby(list(cell), dropna=False)[LR].transform("min")
    return kept[(kept[LR].eq(first) | kept[LR].isna()).to_numpy()]


def told_apart(
    rows: pd.DataFrame, response: str, cell: Sequence[str], law: str, pooled: bool
) -> list[Caution]:
    """A caution about a column that explains why rows of one cell differ, without cautions if none does.

    Parameters
    ----------
    rows, response : the rows and their loss.
    cell : the inputs of the law, and the settings that are chosen from.
    law : its name, for the sentence.
    pooled : the user wants the rows in one fit (--group none), so a large effect is told and not refused.

    Raises
    ------
    FitError
        If the column changes the loss by more than ±10 %.
    """
    factor = explaining(rows, response, cell)
    if factor is None:
        return []
    fact = (
        f"Rows of equal {', '.join(cell)} differ by ±{100 * factor.spread:.2g} % with {factor.column} "
        f"({len(factor.values)} values), which explains {100 * factor.share:.0f} % of their scatter and is no input of "
        f"{law}"
    )
    advice = (
        f': choose one value (--where "{factor.condition}") or fit each by itself (--group {factor.column})'
        f"{_mapped(rows, factor)}."
    )
    if factor.spread >= MOST_SPREAD and not pooled:
        raise FitError(f"{fact}{advice}")
    return [Caution.advising(Kind.ROWS, fact, advice, (factor.column,))]


def explaining(rows: pd.DataFrame, response: str, cell: Sequence[str]) -> Factor | None:
    """The column whose values best explain the differences within cells; None if none does beyond chance."""
    cells = rows.groupby(list(cell), dropna=False, sort=False)
    several = (cells[response].transform("size") > 1).to_numpy()
    if several.sum() < 4:
        return None
    rows = rows[several]
    if len(rows) > MOST_ROWS:
        rows = rows.sample(MOST_ROWS, random_state=0)
    code = rows.groupby(list(cell), dropna=False, sort=False).ngroup().to_numpy()
    off = _within(np.log(tables.numbers(rows, response)), code)
    if not off @ off > 0:
        return None
    found = [
        factor
        for name in rows.columns
        if _may_explain(rows, name, response, cell)
        if (factor := _explained(rows[name], str(name), off, code)) is not None
    ]
    return max(found, key=lambda factor: factor.share, default=None)


def _may_explain(rows: pd.DataFrame, name: str, response: str, cell: Sequence[str]) -> bool:
    """Whether a column is a setting: not an input, a result or a name of runs, and with values that repeat."""
    if name in cell or name == response or name in RESULTS or names_runs(name) or "seed" in str(name).lower():
        return False
    number = rows[name].map(str).nunique()
    return 1 < number <= min(MOST_VALUES, len(rows) / 2)


def _explained(column: pd.Series, name: str, off: np.ndarray, code: np.ndarray) -> Factor | None:
    """How much of the differences `off` within cells a column explains, by analysis of variance."""
    level, values = pd.factorize(column.map(str))
    design = np.stack([_within((level == i).astype(float), code) for i in range(1, len(values))], axis=1)
    effect, _, rank, _ = np.linalg.lstsq(design, off, rcond=1e-9)
    if not rank:
        return None
    fitted = design @ effect
    total, rest = float(off @ off), float((off - fitted) @ (off - fitted))
    left = len(off) - (int(code.max()) + 1) - int(rank)
    if left < 1:
        return None
    f = (total - rest) / rank / max(rest / left, 1e-30)
    spread = float(np.ptp(np.append(0.0, effect))) / 2
    if stats.f.sf(f, rank, left) > LEAST_P or spread < LEAST_SPREAD:
        return None
    firsts = column.drop_duplicates().tolist()
    return Factor(name, tuple(firsts), spread, 1 - rest / total)


def _within(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    """The values less the mean of their cell."""
    return values - (np.bincount(code, values) / np.bincount(code))[code]

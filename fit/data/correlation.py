"""Whether the residuals of a law that took each row for a run of its own are correlated, as those of one run are.

Along the tokens they then follow one another; where the rows of a run have no order, a column that names runs tells
which residuals belong together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fit.data.training_runs import PROGRESS, TrainingRuns, names_runs
from fit.law.caution import Caution, Kind
from fit.law.law import Array, Inputs
from fit.law.selection import RunsBy

# Independent residuals of m pairs have a lag-1 correlation of 0 ± 1/√m; 3.3 of these is once in 2,000 tables.
SIGMAS = 3.3
LEAST = 0.3
FEWEST_PAIRS = 12
# Residuals below this are rounding.
LEAST_RMS = 1e-7
# The F test of an intraclass correlation is below this once in 2,000 tables of independent rows.
LEAST_P = 5e-4


@dataclass(frozen=True)
class Lag:
    """r = Σ e_t e_{t+1} / √(Σ e_t² Σ e_{t+1}²) over pairs of neighbours in tokens."""

    r: float
    pairs: int

    @property
    def correlated(self) -> bool:
        """Whether r is above what independent rows have by chance, and large enough to matter."""
        return self.pairs >= FEWEST_PAIRS and self.r > max(LEAST, SIGMAS / np.sqrt(self.pairs))


def lag_correlation(residuals: Array, series: NDArray[np.intp], tokens: Array) -> Lag:
    """The correlation of residuals with their next neighbour in tokens, within each series."""
    if not np.sqrt(np.mean(residuals**2)) > LEAST_RMS:
        return Lag(0.0, 0)
    order = np.lexsort((tokens, series))
    e, code, D = residuals[order], series[order], tokens[order]
    next_to = (code[1:] == code[:-1]) & (D[1:] > D[:-1])
    now, after = e[:-1][next_to], e[1:][next_to]
    scale = float(np.sqrt((now @ now) * (after @ after)))
    return Lag(float(now @ after) / scale if scale > 0 else 0.0, int(next_to.sum()))


@dataclass(frozen=True)
class Intraclass:
    """ρ = (B − W)/(B + (m − 1)·W), the correlation of two rows of one run; p of the F test of B/W.

    B, W: the mean squares of the residuals between and within runs. m: the rows of a run, (N − Σ m_i²/N)/(runs − 1).
    """

    column: str
    r: float
    p: float
    runs: int
    m: float

    @property
    def correlated(self) -> bool:
        """Whether ρ is above what independent rows have by chance, and large enough to matter."""
        return self.r > LEAST and self.p < LEAST_P

    @property
    def factor(self) -> float:
        """√(1 + (m − 1)·ρ), by how much intervals are too narrow that take each row for a measurement of its own."""
        return float(np.sqrt(1 + (self.m - 1) * self.r))

    def training_runs(self, rows: pd.DataFrame) -> TrainingRuns:
        """The values of the column as runs."""
        why = f"residuals within one {self.column} correlate by {self.r:.2f}, so its rows are one run"
        code = pd.Series(pd.factorize(rows[self.column], use_na_sentinel=False)[0], index=rows.index)
        return TrainingRuns(RunsBy.COLUMN, (self.column,), why, code)

    def caution(self, clustered: bool, refuted: bool = False) -> Caution:
        """How large the correlation is, and what was or can be done about it.

        clustered: the fit resamples runs. refuted: the rows refuted the law while each counted for itself, so that its
        intervals carry a misfit and are too narrow by another factor, if at all.
        """
        size = f"Residuals within one {self.column} correlate by {self.r:.2f} (p = {self.p:.1g}, {self.runs} of them)"
        done = (
            f"so its rows are clustered; counted each by itself, the intervals would be {self.factor:.2g} times too "
            "narrow."
            if clustered
            else f"so the intervals, which take each row for a run of its own, are {self.factor:.2g} times too narrow "
            f"unless the rows are clustered: --cluster {self.column}."
        )
        if refuted and not clustered:
            done = f"so they are no independent measurements, and tests and intervals need --cluster {self.column}."
        return Caution(Kind.CORRELATED, f"{size}, {done}", (self.column,))


def intraclass(residuals: Array, run: NDArray[np.intp], column: str = "run") -> Intraclass:
    """The correlation of residuals within runs, by a one-way analysis of variance. run: (rows,), from 0.

    The parameters of the law take up some of what differs between runs, so that ρ is rather too small.
    """
    sizes = np.bincount(run)
    runs, N = len(sizes), len(run)
    mean = np.bincount(run, residuals) / sizes
    between = float((sizes * (mean - residuals.mean()) ** 2).sum()) / max(runs - 1, 1)
    within = float(((residuals - mean[run]) ** 2).sum()) / max(N - runs, 1)
    m = (N - float((sizes**2).sum()) / N) / max(runs - 1, 1)
    total = between + (m - 1) * within
    if runs < 2 or N - runs < 2 or not total > LEAST_RMS**2:
        return Intraclass(column, 0.0, 1.0, runs, m)
    p = float(stats.f.sf(between / max(within, 1e-300), runs - 1, N - runs))
    return Intraclass(column, (between - within) / total, p, runs, m)


def correlated_within(rows: pd.DataFrame, inputs: Sequence[str], residuals: Array) -> Intraclass | None:
    """The column that names runs within which the residuals of these rows are most correlated; None without any."""
    found = [
        intraclass(np.asarray(residuals), pd.factorize(rows[name], use_na_sentinel=False)[0], str(name))
        for name in rows.columns
        if names_runs(name) and name not in inputs and 1 < rows[name].nunique() < rows[name].notna().sum()
    ]
    return max((one for one in found if one.correlated), key=lambda one: one.factor, default=None)


def correlated_rows(x: Inputs, residuals: Array, why: str) -> list[Caution]:
    """A caution where rows were counted as independent and their residuals follow one another along the tokens.

    x: the inputs of the law, tokens among them. why: what spoke for rows that are runs of their own.
    """
    if PROGRESS not in x:
        return []
    fixed = [name for name in x if name != PROGRESS]
    table = pd.DataFrame({name: np.asarray(x[name]) for name in fixed})
    series = np.zeros(len(residuals), dtype=np.intp)
    if fixed:
        series = table.groupby(fixed, dropna=False).ngroup().to_numpy().astype(np.intp)
    lag = lag_correlation(np.asarray(residuals), series, np.asarray(x[PROGRESS]))
    if not lag.correlated:
        return []
    setting = " and ".join(fixed)
    # T rows whose neighbours correlate by r count as T(1 − r)/(1 + r), at least as one.
    length = len(series) / (int(series.max()) + 1)
    factor = np.sqrt(min(length, (1 + lag.r) / (1 - lag.r) if lag.r < 1 else length))
    fact = (
        f"Residuals of neighbours in tokens at equal {setting} are correlated (r = {lag.r:.2f} over {lag.pairs} "
        f"pairs), so the intervals, which take each row for a run of its own ({why}), are {factor:.2g} times too "
        "narrow"
    )
    advice = (
        f". Either the rows are of fewer runs, and --cluster {fixed[0] if fixed else 'COLUMN'} is right if each of "
        "its values is a run, or the law misses their shape."
    )
    return [Caution.advising(Kind.CORRELATED, fact, advice, (PROGRESS,))]

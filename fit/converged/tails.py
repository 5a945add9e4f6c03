"""L∞ of runs that stopped before they converged, with an interval that holds what they would have reached.

A power law fitted to the tail of a curve gives a gap L(D) − L∞ with a standard error, which knows neither that the tail
could start elsewhere nor that the law may be wrong. Of 21 + 14 real curves cut at 50 and 70 % of their tokens, 43 to
71 % had the L∞ of the whole curve within 1.96 standard errors. Tails of two to five octaves gave gaps that differ by
factors of 2 to 10, and nearly all were too large: the curves flatten faster than the power law of their past.

What the curves have in common is the gap in units of the last doubling's fall,

    R = (L(D) − L∞)/(L(D/2) − L(D)),        1/(2^g − 1) for a tail L∞ + A·D^−g.

Its median is 0.34 to 1 at cuts of 25 to 85 %. ln R has a standard deviation of 0.26 to 0.4 between the runs of a study,
while the medians of studies and cuts differ by 0.3: an error that the runs of a study share. A few runs, trained on,
had reached their limit without a sign of it in their curve, so the upper end is the last loss, plus its noise.
`python -m benchmarks.laws.tails` measures this and the coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import f as fisher

from fit.data import tables
from fit.law.checks.noise import differences
from fit.law.law import Array, Inputs

# R, and the 95 % interval of its median in a study; 0.5 is g = 1.6.
RATIO, LEAST, MOST = 0.5, 0.1, 1.2
# R also drifts with n or k: from 0.4 to 1.2 over 3 octaves of n at one k of docs/smollm2. The 95 % ends of that drift,
# at either end of a study, are this share of the study's own.
DRIFT = 0.5
# The upper 95 % end of R of one run (g = 0.74), and the standard deviation of ln R between the runs of a study.
MOST_OF_A_RUN, BETWEEN_RUNS = 1.5, 0.35
Z = 1.96
# The value of `stop` of runs that stopped because their L∞ was known.
PREDICTED = "predicted"
# A tail is tested against a power law over its last four octaves of D. Where the test does not refute the law, the
# curve may also go on as it did, and the interval holds that too.
OCTAVES, LEVEL = 4, 0.05
FEWEST = 7  # evaluations for that test: three parameters, and four more
# The noise of an evaluation where no curve shows it: the 35 curves have 0.03 to 0.18 %.
NOISE = 1e-3
ROUNDING = 1e-9  # of losses of about 6 digits: a smaller noise is none
# The columns of `limits`.
COLUMNS = ("value", "low", "high", "relative_error", "shared_low", "shared_high")
# The column of `at_limits`; no table that was read has such a name.
LIMIT = "L∞ of nmse"
# The g that are tried.
EXPONENTS = np.geomspace(0.02, 8.0, 80)
ZOOMS = tuple(np.geomspace(1 / span, span, 21) for span in (1.08, 1.008, 1.0008))
# L∞ is never taken to be a smaller share of the last loss.
SMALLEST = 1e-2


@dataclass(frozen=True)
class Tail:
    """What a run says about its gap; all relative to its last loss.

    fall: L(D/2)/L(D) − 1. noise: of an evaluation. own: the largest gap, at the 95 % end, if the curve goes on as the
    power law of its past; None if its tail refutes that law.
    """

    fall: float
    noise: float
    own: float | None

    @property
    def rises(self) -> bool:
        """Whether the loss is higher than half the tokens before, by more than its noise."""
        return self.fall <= -4 * self.noise

    def limit(self) -> tuple[float, ...]:
        """`COLUMNS` for a last loss of 1; NaN where the loss rises by more than its noise, or the fall is unknown."""
        if self.rises or np.isnan(self.fall):
            return (np.nan,) * len(COLUMNS)
        fall = max(self.fall, self.noise)
        most = MOST_OF_A_RUN * fall
        # How many times wider the interval is if the curve may go on as it did.
        wider = max((self.own or 0.0) / most, 1.0)
        middle = RATIO * np.sqrt(wider)
        own = np.hypot(BETWEEN_RUNS, np.log(wider) / (2 * Z))
        noise = self.noise * np.sqrt(1 + 2 * middle**2)
        value = _loss(middle * fall)
        lower = max(value - np.hypot((MOST_OF_A_RUN * wider - middle) * fall, Z * noise), 0.0)
        shift = [np.log(_loss(middle / RATIO * ratio * fall) / value) for ratio in (MOST, LEAST)]
        alone = np.log(_loss(middle * np.exp(-own) * fall) / _loss(middle * np.exp(own) * fall)) / 2
        error = np.linalg.norm([alone, (shift[1] - shift[0]) / (2 * Z), noise])
        return (value, lower, 1 + Z * self.noise, float(error), *shift)


def _loss(gap: float) -> float:
    return float(max(1 - gap, SMALLEST))


def limits(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> tuple[pd.DataFrame, np.ndarray]:
    """L∞ of each run with its 95 % interval and errors, by the index of `runs`; and which of them had a curve.

    Columns: value, low, high. relative_error: the standard error of ln L∞. shared_low, shared_high: ln of the factor on
    L∞ at either 95 % end of the part of it that all runs share. All are missing where nothing is known of the tail, or
    where the loss rises.

    A run that stopped because its L∞ was known has the L∞ and the interval that it stopped by, see `of_trainer`.

    runs: with nmse and, where a run has no curve, last_doubling; without that, nmse_inf of the trainer's tail stands in
    for it. Without a curve the power law cannot be refuted, so the interval holds that of nmse_inf and nmse_inf_se.
    """
    tails, by_curve = _tails(runs, curves)
    known, by_row = _limits(runs, tails)
    return known, by_row | by_curve


def _limits(runs: pd.DataFrame, tails: Sequence[Tail]) -> tuple[pd.DataFrame, np.ndarray]:
    """The table of `limits` from the tail of each run, and which runs have the L∞ that they stopped by."""
    of_row, by_row = of_trainer(runs)
    rows = []
    for i, (tail, last) in enumerate(zip(tails, _column(runs, "nmse"), strict=True)):
        if by_row[i]:
            rows.append(list(of_row[i]))
            continue
        limit = tail.limit()
        rows.append([*(last * np.array(limit[:3])), *limit[3:]])
    return pd.DataFrame(rows, columns=list(COLUMNS), index=runs.index, dtype=float), by_row


def _tails(runs: pd.DataFrame, curves: pd.DataFrame | None) -> tuple[list[Tail], np.ndarray]:
    """The tail of each run, by its curve or else by its row; and which of them had a curve."""
    known = evaluations(runs, curves)
    column = {name: _column(runs, name) for name in ("nmse", "nmse_inf", "nmse_inf_se", "last_doubling")}
    ids = runs["run_id"] if "run_id" in runs.columns else runs.index.to_series()
    seen = [from_curve(*known[run]) if run in known else None for run in ids]
    tails = []
    for i, tail in enumerate(seen):
        last, inf, error, fall = (values[i] for values in column.values())
        tails.append(tail or _from_table(fall, inf / last, error / last))
    return tails, np.array([tail is not None for tail in seen], dtype=bool)


def ends(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> pd.DataFrame:
    """`limits` of each run. A loss that rises has no L∞, and what it has reached stands in for it; NaN: unknown."""
    tails, _ = _tails(runs, curves)
    known, _ = _limits(runs, tails)
    rises = np.array([tail.rises for tail in tails], dtype=bool)
    reached = pd.Series(np.where(rises, _column(runs, "nmse"), np.nan), index=runs.index)
    return known.assign(**{name: known[name].fillna(reached) for name in ("value", "low", "high")})


def at_limits(runs: pd.DataFrame, curves: pd.DataFrame | None) -> tuple[pd.DataFrame, int]:
    """Converged runs with their L∞ in the column `LIMIT`, to compare lr and batch sizes; and how many are left out.

    Runs that converged within ε end above L∞, and by more where the lr or the batch size leaves them less far: at
    ε = 2 % ends at small lr still fell by 1 % a doubling, where neighbouring lr differ by 0.1 %, and lr* of the ends
    was 2 to 3 times too high. Runs of whose tails nothing is known are left out where others are known, since an end
    beside an L∞ would make its lr look bad; where none is known, there is no such column. Runs that are extrapolated
    have their L∞ as nmse already.
    """
    if runs.empty:
        return runs, 0
    limit = ends(runs, curves)["value"]
    if "extrapolated" in runs.columns:
        limit = limit.mask(runs["extrapolated"].fillna(False).astype(bool), runs["nmse"])
    if limit.isna().all():
        return runs, 0
    known = runs.assign(**{LIMIT: limit})[limit.notna()]
    return known, len(runs) - len(known)


def loss_column(runs: pd.DataFrame) -> str:
    """The column to compare converged runs by: `LIMIT` if they have it, else nmse."""
    return LIMIT if LIMIT in runs.columns else "nmse"


def of_trainer(runs: pd.DataFrame) -> tuple[Array, np.ndarray]:
    """`COLUMNS` of the runs with stop=predicted that have an interval of L∞ in their row; and which runs these are.

    The trainer predicts L∞ by the same R for the live and for the averaged weights, and takes the lower one. Its gap to
    the last loss is therefore R times a fall, and the errors that runs share are those of other R.
    """
    last, value, low, high = (
        _column(runs, name)
        for name in ("nmse", "nmse_predicted", "nmse_predicted_low", "nmse_predicted_high")
    )
    asked = np.zeros(len(runs), dtype=bool)
    if "stop" in runs.columns:
        asked = (runs["stop"] == PREDICTED).to_numpy(dtype=bool, na_value=False)
    there = asked & (value > 0) & (low <= value) & (value <= high) & (last >= value)
    gap = 1 - value / last
    limit = np.maximum(1 - gap, SMALLEST)
    shared = [np.log(np.maximum(1 - ratio / RATIO * gap, SMALLEST) / limit) for ratio in (MOST, LEAST)]
    error = np.log(high / np.maximum(low, SMALLEST * last)) / (2 * Z)
    return np.stack([value, low, high, error, *shared], axis=1), there


def _column(runs: pd.DataFrame, name: str) -> Array:
    return tables.numbers(runs, name) if name in runs.columns else np.full(len(runs), np.nan)


def shared_errors(low: Array, high: Array, inputs: Inputs) -> Array:
    """The errors that the L∞ of a study share, as ln of the factors at both 95 % ends of each, (2 errors, rows).

    The first is that of R, the same for all runs; then for each input a drift of R from its smallest to its largest
    value. low, high: `shared_low` and `shared_high` of the rows.
    """
    errors = [low, high]
    for values in inputs.values():
        u = np.log(values) - np.log(values).mean()
        side = DRIFT * u / max(np.abs(u).max(), 1e-9)
        errors += [np.where(up > 0, up * high, -up * low) for up in (side, -side)]
    return np.array(errors)


def evaluations(runs: pd.DataFrame, curves: pd.DataFrame | None) -> dict[object, tuple[Array, Array]]:
    """Tokens, increasing, and losses of the evaluations of each run that has a curve, by run_id."""
    if curves is None or not {"run_id", "tokens", "nmse"} <= set(curves.columns):
        return {}
    if "run_id" not in runs.columns:
        return {}
    kept = tables.numeric(curves[curves["run_id"].isin(runs["run_id"])], "tokens", "nmse")
    kept = kept[(kept["tokens"] > 0) & (kept["nmse"] > 0) & np.isfinite(kept["nmse"])]
    kept = kept.sort_values("tokens", kind="stable").drop_duplicates(["run_id", "tokens"], keep="last")
    return {
        run: (curve["tokens"].to_numpy(dtype=float), curve["nmse"].to_numpy(dtype=float))
        for run, curve in kept.groupby("run_id")
    }


def _from_table(fall: float, inf: float, error: float) -> Tail:
    """A run without a curve. inf, error: its fitted L∞ and the standard error of that, relative to its loss."""
    own = 1 - inf + Z * error if 0 < inf <= 1 and error >= 0 else None
    if np.isnan(fall) and own is not None:
        fall = (1 - inf) / RATIO
    return Tail(fall, NOISE, own)


def from_curve(D: Array, L: Array) -> Tail | None:
    """The tail of a curve, tokens increasing; None where it has no last doubling with two evaluations."""
    if len(D) < 3 or D[0] > D[-1] / 2 or (D > D[-1] / 2).sum() < 2:
        return None
    fall = float(np.interp(np.log(D[-1] / 2), np.log(D), L) / L[-1] - 1)
    tail = D >= D[-1] / 2.0**OCTAVES * (1 - 1e-9)
    D, L = D[tail], L[tail]
    apart = differences(D, L)
    noise, dof = (float(np.sqrt(np.mean(apart**2))), len(apart) / 2) if len(apart) > 2 else (NOISE, np.inf)
    noise = max(noise, ROUNDING)
    return Tail(fall, noise, _continued(D, L, noise, dof))


def _continued(D: Array, L: Array, noise: float, dof: float) -> float | None:
    """The upper 95 % end of the gap if L(D) = L∞ + A·D^−g, relative to the last loss; None if the tail refutes it.

    The law is linear in L∞ and A, so only g is searched: the end is the largest gap of all g within the threshold of
    the profile likelihood. noise, dof: of an evaluation, relative to its loss, and its degrees of freedom.
    """
    n = len(D)
    if n < FEWEST or D[0] > D[-1] / 2.0 ** (OCTAVES - 1):
        return None
    tried = [_at_exponents(D, L, EXPONENTS)]
    for zoom in ZOOMS:  # a tail of little noise knows its g to a part in a thousand
        g, squares, *_ = np.hstack(tried)
        tried.append(_at_exponents(D, L, g[np.argmin(squares)] * zoom))
    _, squares, end, gap = np.hstack(tried)
    best = squares.min()
    if best / (n - 3) / noise**2 > fisher.ppf(1 - LEVEL, n - 3, dof):
        return None
    within = squares <= best * (1 + fisher.ppf(0.95, 1, n - 3) / (n - 3))
    return float(1 - np.maximum(end - gap, 0.0)[within].min() / L[-1])


def _at_exponents(D: Array, L: Array, g: Array) -> Array:
    """For each g: itself, the sum of squares of the relative residuals, L(D_last) and its gap, (4, g)."""
    basis = np.stack([np.ones((len(g), len(D))), (D / D[-1]) ** -g[:, None] - 1], axis=2) / L[:, None]
    end, gap = np.linalg.pinv(basis).sum(axis=2).T
    residual = basis[:, :, 0] * end[:, None] + basis[:, :, 1] * gap[:, None] - 1
    return np.stack([g, (residual**2).sum(axis=1), end, gap])

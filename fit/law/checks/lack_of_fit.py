"""Whether the rows refute a law: its residuals against the noise that seeds or the curves themselves show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as fisher

from fit.law.caution import Caution, Kind
from fit.law.checks.noise import ALONG, KnownFrom, Noise, components, equal_inputs
from fit.law.estimate import Estimate
from fit.law.json_values import finite, record
from fit.law.law import Array
from fit.law.rows import Rows

# A law is refuted where residuals as large as its own would be this improbable if it held.
LEVEL = 0.01
# Curves do not show what differs between runs, as seeds would: an offset of the whole run, and a little of its shape. A
# law is not refuted by what may be either. Seeds move an SAE's loss by 0.1 to 0.5 %, an lr that is off by 2 % or more.
OFFSET, SHAPE = 0.03, 0.01


@dataclass(frozen=True)
class LackOfFit:
    """The residuals of a law against the noise of its rows.

    Parameters
    ----------
    rms_log : root mean square of the residuals, of ln L.
    noise : standard deviation of ln L in a row, None where nothing shows it.
    known_from : what shows the noise: seeds (rows at equal inputs), or curves (differences of neighbouring
        evaluations of a run, which are a lower bound).
    ratio : rms_log over noise.
    p_value : the probability of residuals as large as these if the law held.
    refuted : whether the rows refute the law: p_value < 1 %, and where the noise is known from curves alone, residuals
        of more than 1 % of the loss within runs, or more than 3 % between them.
    measurements : as how many independent measurements the rows count, because the residuals of a run resemble one
        another.
    """

    rms_log: float
    noise: float | None = None
    known_from: KnownFrom | None = None
    ratio: float | None = None
    p_value: float | None = None
    refuted: bool = False
    measurements: float | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LackOfFit":
        """The inverse of `dataclasses.asdict`."""
        source = content.get("known_from")
        return record(cls, content, known_from=None if source is None else KnownFrom(source))


def lack_of_fit(at: Estimate, rows: Rows, noise: Noise | None) -> LackOfFit:
    """Test a law against the noise of its rows, by residuals of ln L whatever the objective.

    Noise from seeds: F = ((S − S_pe)/ν)/σ², S the sum of squares of the residuals, S_pe its part within groups of equal
    inputs, and ν the number of configurations minus the parameters (Draper & Smith 1998, §2.1). Rows of one run are one
    configuration, because they share the run's error.

    Noise from curves: residuals are taken apart into the mean of each run and the rest. The rest, if it is more than
    1 % of the loss, has F = s²/σ². The means are compared with σ² + (3 %)² by a χ² test, because runs differ by an
    amount that curves do not show. A law whose rows are single runs has means only.
    """
    rms = float(np.sqrt((rows.weights * at.residuals() ** 2).sum() / rows.weights.sum()))
    count = independent(at, rows)
    if noise is None:
        return LackOfFit(rms, measurements=count)
    p = _p_by_seeds(at, rows, noise) if noise.known_from is KnownFrom.SEEDS else _p_by_curves(at, rows, noise)
    return LackOfFit(rms, noise.rms, noise.known_from, rms / noise.rms, finite(p), bool(p < LEVEL), count)


def independent(at: Estimate, rows: Rows) -> float:
    """As how many independent measurements the rows count: Σ over runs of T (1 − ρ)/(1 + ρ), but at least 1.

    T rows of a run whose neighbours have residuals of correlation ρ tell as much as that many independent ones
    (Bartlett 1935). Where rows are single runs, those at equal inputs stand for a run, because a misfit is the same for
    all seeds. At least one more than the law has parameters, so that there is a scatter.
    """
    there = np.flatnonzero(rows.weights > 0)
    units = rows.cluster if rows.cluster is not None and rows.shared else equal_inputs(at.law, rows)
    along = next((rows.x[name] for name in ALONG if name in at.law.inputs), np.arange(len(rows.loss)))
    there = there[np.lexsort((along[there], units[there]))]
    r, run, w = at.residuals()[there], units[there], rows.weights[there]
    pair = run[1:] == run[:-1]
    before, after = r[:-1][pair], r[1:][pair]
    size = float(np.sqrt((before**2).sum() * (after**2).sum()))
    rho = float(np.clip((before * after).sum() / size, 0, 1)) if size > 0 else 0.0
    weights = np.bincount(np.unique(run, return_inverse=True)[1], w)
    single = np.minimum(weights, 1.0)
    counted = float(np.maximum(weights * (1 - rho) / (1 + rho), single).sum())
    return min(max(counted, len(at.law.internal) + 1.0), float(w.sum()))


def _residuals(at: Estimate) -> Array:
    """√w r; with Huber's objective cut at 3 robust standard deviations, so that an outlier does not refute a law."""
    r = at.residuals()
    if np.isfinite(at.problem.objective.delta):
        most = 3 * 1.4826 * float(np.median(np.abs(r[at.weights > 0])))
        r = np.clip(r, -most, most)
    return r


def _p_by_seeds(at: Estimate, rows: Rows, noise: Noise) -> float:
    present = rows.weights > 0
    r, w = _residuals(at)[present], rows.weights[present]
    cells, runs = equal_inputs(at.law, rows)[present], _runs(rows)[present]
    # Several rows of one run at equal inputs are one measurement, as in the noise.
    _, pair = np.unique(np.stack([cells, runs]), axis=1, return_inverse=True)
    w = w / np.bincount(pair.reshape(-1))[pair.reshape(-1)]
    parameters = len(at.law.internal)
    mean = np.bincount(cells, w * r) / np.maximum(np.bincount(cells, w), 1e-300)
    lack = float((w * mean[cells] ** 2).sum())
    distinct = len(np.unique(cells))
    square = lack / max(distinct - parameters, 1)
    dof = max(components(cells, runs) - parameters, 1)
    return float(fisher.sf(square / noise.rms**2, dof, noise.dof))


def _p_by_curves(at: Estimate, rows: Rows, noise: Noise) -> float:
    present = rows.weights > 0
    r, w = _residuals(at)[present], rows.weights[present]
    _, runs = np.unique(_runs(rows)[present], return_inverse=True)
    count, parameters = int(runs.max()) + 1, len(at.law.internal)
    inside = len(r) - count
    mean = np.bincount(runs, w * r) / np.bincount(runs, w)
    between = float((np.bincount(runs, w) / np.bincount(runs) * mean**2).sum()) / (OFFSET**2 + noise.rms**2)
    # Of rows that share runs most parameters are fitted within runs: to be on the safe side no mean counts as fitted.
    p = float(chi2.sf(between, count if inside else max(count - parameters, 1)))
    if inside - parameters < 1:
        return p
    square = float((w * (r - mean[runs]) ** 2).sum()) / (inside - parameters)
    if square <= SHAPE**2:
        return p
    return min(p, float(fisher.sf(square / noise.rms**2, inside - parameters, noise.dof)))


def _runs(rows: Rows) -> NDArray[np.intp]:
    return np.arange(len(rows.loss)) if rows.cluster is None else rows.cluster


def misfit(test: LackOfFit) -> list[Caution]:
    """A caution that a law is refuted, with its size."""
    if not test.refuted or test.noise is None:
        return []
    scatter = "the curves scatter" if test.known_from is KnownFrom.CURVES else "seeds scatter"
    text = (
        f"Residuals {_percent(test.rms_log)} where {scatter} by {_percent(test.noise)}: this law does not describe "
        "these rows."
    )
    return [Caution(Kind.REFUTED, text)]


def _percent(share: float) -> str:
    """Two digits: 5.0 %, 0.064 %, 12 %."""
    digits = f"{100 * share:.0f}" if share >= 0.995 else f"{100 * share:#.2g}".rstrip(".")
    return f"{digits} %"

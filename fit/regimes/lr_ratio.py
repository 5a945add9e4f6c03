"""ρ, the optimal learning rate for L(C) divided by the optimal one for L(N): about 4 in the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fit.compute.optimal_point import ComputeOptimal
from fit.converged.lr import lr_optima
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.intervals.profile import LEVEL
from fit.law.json_values import record
from fit.law.laws import LR_NR

# Gao et al. 2024, A.3.
PAPER = 4.0


@dataclass(frozen=True)
class BestLr:
    """The best lr of one n. compute: 1 at its compute-optimal point, 0 at convergence."""

    n_latents: float
    lr: float
    compute: int


@dataclass(frozen=True)
class Ratio:
    """The ratio ρ.

    value, low, high: ρ and its interval, None where they are unknown. method: how the interval was found. reasons:
    which optima are missing, and why.
    """

    points: tuple[BestLr, ...]
    value: float | None
    low: float | None
    high: float | None
    method: str | None
    reasons: tuple[str, ...]
    paper: float = PAPER

    @property
    def paper_inside(self) -> bool:
        """Whether the interval contains the value of the paper."""
        low, high = (0.0 if self.low is None else self.low), (np.inf if self.high is None else self.high)
        return bool(low <= self.paper <= high)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Ratio":
        return record(cls, content, points=tuple(record(BestLr, point) for point in content["points"]))


def lr_ratio(
    points: Mapping[float, ComputeOptimal], converged: pd.DataFrame, about: Sequence[str] = ()
) -> Ratio:
    """Fit ρ of lr*(n, r) = A·n^−α·ρ^r to the optima of both regimes; each optimum is the vertex of ln L over ln lr.

    points: where each n is compute-optimal. converged: converged runs with n_latents, lr and nmse. about: sentences to
    report before the reasons. Optima at an edge of the lr grid are only bounds, so they are left out. If there are too
    few optima for the law, ρ is the geometric mean of the ratios over the n that have both optima. No n is held out,
    because ρ is a single number and needs all of them.
    """
    best, missing = _at_compute(points)
    reasons = [*about, *missing]
    rows = _rows(best, 1)
    if converged.empty or not {"lr", "n_latents"} <= set(converged.columns):
        reasons.append("At convergence no lr is known.")
        return _ratio(rows, tuple(reasons))
    best, missing = lr_optima(converged)
    return _ratio([*rows, *_rows(best, 0)], (*reasons, *(f"At convergence {reason}" for reason in missing)))


def _at_compute(points: Mapping[float, ComputeOptimal]) -> tuple[pd.DataFrame, list[str]]:
    """lr* of each n at the C where this n is compute-optimal, from the curves that reach this C."""
    losses = [
        {"n_latents": n, "lr": lr, "nmse": np.exp(curve.loss(optimum.log_c))}
        for n, optimum in points.items()
        for lr, curve in optimum.rates.items()
        if curve.reaches(optimum.log_c)
    ]
    best, reasons = lr_optima(pd.DataFrame(losses, columns=["n_latents", "lr", "nmse"]))
    if not points:
        return best, ["No n_latents holds the frontier within the grid of n."]
    if not losses:
        return best, ["Where n_latents is compute-optimal no lr is known."]
    return best, [f"Where it is compute-optimal {reason}" for reason in reasons]


def _rows(best: pd.DataFrame, compute: int) -> list[BestLr]:
    return [BestLr(float(n), float(lr), compute) for n, lr in zip(best["n_latents"], best["lr"], strict=True)]


def _ratio(rows: list[BestLr], reasons: tuple[str, ...]) -> Ratio:
    table = pd.DataFrame(rows, columns=["n_latents", "lr", "compute"])
    try:
        fit = fit_law(
            LR_NR, table[["n_latents", "compute"]].astype(float), table["lr"], hold_out=False, compare=False
        )
    except FitError:
        return _paired(table, rows, reasons)
    rho = fit.params["rho"]
    return Ratio(tuple(rows), rho.value, rho.low, rho.high, f"{LR_NR.formula}, {rho.method}", reasons)


def _paired(table: pd.DataFrame, rows: list[BestLr], reasons: tuple[str, ...]) -> Ratio:
    wide = table.pivot(index="n_latents", columns="compute", values="lr").reindex(columns=[0, 1]).dropna()
    if len(wide) < 2:
        return Ratio(
            tuple(rows), None, None, None, None, (*reasons, "Two n_latents with both optima are needed.")
        )
    logs = np.log(np.asarray(wide[1] / wide[0], dtype=float))
    half = student.ppf((1 + LEVEL) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    value, low, high = (float(v) for v in np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]))
    return Ratio(tuple(rows), value, low, high, f"the mean over {len(logs)} n", reasons)

"""Judges a law against others: by the error at held-out largest scales, then by AICc."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fit.law.errors import FitError
from fit.law.estimate import Estimate, estimate
from fit.law.held_out import Split, splits
from fit.law.law import Law
from fit.law.laws import LAWS
from fit.law.losses import Objective
from fit.law.result import Point, integral
from fit.law.rows import Rows
from fit.law.solver import ROUNDING

# Held-out errors that differ by less than this share are a draw: AICc decides.
DRAW = 0.1
# Errors below this are those of rounding, and say nothing of one law against another.
EXACT = 1e-9
# Fitted rows that a result lists: fits.json would have 300 MB for 10⁶.
MOST_FITTED = 10_000
# Laws are compared over an even sample of the rows where there are more.
MOST_COMPARED = 20_000


def aicc(at: Estimate) -> float | None:
    """n ln(D/n) + 2m + 2m(m + 1)/(n − m − 1), D the deviance, n = Σ w, m the parameters and the scatter.

    None where rows are too few for it (Hurvich & Tsai 1989), and for a fit without residuals.
    """
    alive = [len(t.internal) for t, there in zip(at.law.terms, at.solution.alive[0], strict=True) if there]
    n, m = float(at.weights.sum()), sum(alive) + 1
    if n - m - 1 <= 0 or at.deviance <= ROUNDING * n:
        return None
    return n * float(np.log(at.deviance / n)) + 2 * m + 2 * m * (m + 1) / (n - m - 1)


def comparison(
    at: Estimate, rows: Rows, objective: Objective, own: Sequence[Split] | None = None
) -> list[Mapping[str, Any]]:
    """The law and those that it is judged against, the best first: law, formula, held_out_rms, aicc, rms_log of each.

    First by the error at held-out largest scales, the root mean square over the splits that all laws could be fitted
    to; within 10 % of the best by AICc. A law that these rows cannot be fitted to is left out. own: the law's `splits`,
    where they are known.
    """
    others = [LAWS[name] for name in at.law.alternatives if name in LAWS]
    if not others:
        return []
    if len(rows.loss) > MOST_COMPARED:
        rows = rows.only(np.unique(np.linspace(0, len(rows.loss) - 1, MOST_COMPARED).astype(int)))
        at, own = estimate(at.law, rows, objective), None
    found = [(at, splits(at.law, rows, objective)[0] if own is None else own)]
    for law in others:
        try:
            found.append((estimate(law, rows, objective), splits(law, rows, objective)[0]))
        except FitError:
            continue
    if len(found) < 2:
        return []
    # A law of many parameters may leave no split: it is then judged by AICc alone, after the others.
    common = min((len(s) for _, s in found if s), default=0)
    return ranked([_score(fitted, split[:common]) for fitted, split in found])


def ranked(laws: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Laws by their held-out error, those within 10 % of the best by AICc; those without an error last."""
    known = [law["held_out_rms"] for law in laws if law["held_out_rms"] is not None]
    good = max(min(known, default=0.0) * (1 + DRAW), EXACT)

    def rank(law: Mapping[str, Any]) -> tuple[float, float]:
        error, criterion = law["held_out_rms"], law["aicc"]
        place = np.inf if error is None else max(error, good)
        return place, np.inf if criterion is None else criterion

    return sorted(laws, key=rank)


def _score(at: Estimate, own: Sequence[Split]) -> dict[str, Any]:
    rms = np.sqrt(np.mean([split.score["rms_log"] ** 2 for split in own])) if own else None
    return {
        "law": at.law.name,
        "formula": at.law.formula,
        "held_out_rms": None if rms is None else float(rms),
        "aicc": aicc(at),
        "rms_log": float(np.sqrt((at.weights * at.residuals() ** 2).sum() / at.weights.sum())),
    }


def beaten(law: Law, laws: Sequence[Mapping[str, Any]]) -> list[str]:
    """A warning where another law predicts the largest scales better, or as well with the lower AICc.

    Nothing where neither is known of both, as for a law of more parameters than the rows allow an AICc.
    """
    if not laws or laws[0]["law"] == law.name:
        return []
    best, mine = laws[0], next(one for one in laws if one["law"] == law.name)
    errors, criteria = (best["held_out_rms"], mine["held_out_rms"]), (best["aicc"], mine["aicc"])
    compared = None not in errors
    said = " against ".join(f"{100 * error:.2g} %" for error in errors) if compared else ""
    if compared and errors[1] > max(errors[0] * (1 + DRAW), EXACT):
        return [f"{best['law']} predicts held-out scales better: {best['formula']}, {said}."]
    if None in criteria or criteria[0] >= criteria[1]:
        return []
    also = f" predicts held-out scales as well ({said}) and" if compared else ""
    return [f"{best['law']}{also} has the lower AICc: {best['formula']}."]


def fitted_points(rows: Rows, at: Estimate, named: Mapping[int, float]) -> tuple[Point, ...]:
    """The fitted rows: row, inputs, the response, predicted, residual = ln predicted − ln measured, weight, outlier.

    row: index into the rows given. Of a long table an even sample, and the outliers.
    """
    shown = np.unique(
        np.linspace(0, len(rows.loss) - 1, min(len(rows.loss), MOST_FITTED)).round().astype(int)
    )
    predicted, r = np.exp(at.log_fitted()), at.residuals()
    return tuple(
        {
            "row": i,
            **{k: integral(v[i]) for k, v in rows.x.items()},
            at.law.response: float(rows.loss[i]),
            "predicted": float(predicted[i]),
            "residual": float(r[i]),
            "weight": float(rows.weights[i]),
            "outlier": i in named,
        }
        for i in map(int, np.union1d(shown, np.array(list(named), dtype=int)))
    )

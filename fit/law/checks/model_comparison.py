"""Compares a law with its alternatives: by the error at held-out largest scales, then by AICc."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fit.law.caution import Caution, Kind
from fit.law.checks.held_out import Split, splits
from fit.law.errors import FitError
from fit.law.estimate import Estimate, estimate
from fit.law.law import Law
from fit.law.laws import LAWS
from fit.law.losses import Objective
from fit.law.rows import Rows
from fit.law.solver import ROUNDING

# Held-out errors that differ by less than this share are a draw: AICc decides.
DRAW = 0.1
# Errors below this are those of rounding, and say nothing of one law against another.
EXACT = 1e-9
# Laws are compared over an even sample of the rows where there are more.
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class Candidate:
    """A law among those compared. held_out_rms: over the splits that all could be fitted to, None without one.

    aicc: None for too few rows. rms_log: root mean square of the residuals of all rows.
    """

    law: str
    formula: str
    held_out_rms: float | None
    aicc: float | None
    rms_log: float


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
) -> list[Candidate]:
    """The law and those that it is judged against, the best first.

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
    fitted_laws = [(at, splits(at.law, rows, objective)[0] if own is None else own)]
    for law in others:
        try:
            fitted_laws.append((estimate(law, rows, objective), splits(law, rows, objective)[0]))
        except FitError:
            continue
    if len(fitted_laws) < 2:
        return []
    # A law of many parameters may leave no split: it is then judged by AICc alone, after the others.
    common = min((len(s) for _, s in fitted_laws if s), default=0)
    return ranked([_score(fitted, split[:common]) for fitted, split in fitted_laws])


def ranked(laws: Sequence[Candidate]) -> list[Candidate]:
    """Laws by their held-out error, those within 10 % of the best by AICc; those without an error last."""
    known = [law.held_out_rms for law in laws if law.held_out_rms is not None]
    draw = max(min(known, default=0.0) * (1 + DRAW), EXACT)

    def rank(law: Candidate) -> tuple[float, float]:
        error, criterion = law.held_out_rms, law.aicc
        place = np.inf if error is None else max(error, draw)
        return place, np.inf if criterion is None else criterion

    return sorted(laws, key=rank)


def _score(at: Estimate, own: Sequence[Split]) -> Candidate:
    rms = np.sqrt(np.mean([split.score.rms_log**2 for split in own])) if own else None
    residuals = float(np.sqrt((at.weights * at.residuals() ** 2).sum() / at.weights.sum()))
    return Candidate(at.law.name, at.law.formula, None if rms is None else float(rms), aicc(at), residuals)


def beaten(law: Law, laws: Sequence[Candidate]) -> list[Caution]:
    """A caution where another law predicts the largest scales better, or as well with the lower AICc.

    Nothing where neither is known of both, as for a law of more parameters than the rows allow an AICc.
    """
    if not laws or laws[0].law == law.name:
        return []
    best, fitted = laws[0], next(one for one in laws if one.law == law.name)
    held, other_held = best.held_out_rms, fitted.held_out_rms
    errors = ""
    if held is not None and other_held is not None:
        errors = f"{100 * held:.2g} % against {100 * other_held:.2g} %"
        if other_held > max(held * (1 + DRAW), EXACT):
            return [_better(best, f"{best.law} predicts held-out scales better: {best.formula}, {errors}.")]
    if best.aicc is None or fitted.aicc is None or best.aicc >= fitted.aicc:
        return []
    also = f" predicts held-out scales as well ({errors}) and" if errors else ""
    return [_better(best, f"{best.law}{also} has the lower AICc: {best.formula}.")]


def _better(best: Candidate, text: str) -> Caution:
    return Caution(Kind.ANOTHER_LAW, text, (best.law,))

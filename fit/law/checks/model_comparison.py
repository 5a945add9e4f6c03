"""Compares a law with its alternatives: refuted or not, by the error at held-out largest scales, then by AICc."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from fit.law.caution import Caution, Kind
from fit.law.checks.held_out import Split, splits
from fit.law.checks.lack_of_fit import lack_of_fit
from fit.law.checks.noise import Noise
from fit.law.errors import FitError
from fit.law.estimate import Estimate, estimate
from fit.law.intervals.profile import LEVEL
from fit.law.law import Law
from fit.law.laws import LAWS
from fit.law.losses import Objective
from fit.law.rows import Rows
from fit.law.solver import ROUNDING, evaluate

# Held-out errors that differ by less than this share are a draw: AICc decides.
DRAW = 0.1
# With fewer held-out scales than this, one after the other, AICc decides: the error of one scale is one draw of chance.
FEWEST_SCALES = 2
# Errors below this are those of rounding, and say nothing of one law against another.
EXACT = 1e-9
# Laws are compared over an even sample of the rows where there are more.
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class Candidate:
    """A law among those compared.

    Parameters
    ----------
    held_out_rms : over the splits that all laws could be fitted to, None without one.
    aicc : None for too few rows.
    rms_log : root mean square of the residuals of all rows.
    held_out_scales : how many of the largest scales were held out, one after the other; None in older files.
    parameters : how many the law has; None in older files.
    inside : whether the held-out errors are within the 95 % interval of the law's own predictions for them.
    refuted : whether the noise of the rows refutes the law, see `lack_of_fit`.
    """

    law: str
    formula: str
    held_out_rms: float | None
    aicc: float | None
    rms_log: float
    held_out_scales: int | None = None
    parameters: int | None = None
    inside: bool | None = None
    refuted: bool = False


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
    at: Estimate,
    rows: Rows,
    objective: Objective,
    own: Sequence[Split] | None = None,
    noise: Noise | None = None,
) -> list[Candidate]:
    """The law and those that it is judged against, the best first, see `ranked`.

    The held-out error is the root mean square over the splits that all laws could be fitted to. A law that these rows
    cannot be fitted to is left out.

    Parameters
    ----------
    at, rows, objective : the fit of the law.
    own : the law's `splits`, where they are known.
    noise : the noise of the rows, which may refute a law.
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
    return ranked([_score(fitted, rows, split[:common], noise) for fitted, split in fitted_laws])


def ranked(laws: Sequence[Candidate]) -> list[Candidate]:
    """Laws that the rows do not refute before those that they refute, each by held-out error, a draw by AICc.

    Held-out errors decide only where two or more scales were held out one after the other, and even then it is a draw
    where a law is within 10 % of the best error, or where a law with no more parameters than the best has its error
    inside its own 95 % interval. Laws without an error come last.
    """
    known = [law for law in laws if law.held_out_rms is not None and not law.refuted]
    known = known or [law for law in laws if law.held_out_rms is not None]
    best = min(known, key=_error, default=None)

    def rank(law: Candidate) -> tuple[bool, float, float]:
        if best is None or law.held_out_rms is None:
            place = np.inf
        else:
            place = _error(best) if draw(law, best) else _error(law)
        return law.refuted, place, _criterion(law)

    return sorted(laws, key=rank)


def draw(law: Candidate, best: Candidate) -> bool:
    """Whether held-out errors do not decide between a law and the one with the lowest error."""
    if _error(law) <= max(_error(best) * (1 + DRAW), EXACT):
        return True
    few = [law.held_out_scales, best.held_out_scales]
    if any(scales is not None and scales < FEWEST_SCALES for scales in few):
        return True
    simpler = law.parameters is not None and best.parameters is not None and law.parameters <= best.parameters
    return simpler and bool(law.inside)


def _criterion(law: Candidate) -> float:
    """AICc; of a law without one −∞ if it fits the rows exactly, and otherwise ∞."""
    if law.aicc is None:
        return -np.inf if law.rms_log <= EXACT else np.inf
    return law.aicc


def _error(law: Candidate) -> float:
    return np.inf if law.held_out_rms is None else law.held_out_rms


def _score(at: Estimate, rows: Rows, own: Sequence[Split], noise: Noise | None) -> Candidate:
    rms = np.sqrt(np.mean([split.score.rms_log**2 for split in own])) if own else None
    test = lack_of_fit(at, rows, noise)
    return Candidate(
        at.law.name,
        at.law.formula,
        None if rms is None else float(rms),
        aicc(at),
        test.rms_log,
        len(own),
        len(at.law.internal),
        _inside(own),
        test.refuted,
    )


def _inside(own: Sequence[Split]) -> bool | None:
    """Whether held-out errors, in standard errors of the prediction of a new row, have a root mean square below t.

    By the delta method: the variance is s² (1/w + g C gᵀ), g the slope of ln L in the parameters.
    """
    if not own or any(split.at.dof < 1 for split in own):
        return None
    return all(_standardized(split) <= student.isf((1 - LEVEL) / 2, split.at.dof) for split in own)


def _standardized(split: Split) -> float:
    at, test = split.at, split.test
    error = at.log_loss(test.x) - np.log(test.loss)
    _, share = evaluate(at.basis.at(test.x), at.solution.theta, at.solution.alive)
    g = at.basis.at(test.x).slopes(at.solution.theta, share)[0]
    inside = np.einsum("pi,pq,qi->i", g, at.covariance(), g)
    s2 = float((at.weights * at.residuals() ** 2).sum() / at.dof)
    variance = s2 * (1 / np.maximum(test.weights, 1e-12) + inside)
    return float(np.sqrt(np.mean(error**2 / np.maximum(variance, EXACT**2))))


def beaten(law: Law, laws: Sequence[Candidate]) -> list[Caution]:
    """A caution where another law is better, which says whether its held-out error, AICc or the noise decided.

    Nothing where neither is known of both, as for a law of more parameters than the rows allow an AICc.
    """
    if not laws or laws[0].law == law.name:
        return []
    best, fitted = laws[0], next(one for one in laws if one.law == law.name)
    held, other_held = best.held_out_rms, fitted.held_out_rms
    if fitted.refuted and not best.refuted:
        text = f"The rows do not refute {best.law}: {best.formula}, residuals {100 * best.rms_log:.2g} %."
        return [_better(best, text)]
    errors = ""
    if held is not None and other_held is not None:
        errors = f"{100 * held:.2g} % against {100 * other_held:.2g} %"
        if other_held > held and not draw(fitted, best):
            return [_better(best, f"{best.law} predicts held-out scales better: {best.formula}, {errors}.")]
    if best.aicc is None or fitted.aicc is None or best.aicc >= fitted.aicc:
        return []
    if errors and best.held_out_scales is not None and best.held_out_scales < FEWEST_SCALES:
        text = (
            f"{best.law} has the lower AICc: {best.formula}. One held-out scale ({errors}) does not decide."
        )
        return [_better(best, text, Kind.LOWER_AICC)]
    also = f" predicts held-out scales as well ({errors}) and" if errors else ""
    return [_better(best, f"{best.law}{also} has the lower AICc: {best.formula}.", Kind.LOWER_AICC)]


def _better(best: Candidate, text: str, kind: Kind = Kind.ANOTHER_LAW) -> Caution:
    return Caution(kind, text, (best.law,))

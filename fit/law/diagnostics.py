"""Cautions about a fit: parameters that the rows do not identify or that trade off, curvature, and outliers."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fit.law.caution import Caution, Kind
from fit.law.estimate import Estimate
from fit.law.intervals.bootstrap import OVER_RESIDUALS
from fit.law.intervals.choose import NONE, enough
from fit.law.intervals.few_runs import FEWEST_RUNS
from fit.law.intervals.few_runs import METHOD as OVER_RUNS
from fit.law.intervals.measured import LEAST, UNFINISHED, Coverage, better, measured
from fit.law.intervals.misfit import WIDENED
from fit.law.intervals.profile import LEVEL
from fit.law.law import Array, Law
from fit.law.losses import LOG, Objective
from fit.law.options import BOOTSTRAP, PROFILE
from fit.law.result import Param
from fit.law.rows import Rows

CORRELATED = 0.95
# Belsley, Kuh & Welsch 1980: from 30 on a combination of the parameters is poorly determined, from 100 on badly.
POOR, BAD = 30.0, 100.0
# The delta method's interval and the one reported differ by more than this factor: the law is not linear over it.
CURVED = 1.5
# With fewer degrees of freedom one residual may be all there is by chance: five points on a line have three.
FEWEST = 4
# Residuals of less than 1e-10 of the loss are those of the table's digits.
EXACT = 1e-20
# Bootstraps that take rows for independent of one another.
INDEPENDENT = (f"{BOOTSTRAP} over rows", OVER_RESIDUALS)
# More of these never raises the loss of a well-trained run.
SCALES = {"n_latents", "flops", "tokens"}
# Probability of flagging at least one row as an outlier when there is none.
ALARM = 0.01


def correlations(at: Estimate) -> Array:
    """Correlation of the internal parameters, (p, p); NaN for those of a vanished floor."""
    covariance = at.basis.inverse @ at.covariance() @ at.basis.inverse.T
    scale = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        return covariance / np.outer(scale, scale)


def condition(at: Estimate) -> float | None:
    """κ of the Jacobian in whitened parameters, its columns scaled to 1: how alike two changes of the law can be.

    1 is ideal. Whitened, an intercept and its slope are not alike, whatever the unit of the input. None for a law whose
    floor vanished, for one parameter, and for a function of the user, which is not whitened.
    """
    if not all(term.params for term in at.law.terms):
        return None
    J = at.jacobian() * np.sqrt(at.weights)
    length = np.linalg.norm(J, axis=1)
    if not (length > 0).all():
        return None
    values = (
        np.linalg.svd(J / length[:, None], compute_uv=False)
        if J.shape[1] < 10**5
        else _by_gram(J / length[:, None])
    )
    return float(values[0] / max(values[-1], 1e-300))


def _by_gram(J: Array) -> Array:
    return np.sqrt(np.maximum(np.linalg.eigvalsh(J @ J.T)[::-1], 0))


def ill_conditioned(at: Estimate) -> list[Caution]:
    """A caution where some combination of the parameters is hardly determined."""
    kappa = condition(at)
    if kappa is None or kappa < POOR:
        return []
    how = "badly" if kappa >= BAD else "poorly"
    text = (
        f"Some combination of the parameters is {how} determined (condition {kappa:,.0f}): "
        "predictions within the rows hold, single parameters and far extrapolations do not."
    )
    return [Caution(Kind.NOT_IDENTIFIED, text, at.law.params)]


def trade_offs(at: Estimate) -> list[Caution]:
    """A caution when the rows hardly distinguish two parameters; the strongest pair is named.

    The intercept and a slope of one term do not count: their correlation depends on the unit of the input.
    """
    law, corr = at.law, correlations(at)
    pairs = []
    for i, first in enumerate(law.internal):
        for j, second in enumerate(law.internal[:i]):
            # A function of the user has no intercept.
            own = {lead for name in (first, second) for lead in law.terms[law.term_of(name)].params[:1]}
            same = law.term_of(first) == law.term_of(second)
            if abs(corr[i, j]) > CORRELATED and not (same and own & {first, second}):
                pairs.append((abs(corr[i, j]), corr[i, j], *sorted((first, second), key=law.params.index)))
    if not pairs:
        return []
    _, value, first, second = max(pairs)
    others = ", ".join(f"{a} and {b} {c:+.2f}" for _, c, a, b in sorted(pairs, reverse=True)[1:])
    also = f"; also {others}" if others else ""
    fact = f"{first} and {second} trade off (corr {value:+.2f}{also})".replace("-", "−")
    return [Caution.advising(Kind.TRADE_OFF, fact, ": compare predictions, not exponents.", (first, second))]


def few_runs(rows: Rows, law: Law, params: Mapping[str, Param]) -> list[Caution]:
    """A caution where the rows are of too few runs for any interval, or for that of some parameters."""
    runs = "1 run" if rows.runs == 1 else f"{rows.runs} runs"
    if any(param.method == NONE for param in params.values()):
        text = (
            f"No intervals: the {len(rows.loss)} rows are of {runs} only, whose errors they share. From {FEWEST_RUNS} "
            f"runs on some parameters have one, and from {enough(law)} on most do."
        )
        return [Caution(Kind.INTERVALS, text, law.params)]
    unknown = tuple(name for name, param in params.items() if _of_too_few_runs(param))
    if not unknown:
        return []
    known = ", ".join(name for name in params if name not in unknown)
    text = (
        f"No interval for {', '.join(unknown)}: the {len(rows.loss)} rows are of {runs} only, whose errors they share, "
        f"and what differs between runs needs more of them. Known are {known}, which each run shows."
    )
    return [Caution(Kind.INTERVALS, text, unknown)]


def _of_too_few_runs(param: Param) -> bool:
    return param.method.startswith(OVER_RUNS) and param.low is None and param.high is None


def undercovered(rows: Rows, method: str, objective: Objective) -> list[Caution]:
    """A caution where intervals by this method held the truth too seldom in simulated tables like these rows.

    None for a bootstrap of anything but rows, as of runs behind a frontier: no such table was simulated.
    """
    asked = method.partition(" ")[0]
    of_rows = asked != BOOTSTRAP or method in INDEPENDENT
    if rows.shared or method.endswith(WIDENED) or not of_rows:
        return []
    known = measured(int((rows.weights > 0).sum()), objective, asked)
    if known is None or known.lowest >= LEAST:
        return []
    instead = better(known)
    advice = f". --intervals {instead} covers better there." if instead else "."
    return [Caution.advising(Kind.INTERVALS, _too_narrow(known, f"{known.rows} runs"), advice)]


def unclustered(rows: Rows, method: str) -> list[Caution]:
    """A caution where rows share runs and the intervals are those of a profile, which takes rows for independent."""
    if not rows.shared or method.partition(" ")[0] != PROFILE:
        return []
    fact = (
        f"Profile intervals count each of the {len(rows.loss)} rows as independent, although they are of {rows.runs} "
        "runs, so they are too narrow where the errors of a run are alike"
    )
    advice = ". --intervals bootstrap resamples whole runs."
    return [Caution.advising(Kind.INTERVALS, fact, advice)]


def all_unfinished(rows: int) -> Caution:
    """The caution of a law at convergence all of whose runs, so many, are unfinished."""
    fact = _too_narrow(UNFINISHED, f"{UNFINISHED.rows} runs of which none had converged")
    return Caution.advising(Kind.INTERVALS, f"None of the {rows} runs has converged. {fact}", ".")


def _too_narrow(known: Coverage, simulated: str) -> str:
    return (
        f"95 % intervals by {known.method} may be too narrow: in simulated tables of {simulated} under the objective "
        f"{known.objective} they held the truth in {100 * known.lowest:.0f} % of {known.tables} tables "
        f"({known.quantity} of {known.law})"
    )


def rising(at: Estimate, rows: Rows) -> list[Caution]:
    """A caution for each scale with which the fitted loss rises, on average over the rows."""
    if at.law.response != "nmse":
        return []
    here, scales = at.log_fitted(), []
    for name in SCALES & set(at.law.inputs):
        further = at.log_loss({**rows.x, name: rows.x[name] * 1.01})
        if np.average(further - here, weights=rows.weights) > 0:
            scales.append(name)
    fact = "The loss rises with {}, as no law of scaling does"
    asking = ": are the columns mapped right, and the runs converged?"
    return [Caution.advising(Kind.RISING, fact.format(name), asking, (name,)) for name in sorted(scales)]


def unidentified(law: Law, params: Mapping[str, Param]) -> list[Caution]:
    """A caution for each parameter whose interval has no end."""
    cautions = []
    for name in law.params:
        param = params[name]
        if param.value is None or param.method == NONE or _of_too_few_runs(param):
            continue
        sides = [side for side, end in (("lower", param.low), ("upper", param.high)) if end is None]
        if sides:
            fact = f"{name} is not identified: its 95 % interval has no {' and no '.join(sides)} end"
            advice = ". Do not quote it; add rows over a wider range."
            cautions.append(Caution.advising(Kind.NOT_IDENTIFIED, fact, advice, (name,)))
    return cautions


def curved(at: Estimate, params: Mapping[str, Param]) -> list[Caution]:
    """A caution where the delta method's interval differs much in width: quoting value ± error would mislead.

    None for exact rows, whose intervals are of rounding size, and so are their errors.
    """
    if at.deviance < EXACT * at.weights.sum():
        return []
    law, ratios, t = at.law, {}, float(student.isf((1 - LEVEL) / 2, at.dof))
    for name, param in params.items():
        if None in (param.value, param.low, param.high, param.se) or param.method == "delta":
            continue
        # The delta method takes rows of one run, or of one misfit, for independent.
        over_runs = param.method.startswith(BOOTSTRAP) and param.method not in INDEPENDENT
        if over_runs or param.method.endswith(WIDENED):
            continue
        ends = np.array([param.low, param.high], dtype=float)
        if name in law.logs and ends[0] <= 0:
            continue
        width = np.ptp(np.log(ends) if name in law.logs else ends)
        ratio = float(width / (2 * t * np.float64(param.se or np.nan)))
        if np.isfinite(ratio) and not 1 / CURVED < ratio < CURVED:
            ratios[name] = ratio
    if not ratios:
        return []
    widths = ", ".join(f"{name} {ratio:.2g}" for name, ratio in ratios.items())
    text = f"± standard errors would mislead: the intervals are {widths} times as wide as the delta method's."
    return [Caution(Kind.INTERVALS, text, tuple(ratios))]


def absent_floor(at: Estimate, params: Mapping[str, Param]) -> list[Caution]:
    """A caution when the best fit has no irreducible loss."""
    if not at.floor_vanished:
        return []
    if "E" in params:
        text = "E went to 0: these rows show no irreducible loss. Its interval says how much they allow."
        return [Caution(Kind.NO_FLOOR, text, ("E",))]
    text = "The irreducible term went to 0: these rows show none, and its parameters are undefined."
    return [Caution(Kind.NO_FLOOR, text)]


def few_agree(at: Estimate) -> list[Caution]:
    """A caution when most starts ended elsewhere, so that a better optimum may have been missed."""
    if 2 * at.agree >= at.tried:
        return []
    text = f"Only {at.agree} of {at.tried} starts reached the best optimum: it may not be the global one."
    return [Caution(Kind.STARTS, text)]


def outliers(at: Estimate) -> dict[int, float]:
    """Outliers by their studentized residual, with that score by row index; none is dropped.

    For least squares the externally studentized residual against Student's t with Bonferroni's correction (Cook &
    Weisberg 1982, §2.2.2); for Huber the residual over 1.4826 median |r|, which outliers do not widen.
    """
    objective, w, rows = at.problem.objective, at.weights, int((at.weights > 0).sum())
    r = objective.residual(at.log_fitted(), at.problem.ln_y) * np.sqrt(w)
    J = at.jacobian() * np.sqrt(w)
    leverage = np.einsum("pi,pq,qi->i", J, at.covariance(), J)
    e = r / np.sqrt(np.maximum(1 - leverage, 1e-12))
    nu = at.dof - 1
    if nu < FEWEST or at.deviance < EXACT * w.sum():
        return {}
    if np.isfinite(objective.delta):
        scale, cut = 1.4826 * np.median(np.abs(e[w > 0])), norm.isf(ALARM / 2 / rows)
    else:
        rest = np.maximum(at.deviance - e**2, 1e-6 * at.deviance)
        scale, cut = np.sqrt(rest / nu), student.isf(ALARM / 2 / rows, nu)
    score = e / scale
    order = np.argsort(-np.abs(score))
    return {int(i): float(score[i]) for i in order if abs(score[i]) > cut and leverage[i] < 1 - 1e-9}


def outlying(
    rows: Mapping[int, Mapping[str, float]], scores: Mapping[int, float], objective: Objective = LOG
) -> list[Caution]:
    """A caution that names the outliers, the three worst with their inputs. rows: inputs by row index."""
    if not scores:
        return []
    shown = [
        f"{', '.join(f'{name}={value:,.6g}' for name, value in rows[i].items())} ({score:+.1f} σ)"
        for i, score in list(scores.items())[:3]
    ]
    more = f" and {len(scores) - 3} more" if len(scores) > 3 else ""
    kind = "1 row is an outlier" if len(scores) == 1 else f"{len(scores)} rows are outliers"
    known = np.isfinite(objective.delta)
    robust = "Huber's objective lets them count little" if known else "the objective huber is robust to them"
    fact = f"{kind}, fitted all the same: {'; '.join(shown)}{more}".replace("-", "−")
    return [Caution.advising(Kind.OUTLIERS, fact, f". Look at them; {robust}.")]

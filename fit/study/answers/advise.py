"""How to spend a budget: n, tokens, lr and batch under both regimes, with the loss that the laws predict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from fit.law.caution import Caution
from fit.law.errors import FitError
from fit.law.json_values import finite
from fit.law.result import FitResult
from fit.study.answers.budget import FORMULAS, Budget, per_token
from fit.study.answers.prediction import Fits, Prediction, label, predict
from fit.study.answers.reach import Extent, Reach

# The budget itself, half of it and twice.
SHARES = (0.5, 1.0, 2.0)
# The search for n goes this far beyond the rows.
FURTHEST = 1e6
# How much higher than the lowest a loss may be for an n to count as good as the best.
AS_GOOD = 0.005
COMPUTE, CONVERGED = "compute-optimal", "converged"  # plans are sorted by these


@dataclass(frozen=True)
class Quantity:
    """A number of a plan with its 95 % interval; None where it is unbounded or none is known.

    laws : what it is made from. reach : how far beyond their rows that is.
    """

    value: float
    low: float | None
    high: float | None
    laws: str
    reach: Reach = Reach()


@dataclass(frozen=True)
class Spending:
    """What to train for one amount of compute. A quantity is None where the laws for it are missing, see `Plan`.

    share : of the budget. as_good : the n from and to which the law is within 0.5 % of its lowest loss. cautions : of
    the predicted loss.
    """

    share: float
    flops: float
    n_latents: Quantity | None = None
    tokens: Quantity | None = None
    lr: Quantity | None = None
    nmse: Quantity | None = None
    as_good: tuple[float, float] | None = None
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One way to spend a budget, under one regime and at one k.

    regime : compute-optimal (L disregards convergence) or converged. laws : what it rests on. group : of the fits, as
    k. spendings : for half the budget, the budget and twice that. batch : a sentence about the batch size. notes : what
    is missing, or outside of what was swept.
    """

    regime: str
    laws: str
    group: Mapping[str, Any]
    spendings: tuple[Spending, ...]
    batch: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """The plans for a budget. convention, formula : how FLOPs are counted. missing : what no plan could be made for."""

    budget: Budget
    convention: str
    formula: str
    plans: tuple[Plan, ...]
    missing: tuple[str, ...] = ()


def advise(
    fits: Sequence[FitResult],
    budget: Budget,
    given: Mapping[str, Any] | None = None,
    d_model: float | None = None,
    convention: str | None = None,
    laws: Sequence[str] | None = None,
) -> Advice:
    """What the laws say about the best use of a budget.

    Compute-optimal: N*(C), D*(C), lr*(C) and L(C) where they were fitted, and the lowest L(N, D) with
    C = FLOPs per token·D. Converged: the largest n whose tokens to convergence T(n) can be paid, with lr*(n) and L(N)
    or L(N, K) there. Each k has plans of its own.

    Parameters
    ----------
    fits : the fits of a study, live or read from fits.json.
    budget : the FLOPs of one run, see `budget.budget`.
    given : the group that counts, as {"k": 32}; by default every one.
    d_model : the width d, without which tokens have no price.
    convention : sparse or dense; by default that of the fitted L(C), and sparse without one.
    laws : names of the laws to ask; by default all.

    Raises
    ------
    FitError
        Where no plan can be made, with the laws and columns that are missing.
    """
    known, given = Fits(fits, laws), dict(given or {})
    known.check(given)
    if d_model is not None and not (np.isfinite(d_model) and d_model > 0):
        raise FitError(f"d_model is {d_model:g}: give a finite number above 0.")
    matching = [fit for fit in known.fits if known.matching(given, fit)]
    usable = [fit for fit in matching if fit.silent_because is None]
    conventions = {fit.flops for fit in usable if fit.flops}
    if convention is None:
        if len(conventions) > 1:
            raise FitError("These fits count FLOPs in both conventions: give one, sparse or dense.")
        convention = next(iter(conventions), "sparse")
    study = _Study(usable, budget.flops, given, d_model, convention)
    plans = [*study.at_compute(), *study.by_joint_law(), *study.at_convergence()]
    plans.sort(key=lambda plan: (plan.regime, [str(value).zfill(12) for value in plan.group.values()]))
    silent = [fit.silent_because for fit in matching if fit.silent_because is not None]
    missing = tuple(dict.fromkeys([*study.missing, *silent]))
    if not plans:
        raise FitError(f"These fits do not say how to spend a budget. {' '.join(missing)}".strip())
    return Advice(budget, convention, FORMULAS[convention], tuple(plans), missing)


class _Study:
    """The fits to ask, the budget, and the sentences about what is missing."""

    def __init__(
        self,
        fits: Sequence[FitResult],
        flops: float,
        given: Mapping[str, Any],
        d_model: float | None,
        convention: str,
    ) -> None:
        self.fits, self.flops, self.given, self.convention = fits, flops, given, convention
        widths = {fit.group["d_model"] for fit in fits if fit.group.get("d_model") is not None}
        self.d = d_model if d_model is not None else (widths.pop() if len(widths) == 1 else None)
        self.missing: list[str] = []

    def of(self, *laws: str) -> list[FitResult]:
        """The fits of these laws, the law that describes its rows best first."""
        return [fit for fit in self.fits if fit.law in laws]

    def beside(self, law: str, group: Mapping[str, Any]) -> list[FitResult]:
        """The fits of a law whose group is the same in every column that both have."""
        return [
            fit
            for fit in self.of(law)
            if all(fit.group[name] == value for name, value in group.items() if name in fit.group)
        ]

    def at_compute(self) -> Iterator[Plan]:
        """A plan for each L(C): N*(C), D*(C) and lr*(C) of the same curves."""
        fits = self.of("L_C", "L_C_pure", "L_C_broken")
        if not fits:
            self.missing.append(
                "L_C is missing, for the lowest loss at a compute: fit curves with flops_sparse."
            )
        done: list[Mapping[str, Any]] = []
        for fit in fits:
            if fit.group in done:  # a worse law of the same rows
                continue
            done.append(fit.group)
            optima = {name: self.beside(name, fit.group)[:1] for name in ("N_C", "D_C", "LR_C")}
            notes = [_why_missing(fit, name) for name, there in optima.items() if not there]
            spendings = []
            for share in SHARES:
                C = share * self.flops
                loss = _ask([fit], {"flops": C})
                n, tokens, lr = (
                    _quantity(_ask(there, {"flops": C})) if there else None for there in optima.values()
                )
                spendings.append(Spending(share, C, n, tokens, lr, _quantity(loss), cautions=loss.cautions))
            for there in optima["LR_C"]:
                notes += _beyond_sweep(spendings, [point.response for point in there.points])
            names = [fit.law, *(with_method(there[0]) for there in optima.values() if there)]
            yield Plan(COMPUTE, ", ".join(names), fit.group, tuple(spendings), self._batch(fit), tuple(notes))

    def by_joint_law(self) -> Iterator[Plan]:
        """A plan for each L(N, D), and L(N, D, K) at each k of its rows: the lowest loss with C = cost of a token·D."""
        fits = [
            fit for fit in self.fits if {"n_latents", "tokens"} <= set(fit.inputs) and fit.response == "nmse"
        ]
        if not fits:
            self.missing.append("A law of n and tokens is missing, as L_ND: fit one with --law L_ND.")
        for fit in fits:
            further = [name for name in fit.inputs if name not in ("n_latents", "tokens", "k")]
            if absent := [name for name in further if name not in self.given]:
                values = ", ".join(f"{name}=…" for name in absent)
                self.missing.append(f"A plan by {label(fit)} needs {', '.join(absent)}: give {values}.")
                continue
            fixed = {name: self.given[name] for name in further}
            for k in self._ks(fit):
                if not self._priced(fit, k):
                    continue
                group = {**fit.group, **({} if k is None or "k" in fit.group else {"k": k}), **fixed}
                try:
                    spendings = tuple(self._lowest(fit, share, k) for share in SHARES)
                except FitError as error:
                    self.missing.append(f"A plan by {label(fit)}: {error}")
                    continue
                there = self.beside("LR_C", group)[:1]
                notes = [] if there else ["lr is missing: LR_C was not fitted."]
                if there:
                    spendings = tuple(
                        replace(one, lr=_quantity(_ask(there, {"flops": one.flops}))) for one in spendings
                    )
                    notes += _beyond_sweep(spendings, [point.response for point in there[0].points])
                names = ", ".join([fit.law, *(one.law for one in there)])
                yield Plan(COMPUTE, names, group, spendings, self._batch(fit), tuple(notes))

    def _lowest(self, fit: FitResult, share: float, k: float | None) -> Spending:
        C, d = share * self.flops, self.d
        others = {name: self.given[name] for name in fit.inputs if name not in ("n_latents", "tokens", "k")}
        others |= {"k": k} if "k" in fit.inputs else {}
        smallest, largest = Extent(fit).ends("n_latents")

        def at(ln_n: Any) -> dict[str, Any]:
            n = np.exp(ln_n)
            return {**others, "n_latents": n, "tokens": C / per_token(n, k, d, self.convention)}

        def loss(ln_n: Any) -> Any:
            return fit.predict(at(np.atleast_1d(ln_n)))

        grid = np.linspace(np.log(smallest / FURTHEST), np.log(largest * FURTHEST), 400)
        losses = loss(grid)
        if np.isnan(losses).all():
            raise FitError(f"It has no value at any n that {C:.3g} FLOPs pay.")
        here = int(np.nanargmin(losses))
        bounds = (grid[max(here - 1, 0)], grid[min(here + 1, len(grid) - 1)])
        best = float(
            minimize_scalar(
                lambda u: float(loss(u)[0]), bounds=bounds, method="bounded", options={"xatol": 1e-6}
            ).x
        )
        near = grid[loss(grid) <= (1 + AS_GOOD) * loss(best)]
        point = {name: float(value) for name, value in at(best).items()}
        answer = _ask([fit], point)
        n, tokens = (
            Quantity(point[name], None, None, fit.law, answer.reach) for name in ("n_latents", "tokens")
        )
        as_good = (float(np.exp(near.min())), float(np.exp(near.max()))) if len(near) else None
        return Spending(share, C, n, tokens, None, _quantity(answer), as_good, answer.cautions)

    def at_convergence(self) -> Iterator[Plan]:
        """A plan for each T(n): the largest n that the budget trains to convergence, with its loss and lr."""
        fits = self.of("T_N")
        if not fits:
            self.missing.append(
                "T_N is missing, for the tokens to convergence: fit converged runs with their curves."
            )
        for fit in fits:
            k = fit.group.get("k", self.given.get("k"))
            losses = [one for one in self.of("L_N", "L_N_pure", "L_N_broken") if one.group == fit.group]
            losses = (losses or ([] if k is None else self.of("L_NK", "L_NK_pure")))[:1]
            if not losses:
                self.missing.append(f"L_N is missing beside {label(fit)}, for the loss at convergence.")
                continue
            if not self._priced(fit, k):
                continue
            rates = self.beside("LR_N", fit.group)[:1]
            notes = [] if rates else ["lr is missing: LR_N was not fitted."]
            spendings = tuple(self._affordable(fit, losses[0], rates, share, k) for share in SHARES)
            for there in rates:
                notes += _beyond_sweep(spendings, [point.response for point in there.points])
            names = ", ".join(one.law for one in (fit, *losses, *rates))
            yield Plan(CONVERGED, names, fit.group, spendings, self._batch(losses[0]), tuple(notes))

    def _affordable(
        self, tokens: FitResult, loss: FitResult, rates: Sequence[FitResult], share: float, k: float | None
    ) -> Spending:
        C, d = share * self.flops, self.d
        smallest, largest = Extent(tokens).ends("n_latents")
        ends = np.log([smallest / FURTHEST, largest * FURTHEST])

        def over(ln_n: float, end: int) -> float:
            """ln of what n costs, by the law of tokens or an end of its interval, over the budget."""
            n = float(np.exp(ln_n))
            T = tokens.predict({"n_latents": n}, "law")[end][0]
            with np.errstate(divide="ignore"):
                return float(np.log(T * per_token(n, k, d, self.convention) / C))

        def largest_n(end: int) -> float | None:
            low, high = over(ends[0], end), over(ends[1], end)
            if not (np.isfinite(low) and np.isfinite(high) and low < 0 < high):
                return None
            return float(np.exp(brentq(over, *ends, args=(end,), xtol=1e-8)))

        n = largest_n(0)
        if n is None:
            raise FitError(
                f"{C:.3g} FLOPs train no n within {FURTHEST:.0e} × the rows of {label(tokens)} to convergence."
            )
        at = {"n_latents": n, **({"k": k} if "k" in loss.inputs and k is not None else {})}
        answer, paid = _ask([loss], at), _ask([tokens], {"n_latents": n})
        size = Quantity(n, largest_n(2), largest_n(1), "T_N", paid.reach)
        lr = _quantity(_ask(rates, {"n_latents": n})) if rates else None
        return Spending(share, C, size, _quantity(paid), lr, _quantity(answer), cautions=answer.cautions)

    def _ks(self, fit: FitResult) -> list[float | None]:
        """The k of the plans of a joint law."""
        if "k" not in fit.inputs:
            return [fit.group.get("k", self.given.get("k"))]
        if "k" in self.given:
            return [float(self.given["k"])]
        return [*sorted({point.inputs["k"] for point in fit.points})]

    def _priced(self, fit: FitResult, k: float | None) -> bool:
        """Whether what a token costs is known; a sentence says why it is not."""
        try:
            per_token(1.0, k, self.d, self.convention)
        except FitError as error:
            self.missing.append(f"A plan by {label(fit)}: {error}")
            return False
        return True

    def _batch(self, fit: FitResult) -> str:
        """What the rows say about the batch size."""
        own = fit.group.get("batch_tokens")
        sizes = {point.run.batch_tokens for point in fit.points if point.run.batch_tokens is not None}
        sizes |= set() if own is None else {own}
        if not sizes:
            return "batch: unknown, the fits do not hold the batch_tokens of their runs"
        if len(sizes) == 1:
            return f"batch: {sizes.pop():,.0f} tokens, as in all rows; no other was tried"
        return (
            f"batch: {min(sizes):,.0f} to {max(sizes):,.0f} tokens among the rows; no law says which is best"
        )


def with_method(fit: FitResult) -> str:
    """`N_C by crossovers`."""
    method = getattr(fit.selection, "method", None)
    return f"{fit.law} by {method}" if method else fit.law


def _ask(fits: Sequence[FitResult], at: Mapping[str, float]) -> Prediction:
    """What the first of the fits says, whatever its group."""
    (answer,) = predict(fits[:1], [at]).predictions
    return answer


def _quantity(one: Prediction) -> Quantity:
    return Quantity(one.value, one.low, one.high, one.law, one.reach)


def _why_missing(fit: FitResult, law: str) -> str:
    """Why a law of the compute optimum is missing, as far as the fit of L(C) says."""
    reasons = [text for text in fit.extra.skipped if text.startswith((f"{law} (", f"{law}:"))]
    return (
        reasons[0] if reasons else f"{law} is missing: `saescale fit` without --law fits it along with L_C."
    )


def _beyond_sweep(spendings: Sequence[Spending], swept: Sequence[float]) -> list[str]:
    """A sentence where an lr is outside of those that were the best of some size."""
    low, high = min(swept), max(swept)
    outside = [one.lr.value for one in spendings if one.lr is not None and not low <= one.lr.value <= high]
    if not outside:
        return []
    shown = ", ".join(f"{value:.3g}" for value in outside)
    return [
        f"lr {shown} is outside of the optima that were measured, {low:.3g} to {high:.3g}: try it on a short run."
    ]


def furthest(spending: Spending) -> Reach:
    """How far beyond the rows the furthest quantity of a spending is."""
    parts = [one.reach for one in (spending.n_latents, spending.tokens, spending.lr, spending.nmse) if one]
    return max(parts, key=lambda reach: finite(reach.factor) or 0.0, default=Reach())

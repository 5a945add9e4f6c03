"""The compute-optimal and the converged budget of each n, and some budgets between them (Gao et al. 2024, §3.1.2)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.optimal_point import ComputeOptimal
from fit.data import tables
from fit.law.json_values import finite, record

# The number of budgets from the compute-optimal to the converged one, both included, evenly spaced in ln D.
STEPS = 5


@dataclass(frozen=True)
class ComputeBudget:
    """The tokens D, the compute C and the loss at which n is compute-optimal."""

    tokens: float
    flops: float
    nmse: float


@dataclass(frozen=True)
class ConvergenceTokens:
    """The tokens to convergence of one n and batch size at its best lr, and the ends of the error that runs share."""

    n_latents: float
    batch_tokens: float | None
    lr: float | None
    tokens: float
    low: float
    high: float


@dataclass(frozen=True)
class ConvergedBudget:
    """The tokens to convergence, and the converged loss."""

    tokens: float
    nmse: float


@dataclass(frozen=True)
class BetweenBudget:
    """A budget on the lowest curve of n. gap: the loss there divided by the converged loss, minus 1."""

    tokens: float
    flops: float
    nmse: float
    gap: float


@dataclass(frozen=True)
class Budgets:
    """Both budgets of one n, and some budgets between them.

    token_ratio: D_converged/D_compute. loss_gap: L_compute/L_converged − 1.
    """

    n_latents: float
    compute: ComputeBudget
    converged: ConvergedBudget
    token_ratio: float
    loss_gap: float
    between: tuple[BetweenBudget, ...]

    @property
    def half_way(self) -> BetweenBudget | None:
        """The budget half-way between the two in ln D, None if no curve reaches it."""
        middle = np.sqrt(self.compute.tokens * self.converged.tokens)
        return next((at for at in self.between if np.isclose(at.tokens, middle)), None)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Budgets":
        return record(
            cls,
            content,
            compute=record(ComputeBudget, content["compute"]),
            converged=record(ConvergedBudget, content["converged"]),
            between=tuple(record(BetweenBudget, at) for at in content["between"]),
        )


def budgets(
    points: Mapping[float, ComputeOptimal], converged: pd.DataFrame
) -> tuple[list[Budgets], list[str]]:
    """The budgets of each n that has both, and one sentence per reason why other n are left out.

    points: the compute-optimal points. converged: one row for each n with n_latents, nmse and tokens (to convergence,
    NaN if unknown). L_converged is the loss used by L(N), from the end of the run, which is up to ε below the loss at
    D_converged. `STEPS` budgets lead from one to the other, both included; budgets that no curve reaches are left out.
    The budgets have no intervals: each is read off a single run, and resampling the runs would replace the best lr of
    an n by its second-best, which does not measure the error of the best.
    """
    at_end = {
        float(n): (float(loss), float(D))
        for n, loss, D in zip(
            *(tables.numbers(converged, name) for name in ("n_latents", "nmse", "tokens")), strict=True
        )
    }
    usable = [n for n in points if n in at_end and np.isfinite([at_end[n][1], points[n].log_d]).all()]
    return [_row(points[n], *at_end[n]) for n in usable], list(_reasons(points, at_end))


def convergence_tokens(known: pd.DataFrame) -> tuple[ConvergenceTokens, ...]:
    """known: the runs that represent each n and batch size, with tokens, shared_low and shared_high."""
    optional = [
        tables.numbers(known, name) if name in known.columns else None for name in ("batch_tokens", "lr")
    ]
    B, lr = ([None] * len(known) if values is None else map(finite, values) for values in optional)
    numbers = (tables.numbers(known, name) for name in ("n_latents", "tokens", "shared_low", "shared_high"))
    rows = [
        ConvergenceTokens(
            float(n), size, rate, float(D), *sorted(float(D * np.exp(shift)) for shift in shifts)
        )
        for n, D, *shifts, size, rate in zip(*numbers, B, lr, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (row.batch_tokens or 0.0, row.n_latents)))


def _reasons(
    points: Mapping[float, ComputeOptimal], at_end: Mapping[float, tuple[float, float]]
) -> Iterator[str]:
    """One sentence for each reason why some n have no row."""
    both = [n for n in points if n in at_end]
    lacking = {
        "on the frontier, but no converged run": [n for n in points if n not in at_end],
        "the tokens of its curves are not known": [n for n in both if not np.isfinite(points[n].log_d)],
        "its tokens to convergence are not known": [n for n in both if not np.isfinite(at_end[n][1])],
        "converged, but never on the frontier within the grid of n": [n for n in at_end if n not in points],
    }
    for reason, sizes in lacking.items():
        if sizes:
            yield f"No gap at n_latents={', '.join(f'{n:,.0f}' for n in sorted(sizes))}: {reason}."


def _row(optimum: ComputeOptimal, loss: float, tokens: float) -> Budgets:
    D, C, L = (float(np.exp(v)) for v in (optimum.log_d, optimum.log_c, optimum.log_l))
    return Budgets(
        optimum.n,
        ComputeBudget(D, C, L),
        ConvergedBudget(tokens, loss),
        float(tokens / np.exp(optimum.log_d)),
        float(np.exp(optimum.log_l) / loss - 1),
        tuple(_between(optimum, loss, tokens)),
    )


def _between(optimum: ComputeOptimal, loss: float, tokens: float) -> Iterator[BetweenBudget]:
    """The budgets along the lowest curve of n, as far as the curve reaches."""
    curve = optimum.curve
    for log_d in np.linspace(optimum.log_d, np.log(tokens), STEPS):
        if curve.log_d[0] - 1e-9 <= log_d <= curve.log_d[-1] + 1e-9:
            C, L = (float(np.exp(np.interp(log_d, curve.log_d, v))) for v in (curve.log_c, curve.log_l))
            yield BetweenBudget(float(np.exp(log_d)), C, L, L / loss - 1)

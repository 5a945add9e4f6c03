"""For each n its compute-optimal budget, its converged one, and some in between (Gao et al. 2024, §3.1.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit.digits import percent, significant
from fit.law import Array
from fit.touch import Touch

# Budgets from the compute-optimal to the converged one, both included, evenly in ln D.
STEPS = 5


def budgets(points: Mapping[float, Touch], converged: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """For each n in both regimes: token_ratio D_converged/D_compute, loss_gap L_compute/L_converged − 1, and `between`.

    points: the compute-optimal points; converged: one row for each n with n_latents, nmse, tokens. between: `STEPS`
    budgets with tokens, flops, nmse of the lowest curve of n, and gap, nmse over the converged one minus 1. And a
    reason for each n that is not in both.
    """
    rows: list[dict[str, Any]] = []
    reasons: list[str] = []
    at_end = {
        float(n): (float(loss), float(D))
        for n, loss, D in zip(*(converged[c] for c in ("n_latents", "nmse", "tokens")), strict=True)
    }
    for n, touch in points.items():
        if n not in at_end or not np.isfinite(at_end[n][1]):
            reasons.append(f"n_latents={n:,.0f} holds the frontier and has no converged run.")
        elif not np.isfinite(touch.log_d):
            reasons.append("The tokens of the curves are not known.")
        else:
            rows.append(_row(touch, *at_end[n]))
    absent = [f"{n:,.0f}" for n in at_end if n not in points]
    if absent:
        reasons.append(
            f"n_latents={', '.join(absent)}: converged, but never on the frontier within the grid of n."
        )
    return rows, list(dict.fromkeys(reasons))


def _row(touch: Touch, loss: float, tokens: float) -> dict[str, Any]:
    log_d = np.linspace(touch.log_d, np.log(tokens), STEPS)
    between = [
        {
            "tokens": float(np.exp(d)),
            "flops": float(np.exp(c)),
            "nmse": float(np.exp(y)),
            "gap": float(np.exp(y) / loss - 1),
        }
        for d, c, y in zip(log_d, *_along(touch, log_d), strict=True)
    ]
    return {
        "n_latents": touch.n,
        "compute": {
            "tokens": float(np.exp(touch.log_d)),
            "flops": float(np.exp(touch.log_c)),
            "nmse": float(np.exp(touch.log_l)),
        },
        "converged": {"tokens": tokens, "nmse": loss},
        "token_ratio": float(tokens / np.exp(touch.log_d)),
        "loss_gap": float(np.exp(touch.log_l) / loss - 1),
        "between": between,
    }


def _along(touch: Touch, log_d: Array) -> tuple[Array, Array]:
    """ln C and ln L of the lowest curve of n at budgets of tokens."""
    curve = touch.curve
    return np.interp(log_d, curve.log_d, curve.log_c), np.interp(log_d, curve.log_d, curve.log_l)


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table: n, both budgets, the token ratio and the loss gap, and the gap at the middle budget."""
    if not rows:
        return []
    head = f"{'n':>11}{'D compute':>12}{'D converged':>13}{'ratio':>9}{'L compute':>11}{'L converged':>13}"
    head += f"{'gap':>9}{'half-way':>10}"
    return [head] + [
        f"{row['n_latents']:>11,.0f}{row['compute']['tokens']:>12.3g}{row['converged']['tokens']:>13.3g}"
        f"{row['token_ratio']:>9,.1f}{significant(row['compute']['nmse'], 4):>11}"
        f"{significant(row['converged']['nmse'], 4):>13}{percent(row['loss_gap'], signed=True):>9}"
        f"{percent(row['between'][STEPS // 2]['gap'], signed=True):>10}"
        for row in rows
    ]

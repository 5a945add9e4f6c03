"""For each n its compute-optimal budget, its converged one, and some in between (Gao et al. 2024, §3.1.2)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit.compute.optimal_point import Touch
from fit.data.number_format import percent, significant

# Budgets from the compute-optimal to the converged one, both included, evenly in ln D.
STEPS = 5


def budgets(points: Mapping[float, Touch], converged: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """For each n in both regimes: token_ratio D_converged/D_compute, loss_gap L_compute/L_converged − 1, and `between`.

    points: the compute-optimal points; converged: one row for each n with n_latents, nmse, tokens (to convergence, NaN
    if unknown). L_converged is the loss that L(N) takes, at the end of the run, up to ε below the one at D_converged.
    between: `STEPS` budgets with tokens, flops, nmse of the lowest curve of n, and gap, nmse over L_converged minus 1;
    a budget that no curve reaches is left out. None has an interval: each is read off one run, and runs drawn again
    would leave an n its second-best lr, which is no error of the best. And a reason for the n that are not in both.
    """
    at_end = {
        float(n): (float(loss), float(D))
        for n, loss, D in zip(*(converged[c] for c in ("n_latents", "nmse", "tokens")), strict=True)
    }
    usable = [n for n in points if n in at_end and np.isfinite([at_end[n][1], points[n].log_d]).all()]
    return [_row(points[n], *at_end[n]) for n in usable], list(_reasons(points, at_end))


def _reasons(points: Mapping[float, Touch], at_end: Mapping[float, tuple[float, float]]) -> Iterator[str]:
    """One sentence for each kind of n that has no row."""
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


def _row(touch: Touch, loss: float, tokens: float) -> dict[str, Any]:
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
        "between": list(_between(touch, loss, tokens)),
    }


def _between(touch: Touch, loss: float, tokens: float) -> Iterator[dict[str, float]]:
    """Budgets along the lowest curve of n, as far as it goes."""
    curve = touch.curve
    for log_d in np.linspace(touch.log_d, np.log(tokens), STEPS):
        if curve.log_d[0] - 1e-9 <= log_d <= curve.log_d[-1] + 1e-9:
            C, L = (float(np.exp(np.interp(log_d, curve.log_d, v))) for v in (curve.log_c, curve.log_l))
            yield {"tokens": float(np.exp(log_d)), "flops": C, "nmse": L, "gap": L / loss - 1}


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table: n, both budgets, the token ratio and the loss gap, and the gap half-way in ln D."""
    if not rows:
        return []
    head = f"{'n':>11}{'D compute':>12}{'D converged':>13}{'ratio':>9}{'L compute':>11}{'L converged':>13}"
    about = "each from the best run of its n, without interval: more seeds would tell how far they hold"
    return [f"{head}{'gap':>9}{'half-way':>10}", *(_line(row) for row in rows), about]


def _line(row: Mapping[str, Any]) -> str:
    middle = np.sqrt(row["compute"]["tokens"] * row["converged"]["tokens"])
    half = [at["gap"] for at in row["between"] if np.isclose(at["tokens"], middle)]
    return (
        f"{row['n_latents']:>11,.0f}{row['compute']['tokens']:>12.3g}{row['converged']['tokens']:>13.3g}"
        f"{row['token_ratio']:>9,.1f}{significant(row['compute']['nmse'], 4):>11}"
        f"{significant(row['converged']['nmse'], 4):>13}{percent(row['loss_gap'], signed=True):>9}"
        f"{percent(half[0], signed=True) if half else '?':>10}"
    )

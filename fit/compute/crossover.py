"""Crossovers: the compute at which one n takes the frontier over from the next smaller one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.compute.frontier import envelope
from fit.compute.isoflop import Curve, best_of
from fit.data.curves import Candidates

COLUMNS = ["flops", "n_latents", "tokens"]


@dataclass(frozen=True)
class Crossovers:
    """points: by rising n, columns `COLUMNS`: C, and the geometric means of both sizes' n and D there, D NaN where
    unknown. dropped: "512 to 1,024 at C=…: why" for every other pair.
    """

    points: pd.DataFrame
    dropped: tuple[str, ...]


def crossovers(
    of: Candidates, present: np.ndarray | None = None, min_flops: float | None = None
) -> Crossovers:
    """N*(C) and D*(C) where two sizes that are next to each other on the envelope share its lowest loss.

    On a grid the n of the frontier is a staircase of C, and a line through its points is too flat: by 1 in S² for S
    steps, 4 % for 5. The middle heights at its steps are on the line: for L = E + A·n^−α + B·D^−β and C ∝ n·D on a grid
    of octaves they give a = β/(α + β) within 0.006. Where noise makes the frontier go back and forth, a step is where
    as many points before it are of the larger n as behind it of the smaller. It counts when both sizes have curves
    there: where those of the smaller one end, the larger takes over too early.
    """
    n = of.of("n_latents")
    if n is None:
        return Crossovers(pd.DataFrame(columns=COLUMNS, dtype=float), ())
    there = np.ones(len(of.run), dtype=bool) if present is None else present[of.run]
    index = envelope(of, there)
    if min_flops is not None:
        index = index[np.exp(of.log_c[index]) >= min_flops]
    curves, here = best_of(of, n, there), n[index]
    rows, dropped = [], []
    on = np.unique(here)
    for small, large in zip(on[:-1], on[1:], strict=True):
        step = int((here <= small).sum())
        log_c = float(of.log_c[index[step - 1 : step + 1]].mean())
        reason = _one_sided(curves[small], curves[large], log_c)
        if reason:
            dropped.append(f"{small:,.0f} to {large:,.0f} at C={np.exp(log_c):.3g}: {reason}")
            continue
        log_d = np.mean([curves[size].tokens(log_c) for size in (small, large)])
        rows.append(np.exp([log_c, np.log(small * large) / 2, log_d]))
    return Crossovers(pd.DataFrame(np.reshape(rows, (-1, 3)), columns=COLUMNS, dtype=float), tuple(dropped))


def _one_sided(small: Curve, large: Curve, log_c: float) -> str | None:
    """Why a step is no crossover."""
    if not small.reaches(log_c):
        return "the curves of the smaller one end there"
    return None if large.reaches(log_c) else "the curves of the larger one begin there"

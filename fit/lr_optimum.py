"""lr* of each n: where the loss over the grid of learning rates is lowest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit import tables
from fit.parabola import lowest, shown
from fit.result import integral


def lr_optima(table: pd.DataFrame, by: Sequence[str] = ("n_latents",)) -> tuple[pd.DataFrame, list[str]]:
    """For each n the vertex of ln L over ln lr, with columns of `by`, lr, nmse (at the vertex), tried; and the reasons.

    table: rows with lr, nmse and the columns `by`; of several rows at one lr, as seeds, the geometric mean counts. A
    grid of lr in factors of 2 tells the optimum to a factor of √2, its parabola to some percent. An n whose lowest loss
    is at an edge of its grid has a bound for lr*, no optimum: it is left out, with a reason.
    """
    tables.require(table, *by, "lr", "nmse")
    known = tables.numeric(table, "lr", "nmse")
    known = known[(known["lr"] > 0) & (known["nmse"] > 0)]
    rows: list[dict[str, Any]] = []
    reasons: list[str] = []
    for key, part in known.groupby(list(by), sort=True):
        losses = np.log(part["nmse"]).groupby(part["lr"]).mean()
        where = ", ".join(
            f"{name}={integral(float(str(value))):,}" for name, value in zip(by, key, strict=True)
        )
        at = lowest({float(lr): float(loss) for lr, loss in losses.items()}, "lr")
        if isinstance(at, str):
            reasons.append(f"{where} has no lr*: {_edge(losses) or at}.")
            continue
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "lr": np.exp(at.x),
                "nmse": np.exp(at.y),
                "tried": len(losses),
            }
        )
    return pd.DataFrame(rows, columns=[*by, "lr", "nmse", "tried"]), reasons


def _edge(losses: "pd.Series[float]") -> str | None:
    """Which end of its grid the lowest loss is at, None inside."""
    if len(losses) < 2:
        return None
    best = float(losses.index.to_numpy(dtype=float)[int(losses.to_numpy().argmin())])
    if best == losses.index.min():
        return f"the smallest of {len(losses)} lr, {shown(best)}, is the best: try smaller ones"
    if best == losses.index.max():
        return f"the largest of {len(losses)} lr, {shown(best)}, is the best: try larger ones"
    return None

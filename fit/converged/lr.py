"""lr* of each n: the learning rate at which the loss is lowest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.vertex import LR_REACH, lowest, short_number
from fit.law.json_values import integral


def lr_optima(table: pd.DataFrame, by: Sequence[str] = ("n_latents",)) -> tuple[pd.DataFrame, list[str]]:
    """The vertex of ln L over ln lr for each n: columns `by`, lr, nmse (at the vertex), tried; and why n are missing.

    table: rows with lr, nmse and the columns `by`. Several rows at one lr, such as seeds, count as their geometric
    mean. A grid of lr in factors of 2 gives the optimum within a factor of √2, and the parabola gives it within a few
    percent. If the lowest loss of an n is at an edge of its grid, lr* is only bounded, not known, so this n is left
    out. All n that are left out for the same reason are named in one sentence.
    """
    tables.require(table, *by, "lr", "nmse")
    known = tables.numeric(table, *by, "lr", "nmse")
    known = known[(known["lr"] > 0) & (known["nmse"] > 0)]
    rows: list[dict[str, Any]] = []
    without: dict[str, list[tuple[Any, ...]]] = {}
    for key, part in known.groupby(list(by), sort=True):
        losses = {
            float(lr): float(loss) for lr, loss in np.log(part["nmse"]).groupby(part["lr"]).mean().items()
        }
        at = _edge(losses) or lowest(losses, "lr", LR_REACH)
        if isinstance(at, str):
            without.setdefault(at, []).append(key)
            continue
        rows.append(
            dict(zip(by, key, strict=True)) | {"lr": np.exp(at.x), "nmse": np.exp(at.y), "tried": len(losses)}
        )
    reasons = [f"lr* is unknown at {_cell_names(by, keys)}: {reason}." for reason, keys in without.items()]
    return pd.DataFrame(rows, columns=[*by, "lr", "nmse", "tried"]), reasons


def _cell_names(by: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> str:
    """`n_latents=512, 1,024`, or `n_latents=512 k=32, n_latents=512 k=64`."""
    if len(by) == 1:
        return f"{by[0]}={', '.join(f'{integral(key[0]):,}' for key in keys)}"
    return ", ".join(" ".join(f"{n}={integral(v):,}" for n, v in zip(by, key, strict=True)) for key in keys)


def _edge(losses: Mapping[float, float]) -> str | None:
    """The end of the grid at which the lowest of three or more losses lies, None if it lies inside."""
    if len(losses) < 3:
        return None
    best = min(losses, key=losses.__getitem__)
    for end, word, further in ((min(losses), "smallest", "smaller"), (max(losses), "largest", "larger")):
        if best == end:
            lowest = short_number(best)
            return (
                f"the {word} of {len(losses)} lr, {lowest}, is the best, and the best of all may be {further}"
            )
    return None

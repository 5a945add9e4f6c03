"""fitted("lr_sweep", "LR_N", n_latents, GUESS) in grid.derive: a law that an earlier study found, at these inputs.

It is read from runs/lr_sweep/fits.json, which `saescale fit` writes. GUESS stands in for it in a plan, but never in a
launch.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fit.law.laws import named
from sweeps.errors import SweepError

FITS = "fits.json"


class Fitted:
    """The function `fitted` for one cell. waiting: the studies and laws replaced by a guess, shared by all cells."""

    def __init__(self, root: Path, cell: Mapping[str, Any], waiting: set[str]) -> None:
        self.root, self.cell, self.waiting = root, cell, waiting

    def __call__(self, study: str, law: str, *values: float) -> float:
        """The law's value. values: its inputs in order, and a guess. SweepError if both fit and guess are missing."""
        inputs = named(law).inputs
        given, guess = values[: len(inputs)], values[len(inputs) :]
        if len(given) < len(inputs) or len(guess) > 1:
            raise SweepError(f"fitted({study!r}, {law!r}, …) takes {', '.join(inputs)} and perhaps a guess.")
        path = self.root / study / FITS
        if not path.exists():
            if not guess:
                raise SweepError(
                    f"{path} is not there: launch and fit {study} first, or give a guess for the plan."
                )
            self.waiting.add(f"{study} ({law})")
            return float(guess[0])
        params = _params(path, path.stat().st_mtime_ns, law, self.cell.get("k"))
        x = {name: np.array([float(value)]) for name, value in zip(inputs, given, strict=True)}
        return float(named(law).loss(params, x)[0])


@lru_cache(maxsize=256)
def _params(path: Path, _: int, law: str, k: int | None) -> Mapping[str, float]:
    """The parameters of the law's fit, of that of the cell's k where there is one for each k."""
    fits = [fit for fit in json.loads(path.read_text(encoding="utf-8"))["fits"] if fit["law"] == law]
    mine = [fit for fit in fits if fit["group"].get("k") in (None, k)]
    chosen = mine or (fits if len(fits) == 1 else [])
    if not chosen:
        known = ", ".join(f"k={fit['group'].get('k')}" for fit in fits) or "none"
        raise SweepError(
            f"{path} has no fit of {law} for k={k}; it has {known}. Fit it: saescale fit {path.parent}/runs.parquet"
        )
    params = {name: param["value"] for name, param in chosen[0]["params"].items()}
    if None in params.values():
        raise SweepError(f"{path}: {law} has parameters that are not defined, so it gives no value.")
    return params

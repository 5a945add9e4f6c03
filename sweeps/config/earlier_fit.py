"""The function fitted("lr_sweep", "LR_N", n_latents, GUESS) of grid.derive: the value of a law fitted to another study.

The law is read from runs/lr_sweep/fits.json, which `saescale fit` writes. A plan uses GUESS until that file exists; a
launch never does.
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
    """The function `fitted` for one cell. waiting: the studies and laws that a guess replaced, shared by all cells."""

    def __init__(self, root: Path, cell: Mapping[str, Any], waiting: set[str]) -> None:
        self.root, self.cell, self.waiting = root, cell, waiting

    def __call__(self, study: str, law: str, *values: float) -> float:
        """The law's value. values: its inputs in order, then a guess. Raises SweepError without a fit and a guess."""
        inputs = named(law).inputs
        at, guess = values[: len(inputs)], values[len(inputs) :]
        if len(at) < len(inputs) or len(guess) > 1:
            raise SweepError(
                f"fitted({study!r}, {law!r}, …) takes {', '.join(inputs)} and optionally a guess."
            )
        path = self.root / study / FITS
        if not path.exists():
            if not guess:
                raise SweepError(
                    f"{path} does not exist: launch and fit {study} first, or give a guess for the plan."
                )
            self.waiting.add(f"{study} ({law})")
            return float(guess[0])
        params = _params(path, path.stat().st_mtime_ns, law, self.cell.get("k"))
        x = {name: np.array([float(value)]) for name, value in zip(inputs, at, strict=True)}
        return float(named(law).loss(params, x)[0])


@lru_cache(maxsize=256)
def _params(path: Path, _: int, law: str, k: int | None) -> Mapping[str, float]:
    """The parameters of the law's fit; of the fit at the cell's k if there is one fit for each k."""
    fits = [fit for fit in json.loads(path.read_text(encoding="utf-8"))["fits"] if fit["law"] == law]
    at_k = [fit for fit in fits if fit["group"].get("k") in (None, k)]
    chosen = at_k or (fits if len(fits) == 1 else [])
    if not chosen:
        known = ", ".join(f"k={fit['group'].get('k')}" for fit in fits) or "none"
        raise SweepError(
            f"{path} has no fit of {law} for k={k}; it has {known}. Fit it: saescale fit {path.parent}/runs.parquet"
        )
    params = {name: param["value"] for name, param in chosen[0]["params"].items()}
    if None in params.values():
        raise SweepError(f"{path}: {law} has undefined parameters, so it cannot be evaluated.")
    return params

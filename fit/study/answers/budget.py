"""The compute of a budget, what a token costs in FLOPs, and what the table of runs says about both."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.data import tables
from fit.data.flops import BY_SIZE, GIVEN
from fit.law.errors import FitError
from fit.law.law import Array

# 40 % of the 989 TFLOP/s that an H100 reaches in dense bf16 by its data sheet. An assumption, and printed as one.
ASSUMED_FLOPS_PER_S = 4e14
ASSUMED = "assumed, 40 % of an H100's bf16 peak: measure yours and give --flops-per-s"
# What FLOPs of each convention are; how a table's own count came about is not known.
FORMULAS = {
    "sparse": "(2·n·d + 8·k·d)·tokens",
    "dense": "12·n·d·tokens",
    BY_SIZE: "6·n·tokens",
    GIVEN: "in the column flops of the table",
}


@dataclass(frozen=True)
class Facts:
    """What a table of runs says beside its laws; None where it does not.

    d_model : the width d, where all runs share one. flops_per_s : the median of flops_sparse over gpu_seconds of
    `measured_on` runs.
    """

    d_model: float | None = None
    flops_per_s: float | None = None
    measured_on: int = 0

    @classmethod
    def of(cls, runs: pd.DataFrame | None) -> "Facts":
        """The facts in a table of runs."""
        if runs is None:
            return cls()
        width, rate, count = None, None, 0
        if "d_model" in runs.columns:
            values = np.unique(tables.numbers(runs, "d_model"))
            values = values[np.isfinite(values)]
            width = float(values[0]) if len(values) == 1 else None
        if {"flops_sparse", "gpu_seconds"} <= set(runs.columns):
            done, took = tables.numbers(runs, "flops_sparse"), tables.numbers(runs, "gpu_seconds")
            known = np.isfinite(done) & np.isfinite(took) & (took > 0) & (done > 0)
            if (
                "shared_tokens" in runs.columns
            ):  # the seconds are without the part trained once for several runs
                known &= ~(tables.numbers(runs, "shared_tokens") > 0)
            count = int(known.sum())
            rate = float(np.median(done[known] / took[known])) if count else None
        return cls(width, rate, count)


@dataclass(frozen=True)
class Budget:
    """FLOPs to spend on one run, and a sentence about where the number comes from."""

    flops: float
    origin: str


def budget(
    flops: float | None, gpu_hours: float | None, flops_per_s: float | None, facts: Facts = Facts()
) -> Budget:
    """The budget: FLOPs as given, or GPU-hours at a speed: the given one, the runs' own, or an assumed one.

    Raises FitError unless exactly one of flops and gpu_hours is given, and for numbers that are not finite and above 0.
    """
    given = {"flops": flops, "gpu_hours": gpu_hours, "flops_per_s": flops_per_s}
    for name, value in given.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise FitError(f"{name} is {value:g}: give a finite number above 0.")
    if (flops is None) == (gpu_hours is None):
        raise FitError("A budget is either FLOPs or GPU-hours: give one of --flops and --gpu-hours.")
    if flops is not None:
        return Budget(flops, "as given")
    assert gpu_hours is not None
    speed, origin = ASSUMED_FLOPS_PER_S, ASSUMED
    if flops_per_s is not None:
        speed, origin = flops_per_s, "as given"
    elif facts.flops_per_s is not None:
        speed, origin = facts.flops_per_s, f"the median of {facts.measured_on} runs of the table"
    return Budget(gpu_hours * 3600 * speed, f"{gpu_hours:g} GPU-hours at {speed:.3g} FLOPs/s ({origin})")


def per_token(n: Array | float, k: float | None, d: float | None, convention: str) -> Array | float:
    """FLOPs of one token: 12·n·d in the dense convention; 2·n·d + 8·k·d in the sparse one, for TopK and BatchTopK; 6·n
    where C is 6·n·tokens. FitError for what the price needs and is None.
    """
    if convention == GIVEN:
        raise FitError(
            "C is a column of the table here, so what a token costs is not known: give the convention, sparse or dense."
        )
    if convention == BY_SIZE:
        return 6.0 * n
    if d is None:
        raise FitError("What a token costs needs d_model, which is not known: give it.")
    if convention == "dense":
        return 12.0 * n * d
    if k is None:
        raise FitError(
            "What a token costs in the sparse convention needs k, which is not known: give it, as k=32."
        )
    return 2.0 * n * d + 8.0 * k * d

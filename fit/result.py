"""What a fit returns: one frozen result, and fits.json."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fit.estimate import Estimate
from fit.laws import Array
from fit.rows import make_rows
from fit.uncertainty import Intervals

Point = dict[str, Any]


@dataclass(frozen=True)
class Param:
    """A parameter and its 95 % interval: an end is None where that side is unbounded, value None if it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    method: str


@dataclass(frozen=True)
class FitResult:
    """One fitted law. Every L is a normalized MSE; intervals are 95 %.

    objective: ½ Σ w r², r = ln L_law − ln L. rms_log: root mean square of r. starts: {"tried", "agree"}.
    held_out: how well the smaller scales predicted the largest one, see `judge.held_out`, or None.
    points: the fitted rows, inputs with nmse and predicted. curve: inputs with value, low and high on a log grid
    up to one octave beyond the rows.
    regime: "converged" (L at convergence, at any compute) or "compute" (best L for a compute, converged or not); never
    compare numbers of the two. group: what the rows have in common. flops: convention of C. selection: how the rows
    were chosen.
    """

    law: str
    formula: str
    rows: int
    loss: str
    objective: float
    rms_log: float
    params: Mapping[str, Param]
    starts: Mapping[str, int]
    held_out: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    points: tuple[Point, ...]
    curve: tuple[Point, ...]
    regime: str | None = None
    group: Mapping[str, Any] = field(default_factory=dict)
    flops: str | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    estimate: Estimate | None = field(default=None, repr=False, compare=False)
    intervals: Intervals | None = field(default=None, repr=False, compare=False)

    def predict(self, x: Any = None, interval: str | None = None, **inputs: Any) -> Any:
        """L at given inputs, as `predict(n_latents=2**20)` or like `fit_law`; with an interval (L, low, high).

        interval: "law", where the law's own value lies, or "measurement", where a new measurement would lie.
        """
        if self.estimate is None or self.intervals is None:
            raise ValueError("This result was read back without its data: fit the table again to predict.")
        law = self.estimate.law
        given = {k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in inputs.items()} if x is None else x
        if isinstance(given, Mapping) and given:
            given = dict(zip(given, np.broadcast_arrays(*given.values()), strict=True))
        size = (
            len(next(iter(given.values())))
            if isinstance(given, Mapping) and given
            else len(np.atleast_1d(given))
        )
        at = make_rows(law, given, np.ones(size)).x
        value = np.exp(self.estimate.log_loss(at))
        if interval is None:
            return value
        ends = {"law": self.intervals.law, "measurement": self.intervals.measurement}
        if interval not in ends:
            raise ValueError(f"There is no interval {interval!r}: choose law or measurement.")
        return value, *ends[interval](at)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: None for what is unknown, unbounded or undefined."""
        hidden = ("estimate", "intervals")
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        return plain({**content, "params": {name: vars(param) for name, param in self.params.items()}})


def plain(value: Any) -> Any:
    """numpy to Python, tuples to lists; NaN, NA and infinities to None; dates, as a column may hold, to text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or pd.isna(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value if isinstance(value, bool | int | float) else str(value)


def finite(value: float | Array) -> float | None:
    """A float, or None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def integral(value: float) -> int | float:
    """An int where the value is one, as n and k are."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def version() -> str | None:
    """Version of the installed saescale, None when it runs from a checkout."""
    try:
        return metadata.version("saescale")
    except metadata.PackageNotFoundError:
        return None


def write_json(results: Sequence[FitResult], table: str, path: Path) -> Path:
    """fits.json: complete or not at all, in full precision."""
    content = {"saescale": version(), "table": table, "fits": [result.to_dict() for result in results]}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path

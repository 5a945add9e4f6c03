"""The rows that a law is fitted to: inputs, losses, weights and what belongs together, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fit.errors import FitError
from fit.law import Array, Inputs, Law


@dataclass(frozen=True)
class Rows:
    """x: each input (rows,), loss (rows,), weights (rows,).

    Replicates have weights (R, rows): R weightings of the same rows, 0 is an absent row. cluster: (rows,), a number for
    each run or cell whose rows are not independent; None where every row is a run of its own.
    """

    x: Inputs
    loss: Array
    weights: Array
    cluster: NDArray[np.intp] | None = None

    def only(self, present: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """The rows where `present`."""
        cluster = None if self.cluster is None else self.cluster[present]
        x = {name: v[present] for name, v in self.x.items()}
        return Rows(x, self.loss[present], self.weights[..., present], cluster)


def make_rows(law: Law, x: Any, loss: Any, weights: Any = None, cluster: Any = None) -> Rows:
    """Rows from a mapping input → values, an array (rows, inputs), or (rows,) for a law of one input.

    weights: how many measurements a row stands for, default 1. cluster: (rows,) labels, see `Rows`.
    FitError for shapes that differ and for numbers that
    have no logarithm.
    """
    if not isinstance(x, Mapping):
        columns = np.asarray(x, dtype=float)
        columns = columns[:, None] if columns.ndim == 1 else columns
        if columns.shape[1] != len(law.inputs):
            raise FitError(
                f"{law.name} takes {', '.join(law.inputs)}; {columns.shape[1]} columns were given."
            )
        x = dict(zip(law.inputs, columns.T, strict=True))
    absent = [name for name in law.inputs if name not in x]
    if absent:
        raise FitError(f"{law.name} takes {', '.join(law.inputs)}; {', '.join(absent)} was not given.")
    inputs = {name: np.asarray(x[name], dtype=float) for name in law.inputs}
    y = np.asarray(loss, dtype=float)
    w = np.ones(y.shape) if weights is None else np.asarray(weights, dtype=float)
    for name, values in {**inputs, "weights": w}.items():
        if values.shape != y.shape:
            raise FitError(
                f"{name} has shape {values.shape}, the loss {y.shape}: give one value for each row."
            )
    for name, values in {**inputs, "the loss": y}.items():
        positive = values > 0 if name not in law.as_is else True
        _refuse(name, values, ~(np.isfinite(values) & positive), "positive")
    _refuse("weights", w, ~(np.isfinite(w) & (w >= 0)), "0 or positive")
    return Rows(inputs, y, w, None if cluster is None else _numbered(cluster, y.shape))


def _numbered(cluster: Any, shape: tuple[int, ...]) -> NDArray[np.intp]:
    labels = np.asarray(cluster)
    if labels.shape != shape:
        raise FitError(f"cluster has shape {labels.shape}, the loss {shape}: give one label for each row.")
    return np.asarray(np.unique(labels.astype(str), return_inverse=True)[1], dtype=np.intp)


def _refuse(name: str, values: Array, bad: NDArray[np.bool_], wanted: str) -> None:
    where = np.flatnonzero(bad)
    if len(where):
        shown = ", ".join(f"row {i}: {values.flat[i]:g}" for i in where[:5])
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        raise FitError(
            f"{len(where)} of {values.size} values of {name} are not finite and {wanted} ({shown}{more}). "
            "Correct those rows or leave them out."
        )

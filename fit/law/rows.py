"""The rows that a law is fitted to: inputs, losses, weights and what belongs together, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fit.law.errors import FitError
from fit.law.law import Array, Inputs, Law


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

    @property
    def runs(self) -> int:
        """How many runs or cells the rows are of, those of weight 0 not counted."""
        present = self.weights > 0
        return int(present.sum()) if self.cluster is None else len(np.unique(self.cluster[present]))

    @property
    def shared(self) -> bool:
        """Whether some rows are of one run, so that their errors are not independent."""
        return self.runs < int((self.weights > 0).sum())

    def only(self, present: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """The rows where `present`."""
        cluster = None if self.cluster is None else self.cluster[present]
        x = {name: v[present] for name, v in self.x.items()}
        return Rows(x, self.loss[present], self.weights[..., present], cluster)


def make_rows(law: Law, x: Any, loss: Any, weights: Any = None, cluster: Any = None) -> Rows:
    """Rows from a mapping input → values, a DataFrame with the inputs' columns, an array (rows, inputs), or (rows,).

    weights: how many measurements a row stands for, default 1. cluster: (rows,) labels, see `Rows`. FitError for
    shapes that differ and for numbers that have no logarithm.
    """
    inputs = make_inputs(law, x)
    y = np.atleast_1d(np.asarray(loss, dtype=float))
    w = np.ones(y.shape) if weights is None else np.atleast_1d(np.asarray(weights, dtype=float))
    for name, values in {**inputs, "weights": w}.items():
        if values.shape != y.shape:
            raise FitError(
                f"{name} has shape {values.shape}, the loss {y.shape}: give one value for each row."
            )
    _refuse("the loss", y, ~(np.isfinite(y) & (y > 0)), "positive")
    _refuse("weights", w, ~(np.isfinite(w) & (w >= 0)), "0 or positive")
    return Rows(inputs, y, w, None if cluster is None else _numbered(cluster, y.shape))


def make_inputs(law: Law, x: Any) -> dict[str, Array]:
    """Each input of a law, (rows,), checked. x: as for `make_rows`; a DataFrame's columns are taken by their names."""
    given = x if isinstance(x, Mapping | pd.DataFrame) else _by_place(law, x)
    absent = [name for name in law.inputs if name not in given]
    if absent:
        raise FitError(f"{law.name} takes {', '.join(law.inputs)}; {', '.join(absent)} was not given.")
    inputs = {name: np.atleast_1d(np.asarray(given[name], dtype=float)) for name in law.inputs}
    for name, values in inputs.items():
        positive = values > 0 if name not in law.as_is else True
        _refuse(name, values, ~(np.isfinite(values) & positive), "positive")
    return inputs


def _by_place(law: Law, x: Any) -> dict[str, Array]:
    """The columns of an array (rows, inputs), in the order of the law's inputs; of (rows,) the only one."""
    columns = np.asarray(x, dtype=float)
    columns = columns if columns.ndim == 2 else columns.reshape(-1, 1)
    if columns.shape[1] != len(law.inputs):
        raise FitError(f"{law.name} takes {', '.join(law.inputs)}; {columns.shape[1]} columns were given.")
    return dict(zip(law.inputs, columns.T, strict=True))


def _numbered(cluster: Any, shape: tuple[int, ...]) -> NDArray[np.intp]:
    labels = np.atleast_1d(np.asarray(cluster))
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


def check_rows(law: Law, rows: Rows) -> None:
    """FitError when the rows are too few, or too alike, for the law."""
    present: NDArray[np.bool_] = rows.weights > 0
    for name, needed in law.distinct.items():
        values = np.unique(rows.x[name][present])
        if len(values) < needed:
            shown = ", ".join(f"{v:g}" for v in values)
            raise FitError(
                f"{law.name} needs at least {needed} different values of {name}; these rows have {len(values)}"
                f"{f' ({shown})' if shown else ''}. Add runs at other values."
            )
    p = len(law.internal)
    if present.sum() < p + 2:
        raise FitError(
            f"{law.name} has {p} parameters and needs at least {p + 2} rows; there are {int(present.sum())}. "
            "Add runs, or fit a law with fewer parameters."
        )
    if rows.weights.sum() <= p:
        raise FitError(
            f"The weights sum to {rows.weights.sum():.3g}, and {law.name} has {p} parameters: a weight is how many "
            "measurements a row stands for, so scale them to the number of measurements."
        )

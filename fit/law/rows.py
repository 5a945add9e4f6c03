"""The rows that a law is fitted to: checked inputs, losses, weights and clusters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fit.law.errors import FitError
from fit.law.law import Array, Inputs, Law

# What replicates resample, unless they say otherwise.
RUNS = "runs"


@dataclass(frozen=True)
class Rows:
    """The rows of one fit.

    x: each input, (rows,). loss: (rows,), or for replicates with drawn errors (R, rows). weights: (rows,), or for
    replicates (R, rows), R weightings of the same rows in which 0 leaves a row out. cluster: (rows,), the number of the
    run or cell of each row, since rows of one run are not independent; None if every row is a run of its own. unit: of
    replicates, what a draw resamples.
    """

    x: Inputs
    loss: Array
    weights: Array
    cluster: NDArray[np.intp] | None = None
    unit: str = RUNS

    @property
    def runs(self) -> int:
        """The number of different runs or cells among the rows of positive weight."""
        present = self.weights > 0
        return int(present.sum()) if self.cluster is None else len(np.unique(self.cluster[present]))

    @property
    def shared(self) -> bool:
        """Whether several rows come from one run, so that their errors are not independent."""
        return self.runs < int((self.weights > 0).sum())

    def only(self, present: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """The rows selected by `present`."""
        cluster = None if self.cluster is None else self.cluster[present]
        x = {name: v[present] for name, v in self.x.items()}
        return Rows(x, self.loss[present], self.weights[..., present], cluster, self.unit)


def make_rows(law: Law, x: Any, loss: Any, weights: Any = None, cluster: Any = None) -> Rows:
    """Check inputs and losses and return them as `Rows`.

    Parameters
    ----------
    law : the law that the rows are for.
    x : a mapping of input names to values, a DataFrame with the inputs' columns, or an array (rows, inputs) or (rows,).
    loss : (rows,).
    weights : how many measurements each row stands for, by default 1.
    cluster : (rows,) labels, see `Rows`.

    Raises
    ------
    FitError
        If shapes differ, or a number that must be positive is not.
    """
    inputs = make_inputs(law, x)
    y = np.atleast_1d(np.asarray(loss, dtype=float))
    w = np.ones(y.shape) if weights is None else np.atleast_1d(np.asarray(weights, dtype=float))
    for name, values in {**inputs, "weights": w}.items():
        if values.shape != y.shape:
            raise FitError(
                f"{name} has shape {values.shape}, the loss {y.shape}: give one value for each row."
            )
    _refuse("the loss", loss, y, ~(np.isfinite(y) & (y > 0)), "positive")
    _refuse("weights", weights, w, ~(np.isfinite(w) & (w >= 0)), "0 or positive")
    return Rows(inputs, y, w, None if cluster is None else _numbered(cluster, y.shape))


def make_inputs(law: Law, x: Any) -> dict[str, Array]:
    """Each input of a law, (rows,), checked. x: as for `make_rows`; a DataFrame's columns are selected by name."""
    columns = x if isinstance(x, Mapping | pd.DataFrame) else _by_position(law, x)
    absent = [name for name in law.inputs if name not in columns]
    if absent:
        raise FitError(f"{law.name} takes {', '.join(law.inputs)}; {', '.join(absent)} was not given.")
    inputs = {name: np.atleast_1d(np.asarray(columns[name], dtype=float)) for name in law.inputs}
    for name, values in inputs.items():
        positive = values > 0 if name not in law.as_is else True
        _refuse(name, columns[name], values, ~(np.isfinite(values) & positive), "positive")
    return inputs


def _by_position(law: Law, x: Any) -> dict[str, Array]:
    """The columns of an array (rows, inputs) in the order of the law's inputs; an array (rows,) is a single column."""
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


def _refuse(name: str, given: Any, values: Array, bad: NDArray[np.bool_], wanted: str) -> None:
    """Raise FitError for bad values; they are named by the index of the Series given, else by their position."""
    where = np.flatnonzero(bad)
    if len(where):
        labels = given.index if isinstance(given, pd.Series) else None
        at, counted = ("position", ", counted from 0") if labels is None else ("index", "")
        listed = ", ".join(f"{i if labels is None else labels[i]}: {values.flat[i]:g}" for i in where[:5])
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        raise FitError(
            f"{len(where)} of {values.size} values of {name} are not finite and {wanted} "
            f"(at {at} {listed}{more}{counted}). "
            "Correct those rows or leave them out."
        )


def check_rows(law: Law, rows: Rows) -> None:
    """Raise FitError if the law has too few rows or too few different values of an input."""
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

"""The noise of rows, known from seeds or from the scatter of training curves about themselves, without any law."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from fit.law.law import Array, Inputs, Law
from fit.law.rows import Rows

# The inputs along which a run has a curve.
ALONG = ("tokens", "flops")
# Neighbouring evaluations of a difference: four leave no trace of a parabola. With three, the curvature of a curve
# counts as noise: 0.17 % instead of 0.06 % for the curves of docs/smollm2.
NEIGHBOURS = 4
# Evaluations further apart than this, in ln tokens, are no dense curve: its shape between them would count as noise.
APART = np.log(2) / 2 * 1.2
# Fewer differences than this say nothing reliable.
FEWEST = 8
# Rows whose inputs differ by less, relatively, are at equal inputs.
SAME = 1e-6
# A median absolute deviation has 37 % of the efficiency of a standard deviation, and neighbouring differences share
# three of their four evaluations, so that about one in two is new.
EFFICIENCY = 0.37 / 2


class KnownFrom(StrEnum):
    """Where the noise of rows is known from."""

    SEEDS = "seeds"
    CURVES = "curves"


@dataclass(frozen=True)
class Noise:
    """The standard deviation of ln L in a row, with its degrees of freedom.

    From seeds it is all that differs between runs of equal inputs. From curves it is a lower bound: what differs from
    one evaluation of a run to the next, without what differs between runs.
    """

    rms: float
    dof: float
    known_from: KnownFrom


def noise_of_rows(law: Law, rows: Rows) -> Noise | None:
    """The noise that the rows of a fit show themselves: from seeds if some are repeated, else from their curves."""
    return from_seeds(law, rows) or from_rows_of_curves(law, rows)


def from_seeds(law: Law, rows: Rows) -> Noise | None:
    """Σ_g Σ_i w (ln L − mean_g)² / ν over groups g of rows at equal inputs that come from different runs.

    None with fewer than two degrees of freedom, or if repeated rows are copies.
    """
    present = np.flatnonzero(rows.weights > 0)
    cells, runs = equal_inputs(law, rows)[present], _runs(rows)[present]
    # Two rows of one run at equal inputs are one measurement written twice.
    _, first = np.unique(np.stack([cells, runs]), axis=1, return_index=True)
    present, cells, runs = present[first], cells[first], runs[first]
    y, w = np.log(rows.loss[present]), rows.weights[present]
    off = y - (np.bincount(cells, w * y) / np.maximum(np.bincount(cells, w), 1e-300))[cells]
    row_dof = len(cells) - len(np.unique(cells))
    dof = len(np.unique(runs)) - components(cells, runs)
    if dof < 2 or row_dof < 1:
        return None
    rms = float(np.sqrt((w * off**2).sum() / row_dof))
    return Noise(rms, float(dof), KnownFrom.SEEDS) if rms > 0 else None


def from_rows_of_curves(law: Law, rows: Rows) -> Noise | None:
    """The noise of the curves that the rows of each run make; None for rows that are single runs."""
    along = next((name for name in ALONG if name in law.inputs), None)
    if along is None or rows.cluster is None or not rows.shared:
        return None
    return from_curves(
        (rows.x[along][here], rows.loss[here])
        for here in (np.flatnonzero(rows.cluster == run) for run in np.unique(rows.cluster))
    )


def from_curves(curves: Iterable[tuple[Array, Array]]) -> Noise | None:
    """The noise of training curves, (tokens, L) of each: 1.4826 median |d| over their `differences` d.

    A median, so that a spike or a jump in a curve does not count. None if the evaluations are too few or too far apart.
    """
    d = np.concatenate([np.empty(0), *(differences(tokens, loss) for tokens, loss in curves)])
    if len(d) < FEWEST:
        return None
    rms = 1.4826 * float(np.median(np.abs(d)))
    return Noise(rms, max(EFFICIENCY * len(d), 1.0), KnownFrom.CURVES) if rms > 0 else None


def differences(tokens: Array, loss: Array) -> Array:
    """Of each four neighbouring evaluations, Σ c ln L, with Σ c = Σ c u = Σ c u² = 0 in u = ln tokens, and Σ c² = 1.

    It is 0 for every parabola in u, however the evaluations are spaced, and has the variance of one evaluation.
    """
    order = np.argsort(tokens, kind="stable")
    u, y = np.log(np.asarray(tokens, dtype=float)[order]), np.log(np.asarray(loss, dtype=float)[order])
    u, first = np.unique(u, return_index=True)
    y = y[first]
    if len(u) < NEIGHBOURS:
        return np.empty(0)
    at = np.lib.stride_tricks.sliding_window_view(u, NEIGHBOURS)
    gaps = np.diff(at, axis=1)
    at = (at - at.mean(axis=1, keepdims=True)) / np.ptp(at, axis=1)[:, None]
    # Divided differences: c_i = 1 / Π (u_i − u_j).
    apart = at[:, :, None] - at[:, None, :] + np.eye(NEIGHBOURS)
    c = 1 / apart.prod(axis=2)
    c /= np.linalg.norm(c, axis=1, keepdims=True)
    values = (c * np.lib.stride_tricks.sliding_window_view(y, NEIGHBOURS)).sum(axis=1)
    return np.asarray(values[(gaps <= APART).all(axis=1)])


def equal_inputs(law: Law, rows: Rows) -> NDArray[np.intp]:
    """(rows,): the number of each row's inputs, equal for rows that agree in all of them."""
    return _cells({name: rows.x[name] for name in law.inputs})


def _cells(x: Mapping[str, Array] | Inputs) -> NDArray[np.intp]:
    """The same number for rows whose inputs all agree to `SAME`: values are sorted and cut where they jump."""
    numbers = []
    for values in x.values():
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        jump = np.append(0, np.diff(ordered) > SAME * np.abs(ordered[1:])).cumsum()
        number = np.empty(len(values), dtype=np.intp)
        number[order] = jump
        numbers.append(number)
    return np.asarray(np.unique(np.stack(numbers), axis=1, return_inverse=True)[1], dtype=np.intp).reshape(-1)


def _runs(rows: Rows) -> NDArray[np.intp]:
    return np.arange(len(rows.loss)) if rows.cluster is None else rows.cluster


def components(cells: NDArray[np.intp], runs: NDArray[np.intp]) -> int:
    """The number of sets of runs without a common cell: seeds of one configuration are one set."""
    _, cell = np.unique(cells, return_inverse=True)
    _, run = np.unique(runs, return_inverse=True)
    n = int(run.max()) + 1 + int(cell.max()) + 1
    graph = coo_matrix((np.ones(len(run)), (run, cell + run.max() + 1)), shape=(n, n))
    return int(connected_components(graph, directed=False)[0])

"""isoFLOP parabolas: at one budget C the loss is a parabola in ln n, and its vertex gives N*(C) and L*(C)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.compute.slices import slices
from fit.data.curves import Candidates
from fit.data.vertex import LR_REACH, Vertex, lowest
from fit.law.json_values import plain
from fit.law.result import IsoflopVertex, IsoflopVertices

LOGS = ["flops", "n_latents", "nmse", "tokens", "lr"]
COLUMNS = [*LOGS, "curvature", "sizes"]


@dataclass(frozen=True)
class IsoFlops:
    """The vertices of the isoFLOP parabolas.

    points: the budgets with a vertex, by rising C, with the columns `COLUMNS`: C, N*, L*, D*, lr*, d² ln L/d(ln n)²
    and the number of n in the parabola; D* and lr* are NaN where they are unknown. dropped: "C=…: why" for every other
    budget. without_lr: the same for the budgets with a known N* but an unknown lr*. square, dof: the sum of the squared
    residuals of ln L about all parabolas, and its degrees of freedom.
    """

    points: pd.DataFrame
    dropped: tuple[str, ...]
    without_lr: tuple[str, ...]
    square: float = 0.0
    dof: int = 0

    @property
    def recorded(self) -> IsoflopVertices:
        """The vertices as fits.json holds them."""
        rows = (IsoflopVertex(**plain(row)) for row in self.points.to_dict("records"))
        return IsoflopVertices(tuple(rows), self.dropped)


def isoflops(
    pool: Candidates,
    present: np.ndarray | None = None,
    min_flops: float | None = None,
    per_octave: int = 1,
    resampled: bool = False,
) -> IsoFlops:
    """N*(C), L*(C), D*(C) and lr*(C) at every budget that at least three n reach (Hoffmann et al. 2022, §3.2).

    At each budget, the lowest loss of every n over lr, batch and seed is read off its curves or, in an isoFLOP table,
    is that of the rows there, and `lowest` finds the vertex over n. D* and lr* are interpolated in log-log between the
    two n on either side of N*; the lr of each of the two n is the `lowest` over the lr tried at that n. If the
    n_latents of a run is unknown, there are no points.

    Parameters
    ----------
    pool : the points of all curves.
    present : which runs to use, (runs,) flags; by default all.
    min_flops : no budget is taken below this C.
    per_octave : the number of budgets in each octave of C: 1, 2 or 4; an isoFLOP table has its own.
    resampled : whether the runs are a resampling. It may lack an lr that a parabola needs; then its best lr is used.
    """
    source = slices(pool, present)
    rows, dropped, without_lr, vertices = [], [], [], list[Vertex]()
    for log_c in source.budgets(min_flops, per_octave):
        losses = source.losses(log_c)
        vertex = lowest(losses, "n_latents")
        if isinstance(vertex, str):
            dropped.append(f"C={np.exp(log_c):.3g}: {vertex}")
            continue
        vertices.append(vertex)
        about = _neighbours(losses, vertex.x)
        tokens = _between({size: source.tokens(log_c, size) for size in about}, vertex.x)
        lr = _best_lr({size: source.rates(log_c, size) for size in about}, vertex.x, resampled)
        if isinstance(lr, str):
            without_lr.append(f"C={np.exp(log_c):.3g}: {lr}")
        rows.append(_row(log_c, vertex, tokens, np.nan if isinstance(lr, str) else lr))
    if pool.budgets is not None:
        dropped += pool.budgets.unbudgeted
    points = pd.DataFrame(rows, columns=COLUMNS, dtype=float)
    if pool.budgets is not None:
        # exp(ln C) is off in its last digit.
        points["flops"] = pool.budgets.nearest(points["flops"].to_numpy())
    square, dof = sum(vertex.square for vertex in vertices), sum(vertex.points - 3 for vertex in vertices)
    return IsoFlops(points, tuple(dropped), tuple(without_lr), square, dof)


def _row(log_c: float, at: Vertex, log_d: float, log_lr: float) -> dict[str, float]:
    logs = np.exp([log_c, at.x, at.y, log_d, log_lr])
    return {**dict(zip(LOGS, logs, strict=True)), "curvature": at.curvature, "sizes": at.points}


def _neighbours(losses: Mapping[float, float], log_n: float) -> tuple[float, float]:
    """The two n on either side of a vertex, which lies between the smallest and the largest n."""
    size = np.sort(np.array(list(losses)))
    right = int(np.clip(np.searchsorted(np.log(size), log_n), 1, len(size) - 1))
    return float(size[right - 1]), float(size[right])


def _between(values: Mapping[float, float], log_n: float) -> float:
    """The logarithm of a quantity at n, interpolated between its logarithms at two sizes."""
    return float(np.interp(log_n, np.log(list(values)), list(values.values())))


def _best_lr(
    rates: Mapping[float, Mapping[float, float] | None], log_n: float, resampled: bool
) -> float | str:
    """ln lr* at n, interpolated between the two n on either side of it, or the reason why it is unknown."""
    best = {}
    for size, losses in rates.items():
        if losses is None:
            return "the lr of the runs is unknown"
        vertex = lowest(losses, "lr", LR_REACH)
        if isinstance(vertex, str) and not resampled:
            return f"n_latents={size:,.0f}: {vertex}"
        best[size] = np.log(min(losses, key=losses.__getitem__)) if isinstance(vertex, str) else vertex.x
    return _between(best, log_n)

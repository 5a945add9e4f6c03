"""isoFLOP parabolas: at one budget C the loss is a parabola in ln n, and its vertex gives N*(C) and L*(C)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fit.data.curves import PER_OCTAVE, STEP, Candidates, falling
from fit.data.vertex import LR_REACH, Vertex, lowest
from fit.law.law import Array

LOGS = ["flops", "n_latents", "nmse", "tokens", "lr"]
COLUMNS = [*LOGS, "curvature", "sizes"]


@dataclass(frozen=True)
class Curve:
    """The lowest loss of one n, or of one n and lr, as a curve of C: log_c, log_l, log_d (tokens), (points,) each."""

    log_c: Array
    log_l: Array
    log_d: Array

    def reaches(self, log_c: float) -> bool:
        return bool(self.log_c[0] - 1e-9 <= log_c <= self.log_c[-1] + 1e-9)

    def loss(self, log_c: float) -> float:
        """ln L there, between points by a straight line."""
        return float(np.interp(log_c, self.log_c, self.log_l))

    def tokens(self, log_c: float) -> float:
        """ln D there."""
        return float(np.interp(log_c, self.log_c, self.log_d))


@dataclass(frozen=True)
class IsoFlops:
    """The vertices of the isoFLOP parabolas.

    points: the budgets with a vertex, by rising C, with the columns `COLUMNS`: C, N*, L*, D*, lr*, d² ln L/d(ln n)²
    and the number of n in the parabola; D* and lr* are NaN where they are unknown. dropped: "C=…: why" for every other
    budget. without_lr: the same for the budgets with a known N* but an unknown lr*.
    """

    points: pd.DataFrame
    dropped: tuple[str, ...]
    without_lr: tuple[str, ...]


def isoflops(
    pool: Candidates,
    present: np.ndarray | None = None,
    min_flops: float | None = None,
    per_octave: int = 1,
    resampled: bool = False,
) -> IsoFlops:
    """N*(C), L*(C), D*(C) and lr*(C) at every budget that at least three n reach (Hoffmann et al. 2022, §3.2).

    At each budget, the lowest loss of every n over lr, batch and seed is read off its curves, and `lowest` finds the
    vertex over n. D* and lr* are interpolated in log-log between the two n on either side of N*; the lr of each of the
    two n is the `lowest` over the lr tried at that n. If the n_latents of a run is unknown, there are no points.

    Parameters
    ----------
    of : the points of all curves.
    present : which runs to use, (runs,) flags; by default all.
    min_flops : no budget is taken below this C.
    per_octave : the number of budgets in each octave of C: 1, 2 or 4.
    resampled : whether the runs are a resampling. It may lack an lr that a parabola needs; then its best lr is used.
    """
    there = np.ones(len(pool.run), dtype=bool) if present is None else present[pool.run]
    n = pool.column("n_latents")
    sizes = {} if n is None else best_of(pool, n, there)
    rates = _rates(pool, list(sizes), there)
    rows, dropped, without_lr = [], [], []
    for log_c in _budgets(sizes, min_flops, per_octave):
        losses = {size: curve.loss(log_c) for size, curve in sizes.items() if curve.reaches(log_c)}
        vertex = lowest(losses, "n_latents")
        if isinstance(vertex, str):
            dropped.append(f"C={np.exp(log_c):.3g}: {vertex}")
            continue
        about = _neighbours(losses, vertex.x)
        tokens = _between({size: sizes[size].tokens(log_c) for size in about}, vertex.x)
        lr = _best_lr({size: rates[size] for size in about if size in rates}, log_c, vertex.x, resampled)
        if isinstance(lr, str):
            without_lr.append(f"C={np.exp(log_c):.3g}: {lr}")
        rows.append(_row(log_c, vertex, tokens, np.nan if isinstance(lr, str) else lr))
    points = pd.DataFrame(rows, columns=COLUMNS, dtype=float)
    return IsoFlops(points, tuple(dropped), tuple(without_lr))


def _row(log_c: float, at: Vertex, log_d: float, log_lr: float) -> dict[str, float]:
    logs = np.exp([log_c, at.x, at.y, log_d, log_lr])
    return {**dict(zip(LOGS, logs, strict=True)), "curvature": at.curvature, "sizes": at.points}


def best_of(pool: Candidates, values: Array, there: np.ndarray) -> dict[float, Curve]:
    """For each of the values (m,), the curve of its lowest loss so far, over the points flagged in `there` (m,)."""
    log_d = np.full(len(pool.run), np.nan) if pool.log_tokens is None else pool.log_tokens
    best = {}
    for value in np.unique(values[there]):
        index = falling(pool, there & (values == value))
        best[float(value)] = Curve(pool.log_c[index], pool.log_l[index], log_d[index])
    return best


def _rates(pool: Candidates, sizes: list[float], there: np.ndarray) -> dict[float, dict[float, Curve]]:
    """The curve of the lowest loss for each n and each lr of that n."""
    n, lr = pool.column("n_latents"), pool.column("lr")
    if n is None or lr is None:
        return {}
    return {size: best_of(pool, lr, there & (n == size)) for size in sizes}


def _budgets(sizes: Mapping[float, Curve], min_flops: float | None, per_octave: int) -> list[float]:
    """ln C of the points of the common grid that at least three sizes reach."""
    if len(sizes) < 3:
        return []
    every = PER_OCTAVE // per_octave
    first, last = (min(c.log_c[0] for c in sizes.values()), max(c.log_c[-1] for c in sizes.values()))
    bins = np.arange(np.ceil(first / STEP / every), np.floor(last / STEP / every) + 1) * every
    floor = -np.inf if min_flops is None else np.log(min_flops) - 1e-9
    grid = [float(b * STEP) for b in bins if b * STEP >= floor]
    return [log_c for log_c in grid if sum(curve.reaches(log_c) for curve in sizes.values()) >= 3]


def _neighbours(losses: Mapping[float, float], log_n: float) -> tuple[float, float]:
    """The two n on either side of a vertex, which lies between the smallest and the largest n."""
    size = np.sort(np.array(list(losses)))
    right = int(np.clip(np.searchsorted(np.log(size), log_n), 1, len(size) - 1))
    return float(size[right - 1]), float(size[right])


def _between(values: Mapping[float, float], log_n: float) -> float:
    """The logarithm of a quantity at n, interpolated between its logarithms at two sizes."""
    return float(np.interp(log_n, np.log(list(values)), list(values.values())))


def _best_lr(
    rates: Mapping[float, Mapping[float, Curve]], log_c: float, log_n: float, resampled: bool
) -> float | str:
    """ln lr* at n, interpolated between the two n on either side of it, or the reason why it is unknown."""
    if not rates:
        return "the lr of the runs is unknown"
    best = {}
    for size, curves in rates.items():
        losses = {lr: curve.loss(log_c) for lr, curve in curves.items() if curve.reaches(log_c)}
        vertex = lowest(losses, "lr", LR_REACH)
        if isinstance(vertex, str) and not resampled:
            return f"n_latents={size:,.0f}: {vertex}"
        best[size] = np.log(min(losses, key=losses.__getitem__)) if isinstance(vertex, str) else vertex.x
    return _between(best, log_n)

"""The frontier L(C): the lowest loss reachable at compute C over all training curves, and its resampling over runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from fit.compute.isoflop import IsoFlops, isoflops
from fit.data.curves import PER_OCTAVE, Candidates, about_schedule, candidates, falling
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.intervals.bootstrap import check
from fit.law.json_values import integral
from fit.law.law import Array
from fit.law.rows import Rows
from fit.law.selection import FrontierSelection

# With fewer runs on the frontier, the spread between runs is too poorly known to derive intervals from it.
FEWEST = 3
# Every report of L(C) says this about the n on the frontier (Gao et al. 2024, §3.1).
LOOSER = (
    "NMSE of different n_latents is compared at equal compute: a larger n has the looser bottleneck, so a lower loss "
    "is not yet a better dictionary."
)


@dataclass(frozen=True)
class Frontier:
    """The rows on the frontier by rising C.

    Their columns are flops, nmse, run_id and, where they are known, tokens and the columns in `OF_RUNS`.
    """

    points: pd.DataFrame
    candidates: Candidates
    window: tuple[float, float]
    selection: FrontierSelection
    cautions: tuple[Caution, ...]

    @cached_property
    def vertices(self) -> IsoFlops:
        """The isoFLOP vertices of the curves, above the C at which the frontier was cut."""
        return isoflops(self.candidates, min_flops=self.selection.min_flops)


def envelope(pool: Candidates, present: np.ndarray) -> np.ndarray:
    """Indices of the points, among those `present`, that lie below every point of less compute; one per bin of C."""
    index = falling(pool, present)
    last = np.append(pool.bin[index][1:] != pool.bin[index][:-1], np.ones(min(len(index), 1), dtype=bool))
    return index[last]


def frontier(curves: pd.DataFrame, flops: str, needed: int, min_flops: float | None = None) -> Frontier:
    """The frontier of a group of curves, without the ends where the smallest or the largest n is best.

    At those ends an n is best only because the grid of n ends there. For curves whose E and α are both 0.1, a fit with
    the smallest n gives α = 0.126 [0.117, 0.185], and a fit without it 0.100 [0.080, 0.144]. `min_flops` cuts models
    that are off trend for another reason, such as the smallest models of Gao et al. 2024, §3.1.1; `sensitivity` shows
    how further cuts change the fit.

    Parameters
    ----------
    curves : evaluations, see `candidates`.
    flops : the column of C.
    needed : the number of points that the fit needs.
    min_flops : points below this C are left out.

    Raises
    ------
    FitError
        If fewer than `needed` points are on the frontier.
    """
    pool = candidates(curves, flops)
    index = envelope(pool, np.ones(len(pool.run), dtype=bool))
    if min_flops is not None:
        index = index[np.exp(pool.log_c[index]) >= min_flops]
    inside, cautions = _inside_the_grid(pool, index, needed)
    every, index = index, index[inside]
    cautions += _ended_as_best(pool, every, index)
    if len(index) < needed:
        raise FitError(
            f"The frontier of {len(pool.runs)} runs has {len(index)} points and the fit needs {needed}"
            f"{f' with at least {min_flops:g} FLOPs' if min_flops is not None else ''}: "
            "train longer curves, more sizes, or lower --min-flops."
        )
    points = pool.table(index)
    selection = FrontierSelection(
        rule=_rule(pool, inside, len(every), min_flops) + ("" if pool.budgets else about_schedule(curves)),
        caution=LOOSER,
        runs=len(pool.runs),
        runs_on_frontier=points["run_id"].nunique(),
        used=len(points),
        below_the_grid=inside.start,
        beyond_the_grid=len(every) - inside.stop,
        min_flops=min_flops,
        per_octave=PER_OCTAVE,
    )
    return Frontier(points, pool, (pool.log_c[index[0]], pool.log_c[index[-1]]), selection, tuple(cautions))


def _rule(pool: Candidates, inside: slice, points: int, min_flops: float | None) -> str:
    """A sentence that says what was cut from the envelope, and why."""
    text = f"The lowest loss over all curves in each 1/{PER_OCTAVE} octave of C"
    text += f" from {min_flops:g} FLOPs on." if min_flops is not None else ", with no lower limit of C."
    n = pool.column("n_latents")
    if n is None:
        return f"{text} Its ends are not cut, since not every n_latents is known."
    ends = [("first", inside.start, "smallest", n.min()), ("last", points - inside.stop, "largest", n.max())]
    cut = [
        f"the {side} {count} points, of the {kind} n_latents alone, {integral(size):,}"
        for side, count, kind, size in ends
        if count
    ]
    if not cut:
        return f"{text} Its ends are not cut."
    return f"{text} Cut, since the grid of n ends there: {'; '.join(cut)}."


def _inside_the_grid(pool: Candidates, index: np.ndarray, needed: int) -> tuple[slice, list[Caution]]:
    """The points from the first that is not of the smallest n to the last that is not of the largest n."""
    whole, at = slice(0, len(index)), pool.column("n_latents")
    if at is None:
        text = "Not every n_latents is known: nor is whether the grid of n cuts the frontier short."
        return whole, [Caution(Kind.ROWS, text, ("n_latents",))]
    n, here, cautions = at, at[index], []
    below = np.flatnonzero(here < n.max())
    stop = int(below[-1]) + 1 if len(below) else 0
    if stop < needed:
        cautions += [_at_the_edge("last", len(index) - stop, len(index), "largest", n.max(), stop)]
        stop = len(index)
    above = np.flatnonzero(here[:stop] > n.min())
    start = int(above[0]) if len(above) else stop
    if stop - start < needed and n.min() < n.max():
        cautions += [_at_the_edge("first", start, stop, "smallest", n.min(), stop - start)]
    return slice(0 if stop - start < needed else start, stop), cautions


def _at_the_edge(side: str, edge: int, total: int, kind: str, n: float, left: int) -> Caution:
    text = (
        f"The frontier is at the edge of the grid: the {side} {edge} of its {total} points are of the {kind} "
        f"n_latents, {n:,.0f}, and a {kind[:-3]}er one may be lower there. "
        f"All are kept, since only {left} others would remain."
    )
    return Caution(Kind.EDGE, text, ("n_latents",))


def _ended_as_best(pool: Candidates, index: np.ndarray, kept: np.ndarray) -> list[Caution]:
    """A caution for curves that leave the frontier because they end, not because another curve is lower."""
    end = np.full(len(pool.runs), -np.inf)
    np.maximum.at(end, pool.run, pool.log_c)
    curves = np.bincount(pool.run, minlength=len(pool.runs)) > 1
    leaves = np.append(pool.run[index][1:] != pool.run[index][:-1], False)
    ended = pool.run[index[leaves & (pool.log_c[index] == end[pool.run[index]]) & curves[pool.run[index]]]]
    short = np.intersect1d(ended, pool.run[kept])
    if not len(short):
        return []
    on = len(np.unique(pool.run[kept]))
    fact = f"{len(short)} of {on} runs on the frontier end before another is lower"
    return [Caution.advising(Kind.EDGE, fact, ": train them longer.", ("tokens",))]


def drawn(runs: int, draws: int, seed: int) -> Iterator[Array]:
    """Weights (runs,) of `draws` resamplings: runs are drawn with replacement; 0 if not drawn, else exponential.

    Leaving runs out moves the frontier as another choice of runs would. The frontier has few runs, so choosing among
    them does not show how far noise can move each one; the exponential weights of mean 1 (Rubin 1981) do.
    """
    check(draws, seed)
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        there = np.bincount(rng.integers(runs, size=runs), minlength=runs) > 0
        yield np.where(there, rng.exponential(size=runs), 0.0)


def resampled(front: Frontier, draws: int, seed: int, needed: int, response: str = "nmse") -> Rows:
    """Frontiers of resampled runs over the same window of C: weights (draws, rows), 0 for rows not on that frontier.

    All rows of a curve share the error of their run, so whole runs are drawn, see `drawn`. Draws with fewer than
    `needed` points are left out.

    Coverage of the 95 % intervals was measured in 150 sweeps of each of 12 designs (7 to 13 sizes, 1 to 6 runs each,
    noise of 0.5 or 1.5 % between runs): 95 to 100 % for α and E, and 91 to 100 % for L one octave beyond the data. The
    intervals are widest, and cover 100 %, in designs with one run per size. Other methods covered less. Without the
    exponential weights: α 88 to 100 %, L 83 to 100 %. With the frontier kept as it is and its runs drawn: α 87 to 91 %,
    L 78 to 87 %. With profile likelihood, treating every point as an independent measurement: α 33 to 46 %.

    Parameters
    ----------
    front : the frontier.
    draws, seed : the number of resamplings, and their seed.
    needed : the number of points that a refit needs.
    response : the column of the points that is fitted.

    Raises
    ------
    FitError
        If fewer than half of the draws remain, or if the frontier has fewer runs than `FEWEST`, since all draws would
        then be nearly the same.
    """
    on = front.selection.runs_on_frontier
    if on < FEWEST:
        raise FitError(
            f"{on} of {len(front.candidates.runs)} runs hold the frontier, and intervals need {FEWEST}."
        )
    weightings = drawn(len(front.candidates.runs), draws, seed)
    kept = [one for one in on_frontiers(front, weightings, needed) if one is not None]
    if 2 * len(kept) < draws:
        raise FitError(
            f"Only {len(kept)} of {draws} draws of {len(front.candidates.runs)} runs leave a frontier of {needed} "
            "points: intervals need more runs."
        )
    return stacked(front, kept, response)


def on_frontiers(
    front: Frontier, weightings: Iterable[Array], needed: int
) -> Iterator[tuple[np.ndarray, Array] | None]:
    """For each weighting of the runs, the points on their frontier in the same window of C, and the points' weights.

    weightings: (runs,) each, 0 for a run left out. None for a weighting that leaves fewer than `needed` points.
    """
    pool = front.candidates
    inside = (pool.log_c >= front.window[0] - 1e-9) & (pool.log_c <= front.window[1] + 1e-9)
    for weights in weightings:
        index = envelope(pool, weights[pool.run] > 0)
        index = index[inside[index]]
        yield (index, weights[pool.run[index]]) if len(index) >= needed else None


def stacked(front: Frontier, frontiers: Sequence[tuple[np.ndarray, Array]], response: str = "nmse") -> Rows:
    """The points that are on any of these frontiers, with a row of weights for each frontier."""
    rows = np.unique(np.concatenate([index for index, _ in frontiers]))
    table = np.zeros((len(frontiers), len(rows)))
    for row, (index, weights) in zip(table, frontiers, strict=True):
        row[np.searchsorted(rows, index)] = weights
    points = front.candidates.table(rows)
    return Rows({"flops": points["flops"].to_numpy()}, points[response].to_numpy(), table)

"""The best use of compute, N*(C), D*(C) and lr*(C), as power laws with intervals from resampled runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from fit.compute.frontier import LOOSER, Frontier, drawn, envelope, resampled
from fit.compute.isoflop import isoflops
from fit.compute.slices import Curve, best_of
from fit.data.curves import Candidates
from fit.data.vertex import short_number
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.result import FitResult
from fit.law.rows import RUNS, Rows
from fit.law.selection import OptimumSelection

# The column that each law predicts.
LAWS = {"N_C": "n_latents", "D_C": "tokens", "LR_C": "lr"}
CROSSOVERS, ISOFLOP, POINTS = "crossovers", "isoflop", "frontier points"
# Two parameters and two rows more; a line needs two rows, a draw one more.
NEEDED, IN_A_DRAW = 4, 3
# Columns of the crossovers.
COLUMNS = ["flops", "n_latents", "tokens"]


@dataclass(frozen=True)
class Optima:
    """The laws of the compute optimum.

    fits: N_C and D_C by crossovers and by isoFLOP vertices, LR_C by frontier points and by isoFLOP vertices; the method
    of each fit is in its selection. skipped: the laws that could not be fitted, and why.
    """

    fits: tuple[FitResult, ...]
    skipped: tuple["Skipped", ...]
    cautions: tuple[Caution, ...]


@dataclass(frozen=True)
class Skipped:
    """A law that could not be fitted; its text reads "N_C (isoflop): why"."""

    law: str
    text: str


@dataclass(frozen=True)
class Way:
    """One method for N*, D* and lr*: its rows, the rows of every draw, and what was dropped for each column.

    advice: what a table with too few points lacks. weighted: whether each row of a draw gets a random weight. unit:
    what a draw resamples.
    """

    method: str
    points: pd.DataFrame
    draws: Sequence[pd.DataFrame]
    dropped: Mapping[str, tuple[str, ...]]
    advice: str = "train more sizes, or longer"
    weighted: bool = True
    unit: str = RUNS


def optima(front: Frontier, draws: int = 200, seed: int = 0, objective: str = "log") -> Optima:
    """Fit N*(C) = A·C^a, D*(C) = A·C^a and lr*(C) = A·C^−α, each in two ways, above the C where the frontier was cut.

    `crossovers` and `isoflops` are rebuilt from the runs of each draw of `drawn`. Several runs share each of their
    rows, so the rows get exponential weights of their own. Coverage of the 95 % intervals for an a of 0.5 or 0.615, in
    60 sweeps of each of 8 designs (7 and 13 sizes, 0.5 and 1.5 % noise between runs): 95 to 100 % by crossovers and 90
    to 100 % by isoFLOP vertices. The points of the largest C are held out, as for L(C). lr* at a vertex needs three lr
    at each of the two n on either side of it. On the frontier lr changes in steps, so its α is slightly too flat, see
    `crossovers`.
    """
    steps, vertices = _both_ways(front, draws, seed)
    attempts: list[tuple[str, Way | None]] = [
        (law, way) for law in ("N_C", "D_C") for way in (steps, vertices)
    ]
    attempts += [("LR_C", None), ("LR_C", vertices)]

    def fit(law: str, way: Way | None) -> FitResult:
        return fit_vertices(law, way, seed, objective) if way else _fit_points(front, draws, seed, objective)

    fits, skipped = attempted(attempts, front.candidates, fit)
    return Optima(tuple(fits), tuple(skipped), (*at_the_edge_of_lr(front), *_disagree(fits)))


Attempt = TypeVar("Attempt")


def attempted(
    attempts: Sequence[tuple[str, Attempt]], pool: Candidates, fit: Callable[[str, Attempt], FitResult]
) -> tuple[list[FitResult], list["Skipped"]]:
    """The fits of the laws that the table supports, by each way, and why the others are missing."""
    fits, skipped = [], []
    unknown = {law: _unknown(pool, column) for law, column in LAWS.items()}
    for law, way in attempts:
        try:
            if not unknown[law]:
                fits.append(fit(law, way))
        except FitError as error:
            method = way.method if isinstance(way, Way) else POINTS
            skipped.append(Skipped(law, f"{law} ({method}): {error}"))
    skipped += [Skipped(law, f"{law}: {reason}") for law, reason in unknown.items() if reason]
    return fits, skipped


def _unknown(pool: Candidates, column: str) -> str | None:
    """Why the table cannot show the optimum of a column; None if it can."""
    if pool.column("n_latents") is None:
        return "not every n_latents is known."
    if column == "tokens":
        return None if pool.log_tokens is not None else "not every number of tokens is known."
    if column == "lr" and pool.column("lr") is None:
        return "not every run's lr is known."
    if column == "lr" and not _swept(pool):
        return (
            "every n_latents was trained at one lr: the lr of the frontier is the sweep's choice, no optimum."
        )
    return None


def _both_ways(front: Frontier, draws: int, seed: int) -> tuple[Way, Way]:
    pool, floor = front.candidates, front.selection.min_flops
    present = [weights > 0 for weights in drawn(len(pool.runs), draws, seed)]
    steps, vertices = crossovers(pool, None, floor), front.vertices
    by_steps = [crossovers(pool, here, floor).points for here in present]
    by_vertices = [isoflops(pool, here, floor, resampled=True).points for here in present]
    dropped = {"lr": (*vertices.without_lr, *vertices.dropped)}
    return (
        Way(CROSSOVERS, steps.points, by_steps, dict.fromkeys(LAWS.values(), steps.dropped)),
        Way(
            ISOFLOP,
            vertices.points,
            by_vertices,
            dict.fromkeys(LAWS.values(), vertices.dropped) | dropped,
        ),
    )


def fit_vertices(law: str, way: Way, seed: int, objective: str) -> FitResult:
    column = LAWS[law]
    points, dropped = _known(way.points, column), way.dropped[column]
    if len(points) < NEEDED:
        more = f" The first of {len(dropped)} that were dropped: {dropped[0]}." if dropped else ""
        raise FitError(f"{len(points)} points, {NEEDED} are needed: {way.advice}.{more}")
    rows = replace(_replicates(way.draws, column, seed, way.weighted), unit=way.unit)
    x = {"flops": points["flops"]}
    result = fit_law(law, x, points[column], replicates=rows, objective=objective, seed=seed, compare=False)
    return _chosen(result, way.method, dropped, rows, seed)


def _known(points: pd.DataFrame, column: str) -> pd.DataFrame:
    return points[np.isfinite(points[column])]


def _replicates(tables: Sequence[pd.DataFrame], column: str, seed: int, weighted: bool = True) -> Rows:
    """The rows of all draws, stacked. Each draw weights its own rows exponentially or with 1, all others with 0."""
    every = _known(pd.concat(tables, keys=range(len(tables))), column)
    draw = np.asarray(every.index.get_level_values(0))
    enough = np.flatnonzero(np.bincount(draw, minlength=len(tables)) >= IN_A_DRAW)
    if 2 * len(enough) < len(tables):
        raise FitError(
            f"Only {len(enough)} of {len(tables)} draws of runs have {IN_A_DRAW} points: "
            "intervals need more runs."
        )
    every = every[np.isin(draw, enough)]
    draw = np.searchsorted(enough, draw[np.isin(draw, enough)])
    weights = np.zeros((len(enough), len(every)))
    each = np.random.default_rng(seed).exponential(size=len(every)) if weighted else 1.0
    weights[draw, np.arange(len(every))] = each
    return Rows({"flops": every["flops"].to_numpy()}, every[column].to_numpy(), weights)


def _fit_points(front: Frontier, draws: int, seed: int, objective: str) -> FitResult:
    """lr*(C) from the runs on the frontier."""
    rows = resampled(front, draws, seed, IN_A_DRAW, response="lr")
    x = {"flops": front.points["flops"]}
    y = front.points["lr"]
    result = fit_law("LR_C", x, y, replicates=rows, objective=objective, seed=seed, compare=False)
    return _chosen(result, POINTS, (), rows, seed)


def _chosen(result: FitResult, method: str, dropped: tuple[str, ...], rows: Rows, seed: int) -> FitResult:
    """The result, with a record of how its rows were chosen."""
    selection = OptimumSelection(method, result.rows, dropped, LOOSER, len(rows.weights), seed)
    return replace(result, regime="compute", selection=selection)


def _swept(pool: Candidates) -> dict[float, tuple[float, float]]:
    """The smallest and the largest lr of each n that was trained at more than one lr."""
    ends = pool.runs.groupby("n_latents")["lr"].agg(["min", "max"])
    return {float(n): (lo, hi) for n, lo, hi in ends.itertuples() if lo < hi}


def at_the_edge_of_lr(front: Frontier) -> list[Caution]:
    """A caution naming the n whose lr on the frontier is the smallest or the largest that was tried."""
    if not {"n_latents", "lr"} <= set(front.points.columns):
        return []
    edges = _swept(front.candidates)
    on = zip(*(front.points[name].to_numpy(dtype=float) for name in ("n_latents", "lr")), strict=True)
    edges_held = [
        f"{n:,.0f} ({side} of its lr, {short_number(lr)})"
        for n, lr in sorted(set(on))
        for side, end in zip(("smallest", "largest"), edges.get(n, ()), strict=False)
        if lr == end
    ]
    if not edges_held:
        return []
    text = (
        f"The frontier is at the edge of the lr grid at n_latents={', '.join(edges_held)}: "
        "lr* may lie beyond, and lower losses with it."
    )
    return [Caution(Kind.EDGE, text, ("lr",))]


def _disagree(fits: Sequence[FitResult]) -> list[Caution]:
    """A caution for each law whose two methods give exponents with intervals that do not overlap."""
    cautions = []
    for law in LAWS:
        name = named(law).params[1]
        by_method = [(_method(fit), fit.params[name]) for fit in fits if fit.law == law]
        known = [(way, p.value, p.low, p.high) for way, p in by_method]
        ends = [(low, high) for _, _, low, high in known if low is not None and high is not None]
        if len(ends) == 2 and max(low for low, _ in ends) > min(high for _, high in ends):
            values = " and ".join(
                f"{value:.3g} [{low:.3g}, {high:.3g}] by {way}" for way, value, low, high in known
            )
            text = f"{name} of {law} depends on the way to it: {values}."
            cautions.append(Caution(Kind.DISAGREEMENT, text, (law, name)))
    return cautions


def _method(fit: FitResult) -> str:
    return fit.selection.method if isinstance(fit.selection, OptimumSelection) else ""


@dataclass(frozen=True)
class Crossovers:
    """The compute at which the lowest loss passes from one size to the next.

    points: by rising n, with the columns `COLUMNS`: C, and the geometric means over both sizes of n and of D there; D
    is NaN where it is unknown. dropped: "512 to 1,024 at C=…: why" for every other pair.
    """

    points: pd.DataFrame
    dropped: tuple[str, ...]


def crossovers(
    pool: Candidates, present: np.ndarray | None = None, min_flops: float | None = None
) -> Crossovers:
    """N*(C) and D*(C) at the C where two neighbouring sizes on the envelope share the lowest loss.

    On a grid of sizes, the n of the frontier is a step function of C, and a line fitted through its points is too flat:
    by 1 part in S² for S steps, 4 % for 5. The midpoints of the steps lie on the line: for L = E + A·n^−α + B·D^−β and
    C ∝ n·D on a grid of octaves they give a = β/(α + β) within 0.006. If noise makes the frontier alternate between two
    sizes, the step is placed so that as many points of the larger n lie below it as points of the smaller n above it.
    A step counts only if both sizes have curves there: if the curves of the smaller size end earlier, the larger size
    takes over too early.
    """
    n = pool.column("n_latents")
    if n is None:
        return Crossovers(pd.DataFrame(columns=COLUMNS, dtype=float), ())
    there = np.ones(len(pool.run), dtype=bool) if present is None else present[pool.run]
    index = envelope(pool, there)
    if min_flops is not None:
        index = index[np.exp(pool.log_c[index]) >= min_flops]
    curves, here = best_of(pool, n, there), n[index]
    rows, dropped = [], []
    on = np.unique(here)
    for small, large in zip(on[:-1], on[1:], strict=True):
        step = int((here <= small).sum())
        log_c = float(pool.log_c[index[step - 1 : step + 1]].mean())
        reason = _one_sided(curves[small], curves[large], log_c)
        if reason:
            dropped.append(f"{small:,.0f} to {large:,.0f} at C={np.exp(log_c):.3g}: {reason}")
            continue
        log_d = np.mean([curves[size].tokens(log_c) for size in (small, large)])
        rows.append(np.exp([log_c, np.log(small * large) / 2, log_d]))
    return Crossovers(pd.DataFrame(np.reshape(rows, (-1, 3)), columns=COLUMNS, dtype=float), tuple(dropped))


def _one_sided(small: Curve, large: Curve, log_c: float) -> str | None:
    """Why a step does not count as a crossover, or None where it does."""
    if not small.reaches(log_c):
        return "the curves of the smaller one end there"
    return None if large.reaches(log_c) else "the curves of the larger one begin there"

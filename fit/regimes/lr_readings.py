"""lr* of each n and batch size at convergence and at each budget where L(C) is read, and their ratio ρ per batch size.

The loss L(n, D, lr, B) has a best lr at every budget D. Under L(N) it is that of the converged runs; under L(C) it is
read at the compute-optimal point of each n, and at equal tokens D, as a function of D, since the ratio depends on it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from fit.compute.optimal_point import ComputeOptimal
from fit.compute.slices import Curve, best_of
from fit.converged.lr import AtEnd, End, best_lr, up_to_doubtful
from fit.converged.tails import loss_column
from fit.data import tables
from fit.data.curves import candidates
from fit.data.vertex import Vertex
from fit.law.intervals.profile import LEVEL
from fit.law.json_values import record

# L(C) is read at every power of 2 of tokens that has an optimum, but not within the first steps of Adam: at 2 steps of
# B = 4,096 the best lr is the one that has moved the weights furthest.
OCTAVE = np.log(2)
FEWEST_STEPS = 8
# Shares of the lowest converged loss that a larger lr may cost and still count as best, see `Tolerant`.
TOLERANCES = (0.001, 0.003, 0.01)


@dataclass(frozen=True)
class CellLr:
    """lr* of one n and batch size. tokens: D where it was read.

    lr, low, high: lr* and its 95 % interval, from the scatter of all lr* of this reading and of convergence about one
    law. Where the lowest loss is at an end of the lr that count, lr is None and low or high is the bound. nmse: the
    loss at lr*, or at that end. tried: how many lr count.
    """

    n_latents: float
    batch_tokens: float
    tokens: float | None
    lr: float | None
    low: float | None
    high: float | None
    nmse: float
    tried: int
    end: End | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "CellLr":
        return record(cls, content, end=content["end"] and End(content["end"]))


@dataclass(frozen=True)
class BatchRatio:
    """ρ at one batch size, with its 95 % interval.

    Where an optimum at an end of the lr leaves a bound only, value is None, and low (ρ is at least this) or high is the
    bound; both are None where nothing is known. compute, converged: how many n have an lr* under L(C) and under L(N).
    tokens: the geometric mean of D where L(C) was read.
    """

    batch_tokens: float
    value: float | None
    low: float | None
    high: float | None
    compute: int
    converged: int
    tokens: float | None = None


@dataclass(frozen=True)
class Reading:
    """ρ of each batch size, with L(C) read at `tokens`, or where each n is compute-optimal if that is None.

    optima: lr* of each cell under L(C). alpha, alpha_low, alpha_high: of lr* ∝ n^−α, the same for all batch sizes and
    both regimes. b, b_low, b_high: of ρ ∝ B^b, None with one batch size. scatter: the standard deviation of ln lr*
    about that law, None where it has no degrees of freedom.
    """

    tokens: float | None
    optima: tuple[CellLr, ...]
    ratios: tuple[BatchRatio, ...]
    alpha: float | None = None
    alpha_low: float | None = None
    alpha_high: float | None = None
    b: float | None = None
    b_low: float | None = None
    b_high: float | None = None
    scatter: float | None = None
    dof: int = 0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Reading":
        return record(
            cls,
            content,
            optima=tuple(CellLr.from_dict(each) for each in content["optima"]),
            ratios=tuple(record(BatchRatio, each) for each in content["ratios"]),
        )


@dataclass(frozen=True)
class Tolerant:
    """ρ of each batch size if lr*(L(N)) is the largest lr that costs at most `share` of the lowest converged loss."""

    share: float
    ratios: tuple[BatchRatio, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Tolerant":
        return record(cls, content, ratios=tuple(record(BatchRatio, each) for each in content["ratios"]))


@dataclass(frozen=True)
class LrReadings:
    """lr* under L(N), and the readings under L(C): at the compute-optimal point of each n, and at equal tokens.

    Each reading has the same lr* under L(N). by_tolerance: ρ at the compute-optimal points for other lr under L(N), see
    `Tolerant`: below lr* the converged loss is often flat, so that lr* is known badly, and the smallest lr that
    converges may be the best. unconverged: how many done runs did not converge, by batch size.
    """

    converged: tuple[CellLr, ...]
    at_optimum: Reading
    by_tokens: tuple[Reading, ...]
    unconverged: tuple[tuple[float, int], ...] = ()
    by_tolerance: tuple[Tolerant, ...] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LrReadings":
        return record(
            cls,
            content,
            converged=tuple(CellLr.from_dict(each) for each in content["converged"]),
            at_optimum=Reading.from_dict(content["at_optimum"]),
            by_tokens=tuple(Reading.from_dict(each) for each in content["by_tokens"]),
            by_tolerance=tuple(Tolerant.from_dict(each) for each in content["by_tolerance"]),
        )


def optima_by_tokens(rows: pd.DataFrame) -> list[tuple[float, tuple[CellLr, ...]]]:
    """lr* of each cell (n, B) at each power of two of tokens where L(C) is read; converged or not does not matter.

    rows: the evaluations. Empty if they lack run_id, n_latents, batch_tokens, lr, tokens or nmse.
    """
    if not {"run_id", "n_latents", "batch_tokens", "lr", "tokens", "nmse"} <= set(rows.columns):
        return []
    curves = _curves(rows)
    return [(tokens, tuple(_at_tokens(curves, tokens))) for tokens in _octaves(curves)] if curves else []


def lr_readings(
    by_tokens: Sequence[tuple[float, tuple[CellLr, ...]]],
    points: Mapping[float, Mapping[float, ComputeOptimal]],
    converged: pd.DataFrame,
    unconverged: pd.DataFrame,
) -> LrReadings | None:
    """The lr* of every cell (n, B) under both regimes, and ρ of each batch size for each reading of L(C).

    Parameters
    ----------
    by_tokens : lr* under L(C) at equal tokens, see `optima_by_tokens`.
    points : by batch size, where each n is compute-optimal among the curves of that batch size.
    converged : the converged runs, with n_latents, batch_tokens, lr, nmse and, where known, their L∞.
    unconverged : the other done runs, with the same columns, `converged` and `lowest`, the lower 95 % end of their L∞;
        among them the converged runs whose L∞ is not known.

    Returns
    -------
    LrReadings
        None if nothing is known at equal tokens, or the converged runs lack a column.
    """
    if not by_tokens or not {"n_latents", "batch_tokens", "lr", "nmse"} <= set(converged.columns):
        return None
    losses = _converged_losses(converged, unconverged)
    at_end = tuple(each for cell in losses for each in _cell(*cell))
    of_points = tuple(_compute_optimal(points))
    readings = [_reading(tokens, optima, at_end) for tokens, optima in by_tokens]
    left: Counter[float] = Counter()
    if len(unconverged):
        left.update(tables.numbers(unconverged[~tables.truths(unconverged, "converged")[0]], "batch_tokens"))
    optimum = _reading(None, of_points, at_end)
    return LrReadings(
        _with_intervals(at_end, optimum),
        optimum,
        tuple(reading for reading in readings if _knows(reading)),
        tuple((float(B), left[B]) for B in sorted(left)),
        tuple(_tolerant(share, of_points, losses) for share in TOLERANCES),
    )


def _knows(reading: Reading) -> bool:
    return any(ratio.value is not None for ratio in reading.ratios)


def _curves(rows: pd.DataFrame) -> dict[tuple[float, float], dict[float, Curve]]:
    """The curves over ln D of each lr, by (n, B)."""
    known = tables.numeric(rows, "n_latents", "batch_tokens", "lr", "tokens", "nmse")
    names = ["n_latents", "batch_tokens", "lr", "tokens", "nmse"]
    known = known[(known[names] > 0).all(axis=1)]
    if known.empty:
        return {}
    pool = candidates(known, "tokens")
    n, B, lr = (pool.column(name) for name in names[:3])
    if n is None or B is None or lr is None:
        return {}
    cells = sorted({(float(one), float(other)) for one, other in zip(n, B, strict=True)})
    return {cell: best_of(pool, lr, (n == cell[0]) & (B == cell[1])) for cell in cells}


def _octaves(curves: Mapping[tuple[float, float], Mapping[float, Curve]]) -> list[float]:
    """The powers of 2 of tokens that half of the lr of every cell reach, from the first evaluation of any cell on."""
    first = min(curve.log_c[0] for rates in curves.values() for curve in rates.values())
    last = min(np.median([curve.log_c[-1] for curve in rates.values()]) for rates in curves.values())
    return [float(2.0**j) for j in range(int(np.ceil(first / OCTAVE)), int(np.floor(last / OCTAVE)) + 1)]


def _at_tokens(
    curves: Mapping[tuple[float, float], Mapping[float, Curve]], tokens: float
) -> Iterator[CellLr]:
    """lr* of each cell at D, from the curves that reach it."""
    log_d = float(np.log(tokens))
    for (n, B), rates in curves.items():
        if tokens < FEWEST_STEPS * B:
            continue
        losses = {lr: curve.loss(log_d) for lr, curve in rates.items() if curve.reaches(log_d)}
        yield from _cell(n, B, tokens, losses)


def _compute_optimal(points: Mapping[float, Mapping[float, ComputeOptimal]]) -> Iterator[CellLr]:
    """lr* of each n at its compute-optimal point among the curves of one batch size, from the curves that reach it."""
    for B, optima in points.items():
        for n, at in optima.items():
            losses = {lr: curve.loss(at.log_c) for lr, curve in at.rates.items() if curve.reaches(at.log_c)}
            tokens = float(np.exp(at.log_d)) if np.isfinite(at.log_d) else None
            if tokens is not None and tokens < FEWEST_STEPS * B:
                continue
            yield from _cell(n, B, tokens, losses)


def _converged_losses(
    converged: pd.DataFrame, unconverged: pd.DataFrame
) -> list[tuple[float, float, float | None, dict[float, float]]]:
    """n, B, tokens, and ln L of each lr, of each cell, from its converged runs.

    The loss is L∞, where the runs have it, see `tails.at_limits`.
    """
    cell = ["n_latents", "batch_tokens"]
    loss = loss_column(converged)
    runs = tables.numeric(converged, *cell, "lr", loss)
    runs = runs[(runs[[*cell, "lr", loss]] > 0).all(axis=1)]
    cells = []
    for key, part in runs.groupby(cell):
        losses = losses_by_lr(part, loss, unconverged, dict(zip(cell, key, strict=True)))
        tokens = float(np.exp(np.log(part["tokens"]).mean())) if "tokens" in part.columns else None
        n, B = (float(value) for value in part[cell].iloc[0])
        cells.append((n, B, tokens, losses))
    return cells


def losses_by_lr(
    part: pd.DataFrame, loss: str, unconverged: pd.DataFrame, cell: Mapping[str, Any]
) -> dict[float, float]:
    """ln L of each lr of a cell, from the column `loss` of its converged runs.

    Several runs at one lr, as seeds, count as their geometric mean. A smaller or larger lr whose runs did not converge
    counts too, with the lower 95 % end of its L∞, if even that is above the lowest converged loss, and if so is every
    other such lr between it and the best. Where a tail is not known, its lr may be the best: beside the best, it ends
    the lr that count, see `up_to_doubtful`.

    unconverged : runs with `lowest`, NaN where a tail is not known, as it may be of a converged run too.
    """
    losses = {lr: mean for lr, mean in _means(part, loss).items() if np.isfinite(mean)}
    if unconverged.empty or not losses:
        return losses
    here = np.logical_and.reduce([unconverged[name] == value for name, value in cell.items()])
    others = unconverged[here & ~unconverged["lr"].isin(list(losses))]
    lowest = _means(others, "lowest")
    known = losses | _surely_higher(losses, lowest)
    return up_to_doubtful(known, lowest.keys() - known.keys())


def _tolerant(
    share: float,
    compute: Sequence[CellLr],
    cells: Sequence[tuple[float, float, float | None, Mapping[float, float]]],
) -> Tolerant:
    """ρ with the largest lr on whose side of the best the converged loss, straight in ln-ln, is within `share`."""
    largest = [
        CellLr(n, B, tokens, lr, None, None, float(np.exp(min(losses.values()))) * (1 + share), len(losses))
        for n, B, tokens, losses in cells
        if (lr := _largest_within(losses, float(np.log1p(share)))) is not None
    ]
    return Tolerant(share, _reading(None, compute, largest).ratios)


def _largest_within(losses: Mapping[float, float], room: float) -> float | None:
    """The lr above the best at which ln L has risen by `room`; None if it does not rise that far."""
    best = min(losses, key=losses.__getitem__)
    at, goal = best, losses[best] + room
    for lr in sorted(rate for rate in losses if rate > best):
        if losses[lr] > goal:
            part = (goal - losses[at]) / (losses[lr] - losses[at])
            return float(at * (lr / at) ** part)
        at = lr
    return None


def _surely_higher(losses: Mapping[float, float], lowest: Mapping[float, float]) -> dict[float, float]:
    """Those of the `lowest` that are above the best loss, on each side up to the first that is not, or is NaN."""
    best = min(losses, key=losses.__getitem__)
    above: dict[float, float] = {}
    for side in (
        sorted(lr for lr in lowest if lr > best),
        sorted((lr for lr in lowest if lr < best), reverse=True),
    ):
        for lr in side:
            if not lowest[lr] > losses[best]:
                break
            above[lr] = lowest[lr]
    return above


def _means(part: pd.DataFrame, column: str) -> dict[float, float]:
    """The mean ln of the losses of each lr; NaN where one of them is not known."""
    logs = np.log(part[column].where(part[column] > 0)).groupby(part["lr"])
    means = logs.mean().where(logs.count() == logs.size())
    return {float(lr): float(mean) for lr, mean in means.items()}


def _cell(n: float, B: float, tokens: float | None, losses: Mapping[float, float]) -> Iterator[CellLr]:
    """lr* of one cell, or its bound; nothing where the losses tell neither."""
    at = best_lr(losses)
    if isinstance(at, Vertex):
        lr, nmse = (float(np.exp(v)) for v in (at.x, at.y))
        yield CellLr(n, B, tokens, lr, None, None, nmse, len(losses))
    elif isinstance(at, AtEnd):
        low, high = (None, at.bound) if at.end is End.SMALLEST else (at.bound, None)
        nmse = float(np.exp(min(losses.values())))
        yield CellLr(n, B, tokens, None, low, high, nmse, len(losses), at.end)


def _reading(tokens: float | None, compute: Sequence[CellLr], converged: Sequence[CellLr]) -> Reading:
    """Fit ln lr* = a_B − α·ln n + r·ln ρ_B, with r = 1 under L(C) and 0 under L(N), by least squares.

    One scatter about the law serves all batch sizes: it holds the noise of the runs, the error of the parabolas, and
    how far ρ depends on n. With few n each batch size alone would have 1 or 2 degrees of freedom.
    """
    known = [(each, 1) for each in compute if each.lr] + [(each, 0) for each in converged if each.lr]
    sizes = sorted({each.batch_tokens for each in (*compute, *converged)})
    law = _law(known) if known else None
    ratios = tuple(_ratio(B, law, compute, converged) for B in sizes)
    if law is None:
        return Reading(tokens, tuple(compute), ratios)
    slopes = (*law.interval(law.alpha, law.error_of_alpha), *law.interval(law.b, law.error_of_b))
    reading = Reading(tokens, tuple(compute), ratios, *slopes, law.scatter, law.dof)
    return replace(reading, optima=_with_intervals(compute, reading))


@dataclass(frozen=True)
class _Law:
    """The fitted law; errors are in units of the scatter. ratios: ln ρ and its error by batch size."""

    ratios: Mapping[float, tuple[float, float]]
    alpha: float | None
    error_of_alpha: float
    b: float | None
    error_of_b: float
    scatter: float | None
    dof: int

    def interval(self, value: float | None, error: float) -> tuple[float | None, float | None, float | None]:
        """The value and its 95 % interval."""
        if value is None or self.scatter is None:
            return value, None, None
        half = _t(self.dof) * self.scatter * error
        return value, value - half, value + half


def _law(known: Sequence[tuple[CellLr, int]]) -> _Law:
    y = np.log([float(each.lr or np.nan) for each, _ in known])
    log_n = np.log([each.n_latents for each, _ in known])
    B, compute = np.array([each.batch_tokens for each, _ in known]), np.array([r for _, r in known])
    levels = np.unique(B)
    # A batch size with optima under one regime only has a level, and counts for the slope and the scatter.
    with_ratio = np.array([size for size in levels if {0, 1} <= set(compute[B == size])])
    columns = [(B == size).astype(float) for size in levels]
    columns += [((B == size) & (compute == 1)).astype(float) for size in with_ratio]
    sloped = len(np.unique(log_n)) > 1
    X = np.column_stack([*columns, *([-(log_n - log_n.mean())] if sloped else [])])
    solution, _, rank, _ = np.linalg.lstsq(X, y, rcond=None)
    dof = len(y) - int(rank)
    residual = float(((y - X @ solution) ** 2).sum())
    covariance = np.linalg.pinv(X.T @ X)
    spread = np.sqrt(np.diag(covariance))
    of_ratios = slice(len(levels), len(levels) + len(with_ratio))
    ratios = {
        float(size): (float(value), float(error))
        for size, value, error in zip(with_ratio, solution[of_ratios], spread[of_ratios], strict=True)
    }
    alpha, error = (float(solution[-1]), float(spread[-1])) if sloped else (None, np.nan)
    b, error_of_b = None, np.nan
    if len(with_ratio) > 1:
        x = np.log(with_ratio) - np.log(with_ratio).mean()
        weights = x / (x @ x)
        b = float(weights @ solution[of_ratios])
        error_of_b = float(np.sqrt(weights @ covariance[of_ratios, of_ratios] @ weights))
    scatter = float(np.sqrt(residual / dof)) if dof else None
    return _Law(ratios, alpha, error, b, error_of_b, scatter, dof)


def _t(dof: int) -> float:
    return float(student.isf((1 - LEVEL) / 2, dof))


def _ratio(B: float, law: _Law | None, compute: Sequence[CellLr], converged: Sequence[CellLr]) -> BatchRatio:
    here = [each for each in compute if each.batch_tokens == B]
    there = [each for each in converged if each.batch_tokens == B]
    compute_known, converged_known = (sum(each.lr is not None for each in cells) for cells in (here, there))
    logs = [np.log(each.tokens) for each in here if each.tokens]
    tokens = float(np.exp(np.mean(logs))) if logs else None
    if law is not None and B in law.ratios:
        value, low, high = (None if log is None else _exp(log) for log in law.interval(*law.ratios[B]))
        return BatchRatio(B, value, low, high, compute_known, converged_known, tokens)
    low, high = _bounds({each.n_latents: each for each in here}, {each.n_latents: each for each in there})
    return BatchRatio(B, None, low, high, compute_known, converged_known, tokens)


def _exp(value: float) -> float:
    return float(np.exp(value))


def _bounds(here: Mapping[float, CellLr], there: Mapping[float, CellLr]) -> tuple[float | None, float | None]:
    """The geometric means over n of the bounds on ρ: lr*(L(C)) from below by lr*(L(N)) from above, and the other."""
    pairs = [(here[n], there[n]) for n in sorted(here.keys() & there.keys())]
    lows = [(one.lr or one.low, other.lr or other.high) for one, other in pairs]
    highs = [(one.lr or one.high, other.lr or other.low) for one, other in pairs]
    return _mean_ratio(lows), _mean_ratio(highs)


def _mean_ratio(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """The geometric mean of the ratios; None unless every pair has both numbers."""
    logs = [np.log(one / other) for one, other in pairs if one and other]
    return float(np.exp(np.mean(logs))) if logs and len(logs) == len(pairs) else None


def _with_intervals(cells: Sequence[CellLr], reading: Reading) -> tuple[CellLr, ...]:
    """The lr* with the 95 % interval of one of them: the scatter about the law."""
    if reading.scatter is None:
        return tuple(cells)
    factor = float(np.exp(_t(reading.dof) * reading.scatter))
    return tuple(
        replace(each, low=each.lr / factor, high=each.lr * factor) if each.lr else each for each in cells
    )

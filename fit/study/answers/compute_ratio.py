"""By how much one variant is cheaper than another: the compute with which it reaches the other's loss."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fit.compute.fit import NEEDED, CurveGroup
from fit.compute.frontier import FEWEST, Frontier, drawn, on_frontiers, stacked
from fit.law.caution import Caution, Kind
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.intervals.bootstrap import Bootstrap
from fit.law.law import Array
from fit.law.laws import L_C
from fit.law.result import FitResult

# The losses at which the two laws are read, evenly spaced in ln L over the range that both frontiers cover.
LOSSES = 48
# The range is described in this many parts, each by the mean of ln(C_B / C_A) over its losses.
PARTS = 3
TAILS = (0.025, 0.975)
# Near its floor a law needs compute without end. A draw counts as needing at most this factor beyond its frontier: of
# 100 draws some 2 have their floor above the lowest shared loss, and would make the interval infinite.
BEYOND = 4.0
# Runs that differ in these saw other data, and their losses may not be comparable.
DATA = ("data_fingerprint", "data", "d_model")


@dataclass(frozen=True)
class RatioAt:
    """C_B / C_A around one loss, with its 95 % interval; None without draws."""

    loss: float
    ratio: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComputeRatio:
    """C_B(L) / C_A(L), the compute with which B reaches a loss over the compute with which A does.

    Attributes
    ----------
    group : the column values that the rows of both sides share, as {"k": 32}.
    losses : the lowest and the highest loss that both frontiers cover.
    ratio, low, high : the geometric mean over these losses, evenly in ln L, and its 95 % interval.
    parts : the ratio in thirds of the range, the highest losses (the least compute) first.
    slope : d ln(ratio) / d ln L with its interval: positive where B gains as the loss falls.
    direct : the ratio read off the two frontiers without a law, a check of the laws.
    draws : pairs of resampled frontiers behind the intervals; 0 if there are none.
    paired : whether both sides have the same n, so that a draw leaves the same n out of both.
    cautions : what speaks against the number.
    """

    group: Mapping[str, Any]
    losses: tuple[float, float]
    ratio: float
    low: float | None
    high: float | None
    parts: tuple[RatioAt, ...]
    slope: tuple[float, float | None, float | None]
    direct: float
    draws: int
    paired: bool
    cautions: tuple[Caution, ...] = ()

    @property
    def constant(self) -> bool | None:
        """Whether the slope's interval holds 0; None without an interval."""
        _, low, high = self.slope
        return None if low is None or high is None else low <= 0 <= high


def compute_ratios(a: Sequence[CurveGroup], b: Sequence[CurveGroup]) -> list[ComputeRatio]:
    """Compare two studies group by group: those of equal k, or the only one of each where a side has no k.

    Raises
    ------
    FitError
        If a side has several groups of the same k, or no group of one side matches one of the other.
    """
    one, other = _by_k(a, "A"), _by_k(b, "B")
    shared = [k for k in one if k in other]
    if not shared and len(one) == len(other) == 1 and None in (*one, *other):
        return [compute_ratio(*one.values(), *other.values())]
    if not shared:
        named = [", ".join(f"k={k}" for k in side) for side in (one, other)]
        raise FitError(f"A has {named[0]} and B {named[1]}: there is no k that both were trained at.")
    return [compute_ratio(one[k], other[k]) for k in shared]


def _by_k(groups: Sequence[CurveGroup], side: str) -> dict[Any, CurveGroup]:
    chosen: dict[Any, CurveGroup] = {}
    for group in groups:
        k = group.group.get("k")
        if k in chosen:
            kinds = " and ".join(
                ", ".join(f"{key}={value}" for key, value in each.group.items())
                for each in (chosen[k], group)
            )
            raise FitError(f"{side} has several groups of curves, {kinds}: choose one with --where.")
        chosen[k] = group
    return chosen


def compute_ratio(a: CurveGroup, b: CurveGroup) -> ComputeRatio:
    """C_B(L) / C_A(L) of two laws L(C) = E + A·C^−α, over the losses that the frontiers of both cover.

    C(L) = (A / (L − E))^(1/α). The draws, the seed and the objective are those of A's options. Each draw resamples the
    n of both sides together: what a grid of n does to a frontier it does to both, so that the ratio does not depend on
    it. In 40 pairs of sweeps of 9 sizes each, the 95 % interval held the true ratio 39 and 38 times for runs that
    scatter by 0.5 and 1.5 %, and was 0.25 and 0.69 wide in ln(ratio); with other n on either side it held it always,
    and was 2.5 wide. `constant` was False for 2 and 5 of the pairs whose ratio is constant.

    Raises
    ------
    FitError
        If a side has no frontier, or the frontiers share no loss.
    """
    fits = [_fit(group) for group in (a, b)]
    low, high = _shared_losses(*fits)
    ln_loss = np.linspace(np.log(high), np.log(low), LOSSES)
    ln_ratio = np.subtract(*(_ln_compute(_values(fit), ln_loss)[0] for fit in reversed(fits)))
    fronts = a.frontier, b.frontier
    draws = _draws(fits, fronts, ln_loss, a.options.frontiers, a.options.seed)
    parts = []
    for index in np.array_split(np.arange(LOSSES), PARTS):
        ratio, ends = np.exp(ln_ratio[index].mean()), _ends(draws[:, index].mean(axis=1))
        parts.append(RatioAt(float(np.exp(ln_loss[index].mean())), float(ratio), *_exp(ends)))
    result = ComputeRatio(
        {key: value for key, value in a.group.items() if b.group.get(key) == value},
        (low, high),
        float(np.exp(ln_ratio.mean())),
        *_exp(_ends(draws.mean(axis=1))),
        tuple(parts),
        (float(_slope(ln_ratio[None], ln_loss)[0]), *_ends(_slope(draws, ln_loss))),
        float(np.exp(np.subtract(*(_read_off(fit, ln_loss) for fit in reversed(fits))).mean())),
        len(draws),
        _same_sizes(*fronts),
    )
    return replace(result, cautions=tuple(_cautions(result, (a, b), fits)))


def _fit(group: CurveGroup) -> FitResult:
    """L(C) of a side. Its own intervals are not used, so they are the cheapest; those of the ratio are made below."""
    points, objective = group.frontier.points, group.options.objective
    how: dict[str, Any] = {
        "method": "delta",
        "hold_out": False,
        "compare": False,
        "cluster": points["run_id"],
    }
    return fit_law(L_C, {"flops": points["flops"]}, points["nmse"], objective=objective, **how)


def _shared_losses(a: FitResult, b: FitResult) -> tuple[float, float]:
    """The losses that the frontiers of both cover, between the points at the ends of each and within its law."""
    ends = []
    for fit in (a, b):
        losses = [point.response for point in fit.points]
        predicted = [point.predicted for point in fit.points]
        ends.append((max(min(losses), min(predicted)), min(max(losses), max(predicted))))
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    if not low < high:
        (a_low, a_high), (b_low, b_high) = ends
        raise FitError(
            f"The frontiers share no loss: A's falls from {a_high:.4g} to {a_low:.4g} and B's from {b_high:.4g} to "
            f"{b_low:.4g}. Train one of them with more or less compute."
        )
    return low, high


def _values(fit: FitResult) -> dict[str, Any]:
    return {name: param.value for name, param in fit.params.items()}


def _ln_compute(params: Mapping[str, Any], ln_loss: Array) -> Array:
    """ln C at which the law has these losses, (R, losses); infinite where its floor is above the loss."""
    E, A, alpha = (
        np.atleast_1d(np.asarray(params[name], dtype=float))[:, None] for name in ("E", "A", "alpha")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.exp(ln_loss)[None] - np.nan_to_num(E, nan=0.0)
        return np.where(above > 0, (np.log(A) - np.log(above)) / alpha, np.inf)


def _draws(
    fits: Sequence[FitResult], fronts: Sequence[Frontier], ln_loss: Array, draws: int, seed: int
) -> Array:
    """ln(C_B / C_A) at each loss for pairs of resampled frontiers, (R, losses); R = 0 for too few runs to resample."""
    none = np.empty((0, len(ln_loss)))
    if any(front.selection.runs_on_frontier < FEWEST for front in fronts):
        return none
    weightings = zip(*_weightings(fronts, draws, seed), strict=True)
    pairs = zip(
        *(on_frontiers(front, each, NEEDED) for front, each in zip(fronts, weightings, strict=True)),
        strict=True,
    )
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    if 2 * len(known) < draws:
        return none
    sides = []
    for fit, front, frontiers in zip(fits, fronts, zip(*known, strict=True), strict=True):
        assert fit.estimate is not None
        ln_c = _ln_compute(Bootstrap(fit.estimate, stacked(front, frontiers)).values(), ln_loss)
        sides.append(np.clip(ln_c, front.window[0] - np.log(BEYOND), front.window[1] + np.log(BEYOND)))
    return np.asarray(sides[1] - sides[0])


def _weightings(fronts: Sequence[Frontier], draws: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """For each draw the weights of A's runs and of B's: runs of one n share a draw, on both sides."""
    a, b = (_cells(front) for front in fronts)
    if a is None or b is None:  # not every n is known: the runs of the two sides are drawn apart
        counts = [len(front.candidates.runs) for front in fronts]
        yield from zip(*(drawn(count, draws, seed + i) for i, count in enumerate(counts)), strict=True)
        return
    sizes, index = np.unique(np.concatenate([a, b]), return_inverse=True)
    one, other = np.split(index, [len(a)])
    for weights in drawn(len(sizes), draws, seed):
        yield weights[one], weights[other]


def _cells(front: Frontier) -> Array | None:
    runs = front.candidates.runs
    if "n_latents" not in runs.columns or runs["n_latents"].isna().any():
        return None
    return runs["n_latents"].to_numpy(dtype=float)


def _same_sizes(a: Frontier, b: Frontier) -> bool:
    one, other = _cells(a), _cells(b)
    return one is not None and other is not None and set(one) == set(other)


def _slope(ln_ratio: Array, ln_loss: Array) -> Array:
    """Least-squares slope of each row over ln L, (R,)."""
    x = ln_loss - ln_loss.mean()
    return np.asarray((ln_ratio * x).sum(axis=1) / (x**2).sum())


def _ends(values: Array) -> tuple[float | None, float | None]:
    """The 95 % percentiles; None without draws."""
    if not len(values):
        return None, None
    low, high = np.quantile(values, TAILS, method="closest_observation")
    return float(low), float(high)


def _exp(ends: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = (None if end is None else float(np.exp(end)) for end in ends)
    return low, high


def _read_off(fit: FitResult, ln_loss: Array) -> Array:
    """ln C at which the frontier itself has these losses, linear in log-log between its points."""
    points = sorted(fit.points, key=lambda point: point.inputs["flops"])
    falling = np.minimum.accumulate(np.log([point.response for point in points]))
    loss, first = np.unique(falling, return_index=True)
    return np.interp(ln_loss, loss, np.log([point.inputs["flops"] for point in points])[first])


def _cautions(
    result: ComputeRatio, groups: Sequence[CurveGroup], fits: Sequence[FitResult]
) -> Iterator[Caution]:
    for name, fit in zip("AB", fits, strict=True):
        if fit.lack_of_fit is not None and fit.lack_of_fit.refuted:
            text = (
                f"The rows of {name} refute its L_C; read off the frontiers the ratio is {result.direct:.3g}."
            )
            yield Caution(Kind.REFUTED, text, (name,))
    if not result.draws:
        text = f"No interval: the frontier of a side is held by too few runs to resample them ({FEWEST} are needed)."
        yield Caution(Kind.INTERVALS, text)
    elif not result.paired:
        text = "The two sides have other n, which widens the interval: train both at the same n."
        yield Caution(Kind.INTERVALS, text, ("n_latents",))
    if result.low is not None and result.high is not None and not result.low <= result.direct <= result.high:
        text = (
            f"Read off the frontiers without a law, the ratio is {result.direct:.3g}, outside its interval."
        )
        yield Caution(Kind.DISAGREEMENT, text)
    one, other = (group.group for group in groups)
    differ = [key for key in DATA if key in one and key in other and one[key] != other[key]]
    if differ:
        text = f"A and B were trained on different data ({', '.join(differ)}): their losses may not be comparable."
        yield Caution(Kind.ROWS, text, tuple(differ))

"""Which of the paper's claims about L(C) and L(N) hold in a study, which it refutes, and which it cannot decide.

Each claim is judged by a 95 % interval and a threshold that is fixed beforehand, never by a p-value: a study that is
too small to see an effect does not show that there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from fit.converged.lr import End
from fit.law.json_values import record
from fit.regimes.batch import SMALL, Batch
from fit.regimes.lr_ratio import PAPER
from fit.regimes.lr_readings import BatchRatio, CellLr, LrReadings

# ρ is "about 4" from 4/√2 to 4·√2: on a grid of lr in factors of 2, as the paper's, it is then seen as 4.
ABOUT = (PAPER / np.sqrt(2), PAPER * np.sqrt(2))
# An interval that reaches neither of these tells 4 from the next steps of that grid, and from 1.
NEIGHBOURS = (PAPER / 2, PAPER * 2)


class Claim(StrEnum):
    """A claim of Gao et al. 2024, A.3 and A.4."""

    LR_RATIO = "lr ratio"  # the lr that is best at convergence is about 4 times below the compute-optimal one
    BATCH_COMPUTE = "batch and L(C)"  # the batch size moves L(C) substantially
    BATCH_CONVERGED = "batch and L(N)"  # the batch size hardly moves L(N), with lr retuned


class Outcome(StrEnum):
    """What a study says about a claim."""

    HOLDS = "holds"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


class Need(StrEnum):
    """What would decide a claim that a study leaves open."""

    CURVES = "curves"
    LR_SWEEP = "lr sweep"
    CONVERGED_RUNS = "converged runs"
    SMALLER_LR = "smaller lr to convergence"
    LARGER_LR = "larger lr"
    BATCH_SIZES = "batch sizes"
    RETUNED_LR = "lr retuned"
    MORE_CELLS = "more cells"


@dataclass(frozen=True)
class Part:
    """A claim at one batch size, or over all of them if batch_tokens is None.

    value, low, high: ρ, or the change of L from the smallest to the largest batch, with the 95 % interval. needs: what
    would decide it, empty if it is decided. times: how many times as many cells a decisive interval needs, if the value
    stays.
    """

    batch_tokens: float | None
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    needs: tuple[Need, ...] = ()
    times: float | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Part":
        needs = tuple(Need(need) for need in content["needs"])
        return record(cls, content, outcome=Outcome(content["outcome"]), needs=needs)


@dataclass(frozen=True)
class ClaimVerdict:
    """The outcome of one claim. parts: at each batch size, or one over all of them.

    A claim that is made of every batch size holds if it holds at each, and is refuted by one.
    """

    claim: Claim
    outcome: Outcome
    parts: tuple[Part, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ClaimVerdict":
        parts = tuple(Part.from_dict(part) for part in content["parts"])
        return record(
            cls, content, claim=Claim(content["claim"]), outcome=Outcome(content["outcome"]), parts=parts
        )

    def having(self, outcome: Outcome) -> list[Part]:
        """The parts of one outcome."""
        return [part for part in self.parts if part.outcome is outcome]


@dataclass(frozen=True)
class Verdict:
    """What a group of runs says about each claim."""

    claims: tuple[ClaimVerdict, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Verdict":
        return cls(tuple(ClaimVerdict.from_dict(each) for each in content["claims"]))

    def of(self, claim: Claim) -> ClaimVerdict:
        return next(each for each in self.claims if each.claim is claim)


def verdict(readings: LrReadings | None, tests: Sequence[Batch], with_curves: bool = True) -> Verdict:
    """Judge the three claims. readings: lr* in both regimes; tests: of L(N) and of L(C) over the batch size."""
    by_regime = {test.regime: test for test in tests}
    parts = _lr_parts(readings, with_curves)
    return Verdict(
        (
            ClaimVerdict(Claim.LR_RATIO, _overall(parts), parts),
            _of_batch(Claim.BATCH_COMPUTE, by_regime["compute"], with_curves),
            _of_batch(Claim.BATCH_CONVERGED, by_regime["converged"], True),
        )
    )


def _overall(parts: Sequence[Part]) -> Outcome:
    outcomes = {part.outcome for part in parts}
    if Outcome.REFUTED in outcomes:
        return Outcome.REFUTED
    return Outcome.HOLDS if outcomes == {Outcome.HOLDS} else Outcome.UNDECIDED


def _lr_parts(readings: LrReadings | None, with_curves: bool) -> tuple[Part, ...]:
    if readings is None or not readings.at_optimum.ratios:
        need = Need.LR_SWEEP if with_curves else Need.CURVES
        return (Part(None, Outcome.UNDECIDED, None, None, None, (need,)),)
    return tuple(_lr_part(ratio, readings) for ratio in readings.at_optimum.ratios)


def _lr_part(ratio: BatchRatio, readings: LrReadings) -> Part:
    """The ratio against "about 4": its value is there and its interval within a step; or no part of it is there.

    An lr* of which only a bound is known takes no part in the ratio. So nothing holds while there is one, and nothing
    is refuted while there is one towards 4. A bound alone, which has no interval, refutes from a step further on.
    """
    low, high = ratio.low, ratio.high
    larger, smaller = _bounds_say(ratio, readings)
    beyond = NEIGHBOURS if ratio.value is None else ABOUT
    above = low is not None and low > beyond[1] and not (smaller and ratio.value is not None)
    below = high is not None and high < beyond[0] and not (larger and ratio.value is not None)
    outcome = Outcome.REFUTED if above or below else Outcome.UNDECIDED
    if ratio.value is not None and low is not None and high is not None:
        inside = ABOUT[0] <= ratio.value <= ABOUT[1] and NEIGHBOURS[0] < low and high < NEIGHBOURS[1]
        outcome = Outcome.HOLDS if inside and not (larger or smaller) else outcome
    if outcome is not Outcome.UNDECIDED:
        return Part(ratio.batch_tokens, outcome, ratio.value, low, high)
    needs = _lr_needs(ratio, readings)
    times = _times_of_ratio(ratio) if needs == (Need.MORE_CELLS,) else None
    return Part(ratio.batch_tokens, outcome, ratio.value, low, high, needs, times)


def _bounds_say(ratio: BatchRatio, readings: LrReadings) -> tuple[bool, bool]:
    """Whether the lr* that are known as bounds make the ratio of this batch size larger, and smaller."""
    compute = [each for each in readings.at_optimum.optima if each.batch_tokens == ratio.batch_tokens]
    converged = [each for each in readings.converged if each.batch_tokens == ratio.batch_tokens]
    larger = _at_end(compute, End.LARGEST) or _at_end(converged, End.SMALLEST)
    smaller = _at_end(compute, End.SMALLEST) or _at_end(converged, End.LARGEST)
    return larger, smaller


def _lr_needs(ratio: BatchRatio, readings: LrReadings) -> tuple[Need, ...]:
    B = ratio.batch_tokens
    compute = [each for each in readings.at_optimum.optima if each.batch_tokens == B]
    converged = [each for each in readings.converged if each.batch_tokens == B]
    needs = []
    if not converged:
        needs.append(Need.CONVERGED_RUNS)
    if not compute:
        needs.append(Need.LR_SWEEP)
    if _at_end(compute, End.SMALLEST) or _at_end(converged, End.SMALLEST):
        needs.append(Need.SMALLER_LR)
    if _at_end(compute, End.LARGEST) or _at_end(converged, End.LARGEST):
        needs.append(Need.LARGER_LR)
    return tuple(needs) or (Need.MORE_CELLS,)


def _at_end(cells: Sequence[CellLr], end: End) -> bool:
    return any(each.end is end for each in cells)


def _times_of_ratio(ratio: BatchRatio) -> float | None:
    """Intervals shrink as 1/√cells: how many times as many until this value is told from the nearest threshold."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return None
    half = np.log(ratio.high / ratio.low) / 2
    inside = ABOUT[0] <= ratio.value <= ABOUT[1]
    room = min(abs(np.log(ratio.value / edge)) for edge in (NEIGHBOURS if inside else ABOUT))
    return _times(half, room)


def _times(half: float, room: float) -> float | None:
    return float(max((half / room) ** 2, 1.0)) if room > 0 else None


def _of_batch(claim: Claim, test: Batch, with_curves: bool) -> ClaimVerdict:
    """A batch effect against `SMALL`: the interval lies wholly beyond it, or wholly within ±`SMALL`, or it is open.

    Where losses at the smallest batch size are upper bounds, L may rise more with B than the test says, so nothing is
    decided but that it rises.
    """
    of_lr = tuple(Need.SMALLER_LR if end is End.SMALLEST else Need.LARGER_LR for end in test.ends)
    if not of_lr and (test.left_out or test.bounds):  # of two lr, nobody knows beyond which lr* lies
        of_lr = (Need.LR_SWEEP,)
    if test.spread is None or test.spread_low is None or test.spread_high is None:
        need = of_lr or (Need.BATCH_SIZES if with_curves else Need.CURVES,)
        part = Part(None, Outcome.UNDECIDED, None, None, None, need)
        return ClaimVerdict(claim, part.outcome, (part,))
    low, high = test.spread_low, test.spread_high
    moves = low > SMALL or high < -SMALL and not test.bounds
    hardly = low > -SMALL and high < SMALL and not test.bounds
    yes, no = (moves, hardly) if claim is Claim.BATCH_COMPUTE else (hardly, moves)
    outcome = Outcome.HOLDS if yes else Outcome.REFUTED if no else Outcome.UNDECIDED
    across = low <= SMALL <= high or low <= -SMALL <= high
    needs: tuple[Need, ...] = ()
    if outcome is Outcome.UNDECIDED:
        needs = (*of_lr, *((Need.MORE_CELLS,) if across else ()))
    if not test.tuned:  # a batch size at another's lr shows what the lr does, not what the batch size does
        outcome, needs = Outcome.UNDECIDED, (Need.RETUNED_LR,)
    times = _times((high - low) / 2, abs(abs(test.spread) - SMALL)) if needs == (Need.MORE_CELLS,) else None
    part = Part(None, outcome, test.spread, low, high, needs, times)
    return ClaimVerdict(claim, outcome, (part,))

"""How the rows of a fit were chosen: one class for each way, with counts of what was used and what was left out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fit.law.json_values import record
from fit.law.law import RowSource


@dataclass(frozen=True)
class FrontierSelection:
    """Points of the frontier L(C).

    rule: what was cut from the envelope and why. caution: what comparing n at equal compute means. below_the_grid,
    beyond_the_grid: points cut at its ends. per_octave: points of the common grid of C. source: the table of
    the curves. draws, seed: of the resampled frontiers behind the intervals.
    """

    kind: ClassVar[RowSource] = RowSource.FRONTIER
    rule: str
    caution: str
    runs: int
    runs_on_frontier: int
    used: int
    below_the_grid: int
    beyond_the_grid: int
    min_flops: float | None
    per_octave: int
    method: str = "envelope"
    source: str | None = None
    draws: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class OptimumSelection:
    """Points of N*(C), D*(C) or lr*(C). method: crossovers, isoflop or frontier points. dropped: "C=…: why" each.

    Of an isoFLOP table also rule: which rows are a budget; budgets, runs: how many there are; diverged: "C=…,
    n_latents=…: why" for the runs that are in no parabola.
    """

    kind: ClassVar[RowSource] = RowSource.OPTIMUM
    method: str
    used: int
    dropped: tuple[str, ...]
    caution: str
    draws: int
    seed: int
    rule: str | None = None
    budgets: int | None = None
    runs: int | None = None
    diverged: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConvergedSelection:
    """Converged runs, the best of each cell; a count is None where the table has no column for it.

    runs: of the group. epsilon: tolerance of the criterion, None where it is not one number. not_done, unconverged:
    runs left out or, as unconverged_runs says, kept or extrapolated. chosen_from: runs that the best lr was chosen
    from; passed_over: those it was not; seeds: the most that a loss is a mean of. tokens_rule: by which rule tokens to
    convergence are known.
    """

    kind: ClassVar[RowSource] = RowSource.CONVERGED
    runs: int
    rule: str
    used: int = 0
    epsilon: float | None = None
    not_done: int | None = None
    unconverged: int | None = None
    unconverged_runs: str | None = None
    chosen_from: int | None = None
    passed_over: int | None = None
    seeds: int | None = None
    tokens_rule: str | None = None


@dataclass(frozen=True)
class LrSelection:
    """lr* of each n at convergence. dropped: a reason for each n that has none."""

    kind: ClassVar[RowSource] = RowSource.LR
    runs: int
    rule: str
    used: int
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class BudgetSelection:
    """The lowest loss of each n at each budget of tokens."""

    kind: ClassVar[RowSource] = RowSource.BUDGETS
    runs: int
    rule: str
    used: int


Selection = FrontierSelection | OptimumSelection | ConvergedSelection | LrSelection | BudgetSelection
KINDS: dict[RowSource, type[Selection]] = {
    RowSource.FRONTIER: FrontierSelection,
    RowSource.OPTIMUM: OptimumSelection,
    RowSource.CONVERGED: ConvergedSelection,
    RowSource.TOKENS: ConvergedSelection,
    RowSource.LR: LrSelection,
    RowSource.BUDGETS: BudgetSelection,
}


def selection_to_dict(selection: Selection | None) -> dict[str, Any]:
    """For fits.json; empty for a fit of arrays, whose rows nobody chose."""
    return {} if selection is None else {"kind": selection.kind.value, **asdict(selection)}


def selection_from_dict(content: Mapping[str, Any], rows: RowSource) -> Selection | None:
    """The selection of a fit in fits.json. rows: of its law, for older files, which do not name the kind."""
    if not content:
        return None
    return record(KINDS[RowSource(content.get("kind", rows))], content)

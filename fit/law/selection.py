"""How the rows of a fit were chosen: one class for each way, with counts of what was used and what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from fit.law.json_values import record
from fit.law.law import RowSource


class RunsBy(StrEnum):
    """What was taken as one training run, whose rows share its error.

    ROWS: each row by itself. COLUMN: the rows of one value of a column that names runs. CURVES: rows that agree in all
    settings while the tokens rise. ASKED: the rows of one value of the column that the user named.
    """

    ROWS = "each row"
    COLUMN = "a column that names runs"
    CURVES = "equal settings, rising tokens"
    ASKED = "the column asked for"


@dataclass(frozen=True)
class LeftOut:
    """How many rows a rule left out of a fit."""

    rows: int
    rule: str


@dataclass(frozen=True)
class RowsUsed:
    """The rows of a table that a fit was made from. `used` and the counts of `left_out` sum to `rows`.

    table: what its rows are. runs: how many training runs the rows used are of. runs_by, run_columns, why: what was
    taken as one run, by which columns, and what spoke for it. split_by: the columns whose values are fitted apart.
    not_split_by: columns that could split the rows, and follow the size instead.
    """

    table: str
    rows: int
    used: int
    left_out: tuple[LeftOut, ...] = ()
    runs: int | None = None
    runs_by: RunsBy = RunsBy.ROWS
    run_columns: tuple[str, ...] = ()
    why: str = ""
    split_by: tuple[str, ...] = ()
    not_split_by: tuple[str, ...] = ()

    def of_larger(self, table: str, rows: int, left_out: Sequence[LeftOut]) -> "RowsUsed":
        """The same rows as a part of a larger table, of which other rows were left out before."""
        every = tuple(rule for rule in (*left_out, *self.left_out) if rule.rows)
        return replace(self, table=table, rows=rows, left_out=every)


def rows_used_from_dict(content: Mapping[str, Any] | None) -> RowsUsed | None:
    """The rows of a fit in fits.json; None in files of earlier versions and for fits of arrays."""
    if not content:
        return None
    left_out = tuple(record(LeftOut, each) for each in content.get("left_out") or ())
    return record(RowsUsed, content, left_out=left_out, runs_by=RunsBy(content.get("runs_by", RunsBy.ROWS)))


@dataclass(frozen=True)
class FrontierSelection:
    """Points of the frontier L(C).

    rule: what was cut from the envelope and why. caution: what comparing n at equal compute means. below_the_grid,
    beyond_the_grid: points cut at its ends. per_octave: points of the common grid of C. source: the table of
    the curves. draws, seed: of the resampled frontiers behind the intervals. differ: the columns in which the runs on
    the frontier differ.
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
    differ: tuple[str, ...] = ()


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
    convergence are known. extrapolated: how many of the rows used are at an L∞ beyond their last loss.
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
    extrapolated: int | None = None


@dataclass(frozen=True)
class LrSelection:
    """lr* of each n at convergence. dropped: a reason for each n that has none."""

    kind: ClassVar[RowSource] = RowSource.LR
    runs: int
    rule: str
    used: int
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class BudgetLrSelection:
    """lr* of each n at each budget. budgets: how many there are, of which `used` have an lr*."""

    kind: ClassVar[RowSource] = RowSource.LR_BUDGETS
    runs: int
    rule: str
    used: int
    budgets: int


@dataclass(frozen=True)
class BudgetSelection:
    """The lowest loss of each n at each budget of tokens."""

    kind: ClassVar[RowSource] = RowSource.BUDGETS
    runs: int
    rule: str
    used: int


Selection = (
    FrontierSelection
    | OptimumSelection
    | ConvergedSelection
    | LrSelection
    | BudgetLrSelection
    | BudgetSelection
)
KINDS: dict[RowSource, type[Selection]] = {
    RowSource.FRONTIER: FrontierSelection,
    RowSource.OPTIMUM: OptimumSelection,
    RowSource.CONVERGED: ConvergedSelection,
    RowSource.TOKENS: ConvergedSelection,
    RowSource.LR: LrSelection,
    RowSource.LR_BUDGETS: BudgetLrSelection,
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

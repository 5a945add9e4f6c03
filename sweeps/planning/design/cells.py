"""The untrained cells of a design: which runs are one cell, which cells can be in one law, and which rows go with them.

A law takes one row of the runs that differ in nothing but lr, the best of them, so these are one cell, with what
`grid.derive` computes from lr. A law without tokens takes one row of all budgets too. Runs with other inputs of the
law, another seed or another order of the tokens are other cells. Those that differ in a column that splits a table, as
the batch size does, belong to laws of their own. In no other setting may cells of equal inputs differ, because a law
would take its values for noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fit.data.columns import AXIS, RUNS
from sae_core.config import SAEConfig, TrainConfig
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import ENDED
from sweeps.planning.plan import Plan
from sweeps.planning.runs import PlannedRun

if TYPE_CHECKING:
    import pandas as pd

    from fit.law.law import Law
    from fit.law.result import FitResult
    from fit.study.answers.design import Cell

Runs = list[PlannedRun]

# The rows of a run at its budgets are taken at its end and at these many halvings of it.
OCTAVES = 5
# A law takes the best lr, and the last two settings only say how often a run is evaluated.
_NOT_OF_CELL = ("lr", "evals_per_doubling", "first_eval_tokens")
# The inputs of laws, and the seeds, in which the cells of one law may differ.
_INPUTS = ("n_latents", "k", "max_tokens")
_REPEATS = ("seed", "shuffle_seed")
# The settings that make a cell, each with its config key.
_KEYS = {
    column.name: column.key for column in RUNS if column.role == AXIS and column.name not in _NOT_OF_CELL
}


def untrained(plan: Plan, law: "Law | None" = None) -> list[Runs]:
    """The runs of each cell of which no run has ended, as the law takes them; without a law, as one with tokens does.

    Raises SweepError if cells of equal inputs differ in a setting that a law does not tell apart.
    """
    from fit.data.groups import GROUPS

    # Derived settings of the training that differ where all else is equal follow lr, and so do those zipped with it.
    zipped = {key for group in plan.grid.zips if "train.lr" in group for key in group}
    follow = {
        name
        for name, key in _KEYS.items()
        if key.startswith("train.") and (key in plan.grid.derived or key in zipped)
    } - {*_REPEATS, *GROUPS}
    if law is not None and "tokens" not in law.inputs:
        follow.add("max_tokens")  # one row is of all budgets; `_check_follows_lr` tests that these follow lr
    known = [name for name in (*_INPUTS, *_REPEATS, *GROUPS) if name not in follow]
    apart = [name for name in columns(plan.runs[0]) if name in _KEYS and name not in follow]
    cells: dict[tuple[Any, ...], Runs] = {}
    trained = set()
    for run in plan.runs:
        here = columns(run)
        key = tuple(here[name] for name in apart)
        cells.setdefault(key, []).append(run)
        if plan.states.get(run.run_id) in ENDED:
            trained.add(key)
    left = [runs for key, runs in cells.items() if key not in trained]
    _check_alike(left, known, apart)
    for runs in left:
        _check_follows_lr(runs)
    return left


def _check_alike(cells: Sequence[Runs], known: Sequence[str], apart: Sequence[str]) -> None:
    """Raise SweepError if two cells differ in nothing that a law tells apart. apart: the settings that make a cell."""
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for runs in cells:
        here = columns(runs[0])
        other = first.setdefault(tuple(here.get(name) for name in known), here)
        for name in apart:
            if here[name] != other[name]:
                raise _alike(here, other, name)


def _check_follows_lr(runs: Runs) -> None:
    """Raise SweepError if two runs of a cell with one lr differ in a setting, as in max_tokens."""
    first: dict[float, dict[str, Any]] = {}
    for run in runs:
        here = columns(run)
        other = first.setdefault(run.config.train.lr, here)
        for name in here:
            if name in _KEYS and here[name] != other[name]:
                raise _alike(here, other, name, f" at lr={run.config.train.lr:g}")


def _alike(here: dict[str, Any], other: dict[str, Any], name: str, lr: str = "") -> SweepError:
    """The refusal of a setting of which two values would be one row of a law."""
    key = _KEYS[name]
    at = ", ".join(f"{one}={here[one]}" for one in _INPUTS if here[one] is not None and one != name)
    return SweepError(
        f"At {at} the grid has {key} = {other[name]} and {here[name]}{lr}, and a law takes both as one cell: give "
        f"one of them, as {key}={other[name]}."
    )


def columns(run: PlannedRun) -> dict[str, Any]:
    """What a run's row in runs.parquet has of its settings, as far as groups of rows and inputs of laws need them."""
    config = run.config
    own = {"seed": config.seed, "data": run.data["name"], **asdict(config.data)}
    own["data_fingerprint"] = own.pop("fingerprint")
    own["tokens"] = config.train.budget
    return asdict(config.sae) | asdict(config.train) | own


def has_inputs(run: PlannedRun, law: "Law") -> bool:
    """Whether a run has a value of each input of the law."""
    known = columns(run)
    return all(known.get(name) is not None for name in law.inputs)


def of_group(run: PlannedRun, fit: "FitResult", law: "Law") -> bool:
    """Whether the row of a run would be among the rows of a fit."""
    known = columns(run)
    group = {name: value for name, value in fit.group.items() if value is not None and name in known}
    same = (str(known[name]) == str(value) for name, value in group.items())
    return has_inputs(run, law) and all(same)


def groups_of(cells: Sequence[Runs], law: "Law") -> Iterator[tuple[dict[str, Any], list[int]]]:
    """The cells that a first fit of the law could be of, by their numbers, the largest group first.

    The columns that split them are those that would split their rows.
    """
    import pandas as pd

    from fit.data.groups import GROUPS, groups

    table = pd.DataFrame([columns(runs[0]) for runs in cells])
    parts = [(group, list(part.index)) for group, part in groups(table, ["k"], GROUPS, law.inputs)]
    yield from sorted(parts, key=lambda part: (-len(part[1]), part[1]))


def cell(law: "Law", runs: Sequence[PlannedRun], price: float, weight: float) -> "Cell":
    """A cell with the inputs of the rows that it would add to a law."""
    import numpy as np

    from fit.study.answers.design import Cell

    known = columns(runs[0])
    count = OCTAVES + 1 if "tokens" in law.inputs else 1
    at = {name: np.full(count, float(known[name])) for name in law.inputs}
    if "tokens" in at:
        # All lr reach the smallest budget; beyond it the best lr may have stopped.
        at["tokens"] = np.full(count, float(min(run.config.train.budget for run in runs)))
        at["tokens"] = at["tokens"] / 2.0 ** np.arange(OCTAVES, -1, -1)
    return Cell(at, price, weight)


def ended(plan: Plan) -> "tuple[tuple[pd.DataFrame, pd.DataFrame] | None, list[str]]":
    """The tables of the runs that have ended, of the study or of the phase, None if there are none; and notes.

    Runs of earlier launches that differ from all of the grid in a setting that a law does not tell apart are left out,
    with a note.
    """
    from sweeps.ledger.tables import collect

    ids = None if plan.phase is None else [run.run_id for run in plan.runs]
    runs, curves = collect(plan.study, ids)
    runs = runs[runs["state"].isin(ENDED)]
    runs, notes = _like(runs, plan)
    tables = (runs, curves[curves["run_id"].isin(runs["run_id"])]) if len(runs) else None
    return tables, notes


def _like(runs: "pd.DataFrame", plan: Plan) -> "tuple[pd.DataFrame, list[str]]":
    """The rows of the plan, and those that agree with it in each setting that all of it shares; notes on the others."""
    import pandas as pd

    from fit.data.groups import GROUPS

    # Of all cells, not of the untrained ones alone: a setting that follows n has one value at the last n that is left.
    wanted = [columns(run) for run in plan.runs]
    planned = runs["run_id"].isin({run.run_id for run in plan.runs})
    free = {*_INPUTS, *_REPEATS, *GROUPS}
    notes = []
    for name, value in wanted[0].items():
        if name in free or name not in _KEYS or any(one[name] != value for one in wanted):
            continue
        column = runs[name]
        # Runs of an earlier version lack the settings that came later, and are as the defaults.
        usual = value in (getattr(TrainConfig, name, None), getattr(SAEConfig, name, None))
        same = (column.isna() if value is None else column.eq(value).fillna(usual)) | planned[runs.index]
        if not same.all():
            others = ", ".join("none" if pd.isna(one) else str(one) for one in column[~same].unique())
            count = int((~same).sum())
            notes.append(
                f"{count} ended run{'s' * (count != 1)} with {_KEYS[name]} = {others} left out: the grid has {value}."
            )
            runs = runs[same.to_numpy(dtype=bool)]
    return runs, notes

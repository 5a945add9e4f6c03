"""The value of a fitted law at a cell of the grid, with its interval and what it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fit.data.near_names import did_you_mean
from fit.law.errors import FitError
from fit.law.laws import named
from fit.law.result import FitResult
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import Taken
from sweeps.rules.rule import NOT_YET

_STANDARD = "standard"


class NoFitError(SweepError):
    """A law that was not fitted to an earlier phase or study; a fit of it would help."""


def law_value(fits: Sequence[FitResult], law: str, at: Mapping[str, float], cell: Mapping[str, Any]) -> Taken:
    """The value of a law at its inputs.

    The value comes from the parameters in the file, bit for bit the same each time; only the interval is computed anew.

    Parameters
    ----------
    fits : the laws that were fitted to the earlier phase.
    law : the name of the law.
    at : its inputs.
    cell : the columns of the cell, among which are those that tell one group of rows from another, as k.

    Raises
    ------
    SweepError
        If the law was not fitted, or not for a group of this cell, or has an undefined parameter.
    """
    fit, note = fit_for(fits, law, cell)
    params = {name: param.value for name, param in fit.params.items()}
    known = {name: value for name, value in params.items() if value is not None}
    if len(known) < len(params):
        absent = ", ".join(name for name in params if name not in known)
        raise SweepError(f"{_label(fit)} has no value for {absent}, so it cannot be evaluated.")
    x = {name: np.array([float(at[name])]) for name in fit.inputs}
    value = float(named(law).loss(known, x)[0])
    low, high, notes = _interval(fit, x)
    return Taken(
        value,
        low,
        high,
        at={**{name: at[name] for name in fit.inputs}, **fit.group},
        law=_label(fit),
        rows=fit.rows,
        runs=fit.rows_used.runs if fit.rows_used else None,
        notes=(*note, *notes, *_beyond(fit, at)),
    )


def fit_for(
    fits: Sequence[FitResult], law: str, cell: Mapping[str, Any]
) -> tuple[FitResult, tuple[str, ...]]:
    """The fit of a law to the group of rows that a cell belongs to, and a note where it is that of another group.

    A law with a single fit is taken for every cell. NoFitError if there is none; SweepError if none of several is the
    cell's, or if the cell's columns that tell them apart are not known yet.
    """
    every = [fit for fit in fits if fit.law == law]
    if not every:
        there = ", ".join(sorted({fit.law for fit in fits})) or "none"
        near = did_you_mean(law, {fit.law for fit in fits})
        raise NoFitError(f"it has no fit of {law}, only of {there}{f'.{near}' if near else ''}")
    check_known(cell, {name for fit in every for name in fit.group})
    if law.startswith("LR_"):
        every = in_units(every, cell)
    for fit in every:
        if not _differing(fit, cell):
            return fit, ()
    if len(every) == 1:
        other = ", ".join(f"{name}={every[0].group[name]}" for name in _differing(every[0], cell))
        return every[0], (f"the only fit of {law} is of {other}",)
    asked = dict.fromkeys(name for fit in every for name in _differing(fit, cell))
    here = ", ".join(f"{name}={cell.get(name)}" for name in asked)
    known = (", " if len(asked) == 1 else "; ").join(_of_group(fit, asked) for fit in every)
    raise SweepError(f"it has no fit of {law} for {here}; it has {known}")


def in_units(fits: Sequence[FitResult], cell: Mapping[str, Any]) -> list[FitResult]:
    """The fits whose lr is in the units of the cell's: under μP it is another quantity."""
    check_known(cell, ["parametrization"])
    here = cell.get("parametrization", _STANDARD)
    usable = [fit for fit in fits if fit.group.get("parametrization", _STANDARD) == here]
    if fits and not usable:
        there = ", ".join(sorted({fit.group.get("parametrization", _STANDARD) for fit in fits}))
        raise SweepError(
            f"its runs have sae.parametrization={there}, in which lr is another quantity than in this phase's {here}: "
            "tune with the same parametrisation"
        )
    return usable


def check_known(cell: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise SweepError for a column that a value depends on and that the grid derives only after it.

    Without it, such a column counts as one that the cell does not have, and the fit of any group as the cell's.
    """
    later = sorted(name for name in names if cell.get(name) is NOT_YET)
    if later:
        raise SweepError(
            f"it depends on {' and '.join(later)}, which grid.derive has only after it: move {' and '.join(later)} to "
            "the front of grid.derive"
        )


def group_of(fits: Sequence[FitResult], cell: Mapping[str, Any], laws: Sequence[str]) -> dict[str, Any]:
    """The columns of a cell that choose among fits of some laws: those that are in a group or, as k, an input."""
    names = {name for fit in fits if fit.law in laws for name in (*fit.group, *fit.inputs)}
    names.discard("n_latents")  # a size is no part of the choice, and a rule may be for the size itself
    check_known(cell, names)
    return {name: cell[name] for name in sorted(names) if name in cell}


def _differing(fit: FitResult, cell: Mapping[str, Any]) -> list[str]:
    """The columns of the group of a fit in which a cell differs; columns that a cell does not have never differ."""
    return [name for name, value in fit.group.items() if name in cell and value not in (None, cell[name])]


def _of_group(fit: FitResult, names: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={fit.group.get(name)}" for name in names)


def _label(fit: FitResult) -> str:
    """`LR_N (k=32)`."""
    values = ", ".join(f"{name}={value}" for name, value in fit.group.items())
    return f"{fit.law} ({values})" if values else fit.law


def _interval(
    fit: FitResult, x: Mapping[str, np.ndarray]
) -> tuple[float | None, float | None, tuple[str, ...]]:
    """The 95 % interval of the law's own value, each end None where it is unbounded; and a note if it is not known."""
    try:
        _, low, high = fit.predict(x, "law")
    except FitError as error:
        return None, None, (f"no interval: {error}",)
    ends = [float(end[0]) if np.isfinite(end[0]) and end[0] > 0 else None for end in (low, high)]
    return ends[0], ends[1], ()


def _beyond(fit: FitResult, at: Mapping[str, float]) -> tuple[str, ...]:
    """A note where the value is asked for outside of the rows."""
    if not fit.points:
        return ()
    from fit.study.answers.reach import Extent  # scipy.optimize, which a plan without fits does not need

    reach = Extent(fit).reach({name: float(at[name]) for name in fit.inputs})
    return () if reach.input is None else (str(reach),)


def law(fits: Sequence[FitResult], cell: Mapping[str, Any], law: str) -> Taken:
    """The value of any law at the cell; its inputs are columns of the cell, and tokens is the cell's token budget."""
    columns = {**cell, "tokens": cell.get("max_tokens")}
    try:
        inputs = named(law).inputs
    except FitError as error:
        raise SweepError(str(error)) from error
    check_known(columns, inputs)
    for name in inputs:
        if columns.get(name) is None:
            raise SweepError(f"{law} needs {name}, which a cell of the grid does not have")
    return law_value(fits, law, {name: columns[name] for name in inputs}, cell)

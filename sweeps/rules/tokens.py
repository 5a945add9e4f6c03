"""The token budget of a cell, from the laws of an earlier phase."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fit.law.errors import FitError
from fit.law.result import FitResult
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import Taken
from sweeps.rules.law_value import group_of, law_value


def tokens_to_convergence(fits: Sequence[FitResult], cell: Mapping[str, Any], safety: float = 1.5) -> Taken:
    """safety·T(n), the tokens that a run of the cell's n takes to converge, times a margin for the scatter of runs."""
    return _scaled(law_value(fits, "T_N", {"n_latents": cell["n_latents"]}, cell), safety)


def tokens_at_optimum(fits: Sequence[FitResult], cell: Mapping[str, Any], safety: float = 1.0) -> Taken:
    """safety·D*(C) at the compute C where N*(C) is the cell's n: as many tokens as make this n compute-optimal.

    The interval is from D* at the lower end of C to D* at its upper end.
    """
    from fit.study.answers.inverse import inverse

    group = group_of(fits, cell, ["N_C"])
    try:
        needs = inverse(fits, "n_latents", float(cell["n_latents"]), group, ["N_C"]).needs
    except FitError as error:
        raise SweepError(
            f"C at which n_latents={cell['n_latents']} is optimal is not known: {str(error).rstrip('.')}"
        ) from error
    if needs[0].value is None:
        raise SweepError(
            f"C at which n_latents={cell['n_latents']} is optimal is not known: {(needs[0].reason or '').rstrip('.')}"
        )
    at = law_value(fits, "D_C", {"flops": needs[0].value}, cell)
    ends = [
        None if C is None else getattr(law_value(fits, "D_C", {"flops": C}, cell), side)
        for C, side in ((needs[0].low, "low"), (needs[0].high, "high"))
    ]
    whole = replace(at, low=ends[0], high=ends[1], at={"n_latents": cell["n_latents"], **at.at})
    return _scaled(whole, safety)


def _scaled(taken: Taken, by: float) -> Taken:
    """The value and its interval times a factor, in whole tokens."""
    if not by > 0:
        raise SweepError(f"safety is {by}; it must be above 0, as 1.5.")
    value, low, high = (
        None if each is None else float(round(by * each))  # type: ignore[operator]
        for each in (taken.value, taken.low, taken.high)
    )
    assert value is not None
    return replace(taken, value=value, low=low, high=high)

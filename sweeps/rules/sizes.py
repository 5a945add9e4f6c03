"""The latent counts of a phase: as large as its hours allow, or as large as a loss needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fit.law.errors import FitError
from fit.law.result import FitResult
from sweeps.errors import SweepError
from sweeps.ledger.phase_record import Taken
from sweeps.rules.law_value import group_of

# Sizes beyond the start that are looked at: 2^40 times as large is no SAE.
_MOST = 40
Hours = tuple[float, float, float]  # the hours of one size, and the ends of their interval


def next_sizes(start: int, ratio: float, gpu_hours: float, hours_at: Callable[[int], Hours]) -> Taken:
    """The sizes start·ratio, start·ratio², … that together cost at most `gpu_hours`.

    low: the sizes that would fit if each cost as much as the upper end of its interval; high: if the lower end.

    Parameters
    ----------
    start : the largest size so far.
    ratio : from one size to the next.
    gpu_hours : for all new sizes together.
    hours_at : the hours that one size costs with every k, seed and so on, with the ends of their interval.
    """
    if not ratio > 1:
        raise SweepError(f"ratio is {ratio}; it must be above 1, as 2.")
    if not gpu_hours > 0:
        raise SweepError(f"gpu_hours is {gpu_hours}; it must be above 0.")
    sizes = [round(start * ratio**i) for i in range(1, _MOST)]
    spent: Hours = (0.0, 0.0, 0.0)
    counts = [0, 0, 0]
    for size in sizes:
        each = hours_at(size)
        spent = (spent[0] + each[0], spent[1] + each[1], spent[2] + each[2])
        fitting = [total <= gpu_hours for total in spent]
        counts = [count + fits for count, fits in zip(counts, fitting, strict=True)]
        if not any(fitting):
            break
    if not counts[0]:
        raise SweepError(
            f"the first size, n_latents={sizes[0]:,}, costs {hours_at(sizes[0])[0]:.3g} hours, more than the "
            f"{gpu_hours:g} of gpu_hours: raise them, or choose a smaller start or ratio."
        )
    chosen, fewest, most = (tuple(sizes[:count]) for count in (counts[0], counts[2], counts[1]))
    total = sum(hours_at(size)[0] for size in chosen)
    note = f"{total:.3g} of {gpu_hours:g} hours"
    return Taken(chosen, fewest, most, at={"start": start, "ratio": ratio}, notes=(note,))


def size_for_loss(fits: Sequence[FitResult], cell: Mapping[str, Any], nmse: float) -> Taken:
    """The n at which a converged run reaches a loss: the first of L(N) and L(N, K) that can say it.

    SweepError with the reason of each law if none reaches it, as one whose floor is above the loss.
    """
    from fit.study.answers.inverse import inverse

    if not 0 < nmse < 1:
        raise SweepError(f"nmse is {nmse}; a normalized MSE to reach is between 0 and 1.")
    laws = [name for name in ("L_N", "L_NK") if any(fit.law == name for fit in fits)]
    if not laws:
        raise SweepError("no law of n_latents, L_N or L_NK, could be fitted")
    try:
        needs = inverse(fits, "nmse", nmse, group_of(fits, cell, laws), laws).needs
    except FitError as error:
        raise SweepError(str(error).rstrip(".")) from error
    for need in needs:
        if need.value is not None:
            fit = next(fit for fit in fits if fit.law == need.law and dict(fit.group) == dict(need.group))
            reach = () if need.reach is None or need.reach.input is None else (str(need.reach),)
            return Taken(
                float(round(need.value)),
                need.low,
                need.high,
                at={"nmse": nmse, "k": cell["k"]},
                law=need.label,
                rows=fit.rows,
                runs=fit.rows_used.runs if fit.rows_used else None,
                notes=(*reach, *(caution.text for caution in need.cautions)),
            )
    raise SweepError(
        f"no law gives nmse={nmse:g}. {' '.join(need.reason or '' for need in needs)}".strip(" .")
    )

"""The irreducible losses of L(C), L(N) and L(N, K) against each other."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from fit.digits import with_interval
from fit.result import FitResult, Param

Floor = dict[str, Any]


def floors(fits: Sequence[FitResult]) -> list[Floor]:
    """Each fit's E: {"law", "k", "group", "value", "low", "high"}; of L(N, K) its floor exp(ζ + η ln K) at each k."""
    return [floor for fit in fits for floor in _of(fit)]


def _of(fit: FitResult) -> Iterator[Floor]:
    rest = {name: value for name, value in fit.group.items() if name != "k"}
    if fit.law in ("L_C", "L_N") and "E" in fit.params:
        yield _row(fit.law, fit.group.get("k"), rest, fit.params["E"])
    if fit.law == "L_NK":
        for name, param in fit.derived.items():
            if name.startswith("E(k="):
                yield _row(fit.law, float(name[4:-1]), rest, param)


def _row(law: str, k: float | None, group: dict[str, Any], E: Param) -> Floor:
    return {"law": law, "k": k, "group": group, "value": E.value, "low": E.low, "high": E.high}


def disagreements(known: Sequence[Floor]) -> list[str]:
    """A warning for each pair of one k whose intervals do not overlap: both cannot be the loss that no SAE beats."""
    found = []
    for one, other in combinations(known, 2):
        if one["k"] != other["k"] or one["law"] == other["law"] or None in (one["value"], other["value"]):
            continue
        lower, upper = sorted((one, other), key=lambda floor: float(floor["value"]))
        if lower["high"] is not None and upper["low"] is not None and lower["high"] < upper["low"]:
            found.append(
                f"The floors of {lower['law']}, {_interval(lower)}, and of {upper['law']}, {_interval(upper)}, disagree"
                f"{_at(one['k'])}: at least one law does not hold beyond its rows, so extrapolate neither far."
            )
    return found


def lines(known: Sequence[Floor]) -> list[str]:
    """The floors of each k side by side."""
    by_k: dict[Any, list[str]] = {}
    for floor in known:
        by_k.setdefault(floor["k"], []).append(f"{floor['law']} {_interval(floor)}")
    return [f"floors{_at(k)}: {', '.join(texts)}" for k, texts in by_k.items()]


def _at(k: float | None) -> str:
    return "" if k is None else f" at k={k:g}"


def _interval(floor: Floor) -> str:
    return with_interval(floor["value"], floor["low"], floor["high"])

"""The irreducible losses of L(C), L(N) and L(N, K) against each other."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from fit.data.number_format import with_interval
from fit.law.result import FitResult, Param

Floor = dict[str, Any]


def floors(fits: Sequence[FitResult]) -> list[Floor]:
    """Each fit's E: {"law", "k", "group", "value", "low", "high"}; of L(N, K) its floor exp(ζ + η ln K) at each k.

    k is None in a table without k, and that of its curves for L(C). group: what else the rows have in common.
    """
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
    """A warning for each pair of laws of one k whose intervals do not overlap.

    Both cannot be the loss that no SAE of that k is below. Floors of other data or of another d_model say nothing of
    each other.
    """
    return [
        _warning(one, other)
        for one, other in combinations(known, 2)
        if _comparable(one, other) and _apart(one, other)
    ]


def _comparable(one: Floor, other: Floor) -> bool:
    shared = one["group"].keys() & other["group"].keys()
    same = one["k"] == other["k"] and all(one["group"][name] == other["group"][name] for name in shared)
    return same and one["law"] != other["law"]


def _apart(one: Floor, other: Floor) -> bool:
    """Whether both ends that face each other are known and leave a gap."""
    return any(
        below["high"] is not None and above["low"] is not None and below["high"] < above["low"]
        for below, above in ((one, other), (other, one))
    )


def _warning(one: Floor, other: Floor) -> str:
    lower, upper = sorted((one, other), key=lambda floor: float(floor["value"]))
    return (
        f"The floors of {lower['law']}, {_interval(lower)}, and of {upper['law']}, {_interval(upper)}, disagree"
        f"{_at(one['k'])}: at least one law does not hold beyond its rows, so extrapolate neither far."
    )


def lines(known: Sequence[Floor]) -> list[str]:
    """The floors of each k side by side."""
    by_k: dict[Any, list[str]] = {}
    for floor in known:
        by_k.setdefault(floor["k"], []).append(
            f"{floor['law']}{_of_group(floor['group'])} {_interval(floor)}"
        )
    return [f"floors{_at(k)}: {', '.join(texts)}" for k, texts in by_k.items()]


def _of_group(group: dict[str, Any]) -> str:
    return f" ({', '.join(f'{name}={value}' for name, value in group.items())})" if group else ""


def _at(k: float | None) -> str:
    return "" if k is None else f" at k={k:g}"


def _interval(floor: Floor) -> str:
    return with_interval(floor["value"], floor["low"], floor["high"])

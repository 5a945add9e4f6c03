"""The text of a figure: parameters with their intervals, names of groups, line breaks, superscripts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from fit.law.result import FitResult
from fit.views.format import greek, symbol, with_interval


def parameters(fit: FitResult) -> list[str]:
    """A text for each parameter that is defined, in the law's order: `α 0.41 [0.36, 0.47]`.

    Where the rows refute the law, that comes first.
    """
    refuted = ["refuted by its rows"] if fit.refutation else []
    return refuted + [
        f"{greek(name)} {with_interval(p.value, p.low, p.high)}"
        for name, p in fit.params.items()
        if p.value is not None
    ]


def fit_names(fits: Sequence[FitResult]) -> list[str]:
    """A name for each fit of a law, of its group and its convention of FLOPs, see `group_names`."""
    return group_names([{**fit.group, "flops": fit.flops} for fit in fits])


def group_names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each group: its k, and whatever else distinguishes it from the others (`k = 32, data = toy`)."""
    keys = dict.fromkeys(key for group in groups for key in group)
    return _names(groups, [key for key in keys if key == "k" or differ(groups, key)])


def heads(fits: Sequence[FitResult]) -> dict[str, str]:
    """The title of each fit's panel by its name; where the rows refute the law, it says so."""
    return {
        name: ", ".join(filter(None, [name, "refuted by its rows" if fit.refutation else ""]))
        for name, fit in zip(fit_names(fits), fits, strict=True)
    }


def telling(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each group by what distinguishes it from the others alone: `k = 32`, `B = 512`; one group by its k."""
    keys = dict.fromkeys(key for group in groups for key in group)
    return _names(groups, [key for key in keys if differ(groups, key)] or ["k"])


def differ(groups: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether groups have different values of a key; one without the key differs from those that have it."""
    return len({str(group.get(key)) for group in groups}) > 1


def has(group: Mapping[str, Any], key: str) -> bool:
    """Whether a group has a value of a key: fits of all k have none of k."""
    return key in group and bool(pd.notna(group[key]))


def _names(groups: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    return [", ".join(_pair(key, group[key]) for key in keys if has(group, key)) for group in groups]


def in_order(names: Iterable[str]) -> list[str]:
    """The names without repetition, with numbers in them by their value: k = 8 before k = 16."""

    def parts(name: str) -> list[tuple[float, str]]:
        pieces = re.split(r"(\d+(?:\.\d+)?)", name)
        return [(float(p), "") if i % 2 else (-1.0, p) for i, p in enumerate(pieces)]

    return sorted(dict.fromkeys(names), key=parts)


def _pair(key: str, value: object) -> str:
    if isinstance(value, float):
        value = f"{value:g}"  # JSON and pandas may hold a k as 32.0
    if isinstance(value, int) and value > 9999:
        value = f"{value:,}"
    return f"{value} FLOPs" if key == "flops" else f"{symbol(key)} = {value}"


def short(value: float) -> str:
    """`7.9B`, `120M`, `3.2k`: two significant digits, three from 100 on."""
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.{max(0, 1 - int(value / unit >= 9.95))}f}{letter}"
    return f"{value:.0f}" if value >= 1 else f"{value:.2g}"


def typeset(text: str) -> str:
    """The text with `N^−α` and `β_k` as superscripts and subscripts of matplotlib's mathtext."""
    text = text.replace("$", r"\$")
    raised = re.sub(r"(\w)\^\(?([−-]?\w+)\)?", r"$\\mathregular{\1^{\2}}$", text)
    return re.sub(r"([α-ω])_(\w)", r"$\\mathregular{\1_{\2}}$", raised)

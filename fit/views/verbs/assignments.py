"""Arguments such as `n_latents=2^24`: names and values as a user types them."""

from collections.abc import Iterable
from typing import Any

from fit.law.errors import FitError
from fit.views.verbs.command import UsageError

# Inputs of laws that are no column of ours, and the column whose unit they have.
_LIKE = {"flops": "flops_sparse"}


def number(text: str, name: str) -> float | None:
    """`2^24`, `16k`, `1.3B`, `1e9` or `43.95%` as the number that a cell of this column would be; None for other texts.

    As in tables, 16k latents are 16,384, see `fit.data.conversion`.
    """
    import pandas as pd

    from fit.data.conversion import need, read_numbers

    wanted = need(_LIKE.get(name, name))
    if wanted is None:
        return None
    value = read_numbers(pd.Series([text.strip().replace("**", "^")], dtype=object), wanted).values.iloc[0]
    return None if isinstance(value, str) or pd.isna(value) else float(value)


def assignments(words: Iterable[str]) -> dict[str, Any]:
    """`n_latents=2^24 k=256` as {name: number}; a value that is no number, as the name of a data set, stays a text."""
    given: dict[str, Any] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{word!r} is not NAME=VALUE, as n_latents=2^24")
        if name in given:
            raise FitError(f"{name} is given twice, {given[name]} and {value}: give it once.")
        known = number(value, name)
        given[name] = value if known is None else known
    return given

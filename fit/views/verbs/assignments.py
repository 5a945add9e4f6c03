"""Arguments such as `n_latents=2^24`: names and values as a user types them."""

import math
import re
from collections.abc import Iterable
from typing import Any

from fit.law.errors import FitError
from fit.views.verbs.command import UsageError

_POWER = re.compile(r"(?:([\d.]+)\s*[*x×·]\s*)?([\d.]+)\s*(?:\^|\*\*)\s*([+-]?\d{1,4})")
_SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


def number(text: str) -> float | None:
    """`2^24`, `2**24`, `16k`, `1.3B`, `1e9` or `1,024` as a number, inf if it is too large; None for other texts."""
    text = text.strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    try:
        if power := _POWER.fullmatch(text):
            return float(power[1] or 1) * float(power[2]) ** int(power[3])
        factor = _SUFFIXES.get(text[-1:].lower(), 0.0)
        return float(text[:-1]) * factor if factor else float(text)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def assignments(words: Iterable[str]) -> dict[str, Any]:
    """`n_latents=2^24 k=256` as {name: number}; a value that is no number, as the name of a data set, stays a text."""
    given: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise UsageError(f"{word!r} is not NAME=VALUE, as n_latents=2^24")
        if name in given:
            raise FitError(f"{name} is given twice, {given[name]} and {value}: give it once.")
        known = number(value)
        given[name.strip()] = value.strip() if known is None else known
    return given

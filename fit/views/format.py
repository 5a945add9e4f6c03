"""Numbers as text, as many digits as their interval makes meaningful, and the names of regimes and methods."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Protocol

LETTERS = {
    "alpha": "α",
    "beta": "β",
    "beta_k": "β_k",
    "beta_n": "β_n",
    "gamma": "γ",
    "zeta": "ζ",
    "eta": "η",
    "rho": "ρ",
}
SYMBOLS = {"n_latents": "n", "k": "k", "d_model": "d", "batch_tokens": "B", "flops": "C", "tokens": "D"}
# Where a law of each regime describes the loss.
REGIMES = {"compute": "at the compute optimum", "converged": "at convergence"}
# How the optima of L(C) were found, by the name in `OptimumSelection.method`.
METHODS = {"crossovers": "crossovers", "isoflop": "isoFLOP vertices"}
MISSING = "–"
# Numbers from here on are written with a power of ten. If one end of an interval is, so are the value and both ends.
LARGE = 1e5
# Below this, too.
SMALL = 1e-4
# If the ends differ by more than this factor, each has significant digits of its own.
WIDE = 10
# A number that is smaller than the largest of its estimate by this factor is 0 as far as the rows can tell.
NEGLIGIBLE = 1e-6


class Estimate(Protocol):
    """A value with an interval: a parameter, a derived quantity or a floor."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def greek(text: str) -> str:
    """The text with Greek letters in place of the names of parameters."""
    return re.sub(rf"\b({'|'.join(sorted(LETTERS, key=len, reverse=True))})\b", lambda m: LETTERS[m[0]], text)


def exponent(value: float) -> int:
    """The power of ten of the first significant digit: −2 for 0.0123."""
    return math.floor(math.log10(abs(value))) if value else 0


def decimals(value: float | None, low: float | None, high: float | None) -> int:
    """The number of digits after the point for a value and the ends of its interval.

    They show two significant digits of the half width, or one if its first digit is 5 or more. Without two ends they
    show three digits of the value.
    """
    if low is not None and high is not None and high > low:
        half = (high - low) / 2
        return (half < 5 * 10.0 ** exponent(half)) - exponent(half)
    return 2 - exponent(value or 0.0)


def number(value: float | None, places: int) -> str:
    """The value with `places` digits after the point and a true minus sign; `undefined` for None.

    A value that is not 0 never reads as 0: where these places would show none of its digits, two significant ones are.
    """
    if value is None:
        return "undefined"
    if value and (abs(value) >= LARGE or abs(value) < SMALL):
        return scientific(value, places)
    if value and abs(value) <= 0.5 * 10.0 ** -max(places, 0):
        places = 1 - exponent(value)
    return f"{value:z,.{max(places, 0)}f}".replace("-", "−")


def scientific(value: float, places: int) -> str:
    """`1.2e+16`; `places` counts digits after the point of the number written in full."""
    if not value:
        return "0"
    return f"{value:.{min(max(places + exponent(value), 1), 6)}e}".replace("-", "−")


def significant(value: float, digits: int) -> str:
    """The value with this many significant digits, including zeros at the end: 0.17 with 4 digits is 0.1700."""
    return number(value, digits - 1 - exponent(value))


def with_interval(
    value: float | None, low: float | None, high: float | None, digits: int = 0, power: bool | None = None
) -> str:
    """`0.41 [0.36, 0.47]`, with at least `digits` significant digits; a missing end is written as −∞ or ∞.

    If the ends differ by more than a factor of 10, each number has two significant digits, `0.012 [0.00019, 0.056]`,
    because with the same number of places the smallest would lose its digits.

    power: whether all three are written with a power of ten; None decides it by their size. Without one, a number that
    is next to nothing beside the others is `<0.01` or `>−0.01`.
    """
    if value is None:
        return "undefined"
    write = _writer(value, low, high, digits, power)
    lower = "(−∞" if low is None else f"[{write(low)}"
    upper = "∞)" if high is None else f"{write(high)}]"
    return f"{write(value)} {lower}, {upper}"


def in_one_notation(estimates: Sequence[Estimate | None]) -> list[str]:
    """Estimates with their intervals in one notation: all with a power of ten if one of them needs it, or none.

    A dash stands for None.
    """
    known = [estimate for estimate in estimates if estimate is not None]
    power = any(_needs_power(one.value, one.low, one.high) for one in known)
    return [
        MISSING if one is None else with_interval(one.value, one.low, one.high, power=power)
        for one in estimates
    ]


def _needs_power(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether a number that is not next to nothing beside the others is very large or very small."""
    sizes = [abs(end) for end in (value, low, high) if end] if value is not None else []
    return any(size >= LARGE or NEGLIGIBLE * max(sizes) <= size < SMALL for size in sizes)


def _writer(
    value: float, low: float | None, high: float | None, digits: int, power: bool | None
) -> Callable[[float], str]:
    """The function that writes the value and both ends."""
    largest = max(abs(end) for end in (value, low, high) if end is not None)
    write = scientific if (largest >= LARGE if power is None else power) else number
    if low is not None and high is not None and high > WIDE * low > 0:
        places = max(digits, 2) - 1 - exponent(value)
        ends_have_their_own = True
    else:
        places = decimals(value, low, high)
        places = max(places, digits - 1 - exponent(value)) if digits else places
        ends_have_their_own = False

    def written(one: float) -> str:
        if power is False and 0 < abs(one) < SMALL:
            unit = number(10.0 ** -max(min(places, 4), 0), max(min(places, 4), 0))
            return f"<{unit}" if one > 0 else f">−{unit}"
        return write(one, max(digits, 2) - 1 - exponent(one) if ends_have_their_own else places)

    return written


def percent(value: float, signed: bool = False) -> str:
    """`1.80 %`; two significant digits below 1 %."""
    text = number(100 * value, 2 if abs(value) < 0.1 else 1).replace(",", "")
    return f"{'+' if signed and value >= 0 else ''}{text} %"


def symbol(name: str) -> str:
    """The letter of a column in formulas, as n for n_latents; a column without one by its name."""
    return SYMBOLS.get(name, name)


def scale(name: str, value: float) -> str:
    """`n=131,072`, `k=32`, `C=1.2e+16`."""
    whole = float(value).is_integer() and abs(value) < 1e7
    return f"{symbol(name)}={value:,.0f}" if whole else f"{symbol(name)}={value:.3g}"

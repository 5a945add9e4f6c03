"""Numbers as text: as many digits as their interval makes meaningful."""

import math
import re
from collections.abc import Callable

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
# Numbers from here on are written with a power of ten. If one end of an interval is, so are the value and both ends.
LARGE = 1e5
# If the ends differ by more than this factor, each has significant digits of its own.
WIDE = 10


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
    if value and (abs(value) >= LARGE or abs(value) < 1e-4):
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


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 0) -> str:
    """`0.41 [0.36, 0.47]`, with at least `digits` significant digits; a missing end is written as −∞ or ∞.

    If the ends differ by more than a factor of 10, each number has two significant digits, `0.012 [0.00019, 0.056]`,
    because with the same number of places the smallest would lose its digits.
    """
    if value is None:
        return "undefined"
    write = _writer(value, low, high, digits)
    lower = "(−∞" if low is None else f"[{write(low)}"
    upper = "∞)" if high is None else f"{write(high)}]"
    return f"{write(value)} {lower}, {upper}"


def _writer(value: float, low: float | None, high: float | None, digits: int) -> Callable[[float], str]:
    """The function that writes the value and both ends."""
    large = max(abs(end) for end in (value, low, high) if end is not None) >= LARGE
    if low is not None and high is not None and high > WIDE * low > 0:
        own = max(digits, 2) - 1
        return lambda v: (scientific if large else number)(v, own - exponent(v))
    places = decimals(value, low, high)
    places = max(places, digits - 1 - exponent(value)) if digits else places
    return lambda v: (scientific if large else number)(v, places)


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

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
}
SYMBOLS = {"n_latents": "n", "k": "k", "d_model": "d", "batch_tokens": "B", "flops": "C", "tokens": "D"}
# From here on numbers are written with a power of ten, and so are all three where one end is.
LARGE = 1e5
# Ends further apart than this factor are told in digits of their own.
WIDE = 10
# Further apart than this the lower one is 0 in all but name, as an E that a refit did not quite take out.
WIDEST = 1e6


def greek(text: str) -> str:
    """The text with the parameters' letters for their names."""
    return re.sub(rf"\b({'|'.join(sorted(LETTERS, key=len, reverse=True))})\b", lambda m: LETTERS[m[0]], text)


def exponent(value: float) -> int:
    """Of the first digit: 0.0123 has −2."""
    return math.floor(math.log10(abs(value))) if value else 0


def decimals(value: float | None, low: float | None, high: float | None) -> int:
    """Digits after the point for a value and the ends of its interval.

    Two significant digits of the half width, one from 5 on; without two ends three digits of the value.
    """
    if low is not None and high is not None and high > low:
        half = (high - low) / 2
        return (half < 5 * 10.0 ** exponent(half)) - exponent(half)
    return 2 - exponent(value or 0.0)


def number(value: float | None, places: int) -> str:
    """With that many digits after the point and a true minus; `undefined` where there is none."""
    if value is None:
        return "undefined"
    if value and (abs(value) >= LARGE or abs(value) < 1e-4):
        return scientific(value, places)
    return fixed(value, places)


def fixed(value: float, places: int) -> str:
    """Without a power of ten: 0.0 where the places show no more of it."""
    return f"{value:z,.{max(places, 0)}f}".replace("-", "−")


def scientific(value: float, places: int) -> str:
    """`1.2e+16`, with that many digits after the point of the number written out."""
    if not value:
        return "0"
    return f"{value:.{min(max(places + exponent(value), 1), 6)}e}".replace("-", "−")


def significant(value: float, digits: int) -> str:
    """With that many significant digits, zeros at the end included: 0.17 with 4 is 0.1700."""
    return number(value, digits - 1 - exponent(value))


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 0) -> str:
    """`0.41 [0.36, 0.47]`, with at least so many significant digits; an end that is not there is written −∞ or ∞.

    Over more than a factor of 10 two significant digits each, `0.012 [0.00019, 0.056]`: one place would make 0 of one.
    """
    if value is None:
        return "undefined"
    write = _writer(value, low, high, digits)
    lower = "(−∞" if low is None else f"[{write(low)}"
    upper = "∞)" if high is None else f"{write(high)}]"
    return f"{write(value)} {lower}, {upper}"


def _writer(value: float, low: float | None, high: float | None, digits: int) -> Callable[[float], str]:
    """How all three numbers are written."""
    large = max(abs(end) for end in (value, low, high) if end is not None) >= LARGE
    if low is not None and high is not None and WIDEST * low > high > WIDE * low:
        own = max(digits, 2) - 1
        return lambda v: (scientific if large else number)(v, own - exponent(v))
    places = decimals(value, low, high)
    places = max(places, digits - 1 - exponent(value)) if digits else places
    if large:
        return lambda v: scientific(v, places)
    # Of a number that may be 0 its own exponent says nothing.
    through = low is not None and high is not None and low * WIDEST < high
    return lambda v: (fixed if through else number)(v, places)


def percent(value: float, signed: bool = False) -> str:
    """`1.80 %`, two significant digits below 1 %."""
    places = 2 if abs(value) < 0.1 else 1
    return f"{100 * value:{'+' if signed else ''}.{places}f} %".replace("-", "−")


def scale(name: str, value: float) -> str:
    """`n=131,072`, `k=32`, `C=1.2e+16`."""
    whole = float(value).is_integer() and abs(value) < 1e7
    return f"{SYMBOLS.get(name, name)}={value:,.0f}" if whole else f"{SYMBOLS.get(name, name)}={value:.3g}"

"""Numbers as text: as many digits as their interval gives a meaning to."""

import math
import re

LETTERS = {
    "alpha": "α",
    "beta": "β",
    "beta_k": "β_k",
    "beta_n": "β_n",
    "gamma": "γ",
    "zeta": "ζ",
    "eta": "η",
}
SYMBOLS = {"n_latents": "n", "k": "k", "d_model": "d", "batch_tokens": "B", "flops": "C"}


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
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        text = f"{value:.{min(max(places + exponent(value), 1), 6)}e}"
    else:
        text = f"{value:,.{max(places, 0)}f}"
    return text.replace("-", "−")


def significant(value: float, digits: int) -> str:
    """With that many significant digits, zeros at the end included: 0.17 with 4 is 0.1700."""
    return number(value, digits - 1 - exponent(value))


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 0) -> str:
    """`0.41 [0.36, 0.47]`, with at least so many significant digits; an end that is not there is written −∞ or ∞."""
    if value is None:
        return "undefined"
    places = max(decimals(value, low, high), digits - 1 - exponent(value))
    lower = "(−∞" if low is None else f"[{number(low, places)}"
    upper = "∞)" if high is None else f"{number(high, places)}]"
    return f"{number(value, places)} {lower}, {upper}"


def percent(value: float, signed: bool = False) -> str:
    """`1.80 %`, two significant digits below 1 %."""
    places = 2 if abs(value) < 0.1 else 1
    return f"{100 * value:{'+' if signed else ''}.{places}f} %".replace("-", "−")


def scale(name: str, value: float) -> str:
    """`n=131,072`, `k=32`, `C=1.2e+16`."""
    whole = float(value).is_integer() and abs(value) < 1e7
    return f"{SYMBOLS.get(name, name)}={value:,.0f}" if whole else f"{SYMBOLS.get(name, name)}={value:.3g}"

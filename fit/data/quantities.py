"""Numbers as people write them in tables: `2^9`, `16k`, `1.3B`, `1,024`, `43.95%`, `3 PFLOPs`, `0.2 PF-days`.

A cell is a number, then a suffix that multiplies it (k, M, B, T), then a unit. Everything is computed in fractions, so
that `43.95%` is the float nearest to 0.4395. What is not understood is refused with a reason and never guessed.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

# Units of `fit.data.columns`. A prefix of FLOPs and of tokens is decimal.
FLOPS, TOKENS, SECONDS, BYTES, TOKENS_PER_SECOND = "FLOPs", "tokens", "s", "bytes", "tokens/s"
DAY = 86_400

PREFIXES = dict(zip(("", "k", "m", "g", "t", "p", "e", "z", "y"), (1000**i for i in range(9)), strict=True))
_LONG_PREFIXES = dict(
    zip(("kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta"), "kmgtpezy", strict=True)
)
SUFFIXES = {
    "k": 10**3,
    "m": 10**6,
    "b": 10**9,
    "bn": 10**9,
    "g": 10**9,
    "t": 10**12,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_TIMES: dict[str, int | Fraction] = {
    "s sec secs second seconds": 1,
    "min mins minute minutes": 60,
    "h hr hrs hour hours gpu-h gpu-hour gpu-hours": 3600,
    "d day days gpu-day gpu-days": DAY,
    "ms": Fraction(1, 1000),
}
_SECONDS = {name: Fraction(factor) for names, factor in _TIMES.items() for name in names.split()}
_OF_FLOPS = re.compile(
    r"(?P<prefix>kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy]?)(?P<word>flops?|f)(?P<rate>/s|/sec|ps)?"
    r"(?:[-·*\s]*(?P<time>days?|d|hours?|hrs?|h|seconds?|s))?"
)
_OF_TOKENS = re.compile(r"(?P<prefix>[kmbgt]?)(?:tok|toks|token|tokens)(?P<rate>/s|/sec|ps)?")
_OF_BYTES = re.compile(r"(?P<prefix>[kmgtp]?)(?P<binary>i?)(?:b|byte|bytes)")

_SUPERSCRIPT = re.compile(r"(?<=\d)⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PLAIN_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_DIGITS = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_END = r"(?![\d.,])"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)(?:
    (?:(?P<times>{_DIGITS})\s*[×x*·]\s*)?(?P<base>\d+(?:\.\d+)?)\s*(?:\^|\*\*)\s*\{{?(?P<exponent>[+-]?\d{{1,4}})\}}?{_END}
    |(?P<grouped>\d{{1,3}}(?P<mark>[,_'’\s])\d{{3}}(?:(?P=mark)\d{{3}})*(?:\.\d+)?){_END}
    |(?P<points>\d{{1,3}}(?:\.\d{{3}})+,\d+){_END}
    |(?P<comma>\d+,\d+(?:[eE][+-]?\d{{1,3}})?){_END}
    |(?P<plain>{_DIGITS}){_END}
    )""",
    re.VERBOSE,
)
NO_NUMBER = "it is not a number"
MISSING = frozenset({"", "-", "–", "—", "?", ".", "n/a", "na", "nan", "none", "null", "<na>"})


class Form(StrEnum):
    """How the digits of a number are written."""

    PLAIN = "plain"
    POWER = "a power"
    GROUPED = "a mark between thousands"
    DECIMAL_COMMA = "a decimal comma"


@dataclass(frozen=True)
class Quantity:
    """A number as it was written.

    Parameters
    ----------
    digits
        The number before its suffix and unit.
    form
        How it is written.
    suffix
        `k`, `M`, `%` and the like as written, empty without one.
    unit
        The unit as written, empty without one.
    factor
        By what suffix and unit multiply the digits.
    ambiguous
        Whether `1,024` may be 1024 and 1.024: one comma and three digits behind it.
    """

    digits: Fraction
    form: Form = Form.PLAIN
    suffix: str = ""
    unit: str = ""
    factor: Fraction = Fraction(1)
    ambiguous: bool = False

    @property
    def value(self) -> int | float:
        """The number; an integer where it is one that a float holds exactly. OverflowError if it is too large."""
        return number(self.digits * self.factor)


@dataclass(frozen=True)
class Refusal:
    """Why a text is not a number of its column: the end of a sentence."""

    reason: str


def number(value: Fraction) -> int | float:
    """A fraction as an integer up to 2^53, else as the nearest float."""
    return int(value) if value.denominator == 1 and abs(value) <= 2**53 else float(value)


def parse(
    text: str, unit: str = "", count: bool = False, nouns: frozenset[str] = frozenset()
) -> Quantity | Refusal:
    """The number that a text holds.

    Parameters
    ----------
    text
        A cell of a table.
    unit
        The unit of its column, as `fit.data.columns` names it; empty for pure numbers.
    count
        Whether the column counts something, so that `16k` and `1.3B` make sense and `43 %` does not.
    nouns
        What the column may count, in words that may follow the number.
    """
    text = (
        _SUPERSCRIPT.sub(lambda match: "^" + match[0].translate(_PLAIN_DIGITS), text.strip())
        .replace("\u2212", "-")
        .replace("\u00a0", " ")
        .replace("\u202f", " ")
        .replace("\u2009", " ")
    )
    match = _NUMBER.match(text)
    if match is None:
        return Refusal(NO_NUMBER)
    try:
        digits, form = _digits(match)
        float(digits)
    except (OverflowError, ZeroDivisionError):
        return Refusal("it is too large a number")
    mark = match["mark"]
    ambiguous = mark == "," and text.count(",") == 1 and "." not in match[0]
    rest = text[match.end() :].strip()
    if not rest:
        return Quantity(digits, form, ambiguous=ambiguous)
    if rest == "%":
        if count or unit:
            return Refusal(f"a percentage cannot be {f'a number of {unit}' if unit else 'a count'}")
        return Quantity(digits, form, "%", factor=Fraction(1, 100), ambiguous=ambiguous)
    ending = _ending(rest, unit, count, nouns)
    if isinstance(ending, Refusal):
        return ending
    suffix, name, factor = ending
    return Quantity(digits, form, suffix, name, factor, ambiguous)


def _digits(match: re.Match[str]) -> tuple[Fraction, Form]:
    sign = -1 if match["sign"] == "-" else 1
    if match["base"] is not None:
        base, exponent = Fraction(match["base"]), int(match["exponent"])
        if abs(exponent) > 1100:
            raise OverflowError
        return sign * Fraction(match["times"] or 1) * base**exponent, Form.POWER
    if match["grouped"] is not None:
        return sign * Fraction(re.sub(r"[,_'’\s]", "", match["grouped"])), Form.GROUPED
    if match["points"] is not None:
        return sign * Fraction(match["points"].replace(".", "").replace(",", ".")), Form.DECIMAL_COMMA
    if match["comma"] is not None:
        return sign * Fraction(match["comma"].replace(",", ".")), Form.DECIMAL_COMMA
    return sign * Fraction(match["plain"]), Form.PLAIN


def _ending(rest: str, unit: str, count: bool, nouns: frozenset[str]) -> tuple[str, str, Fraction] | Refusal:
    """What follows the digits: suffix, unit, and the factor of both."""
    factor = unit_factor(rest, unit)
    if isinstance(factor, Refusal):
        return factor
    if factor is not None:
        return "", rest, factor
    if not count:
        return Refusal(f"{rest!r} behind the number is not understood")
    if rest.lower() in nouns:
        return "", rest, Fraction(1)
    first = re.match(r"[A-Za-z]+", rest)
    if first and first[0].lower() in SUFFIXES:
        times, after = Fraction(SUFFIXES[first[0].lower()]), rest[first.end() :].strip()
        if not after or after.lower() in nouns:
            return first[0], after, times
        factor = unit_factor(after, unit)
        if isinstance(factor, Fraction):
            return first[0], after, times * factor
        rest = after
    return Refusal(f"{rest!r} is not a unit of this column, which {f'is in {unit}' if unit else 'has none'}")


def unit_factor(name: str, unit: str) -> Fraction | Refusal | None:
    """By what a unit multiplies a column's own unit: 10^15 for PFLOPs of FLOPs; None for no unit of it."""
    if unit == FLOPS:
        return _flops(name)
    name = " ".join(name.lower().split())
    if unit in (TOKENS, TOKENS_PER_SECOND):
        match = _OF_TOKENS.fullmatch(name)
        if match is None or (match["rate"] is not None) != (unit == TOKENS_PER_SECOND):
            return None
        return Fraction(SUFFIXES.get(match["prefix"], 1))
    if unit == SECONDS:
        return _SECONDS.get(name)
    if unit == BYTES:
        match = _OF_BYTES.fullmatch(name)
        if match is None:
            return None
        power = "kmgtp".index(match["prefix"]) + 1 if match["prefix"] else 0
        return Fraction(1024**power if match["binary"] else 1000**power)
    return None


def _flops(name: str) -> Fraction | Refusal | None:
    match = _OF_FLOPS.fullmatch(" ".join(name.lower().split()))
    if match is None or (match["word"] == "f" and match["time"] is None):
        return None
    prefix = _LONG_PREFIXES.get(match["prefix"], match["prefix"])
    if match["time"] is None:
        if match["rate"] is not None:
            return Refusal(f"{name!r} is a rate, and compute is a rate times a time")
        return Fraction(PREFIXES[prefix])
    return PREFIXES[prefix] * _SECONDS[match["time"]]

"""Numbers as people write them: what each is, and which are refused."""

from fractions import Fraction

import pytest

from fit.data.quantities import BYTES, FLOPS, SECONDS, TOKENS, Quantity, Refusal, parse, unit_factor


def value(text, unit="", count=False):
    read = parse(text, unit, count)
    assert isinstance(read, Quantity), read
    return read.value


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("512", 512),
        (" 512 ", 512),
        ("-3.5e-4", -3.5e-4),
        ("\u22120.5", -0.5),
        (".5", 0.5),
        ("2^9", 512),
        ("2**9", 512),
        ("2⁹", 512),
        ("1.5·10²⁰", 1.5e20),
        ("10⁻³", 1e-3),
        ("2^{14}", 16384),
        ("1.5×10^20", 1.5e20),
        ("1.5 * 10^-3", 1.5e-3),
        ("1,024", 1024),
        ("1_024", 1024),
        ("1 024", 1024),
        ("1\u202f048\u202f576", 1048576),
        ("131'072", 131072),
        ("1,048,576.5", 1048576.5),
        ("0,4395", 0.4395),
        ("1.024,5", 1024.5),
        ("43.95%", 0.4395),
        ("43.95 %", 0.4395),
    ],
)
def test_digits(text, want):
    assert value(text) == want


@pytest.mark.parametrize(
    ("text", "unit", "want"),
    [
        ("16k", "", 16_000),
        ("0.5K", "", 500),
        ("1.3B", "", 1_300_000_000),
        ("1.3 billion", "", 1_300_000_000),
        ("1.3B tokens", TOKENS, 1_300_000_000),
        ("300 Mtok", TOKENS, 300_000_000),
        ("3 PFLOPs", FLOPS, 3e15),
        ("1e9 FLOPs", FLOPS, 1e9),
        ("2 ExaFLOP", FLOPS, 2e18),
        ("0.2 PF-days", FLOPS, 0.2 * 1e15 * 86400),
        ("1 petaflop/s-day", FLOPS, 8.64e19),
        ("1 PFLOPS-days", FLOPS, 8.64e19),
        ("2 TFLOP/s·h", FLOPS, 2e12 * 3600),
        ("1.5 h", SECONDS, 5400),
        ("2 GPU-hours", SECONDS, 7200),
        ("10 min", SECONDS, 600),
        ("3 GiB", BYTES, 3 * 2**30),
        ("3 GB", BYTES, 3e9),
    ],
)
def test_suffixes_and_units(text, unit, want):
    assert value(text, unit, count=unit in ("", TOKENS, FLOPS)) == want


@pytest.mark.parametrize(
    ("text", "unit", "count", "reason"),
    [
        ("diverged", "", True, "it is not a number"),
        ("sae-16k", "", True, "it is not a number"),
        ("3 apples", "", True, "'apples' is not a unit of this column, which has none"),
        ("3 apples", TOKENS, True, "'apples' is not a unit of this column, which is in tokens"),
        ("3 PFLOPs", TOKENS, True, "'PFLOPs' is not a unit"),
        ("3 PFLOP/s", FLOPS, True, "is a rate, and compute is a rate times a time"),
        ("4k", "", False, "'k' behind the number is not understood"),
        ("43 %", "", True, "a percentage cannot be a count"),
        ("43 %", TOKENS, True, "a percentage cannot be a number of tokens"),
        ("10^9999", "", True, "too large"),
        ("9^-9999", "", True, "too large"),
        ("1,024,5", "", True, "it is not a number"),
        ("1.2.3", "", True, "it is not a number"),
        ("512x", "", True, "'x' is not a unit"),
    ],
)
def test_what_is_refused_and_why(text, unit, count, reason):
    read = parse(text, unit, count)
    assert isinstance(read, Refusal) and reason in read.reason


def test_only_one_comma_with_three_digits_behind_it_is_ambiguous():
    assert parse("1,024").ambiguous
    for sure in ("1,048,576", "1,024.5", "0,5", "1_024", "12,34"):
        assert not parse(sure).ambiguous, sure


def test_a_petaflop_day_is_that_of_the_field():
    """Brown et al. 2020 and Kaplan et al. 2020: 8.64e19 operations."""
    assert unit_factor("PF-days", FLOPS) == Fraction(864 * 10**17)

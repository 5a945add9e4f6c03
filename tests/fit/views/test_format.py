"""Numbers as text: digits that the interval gives a meaning to, and never a 0 for what is none."""

import re
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from fit.data.vertex import short_number
from fit.views.figures.shared.labels import short
from fit.views.format import in_one_notation, number, percent, scale, significant, with_interval


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.41, 0.36, 0.47, "0.41 [0.36, 0.47]"),
        (0.16081, 0.15904, 0.16268, "0.1608 [0.1590, 0.1627]"),
        (1.61, 1.52, 1.71, "1.61 [1.52, 1.71]"),
        (-0.027, -0.067, 0.005, "−0.027 [−0.067, 0.005]"),
        (0.3, None, None, "0.300 (−∞, ∞)"),
        (0.3, 0.1, None, "0.300 [0.100, ∞)"),
        (None, None, None, "undefined"),
        # No digit of 6e-16 means anything beside its interval, and still it is not 0.
        (5.8e-16, -0.36, 1.38, "5.8e−16 [−0.4, 1.4]"),
        # No end becomes 0 because the other is large, and all three are written alike.
        (0.0123, 1.9e-4, 0.056, "0.012 [0.00019, 0.056]"),
        (1.02, 0.0031, 1246.0, "1.0 [0.0031, 1,246]"),
        (45_179.0, 13_718.0, 1.46e5, "4.5e+04 [1.4e+04, 1.5e+05]"),
        (95_000.0, 90_000.0, 101_000.0, "9.5e+04 [9.0e+04, 1.01e+05]"),
        (0.13, 4.6e-10, 0.19, "0.13 [4.6e−10, 0.19]"),
        (0.0804, 6e-7, 53.0, "0.080 [6.0e−07, 53]"),
        (0.0804, 0.0, 738.0, "0.080 [0, 738]"),
        (0.02, None, 2.5e6, "2.00e−02 (−∞, 2.500000e+06]"),
        (0.0, 0.0, 0.0013, "0.0000 [0.0000, 0.0013]"),
    ],
)
def test_an_interval_decides_the_digits(value, low, high, text):
    assert with_interval(value, low, high) == text


def test_the_numbers_of_a_column_are_in_one_notation():
    def texts(*rows):
        return in_one_notation(
            [row and SimpleNamespace(value=row[0], low=row[1], high=row[2]) for row in rows]
        )

    # One of 3e+05 gives the column its powers of ten, and so does one of 1.1e−05.
    assert texts((222, 23, 4460), None, (9e4, 1e4, 3e5)) == [
        "2.2e+02 [2.3e+01, 4.5e+03]",
        "–",
        "9.0e+04 [1.0e+04, 3.0e+05]",
    ]
    assert texts((0.0034, 1.1e-5, 0.33), (0.5, 0.4, 0.6)) == [
        "3.4e−03 [1.1e−05, 3.3e−01]",
        "5.0e−01 [4.0e−01, 6.0e−01]",
    ]
    # What is next to nothing beside the rest of its interval does not, and still is not written as 0.
    assert texts((0.13, 4.6e-10, 0.19), (0.12, 0.0, 0.18)) == ["0.13 [<0.01, 0.19]", "0.12 [0.00, 0.18]"]
    assert texts((0.4, -4.3e-17, 0.61), (5.8e-16, -0.36, 1.38)) == ["0.40 [>−0.01, 0.61]", "<0.1 [−0.4, 1.4]"]
    assert texts((None, None, None), (0.3, None, 0.5)) == ["undefined", "0.300 (−∞, 0.500]"]


def test_at_least_so_many_digits_where_they_are_asked_for():
    assert with_interval(0.16081, 0.14, 0.18, digits=4) == "0.1608 [0.1400, 0.1800]"
    assert significant(0.17, 4) == "0.1700" and significant(0, 4) == "0.000"


def test_minus_is_a_minus_and_thousands_are_told():
    assert number(-1234.5, 1) == "−1,234.5" and number(None, 2) == "undefined"
    assert percent(-0.0123, signed=True) == "−1.23 %" and percent(0.25) == "25.0 %"
    assert scale("tokens", 1e9) == "D=1e+09" and scale("n_latents", 131_072) == "n=131,072"


def read_back(text):
    """The number in a text, and half a unit of its last digit."""
    exact = Decimal(text.replace("−", "-").replace(",", ""))
    return exact, Decimal(5).scaleb(exact.as_tuple().exponent - 1)


def test_no_number_but_0_reads_as_0_and_each_is_right_within_its_digits():
    rng = np.random.default_rng(0)
    for value in np.concatenate([10 ** rng.uniform(-300, 300, 300), 10 ** rng.uniform(-6, 6, 900)]):
        low, high = value * 10 ** rng.uniform(-8, 0), value * 10 ** rng.uniform(0, 8)
        texts = {
            value: [number(value, int(rng.integers(-2, 7))), significant(value, int(rng.integers(1, 7)))],
            100 * value: [percent(value).removesuffix(" %"), percent(value, signed=True).removesuffix(" %")],
        }
        bracketed = re.findall(r"[^\s,\[\]]+(?:,\d{3})*", with_interval(value, low, high))
        for v, text in zip((value, low, high), bracketed, strict=True):
            texts.setdefault(v, []).append(text)
        for v, written in texts.items():
            for text in written:
                number_read, half_unit = read_back(text)
                assert number_read > 0 and abs(number_read - Decimal(v)) <= half_unit * Decimal(1.0001), (
                    v,
                    text,
                )
    assert number(0.0, 2) == "0.00" and percent(0.0) == "0.00 %"


def test_a_single_number_in_a_sentence_is_not_0():
    assert short_number(3e-9) == "3e-09" and short(0.04) == "0.04"

"""Numbers as text: digits that the interval gives a meaning to, and never a 0 for what is none."""

import pytest

from fit.views.format import number, percent, scale, significant, with_interval


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
        # A value of 1e-16 has no digit that its interval knows.
        (5.8e-16, -0.36, 1.38, "0.0 [−0.4, 1.4]"),
        # No end becomes 0 because the other is large, and all three are written alike.
        (0.0123, 1.9e-4, 0.056, "0.012 [0.00019, 0.056]"),
        (1.02, 0.0031, 1246.0, "1.0 [0.0031, 1,246]"),
        (45_179.0, 13_718.0, 1.46e5, "4.5e+04 [1.4e+04, 1.5e+05]"),
        (95_000.0, 90_000.0, 101_000.0, "9.5e+04 [9.0e+04, 1.01e+05]"),
        (0.13, 4.6e-10, 0.19, "0.13 [0.00, 0.19]"),
        (0.0, 0.0, 0.0013, "0.0000 [0.0000, 0.0013]"),
    ],
)
def test_an_interval_decides_the_digits(value, low, high, text):
    assert with_interval(value, low, high) == text


def test_at_least_so_many_digits_where_they_are_asked_for():
    assert with_interval(0.16081, 0.14, 0.18, digits=4) == "0.1608 [0.1400, 0.1800]"
    assert significant(0.17, 4) == "0.1700" and significant(0, 4) == "0.000"


def test_minus_is_a_minus_and_thousands_are_told():
    assert number(-1234.5, 1) == "−1,234.5" and number(None, 2) == "undefined"
    assert percent(-0.0123, signed=True) == "−1.23 %" and percent(0.25) == "25.0 %"
    assert scale("tokens", 1e9) == "D=1e+09" and scale("n_latents", 131_072) == "n=131,072"

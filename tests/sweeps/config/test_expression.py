"""Expressions compute, name what they miss, and run no code."""

import pytest

from sweeps.config.expression import evaluate
from sweeps.errors import SweepError

NAMES = {"n_latents": 1024, "k": 8, "lr": 1e-3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-3 * sqrt(1024 / n_latents)", 2e-3),
        ("k <= n_latents / 8", True),
        ("not k > 8 and n_latents % 2 == 0", True),
        ("4 < k < 16", True),
        ("-k + 2 ** 3", 0),
        ("int(1e6 * (n_latents / 256) ** 0.5)", 2_000_000),
        ("max(k, 100) if lr < 1 else 0", 100),
        ("k == 4 or k == 8", True),
    ],
)
def test_values(text, value):
    assert evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "n_latents.__class__",
        "[1][0]",
        "(lambda: 1)()",
        "open('x')",
        "k in (1, 8)",
        "f'{k}'",
        "9 ** 9 ** 9",
        "1 / 0",
        "k +",
        "width",
        "sqrt(k=1)",
        "~k",
    ],
)
def test_anything_else_is_a_sentence(text):
    with pytest.raises(SweepError) as error:
        evaluate(text, NAMES)
    assert text in str(error.value)

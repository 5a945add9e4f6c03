"""Conditions over rows and tables: what holds, what is refused in which sentence, and that none of them runs code.

`conditions.json` is also what the report's filter is held against, in `tests/fit/views/page/test_filter.py`.
"""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fit.data.conditions import FUNCTIONS, holds, mask, value
from fit.law.errors import FitError

WHERE_OVERFLOW = Path(__file__).parents[1] / "cases" / "where_overflow.csv"
CASES = json.loads((Path(__file__).parent / "conditions.json").read_text(encoding="utf-8"))
TABLE = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in CASES["columns"].items()})
ROWS = TABLE.to_dict("records")


def nullable(table):
    return table.convert_dtypes()


def as_read_from_csv(table):
    return table.infer_objects()


@pytest.mark.parametrize("make", [nullable, as_read_from_csv])
@pytest.mark.parametrize(("condition", "rows"), CASES["holds"])
def test_conditions_hold(condition, rows, make):
    assert list(np.flatnonzero(mask(condition, make(TABLE)))) == rows
    assert [i for i, row in enumerate(ROWS) if holds(condition, row)] == rows


@pytest.mark.parametrize(("condition", "sentence"), CASES["errors"])
def test_errors_are_sentences(condition, sentence):
    for evaluate in (lambda: mask(condition, nullable(TABLE)), lambda: holds(condition, ROWS[0])):
        with pytest.raises(FitError) as error:
            evaluate()
        assert str(error.value) == sentence


@pytest.mark.parametrize("condition", CASES["not_understood"])
def test_what_is_not_of_the_language_is_not_understood(condition):
    with pytest.raises(FitError, match="is not understood: write columns") as error:
        mask(condition, TABLE)
    assert all(name in str(error.value) for name in FUNCTIONS)


@pytest.mark.parametrize(
    "condition",
    [
        *(
            "(" * 5000,
            "not " * 2000 + "k",
            "-" * 5000 + "k > 1",
            "k" * 20_000,
            "*".join(["k"] * 300) + " > 1",
        ),
        *(
            "[" * 3000,
            "k in [" * 150 + "1" + "]" * 150,
            "`" * 9999,
            "1 if " * 150 + "k == 1" + " else 0" * 150,
        ),
    ],
)
def test_length_and_depth_are_bounded(condition):
    start = time.process_time()
    with pytest.raises(FitError, match="is too long|is not understood|single ="):
        mask(condition, TABLE)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "name", ["print", "eval", "getattr", "type", "str", "list", "rand", "randint", "holds"]
)
def test_nothing_beyond_the_list_is_callable(name):
    for evaluate in (lambda: holds(f"{name}(k)", ROWS[0]), lambda: value(f"{name}(k)", ROWS[0])):
        with pytest.raises(FitError, match=f"calls {name}, which is not a function here"):
            evaluate()


def test_a_callable_in_a_cell_cannot_be_called():
    with pytest.raises(FitError, match="calls danger"):
        holds("danger(1) == 1", {"danger": eval})
    assert holds("abs(k) == 3 and abs == 1", {"k": -3, "abs": 1})


def test_a_cell_of_a_row_may_be_nan_or_numpys():
    row = {"nmse": float("nan"), "lr": np.float64("nan"), "n": np.int64(2**62), "ok": np.bool_(True)}
    assert holds("nmse is missing and lr is missing and ok and n * n == 2 ** 124", row)
    assert not holds("nmse != 1 or lr != 1", row)


def test_a_product_of_columns_is_exact_beyond_int64():
    """Each row's N·D was once taken in int64, where the last two wrap around to below 0."""
    table = pd.DataFrame({"N": [100_000_000, 400_000_000, 800_000_000], "D": [10**9, 3 * 10**10, 16 * 10**9]})
    assert list(mask("N * D > 0", table)) == [True] * 3
    assert list(mask("N * D * 6 == 76800000000000000000", table)) == [False, False, True]
    assert list(mask("N * N * D > 9e27", table.convert_dtypes())) == [False, False, True]


@pytest.mark.parametrize("dtype", ["int64", "Int64", "int64[pyarrow]", "object"])
def test_compute_written_with_whole_numbers_keeps_the_rows_that_floats_keep(dtype):
    """6·N·D wraps around in int64 from 9.2e18 on: four other rows would be kept."""
    table = pd.read_csv(WHERE_OVERFLOW).astype({"N": dtype, "D": dtype})
    kept = mask("6 * N * D > 2e20", table)
    assert list(table["loss"][kept]) == [2.6, 2.5, 2.4, 2.3]
    assert list(kept) == list(mask("6.0 * N * D > 2e20", table))
    assert list(mask("N ** 2 * D > 1e30", table)) == [False] * 5 + [True] * 3


def test_many_different_rows_take_seconds():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"n": random.integers(1, 1 << 20, 30_000), "nmse": random.random(30_000)})
    start = time.process_time()
    found = mask("n * n > 4 * n and nmse < 0.5", table)
    assert time.process_time() - start < 5  # 0.4 s on a core without other work
    assert np.array_equal(found, (table["n"] > 4) & (table["nmse"] < 0.5))


def test_cells_of_any_kind():
    table = pd.DataFrame(
        {
            "list": [[1], [2], None],
            "when": pd.to_datetime(["2026-01-01", None, "2026-03-01"]),
            "category": pd.Categorical(["a", "b", None]),
            5: [1, 2, 3],
        }
    )
    assert list(mask("list == '[1]'", table)) == [True, False, False]
    assert list(mask("when is missing", table)) == [False, True, False]
    assert list(mask("category != 'a'", table)) == [False, True, False]
    assert list(mask("`5` >= 2", table)) == [False, True, True]
    with pytest.raises(FitError, match="have no order"):
        mask("when > '2026-02-01'", table)
    with pytest.raises(FitError, match="There are list, when, category, 5"):
        mask("x == 1", table)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("2e-3 * sqrt(1024 / n_latents)", 2e-3),
        ("k <= n_latents / 8", True),
        ("not k > 8 and n_latents % 2 == 0", True),
        ("4 < k < 16", True),
        ("-k + 2 ** 3", 0),
        ("int(1e6 * (n_latents / 256) ** 0.5)", 2_000_000),
        ("max(k, 100) if lr < 1 else 0", 100),
        ("'topk'", "topk"),
        ("None if k == 8 else 3", None),
        ("k if sparsity_coef is missing else 0", 8),
        ("twice(k, 'text')", 16),
        ("k if k == 8 else twice()", 8),
    ],
)
def test_values(text, result):
    row = {"n_latents": 1024, "k": 8, "lr": 1e-3, "sparsity_coef": None}
    assert value(text, row, {"twice": lambda k, _: 2 * k}) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sqrt(sparsity_coef)", "an operand of sqrt is missing"),
        ("1 if sparsity_coef > 2 else 0", "an operand of > is missing"),
        ("1 / 0", "/ is not defined for 1 and 0"),
        ("log(0 - k)", "log is not defined for -8"),
        ("9 ** 9 ** 9", "a number becomes too large"),
        ("twice()", "argument"),
        ("twice('a')", "wants a number"),
        ("twice", "names twice, which is not a column here"),
        ("twic(3)", "Did you mean twice?"),
        ("width", "names width"),
    ],
)
def test_a_value_that_cannot_be_computed_is_a_sentence(text, reason):
    def twice(number):
        if isinstance(number, str):
            raise ValueError("twice wants a number.")
        return 2 * number

    with pytest.raises(FitError) as error:
        value(text, {"k": 8, "sparsity_coef": None}, {"twice": twice})
    assert reason in str(error.value) and text in str(error.value)

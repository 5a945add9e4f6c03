"""A table's fingerprint: the same for the same rows in any file and order, another for any other value."""

import numpy as np
import pandas as pd
import pytest

from fit.data.fingerprint import fingerprint
from fit.data.tables import read

TABLE = pd.DataFrame(
    {
        "run_id": pd.array(["00ff", "0012", "1e5", "d"], dtype="string"),
        "k": pd.array([32, 64, None, 32], dtype="Int64"),
        "nmse": [0.1 + 0.2, 1 / 3, np.nan, 5e-324],
        "converged": pd.array([True, None, False, True], dtype="boolean"),
        "message": ["", None, 'a, "b"\nc', "Ä"],
        "lr": np.array([1e-4, 3.3e-4, -0.0, 1e300]),
    }
)


def test_it_is_that_of_the_values_and_not_of_how_they_are_stored(tmp_path):
    TABLE.to_parquet(tmp_path / "a.parquet")
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    want = fingerprint(TABLE)
    assert want.rows == 4
    assert fingerprint(read(tmp_path / "a.parquet")) == want
    assert fingerprint(read(tmp_path / "a.csv")) == want
    assert fingerprint(TABLE.sample(frac=1, random_state=1)[TABLE.columns[::-1]]) == want
    assert fingerprint(TABLE.astype({"k": "float64", "message": "category"})) == want


def test_a_hundred_thousand_random_floats_survive_a_csv(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": np.exp(40 * rng.standard_normal(100_000))})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert fingerprint(read(tmp_path / "a.csv")) == fingerprint(table)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.assign(nmse=t["nmse"].where(t.index != 1, np.nextafter(1 / 3, 1))),
        lambda t: t.assign(nmse=t["nmse"].fillna(0)),
        lambda t: t.assign(message=t["message"].replace("Ä", "A")),
        lambda t: t.assign(converged=t["converged"].fillna(False)),
        lambda t: t.assign(k=t["k"].to_numpy()[::-1]),
        lambda t: t.rename(columns={"lr": "rate"}),
        lambda t: t.rename(columns={"lr": "nmse", "nmse": "lr"}),
        lambda t: t.head(3),
        lambda t: t.drop(columns="lr"),
        lambda t: pd.concat([t, t.head(1)]),
    ],
)
def test_it_is_another_for_another_value_name_or_row(change):
    assert fingerprint(change(TABLE)) != fingerprint(TABLE)


def test_rows_are_hashed_whole():
    """The same values in each column, in other rows, are another table."""
    one, other = pd.DataFrame({"a": [1, 2], "b": [3, 4]}), pd.DataFrame({"a": [1, 2], "b": [4, 3]})
    assert fingerprint(one) != fingerprint(other)


def test_an_empty_table_has_one():
    assert fingerprint(TABLE.head(0)).rows == 0

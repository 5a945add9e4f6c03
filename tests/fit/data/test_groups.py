"""Which columns split a table into fits of their own, and which only follow the size."""

import numpy as np
import pandas as pd
import pytest

from fit.data.groups import GROUPS, groups, split
from fit.law.errors import FitError

N = 2.0 ** np.arange(9, 15)
TABLE = pd.DataFrame({"n_latents": np.repeat(N, 4), "tokens": np.tile([1e6, 1e7, 1e8, 1e9], 6), "nmse": 0.5})


def parts(table, inputs=("n_latents", "tokens"), asked=None):
    return split(table, ["k"], GROUPS, inputs, asked)


@pytest.mark.parametrize(
    "columns",
    [
        {"d_model": TABLE["n_latents"] // 8},
        {"k": TABLE["n_latents"] // 64},
        {"batch_tokens": 2e6 / TABLE["n_latents"]},
        {"activation": TABLE["n_latents"].map("relu-{:g}".format)},
        {"data": TABLE["n_latents"].map("text for {:g}".format)},
        {"d_model": np.where(TABLE["n_latents"] < 2000, 256, np.where(TABLE["n_latents"] < 5000, 512, 1024))},
    ],
)
@pytest.mark.parametrize("inputs", [("n_latents", "tokens"), ("n_latents",), ()])
def test_a_column_that_follows_the_size_does_not_split(columns, inputs):
    found = parts(TABLE.assign(**columns), inputs)
    assert found.by == () and found.following == tuple(columns)
    (caution,) = found.cautions
    assert f"--group {next(iter(columns))} would split them" in caution.text


@pytest.mark.parametrize(
    "columns",
    [
        {"k": np.tile([16, 32, 16, 32], 6)},
        {"d_model": np.where(TABLE["n_latents"] < 4000, 512, 768)},
        {"data": np.where(TABLE["n_latents"] < 4000, "a", "b")},
        {"activation": np.where(TABLE["n_latents"] < 1000, "relu", "topk")},
        {"batch_tokens": np.resize([1024, 4096, 2048], 24)},
    ],
)
def test_a_column_of_experiments_of_their_own_splits(columns):
    found = parts(TABLE.assign(**columns))
    assert found.by == tuple(columns) and found.following == () and not found.cautions


def test_the_user_decides():
    table = TABLE.assign(k=np.tile([16, 32, 16, 32], 6), d_model=TABLE["n_latents"] // 8)
    assert [group for group, _ in groups(table, ["k"], GROUPS, ("n_latents",), ())] == [{}]
    assert len(list(groups(table, ["k"], GROUPS, ("n_latents",), ("d_model", "k")))) == 12
    with pytest.raises(FitError, match="no column width"):
        parts(table, asked=("width",))

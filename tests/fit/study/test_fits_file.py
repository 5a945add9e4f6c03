"""fits.json is written again only where it says something else."""

import json

import numpy as np
import pytest

from fit.law import fit_law
from fit.study.fits_file import read, write_json

N = 2.0 ** np.arange(7, 14)


@pytest.fixture
def fits():
    return [fit_law("L_N", N, 0.1 + 2 * N**-0.4, method="delta")]


def test_a_file_of_an_older_version_that_says_the_same_is_left_as_it_is(fits, tmp_path):
    path = write_json(fits, "runs.parquet", tmp_path / "fits.json")
    content = json.loads(path.read_text())
    assert content["fits"][0].pop("origin") is None  # a key that an older version did not write
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    write_json(fits, "runs.parquet", path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["value", "table", "damage"])
def test_a_file_that_says_anything_else_is_written(fits, tmp_path, change):
    path = write_json(fits, "runs.parquet", tmp_path / "fits.json")
    content = json.loads(path.read_text())
    if change == "value":
        content["fits"][0]["params"]["E"]["value"] *= 1 + 1e-15
    if change == "table":
        content["table"] = "other.parquet"
    path.write_text("{" if change == "damage" else json.dumps(content))
    assert read(write_json(fits, "runs.parquet", path)).table == "runs.parquet"
    assert json.loads(path.read_text())["fits"][0]["params"]["E"]["value"] == fits[0].params["E"].value

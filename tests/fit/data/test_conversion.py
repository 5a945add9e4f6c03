"""Columns of text as numbers: what is converted, with which factor, what is said, and what is left alone."""

import numpy as np
import pandas as pd
import pytest

from fit.data.conversion import header_unit, need, read_numbers


def read(name, *cells):
    return read_numbers(pd.Series(list(cells)), need(name), name)


@pytest.mark.parametrize(
    ("cells", "want", "factor"),
    [
        (["0.5k", "1k", "16k"], [512, 1024, 16384], "1,024"),
        (["16k", "65k", "131k", "262k", "33k"], [16384, 65536, 131072, 262144, 32768], "1,024"),
        (["16k", "64k"], [16384, 65536], "1,024"),
        (["10k", "100k"], [10_000, 100_000], "1,000"),
        (["16k", "24k"], [16_000, 24_000], "1,000"),
        (["16k", "60k"], [16_000, 60_000], "1,000"),
        (["1M", "1.05M", "16M"], [2**20, 2**20, 2**24], "1,024²"),
        (["70M", "160M"], [70_000_000, 160_000_000], "1,000,000"),
    ],
)
def test_k_is_a_power_of_two_only_where_every_value_is_one(cells, want, factor):
    got = read("n_latents", *cells)
    assert got.values.tolist() == want
    (note,) = got.notes
    assert f" for {factor}" in note and ("write the numbers out" in note) == ("1,024" in factor)


def test_k_behind_tokens_or_the_columns_of_others_is_a_thousand():
    assert read("tokens", "16k", "32k").values.tolist() == [16_000, 32_000]
    assert read("width", "16k", "32k").values.tolist() == [16_000, 32_000]


def test_there_is_one_note_for_each_way_of_writing_with_an_example():
    got = read("n_latents", "2^9", "2^10", "1,024", "512", "-")
    assert got.values.tolist()[:4] == [512, 1024, 1024, 512] and np.isnan(got.values[4])
    assert got.notes == (
        "n_latents: 2 values such as 2^9 were read as powers: 2^9 is 512.",
        "n_latents: 1 value, 1,024, was read with a mark between thousands: 1,024 is 1024.",
        "n_latents: 1 value, -, was taken as missing.",
    )
    assert read("n_latents", "512", "1024").notes == ()
    assert read("flops_sparse", "3 PFLOPs").notes == (
        "flops_sparse: 1 value, 3 PFLOPs, was read in PFLOPs of 1e+15 FLOPs: 3 PFLOPs is 3e+15 FLOPs.",
    )


def test_numbers_of_numbers_are_the_column_itself():
    for cells in ([1.5, 2.5], [1, 2], [True, False]):
        column = pd.Series(cells)
        assert read_numbers(column, need("nmse")).values is column


@pytest.mark.parametrize("cells", [["43.95%", "36.8"], ["36.8", "43.95%"]])
def test_percent_beside_plain_numbers_is_refused_since_their_unit_is_not_known(cells):
    got = read("nmse", *cells)
    assert got.values.tolist() == cells and got.notes == ()
    assert "has no unit, where '43.95%' has one" in got.refused["36.8"]
    assert read("nmse", "43.95%", "0").values.tolist() == [0.4395, 0]


def test_a_comma_is_settled_by_the_rest_of_the_column():
    assert read("n_latents", "1,024", "2,048").values.tolist() == [1024, 2048]
    assert read("nmse", "1,024", "0,5").values.tolist() == [1.024, 0.5]
    assert read("flops_sparse", "1,024", "1,048,576").values.tolist() == [1024, 1048576]
    got = read("nmse", "1,024", "2,512")
    assert got.values.tolist() == ["1,024", "2,512"]
    assert got.refused["1,024"] == "it may be 1.024 or 1024: write it without the comma"


def test_cells_that_are_no_numbers_stay_and_say_why():
    got = read("nmse", "0.5", "diverged", None, "inf", "∞", "nan")
    assert got.values.tolist()[:2] == [0.5, "diverged"] and got.values.tolist()[3:5] == [np.inf, np.inf]
    assert pd.isna(got.values[2]) and pd.isna(got.values[5])
    assert got.refused == {"diverged": "it is not a number"}


def test_texts_and_flags_of_ours_need_no_numbers_and_names_of_others_stay_names():
    assert need("run_id") is None and need("converged") is None and need("data") is None
    got = read("run", "16k", "baseline")
    assert got.values.tolist() == ["16k", "baseline"] and got.notes == ()


def test_a_unit_in_a_header_counts_where_the_column_can_have_it():
    assert header_unit("C (PFLOPs)", need("flops_sparse"))[1] == 10**15
    assert header_unit("compute [PF-days]", need("flops_dense"))[1] == 864 * 10**17
    assert header_unit("D (B)", need("tokens"))[1] == 10**9
    assert float(header_unit("loss (%)", need("nmse"))[1]) == 0.01
    for plain in ("C (FLOPs)", "loss (nats)", "loss", "N (ours)", "", "(a) n"):
        assert header_unit(plain, need("flops_sparse")) is None
    assert header_unit("n (%)", need("n_latents")) is None

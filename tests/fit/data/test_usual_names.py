"""Columns under the usual names of the field are taken where nothing else could be meant."""

import numpy as np
import pandas as pd
import pytest

from fit.data import tables
from fit.data.usual_names import usual_names
from fit.law.errors import FitError
from fit.study import fit_table

N = 2.0 ** np.arange(9, 17)
LOSS = 0.1 + 2 * N**-0.3


def table(**columns):
    return pd.DataFrame({name: np.broadcast_to(value, 8) for name, value in columns.items()})


@pytest.mark.parametrize(
    ("columns", "mapping"),
    [
        ({"d_sae": N, "fvu": LOSS}, {"n_latents": "d_sae", "nmse": "fvu"}),
        (
            {"config.dict_size": N, "summary/eval_loss": LOSS},
            {"n_latents": "config.dict_size", "nmse": "summary/eval_loss"},
        ),
        (
            {"sae_cfg_dict.d_sae": N, "sae_cfg_dict.k": 32},
            {"n_latents": "sae_cfg_dict.d_sae", "k": "sae_cfg_dict.k"},
        ),
        ({"Learning Rate": 1e-4, "lr_max": 1e-4}, {"lr": "Learning Rate"}),
        ({"TopK": [8, 16] * 4, "activation_dim": 768}, {"k": "TopK", "d_model": "activation_dim"}),
        ({"topk": 0.5}, {}),
        ({"n_latents": N, "d_sae": N + 1}, {}),
        ({"training_tokens": 1e9, "tokens_seen": 9e8}, {}),
        ({"mse": LOSS, "explained_variance": 1 - LOSS}, {"nmse": "explained_variance"}),
        ({"mse": LOSS, "eval_loss": 2 * LOSS}, {}),
        ({"C": 1e18, "N": N, "width": 4, "n": 5, "l0": 32, "loss_scale": 1, "batch_size": 8}, {}),
        ({"flops_sparse": 1e18, "total_flops": 2e18}, {}),
        ({"d_sae (k)": N}, {"n_latents": "d_sae (k)"}),
    ],
)
def test_a_column_is_taken_by_its_name_where_it_is_the_only_one(columns, mapping):
    assert dict(usual_names(table(**columns), {}).mapping) == mapping


def test_a_column_that_the_user_named_is_no_other():
    found = usual_names(table(learning_rate=N, lr_max=2 * N, d_sae=N), {"k": "d_sae", "lr": "lr_max"})
    assert not found.mapping and not found.unsure


@pytest.mark.parametrize(("ours", "one", "other"), [("lr", "peak_lr", "base_lr"), ("k", "topk", "sae.k")])
def test_two_columns_that_would_be_pooled_are_refused_with_what_decides(ours, one, other):
    with pytest.raises(
        FitError, match=rf"{one} and {other} could be {ours}: --map {ours}={one} or --map {ours}="
    ):
        usual_names(table(**{one: np.arange(1, 9), other: np.arange(2, 10)}), {})


def test_what_was_taken_is_one_line_and_what_was_not_is_asked_for_where_it_is_needed():
    rows = table(d_sae=N, fvu=LOSS, training_tokens=1e9, tokens_seen=9e8)
    lines = []
    (fit,) = fit_table(rows, laws=["L_N"], say=lines.append)
    assert fit.params["alpha"].value == pytest.approx(0.3, abs=1e-6) and rows.attrs == {}
    assert (
        lines[0] == "Taken by their names: n_latents from d_sae, nmse from fvu (--map chooses other columns)."
    )
    assert lines[1].startswith(
        "training_tokens and tokens_seen could be tokens, and none was taken: --map tokens="
    )
    with pytest.raises(
        FitError, match="It could be training_tokens or tokens_seen: --map tokens=training_tokens or"
    ):
        fit_table(rows, laws=["L_ND"], say=str)


@pytest.mark.parametrize("mapping", [{}, {"nmse": "core.explained_variance"}])
def test_explained_variance_is_turned_into_its_complement(mapping):
    lines = []
    rows = table(d_sae=N, **{"core.explained_variance": 1 - LOSS})
    (fit,) = fit_table(rows, laws=["L_N"], mapping=mapping, say=lines.append)
    assert fit.params["alpha"].value == pytest.approx(0.3, abs=1e-6)
    assert (
        "nmse is 1 − core.explained_variance, since an explained variance rises where a loss falls." in lines
    )
    assert fit.loss_name == "(1 − core.explained_variance)"
    with pytest.raises(
        FitError,
        match="is called an explained variance and holds 59.*in the row of index 0.*which is above 1",
    ):
        fit_table(table(d_sae=N, explained_variance=100 * (1 - LOSS)), laws=["L_N"], say=str)


@pytest.mark.parametrize("condition", ["width > 1000", "width == 16384", "not 2 * width < 9"])
def test_a_condition_on_numbers_as_text_says_how_they_are_read(condition):
    rows = pd.DataFrame({"width": ["16k", "32k"], "name": ["16k", "32k"]})
    with pytest.raises(FitError, match=r"compares width with numbers.*\('16k'\): add --map width=width"):
        tables.where(rows, condition)
    assert len(tables.where(rows, "name == '16k'")) == len(tables.where(rows, "width in ['16k']")) == 1

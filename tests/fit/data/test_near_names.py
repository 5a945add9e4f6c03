"""Mistyped names get the nearest known names as suggestions."""

import pytest

from fit.data.near_names import did_you_mean, near_names

COLUMNS = ["n_latents", "k", "lr", "nmse", "nmse_live", "nmse_ema", "data"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("n_latent", " Did you mean n_latents?"),
        ("N_LATENTS", " Did you mean n_latents?"),
        ("nmse_liv", " Did you mean nmse_live?"),
        ("xyzzy", ""),
        ("", ""),
    ],
)
def test_suggestions(name, sentence):
    assert did_you_mean(name, COLUMNS) == sentence


def test_names_keep_their_spelling_and_need_not_be_texts():
    assert near_names("loss", ["Loss", 3, "Step"]) == ["Loss"]

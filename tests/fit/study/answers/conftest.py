"""Fits of the GPT-4 table that questions are asked of."""

from dataclasses import replace

import pytest

from fit.datasets import load
from fit.law import fit_law


@pytest.fixture(scope="session")
def gpt4():
    """L_N at k = 256, and L_NK."""
    table = load("gao2024_gpt4_lnk")
    part = table[table["k"] == 256]
    alone = fit_law("L_N", part["n"], part["loss"], hold_out=False)
    joint = fit_law("L_NK", {"n_latents": table["n"], "k": table["k"]}, table["loss"], hold_out=False)
    return [replace(alone, regime="converged", group={"k": 256}), replace(joint, regime="converged")]

"""Captions beside the figures: formula, estimates, runs and commits, as Markdown and as LaTeX that is plain ASCII."""

import re

import pandas as pd
import pytest

from fit.views.figures.laws import l_nk
from fit.views.figures.shared import captions
from tests.fit.views.figures.tables import all_fits, runs_table, study


@pytest.mark.parametrize(
    "formula, tex",
    [
        ("L(N) = E + A·N^−α", r"$L(N) = E + A\cdot N^{-\alpha }$"),
        ("lr*(n) = A·n^−α", r"$\mathrm{lr}^{*}(n) = A\cdot n^{-\alpha }$"),
        ("exp(ζ + η ln K)", r"$\exp (\zeta  + \eta  \ln  K)$"),
        ("mine: 100% of {x}", r"mine: 100\% of \{x\}"),
    ],
)
def test_a_formula_is_mathematics_and_what_is_none_is_escaped(formula, tex):
    assert captions.latex_formula(formula) == tex


def test_large_and_small_numbers_have_one_notation():
    assert captions.raised("A 6.4e+04 [1.7e−03, 3.3e+05]") == "A 6.4·10⁴ [1.7·10⁻³, 3.3·10⁵]"
    assert captions.latex_text("6.4·10⁻⁴") == r"6.4$\cdot $10$^{-4}$"


def test_both_files_have_formula_estimates_and_runs():
    runs = runs_table().assign(git_sha=["a" * 40] * 3 + ["b" * 40] * 38 + [None])
    made = study(runs, None, all_fits())
    caption = l_nk.caption(l_nk.numbers(made), made)
    assert "β_k 0.24 [0.19, 0.31]" in caption.markdown() and "45 points" in caption.markdown()
    assert caption.markdown().endswith(
        "42 runs at commit aaaaaaa (3), bbbbbbb (38), 1 of an unknown commit.\n"
    )
    tex = caption.latex()
    assert tex.isascii() and tex.count("$") % 2 == 0 and tex.count("{") == tex.count("}")
    assert r"$\beta_{k}$ 0.24 [0.19, 0.31]" in tex
    assert not re.search(r"(?<!\\)[&#]", tex)


def test_a_table_without_commits_says_so():
    made = study(runs_table(), None, all_fits())
    assert captions.caption("", made).source == "42 runs; the table does not name their commit."
    assert captions.caption("", study(pd.DataFrame({"n": [1, 2]}))).source == "2 rows."

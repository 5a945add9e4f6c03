"""The paragraph about a fit in a paper: what it says, and that LaTeX and Markdown take it."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fit.data import tables
from fit.law.caution import Caution, Kind
from fit.law.checks.held_out import HeldOut, HeldOutPoint, Score
from fit.law.checks.lack_of_fit import LackOfFit
from fit.law.checks.noise import KnownFrom
from fit.law.errors import FitError
from fit.law.fit import fit_law
from fit.law.laws import named
from fit.law.options import FitOptions
from fit.law.result import FitResult, Param
from fit.study import fit_table
from fit.study.fits_file import read, write_json
from fit.views.card import MARKDOWN, STYLES, TEXT, card, cards
from fit.views.verbs.fit import main
from tests.fit.laws_under_test import INPUTS, TRUTH

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture(scope="module")
def law():
    """L(N), with everything that a paragraph can say."""
    x = INPUTS["L_N"]
    y = named("L_N").loss(TRUTH["L_N"], x) * np.exp(
        0.005 * np.random.default_rng(0).standard_normal(len(x["n_latents"]))
    )
    found = fit_law("L_N", x, y, compare=False, hold_out=False)
    params = {"E": Param(0.0804, 6e-7, 53.0, "profile"), "A": Param(3.1, 2.7, None, "profile")}
    point = HeldOutPoint({"n_latents": 131072.0}, 0.16, 0.159, 0.163, 0.1612, -0.0073, True)
    score = Score(65536.0, 8, 1, 0.0073)
    cautions = [
        Caution(
            Kind.ROWS,
            "3 of 9 rows_left & 50 % of C^2 left out by `state == 'done'`: see #1, {2}, ~3 and \\4.",
        ),
        Caution(Kind.STARTS, "Only 1 of 16 starts agrees."),
        Caution(
            Kind.REFUTED, "Residuals of 5.0 % where α ≤ 1e-05 × √2: the law does not describe these rows."
        ),
    ]
    return replace(
        found,
        params={**params, "alpha": found.params["alpha"]},
        group={"k": 32, "activation": "topk_v2"},
        held_out=HeldOut("n_latents", score, (point,), (score,)),
        cautions=tuple(cautions),
        lack_of_fit=LackOfFit(0.05, 0.002, KnownFrom.CURVES, 25.0, 1e-9, True),
        rms_log=0.05,
    )


def test_the_paragraph_says_what_a_paper_must(law):
    alpha = law.params["alpha"]
    text = card(law)
    assert text.startswith(
        "L_N, k = 32, activation = topk_v2. Residuals of 5.0 % where α ≤ 1e-05 × √2: the law "
    )
    assert " We fitted L(N) = E + A·N^−α to " in text
    assert f"to {law.rows} rows by least squares on log NMSE." in text
    assert "E = 0.080 [6.0e−07, 53], A = 3.10 [2.70, ∞) and α = 0." in text and alpha.value
    assert "with 95 % intervals by profile likelihood." in text
    assert "root mean square of 5.00 %, where curves show a noise of 0.20 %." in text
    assert (
        "Fitted to n ≤ 65,536 alone, the law is off by −0.73 % at n=131,072, inside its 95 % interval."
        in text
    )
    assert "starts" not in text and text.index("does not describe") < text.index("3 of 9 rows_left")
    assert "\n" not in text


def test_a_refuted_law_says_so_first_and_advice_is_left_out(law):
    fact, advice = "E and α trade off (corr −0.97)", ": compare predictions, not exponents."
    refuted = "Residuals 5.0 % where the curves scatter by 0.064 %: this law does not describe these rows."
    cautions = Caution.advising(Kind.TRADE_OFF, fact, advice), Caution(Kind.REFUTED, refuted)
    fit = replace(law, cautions=cautions)
    text = card(fit)
    assert text.partition(". ")[2].startswith("Residuals 5.0 % where the curves scatter by 0.064 %")
    assert text.count("Residuals 5.0 %") == 1
    assert text.endswith("E and α trade off (corr −0.97).") and "compare" not in text


def test_a_law_that_the_rows_do_not_refute_says_so(law):
    held = replace(law, lack_of_fit=LackOfFit(0.002, 0.002, KnownFrom.SEEDS, 1.0, 0.5, False))
    assert "where seeds show a noise of 0.20 %, so that the rows do not refute the law." in card(held)
    unknown = replace(law, lack_of_fit=None, held_out=None)
    assert "a root mean square of 5.00 %. It was not tested on held-out scales." in card(unknown)


def prose(latex):
    """A paragraph without its math, its commands and its escaped letters."""
    latex = re.sub(r"(?<!\\)\$[^$]*(?<!\\)\$", "", latex)
    return re.sub(r"\\[a-zA-Z]+|\\[^a-zA-Z]", "", latex)


def checked(latex):
    bare = re.sub(r"\\[{}]", "", latex)
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0 and latex.isascii()
    assert len(re.findall(r"(?<!\\)\$", latex)) % 2 == 0
    assert not re.search(r"[_%&#$^~\\<>|\"`]", prose(latex)), prose(latex)


def test_latex_is_ascii_with_every_special_letter_escaped(law):
    text = card(law, "latex")
    checked(text)
    assert text.startswith(r"\paragraph{L\_N, k = 32, activation = topk\_v2.} Residuals of 5.0 \% where ")
    assert r" We fitted $L(N) = E + A\,N^{-\alpha}$" in text
    assert r"$E = 0.080$ $[6.0 \times 10^{-7}, 53]$, $A = 3.10$ $[2.70, \infty)$ and $\alpha = 0." in text
    assert (
        r"rows\_left \& 50 \% of C\textasciicircum{}2 left out by \texttt{state == 'done'}: see \#1, \{2\}"
        in text
    )
    assert (
        r"where $\alpha$ $\le$ $1 \times 10^{-05}$" not in text
        and r"$1 \times 10^{-5}$ $\times$ $\surd$2" in text
    )


@pytest.mark.parametrize("name", sorted(set(INPUTS) & set(TRUTH)))
def test_every_law_has_cards(name):
    fit = fit_law(
        name, INPUTS[name], named(name).loss(TRUTH[name], INPUTS[name]), method="delta", hold_out=False
    )
    checked(card(fit, "latex"))
    assert fit.formula in card(fit, TEXT) and f"${fit.latex}$" in card(fit, MARKDOWN)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_latex_compiles_with_amsmath_alone(law, tmp_path):
    document = [
        r"\documentclass{article}\usepackage{amsmath}\begin{document}",
        card(law, "latex"),
        r"\end{document}",
    ]
    (tmp_path / "card.tex").write_text("\n".join(document))
    subprocess.run(["pdflatex", "-halt-on-error", "card.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_markdown_takes_no_letter_for_markup(law):
    text = card(law, MARKDOWN)
    assert text.startswith(r"**L\_N, k = 32, activation = topk\_v2.** Residuals of 5.0 % where ")
    assert r" We fitted $L(N) = E + A\,N^{-\alpha}$ to" in text
    assert r"A = 3.10 \[2.70, ∞) and α" in text and "by `state == 'done'`" in text


def test_cards_of_a_file_are_those_of_its_fits(tmp_path):
    fits = fit_table(
        tables.read(CASES / "isoflop_unique_n.csv"), laws=["N_C", "D_C"], options=FitOptions(draws=40)
    )
    path = write_json(fits, "table.csv", tmp_path / "fits.json")
    back = read(path).fits
    for style in STYLES:
        assert cards(back, style) == cards(fits, style)
    first, second = cards(back).split("\n\n")
    assert first.startswith(
        "N_C, by isoFLOP parabolas. We fitted N*(C) = A·C^a to the optima of 6 budgets with 42 runs"
    )
    assert second.startswith("D_C, by isoFLOP parabolas.") and "C in FLOPs (sparse convention)" in second
    assert isinstance(back[0], FitResult)


def test_only_the_cards_are_on_stdout(tmp_path, capsys):
    table = str(CASES / "isoflop_unique_n.csv")
    code = main([table, "--law", "N_C", "--draws", "40", "--as", "latex", "--out", str(tmp_path)])
    out, err = capsys.readouterr()
    assert code == 0 and out.startswith(r"\paragraph{N\_C, by isoFLOP parabolas.}") and out.count("\n") == 1
    assert err.startswith("wrote ")


def test_an_unknown_style_is_a_sentence(law):
    with pytest.raises(FitError, match="no cards as html: choose text, latex, markdown"):
        card(law, "html")

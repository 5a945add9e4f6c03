"""Captions beside the figures: formula, estimates, runs and commits, as Markdown and as LaTeX that is plain ASCII."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from fit.study import fits_file
from fit.views.card import LATEX, cards
from fit.views.figures.laws import l_nk
from fit.views.figures.shared import captions
from tests.fit.views.figures.tables import all_fits, runs_table, study

ROOT = Path(__file__).resolve().parents[4]
IN_FIGURES = {
    c for file in (ROOT / "fit/views/figures").rglob("*.py") for c in file.read_text() if not c.isascii()
}


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


@pytest.mark.parametrize(
    "text, tex",
    [
        ("L ∝ B^b, n < 2", r"L $\propto $ $B^{b}$, n $<$ 2"),
        ("L∞ ± 0.1", r"$L_{\infty}$ $\pm $ 0.1"),
        ("a^2 of x_0, ~3", r"a\textasciicircum{}2 of x\_0, \textasciitilde{}3"),
        ("R², ω₁ → ½", r"R$^{2}$, $\omega$$_{1}$ $\to $ $\frac{1}{2}$"),
    ],
)
def test_signs_are_mathematics(text, tex):
    assert captions.latex_text(text) == tex


def test_every_sign_in_the_code_of_the_figures_is_ascii_in_latex():
    assert {"ρ", "≤"} < IN_FIGURES
    assert [sign for sign in IN_FIGURES if not captions.latex_text(sign).isascii()] == []


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex: apt-get install texlive-latex-base")
def test_captions_and_paragraphs_compile(tmp_path):
    """Read with \\input and pasted, where LaTeX also moves the caption into the list of figures."""
    files = sorted((ROOT / "docs").rglob("*.tex"))
    assert len(files) >= 10
    signs = "".join(captions.latex_text(sign) + " " for sign in sorted(IN_FIGURES))
    fits = [fit for file in sorted((ROOT / "docs").rglob("fits.json")) for fit in fits_file.read(file).fits]
    assert fits
    arguments = [text for file in files for text in (f"[A]{{\\input{{{file}}}}}", f"{{{file.read_text()}}}")]
    body = [rf"\begin{{figure}}[p]\caption{each}\end{{figure}}\clearpage" for each in arguments]
    lines = [
        r"\documentclass{article}\usepackage{amsmath}\begin{document}\listoffigures",
        signs,
        cards(fits, LATEX),
    ]
    (tmp_path / "all.tex").write_text("\n".join([*lines, *body, r"\end{document}"]))
    for _ in range(2):  # the second run reads the list of figures
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert "Missing character" not in log and "undefined" not in log


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

"""Every figure of three studies of different shape fits a paper: readable, mostly plot, at most 4 in high."""

from functools import cache
from pathlib import Path

import pytest

from fit import datasets
from fit.study.study_tables import StudyTables
from fit.views.figures import FIGURES
from tests.fit.views.figures.looking import faults

DOCS = Path(__file__).parents[4] / "docs"
# Two k and one batch size; one table of losses without curves; one k, three batch sizes and 90 curves.
STUDIES = {
    "smollm2": lambda: StudyTables.read(DOCS / "smollm2" / "runs.parquet"),
    "gpt4": lambda: StudyTables.read(
        Path(datasets.__file__).parent / "gao2024_gpt4_lnk.csv",
        {"n_latents": "n", "nmse": "loss"},
        fits=DOCS / "gpt4" / "fits.json",
    ),
    "synthetic": lambda: StudyTables.read(DOCS / "regimes" / "synthetic" / "runs.parquet"),
}


@cache
def read(name):
    return STUDIES[name]()


def check(name, figure):
    study, module = read(name), FIGURES[figure]
    found = faults(module.draw(module.numbers(study), study))
    assert not found, "\n".join([figure, *found])


@pytest.mark.parametrize("name, figure", [("gpt4", "l_nk"), ("smollm2", "budgets")])
def test_a_figure_fits_a_paper(name, figure):
    check(name, figure)


# Each figure once or twice; those of ablations, activations, latents and subjects are measured by their own tests.
SMOLLM2 = "fig1 l_n l_c curves tokens dead large_run optima isoflop regimes residuals".split()
SYNTHETIC = "l_n lr tokens batch random_data lr_ratio budgets residuals profiles".split()


@pytest.mark.slow
@pytest.mark.parametrize("name, figures", [("smollm2", SMOLLM2), ("synthetic", SYNTHETIC)])
def test_every_figure_fits_a_paper(name, figures):
    for figure in figures:
        check(name, figure)

"""Every figure of three studies of different shape fits a paper: readable, mostly plot, at most 4 in high."""

from functools import cache
from pathlib import Path

import pytest

from fit import datasets
from fit.study.study_tables import StudyTables
from fit.views.figures import FIGURE_NAMES, FIGURES
from fit.views.figures.shared import inputs
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
# The figures that are not yet redrawn: their legends are larger than their panels, or they are higher than 4 in.
FAILS = set(FIGURE_NAMES)
NOT_HERE = (
    "ablations",
    "activations",
    "latents",
    "subjects",
)  # their own tests draw them from their own tables


@cache
def read(name):
    return STUDIES[name]()


def check(name, figure):
    study, module = read(name), FIGURES[figure]
    try:
        table = module.numbers(study)
    except inputs.Missing:
        pytest.skip("the study has no data for it")
    found = faults(module.draw(table, study))
    assert bool(found) == (figure in FAILS), "\n".join(found)


@pytest.mark.parametrize("name, figure", [("gpt4", "l_nk"), ("smollm2", "budgets")])
def test_a_figure_fits_a_paper(name, figure):
    check(name, figure)


@pytest.mark.slow
@pytest.mark.parametrize("figure", [figure for figure in FIGURE_NAMES if figure not in NOT_HERE])
@pytest.mark.parametrize("name", ["smollm2", "synthetic"])
def test_every_figure_fits_a_paper(name, figure):
    check(name, figure)

"""Fig. 4 and Fig. 31: L(N) of several subjects at one k, and of synthetic data."""

import numpy as np
import pytest

from fit.views.figures.laws import by_subject as module
from fit.views.figures.laws import random_data
from fit.views.figures.shared import inputs
from tests.fit.sweep_tables import N
from tests.fit.views.figures.looking import assert_readable, lines
from tests.fit.views.figures.tables import study


def test_at_the_k_that_both_models_have_a_law_each(subjects):
    table = module.numbers(study(subjects.runs, None, subjects.fits))
    assert set(table["panel"]) == {"model = small, layer = 8", "model = large, layer = 20"}
    assert set(table["k"]) == {32}
    for model in ("small", "large"):
        own = table[table["panel"].str.contains(model) & (table["series"] == "run")]
        runs = subjects.runs[(subjects.runs["model"] == model) & (subjects.runs["k"] == 32)]
        np.testing.assert_array_equal(own["nmse"], runs.sort_values("n_latents")["nmse"])


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_caption_gives_each_subject_its_parameters(subjects, style):
    table = module.numbers(study(subjects.runs, None, subjects.fits))
    figure = module.draw(table, study(fits=subjects.fits), style)
    assert_readable(figure)
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "k = 32" and len(lines(ax, "-")) == 2
    assert {text.get_text() for text in ax.texts} >= {"small, 8", "large, 20"}
    words = module.caption(table, study(subjects.runs, fits=subjects.fits)).markdown()
    assert "model = small" in words and words.count("α 0.") == 2
    dots = [line for marker in "os" for line in lines(ax, "None", marker)]
    drawn = np.concatenate([line.get_ydata() for line in dots])
    np.testing.assert_array_equal(drawn, table[table["series"] == "run"]["nmse"])


def test_one_subject_is_not_compared(subjects, swept):
    with pytest.raises(inputs.Missing, match="two models, layers or data at one k"):
        module.numbers(study(swept.runs, None, swept.fits))
    with pytest.raises(inputs.Missing, match="fit of the law L_N"):
        module.numbers(study(subjects.runs))


def test_synthetic_data_stands_beside_language_models_with_its_oracle(subjects):
    runs = subjects.runs
    made = runs["model"] == "small"
    runs = runs.assign(nmse_oracle=np.where(made, runs["n_latents"] ** -0.5, np.nan))
    table = random_data.numbers(study(runs, None, subjects.fits))
    assert set(table["panel"]) == {
        "synthetic: model = small, layer = 8",
        "language model: model = large, layer = 20",
    }
    oracle = table[table["series"] == "oracle"]
    np.testing.assert_allclose(oracle["nmse"], np.array(N) ** -0.5)
    figure = random_data.draw(table, study(fits=subjects.fits))
    assert_readable(figure)
    assert figure.axes[0].get_ylim()[0] > 0.3 * table[table["series"] == "run"]["nmse"].min()


def test_without_synthetic_data_it_is_told(subjects):
    with pytest.raises(
        inputs.Missing, match="synthetic data, whose runs have one of n_features, nmse_oracle"
    ):
        random_data.numbers(study(subjects.runs, None, subjects.fits))

"""Fig. 19: histograms over latents, from the table that collect writes."""

import numpy as np
import pandas as pd
import pytest

from fit.views.figures import latents
from fit.views.figures.shared import inputs
from fit.views.verbs import figures
from tests.fit.views.figures.looking import assert_readable
from tests.fit.views.figures.tables import study

NS = (64, 128, 256)


@pytest.fixture
def tables():
    """Two lr of each n; the one of the higher loss has all its latents in the first bin."""
    runs, bins = [], []
    for n in NS:
        for lr, nmse in ((1e-3, 0.2), (1e-2, 0.5)):
            run = {"run_id": f"{n}-{lr}", "n_latents": n, "k": 4}
            runs.append(run | {"lr": lr, "nmse": nmse, "state": "done"})
            for quantity, low in (("log10_density", -4.0), ("log10_mean_square", -8.0)):
                part = run | {"quantity": quantity}
                if nmse == 0.5:
                    bins.append(part | {"low": low, "high": low + 0.25, "count": n})
                    continue
                bins.append(part | {"low": low + 1, "high": low + 1.25, "count": n // 2})
                bins.append(part | {"low": low + 2, "high": low + 2.25, "count": n // 4})
                bins.append(part | {"low": np.nan, "high": np.nan, "count": n // 4})
    return pd.DataFrame(runs), pd.DataFrame(bins)


def test_shares_are_of_all_latents_of_the_best_run(tables):
    table = latents.numbers(study(tables[0], None, None, tables[1]))
    assert set(table["run_id"]) == {f"{n}-0.001" for n in NS}
    assert table.groupby(["run_id", "quantity"])["share"].sum().eq(1).all()
    assert table[table["low"].isna()]["share"].eq(0.25).all()


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_a_panel_a_quantity_and_a_line_an_n_with_zero_between(tables, style):
    table = latents.numbers(study(tables[0], None, None, tables[1]))
    figure = latents.draw(table, study(), style)
    assert_readable(figure)
    density, square = figure.axes[:2]
    assert density.get_xlabel() == "log10 of latent density"
    assert square.get_xlabel() == "log10 of mean squared activation"
    for ax in (density, square):
        assert len(ax.lines) == len(NS)
        for line in ax.lines:
            np.testing.assert_allclose(line.get_ydata(), [0, 0.5, 0, 0, 0, 0.25, 0])
    np.testing.assert_allclose(density.lines[0].get_xdata()[1], -2.875)  # the middle of its bin


def test_without_the_table_it_is_told(tables):
    with pytest.raises(inputs.Missing, match="it needs the table latents, which `saescale collect` writes"):
        latents.numbers(study(tables[0]))
    with pytest.raises(inputs.Missing, match="share no run_id"):
        latents.numbers(study(tables[0].assign(run_id="x"), None, None, tables[1]))


def test_command_finds_the_table_beside_the_runs(tables, tmp_path):
    tables[0].to_parquet(tmp_path / "runs.parquet")
    tables[1].to_parquet(tmp_path / "latents.parquet")
    assert figures.main([str(tmp_path / "runs.parquet"), "--only", "latents"]) == 0
    written = pd.read_csv(tmp_path / "figures" / "latents.csv")
    table = latents.numbers(study(tables[0], None, None, tables[1]))
    pd.testing.assert_frame_equal(written, table, check_dtype=False)

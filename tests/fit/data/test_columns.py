"""The one table of columns: complete, without contradictions, and what the documentation, the report and help say."""

from pathlib import Path

import pandas as pd
import pytest

from fit.data.columns import AXIS, CURVES, LATENTS, MAPPED, PROVENANCE, RESULT, RUNS, axes, map_help
from fit.law.errors import FitError
from fit.law.laws import LAWS, LR_NR
from fit.views import columns_page
from fit.views.page import design

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "tables.md"
SMOLLM2 = Path(__file__).parents[3] / "docs" / "smollm2" / "runs.parquet"


@pytest.mark.parametrize("columns", [RUNS, CURVES, LATENTS])
def test_every_column_says_what_it_is(columns):
    names = [column.name for column in columns]
    assert len(names) == len(set(names))
    for column in columns:
        assert column.role in (AXIS, RESULT, PROVENANCE) and column.meaning
        assert column.dtype in ("string", "Int64", "Float64", "boolean")
        assert column.role != AXIS or (column.label and column.key)
        assert "|" not in column.meaning + column.label


def test_a_column_of_several_tables_has_one_type_and_unit():
    of_runs = {column.name: column for column in RUNS}
    for column in (*CURVES, *LATENTS):
        same = of_runs.get(column.name, column)
        assert (column.dtype, column.unit, column.role) == (same.dtype, same.unit, same.role)


def test_the_documentation_is_made_from_it():
    page = PAGE.read_text(encoding="utf-8")
    assert columns_page.with_tables(page) == page, (
        "run: python -m fit.views.columns_page docs/reference/tables.md"
    )


def test_the_command_rewrites_the_tables_and_leaves_the_prose(tmp_path, capsys):
    page, written = PAGE.read_text(encoding="utf-8"), tmp_path / "tables.md"
    written.write_text(
        page.replace("`run_id`", "`id`").replace("# The tables", "# Our tables"), encoding="utf-8"
    )
    assert columns_page.main([str(written)]) == 0
    assert written.read_text(encoding="utf-8") == page.replace("# The tables", "# Our tables")
    assert columns_page.main([]) == 2 and "Give the page" in capsys.readouterr().err
    with pytest.raises(FitError, match="no single place for the columns of latents"):
        columns_page.with_tables(page.replace("<!-- columns of latents -->", ""))


def test_a_sweep_over_any_setting_is_an_axis_of_its_report():
    runs = pd.DataFrame(
        {name: ["a", "b"] for name in axes()} | {"nmse": [0.1, 0.2], "host": ["here", "there"]}
    )
    assert design.axes(runs) == list(axes())
    assert {"sparsity_coef", "matryoshka", "multi_topk", "precision", "bandwidth", "init_threshold"} <= {
        *axes()
    }
    assert list(axes())[:3] == ["n_latents", "k", "lr"]


def test_a_sweep_over_the_sparsity_or_matryoshka_says_so():
    runs = pd.read_parquet(SMOLLM2)
    assert "sparsity_coef" not in design.axes(runs)
    runs["sparsity_coef"] = [0.1, 0.2] * 7
    runs["matryoshka"] = [1, 4] * 7
    assert {"sparsity_coef", "matryoshka"} <= {*design.axes(runs)}


def test_help_names_every_column_that_a_law_reads():
    read = {name for law in LAWS.values() if law is not LR_NR for name in (*law.inputs, law.response)}
    assert read - {"flops"} <= set(MAPPED)  # flops is flops_sparse or flops_dense, by --flops
    assert all(f"{name} (" in map_help() for name in MAPPED) and "()" not in map_help()

"""Exports of Weights & Biases: charts with a column for each run, and the table of runs."""

import io

import pandas as pd

from fit.data.reading.panels import with_runs_as_rows

RUNS = ("calm-sun-1", "a - b-2")
HEADER = ",".join(["Step", *(f"{run} - nmse{end}" for run in RUNS for end in ("", "__MIN", "__MAX"))])
CHART = HEADER + "\n100,0.5,0.5,0.5,,,\n200,0.4,0.39,0.41,0.6,0.6,0.6\n"


def test_a_chart_becomes_a_row_for_each_run_and_step():
    table, notes = with_runs_as_rows(pd.read_csv(io.StringIO(CHART)), "t.csv")
    assert table.to_dict("records") == [
        {"Name": "calm-sun-1", "Step": 100, "nmse": 0.5},
        {"Name": "calm-sun-1", "Step": 200, "nmse": 0.4},
        {"Name": "a - b-2", "Step": 200, "nmse": 0.6},
    ]
    assert notes == [
        "t.csv is a chart of Weights & Biases: its 2 runs were made into 3 rows with the columns Name, Step, nmse.",
        "t.csv: 1 point of the chart stands for several steps; export the runs' history for all.",
    ]


def test_runs_that_did_not_finish_are_named_with_a_condition_that_leaves_them_out():
    table = pd.DataFrame(
        {"Name": list("abc"), "State": ["finished", "crashed", "running"], "nmse": [1, 2, 3]}
    )
    got, (note,) = with_runs_as_rows(table, "t.csv")
    assert got is table
    assert (
        "2 of 3 runs did not finish (crashed, running)" in note and "--where \"State == 'finished'\"" in note
    )


def test_other_tables_stay_as_they_are():
    for table in (
        pd.DataFrame({"Step": [1], "a - nmse": [2]}),
        pd.DataFrame({"x": [1], "x__MIN": [2], "x__MAX": [3]}),
        pd.DataFrame({"Name": ["a"], "State": ["Bavaria"]}),
    ):
        assert (
            with_runs_as_rows(table, "t.csv") == (table, []) or with_runs_as_rows(table, "t.csv")[0] is table
        )
        assert with_runs_as_rows(table, "t.csv")[1] == []

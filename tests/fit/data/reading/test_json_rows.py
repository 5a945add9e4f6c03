"""Tables in JSON: every shape in which pandas, the field's tools and people write them."""

import json

import pandas as pd
import pytest

from fit.data.reading.json_rows import parse_json, with_objects_as_columns
from fit.law.errors import FitError

TABLE = pd.DataFrame({"n": [512, 1024, 16384], "nmse": [0.5, 1e-4, 0.3090638521127372]})
RECORDS = TABLE.to_dict("records")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (json.dumps(RECORDS), "a list of objects"),
        ("\n".join(map(json.dumps, RECORDS)), "lines of JSON"),
        ("\n\n".join(map(json.dumps, RECORDS)) + "\n", "lines of JSON"),
        (TABLE.to_json(orient="columns", double_precision=15), "an object of columns"),
        (TABLE.to_json(orient="split", double_precision=15), "columns and data"),
        (TABLE.to_json(orient="index", double_precision=15), "an object of rows"),
        (json.dumps({"n": TABLE["n"].tolist(), "nmse": TABLE["nmse"].tolist()}), "an object of columns"),
        (json.dumps([["n", "nmse"], *TABLE.values.tolist()]), "a list of rows below their header"),
        (json.dumps({"date": "today", "runs": RECORDS}), "the list runs of an object"),
    ],
)
def test_shapes(text, shape):
    table, notes = parse_json(text, "t.json")
    pd.testing.assert_frame_equal(table.astype({"n": "int64"}), TABLE)
    assert notes[0].startswith(f"t.json was read as {shape}") and notes[0].endswith("3 rows, 2 columns.")
    assert notes[1:] == (
        ["t.json: what stands beside the list runs was left out: date."] if "runs" in text else []
    )


def test_named_rows_keep_their_names():
    table, _ = parse_json(json.dumps({f"sae_{row['n']}": row for row in RECORDS}), "t.json")
    assert list(table["name"]) == ["sae_512", "sae_1024", "sae_16384"] and list(table["n"]) == list(
        TABLE["n"]
    )


def test_objects_in_rows_become_columns_with_dotted_names_and_lists_are_said():
    row = {
        "sae": {"cfg": {"d_sae": 512}},
        "tags": ["a", "b"],
        "curve": list(range(100)),
        "layers": [{"x": 1}],
    }
    table, notes = parse_json(json.dumps([row]), "t.json")
    assert table.to_dict("records") == [{"sae.cfg.d_sae": 512, "tags": '["a", "b"]'}]
    assert notes[1] == "t.json: lists inside its rows were left out: curve, layers."


def test_a_result_of_sae_bench_is_one_row():
    result = {
        "eval_type_id": "core",
        "eval_config": {"model_name": "gemma-2-2b"},
        "eval_result_metrics": {"reconstruction_quality": {"mse": 0.25}, "sparsity": {"l0": 40.5}},
        "eval_result_details": [{"index": 0, "feature_density": 0.1}, {"index": 1, "feature_density": 0.2}],
        "sae_cfg_dict": {"d_sae": 16384, "d_in": 2304},
        "eval_result_unstructured": None,
    }
    table, notes = parse_json(json.dumps(result, indent=2), "t.json")
    assert len(table) == 1 and table["eval_result_metrics.reconstruction_quality.mse"][0] == 0.25
    assert table["sae_cfg_dict.d_sae"][0] == 16384 and not [c for c in table if "details" in c]
    assert notes[0] == "t.json was read as the results of one SAE, which are one row: 1 row, 7 columns."
    assert notes[1] == "t.json: lists inside its rows were left out: eval_result_details."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1', "looks like JSON and is not .*in line 1.*: is it complete"),
        ('{"n": 1}\n{"n": 2\n', "Line 2 of t.json is not JSON"),
        ('{"n": 1}\n[2]\n', r"Line 2 of t.json holds '\[2\]' and not an object"),
        ("[[1, 2], [3, 4]]", "is a list, but not of objects"),
        ("[]", "is a list, but not of objects"),
        ("{}", "no table"),
        ('{"n": [1, 2], "nmse": [0.5]}', r"lists of different lengths \(n 2, nmse 1\)"),
        ('{"columns": ["n", "nmse"], "data": [[1, 2], [3]]}', "Row 2 of t.json has not 2 values"),
        ('{"a": [{"x": 1}], "b": [{"x": 1}]}', r"holds 2 tables \(a, b\)"),
        ('{"saescale": "0.1", "fits": []}', "holds fits that `saescale fit` wrote"),
    ],
)
def test_what_is_no_table_is_refused(text, words):
    with pytest.raises(FitError, match=words):
        parse_json(text, "t.json")


def test_objects_as_text_in_columns_become_columns_and_no_code_runs(tmp_path):
    """The form of the table that the public API of Weights & Biases is usually saved in."""
    table = pd.DataFrame(
        {
            "summary": ["{'nmse': 0.5, 'best': nan}", '{"nmse": 0.25, "best": 0.2}'],
            "config": ["{'sae': {'n': 512}}", "{'sae': {'n': 1024}}"],
            "name": ["a", "{b}"],
        }
    )
    got, notes = with_objects_as_columns(table, "t.csv")
    assert got["summary.nmse"].tolist() == [0.5, 0.25] and got["config.sae.n"].tolist() == [512, 1024]
    assert pd.isna(got["summary.best"][0]) and got["name"].tolist() == ["a", "{b}"]
    assert "t.csv: the objects in column summary became 2 columns, as summary.nmse." in notes
    mark = tmp_path / "ran"
    code = pd.DataFrame({"x": [f"{{'a': open({str(mark)!r}, 'w')}}"]})
    got, notes = with_objects_as_columns(code, "t.csv")
    assert not mark.exists() and got.equals(code) and notes == []

"""The benchmarks: their rows, what they say of a contender that fails, and the verb that runs them."""

import json

import pytest

from benchmarks import fit as bench_fit
from benchmarks import record
from sweeps.verbs import bench


def test_rows_are_added_with_what_made_them(tmp_path):
    first = record.append("fit", [{"cpu_s": 1.5}], ["numpy", "no-such-package"], tmp_path)
    second = record.append("fit", [{"cpu_s": 2.5}, {"cpu_s": 3.5}], ["numpy"], tmp_path)
    rows = json.loads(second.read_text())
    assert first == second and [row["cpu_s"] for row in rows] == [1.5, 2.5, 3.5]
    assert rows[0]["versions"]["no-such-package"] is None and rows[0]["versions"]["numpy"]
    assert {"benchmark", "at", "commit", "dirty"} <= set(rows[0])


def test_contenders_reach_the_optimum_of_the_golden_tests():
    found = bench_fit.measure("ours_joint_refits")
    assert found["cpu"] > 0
    assert bench_fit.reached("L_NK", found["params"], bench_fit.gpt4(), "log") == pytest.approx(
        2.06479e-3, rel=2e-5
    )


def test_a_contender_that_fails_is_a_row_and_no_traceback(monkeypatch):
    monkeypatch.setattr(bench_fit, "CONTENDERS", {"ours_fit": bench_fit.ours_fit, "absent": None})
    monkeypatch.setattr(
        bench_fit,
        "_in_its_own_process",
        lambda name: (
            "ModuleNotFoundError: absent"
            if name == "absent"
            else {"cpu": 1.0, "params": bench_fit.ours_fit()}
        ),
    )
    ours, absent = bench_fit.compare(2)
    assert absent == {"contender": "absent", "failed": "ModuleNotFoundError: absent"}
    assert ours["cpu_s"] == 1.0 and ours["repeats"] == 2 and ours["objective"] > 0
    assert "failed: ModuleNotFoundError: absent" in bench_fit.as_table([ours, absent])


def test_verb_names_the_benchmarks_and_refuses_others(capfd):
    assert bench.names() == [
        "cli",
        "coordinate_check",
        "fit",
        "kernels",
        "laws.backtest",
        "laws.converged",
        "laws.coverage",
        "laws.design",
        "laws.lr_transfer",
        "laws.regimes",
        "laws.tails",
        "step_cpu",
        "train",
    ]
    assert bench.main(["--help"]) == 0 and bench.main([]) == 2
    assert bench.main(["speed"]) == 2
    assert (
        "'speed' is not among the choices cli, coordinate_check, fit, kernels, laws.backtest"
        in capfd.readouterr().err
    )
    for name, phrase in {"laws.coverage": "nominal 95 %", "kernels": "--tune", "train": "--quick"}.items():
        assert bench.main([name, "--help"]) == 0
        assert phrase in capfd.readouterr().out

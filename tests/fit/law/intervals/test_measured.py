"""Measured coverage: that it is what the benchmark recorded, which cell stands for a fit, and the caution it makes."""

import numpy as np
import pytest

from benchmarks import record
from benchmarks.laws import coverage
from fit.law.fit import fit_law
from fit.law.intervals import measured
from fit.law.intervals.choose import FEW
from fit.law.intervals.measured import MEASURED, UNFINISHED, Coverage, better
from fit.law.laws import named
from fit.law.losses import objective
from tests.fit.laws_under_test import TRUTH

TABLE = (
    Coverage(16, "L_N", "log", "delta", 60, 0.90, 0.95, "alpha"),
    Coverage(16, "L_ND", "log", "delta", 100, 0.94, 0.99, "E"),
    Coverage(16, "L_N", "log", "profile", 100, 0.95, 0.99, "E"),
    Coverage(45, "L_ND", "log", "delta", 100, 0.93, 0.96, "E"),
    Coverage(45, "L_ND", "huber:0.001", "delta", 100, 0.93, 0.96, "E"),
    Coverage(45, "L_ND", "huber:0.0001", "delta", 100, 0.91, 0.96, "E"),
)


def test_the_row_of_unfinished_runs_is_what_the_benchmark_recorded():
    design = "16 runs of L(N), all unfinished"
    latest = [each for each in record.recorded() if each.get("design") == design][-1]
    shares = {
        q: share for q, share in latest["coverage"].items() if q in ("E", "alpha", "L at 2×", "L at 4×")
    }
    assert (UNFINISHED.tables, UNFINISHED.objective) == (latest["sweeps"], latest["objective"])
    assert (UNFINISHED.lowest, UNFINISHED.highest) == (min(shares.values()), max(shares.values()))
    assert shares[UNFINISHED.quantity] == UNFINISHED.lowest


def test_the_table_is_what_the_benchmark_recorded():
    assert coverage.measured(record.recorded()) == MEASURED
    cells = {(each.rows, each.objective, each.method) for each in MEASURED if each.law == "L_ND"}
    auto = {
        (n, o, "profile" if n < FEW else "bootstrap") for n in (16, 28, 45, 240) for o in coverage.OBJECTIVES
    }
    assert auto <= cells


@pytest.mark.parametrize(
    ("rows", "minimised", "expected"),
    [
        (10, "log", TABLE[0]),
        (30, "log", TABLE[3]),
        (130, "log", TABLE[3]),
        (140, "log", None),
        (45, "huber", TABLE[4]),
        (45, "huber:0.00002", TABLE[5]),
        (45, "linear", None),
        (45, "asymmetric:0.3", None),
    ],
)
def test_a_fit_is_like_the_nearest_design_and_the_worst_of_its_laws(rows, minimised, expected):
    assert measured.measured(rows, objective(minimised), "delta", TABLE) == expected


def test_another_method_is_named_where_it_covers():
    assert better(TABLE[0], TABLE) == "profile" and better(TABLE[5], TABLE) is None


@pytest.mark.parametrize(
    ("method", "rows", "said"), [("delta", 16, True), ("profile", 16, False), ("delta", 30, False)]
)
def test_a_method_that_covers_too_little_is_a_caution_with_the_number(method, rows, said, monkeypatch):
    monkeypatch.setattr("fit.law.diagnostics.measured", lambda *given: measured.measured(*given, TABLE))
    monkeypatch.setattr("fit.law.diagnostics.better", lambda than: better(than, TABLE))
    n = np.geomspace(2**8, 2**18, rows)
    loss = named("L_N_pure").loss(TRUTH["L_N_pure"], {"n_latents": n})
    loss = loss * np.exp(0.01 * np.random.default_rng(0).standard_normal(rows))
    result = fit_law("L_N_pure", n, loss, method=method, hold_out=False, compare=False)
    found = [text for text in result.warnings if "held the truth in" in text]
    assert bool(found) == said
    if said:
        assert (
            "held the truth in 90 % of 60 tables (alpha of L_N). --intervals profile covers better"
            in found[0]
        )

"""Nominal 95 % intervals cover 95 % of simulated sweeps: `make coverage` with fewer sweeps."""

import numpy as np
import pytest

from benchmarks.laws import coverage
from benchmarks.laws.coverage import DESIGNS, Cell, Kept, covered, outside, swept
from fit.law.laws import named


def shares(design, sweeps, method="auto", loss="log"):
    hits = [covered(design, loss, [method], 200, seed)[method] for seed in range(sweeps)]
    return {quantity: float(np.mean([hit[quantity] for hit in hits])) for quantity in hits[0]}


@pytest.mark.parametrize(
    ("design", "loss", "sweeps"),
    [
        ("16 runs of L(N)", "log", 40),
        pytest.param("16 runs of L(N)", "log", 120, marks=pytest.mark.slow),
        pytest.param("45 runs of L(N, K)", "log", 80, marks=pytest.mark.slow),
        pytest.param("240 runs of L(N, D)", "log", 40, marks=pytest.mark.slow),
        pytest.param("28 runs of L(N, D)", "linear", 40, marks=pytest.mark.slow),
        pytest.param("28 runs of L(N, D)", "huber:0.001", 40, marks=pytest.mark.slow),
    ],
)
def test_coverage_of_nominal_95_percent(design, loss, sweeps):
    share = shares(design, sweeps, loss=loss)
    # Three standard errors of 95 %; the least of some ten quantities is beyond two of them by chance.
    least = 0.95 - 3 * (0.95 * 0.05 / sweeps) ** 0.5
    assert {"L at 2×", "L at 4×", "new run"} < set(share)
    assert all(value >= least for value in share.values()), share
    assert sum(share.values()) / len(share) < 0.99, share


@pytest.mark.slow
def test_simulation_tells_an_80_percent_interval_from_a_95_percent_one(monkeypatch):
    monkeypatch.setattr("fit.law.intervals.profile.LEVEL", 0.8)
    share = shares("16 runs of L(N)", 80, "profile")
    for quantity in ("E", "alpha", "L at 4×"):
        assert 0.66 < share[quantity] < 0.9


def test_designs_have_the_runs_they_name():
    for name, design in DESIGNS.items():
        assert design.sweep(0).rows.runs == int(name.split()[0])


def test_curves_of_few_runs_have_no_interval_where_they_tell_none():
    """Of four curves E, A and α; what has no end is no hit, and has no share where it is seldom given."""
    hits = covered("4 curves, levels and slopes", "log", ["auto"], 50, 1)["auto"]
    assert {name for name, hit in hits.items() if hit is None} >= {"E", "A", "alpha"} and hits[
        "beta"
    ] is not None
    assert coverage._shares([{"E": None, "beta": True}, {"E": None, "beta": False}]) == {"beta": 0.5}


def test_limits_of_unfinished_runs_are_off_together_and_their_intervals_hold_it():
    """Without the shared error, E lies outside of most intervals, by design."""
    design = DESIGNS["16 runs of L(N), all unfinished"]
    off = [
        np.log(design.sweep(seed).rows.loss / named("L_N").loss(design.truth, design.x)) for seed in range(60)
    ]
    alone, together = np.mean([each.std() for each in off]), np.std([each.mean() for each in off])
    assert together > 0.6 * alone > 0.001
    name = "16 runs of L(N), all unfinished"
    assert np.mean([covered(name, "log", ["auto"], 50, seed)["auto"]["E"] for seed in range(6)]) > 0.8


def test_a_run_that_was_cut_off_goes_on_from_the_sweeps_that_it_kept(tmp_path, monkeypatch):
    file, cell = tmp_path / "sweeps.jsonl", Cell("16 runs of L(N)", "log", ("delta",), 50)
    for seed in range(2):
        Kept(file).add(cell, seed, {"delta": {"E": seed == 0}})
    assert swept(cell, 2, 1, Kept(file)) == {"delta": {"E": 0.5}}
    both = Cell("16 runs of L(N)", "log", ("delta", "auto"), 50)
    assert Kept(file).has(cell, 1) and not Kept(file).has(both, 1) and not Kept(file).has(cell, 2)


def test_auto_is_one_of_the_other_methods():
    hits = covered("16 runs of L(N)", "log", ["profile", "auto"], 50, 4)
    assert hits["auto"] == hits["profile"]


def test_coverage_outside_92_to_98_percent_is_an_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(coverage, "swept", lambda *_: {"auto": {"E": 0.95, "alpha": 0.9, "beta": 1.0}})
    monkeypatch.setattr("sys.argv", ["coverage", "--design", "16 runs of L(N)", "--method", "auto"])
    assert coverage.main() == 1
    assert "OUTSIDE: alpha, beta" in capsys.readouterr().out
    assert outside({"E": 0.92, "alpha": 0.98}) == []

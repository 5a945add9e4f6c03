"""Nominal 95 % intervals cover 95 % of simulated sweeps: `make coverage` with fewer sweeps."""

import pytest

from benchmarks.coverage import DESIGNS, covered


@pytest.mark.parametrize(
    ("design", "sweeps"),
    [
        ("16 runs of L(N)", 40),
        pytest.param("16 runs of L(N)", 120, marks=pytest.mark.slow),
        pytest.param("45 runs of L(N, K)", 80, marks=pytest.mark.slow),
        pytest.param("240 runs of L(N, D)", 40, marks=pytest.mark.slow),
    ],
)
def test_coverage_of_nominal_95_percent(design, sweeps):
    hits = [covered(design, "auto", seed) for seed in range(sweeps)]
    share = {quantity: sum(hit[quantity] for hit in hits) / sweeps for quantity in hits[0]}
    # Three standard errors of 95 %; the least of some ten quantities is beyond two of them by chance.
    least = 0.95 - 3 * (0.95 * 0.05 / sweeps) ** 0.5
    assert {"L(target)", "new run there"} < set(share)
    assert all(value >= least for value in share.values()), share
    assert sum(share.values()) / len(share) < 0.99, share


@pytest.mark.slow
def test_simulation_tells_an_80_percent_interval_from_a_95_percent_one(monkeypatch):
    monkeypatch.setattr("fit.law.intervals.profile.LEVEL", 0.8)
    hits = [covered("16 runs of L(N)", "profile", seed) for seed in range(80)]
    for quantity in ("E", "alpha", "L(target)"):
        assert 0.66 < sum(hit[quantity] for hit in hits) / 80 < 0.9


def test_designs_have_the_runs_they_name():
    for name, design in DESIGNS.items():
        assert len(design.losses(0)[0]) == int(name.split()[0])

"""lr* and ρ of each batch size at each budget, on sweeps whose best lr is known by search."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fit.converged.lr import End
from fit.converged.tails import LIMIT, at_limits
from fit.law.json_values import plain
from fit.law.options import FitOptions
from fit.regimes import batch
from fit.regimes import compare as compare_of
from fit.regimes import lr_readings as readings_of
from fit.regimes.compare import Group, compare
from fit.regimes.verdict import Claim, Need, Outcome, verdict
from fit.views.lines.verdict import judgements, verdict_lines
from tests.fit.sweep_tables import LRS, Sweep

SIZES, BATCHES = (512, 1024, 2048, 4096), (512, 2048)
SWEEP = Sweep(b=0.2, noise=0.0005)
RUNS, CURVES = SWEEP.tables(ns=SIZES, lrs=LRS[1:10], batches=BATCHES)


def group_of(runs=RUNS, curves=CURVES):
    (group,) = compare(runs, curves, (), FitOptions()).groups
    return group


@pytest.fixture(scope="module")
def group():
    return group_of()


def true_ratio(tokens, B):
    """By search over lr: the geometric mean over n of lr*(n, D, B)/lr*(n, ∞)."""
    lr = np.geomspace(1e-6, 1e-1, 20_001)
    best = [lr[np.argmin(SWEEP.loss(n, tokens, lr, B))] / SWEEP.lr_N(n) for n in SIZES]
    return float(np.exp(np.mean(np.log(best))))


def test_the_ratio_of_each_batch_size_at_each_budget_is_that_of_the_sweep(group):
    seen = 0
    for reading in group.lr.by_tokens:
        for ratio in reading.ratios:
            if ratio.compute == ratio.converged == len(SIZES):
                truth = true_ratio(reading.tokens, ratio.batch_tokens)
                assert ratio.value == pytest.approx(truth, rel=0.08)
                seen += 1
    assert seen >= 4


def test_each_lr_has_an_interval_about_it_and_the_slope_is_that_of_the_sweep(group):
    assert {(each.n_latents, each.batch_tokens) for each in group.lr.converged} == {
        (n, B) for n in SIZES for B in BATCHES
    }
    for each in group.lr.converged:  # intervals of a factor of 1.2 or so
        assert each.low < SWEEP.lr_N(each.n_latents) < each.high and each.high < 2 * each.low
    optimum = group.lr.at_optimum
    assert optimum.alpha_low < 0.5 < optimum.alpha_high and optimum.dof > 4


def test_an_optimum_at_an_end_of_the_lr_is_a_bound_and_named():
    """The smaller lr did not converge, and that next to the converged ones may end below them."""
    smallest = SWEEP.lr_N(SIZES[0]) * 2
    group = group_of(RUNS.assign(converged=RUNS["lr"] > smallest))
    ends = [each for each in group.lr.converged if each.end is End.SMALLEST]
    assert {each.n_latents for each in ends} == set(SIZES) and all(each.lr is None for each in ends)
    bounds = sorted(set(RUNS["lr"][RUNS["lr"] > smallest]))
    assert {each.high for each in ends} == {bounds[1]}
    for ratio in group.lr.at_optimum.ratios:
        assert ratio.value is None and ratio.low is not None and ratio.high is None
    claim = group.verdict.of(Claim.LR_RATIO)
    assert claim.outcome is Outcome.UNDECIDED and all(Need.SMALLER_LR in part.needs for part in claim.parts)
    text = "\n".join(verdict_lines(group))
    assert "Of lr*(L(N)) only a bound is known" in text and "would decide it: smaller lr" in text
    assert "did not converge" in text and "at least" in text


def test_an_lr_that_did_not_converge_bounds_the_optimum_where_even_its_limit_is_higher():
    losses = {0.004: -1.0, 0.008: -0.9}
    assert readings_of._surely_higher(losses, {0.002: -0.95, 0.001: -0.8}) == {0.002: -0.95, 0.001: -0.8}
    assert readings_of._surely_higher(losses, {0.002: -1.05, 0.001: -0.8, 0.016: -0.5}) == {0.016: -0.5}
    assert readings_of._surely_higher(losses, {0.002: np.nan, 0.001: -0.8, 0.016: -0.5}) == {0.016: -0.5}


def test_a_larger_lr_counts_as_best_where_it_costs_little(group):
    """L∞ rises by p·ln²(lr/lr_N), so an lr costs 1 % at exp(√(ln 1.01/p)) times lr_N."""
    for each in group.lr.by_tolerance:
        lost = np.exp(np.sqrt(np.log1p(each.share) / SWEEP.p))
        for ratio, strict in zip(each.ratios, group.lr.at_optimum.ratios, strict=True):
            assert strict.value / ratio.value == pytest.approx(lost, rel=0.25)
    assert readings_of._largest_within({0.001: 0.0, 0.002: 0.1}, 0.05) == pytest.approx(0.001 * 2**0.5)
    assert readings_of._largest_within({0.001: 0.0, 0.002: 0.01}, 0.05) is None


def cells(values, end=None):
    return [
        readings_of.CellLr(n, B, 1e5, lr, None, None, 0.3, 5, end)
        for (n, B), lr in values.items()
        if lr is not None
    ]


def test_the_scatter_of_all_batch_sizes_makes_the_interval_of_each():
    """Against the same regression by its normal equations."""
    random = np.random.default_rng(3)
    truth = {256.0: 4.0, 1024.0: 2.0}
    noise = dict.fromkeys([(n, B) for n in (32, 64, 128) for B in truth])
    converged = {key: 0.1 * key[0] ** -0.5 * np.exp(0.1 * random.standard_normal()) for key in noise}
    compute = {
        key: 0.1 * truth[key[1]] * key[0] ** -0.5 * np.exp(0.1 * random.standard_normal()) for key in noise
    }
    reading = readings_of._reading(65536.0, cells(compute), cells(converged))
    gaps = {B: np.mean([np.log(compute[n, B] / converged[n, B]) for n in (32, 64, 128)]) for B in truth}
    for ratio in reading.ratios:
        assert np.log(ratio.value) == pytest.approx(
            gaps[ratio.batch_tokens]
        )  # balanced: the mean of the pairs
        half = np.log(ratio.high / ratio.low) / 2
        assert half == pytest.approx(readings_of._t(7) * reading.scatter * np.sqrt(2 / 3))
    assert reading.dof == 12 - 5
    assert reading.b == pytest.approx(np.log(np.exp(gaps[1024.0] - gaps[256.0])) / np.log(4))


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (4.1, 3.3, 5.2, Outcome.HOLDS),
        (4.1, 1.9, 8.9, Outcome.UNDECIDED),
        (2.2, 1.9, 2.6, Outcome.REFUTED),
        (1.0, 0.8, 1.3, Outcome.REFUTED),
        (2.5, 2.1, 3.0, Outcome.UNDECIDED),
        (None, 6.0, None, Outcome.UNDECIDED),
        (None, 8.1, None, Outcome.REFUTED),
        (None, 1.6, None, Outcome.UNDECIDED),
        (None, None, 1.6, Outcome.REFUTED),
    ],
)
def test_four_on_a_grid_of_factors_of_two(value, low, high, outcome, group):
    one = readings_of.BatchRatio(256.0, value, low, high, 4, 4)
    made = replace(group.lr, at_optimum=replace(group.lr.at_optimum, ratios=(one,)))
    assert verdict(made, group.batch).of(Claim.LR_RATIO).outcome is outcome


@pytest.mark.parametrize(
    ("value", "end", "outcome"),
    [
        (4.0, End.SMALLEST, Outcome.UNDECIDED),
        (4.0, End.LARGEST, Outcome.UNDECIDED),
        (10.0, End.SMALLEST, Outcome.REFUTED),  # the true ratio is larger still
        (10.0, End.LARGEST, Outcome.UNDECIDED),
        (1.5, End.SMALLEST, Outcome.UNDECIDED),
        (1.5, End.LARGEST, Outcome.REFUTED),
    ],
)
def test_an_optimum_of_which_only_a_bound_is_known_keeps_the_verdict_open(value, end, outcome, group):
    """lr*(L(N)) at the smallest lr that counts may be lower, and the ratio larger, than the others say."""
    one = readings_of.BatchRatio(512.0, value, value / 1.2, value * 1.2, 4, 4)
    converged = tuple(
        replace(each, lr=None, end=end) if each.batch_tokens == 512 and i == 0 else each
        for i, each in enumerate(group.lr.converged)
    )
    made = replace(
        group.lr, converged=converged, at_optimum=replace(group.lr.at_optimum, ratios=(one,), optima=())
    )
    (part,) = verdict(made, group.batch).of(Claim.LR_RATIO).parts
    assert part.outcome is outcome


def test_l_of_c_is_not_read_within_the_first_steps_of_adam(monkeypatch):
    """Batches so large that curves reach their compute-optimal points in a few steps."""
    runs, curves = SWEEP.tables(ns=SIZES, lrs=LRS[1:10], batches=(512, 2**22))
    late = group_of(runs, curves).lr.at_optimum.optima
    assert all(each.tokens >= 8 * each.batch_tokens for each in late)
    monkeypatch.setattr(readings_of, "FEWEST_STEPS", 0)
    early = group_of(runs, curves).lr.at_optimum.optima
    assert len(early) > len(late)


def test_the_batch_test_of_l_of_n_takes_l_inf_and_the_last_loss_where_asked_to_keep_it():
    """Ends of the larger batch size are 1 % above the L∞ that both batch sizes share."""
    every = pd.DataFrame(
        [
            {"n_latents": n, "batch_tokens": B, "lr": lr, "nmse": L * (1.01 if B > 512 else 1), LIMIT: L}
            for n in SIZES
            for B in BATCHES
            for lr, L in ((1e-3, 0.31 - n / 1e5), (2e-3, 0.3 - n / 1e5), (4e-3, 0.32 - n / 1e5))
        ]
    )
    assert batch.at_convergence(every).spread == pytest.approx(0, abs=1e-9)
    assert batch.at_convergence(every.drop(columns=LIMIT)).spread == pytest.approx(0.01, rel=1e-6)


def test_runs_that_are_extrapolated_have_their_limit_already():
    ends = RUNS.assign(nmse_inf=0.1, extrapolated=True)
    known, left_out = at_limits(ends, CURVES)
    assert (known[LIMIT] == ends["nmse"]).all() and not left_out
    kept = compare_of.run_ends(RUNS, CURVES, FitOptions(unconverged="keep"))
    assert LIMIT not in kept.at_limits and len(kept.at_limits) == len(RUNS)


def test_the_verdict_survives_fits_json_and_stands_in_words(group):
    content = plain(group.to_dict())
    assert Group.from_dict(content) == Group.from_dict(plain(Group.from_dict(content).to_dict()))
    read = Group.from_dict(content)
    assert read.verdict == group.verdict and read.lr == group.lr and read.convergence == group.convergence
    claims = judgements(read)
    assert [each.outcome for each in claims] == [each.outcome for each in group.verdict.claims]
    assert group.verdict.of(Claim.BATCH_CONVERGED).outcome is Outcome.HOLDS
    assert group.verdict.of(Claim.BATCH_COMPUTE).outcome is Outcome.HOLDS
    assert "from B = 512 to 2,048" in claims[1].evidence and "ρ ∝ B^b" in claims[0].details[0]


def test_tokens_to_convergence_stand_for_each_n_and_batch_size(group):
    assert len(group.convergence) == len(SIZES) * len(BATCHES)
    for row in group.convergence:
        truth = SWEEP.seen() * SWEEP.tokens(row.n_latents, row.lr, row.batch_tokens)
        assert row.tokens == pytest.approx(truth, rel=0.03) and row.low < row.tokens < row.high


def test_an_older_file_has_no_verdict():
    content = plain(group_of().to_dict())
    for name in ("lr", "verdict", "batch_by_tokens", "convergence"):
        content.pop(name)
    assert judgements(Group.from_dict(content)) == []


def test_a_group_without_lr_says_what_it_needs():
    group = group_of(RUNS.drop(columns="lr"), CURVES.drop(columns="lr"))
    claim = group.verdict.of(Claim.LR_RATIO)
    assert group.lr is None and claim.parts[0].needs == (Need.LR_SWEEP,)

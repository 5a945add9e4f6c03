"""The criterion finds the tail of a known curve, and does not call an unfinished one converged."""

import numpy as np
import pytest

from sae_core.training.convergence import judge

TOKENS = np.geomspace(1e4, 1e7, 41)  # 4 a doubling


def curve(inf, A, g, noise=0.0, seed=0):
    noise = noise * np.random.default_rng(seed).standard_normal(len(TOKENS))
    return (inf + A * (TOKENS / TOKENS[-1]) ** -g) * (1 + noise)


@pytest.mark.parametrize("g", [0.3, 0.7, 1.5])
def test_the_tail_is_recovered(g):
    found = judge(TOKENS, curve(0.2, 0.01, g), 0.01)
    assert found.nmse_inf == pytest.approx(0.2, rel=2e-3)
    assert found.tail_gap == pytest.approx(0.05, rel=0.05)


def test_the_standard_error_covers_the_noise():
    errors = [judge(TOKENS, curve(0.2, 0.004, 0.8, 1e-3, seed), 0.05) for seed in range(200)]
    z = np.array([(e.nmse_inf - 0.2) / e.nmse_inf_se for e in errors if e.nmse_inf_se])
    assert len(z) > 150
    assert 0.8 < (np.abs(z) < 2).mean() <= 1


def test_converged_needs_both_halves_of_the_criterion():
    assert judge(TOKENS, curve(0.2, 0.001, 0.8), 0.01).converged is True  # gap ½ %
    assert judge(TOKENS, curve(0.2, 0.010, 0.8), 0.01).converged is False  # gap 5 %
    # The tail is 0.9 % above its limit, and the last doubling still gained 6 %.
    assert judge(TOKENS, curve(0.2, 0.0018, 3.0), 0.01).converged is False
    steep = np.where(
        TOKENS < 6e6, 0.22, 0.2
    )  # flat, flat, then 10 % better: the tail looks done, the doubling does not
    assert judge(TOKENS, steep, 0.02).converged is False


def test_a_curve_that_rises_a_little_is_flat():
    assert judge(TOKENS, np.linspace(0.2, 0.2004, 41), 0.01).converged is True


@pytest.mark.parametrize("rise", [0.03, 0.5])
def test_a_rising_curve_has_not_converged(rise):
    assert judge(TOKENS, 0.2 * (TOKENS / TOKENS[0]) ** rise, 0.02).converged is False


def test_a_jumping_curve_has_not_converged():
    jumps = np.where(np.arange(41) % 2, 0.24, 0.2)
    assert judge(TOKENS, jumps, 0.02).converged is False


def test_too_few_evaluations_tell_nothing():
    found = judge(TOKENS[:4], curve(0.2, 0.1, 1)[:4], 0.01)
    assert found.converged is None and found.nmse_inf is None


def test_nothing_at_all():
    assert judge([], [], 0.01).converged is None

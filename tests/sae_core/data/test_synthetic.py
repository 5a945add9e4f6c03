"""The generator's tokens are reproducible in any slicing, and its oracle is the truth."""

import numpy as np
import pytest
import torch

from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.errors import ConfigError

SMALL = SyntheticConfig(d_model=32, n_features=500, l0=3.0, held_out=2_000, tail=False)


def test_rows_do_not_depend_on_how_they_are_cut():
    source = Synthetic(SMALL)
    whole = source.rows(4_000, 5_000, seed=3)
    parts = [source.rows(4_000 + at, 1_000, seed=3) for at in range(0, 5_000, 1_000)]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, Synthetic(SMALL).rows(4_000, 5_000, seed=3))


def test_order_split_and_dictionary_differ_by_seed():
    source = Synthetic(SMALL)
    assert not torch.equal(source.rows(0, 100, 0), source.rows(0, 100, 1))
    assert not torch.equal(source.rows(0, 100, 0), source.held_out()[:100])
    assert not torch.equal(source.sample(100), source.held_out()[:100])
    other = Synthetic(SyntheticConfig(**{**vars(SMALL), "seed": 1}))
    assert other.fingerprint != source.fingerprint
    assert not torch.equal(other.features, source.features)


def test_denominator_is_the_variance_that_the_config_implies():
    source = Synthetic(SMALL)
    expected = SMALL.l0 * 1.25  # l0·E[c²]: c = ½ + Exp(mean ½) has E[c²] = 1 + ¼
    assert source.denominator == pytest.approx(expected, rel=0.05)


def test_oracle_is_the_loss_of_keeping_the_most_frequent_features():
    """Tokens rebuilt without their rare features miss the oracle's share of the variance."""
    config = SyntheticConfig(d_model=400, n_features=300, zipf=1.1, l0=4.0, tail=False)
    source = Synthetic(config)
    rng = np.random.default_rng(0)
    rows, n = 20_000, 40
    active = rng.poisson(config.l0, rows)
    feature = np.searchsorted(source._cdf, rng.random(active.sum()))
    c = 0.5 + rng.exponential(0.5, active.sum())
    codes = np.zeros((rows, 300))
    np.add.at(codes, (np.repeat(np.arange(rows), active), feature), c)
    f = source.features.numpy()
    full, kept = codes @ f, codes[:, :n] @ f[:n]
    miss = full - kept
    nmse = ((miss - miss.mean(0)) ** 2).sum(1).mean() / ((full - full.mean(0)) ** 2).sum(1).mean()
    oracle = source.oracle(n)
    assert oracle is not None
    assert nmse == pytest.approx(oracle, rel=0.03)


def test_with_its_tail_the_oracle_is_a_straight_power_law_and_the_variance_is_right():
    config = SyntheticConfig(d_model=32, n_features=5_000, zipf=1.5, l0=3.0, held_out=4_000, tail=True)
    source = Synthetic(config)
    n = np.array([30, 100, 300, 1000, 3000])
    slopes = np.diff(np.log([source.oracle(i) for i in n])) / np.diff(np.log(n + 0.5))
    assert slopes == pytest.approx(-0.5, abs=2e-3)
    heavy = Synthetic(SyntheticConfig(d_model=32, n_features=50, zipf=1.2, l0=3.0, held_out=4_000, tail=True))
    missing = heavy.oracle(50)
    assert missing > 0.3
    assert heavy.denominator == pytest.approx(3.0 * 1.25 / (1 - missing), rel=0.05)


@pytest.mark.parametrize(
    "values",
    [{"d_model": 0}, {"l0": 0.0}, {"held_out": 0}, {"zipf": float("nan")}, {"l0": 1e30}, {"seed": -1}],
)
def test_impossible_generators_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        Synthetic(SyntheticConfig(**values))

"""The two conventions, and their ratio for large n: the paper's "up to 6×"."""

import pytest

from sae_core.config import SAEConfig
from sae_core.training.flops import auxk_per_token, dense_per_token, sparse_per_token


def test_conventions():
    assert dense_per_token(n=1000, d=10) == 12 * 1000 * 10
    assert sparse_per_token(SAEConfig(n_latents=1000, k=4), d=10) == 2 * 1000 * 10 + 8 * 4 * 10
    assert auxk_per_token(n_dead=7, d=10, k_aux=3, by_gathers=False) == 10 * 7 * 10
    assert auxk_per_token(n_dead=7, d=10, k_aux=3, by_gathers=True) == 2 * 7 * 10 + 8 * 3 * 10


def test_multi_topk_touches_four_times_the_rows():
    one, four = (SAEConfig(n_latents=1000, k=k, multi_topk=k == 4) for k in (16, 4))
    assert sparse_per_token(one, 10) == sparse_per_token(four, 10)


@pytest.mark.parametrize(("activation", "share"), [("relu", 1), ("jumprelu", 1), ("gated", 16 / 12)])
def test_activations_without_ranks_are_dense(activation, share):
    sae = SAEConfig(n_latents=1000, activation=activation, sparsity_coef=0.1)
    assert sparse_per_token(sae, 10) == share * dense_per_token(1000, 10)


def test_the_gain_approaches_six():
    assert 5.9 < dense_per_token(2**20, 768) / sparse_per_token(SAEConfig(n_latents=2**20, k=32), 768) < 6

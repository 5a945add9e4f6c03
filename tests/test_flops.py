"""The two conventions, and their ratio for large n: the paper's "up to 6×"."""

from sae_core.flops import auxk_per_token, dense_per_token, sparse_per_token


def test_conventions():
    assert dense_per_token(n=1000, d=10) == 12 * 1000 * 10
    assert sparse_per_token(n=1000, d=10, k=4) == 2 * 1000 * 10 + 8 * 4 * 10
    assert auxk_per_token(n_dead=7, d=10) == 8 * 7 * 10


def test_the_gain_approaches_six():
    assert 5.9 < dense_per_token(2**20, 768) / sparse_per_token(2**20, 768, 32) < 6

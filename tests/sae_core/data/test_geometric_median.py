"""The geometric median minimises the mean distance, and an outlier hardly moves it."""

import torch

from sae_core.data.geometric_median import geometric_median


def test_it_is_a_minimum_of_the_mean_distance():
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = geometric_median(x)
    best = (x - y).norm(dim=1).mean()
    for direction in torch.eye(6, dtype=torch.float64):
        assert (x - y - 1e-2 * direction).norm(dim=1).mean() > best
        assert (x - y + 1e-2 * direction).norm(dim=1).mean() > best


def test_an_outlier_moves_the_mean_but_not_the_median():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    x[0] = 1e5
    assert x.mean(0).norm() > 100
    assert geometric_median(x).norm() < 1


def test_equal_points():
    assert torch.allclose(geometric_median(torch.ones(5, 2)), torch.ones(2))
